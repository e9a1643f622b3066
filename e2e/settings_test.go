package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"testing"

	"github.com/chatmesh/chatmesh/e2e/raw"
)

// ownSettings are what a person has set for a chat.
type ownSettings struct {
	MutedUntil   *string `json:"muted_until"`
	Archived     bool    `json:"archived"`
	MarkedUnread bool    `json:"marked_unread"`
}

// settings are those of a chat in the person's list, of which query selects a part; nil where the chat is not in that.
func (p *person) settings(chat, query string) *ownSettings {
	p.t.Helper()
	for cursor := ""; ; {
		var page struct {
			Chats []struct {
				ID       string      `json:"id"`
				Settings ownSettings `json:"settings"`
			} `json:"chats"`
			Next string `json:"next_cursor"`
		}
		p.must(http.StatusOK, http.MethodGet, "/v1/chats?limit=100"+query+cursor, nil, &page)
		for _, c := range page.Chats {
			if c.ID == chat {
				return &c.Settings
			}
		}
		if page.Next == "" {
			return nil
		}
		cursor = "&cursor=" + url.QueryEscape(page.Next)
	}
}

func TestWhatOneDeviceSetsForAChatTheOthersHaveToo(t *testing.T) {
	t.Parallel()
	srv := server(t)
	people := newPeople(t, srv, "quiet", 2)
	me, other := people[0], people[1]
	chat := me.group("loud", other)
	base := "/v1/chats/" + chat
	tablet := me.login()
	phone, laptop, foreign := me.device(nil), tablet.device(nil), other.device(nil)
	laptop.Close() // is away

	await := func(s *raw.Socket, holds func(ownSettings) bool) {
		t.Helper()
		_, err := s.Await(raw.Patience, func(f raw.Frame) bool {
			var set ownSettings
			return f.Type == "settings" && f.Chat == chat && json.Unmarshal(f.Raw, &set) == nil && holds(set)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	said := other.post(chat, text("hello"))
	me.must(http.StatusOK, http.MethodPut, base+"/read", raw.Object{"seq": said}, nil)
	me.must(http.StatusOK, http.MethodPut, base+"/settings", raw.Object{"muted_until": "2099-01-01T00:00:00Z", "marked_unread": true}, nil)
	await(phone, func(s ownSettings) bool { return s.MutedUntil != nil && s.MarkedUnread && !s.Archived })
	me.must(http.StatusOK, http.MethodPut, base+"/settings", raw.Object{"archived": true}, nil)
	await(phone, func(s ownSettings) bool { return s.MutedUntil != nil && s.MarkedUnread && s.Archived })

	// The device that was away finds it in the list.
	laptop = tablet.device(nil)
	if s := tablet.settings(chat, "&archived=true"); s == nil || s.MutedUntil == nil || *s.MutedUntil != "2099-01-01T00:00:00.000000Z" || !s.MarkedUnread {
		t.Errorf("the list of archived chats: got %+v", s)
	}
	if s := tablet.settings(chat, "&archived=false"); s != nil {
		t.Errorf("the list of the others has it: %+v", s)
	}
	if s := tablet.settings(chat, ""); s == nil || !s.Archived {
		t.Errorf("the list of all: got %+v", s)
	}

	// Reading there takes the mark back: the phone hears of the read, or of the settings where the cursor stays.
	tablet.must(http.StatusOK, http.MethodPut, base+"/read", raw.Object{"seq": said}, nil)
	await(phone, func(s ownSettings) bool { return !s.MarkedUnread && s.Archived })
	me.must(http.StatusOK, http.MethodPut, base+"/settings", raw.Object{"marked_unread": true}, nil)
	await(laptop, func(s ownSettings) bool { return s.MarkedUnread })
	said = other.post(chat, text("again"))
	if f, err := laptop.Ask(raw.Object{"type": "read", "chat": chat, "seq": said}); err != nil || f.Type != "ack" {
		t.Fatalf("got %s, %v; want an ack", f.Raw, err)
	}
	if s := me.settings(chat, ""); s == nil || s.MarkedUnread || !s.Archived {
		t.Errorf("after a read over the WebSocket: got %+v; want the mark taken back, and archived still", s)
	}

	// Nobody else learns of it, and muted is not deaf.
	awaitSeq(t, "phone", phone, chat, said)
	awaitSeq(t, "other", foreign, chat, said)
	if f := foreign.Frames(func(f raw.Frame) bool { return f.Type == "settings" }); len(f) > 0 {
		t.Errorf("the other got %s", f[0].Raw)
	}
	if s := other.settings(chat, ""); s == nil || *s != (ownSettings{}) {
		t.Errorf("the list of the other: got %+v; want nothing set", s)
	}
}

func TestAMessageDeletedForOneselfIsGoneOnAllOwnDevices(t *testing.T) {
	t.Parallel()
	srv := server(t)
	people := newPeople(t, srv, "hiding", 2)
	me, other := people[0], people[1]
	chat := me.group("hiding", other)
	tablet := me.login()
	phone, laptop, foreign := me.device(nil), tablet.device(nil), other.device(nil)
	first, second := other.post(chat, text("first")), other.post(chat, text("second"))
	awaitSeq(t, "laptop", laptop, chat, second)
	laptop.Close() // is away

	path := fmt.Sprintf("/v1/chats/%s/messages/%d", chat, second)
	me.must(http.StatusOK, http.MethodDelete, path+"?for=me", nil, nil)
	_, err := phone.Await(raw.Patience, func(f raw.Frame) bool {
		var h struct {
			Seqs []uint64 `json:"seqs"`
		}
		return f.Type == "hidden" && f.Chat == chat && json.Unmarshal(f.Raw, &h) == nil && slices.Equal(h.Seqs, []uint64{second})
	})
	if err != nil {
		t.Fatal(err)
	}
	var hidden struct {
		Seqs []uint64 `json:"seqs"`
	}
	tablet.must(http.StatusOK, http.MethodGet, "/v1/chats/"+chat+"/hidden", nil, &hidden)
	if !slices.Equal(hidden.Seqs, []uint64{second}) {
		t.Errorf("the device that was away finds %v hidden; want %d", hidden.Seqs, second)
	}
	tablet.refused("not_found", http.MethodGet, path, nil)
	if l, _ := tablet.listed(chat); l.LastMessage == nil || l.LastMessage.Seq != first {
		t.Errorf("the list shows %+v last; want %d", l.LastMessage, first)
	}
	for who, want := range map[*person]int{tablet: 1, other: 2} {
		n := 0
		for _, f := range who.history(chat) {
			if f.Type == "message" {
				n++
			}
		}
		if n != want {
			t.Errorf("%s: got %d messages; want %d", who.name, n, want)
		}
	}
	if f := foreign.Frames(func(f raw.Frame) bool { return f.Type == "hidden" }); len(f) > 0 {
		t.Errorf("the other got %s", f[0].Raw)
	}
}

package e2e

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/chatmesh/chatmesh/e2e/raw"
)

// cursorsOf are the read cursors of somebody that a device was told.
func cursorsOf(s *raw.Socket, of *person) []raw.Frame {
	return s.Frames(func(f raw.Frame) bool { return f.Type == "read" && f.User() == of.id })
}

func TestWhoSwitchesReceiptsOffTellsNobodyAndIsToldNothing(t *testing.T) {
	t.Parallel()
	srv := server(t)
	people := newPeople(t, srv, "receipts", 3)
	alice, bob, carol := people[0], people[1], people[2]
	chat := alice.group("receipts", bob, carol)
	for i := range 4 {
		alice.post(chat, text("number %d", i)) // 2 to 5
	}
	hers := []*raw.Socket{alice.greeted(raw.Object{"receipts": true}), alice.greeted(raw.Object{"receipts": true})}
	phone := bob.greeted(raw.Object{"receipts": true})
	bob.prefer(raw.Object{"read_receipts": false}, phone)
	laptop := bob.greeted(raw.Object{"receipts": true}) // which was away when he switched
	ack(t, phone, raw.Object{"type": "delivered", "chat": chat, "seq": 5})
	ack(t, phone, raw.Object{"type": "read", "chat": chat, "seq": 3})
	bob.must(http.StatusOK, http.MethodPut, "/v1/chats/"+chat+"/read", raw.Object{"seq": 4}, nil)
	if _, err := laptop.Await(raw.Patience, func(f raw.Frame) bool { return f.Type == "read" && f.User() == bob.id && f.Seq == 4 }); err != nil {
		t.Errorf("bob's laptop is not told what he has read: %v", err)
	}
	if c := unreadIsRight(bob, chat, 4); c.Unread != 1 {
		t.Errorf("got %d unread; want 1", c.Unread)
	}
	// What carol does comes behind it, to whom it may.
	c := carol.device(nil)
	ack(t, c, raw.Object{"type": "read", "chat": chat, "seq": 5})
	for _, s := range hers {
		if _, err := s.Await(raw.Patience, func(f raw.Frame) bool { return f.Type == "read" && f.User() == carol.id }); err != nil {
			t.Errorf("alice is not told what carol has read: %v", err)
		}
		got := s.Frames(func(f raw.Frame) bool { return f.User() == bob.id && (f.Type == "read" || f.Type == "delivered") })
		if len(got) > 0 {
			t.Errorf("alice is told %s", got[0].Raw)
		}
	}
	if got := alice.receipts(chat); len(got) != 2 || got[carol.id] != [2]uint64{5, 5} {
		t.Errorf("alice sees %v; want herself and carol", got)
	}
	if got := bob.receipts(chat); len(got) != 1 || got[bob.id] != [2]uint64{4, 5} {
		t.Errorf("bob sees %v; want himself alone", got)
	}
	bob.post(chat, text("behind what carol has read")) // 6
	awaitSeq(t, "bob", laptop, chat, 6)
	for _, s := range []*raw.Socket{phone, laptop} {
		if got := cursorsOf(s, carol); len(got) > 0 {
			t.Errorf("bob is told %s", got[0].Raw)
		}
	}
	bob.prefer(raw.Object{"read_receipts": true}, phone, laptop)
	alice.post(chat, text("seen by all")) // 7
	awaitSeq(t, "bob", laptop, chat, 7)
	ack(t, laptop, raw.Object{"type": "read", "chat": chat, "seq": 7})
	for _, s := range hers {
		if _, err := s.Await(raw.Patience, func(f raw.Frame) bool { return f.Type == "read" && f.User() == bob.id && f.Seq == 7 }); err != nil {
			t.Errorf("alice is not told what bob has read since he tells: %v", err)
		}
	}
	if got := alice.receipts(chat); len(got) != 3 {
		t.Errorf("alice sees %v; want all", got)
	}
}

func TestTypingExpiresEndsAndIsNotToldOfWhoSwitchedItOff(t *testing.T) {
	t.Parallel()
	srv := server(t)
	people := newPeople(t, srv, "writing", 2)
	alice, bob := people[0], people[1]
	chat := alice.direct(bob)
	his := []*raw.Socket{bob.device(nil), bob.device(nil)}
	type typing struct {
		ExpiresInMS int64 `json:"expires_in_ms"`
		Stopped     bool  `json:"stopped"`
	}
	last := func(s *raw.Socket) (n int, y typing) {
		all := s.Frames(func(f raw.Frame) bool { return f.Type == "typing" && f.Chat == chat && f.User() == alice.id })
		if len(all) > 0 {
			_ = json.Unmarshal(all[len(all)-1].Raw, &y)
		}
		return len(all), y
	}
	alice.must(http.StatusNoContent, http.MethodPost, "/v1/chats/"+chat+"/typing", nil, nil)
	for _, s := range his {
		eventually(t, raw.Patience, "alice is writing", func() bool { n, y := last(s); return n == 1 && y.ExpiresInMS > 1000 && !y.Stopped })
	}
	alice.must(http.StatusNoContent, http.MethodPost, "/v1/chats/"+chat+"/typing", raw.Object{"stopped": true}, nil)
	for _, s := range his {
		eventually(t, raw.Patience, "alice has stopped", func() bool { n, y := last(s); return n == 2 && y.Stopped })
	}
	hers := alice.device(nil)
	ack(t, hers, raw.Object{"type": "typing", "chat": chat})
	for _, s := range his {
		eventually(t, raw.Patience, "alice is writing again", func() bool { n, y := last(s); return n == 3 && !y.Stopped })
	}
	alice.prefer(raw.Object{"typing": false}, hers)
	other := alice.device(nil)
	ack(t, other, raw.Object{"type": "typing", "chat": chat, "stopped": true})
	alice.must(http.StatusNoContent, http.MethodPost, "/v1/chats/"+chat+"/typing", raw.Object{"stopped": true}, nil)
	alice.post(chat, text("behind it"))
	for _, s := range his {
		awaitSeq(t, "bob", s, chat, 2)
		if n, y := last(s); n != 3 {
			t.Errorf("bob is told %+v of somebody who has switched it off", y)
		}
	}
	var got struct {
		ReadReceipts bool   `json:"read_receipts"`
		Typing       bool   `json:"typing"`
		Presence     string `json:"presence"`
	}
	alice.must(http.StatusOK, http.MethodGet, "/v1/users/me/preferences", nil, &got)
	if !got.ReadReceipts || got.Typing || got.Presence != "visible" {
		t.Errorf("got %+v; want typing off and the rest as it was", got)
	}
	alice.refused("bad_request", http.MethodPut, "/v1/users/me/preferences", raw.Object{"presence": "sometimes"})
	bob.refused("not_found", http.MethodPost, "/v1/chats/nothing/typing", nil)
}

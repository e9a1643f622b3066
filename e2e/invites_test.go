package e2e

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/chatmesh/chatmesh/e2e/raw"
)

// about is what a chat tells beside its members.
type about struct {
	ID           string `json:"id"`
	Title        string `json:"title"`
	Picture      string `json:"picture"`
	Description  string `json:"description"`
	MembersCount int    `json:"members_count"`
	Member       *bool  `json:"member"`
	Invite       *struct {
		By string `json:"by"`
	} `json:"invite"`
}

// invite makes the link of a group and returns the path that its token opens.
func (p *person) invite(chat string) string {
	p.t.Helper()
	var a struct {
		Token string `json:"token"`
	}
	p.must(http.StatusCreated, http.MethodPost, "/v1/chats/"+chat+"/invite", nil, &a)
	if a.Token == "" {
		p.t.Fatal("a new link has no token")
	}
	p.srv.Guard(a.Token)
	return "/v1/invites/" + a.Token
}

func TestPeopleJoinAGroupByItsLinkUntilItIsRevoked(t *testing.T) {
	t.Parallel()
	srv := server(t)
	people := newPeople(t, srv, "link", 4)
	owner, friend, stranger, later := people[0], people[1], people[2], people[3]
	chat := owner.group("tea time")
	base := "/v1/chats/" + chat
	phone := owner.device(nil)

	owner.must(http.StatusOK, http.MethodPatch, base, raw.Object{"picture": "https://img.example.com/tea.png", "description": "every day at five"}, nil)
	link := owner.invite(chat)
	var seen about
	friend.must(http.StatusOK, http.MethodGet, link, nil, &seen)
	if seen.ID != chat || seen.Title != "tea time" || seen.Picture != "https://img.example.com/tea.png" || seen.Description != "every day at five" ||
		seen.MembersCount != 1 || seen.Member == nil || *seen.Member {
		t.Errorf("the preview: got %+v", seen)
	}
	friend.refused("not_found", http.MethodGet, base, nil)
	awayDevice := friend.device(nil) // sees that it is in a group, and goes
	friend.must(http.StatusOK, http.MethodPost, link, nil, &seen)
	if seen.ID != chat || seen.MembersCount != 2 || seen.Invite == nil || seen.Invite.By != owner.id {
		t.Errorf("the group that was joined: got %+v", seen)
	}
	joined := change(t, "owner", phone, chat, "member_added", friend.id)
	if joined.By != friend.id || joined.Role != "member" {
		t.Errorf("got %s; want friend to have joined by themselves", joined.Raw)
	}
	if f := change(t, "friend", awayDevice, chat, "member_added", friend.id); f.Seq != joined.Seq {
		t.Errorf("the device of who joined: got seq %d; want %d", f.Seq, joined.Seq)
	}
	awayDevice.Close()
	friend.must(http.StatusOK, http.MethodPost, link, nil, nil) // again: nothing happens

	second := owner.invite(chat)
	stranger.refused("not_found", http.MethodPost, link, nil)
	stranger.refused("not_found", http.MethodGet, link, nil)
	stranger.must(http.StatusOK, http.MethodPost, second, nil, nil)
	friend.refused("forbidden", http.MethodDelete, base+"/invite", nil)
	friend.refused("forbidden", http.MethodPost, base+"/invite", nil)
	owner.must(http.StatusOK, http.MethodDelete, base+"/members/"+stranger.id, nil, nil)
	stranger.refused("forbidden", http.MethodPost, second, nil)
	owner.must(http.StatusOK, http.MethodDelete, base+"/invite", nil, nil)
	later.refused("not_found", http.MethodPost, second, nil)
	later.refused("not_found", http.MethodGet, second, nil)

	// The device that was away, and the history, tell all of it; nobody's secret is in it.
	back := friend.device(map[string]uint64{chat: joined.Seq})
	want := []string{"invite", "member_added", "member_removed", "invite"}
	last := change(t, "friend", back, chat, "member_removed", stranger.id).Seq + 1
	awaitSeq(t, "friend", back, chat, last)
	events := since(joined.Seq+1, back.Events(chat))
	contiguous(t, "friend", events, joined.Seq+1)
	if len(events) != len(want) {
		t.Fatalf("got %d events; want %v", len(events), want)
	}
	for i, f := range events {
		if f.Change != want[i] {
			t.Errorf("event %d: got %s; want %s", f.Seq, f.Raw, want[i])
		}
	}
	all := []string{"created", "picture", "description", "invite", "member_added", "invite", "member_added", "member_removed", "invite"}
	history := changesOf(t, owner.history(chat))
	if got := strings.Join(history, " "); got != strings.Join(all, " ") {
		t.Errorf("the history: got %s; want %v", got, all)
	}
	for _, f := range owner.history(chat) {
		for _, l := range []string{link, second} {
			if strings.Contains(string(f.Raw), strings.TrimPrefix(l, "/v1/invites/")) {
				t.Errorf("event %d has a token", f.Seq)
			}
		}
	}
	var e struct {
		Picture, Description *string
	}
	if err := json.Unmarshal(owner.history(chat)[1].Raw, &e); err != nil || e.Picture == nil || *e.Picture != "https://img.example.com/tea.png" {
		t.Errorf("the second event: got %s", owner.history(chat)[1].Raw)
	}
}

// changesOf lists the changes of a history, each of which says who made it and when.
func changesOf(t *testing.T, history []raw.Frame) (out []string) {
	t.Helper()
	for _, f := range history {
		if f.Type == "chat" {
			if f.By == "" || f.At.IsZero() {
				t.Errorf("got %s; want by and at", f.Raw)
			}
			out = append(out, f.Change)
		}
	}
	return out
}

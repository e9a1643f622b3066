package api

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

// cast is a group with everybody whom a call can come from or concern.
type cast struct {
	nobody, stranger, former, member, admin, owner *person
	victim, newcomer                               *person
	chat                                           chat.ID
}

// roles in the order of the columns of the matrix.
var roles = []string{"logged out", "stranger", "ex-member", "member", "admin", "owner"}

func (c *cast) who(role string) *person {
	return map[string]*person{"logged out": c.nobody, "stranger": c.stranger, "ex-member": c.former, "member": c.member,
		"admin": c.admin, "owner": c.owner}[role]
}

// newCast makes a group: the first three events of a chat.
func newCast(t *testing.T, w *world, p []*person) *cast {
	c := &cast{nobody: &person{w: w}, stranger: p[0], former: p[1], member: p[2], admin: p[3], owner: p[4], victim: p[5], newcomer: p[6]}
	c.chat = c.owner.group(c.former, c.member, c.admin, c.victim)
	c.owner.call("PUT", chatPath(c.chat, "members", string(c.admin.id)), `{"role":"admin"}`).want(t, 200, "")
	c.owner.call("DELETE", chatPath(c.chat, "members", string(c.former.id)), nil).want(t, 200, "")
	return c
}

func TestWhoMayDoWhat(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.people("stranger", "former", "member", "admin", "owner", "victim", "newcomer")
	on := func(u *person) func(*cast, *person) string {
		return func(c *cast, _ *person) string { return chatPath(c.chat, "members", string(u.id)) }
	}
	self := func(c *cast, who *person) string {
		id := string(who.id)
		if id == "" {
			id = string(c.victim.id)
		}
		return chatPath(c.chat, "members", id)
	}
	at := func(parts ...string) func(*cast, *person) string {
		return func(c *cast, _ *person) string { return chatPath(c.chat, parts...) }
	}
	const no, gone = 403, 404
	var now *cast
	for _, c := range []struct {
		method string
		path   func(*cast, *person) string
		body   string
		want   []int
	}{
		{"GET", at(), "", []int{401, gone, gone, 200, 200, 200}},
		{"PATCH", at(), `{"title":"new"}`, []int{401, gone, gone, no, 200, 200}},
		{"PATCH", at(), `{"picture":"https://a.example/p","description":"d"}`, []int{401, gone, gone, no, 200, 200}},
		{"POST", at("invite"), "", []int{401, gone, gone, no, 201, 201}},
		{"DELETE", at("invite"), "", []int{401, gone, gone, no, 200, 200}},
		{"PUT", on(p[6]), "", []int{401, gone, gone, no, 200, 200}},
		{"PUT", on(p[6]), `{"role":"admin"}`, []int{401, gone, gone, no, no, 200}},
		{"PUT", on(p[6]), `{"role":"owner"}`, []int{401, gone, gone, no, no, 200}},
		{"PUT", on(p[1]), "", []int{401, gone, gone, no, 200, 200}},  // the former member: nobody adds themselves
		{"PUT", on(p[5]), "", []int{401, gone, gone, 200, 200, 200}}, // is there already
		{"PUT", on(p[5]), `{"role":"admin"}`, []int{401, gone, gone, no, no, 200}},
		{"PUT", on(p[3]), `{"role":"member"}`, []int{401, gone, gone, no, no, 200}},
		{"PUT", on(p[5]), `{"role":"owner"}`, []int{401, gone, gone, no, no, 200}},
		{"PUT", self, `{"role":"owner"}`, []int{401, gone, gone, no, no, 200}},
		{"DELETE", on(p[5]), "", []int{401, gone, gone, no, 200, 200}},
		{"DELETE", on(p[4]), "", []int{401, gone, gone, no, no, 200}}, // the owner
		{"DELETE", self, "", []int{401, gone, gone, 200, 200, 200}},
		{"GET", at("messages"), "", []int{401, gone, gone, 200, 200, 200}},
		{"GET", at("messages?after=0&limit=1"), "", []int{401, gone, gone, 200, 200, 200}},
		{"POST", at("messages"), `{"client_id":"c","text":"t"}`, []int{401, gone, gone, 201, 201, 201}},
		{"PUT", at("read"), `{"seq":1}`, []int{401, gone, gone, 200, 200, 200}},
		{"PUT", at("read"), `{"seq":1000}`, []int{401, gone, gone, 400, 400, 400}},
		{"PUT", at("delivered"), `{"seq":1}`, []int{401, gone, gone, 200, 200, 200}},
		{"PUT", at("delivered"), `{"seq":1000}`, []int{401, gone, gone, 400, 400, 400}},
		{"PUT", at("settings"), `{"archived":true}`, []int{401, gone, gone, 200, 200, 200}},
		{"GET", at("hidden"), "", []int{401, gone, gone, 200, 200, 200}},
		{"GET", at("receipts"), "", []int{401, gone, gone, 200, 200, 200}},
	} {
		for i, role := range roles {
			if now == nil {
				now = newCast(t, w, p)
			}
			who := now.who(role)
			path := c.path(now, who)
			body := any(nil)
			if c.body != "" {
				body = c.body
			}
			got := who.call(c.method, path, body)
			name := c.method + " " + strings.ReplaceAll(path, string(now.chat), "C") + " " + c.body + " by " + role
			if got.status != c.want[i] {
				t.Errorf("%s: got %d %s; want %d", name, got.status, got.body, c.want[i])
			}
			if got.status < 300 && c.method != "GET" {
				now = nil // changed
			}
			if c.want[i] != gone || now == nil {
				continue
			}
			// A chat that is not theirs looks like one that there is not.
			none := who.call(c.method, strings.ReplaceAll(path, string(now.chat), "g0000000000000000000000000"), body)
			if none.status != got.status || !bytes.Equal(none.body, got.body) {
				t.Errorf("%s: got %s; for a chat that there is not %s", name, got.body, none.body)
			}
			if snap, err := w.log.Snapshot(t.Context(), now.chat); err != nil || snap.Head.Seq != 3 {
				t.Errorf("%s: got seq %d, %v; want nothing changed", name, snap.Head.Seq, err)
			}
		}
	}
}

func TestNothingButRegisteringLoggingInTheDocumentsAndAskingForAnEdgeIsOpen(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, rt := range table {
		path := strings.NewReplacer("{chat}", "c", "{user}", "u").Replace(rt.path)
		r := w.call("", rt.method, path, "{}")
		switch {
		case strings.HasSuffix(path, ".yaml"):
			r.want(t, 200, "")
		case path == "/v1/edges":
			r.want(t, 503, chat.Unavailable) // there is none
		case rt.open:
			r.want(t, 400, chat.BadRequest)
		default:
			r.want(t, 401, chat.Unauthorized)
		}
	}
}

func TestARemovedMemberIsOutOfListPresenceAndPeople(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.servePresence()
	p := w.people("ann", "ben", "cat")
	ann, ben, cat := p[0], p[1], p[2]
	id := ann.group(ben, cat)
	presence := func() []chat.UserID {
		var a struct {
			Presence []struct {
				UserID chat.UserID `json:"user_id"`
				Online bool        `json:"online"`
			} `json:"presence"`
		}
		ben.call("GET", "/v1/presence?user="+string(ann.id)+"&user="+string(cat.id)+"&user="+string(ann.id)+"&user="+string(ben.id)+"&user=nobody", nil).
			want(t, 200, "").into(t, &a)
		var out []chat.UserID
		for _, x := range a.Presence {
			if !x.Online {
				t.Errorf("got %+v; want online", x)
			}
			out = append(out, x.UserID)
		}
		return out
	}
	sameIDs(t, presence(), ids(ann, ben, cat))
	if chats, _ := ben.list(""); len(chats) != 1 {
		t.Errorf("got %d chats; want 1", len(chats))
	}
	ann.call("DELETE", chatPath(id, "members", string(ben.id)), nil).want(t, 200, "")
	sameIDs(t, presence(), ids(ben))
	if chats, _ := ben.list(""); len(chats) != 0 { // although the index has it until the persister knows
		t.Errorf("got %d chats; want none", len(chats))
	}
	w.persist(id, 0)
	if chats, _ := ben.list(""); len(chats) != 0 {
		t.Errorf("got %d chats; want none", len(chats))
	}
	// Back again, at once.
	ann.call("PUT", chatPath(id, "members", string(ben.id)), nil).want(t, 200, "")
	sameIDs(t, presence(), ids(ann, ben, cat))
	if chats, _ := ben.list(""); len(chats) != 1 {
		t.Errorf("got %d chats; want 1", len(chats))
	}
	var empty map[string]json.RawMessage
	ben.call("GET", "/v1/presence", nil).want(t, 200, "").into(t, &empty)
	if string(empty["presence"]) != "[]" {
		t.Errorf("got %s; want an empty list", empty["presence"])
	}
}

package e2e

import (
	"net/http"
	"testing"
	"time"

	"github.com/chatmesh/chatmesh/e2e/raw"
)

// counted is how many messages of others a person would count behind a seq.
func counted(p *person, chat string, readSeq uint64) (unread uint64) {
	p.t.Helper()
	for _, e := range p.history(chat) {
		if e.Type == "message" && e.Seq > readSeq && e.Sender != p.id {
			unread++
		}
	}
	return unread
}

// unreadIsRight checks the numbers of a person's list against counting, and returns them. Cursors may take a moment to be
// listed.
func unreadIsRight(p *person, chat string, wantReadAtLeast uint64) chatInfo {
	p.t.Helper()
	var c chatInfo
	eventually(p.t, raw.Patience, "the read cursor in the list", func() bool {
		c, _ = p.listed(chat)
		return c.ReadSeq >= wantReadAtLeast
	})
	if want := counted(p, chat, c.ReadSeq); c.Unread != want {
		p.t.Errorf("%s has read up to %d: got %d unread; want %d", p.name, c.ReadSeq, c.Unread, want)
	}
	return c
}

func TestUnreadIsWhatAPersonWouldCount(t *testing.T) {
	t.Parallel()
	srv := server(t)
	people := newPeople(t, srv, "reader", 3)
	alice, bob, carol := people[0], people[1], people[2]
	chat := alice.group("unread", bob, carol)
	path := "/v1/chats/" + chat + "/read"
	var at []uint64
	for i := range 12 {
		at = append(at, []*person{alice, bob, alice}[i%3].post(chat, text("number %d", i)))
		if i == 5 { // a change is no message
			alice.must(http.StatusOK, http.MethodPatch, "/v1/chats/"+chat, raw.Object{"title": "renamed"}, nil)
		}
	}
	last := at[len(at)-1]
	if c := unreadIsRight(carol, chat, 0); c.Unread != 12 {
		t.Errorf("carol, who has read nothing: got %d unread; want 12", c.Unread)
	}
	unreadIsRight(bob, chat, 0)
	unreadIsRight(alice, chat, 0)
	for _, p := range people {
		p.must(http.StatusOK, http.MethodPut, path, raw.Object{"seq": at[4]}, nil)
		unreadIsRight(p, chat, at[4])
	}
	if c := unreadIsRight(carol, chat, at[4]); c.ReadSeq != at[4] || c.Unread != 7 {
		t.Errorf("carol, who has read up to number 5 of 12: got %+v; want read_seq %d and 7 unread", c, at[4])
	}
	carol.must(http.StatusOK, http.MethodPut, path, raw.Object{"seq": at[1]}, nil) // never back
	if c := unreadIsRight(carol, chat, at[4]); c.ReadSeq != at[4] {
		t.Errorf("after a step back: got read_seq %d; want %d", c.ReadSeq, at[4])
	}
	for _, beyond := range []uint64{last + 1, 1 << 40} {
		carol.refused("bad_request", http.MethodPut, path, raw.Object{"seq": beyond})
	}
	s := carol.device(nil)
	askRefused(t, s, "beyond the last", "bad_request", raw.Object{"type": "read", "chat": chat, "seq": last + 1})
	if f, err := s.Ask(raw.Object{"type": "read", "chat": chat, "seq": last}); err != nil || f.Type != "ack" {
		t.Errorf("read over the socket: got %s, %v; want an ack", f.Raw, err)
	}
	if c := unreadIsRight(carol, chat, last); c.ReadSeq != last || c.Unread != 0 {
		t.Errorf("carol, who has read all: got %+v", c)
	}
}

func TestOnesOwnMessagesAreNeverUnread(t *testing.T) {
	t.Parallel()
	srv := server(t)
	alice, bob := newPerson(t, srv, "alice"), newPerson(t, srv, "bob")
	chat := alice.direct(bob)
	for i := range 5 {
		alice.post(chat, text("to myself %d", i))
	}
	if c, _ := alice.listed(chat); c.Unread != 0 {
		t.Errorf("alice, who wrote all: got %d unread; want 0", c.Unread)
	}
	if c, _ := bob.listed(chat); c.Unread != 5 {
		t.Errorf("bob, who read nothing: got %d unread; want 5", c.Unread)
	}
}

func TestAReadCursorIsToldToTheOthers(t *testing.T) {
	t.Parallel()
	srv := server(t)
	people := newPeople(t, srv, "cursor", 3)
	alice, bob, eve := people[0], people[1], people[2]
	chat := alice.direct(bob)
	s, other, stranger := alice.device(nil), bob.device(nil), eve.device(nil)
	for i := range 3 {
		alice.post(chat, text("read this %d", i))
	}
	told := func(seq uint64) {
		t.Helper()
		_, err := s.Await(raw.Patience, func(f raw.Frame) bool {
			return f.Type == "read" && f.Chat == chat && f.User() == bob.id && f.Seq == seq
		})
		if err != nil {
			t.Errorf("alice is not told that bob read up to %d: %v", seq, err)
		}
	}
	bob.must(http.StatusOK, http.MethodPut, "/v1/chats/"+chat+"/read", raw.Object{"seq": 2}, nil)
	told(2)
	if err := other.Send(raw.Object{"type": "read", "chat": chat, "seq": 4}); err != nil { // without an id
		t.Fatal(err)
	}
	told(4)
	if got := stranger.Frames(func(f raw.Frame) bool { return f.Type == "read" }); len(got) != 0 {
		t.Errorf("a stranger got %s", got[0].Raw)
	}
	highest := uint64(0)
	for _, f := range s.Frames(func(f raw.Frame) bool { return f.Type == "read" && f.User() == bob.id }) {
		if f.Seq < highest {
			t.Errorf("bob's cursor went back from %d to %d", highest, f.Seq)
		}
		highest = f.Seq
	}
}

func TestTypingIsSeenByTheOthersInTheChatOnly(t *testing.T) {
	t.Parallel()
	srv := server(t)
	people := newPeople(t, srv, "typing", 4)
	alice, bob, carol, eve := people[0], people[1], people[2], people[3]
	chat := alice.group("typing", bob, carol)
	eve.group("elsewhere")
	s := alice.device(nil)
	others := []*raw.Socket{bob.device(nil), carol.device(nil)}
	stranger := eve.device(nil)
	if err := stranger.Send(raw.Object{"type": "typing", "chat": chat}); err != nil {
		t.Fatal(err)
	}
	if err := s.Send(raw.Object{"type": "typing", "chat": chat}); err != nil {
		t.Fatal(err)
	}
	for i, o := range others {
		f, err := o.Await(raw.Patience, func(f raw.Frame) bool { return f.Type == "typing" })
		if err != nil || f.Chat != chat || f.User() != alice.id {
			t.Errorf("member %d: got %s, %v; want that alice is typing", i, f.Raw, err)
		}
	}
	alice.post(chat, text("typed"))
	for i, o := range others {
		awaitSeq(t, "an other", o, chat, 2)
		for _, f := range o.Frames(func(f raw.Frame) bool { return f.Type == "typing" }) {
			if f.User() == eve.id {
				t.Errorf("member %d is told that a stranger is typing", i)
			}
		}
	}
	if got := stranger.Frames(func(f raw.Frame) bool { return f.Type == "typing" }); len(got) != 0 {
		t.Errorf("a stranger got %s", got[0].Raw)
	}
	if h := alice.history(chat); len(h) != 2 {
		t.Errorf("typing left %d events in the history; want 2", len(h))
	}
	askRefused(t, stranger, "typing by a stranger", "not_found", raw.Object{"type": "typing", "chat": chat})
	if f, err := s.Ask(raw.Object{"type": "typing", "chat": chat}); err != nil || f.Type != "ack" {
		t.Errorf("typing with an id: got %s, %v; want an ack", f.Raw, err)
	}
}

func TestAPingIsAnswered(t *testing.T) {
	t.Parallel()
	srv := server(t)
	s := newPerson(t, srv, "pinger").device(nil)
	pong, err := s.Ping()
	if err != nil {
		t.Fatal(err)
	}
	if f, err := s.Ask(raw.Object{"type": "ping"}); err != nil || f.Type != "pong" {
		t.Errorf("got %s, %v; want a pong", f.Raw, err)
	}
	select {
	case <-pong:
	case <-time.After(raw.Patience):
		t.Error("a WebSocket ping is not answered")
	}
}

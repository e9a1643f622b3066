package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/chatmesh/chatmesh/e2e/program"
	"github.com/chatmesh/chatmesh/e2e/raw"
)

// greeted makes a device that says hello with more than a token.
func (p *person) greeted(hello raw.Object) *raw.Socket {
	p.t.Helper()
	s, _, err := raw.Dial(p.t.Context(), p.srv.Client, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(s.Close)
	hello["type"], hello["token"] = "hello", p.access
	if err := s.Send(hello); err != nil {
		p.t.Fatal(err)
	}
	if _, err := s.Await(raw.Patience, func(f raw.Frame) bool { return f.Type == "welcome" }); err != nil {
		p.t.Fatalf("welcome: %v", err)
	}
	return s
}

// receipts are read and delivered of each member, as p is told.
func (p *person) receipts(chat string) map[string][2]uint64 {
	p.t.Helper()
	var a struct {
		Receipts []struct {
			User      string `json:"user_id"`
			Read      uint64 `json:"read_seq"`
			Delivered uint64 `json:"delivered_seq"`
		} `json:"receipts"`
	}
	p.must(http.StatusOK, http.MethodGet, "/v1/chats/"+chat+"/receipts", nil, &a)
	out := map[string][2]uint64{}
	for _, r := range a.Receipts {
		out[r.User] = [2]uint64{r.Read, r.Delivered}
	}
	return out
}

func TestWhatWasDeliveredIsToldToThoseWhoAskAndToNobodyElse(t *testing.T) {
	t.Parallel()
	srv := server(t)
	alice, bob, eve := newPerson(t, srv, "alice"), newPerson(t, srv, "bob"), newPerson(t, srv, "eve")
	chat := alice.direct(bob)
	asks, old := alice.greeted(raw.Object{"receipts": true}), alice.device(nil)
	stranger := eve.greeted(raw.Object{"receipts": true})
	for i := range 3 {
		alice.post(chat, text("number %d", i)) // 2 to 4
	}
	s := bob.device(nil)
	if f, err := s.Ask(raw.Object{"type": "delivered", "chat": chat, "seq": 3}); err != nil || f.Type != "ack" || f.Seq != 3 {
		t.Fatalf("got %s, %v; want an ack", f.Raw, err)
	}
	_, err := asks.Await(raw.Patience, func(f raw.Frame) bool {
		return f.Type == "delivered" && f.Chat == chat && f.User() == bob.id && f.Seq == 3
	})
	if err != nil {
		t.Errorf("alice is not told that bob has 3: %v", err)
	}
	if got := alice.receipts(chat); got[bob.id] != [2]uint64{0, 3} || got[alice.id] != [2]uint64{4, 4} {
		t.Errorf("got %v; want bob at 0 and 3, alice, who wrote all, at 4", got)
	}
	bob.must(http.StatusOK, http.MethodPut, "/v1/chats/"+chat+"/read", raw.Object{"seq": 4}, nil)
	if _, err := old.Await(raw.Patience, func(f raw.Frame) bool { return f.Type == "read" && f.Seq == 4 }); err != nil {
		t.Errorf("alice is not told that bob has read: %v", err)
	}
	if got := alice.receipts(chat)[bob.id]; got != [2]uint64{4, 4} {
		t.Errorf("got %v; want what was read delivered", got)
	}
	askRefused(t, s, "beyond the last", "bad_request", raw.Object{"type": "delivered", "chat": chat, "seq": 5})
	eve.refused("not_found", http.MethodPut, "/v1/chats/"+chat+"/delivered", raw.Object{"seq": 1})
	eve.refused("not_found", http.MethodGet, "/v1/chats/"+chat+"/receipts", nil)
	for what, s := range map[string]*raw.Socket{"a client that knows nothing of it": old, "a stranger": stranger} {
		if got := s.Frames(func(f raw.Frame) bool { return f.Type == "delivered" }); len(got) > 0 {
			t.Errorf("%s got %s", what, got[0].Raw)
		}
	}
}

func TestADeviceThatWasAwayLongerThanTheLogRemembersGetsHeadsFirstAndMissesNothing(t *testing.T) {
	t.Parallel()
	const chats, messages = 30, 12
	cfg := program.Config{Data: t.TempDir(), Args: []string{"--log-retention", "1m"}}
	srv := program.Start(t, cfg)
	alice, bob := newPerson(t, srv, "alice"), newPerson(t, srv, "bob")
	sender := alice.device(nil)
	ids, cursors := make([]string, chats), map[string]uint64{}
	for i := range ids {
		ids[i] = alice.group(fmt.Sprint("away ", i), bob)
		cursors[ids[i]] = 1
		fill(t, sender, ids[i], messages)
	}
	s := bob.device(nil)
	for _, f := range []raw.Object{{"type": "delivered", "chat": ids[0], "seq": 9}, {"type": "read", "chat": ids[0], "seq": 4}} {
		if a, err := s.Ask(f); err != nil || a.Type != "ack" {
			t.Fatalf("got %s, %v; want an ack", a.Raw, err)
		}
	}
	srv.Kill() // what was acked stands
	srv = again(t, cfg, alice, bob)
	if got := alice.receipts(ids[0])[bob.id]; got != [2]uint64{4, 9} {
		t.Errorf("after a kill: got %v; want what was acked, 4 and 9", got)
	}
	js, err := jetstream.New(broker(t, srv, "ops"))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, 2*time.Minute, "the log has forgotten all", func() bool {
		for i := range 2 {
			for _, name := range []string{"CHAT_", "CURSOR_"} {
				st, err := js.Stream(t.Context(), fmt.Sprint(name, i))
				if err != nil || st.CachedInfo().State.Msgs > 0 {
					return false
				}
			}
		}
		return true
	})
	if got := alice.receipts(ids[0])[bob.id]; got != [2]uint64{4, 9} {
		t.Errorf("from the store: got %v; want 4 and 9", got)
	}
	if c := unreadIsRight(bob, ids[0], 4); c.Unread != messages+1-4 {
		t.Errorf("got %d unread; want %d", c.Unread, messages+1-4)
	}
	s = bob.greeted(raw.Object{"cursors": cursors, "heads": true})
	for _, id := range ids {
		awaitSeq(t, "bob", s, id, messages+1)
		contiguous(t, "what bob missed", s.Events(id), 2)
	}
	heads := map[string]struct{ Seq, N uint64 }{}
	for _, f := range s.Frames(func(f raw.Frame) bool { return f.Type == "heads" || f.IsEvent() }) {
		if f.IsEvent() {
			if len(heads) < chats {
				t.Errorf("%d of %d heads came before the first event", len(heads), chats)
			}
			break
		}
		var h struct {
			Heads map[string]struct{ Seq, N uint64 } `json:"heads"`
		}
		if err := json.NewDecoder(strings.NewReader(string(f.Raw))).Decode(&h); err != nil {
			t.Fatal(err)
		}
		for id, at := range h.Heads {
			heads[id] = at
		}
	}
	for _, id := range ids {
		if heads[id] != (struct{ Seq, N uint64 }{messages + 1, messages}) {
			t.Errorf("got head %v; want %d events and %d messages", heads[id], messages+1, messages)
		}
	}
}

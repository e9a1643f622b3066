package fanout_test

import (
	"slices"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/meshtest"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// putAside makes a dead letter of fan-out, as an older version might have.
func putAside(t *testing.T, b *bus.Bus, origin, seq string, body []byte) uint64 {
	t.Helper()
	m := &nats.Msg{Subject: subject.Dead(subject.FanOut, 0), Data: body, Header: nats.Header{
		subject.HeaderOrigin: {origin + " 2"}, subject.HeaderReason: {"an older version could not read it"}}}
	if seq != "" {
		m.Header[subject.HeaderSeq] = []string{seq}
	}
	a, err := b.Publish(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	return a.Sequence
}

// retry asks fan-out to handle a dead letter again, once it answers.
func retry(t *testing.T, b *bus.Bus, seq uint64) (a bus.RetryAnswer) {
	t.Helper()
	meshtest.Eventually(t, meshtest.Patience, "fan-out answers", func() bool {
		return b.Call(t.Context(), subject.FanOutRetryEndpoint, bus.RetryRequest{Seq: seq}, &a) == nil
	})
	return a
}

func TestADeadLetterIsPublishedAgainIfTheHistoryHasIt(t *testing.T) {
	broker, b, l := setup(t)
	ann, ben := listen(t, b, "ann"), listen(t, b, "ben")
	do(t, l, chat.Create{By: "ann", Kind: chat.Group, Title: "t", Members: []chat.UserID{"ben"}})
	for n := range 3 {
		do(t, l, say(n))
	}
	do(t, l, chat.RemoveMember{By: "ann", User: "ben"})
	worker(t, broker)
	meshtest.Eventually(t, meshtest.Patience, "all events", func() bool { return len(ann.firsts()) == 5 && len(ben.firsts()) == 5 })
	items, err := l.After(t.Context(), "c1", 2, 0, 1, 0)
	if err != nil || len(items) != 1 {
		t.Fatal(err)
	}
	body, origin := items[0].Body, subject.Log(0, "c1")
	if a := retry(t, b, putAside(t, b, origin, "3", body)); !a.Done {
		t.Fatalf("got %+v; want done", a)
	}
	for name, in := range map[string]*inbox{"ann": ann, "ben, who was a member at that event,": ben} {
		meshtest.Eventually(t, meshtest.Patience, name+" gets it again", func() bool {
			in.mu.Lock()
			defer in.mu.Unlock()
			return slices.Equal(in.seqs, []chat.Seq{1, 2, 3, 4, 5, 3})
		})
	}
	// What the history does not have is published to nobody.
	other := slices.Clone(body)
	other[len(other)-10] ^= 1
	for _, c := range []struct {
		seq  string
		body []byte
	}{{"3", other}, {"", body}, {"4", body}, {"3", []byte("garbage")},
		{"99", []byte(`{"type":"message","chat":"c1","seq":99,"n":9,"sender":"ann","client_id":"x","text":"t","sent_at":"2026-11-23T18:20:54.592322Z"}`)}} {
		seq := putAside(t, b, origin, c.seq, c.body)
		if a := retry(t, b, seq); a.Done || a.Reason == "" {
			t.Errorf("%s %s: got %+v; want that it stays", c.seq, c.body, a)
		}
	}
	if n, err := b.CountDeadLetters(t.Context(), subject.FanOut); err != nil || n != 5 {
		t.Errorf("got %d dead letters, %v; want 5", n, err)
	}
	if got := len(ann.firsts()); got != 5 {
		t.Errorf("ann got %d events; want 5", got)
	}
}

func TestACursorThatWasPutAsideIsToldAgain(t *testing.T) {
	broker, b, l := setup(t)
	ann := listen(t, b, "ann")
	do(t, l, chat.Create{By: "ann", Kind: chat.Group, Title: "t", Members: []chat.UserID{"ben"}})
	worker(t, broker)
	body := wire.Encode(wire.Read{Type: wire.TypeRead, Chat: "c1", User: "ben", Seq: 1})
	if a := retry(t, b, putAside(t, b, subject.Cursor(0, "c1", "ben"), "", body)); !a.Done {
		t.Fatalf("got %+v; want done", a)
	}
	meshtest.Eventually(t, meshtest.Patience, "the cursor", func() bool {
		ann.mu.Lock()
		defer ann.mu.Unlock()
		return slices.Equal(ann.read, []chat.Seq{1})
	})
	if a := retry(t, b, putAside(t, b, subject.Cursor(0, "c2", "ben"), "", body)); a.Done {
		t.Errorf("of another chat: got %+v; want that it stays", a)
	}
}

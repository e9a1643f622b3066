package persister_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/meshtest"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// deleteThird says four things in c1, edits the third event and deletes it: eight events, of which 3 and 6 are to lose their texts.
func deleteThird(t *testing.T, r *rig) {
	t.Helper()
	r.do(t, chat.Create{By: "ann", Kind: chat.Group, Title: "t", Members: []chat.UserID{"ben"}})
	for n := range 4 {
		r.do(t, chat.Send{Sender: "ann", ClientID: say(n).ClientID, Text: "marker", Mentions: []chat.UserID{"ben"}})
	}
	target := chat.Target{Seq: 3, Sender: "ann", Head: 5}
	r.do(t, chat.Edit{By: "ann", Target: target, Text: "marker, again"})
	gone := chat.Delete{By: "ann", Target: chat.Target{Seq: 3, Sender: "ann", Head: 6}}
	items, err := r.log.After(t.Context(), "c1", 0, 0, 100, 0)
	if err != nil || len(items) != 6 {
		t.Fatalf("got %d events, %v", len(items), err)
	}
	for _, i := range []int{2, 5} {
		e, err := wire.DecodeEvent(items[i].Body)
		if err != nil {
			t.Fatal(err)
		}
		gone.Events = append(gone.Events, e)
	}
	r.do(t, gone)
	r.do(t, say(9))
}

// erased checks that store and log have the stubs at 3 and 6, and that the texts have left the stream.
func erased(t *testing.T, r *rig) {
	t.Helper()
	// The store has the stubs a moment before the log loses the texts.
	meshtest.Eventually(t, meshtest.Patience, "the texts have left the log", func() bool {
		msgs, err := r.bus.From(t.Context(), subject.ChatStream(0), subject.Log(0, "c1"), 1, 100, 0)
		return err == nil && len(msgs) == 6
	})
	r.holds(t, 8) // and the store has what the log says stands there
	page, err := r.store.Page(t.Context(), "c1", store.Range{Limit: 100})
	if err != nil || len(page) != 8 {
		t.Fatalf("got %d events, %v", len(page), err)
	}
	for _, it := range page {
		e, err := wire.DecodeEvent(it.Body)
		if err != nil {
			t.Fatal(err)
		}
		if gone := it.Seq == 3 || it.Seq == 6; gone != (e.Deleted != nil) || gone && (e.Text != "" || e.Deleted.Seq != 7) {
			t.Errorf("event %d: got %s", it.Seq, it.Body)
		}
	}
	if f, err := r.store.Find(t.Context(), "c1", "ann", "m1"); err != nil || f.Seq != 3 {
		t.Errorf("the client id of an erased message: got %+v, %v; want 3", f, err)
	}
	if seqs, err := r.store.Mentions(t.Context(), "ben", "c1", 0, 10); err != nil || len(seqs) != 3 {
		t.Errorf("mentions: got %v, %v; want those that are not erased", seqs, err)
	}
}

func TestWhatADeletionErasesIsErasedEvenIfWhoDeletedDied(t *testing.T) {
	r := setup(t)
	r.worker()
	deleteThird(t, r) // and nobody calls Scrub
	erased(t, r)
}

func TestATextThatLeftTheLogBeforeTheStoreHadItNeverComesThere(t *testing.T) {
	r := setup(t)
	deleteThird(t, r)
	if err := r.log.Scrub(t.Context(), "c1", 3, 6); err != nil {
		t.Fatal(err)
	}
	r.worker()
	erased(t, r)
}

func TestAStubPublishedByHandTakesNothingOutOfTheLog(t *testing.T) {
	r := setup(t)
	r.worker()
	r.do(t, chat.Create{By: "ann", Kind: chat.Group, Title: "t"})
	r.do(t, say(1))
	var last uint64
	for _, body := range []string{ // of the last event, which no deletion follows; with a text; of another chat
		`{"type":"message","chat":"c1","seq":2,"n":1,"sender":"ann","client_id":"m1","sent_at":"2026-01-01T00:00:00Z","deleted":{"seq":3,"by":"ann","at":"2026-01-01T00:00:00Z"}}`,
		`{"type":"message","chat":"c1","seq":2,"n":1,"sender":"ann","client_id":"m1","text":"x","sent_at":"2026-01-01T00:00:00Z","deleted":{"seq":3,"by":"ann","at":"2026-01-01T00:00:00Z"}}`,
		`{"type":"message","chat":"c2","seq":2,"n":1,"sender":"ann","client_id":"m1","sent_at":"2026-01-01T00:00:00Z","deleted":{"seq":3,"by":"ann","at":"2026-01-01T00:00:00Z"}}`,
	} {
		a, err := r.bus.Publish(t.Context(), &nats.Msg{Subject: subject.Erased(0, "c1", 2), Data: []byte(body)})
		if err != nil {
			t.Fatal(err)
		}
		last = a.Sequence
	}
	meshtest.Eventually(t, meshtest.Patience, "the stubs are handled while the event is still the last", func() bool {
		acked, err := r.bus.Acked(t.Context(), subject.ChatStream(0), subject.Persister)
		return err == nil && acked >= last
	})
	r.do(t, say(2))
	meshtest.Eventually(t, meshtest.Patience, "two dead letters, and the message behind", func() bool {
		rec, err := r.store.Record(t.Context(), "c1")
		return err == nil && rec.Seq == 3 && len(letters(t, r.bus)) == 2
	})
	m, err := r.bus.From(t.Context(), subject.ChatStream(0), subject.Log(0, "c1"), 1, 100, 0)
	if errors.Is(err, bus.ErrNotFound) || len(m) != 3 || !strings.Contains(string(m[1].Data), `"text"`) {
		t.Errorf("got %d events, %v; want all three as they were", len(m), err)
	}
}

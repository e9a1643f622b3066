package persister_test

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/meshtest"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/subject"
)

func TestTheHeadOfTheStoreIsTrueAlsoAfterAWorkerDiedWithWhatItWasGiven(t *testing.T) {
	r := setup(t)
	r.do(t, chat.Create{By: "ann", Kind: chat.Group, Title: "t", Members: []chat.UserID{"ben"}})
	for n := range 20 {
		r.do(t, say(n))
	}
	r.do(t, chat.Send{Sender: "ben", ClientID: "b1", Text: "t"})
	// A worker is given all that and dies: it neither acknowledges nor gives back.
	nc, err := nats.Connect(r.url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	dead, err := js.Consumer(t.Context(), subject.ChatStream(0), subject.Persister)
	if err != nil {
		t.Fatal(err)
	}
	given, err := dead.Fetch(22, jetstream.FetchPriorityGroup(subject.PinGroup), jetstream.FetchMaxWait(30*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for range given.Messages() {
		n++
	}
	if n < 22 {
		t.Fatalf("the worker that dies was given %d messages; want all 22 events", n)
	}
	for n := range 5 {
		r.do(t, say(100+n))
	}
	r.worker()
	meshtest.Eventually(t, meshtest.Patience, "the store has the last event", func() bool {
		rec, err := r.store.Record(t.Context(), "c1")
		return err == nil && rec.Seq == 27
	})
	page, err := r.store.Page(t.Context(), "c1", store.Range{Forward: true, Limit: 100})
	if err != nil || len(page) != 27 {
		t.Fatalf("the store says that it has all up to 27, and has %d events, %v", len(page), err)
	}
	if c, err := r.store.Cursor(t.Context(), "c1", "ben"); err != nil || c.Seq != 22 || c.N != 21 {
		t.Errorf("got cursor %+v, %v; want that of ben's last message, 22", c, err)
	}
	r.holds(t, 27)
}

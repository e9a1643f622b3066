package persister_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/chatlog"
	"github.com/chatmesh/chatmesh/pkg/meshtest"
	"github.com/chatmesh/chatmesh/pkg/meshtest/leaks"
	"github.com/chatmesh/chatmesh/pkg/run"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/store/pebble"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/services/persister"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(leaks.Patient(m)) }

// flaky is a store that can be away.
type flaky struct {
	store.Store
	away   atomic.Bool
	refuse atomic.Int64
}

var errAway = errors.New("the store is away")

func (f *flaky) Write(ctx context.Context, b store.Batch) error {
	if f.away.Load() {
		f.refuse.Add(1)
		return errAway
	}
	return f.Store.Write(ctx, b)
}

type noStore struct{ chatlog.Older }

func (noStore) Record(context.Context, chat.ID) (store.Record, error) {
	return store.Record{}, store.ErrNotFound
}

func (noStore) Sent(context.Context, chat.ID, chat.UserID, chat.Seq) (chatlog.Sent, error) {
	return chatlog.Sent{}, nil
}

func (noStore) Find(context.Context, chat.ID, chat.UserID, chat.ClientID) (store.Found, error) {
	return store.Found{}, store.ErrNotFound
}

type rig struct {
	metrics *prometheus.Registry // of the last worker
	url     string
	bus     *bus.Bus
	log     *chatlog.Log
	store   *flaky
	health  *run.Health
	worker  func() (stop func())
}

func setup(t *testing.T) *rig {
	t.Helper()
	broker := meshtest.NewBroker(t)
	r := &rig{url: broker.ClientURL(), bus: broker.Bus(t), health: &run.Health{}}
	meshtest.Ensure(t, r.bus, meshtest.Layout(1))
	db, err := pebble.Open(t.TempDir(), pebble.Options{Log: meshtest.Logger(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	r.store = &flaky{Store: db}
	if r.log, err = chatlog.New(chatlog.Config{Bus: r.bus, Partitions: 1, Older: noStore{}, Retention: time.Hour, Logger: meshtest.Logger(t)}); err != nil {
		t.Fatal(err)
	}
	meshtest.Run(t, r.log.Run)
	r.worker = func() func() {
		r.metrics = prometheus.NewRegistry()
		s, err := persister.New(persister.Config{Bus: broker.Bus(t), Store: r.store, Partitions: 1, Logger: meshtest.Logger(t), Health: r.health,
			Metrics: r.metrics})
		if err != nil {
			t.Fatal(err)
		}
		return meshtest.Run(t, s.Run)
	}
	return r
}

func (r *rig) do(t *testing.T, cmd chat.Command) {
	t.Helper()
	if _, err := r.log.Append(t.Context(), "c1", cmd); err != nil {
		t.Fatal(err)
	}
}

// holds waits until the store holds n events of c1, and checks that they are those of the log.
func (r *rig) holds(t *testing.T, n int) {
	t.Helper()
	meshtest.Eventually(t, meshtest.Patience, fmt.Sprintf("%d events in the store", n), func() bool {
		rec, err := r.store.Record(t.Context(), "c1")
		return err == nil && rec.Seq == chat.Seq(n)
	})
	want, err := r.log.After(t.Context(), "c1", 0, 0, 10_000, 0)
	if err != nil {
		t.Fatal(err)
	}
	var got []store.Item
	for after := chat.Seq(0); len(got) < n; after = got[len(got)-1].Seq {
		page, err := r.store.Page(t.Context(), "c1", store.Range{After: after, Forward: true, Limit: 200})
		if err != nil || len(page) == 0 {
			t.Fatalf("page after %d: %d, %v", after, len(page), err)
		}
		got = append(got, page...)
	}
	if len(got) != len(want) {
		t.Fatalf("the store has %d events, the log %d", len(got), len(want))
	}
	for i := range want {
		if got[i].Seq != want[i].Seq || string(got[i].Body) != string(want[i].Body) {
			t.Fatalf("event %d differs between store and log", i+1)
		}
	}
}

func say(n int) chat.Send {
	return chat.Send{Sender: "ann", ClientID: chat.ClientID(fmt.Sprint("m", n)), Text: "t"}
}

func TestEveryEventStateAndCursorComesToTheStore(t *testing.T) {
	r := setup(t)
	r.worker()
	r.do(t, chat.Create{By: "ann", Kind: chat.Group, Title: "t", Members: []chat.UserID{"ben"}})
	for n := range 20 {
		r.do(t, say(n))
	}
	r.do(t, chat.RemoveMember{By: "ann", User: "ben"})
	if _, err := r.log.MarkRead(t.Context(), "c1", "ann", 5); err != nil {
		t.Fatal(err)
	}
	if _, err := r.log.MarkDelivered(t.Context(), "c1", "ann", 22); err != nil {
		t.Fatal(err)
	}
	r.holds(t, 22)
	meshtest.Eventually(t, meshtest.Patience, "the state after the removal", func() bool {
		rec, err := r.store.Record(t.Context(), "c1")
		return err == nil && rec.State != nil && rec.State.Seq == 22 && len(rec.State.Members) == 1
	})
	if c, err := r.store.Cursor(t.Context(), "c1", "ann"); err != nil || c.Seq != 21 || c.N != 20 {
		t.Errorf("got cursor %+v, %v; want that of ann's last message, 21, which read 5 does not move back", c, err)
	}
	meshtest.Eventually(t, meshtest.Patience, "what was delivered", func() bool {
		c, err := r.store.Cursor(t.Context(), "c1", "ann")
		return err == nil && c.Seq == 21 && c.N == 20 && c.Delivered == 22
	})
	if chats, err := r.store.ChatsOf(t.Context(), "ben"); err != nil || len(chats) != 0 {
		t.Errorf("ben, who was removed, has %d chats, %v; want none", len(chats), err)
	}
}

func TestWhileTheStoreIsAwayNothingIsLostAndItIsSeen(t *testing.T) {
	r := setup(t)
	r.worker()
	r.do(t, chat.Create{By: "ann", Kind: chat.Group, Title: "t"})
	r.holds(t, 1)
	r.store.away.Store(true)
	for n := range 100 {
		r.do(t, say(n))
	}
	meshtest.Eventually(t, meshtest.Patience, "it is told what is waited for", func() bool { return r.health.Err(t.Context()) != nil })
	tried := r.store.refuse.Load()
	time.Sleep(300 * time.Millisecond) // a time in which a busy loop would try thousands of times
	if n := r.store.refuse.Load() - tried; n > 20 {
		t.Errorf("tried %d times in 300 ms; want a backoff", n)
	}
	r.store.away.Store(false)
	r.holds(t, 101)
	meshtest.Eventually(t, meshtest.Patience, "nothing is waited for", func() bool { return r.health.Err(t.Context()) == nil })
}

// behind is what the metric says of the log's lag; negative where it says nothing.
func (r *rig) behind(t *testing.T) float64 {
	t.Helper()
	all, err := r.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range all {
		for _, of := range m.GetMetric() {
			if m.GetName() == "chatmesh_persister_lag_messages" && of.GetLabel()[0].GetValue() == subject.ChatStream(0) {
				return of.GetGauge().GetValue()
			}
		}
	}
	return -1
}

func TestTheLagGrowsWhileTheStoreIsAwayAndGoesOnlyWithWhatIsWritten(t *testing.T) {
	r := setup(t)
	r.worker()
	r.do(t, chat.Create{By: "ann", Kind: chat.Group, Title: "t"})
	r.holds(t, 1)
	meshtest.Eventually(t, meshtest.Patience, "no lag", func() bool { return r.behind(t) == 0 })
	r.store.away.Store(true)
	for n := range 50 {
		r.do(t, say(n))
	}
	meshtest.Eventually(t, meshtest.Patience, "a lag of 50 events", func() bool { return r.behind(t) == 50 })
	for n := range 50 {
		r.do(t, say(50+n))
	}
	meshtest.Eventually(t, meshtest.Patience, "a lag of 100 events, though no more of them have come here", func() bool { return r.behind(t) == 100 })
	r.store.away.Store(false)
	r.holds(t, 101)
	meshtest.Eventually(t, meshtest.Patience, "no lag again", func() bool { return r.behind(t) == 0 })
}

func TestAnotherPersisterGoesOnWhereOneEnded(t *testing.T) {
	r := setup(t)
	stop := r.worker()
	r.worker()
	r.do(t, chat.Create{By: "ann", Kind: chat.Group, Title: "t"})
	for n := range 100 {
		if n == 50 {
			stop()
		}
		r.do(t, say(n))
	}
	r.holds(t, 101)
}

func TestPoisonIsPutAsideAndTheRestIsWritten(t *testing.T) {
	r := setup(t)
	r.do(t, chat.Create{By: "ann", Kind: chat.Group, Title: "t"})
	for _, subj := range []string{subject.Log(0, "c9"), subject.State(0, "c9"), subject.Cursor(0, "c9", "ann")} {
		if _, err := r.bus.Publish(t.Context(), &nats.Msg{Subject: subj, Data: []byte(`no JSON`)}); err != nil {
			t.Fatal(err)
		}
	}
	// It reads well, but the store cannot hold it.
	odd := fmt.Sprintf(`{"type":"message","chat":"c8","seq":1,"n":1,"sender":%q,"client_id":"a","text":"t","sent_at":"2026-01-01T00:00:00Z"}`,
		strings.Repeat("x", 500))
	if _, err := r.bus.Publish(t.Context(), &nats.Msg{Subject: subject.Log(0, "c8"), Data: []byte(odd)}); err != nil {
		t.Fatal(err)
	}
	r.do(t, say(1))
	r.worker()
	r.holds(t, 2)
	meshtest.Eventually(t, meshtest.Patience, "four dead letters", func() bool {
		s, err := r.bus.JetStream().Stream(t.Context(), subject.DeadLetters)
		return err == nil && s.CachedInfo().State.Msgs == 4
	})
}

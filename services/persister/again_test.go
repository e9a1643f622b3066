package persister_test

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/meshtest"
	"github.com/chatmesh/chatmesh/pkg/run"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/services/persister"
)

// picky is a store that refuses an event for ever, until it is mended.
type picky struct {
	store.Store
	why    atomic.Pointer[string]
	client chat.ClientID
}

func (p *picky) Write(ctx context.Context, b store.Batch) error {
	why := p.why.Load()
	if why != nil && slices.ContainsFunc(b.Events, func(e store.Entry) bool { return e.Event.ClientID == p.client }) {
		return chat.Errorf(chat.BadRequest, "%s", *why)
	}
	return p.Store.Write(ctx, b)
}

func (p *picky) because(why string) { p.why.Store(&why) }

// pickyRig is a rig whose persister has a picky store and metrics.
func pickyRig(t *testing.T) (*rig, *picky, func() float64) {
	t.Helper()
	r := setup(t)
	p := &picky{Store: r.store, client: "m2"}
	registry := prometheus.NewRegistry()
	s, err := persister.New(persister.Config{Bus: r.bus, Store: p, Partitions: 1, Logger: meshtest.Logger(t), Health: &run.Health{},
		Metrics: registry, Version: "1.2.3"})
	if err != nil {
		t.Fatal(err)
	}
	meshtest.Run(t, s.Run)
	return r, p, func() float64 {
		all, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range all {
			if m.GetName() == "chatmesh_deadletters" {
				return m.GetMetric()[0].GetGauge().GetValue()
			}
		}
		t.Fatal("chatmesh_deadletters is no metric")
		return 0
	}
}

// letters are the dead letters.
func letters(t *testing.T, b *bus.Bus) []bus.Dead {
	t.Helper()
	all, err := b.DeadLetters(t.Context(), 1, 100)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// retry asks the persister to handle a dead letter again, once it answers.
func retry(t *testing.T, b *bus.Bus, seq uint64) (a bus.RetryAnswer, err error) {
	t.Helper()
	meshtest.Eventually(t, meshtest.Patience, "the persister answers", func() bool {
		err = b.Call(t.Context(), subject.PersisterRetryEndpoint, bus.RetryRequest{Seq: seq}, &a)
		return err == nil || chat.AsError(err).Code != chat.Internal
	})
	return a, err
}

func TestAnEventThatTheStoreRefusesIsPutAsideAndRetriedUntilTheStoreTakesIt(t *testing.T) {
	r, p, gauge := pickyRig(t)
	p.because("no room for it")
	r.do(t, chat.Create{By: "ann", Kind: chat.Group, Title: "t"})
	for n := range 5 {
		r.do(t, say(n))
	}
	meshtest.Eventually(t, meshtest.Patience, "a dead letter", func() bool { return len(letters(t, r.bus)) == 1 })
	d := letters(t, r.bus)[0]
	if d.Worker != subject.Persister || d.Partition != 0 || d.Origin != "chat.0.c1.log" || d.Stream == 0 || !strings.Contains(d.Reason, "no room") ||
		!strings.Contains(string(d.Body), `"m2"`) || d.Time.IsZero() || d.Header.Get(subject.HeaderSeq) != "4" {
		t.Fatalf("got %+v", d)
	}
	// In vain: nothing has changed, so it stays as it is.
	a, err := retry(t, r.bus, d.Seq)
	if err != nil || a.Done || a.Seq != d.Seq || a.Reason != d.Reason {
		t.Fatalf("got %+v, %v; want that it stays", a, err)
	}
	if now := letters(t, r.bus); len(now) != 1 || now[0].Seq != d.Seq {
		t.Fatalf("got %+v; want the letter as it was", now)
	}
	// In vain for another reason, which it stays with.
	p.because("another reason")
	if a, err = retry(t, r.bus, d.Seq); err != nil || a.Done || a.Seq <= d.Seq || !strings.Contains(a.Reason, "another") {
		t.Fatalf("got %+v, %v; want that it stays with the new reason", a, err)
	}
	now := letters(t, r.bus)
	if len(now) != 1 || now[0].Seq != a.Seq || now[0].Reason != a.Reason || string(now[0].Body) != string(d.Body) || now[0].Origin != d.Origin ||
		now[0].Stream != d.Stream || now[0].Header.Get(subject.HeaderSeq) != "4" {
		t.Fatalf("got %+v; want the same letter with %s", now, a.Reason)
	}
	meshtest.Eventually(t, meshtest.Patience, "the metric says 1", func() bool { return gauge() == 1 })
	// The store is away: that is no reason.
	r.store.away.Store(true)
	p.why.Store(nil)
	if _, err := retry(t, r.bus, a.Seq); !chat.Is(err, chat.Unavailable) {
		t.Fatalf("got %v; want unavailable", err)
	}
	r.store.away.Store(false)
	// The store takes it.
	if a, err = retry(t, r.bus, a.Seq); err != nil || !a.Done {
		t.Fatalf("got %+v, %v; want done", a, err)
	}
	if now := letters(t, r.bus); len(now) != 0 {
		t.Fatalf("got %+v; want none", now)
	}
	meshtest.Eventually(t, meshtest.Patience, "the metric says 0", func() bool { return gauge() == 0 })
	r.holds(t, 6)
	if rec, err := r.store.Record(t.Context(), "c1"); err != nil || rec.Seq != 6 || rec.N != 5 {
		t.Errorf("got %+v, %v; want the head where it was", rec, err)
	}
	if f, err := r.store.Find(t.Context(), "c1", "ann", "m2"); err != nil || f.Seq != 4 {
		t.Errorf("got %+v, %v; want 4", f, err)
	}
	if _, err := retry(t, r.bus, a.Seq+1); !chat.Is(err, chat.NotFound) {
		t.Errorf("a letter that is not there: got %v; want not found", err)
	}
}

func TestStatesAndCursorsAreRetriedToo(t *testing.T) {
	r, _, _ := pickyRig(t)
	r.do(t, chat.Create{By: "ann", Kind: chat.Group, Title: "t"})
	r.holds(t, 1)
	for subj, body := range map[string]string{
		subject.State(0, "c8"):            `{"chat":"c8","seq":3,"kind":"group","title":"t","created_at":"2026-11-23T18:19:48.920129Z","members":[]}`,
		subject.Cursor(0, "c8", "ann"):    `{"type":"read","chat":"c8","user":"ann","seq":7,"n":5}`,
		subject.Delivered(0, "c8", "ann"): `{"type":"delivered","chat":"c8","user":"ann","seq":9}`,
	} {
		d := bus.Delivery{Msg: fake{subj: subj, body: []byte(body)}, Stream: 99}
		if err := r.bus.DeadLetter(t.Context(), subject.Persister, 0, d, "an older version could not read it"); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range letters(t, r.bus) {
		if a, err := retry(t, r.bus, d.Seq); err != nil || !a.Done {
			t.Fatalf("%s: got %+v, %v; want done", d.Origin, a, err)
		}
	}
	if rec, err := r.store.Record(t.Context(), "c8"); err != nil || rec.State == nil || rec.State.Seq != 3 {
		t.Errorf("got %+v, %v; want the state", rec, err)
	}
	if c, err := r.store.Cursor(t.Context(), "c8", "ann"); err != nil || c.Seq != 7 || c.N != 5 || c.Delivered != 9 {
		t.Errorf("got %+v, %v; want the cursor", c, err)
	}
	if now := letters(t, r.bus); len(now) != 0 {
		t.Errorf("got %+v; want none", now)
	}
}

func TestLettersOfOthersAreRefused(t *testing.T) {
	r, _, _ := pickyRig(t)
	for _, m := range []*nats.Msg{
		{Subject: subject.Dead(subject.FanOut, 0), Header: nats.Header{subject.HeaderOrigin: {"chat.0.c1.log 1"}}},
		{Subject: subject.Dead(subject.Persister, 0)},
		{Subject: "dead.letter"},
	} {
		a, err := r.bus.Publish(t.Context(), m)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := retry(t, r.bus, a.Sequence); !chat.Is(err, chat.BadRequest) {
			t.Errorf("%s: got %v; want bad_request", m.Subject, err)
		}
	}
	for _, q := range []any{"x", map[string]any{}, map[string]any{"seq": -1}} {
		if err := r.bus.Call(t.Context(), subject.PersisterRetryEndpoint, q, nil); !chat.Is(err, chat.BadRequest) {
			t.Errorf("%v: got %v; want bad_request", q, err)
		}
	}
	if now := letters(t, r.bus); len(now) != 3 {
		t.Errorf("got %+v; want all 3", now)
	}
}

// fake is a delivery that was put aside.
type fake struct {
	jetstream.Msg
	subj string
	body []byte
}

func (f fake) Subject() string      { return f.subj }
func (f fake) Data() []byte         { return f.body }
func (f fake) Headers() nats.Header { return nil }

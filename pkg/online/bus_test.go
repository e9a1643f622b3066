package online

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/meshtest"
	"github.com/chatmesh/chatmesh/pkg/subject"
)

// What presence needs of leases, keys and watches, on the real server.

// view is what a watch of the bucket of presence has told.
type view struct {
	mu     sync.Mutex // guards the following fields
	keys   map[string]string
	gone   map[string]time.Time // when somebody was told that a key is gone
	begins int
	isRead bool
}

func watch(t *testing.T, b *bus.Bus) *view {
	t.Helper()
	v := &view{gone: map[string]time.Time{}}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.Watch(ctx, subject.Presence,
			func() { v.do(func() { v.keys, v.isRead = map[string]string{}, false; v.begins++ }) },
			func() { v.do(func() { v.isRead = true }) },
			func(c bus.KeyChange) {
				v.do(func() {
					if delete(v.keys, c.Key); c.Value != nil {
						v.keys[c.Key] = string(c.Value)
					} else {
						v.gone[c.Key] = time.Now()
					}
				})
			})
	}()
	t.Cleanup(func() { cancel(); <-done })
	meshtest.Eventually(t, meshtest.Patience, "the watch is ready", func() bool { return v.ready() })
	return v
}

func (v *view) do(fn func()) {
	v.mu.Lock()
	defer v.mu.Unlock()
	fn()
}

func (v *view) ready() (ok bool) { v.do(func() { ok = v.isRead }); return ok }

func (v *view) has(key string) (ok bool) { v.do(func() { _, ok = v.keys[key] }); return ok }

func (v *view) size() (n int) { v.do(func() { n = len(v.keys) }); return n }

func (v *view) goneAt(key string) (at time.Time) { v.do(func() { at = v.gone[key] }); return at }

func mesh(t *testing.T) (*meshtest.Broker, *bus.Bus) {
	t.Helper()
	broker := meshtest.NewBroker(t)
	b := broker.Bus(t)
	meshtest.Ensure(t, b, meshtest.Layout(1))
	return broker, b
}

func TestLeaseBeatenAgainAndAgainNeitherExpiresEarlyNorLivesForEver(t *testing.T) {
	t.Parallel()
	_, b := mesh(t)
	v := watch(t, b)
	const ttl = 4 * time.Second // long beside what a beat takes on a machine that does much else
	put := func() {
		if err := b.PutFor(t.Context(), subject.Presence, "edge.a", []byte("x"), ttl); err != nil {
			t.Fatal(err)
		}
	}
	put()
	meshtest.Eventually(t, meshtest.Patience, "the lease is seen", func() bool { return v.has("edge.a") })
	var last time.Time
	tick := time.NewTicker(ttl / 3)
	defer tick.Stop()
	for range 9 { // three lives of a lease that nobody beats
		<-tick.C
		put()
		last = time.Now()
		if !v.goneAt("edge.a").IsZero() {
			t.Fatal("a lease that is beaten has expired")
		}
	}
	meshtest.Eventually(t, meshtest.Patience, "the watch is told of the expiry", func() bool { return !v.goneAt("edge.a").IsZero() })
	late := v.goneAt("edge.a").Sub(last) - ttl
	t.Logf("expired %v after its age", late)
	if late < -50*time.Millisecond || late > time.Minute { // otherwise the bucket would end it, after 2 min
		t.Fatalf("got the expiry %v after the age of the last beat; want it soon, and not before", late)
	}
}

func TestLeaseGoesFromHandToHandOnlyWhenItEnds(t *testing.T) {
	t.Parallel()
	_, b := mesh(t)
	acquire := func(who string, revision uint64) (uint64, error) {
		return b.Acquire(t.Context(), subject.Nodes, "leader", []byte(who), 5*time.Second, revision)
	}
	first, err := acquire("a", 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := acquire("b", 0); !errors.Is(err, bus.ErrHeld) {
		t.Fatalf("got %v; want %v", err, bus.ErrHeld)
	}
	second, err := acquire("a", first)
	if err != nil || second <= first {
		t.Fatalf("got %d, %v; want a revision above %d", second, err, first)
	}
	if again, err := acquire("a", first); err != nil || again <= second { // as if the last answer had been lost
		t.Fatalf("got %d, %v; want a holder whose answer was lost to renew", again, err)
	}
	meshtest.Eventually(t, meshtest.Patience, "b takes over the expired lease", func() bool {
		_, err := acquire("b", 0)
		return err == nil
	})
	if _, err := acquire("a", second); !errors.Is(err, bus.ErrHeld) {
		t.Fatalf("got %v; want %v", err, bus.ErrHeld)
	}
	if err := b.DeleteKey(t.Context(), subject.Nodes, "leader"); err != nil {
		t.Fatal(err)
	}
	if _, err := acquire("a", second); err != nil {
		t.Fatalf("got %v; want a to have what b gave back", err)
	}
}

func TestRenewalTellsWhenTheLeaseWasLost(t *testing.T) {
	t.Parallel()
	_, b := mesh(t)
	renew := func(who string, revision uint64) (uint64, error) {
		return b.Renew(t.Context(), subject.Presence, "edge.a", []byte(who), 5*time.Second, revision)
	}
	first, err := b.Acquire(t.Context(), subject.Presence, "edge.a", []byte("x"), 5*time.Second, 0)
	if err != nil {
		t.Fatal(err)
	}
	second, err := renew("x", first)
	if err != nil {
		t.Fatal(err)
	}
	if third, err := renew("x", first); err != nil || third <= second {
		t.Fatalf("got %d, %v; want a renewal whose answer was lost to be taken for its own", third, err)
	}
	if _, err := renew("x", 1000); !errors.Is(err, bus.ErrLost) {
		t.Fatalf("got %v; want %v where the bucket has lost its end", err, bus.ErrLost)
	}
	if _, err := renew("y", first); !errors.Is(err, bus.ErrLost) {
		t.Fatalf("got %v; want %v where another has it", err, bus.ErrLost)
	}
	meshtest.Eventually(t, meshtest.Patience, "the lease expires", func() bool {
		_, err := b.Key(t.Context(), subject.Presence, "edge.a")
		return errors.Is(err, bus.ErrNotFound)
	})
	if _, err := renew("x", second); !errors.Is(err, bus.ErrLost) {
		t.Fatalf("got %v; want %v after the expiry", err, bus.ErrLost)
	}
}

func TestRemovedKeyLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	_, b := mesh(t)
	v := watch(t, b)
	for _, bucket := range []string{subject.Presence, subject.LastSeen} { // with ages of keys, and without
		if err := b.Keep(t.Context(), bucket, "p.a", []byte("x")); err != nil {
			t.Fatal(err)
		}
		if err := b.DeleteKey(t.Context(), bucket, "p.a"); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Key(t.Context(), bucket, "p.a"); !errors.Is(err, bus.ErrNotFound) {
			t.Fatalf("got %v; want %v", err, bus.ErrNotFound)
		}
	}
	meshtest.Eventually(t, meshtest.Patience, "the watch is told", func() bool { return !v.goneAt("p.a").IsZero() })
	m := bus.Removal(subject.Presence, "p.a", 0)
	m.Header.Set("Nats-TTL", "1s") // of a minute otherwise
	if _, err := b.Publish(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	meshtest.Eventually(t, meshtest.Patience/2, "the marker goes", func() bool {
		msgs, err := b.LastFor(t.Context(), subject.KVStream(subject.Presence), subject.KV(subject.Presence, "p.a"))
		return err == nil && len(msgs) == 0
	})
}

func TestWatchBeginsAnewWhenTheBrokerComesBackAndLeaksNothing(t *testing.T) {
	t.Parallel()
	broker, b := mesh(t)
	v := watch(t, b)
	for i := range 3 {
		broker.Stop()
		broker.Start()
		meshtest.Eventually(t, meshtest.Patience, "a key is put", func() bool {
			return b.Keep(t.Context(), subject.Presence, "p."+string(rune('a'+i)), nil) == nil
		})
		meshtest.Eventually(t, meshtest.Patience, "all keys are seen", func() bool { return v.ready() && v.size() == i+1 })
	}
	if v.do(func() {}); v.begins < 4 {
		t.Fatalf("got %d beginnings; want one more than restarts", v.begins)
	}
}

func TestWatchWhoseSourceInTheBrokerDiedBeginsAnew(t *testing.T) {
	t.Parallel()
	_, b := mesh(t)
	v := watch(t, b)
	stream, err := b.JetStream().Stream(t.Context(), subject.KVStream(subject.Presence))
	if err != nil {
		t.Fatal(err)
	}
	for name := range stream.ConsumerNames(t.Context()).Name() {
		if err := stream.DeleteConsumer(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Keep(t.Context(), subject.Presence, "p.a", nil); err != nil {
		t.Fatal(err)
	}
	meshtest.Eventually(t, meshtest.Patience, "the key is seen", func() bool { return v.has("p.a") })
	stays := time.Now()
	begins := func() (n int) { v.do(func() { n = v.begins }); return n }
	meshtest.Eventually(t, meshtest.Patience, "a quiet watch is left alone", func() bool {
		if n := begins(); n != 2 {
			t.Fatalf("got %d beginnings; want 2", n)
		}
		return time.Since(stays) > 4500*time.Millisecond
	})
}

func TestWatchThatIsBrokenOffWhileMuchIsUnderWayLeaksNothing(t *testing.T) {
	t.Parallel()
	broker, b := mesh(t)
	puts := broker.Bus(t)
	for _, key := range keys(2000) {
		if _, err := puts.JetStream().PublishAsync(subject.KV(subject.Presence, key), nil); err != nil {
			t.Fatal(err)
		}
	}
	<-puts.JetStream().PublishAsyncComplete()
	for range 8 { // whether one takes another update when it ends is up to chance
		ctx, cancel := context.WithCancel(t.Context())
		n, before := 0, b.Conn().Stats().InMsgs
		b.Watch(ctx, subject.Presence, nil, nil, func(bus.KeyChange) {
			if n++; n == 10 {
				meshtest.Eventually(t, meshtest.Patience, "more has arrived than the client buffers", func() bool {
					return b.Conn().Stats().InMsgs > before+1000
				})
				cancel() // goleak finds who waits for ever
			}
		})
	}
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

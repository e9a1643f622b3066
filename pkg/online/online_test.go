package online

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/meshtest"
	"github.com/chatmesh/chatmesh/pkg/subject"
)

func people(n int) []chat.UserID {
	out := make([]chat.UserID, n)
	for i := range out {
		out[i] = chat.UserID(fmt.Sprintf("01J9Z3K5T7W8X2Y4B6D8F0%04X", i))
	}
	return out
}

func keys(n int) []string {
	var out []string
	for _, u := range people(n) {
		out = append(out, subject.PresenceKey(u, "a"))
	}
	return out
}

// start runs a reporter until the test ends or stop is called.
func start(t testing.TB, r *Reporter) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	stopped := false
	stop = func() {
		if cancel(); !stopped {
			stopped = true
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	}
	t.Cleanup(stop)
	return stop
}

func TestKeyComesAndGoesWithThePersonAndTheLeaseWithTheReporter(t *testing.T) {
	t.Parallel()
	broker, b := mesh(t)
	v := watch(t, b)
	r := New(broker.Bus(t), "a", 3*time.Second, discard())
	r.Come("early") // before there is a lease
	stop := start(t, r)
	r.Come("ann")
	r.Come("ann")
	r.Come("bob")
	meshtest.Eventually(t, meshtest.Patience, "lease and keys are there", func() bool {
		return v.has("edge.a") && v.has("early.a") && v.has("ann.a") && v.has("bob.a")
	})
	r.Go("ann")
	r.Go("ann")
	r.Go("nobody")
	meshtest.Eventually(t, meshtest.Patience, "ann's key is gone", func() bool { return !v.has("ann.a") && v.has("bob.a") })
	stop()
	meshtest.Eventually(t, meshtest.Patience, "everything is gone", func() bool { return v.size() == 0 })
	if lease, key := v.goneAt("edge.a"), v.goneAt("bob.a"); key.Before(lease) {
		t.Errorf("got the end of bob's key %v before that of the lease; want the lease first", lease.Sub(key))
	}
	r.Come("late")
	if len(r.people) != 0 {
		t.Error("a reporter that has ended remembers people")
	}
}

func TestOnlyTheLastWishCountsInAFloodOfThem(t *testing.T) {
	t.Parallel()
	broker, b := mesh(t)
	v := watch(t, b)
	r := New(broker.Bus(t), "a", 3*time.Second, discard())
	start(t, r)
	users := people(50)
	for range 200 {
		for _, u := range users {
			r.Come(u)
			r.Go(u)
		}
	}
	for _, u := range users[:25] {
		r.Come(u)
	}
	settled := func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		if len(r.people) != 25 || len(r.queue) != 0 {
			return false
		}
		for _, h := range r.people {
			if h.stored == gone {
				return false
			}
		}
		return true
	}
	meshtest.Eventually(t, meshtest.Patience, "all wishes are written and those who went are forgotten", settled)
	meshtest.Eventually(t, meshtest.Patience, "25 keys and the lease are there", func() bool { return v.size() == 26 })
	for i, key := range keys(50) {
		if got, want := v.has(key), i < 25; got != want {
			t.Errorf("key %s: got %v; want %v", key, got, want)
		}
	}
}

func TestEverythingIsPutAgainAfterTheBrokerWasAway(t *testing.T) {
	t.Parallel()
	broker, b := mesh(t)
	v := watch(t, b)
	r := New(broker.Bus(t), "a", 2*time.Second, discard())
	start(t, r)
	r.Come("ann")
	r.Come("bob")
	meshtest.Eventually(t, meshtest.Patience, "the keys are there", func() bool { return v.has("ann.a") && v.has("bob.a") })
	broker.Stop()
	r.Come("cid")
	r.Go("bob")
	gone := time.Now()
	meshtest.Eventually(t, meshtest.Patience, "the lease is too old", func() bool { return time.Since(gone) > 2200*time.Millisecond })
	broker.Start()
	meshtest.Eventually(t, meshtest.Patience, "what was wished meanwhile is written", func() bool {
		return v.ready() && v.has("edge.a") && v.has("ann.a") && !v.has("bob.a") && v.has("cid.a")
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.again < 2 {
		t.Error("the lease was not lost; the test shows nothing")
	}
}

func TestLostLeaseIsTakenAnewAndItsKeysArePutAgain(t *testing.T) {
	t.Parallel()
	broker, b := mesh(t)
	v := watch(t, b)
	r := New(broker.Bus(t), "a", 2*time.Second, discard())
	start(t, r)
	users := people(1000)
	for _, u := range users {
		r.Come(u)
	}
	meshtest.Eventually(t, meshtest.Patience, "the keys are there", func() bool { return v.size() == 1001 })
	// An operator, or the presence service, has taken all of it away.
	for _, key := range append(keys(3), "edge.a") {
		if err := b.DeleteKey(t.Context(), subject.Presence, key); err != nil {
			t.Fatal(err)
		}
	}
	meshtest.Eventually(t, meshtest.Patience, "everything is there again", func() bool { return v.size() == 1001 })
}

func TestKeysAreRenewedBeforeTheyExpireSpreadOverTime(t *testing.T) {
	t.Parallel()
	broker := meshtest.NewBroker(t)
	b := broker.Bus(t)
	layout := meshtest.Layout(1)
	layout.PresenceTTL = 24 * time.Second // a key is renewed 6 s before its end at the latest
	meshtest.Ensure(t, b, layout)
	v := watch(t, b)
	r := New(broker.Bus(t), "a", 9*time.Second, discard())
	start(t, r)
	users := people(100)
	for _, u := range users {
		r.Come(u)
	}
	meshtest.Eventually(t, meshtest.Patience, "the keys are there", func() bool { return v.size() == 101 })
	began := time.Now()
	meshtest.Eventually(t, meshtest.Patience, "more than an age passes", func() bool {
		if v.size() != 101 {
			t.Fatalf("got %d keys after %v; want 101", v.size(), time.Since(began))
		}
		return time.Since(began) > 26*time.Second
	})
}

func TestNewProcessOfTheSameNameTakesOverAndTheOldOneMakesWay(t *testing.T) {
	t.Parallel()
	broker, b := mesh(t)
	v := watch(t, b)
	before := New(broker.Bus(t), "a", 6*time.Second, discard())
	stop := start(t, before)
	before.Come("ann")
	before.Come("bob")
	meshtest.Eventually(t, meshtest.Patience, "the keys are there", func() bool { return v.size() == 3 })
	after := New(broker.Bus(t), "a", 6*time.Second, discard())
	start(t, after)
	after.Come("ann")
	life := func(key string) (out string) { v.do(func() { out = v.keys[key] }); return out }
	mine := func() bool { return life("edge.a") == string(after.value) && life("ann.a") == string(after.value) }
	meshtest.Eventually(t, meshtest.Patience, "lease and key are the new one's", mine)
	before.Go("ann")
	meshtest.Eventually(t, meshtest.Patience, "the old one has made way", func() bool {
		before.mu.Lock()
		defer before.mu.Unlock()
		return !before.leased
	})
	stop()
	if !mine() {
		t.Error("the end of the old process has taken something from the new one")
	}
}

func TestNameThatIsNoTokenIsRefused(t *testing.T) {
	t.Parallel()
	_, b := mesh(t)
	for _, name := range []string{"", "a.b", "*", "a b"} {
		if err := New(b, name, time.Second, discard()).Run(t.Context()); !chat.Is(err, chat.BadRequest) {
			t.Errorf("%q: got %v; want a refusal", name, err)
		}
	}
}

func TestLifeIsReadFromLeasesAndKeysThatHaveOne(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{"life=ABC": "ABC", "": "", "1": "", "alife=x": ""} {
		if got := LifeOf([]byte(value)); got != want {
			t.Errorf("%q: got %q; want %q", value, got, want)
		}
	}
}

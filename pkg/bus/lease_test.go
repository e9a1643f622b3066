package bus_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/meshtest"
	"github.com/chatmesh/chatmesh/pkg/subject"
)

func TestOfManyWhoWantALeaseOneGetsIt(t *testing.T) {
	m, b := laid(t, 1)
	type got struct {
		who string
		at  uint64
		err error
	}
	results := make(chan got)
	for i := range 8 {
		c := m.Bus(t)
		go func() {
			who := fmt.Sprintf("node%d", i)
			at, err := c.Acquire(t.Context(), subject.Nodes, "leader", []byte(who), 10*time.Second, 0)
			results <- got{who, at, err}
		}()
	}
	var winners []got
	for range 8 {
		switch r := <-results; {
		case r.err == nil:
			winners = append(winners, r)
		case !errors.Is(r.err, bus.ErrHeld):
			t.Errorf("%s: got %v; want %v", r.who, r.err, bus.ErrHeld)
		}
	}
	if len(winners) != 1 {
		t.Fatalf("got %v; want one holder", winners)
	}
	if v, err := b.Key(t.Context(), subject.Nodes, "leader"); err != nil || string(v) != winners[0].who {
		t.Fatalf("got %s, %v; want %s", v, err, winners[0].who)
	}
}

func TestLeaseIsHeldAsLongAsItIsRenewedAndFreeWhenItExpires(t *testing.T) {
	_, b := laid(t, 1)
	const ttl = 4 * time.Second // long beside what a renewal takes on a machine that does much else
	a, o := []byte("a"), []byte("other")
	acquire := func(who []byte, revision uint64) (uint64, error) {
		return b.Acquire(t.Context(), subject.Nodes, "leader", who, ttl, revision)
	}
	at, err := acquire(a, 0)
	if err != nil {
		t.Fatal(err)
	}
	var last time.Time
	tick := time.NewTicker(ttl / 4)
	defer tick.Stop()
	for range 6 { // a life and a half
		<-tick.C
		last = time.Now()
		next, err := acquire(a, at)
		if err != nil || next <= at {
			t.Fatalf("got %d, %v; want it renewed above %d", next, err, at)
		}
		at = next
		if _, err := acquire(o, 0); !errors.Is(err, bus.ErrHeld) {
			t.Fatalf("got %v; want %v", err, bus.ErrHeld)
		}
	}
	var second uint64
	meshtest.Eventually(t, patience, "another gets it", func() bool {
		second, err = acquire(o, 0)
		return err == nil
	})
	free := time.Since(last)
	t.Logf("free %v after the last renewal of a lease of %v", free, ttl)
	if free < ttl {
		t.Errorf("got it after %v; want not before %v", free, ttl)
	}
	if _, err := acquire(a, at); !errors.Is(err, bus.ErrHeld) {
		t.Errorf("the first renews: got %v; want %v", err, bus.ErrHeld)
	}
	if _, err := b.Renew(t.Context(), subject.Nodes, "leader", a, ttl, at); !errors.Is(err, bus.ErrLost) {
		t.Errorf("the first renews: got %v; want %v", err, bus.ErrLost)
	}
	if next, err := b.Renew(t.Context(), subject.Nodes, "leader", o, ttl, second); err != nil || next <= second {
		t.Errorf("the second renews: got %d, %v; want it above %d", next, err, second)
	}
}

func TestLeaseCannotBeHadWhileTheBrokerIsAway(t *testing.T) {
	m, b := laid(t, 1)
	at, err := b.Acquire(t.Context(), subject.Nodes, "leader", []byte("a"), 10*time.Second, 0)
	if err != nil {
		t.Fatal(err)
	}
	m.Stop()
	if _, err := b.Acquire(within(t, time.Second), subject.Nodes, "leader", []byte("a"), 10*time.Second, at); !errors.Is(err, bus.ErrDown) {
		t.Fatalf("got %v; want %v", err, bus.ErrDown)
	}
	if _, err := b.Renew(within(t, time.Second), subject.Nodes, "leader", []byte("a"), 10*time.Second, at); !errors.Is(err, bus.ErrDown) {
		t.Fatalf("got %v; want %v", err, bus.ErrDown)
	}
	m.Start()
	meshtest.Eventually(t, patience, "it is renewed", func() bool {
		_, err := b.Renew(within(t, time.Second), subject.Nodes, "leader", []byte("a"), 10*time.Second, at)
		return err == nil
	})
}

// seen is what a watch told.
type seen struct {
	mu     sync.Mutex // guards the following fields
	log    []string
	at     []time.Time
	values []bus.KeyChange
}

func (s *seen) add(what string, c bus.KeyChange) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log, s.at, s.values = append(s.log, what), append(s.at, time.Now()), append(s.values, c)
}

func (s *seen) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.log)
}

// index is where something was told last, negative if never.
func (s *seen) index(what string) int {
	all := s.all()
	slices.Reverse(all)
	if i := slices.Index(all, what); i >= 0 {
		return len(all) - 1 - i
	}
	return -1
}

func watch(t *testing.T, b *bus.Bus, bucket string) *seen {
	t.Helper()
	s := &seen{}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.Watch(ctx, bucket, func() { s.add("begin", bus.KeyChange{}) }, func() { s.add("ready", bus.KeyChange{}) }, func(c bus.KeyChange) {
			what := "-" + c.Key
			if c.Value != nil {
				what = c.Key + "=" + string(c.Value)
			}
			s.add(what, c)
		})
	}()
	t.Cleanup(func() {
		cancel()
		waitFor(t, "the watch ends", done)
	})
	return s
}

func put(t *testing.T, b *bus.Bus, bucket, key, value string, ttl time.Duration) {
	t.Helper()
	if err := b.PutFor(t.Context(), bucket, key, []byte(value), ttl); err != nil {
		t.Fatal(err)
	}
}

func TestKeyThatIsSetForAWhileExpiresThoughItWasSetAgainAndAgain(t *testing.T) {
	_, b := laid(t, 1)
	const ttl = 4 * time.Second // long beside what a beat takes on a machine that does much else
	s := watch(t, b, subject.Presence)
	meshtest.Eventually(t, patience, "the watch is ready", func() bool { return s.index("ready") >= 0 })
	begun := time.Now()
	put(t, b, subject.Presence, "edge.silent", "x", time.Nanosecond) // at least a second
	var last time.Time
	tick := time.NewTicker(ttl / 4)
	defer tick.Stop()
	for range 8 { // two lives
		last = time.Now()
		put(t, b, subject.Presence, "edge.beaten", "x", ttl)
		<-tick.C
		if _, err := b.Key(t.Context(), subject.Presence, "edge.beaten"); err != nil {
			t.Fatalf("a key that is beaten: %v", err)
		}
	}
	for key, from := range map[string]time.Time{"edge.silent": begun.Add(time.Second), "edge.beaten": last.Add(ttl)} {
		meshtest.Eventually(t, patience, key+" expires and the watch is told", func() bool { return s.index("-"+key) >= 0 })
		i := s.index("-" + key)
		s.mu.Lock()
		late, change := s.at[i].Sub(from), s.values[i]
		s.mu.Unlock()
		t.Logf("%s expired %v after its age", key, late)
		if late < 0 || late > time.Minute { // otherwise the bucket would end it, after 2 min
			t.Errorf("%s: got the expiry %v after its age; want it soon, and not before", key, late)
		}
		if change.Value != nil || change.Revision == 0 || time.Since(change.At) > time.Minute {
			t.Errorf("%s: got %+v; want a change without a value", key, change)
		}
		if _, err := b.Key(t.Context(), subject.Presence, key); !errors.Is(err, bus.ErrNotFound) {
			t.Errorf("%s: got %v; want %v", key, err, bus.ErrNotFound)
		}
	}
}

func TestWatchTellsAllThatIsThereThenThatItIsReadyThenEachChange(t *testing.T) {
	_, b := laid(t, 1)
	put(t, b, subject.Nodes, "edge.a", "1", time.Minute)
	put(t, b, subject.Nodes, "edge.b", "1", time.Minute)
	put(t, b, subject.Nodes, "edge.a", "2", time.Minute)
	put(t, b, subject.Nodes, "edge.c", "1", time.Minute)
	if err := b.DeleteKey(t.Context(), subject.Nodes, "edge.c"); err != nil {
		t.Fatal(err)
	}
	s := watch(t, b, subject.Nodes)
	meshtest.Eventually(t, patience, "the watch is ready", func() bool { return s.index("ready") >= 0 })
	for _, c := range []struct{ key, value, told string }{
		{"edge.b", "2", "edge.b=2"}, {"edge.b", "", "edge.b="}, {"edge.a", "removed", "-edge.a"}, {"edge.a", "3", "edge.a=3"},
	} {
		if c.value == "removed" {
			if err := b.DeleteKey(t.Context(), subject.Nodes, c.key); err != nil {
				t.Fatal(err)
			}
		} else {
			put(t, b, subject.Nodes, c.key, c.value, time.Minute)
		}
		// Of changes of a key in quick succession only the last may be told.
		meshtest.Eventually(t, patience, c.told+" is told", func() bool { return s.index(c.told) >= 0 })
	}
	want := []string{"begin", "edge.b=1", "edge.a=2", "-edge.c", "ready", "edge.b=2", "edge.b=", "-edge.a", "edge.a=3"}
	if got := s.all(); !slices.Equal(got, want) {
		t.Fatalf("got  %q\nwant %q", got, want)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, c := range s.values {
		if i > 0 && c.Revision > 0 && c.Revision <= s.values[i-1].Revision {
			t.Errorf("got revision %d after %d; want them to rise", c.Revision, s.values[i-1].Revision)
		}
	}
}

func TestWatchOfAnEmptyBucketIsReadyAtOnce(t *testing.T) {
	_, b := laid(t, 1)
	s := watch(t, b, subject.Keys)
	meshtest.Eventually(t, patience, "the watch is ready", func() bool { return s.index("ready") == 1 })
}

func TestWatchWaitsForABucketThatIsNotThereYet(t *testing.T) {
	_, b := broker(t)
	s := watch(t, b, subject.Keys)
	meshtest.Ensure(t, b, meshtest.Layout(1))
	meshtest.Eventually(t, patience, "the watch is ready", func() bool { return s.index("ready") >= 0 })
}

func TestWatchBeginsAnewAfterTheBrokerWasAwayWithWhatIsThereThen(t *testing.T) {
	m, b := laid(t, 1)
	other := m.Bus(t)
	if err := b.Keep(t.Context(), subject.Nodes, "stays", []byte("1")); err != nil {
		t.Fatal(err)
	}
	put(t, b, subject.Nodes, "goes", "1", time.Second)
	s := watch(t, b, subject.Nodes)
	meshtest.Eventually(t, patience, "the watch is ready", func() bool { return s.index("ready") >= 0 })
	m.Stop()
	away := time.Now()
	meshtest.Eventually(t, patience, "the key's age has passed", func() bool { return time.Since(away) > 1200*time.Millisecond })
	m.Start()
	back := time.Now()
	meshtest.Eventually(t, patience, "a key is set by another", func() bool {
		return other.PutFor(within(t, time.Second), subject.Nodes, "new", []byte("1"), time.Minute) == nil
	})
	meshtest.Eventually(t, patience, "the watch has begun anew and told all", func() bool {
		begin := s.index("begin")
		return begin > 0 && s.index("ready") > begin && s.index("stays=1") > begin && s.index("new=1") > begin
	})
	t.Logf("told all again %v after the broker was back", time.Since(back))
	if s.index("goes=1") > s.index("begin") && s.index("-goes") < s.index("goes=1") {
		meshtest.Eventually(t, patience, "the end of a key that expired meanwhile is told", func() bool { return s.index("-goes") > s.index("goes=1") })
	}
}

func TestNodeIsAnnouncedWhileItLivesAndRemovedWhenItEnds(t *testing.T) {
	_, b := laid(t, 1)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	again := make(chan struct{})
	var draining atomic.Bool
	go func() {
		defer close(done)
		b.AnnounceState(ctx, bus.Node{Service: "edge", Node: "n1", Address: "10.0.0.1:80", Version: "v1"}, again, func(n *bus.Node) {
			n.Load, n.Draining = 7, draining.Load()
		})
	}()
	var v []byte
	meshtest.Eventually(t, patience, "the node is announced", func() bool {
		var err error
		v, err = b.Key(t.Context(), subject.Nodes, "edge.n1")
		return err == nil
	})
	if want := `{"service":"edge","node":"n1","address":"10.0.0.1:80","version":"v1","load":7,"started":"0001-01-01T00:00:00Z"}`; string(v) != want {
		t.Errorf("got %s; want %s", v, want)
	}
	quickest := time.Hour
	for i := range 6 { // without being asked it tells every 3 s: of six times one is quick if it does what it is asked
		draining.Store(i%2 == 0)
		asked := time.Now()
		again <- struct{}{}
		meshtest.Eventually(t, patience, "what has changed is told", func() bool {
			v, err := b.Key(t.Context(), subject.Nodes, "edge.n1")
			return err == nil && strings.Contains(string(v), `"draining":true`) == (i%2 == 0)
		})
		quickest = min(quickest, time.Since(asked))
	}
	if quickest > 2*time.Second {
		t.Errorf("a change was told after %v at best; want it at once", quickest)
	}
	cancel()
	waitFor(t, "it ends", done)
	if _, err := b.Key(t.Context(), subject.Nodes, "edge.n1"); !errors.Is(err, bus.ErrNotFound) {
		t.Errorf("got %v; want %v", err, bus.ErrNotFound)
	}
}

package limit

import (
	"fmt"
	"math"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// clock is a time that the test moves.
type clock struct{ ns atomic.Int64 }

func (c *clock) now() time.Time          { return time.Unix(1_800_000_000, 0).Add(time.Duration(c.ns.Load())) }
func (c *clock) advance(d time.Duration) { c.ns.Add(int64(d)) }

func allowed(l *Limiter, key string) bool {
	ok, _ := l.Allow(key)
	return ok
}

func TestZeroConfigMeansNoLimit(t *testing.T) {
	for _, c := range []Config{{}, {Burst: 5, MaxKeys: 1}, {Rate: -1}, {Rate: math.NaN()}, {Rate: math.Inf(1)}} {
		l := New(c)
		for i := range 10_000 {
			if ok, wait := l.Allow("a"); !ok || wait != 0 {
				t.Fatalf("%+v: event %d: got %v, %v; want it allowed", c, i, ok, wait)
			}
		}
		if got := l.Stats(); got != (Stats{}) {
			t.Errorf("%+v: got %+v; want nothing remembered", c, got)
		}
	}
}

func TestKeysDoNotTouchEachOther(t *testing.T) {
	var c clock
	l := New(Config{Rate: 1, Burst: 2, Now: c.now})
	for i, want := range []bool{true, true, false} {
		if got := allowed(l, "a"); got != want {
			t.Errorf("a, event %d: got %v; want %v", i, got, want)
		}
	}
	if !allowed(l, "b") || !allowed(l, "") {
		t.Error("another key was refused")
	}
	c.advance(time.Second)
	if !allowed(l, "a") || allowed(l, "a") {
		t.Error("after a second: want one event of a, not two")
	}
}

// TestBucketsAgreeWithCounting compares with a model that counts in whole thousandths of an event.
func TestBucketsAgreeWithCounting(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var c clock
		perSecond, burst := rapid.Int64Range(1, 50).Draw(t, "rate"), rapid.Int64Range(1, 10).Draw(t, "burst")
		l := New(Config{Rate: float64(perSecond), Burst: int(burst), Now: c.now})
		type model struct{ tokens, at int64 } // thousandths, milliseconds
		models := map[string]*model{}
		var now int64
		for range rapid.IntRange(1, 60).Draw(t, "events") {
			step := rapid.Int64Range(0, 300).Draw(t, "ms")
			now += step
			c.advance(time.Duration(step) * time.Millisecond)
			key := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "key")
			m := models[key]
			if m == nil {
				m = &model{tokens: burst * 1000, at: now}
				models[key] = m
			}
			m.tokens, m.at = min(burst*1000, m.tokens+(now-m.at)*perSecond), now
			want := m.tokens >= 1000
			got, wait := l.Allow(key)
			if got != want || got != (wait == 0) {
				t.Fatalf("got %v, %v; want %v with %d thousandths left", got, wait, want, m.tokens)
			}
			if got {
				m.tokens -= 1000
				continue
			}
			exact := time.Duration(float64(1000-m.tokens) / float64(perSecond) * float64(time.Millisecond))
			if wait%time.Millisecond != 0 || wait < exact || wait > exact+2*time.Millisecond {
				t.Fatalf("got wait %v; want %v in whole milliseconds", wait, exact)
			}
		}
	})
}

func TestWhoWaitsAsToldIsAllowed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var c clock
		l := New(Config{
			Rate: rapid.Float64Range(0.001, 5000).Draw(t, "rate"), Burst: rapid.IntRange(1, 20).Draw(t, "burst"), Now: c.now,
		})
		for range 50 {
			ok, wait := l.Allow("a")
			if ok {
				c.advance(time.Duration(rapid.IntRange(0, 1000).Draw(t, "µs")) * time.Microsecond)
				continue
			}
			c.advance(wait)
			if ok, again := l.Allow("a"); !ok {
				t.Fatalf("told to wait %v, then %v", wait, again)
			}
		}
	})
}

func TestNoKeyGetsMoreThanBurstAndRateInAnyWindow(t *testing.T) {
	var c clock
	l := New(Config{Rate: 10, Burst: 5, Now: c.now})
	var at []time.Duration
	for ms := range 5000 {
		if allowed(l, "a") {
			at = append(at, time.Duration(ms)*time.Millisecond)
		}
		c.advance(time.Millisecond)
	}
	for i := range at {
		for j := i; j < len(at); j++ {
			if n, most := j-i+1, 5+int((at[j]-at[i]).Seconds()*10+1e-6); n > most {
				t.Fatalf("got %d events in %v; want at most %d", n, at[j]-at[i], most)
			}
		}
	}
	if want := 5 + 49; len(at) != want {
		t.Errorf("got %d events in 5 s; want %d", len(at), want)
	}
}

func TestClockThatGoesBackGivesNothingAway(t *testing.T) {
	var c clock
	l := New(Config{Rate: 1, Burst: 1, Now: c.now})
	if !allowed(l, "a") {
		t.Fatal("the first was refused")
	}
	c.advance(-time.Hour)
	if ok, wait := l.Allow("a"); ok || wait > 2*time.Second {
		t.Errorf("got %v, %v; want it refused for about a second", ok, wait)
	}
}

func TestFullBucketsAreForgottenForNothingWhenNewKeysCome(t *testing.T) {
	var c clock
	l := New(Config{Rate: 1, Burst: 3, Now: c.now})
	for i := range 1000 {
		l.Allow(strconv.Itoa(i))
	}
	c.advance(time.Second)
	for i := range 500 {
		l.Allow("new" + strconv.Itoa(i))
	}
	if got, want := l.Stats(), (Stats{Keys: 500}); got != want {
		t.Errorf("got %+v; want %+v", got, want)
	}
}

func TestFullestBucketMakesRoomAndTheEmptyOneStays(t *testing.T) {
	var c clock
	l := New(Config{Rate: 0.001, Burst: 10, MaxKeys: 4, Now: c.now})
	use := func(key string, n int) {
		for range n {
			if !allowed(l, key) {
				t.Fatalf("%s was refused", key)
			}
		}
	}
	use("drained", 10)
	use("half", 5)
	use("some", 3)
	use("little", 2)
	use("new", 4) // in the place of little
	if got, want := l.Stats(), (Stats{Keys: 4, Evicted: 1}); got != want {
		t.Errorf("got %+v; want %+v", got, want)
	}
	use("some", 7) // still knows of its 3
	if allowed(l, "some") {
		t.Error("some was forgotten; want little to be")
	}
	for i := range 10_000 { // each takes the place of one of its kind
		use(fmt.Sprint("flood", i), 1)
	}
	if allowed(l, "drained") {
		t.Error("a flood of other keys brought back a drained bucket")
	}
	if got := l.Stats().Keys; got != 4 {
		t.Errorf("got %d keys; want 4", got)
	}
}

func TestMemoryNeverHoldsMoreThanMaxKeysWhateverComes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var c clock
		most := rapid.IntRange(1, 8).Draw(t, "most")
		l := New(Config{Rate: 5, Burst: 3, MaxKeys: most, Now: c.now})
		for range 100 {
			c.advance(time.Duration(rapid.IntRange(0, 400).Draw(t, "ms")) * time.Millisecond)
			l.Allow(strconv.Itoa(rapid.IntRange(0, 20).Draw(t, "key")))
			if n := l.Stats().Keys; n > most || n != len(l.buckets) {
				t.Fatalf("got %d keys, %d buckets; want at most %d", n, len(l.buckets), most)
			}
			for i, b := range l.byFull {
				if b.index != i || l.buckets[b.hash] != b || b.full < l.byFull[0].full {
					t.Fatalf("bucket %d is out of order", i)
				}
			}
		}
	})
}

func TestSlowRateAsksForALongWaitNotANegativeOne(t *testing.T) {
	l := New(Config{Rate: 1e-300, Burst: 1})
	l.Allow("a")
	if ok, wait := l.Allow("a"); ok || wait != math.MaxInt64 {
		t.Errorf("got %v, %v; want the longest wait", ok, wait)
	}
}

func TestManyAtOnceGetTheBurstTogether(t *testing.T) {
	var c clock
	l := New(Config{Rate: 1, Burst: 100, Now: c.now})
	var got atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				if allowed(l, "a") {
					got.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if got.Load() != 100 || l.Stats().Denied != 300 {
		t.Errorf("got %d allowed, %d denied; want 100 and 300", got.Load(), l.Stats().Denied)
	}
}

func BenchmarkAllow(b *testing.B) {
	const people = 50_000
	keys := make([]string, people)
	for i := range keys {
		keys[i] = "0192d3a5-7b1c-7c4e-9f57-" + strconv.Itoa(i)
	}
	run := func(c Config) func(b *testing.B) {
		return func(b *testing.B) {
			l := New(c)
			var next atomic.Uint64
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for i := next.Add(7919); pb.Next(); i += 31 {
					l.Allow(keys[i%people])
				}
			})
		}
	}
	b.Run("known keys", run(Config{Rate: 1000, Burst: 1000}))
	b.Run("drained keys", run(Config{Rate: 0.0001, Burst: 1}))
	b.Run("always a new key", run(Config{Rate: 0.0001, Burst: 1, MaxKeys: 10_000}))
	b.Run("no limit", run(Config{}))
}

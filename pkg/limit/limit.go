// Package limit owns how often something may happen: token buckets for each of many keys (Limiter), the kinds of action that are
// limited with their rates for a person, a session and an address (Rules), and both together (Table). It promises that memory
// is bounded whatever keys come, that a key which was forgotten to make room is the one whose bucket was the fullest, that
// who waits as long as they are told is let through if nothing else of theirs happens until then, and that keys (addresses,
// names, ids) are kept as hashes only, so that they stand in no error, metric, log or heap dump.
package limit

import (
	"container/heap"
	"hash/maphash"
	"math"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Config says how often. The zero value is no limit at all.
type Config struct {
	// Rate is how many events a key gets per second, for ever. Zero or less is no limit, whatever else is set.
	Rate float64
	// Burst is how many events a key gets at once after a time of rest. Less than one is one.
	Burst int
	// MaxKeys is how many keys are remembered, at some 160 bytes each. Zero or less is 65,536.
	MaxKeys int
	// Now is the clock. Nil is time.Now.
	Now func() time.Time
}

// Stats is what a Limiter holds and did, for metrics.
type Stats struct {
	// Keys is how many keys are remembered.
	Keys int
	// Denied counts events that were refused.
	Denied uint64
	// Evicted counts keys that had to be forgotten before their bucket was full again. Where it grows, more keys
	// are active than MaxKeys and each of those got more than Rate.
	Evicted uint64
}

// Limiter holds the buckets. It starts no goroutine and is safe for concurrent use.
//
// A key that is not remembered has a full bucket. So a bucket that has filled up again can be forgotten for nothing,
// and is, when new keys come. When MaxKeys keys are all active, a new key takes the place of the one whose bucket is
// the fullest, which thereby gets back at most what it had used: nobody new is refused because others are busy, and
// who has exhausted a bucket does not get rid of it before MaxKeys others have used more of theirs.
type Limiter struct {
	rate    rate.Limit
	burst   int
	maxKeys int
	now     func() time.Time
	seed    maphash.Seed
	start   time.Time

	// One lock for all: with 50,000 keys a call takes 0.9 µs on one core and on two, so a million a second pass.
	mu      sync.Mutex // guards the following
	buckets map[uint64]*bucket
	byFull  fullest
	denied  uint64
	evicted uint64
}

// bucket is that of one key.
type bucket struct {
	limiter *rate.Limiter
	hash    uint64
	// full is when the bucket will be full if nothing happens, in seconds since the start of the Limiter. The least
	// is the fullest.
	full  float64
	index int // in byFull
}

// New returns a Limiter without keys.
func New(c Config) *Limiter {
	l := &Limiter{rate: rate.Limit(c.Rate), burst: max(c.Burst, 1), maxKeys: c.MaxKeys, now: c.Now, seed: maphash.MakeSeed(),
		buckets: make(map[uint64]*bucket)}
	if !(c.Rate > 0) || math.IsInf(c.Rate, 1) { // NaN too
		l.rate = rate.Inf
	}
	if l.maxKeys <= 0 {
		l.maxKeys = 1 << 16
	}
	if l.now == nil {
		l.now = time.Now
	}
	l.start = l.now()
	return l
}

// Allow tells whether an event of key may happen now, and counts it if so. If not, it tells after which time, in whole
// milliseconds, the next may: when nothing else of key happens until then, it will be allowed.
func (l *Limiter) Allow(key string) (ok bool, retryAfter time.Duration) { return l.AllowN(key, 1) }

// AllowN is Allow for n events at once, all of them or none. More than Burst count as Burst, for which a full bucket is needed;
// less than one is always allowed.
func (l *Limiter) AllowN(key string, n int) (ok bool, retryAfter time.Duration) {
	n = min(n, l.burst)
	if l.rate == rate.Inf || n < 1 {
		return true, 0
	}
	// Two keys with the same hash share a bucket. With a secret seed and 65,536 keys the chance of any is 1 in 2^33.
	hash := maphash.String(l.seed, key)

	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	b := l.bucket(hash, now)
	if !b.limiter.AllowN(now, n) {
		l.denied++
		return false, wait(float64(n)-b.limiter.TokensAt(now), l.rate)
	}
	b.full = now.Sub(l.start).Seconds() + (float64(l.burst)-b.limiter.TokensAt(now))/float64(l.rate)
	heap.Fix(&l.byFull, b.index)
	return true, 0
}

// Wait tells after which time AllowN would allow n events of key, zero if now. It counts nothing, but as refused what would have to
// wait.
func (l *Limiter) Wait(key string, n int) time.Duration {
	n = min(n, l.burst)
	if l.rate == rate.Inf || n < 1 {
		return 0
	}
	hash := maphash.String(l.seed, key)
	l.mu.Lock()
	defer l.mu.Unlock()
	b, ok := l.buckets[hash]
	if !ok {
		return 0
	}
	missing := float64(n) - b.limiter.TokensAt(l.now())
	if missing <= 0 {
		return 0
	}
	l.denied++
	return wait(missing, l.rate)
}

// Stats returns what l holds and did.
func (l *Limiter) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Stats{Keys: len(l.byFull), Denied: l.denied, Evicted: l.evicted}
}

// bucket returns the bucket of hash, a new one if need be. It needs mu.
func (l *Limiter) bucket(hash uint64, now time.Time) *bucket {
	if b, ok := l.buckets[hash]; ok {
		return b
	}
	at := now.Sub(l.start).Seconds()
	// Two out for one in: after a rush the memory of it goes.
	for range 2 {
		if len(l.byFull) > 0 && l.byFull[0].full <= at {
			l.forget()
		}
	}
	if len(l.byFull) >= l.maxKeys {
		l.forget()
		l.evicted++
	}
	b := &bucket{hash: hash, full: at, limiter: rate.NewLimiter(l.rate, l.burst)}
	l.buckets[hash] = b
	heap.Push(&l.byFull, b)
	return b
}

// forget drops the fullest bucket. It needs mu.
func (l *Limiter) forget() {
	b := heap.Pop(&l.byFull).(*bucket)
	delete(l.buckets, b.hash)
}

// wait is how long tokens take to come, in whole milliseconds, at least one, or as long as a duration can say.
func wait(tokens float64, r rate.Limit) time.Duration {
	ms := math.Floor(tokens/float64(r)*1000) + 1
	if ms > float64(math.MaxInt64/time.Millisecond) {
		return math.MaxInt64
	}
	return time.Duration(ms) * time.Millisecond
}

// fullest is a heap with the fullest bucket first.
type fullest []*bucket

// Len is that of heap.Interface.
func (f fullest) Len() int { return len(f) }

// Less is that of heap.Interface.
func (f fullest) Less(i, j int) bool { return f[i].full < f[j].full }

// Swap is that of heap.Interface.
func (f fullest) Swap(i, j int) {
	f[i], f[j] = f[j], f[i]
	f[i].index, f[j].index = i, j
}

// Push is that of heap.Interface.
func (f *fullest) Push(x any) {
	b := x.(*bucket)
	b.index = len(*f)
	*f = append(*f, b)
}

// Pop is that of heap.Interface.
func (f *fullest) Pop() any {
	last := len(*f) - 1
	b := (*f)[last]
	(*f)[last] = nil
	*f = (*f)[:last]
	return b
}

package auth

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/argon2"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

// HasherConfig bounds the work on passwords. The zero value is the defaults.
type HasherConfig struct {
	// Concurrent is how many hashes are computed at once. Zero is half of GOMAXPROCS, at least one: hashing fills a
	// core and its share of the memory bus, and the other half keeps delivering messages while somebody tries
	// passwords.
	Concurrent int
	// Waiting is how many callers wait for their turn; who comes when they are that many is refused. Zero is 64, which
	// at some 50 ms a hash is the patience of a client; negative is none.
	Waiting int
}

// HasherStats is what a Hasher did so far, for metrics.
type HasherStats struct {
	// Computed counts hashes, Refused the callers who were sent away.
	Computed, Refused uint64
	// Running and Waiting are how many are at it, and in the queue, at this moment.
	Running, Waiting int
}

// typicalHash is about what one hash takes; it only feeds RetryAfter.
const typicalHash = 50 * time.Millisecond

// Hasher turns passwords into argon2id hashes and checks them. Each computation takes 19 MiB for some 30 to 50 ms, so
// at most Concurrent × 19 MiB are in use at any moment; with what waits for the garbage collector the heap of a busy
// Hasher was seen to peak at 58 MiB for one at once and at 154 MiB for four. Who waits costs a goroutine and the
// password. It is safe for concurrent use.
type Hasher struct {
	slots      chan struct{}
	maxWaiting int64
	retryAfter time.Duration
	dummy      phc // what unknown names are checked against

	waiting           atomic.Int64
	computed, refused atomic.Uint64

	// derive is argon2.IDKey, except where a test counts or stops it.
	derive func(password, salt []byte, passes, memory uint32, threads uint8, keyLen uint32) []byte
}

// NewHasher returns a Hasher with the given bounds.
func NewHasher(c HasherConfig) *Hasher {
	if c.Concurrent <= 0 {
		c.Concurrent = max(1, runtime.GOMAXPROCS(0)/2)
	}
	switch {
	case c.Waiting == 0:
		c.Waiting = 64
	case c.Waiting < 0:
		c.Waiting = 0
	}
	drain := time.Duration(c.Waiting/c.Concurrent+1) * typicalHash
	return &Hasher{
		slots:      make(chan struct{}, c.Concurrent),
		maxWaiting: int64(c.Waiting),
		retryAfter: (drain + time.Second - 1).Truncate(time.Second),
		// The zero key is the hash of no password that anyone can find, and the answer does not depend on it anyway.
		dummy: phc{memory: hashMemory, passes: hashPasses, threads: hashThreads,
			salt: make([]byte, saltLen), key: make([]byte, keyLen)},
		derive: argon2.IDKey,
	}
}

// Hash returns the hash of a password with a new salt, in the PHC string format. It fails with Unavailable and a
// RetryAfter when too many wait already, or when ctx ends before it is this caller's turn; a computation that has
// begun is finished.
func (h *Hasher) Hash(ctx context.Context, password string) (string, error) {
	p := phc{memory: hashMemory, passes: hashPasses, threads: hashThreads, salt: make([]byte, saltLen)}
	rand.Read(p.salt) // never fails
	key, err := h.compute(ctx, p, keyLen, password)
	if err != nil {
		return "", err
	}
	p.key = key
	return p.String(), nil
}

// Verify tells whether hash, as Hash returned it, is that of password. It fails as Hash does, and with another error
// when the hash is damaged.
func (h *Hasher) Verify(ctx context.Context, hash, password string) (bool, error) {
	p, err := parsePHC(hash)
	if err != nil {
		return false, err
	}
	return h.verify(ctx, p, password)
}

// VerifyUnknown does the work of Verify for a name without an account, so that whoever measures cannot tell the names
// in use, and is always false. It fails as Hash does.
func (h *Hasher) VerifyUnknown(ctx context.Context, password string) (bool, error) {
	_, err := h.verify(ctx, h.dummy, password)
	return false, err
}

// Stats returns what h did so far.
func (h *Hasher) Stats() HasherStats {
	return HasherStats{Computed: h.computed.Load(), Refused: h.refused.Load(), Running: len(h.slots),
		Waiting: int(h.waiting.Load())}
}

func (h *Hasher) verify(ctx context.Context, p phc, password string) (bool, error) {
	key, err := h.compute(ctx, p, len(p.key), password)
	if err != nil {
		return false, err
	}
	return subtle.ConstantTimeCompare(key, p.key) == 1, nil
}

// compute is the only way to argon2id, and leads through the gate.
func (h *Hasher) compute(ctx context.Context, p phc, keyLen int, password string) ([]byte, error) {
	if !h.enter(ctx) {
		h.refused.Add(1)
		return nil, chat.Retry(chat.Unavailable, h.retryAfter, "too many people are logging in")
	}
	defer func() { <-h.slots }()
	h.computed.Add(1)
	return h.derive([]byte(password), p.salt, p.passes, p.memory, p.threads, uint32(keyLen)), nil
}

// enter takes a slot, first come first served, or tells that there is none to be had.
func (h *Hasher) enter(ctx context.Context) bool {
	select {
	case h.slots <- struct{}{}: // only when nobody waits: a slot that falls free goes to who waits longest
	default:
		defer h.waiting.Add(-1)
		if h.waiting.Add(1) > h.maxWaiting {
			return false
		}
		select {
		case h.slots <- struct{}{}:
		case <-ctx.Done():
			return false
		}
	}
	if ctx.Err() != nil { // nobody is there to hear the answer
		<-h.slots
		return false
	}
	return true
}

package client

import (
	"context"
	"math/rand/v2"
	"time"
)

// Delays between attempts to connect. Full jitter: after a failure of an edge its clients come back spread over the
// whole interval instead of in waves.
const (
	backoffBase = 250 * time.Millisecond
	backoffCap  = 15 * time.Second
)

// backoff counts failures and says how long to wait after each. The zero value is ready; it has one owner.
type backoff struct {
	failures int
	// random returns a number in [0, 1); nil is math/rand.
	random func() float64
}

// next is a random time between zero and the base doubled for each failure, at most the cap.
func (b *backoff) next() time.Duration {
	limit := backoffCap
	if b.failures < 6 { // 250 ms << 6 is over the cap
		limit = min(backoffBase<<b.failures, backoffCap)
	}
	b.failures++
	random := b.random
	if random == nil {
		random = rand.Float64
	}
	return time.Duration(random() * float64(limit))
}

func (b *backoff) reset() { b.failures = 0 }

// sleep waits for d, or returns the error of ctx.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

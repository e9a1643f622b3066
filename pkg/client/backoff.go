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
	random := b.random
	if random == nil {
		random = rand.Float64
	}
	d := Delay(b.failures, random())
	b.failures++
	return d
}

// Delay is how long a Conn waits before it connects again, after so many failures in a row before the one that just was: the part
// random, which is in [0, 1), of the longest wait. Who simulates many clients needs it; a Conn does it by itself.
func Delay(failures int, random float64) time.Duration {
	limit := backoffCap
	if failures < 6 { // 250 ms << 6 is over the cap
		limit = min(backoffBase<<failures, backoffCap)
	}
	return time.Duration(random * float64(limit))
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

package scylla

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/gocql/gocql"
)

// swap runs a lightweight transaction until its outcome is known or the budget of the call is used up. try tells whether it is
// decided: applied, or refused with the error of the refusal. Where that is unknown, look reads what is there and tells whether
// it decides the matter; otherwise it is tried again.
func (c call) swap(try, look func() (decided bool, err error)) error {
	for wait := 2 * time.Millisecond; ; wait = min(2*wait, 200*time.Millisecond) {
		decided, err := try()
		if decided {
			return err
		}
		if err != nil && c.ctx.Err() == nil && !isFinal(err) {
			c.metrics.unknown.Inc()
			decided, lookErr := look()
			if decided {
				return lookErr
			}
			err = errors.Join(err, lookErr)
		}
		if isFinal(err) {
			return err
		}
		if ended := sleep(c.ctx, wait/2+rand.N(wait)); ended != nil {
			return errors.Join(ended, err)
		}
	}
}

// isFinal tells an error of the request itself, such as a statement that the server does not take, from one that may pass: an
// overloaded or absent server, or a transaction that lost against others.
func isFinal(err error) bool {
	const requests, unprepared = 0x2000, 0x2500 // codes of the protocol: from the first on the request is at fault
	var e gocql.RequestError
	return errors.As(err, &e) && e.Code() >= requests && e.Code() != unprepared
}

// patiently repeats a read that fails for a reason that may pass, such as that all connections were just reset, until the budget of
// the call is used up. An account that cannot be read for a moment is not worth a refused log-in.
func (c call) patiently(read func() error) error {
	for wait := 5 * time.Millisecond; ; wait = min(2*wait, 200*time.Millisecond) {
		err := read()
		if err == nil || errors.Is(err, gocql.ErrNotFound) || isFinal(err) {
			return err
		}
		if ended := sleep(c.ctx, wait/2+rand.N(wait)); ended != nil {
			return errors.Join(ended, err)
		}
	}
}

// sleep waits for d, or fails with the end of ctx.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

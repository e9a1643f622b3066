package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chat"
)

// errNobody says that the service which a command asks for does not run.
var errNobody = errors.New("nobody answers it")

// askFor is for how long what is unavailable is asked for again, and maxAsks how often.
const (
	askFor  = 10 * time.Second
	maxAsks = 20
)

// ask calls an endpoint for an operator. What is unavailable for a moment, because a node stops or starts, is asked for again.
func ask(ctx context.Context, b *bus.Bus, timeout time.Duration, endpoint string, in, out any) error {
	var failing time.Time
	for n := 0; ; n++ {
		began := time.Now()
		err := call(ctx, b, timeout, endpoint, in, out)
		if time.Since(began) > askFor || failing.IsZero() { // it went well for a while
			failing = time.Now()
		}
		var refused *chat.Error
		switch {
		case err == nil || ctx.Err() != nil:
			return err
		case errors.As(err, &refused) && refused.Code != chat.Unavailable:
			return errors.New(refused.Message)
		case errors.Is(err, context.DeadlineExceeded):
			return fmt.Errorf("%s did not answer within %v", endpoint, timeout)
		case n < maxAsks && time.Since(failing) < askFor:
		case errors.Is(err, nats.ErrNoResponders):
			return fmt.Errorf("%s: %w; does chatmesh run there, and is it of this version?", endpoint, errNobody)
		default:
			return err
		}
		if err := bus.Sleep(ctx, bus.Backoff(min(n+2, 5))); err != nil {
			return err
		}
	}
}

// call is bus.CallWithin, but it ends when the connection breaks: the answer would be lost.
func call(ctx context.Context, b *bus.Bus, timeout time.Duration, endpoint string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	before := b.Conn().Stats().Reconnects
	done := make(chan struct{})
	watched := make(chan struct{})
	defer func() { close(done); <-watched }()
	go func() {
		defer close(watched)
		for {
			select {
			case <-done:
				return
			case <-time.After(200 * time.Millisecond):
			}
			if b.Check(ctx) != nil || b.Conn().Stats().Reconnects != before {
				cancel()
				return
			}
		}
	}()
	return b.CallWithin(ctx, timeout, endpoint, in, out)
}

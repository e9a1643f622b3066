package scenario

import (
	"context"
	"errors"
	"time"

	"github.com/chatmesh/chatmesh/bench/driver"
	"github.com/chatmesh/chatmesh/bench/peer"
)

// absence is how long the device stays away when all was acknowledged.
const absence = 2 * time.Second

// catchup measures how long it takes until a device has all that was written to its person in many chats while it was away.
func catchup(ctx context.Context, r *Run) error {
	server, ok := r.Server.(peer.Returner)
	if !ok {
		return errors.New("the system brings no device up to date")
	}
	people, err := r.Server.People(ctx, r.Scale.Chats+1)
	if err != nil {
		return err
	}
	c := newCrowd(r)
	defer c.leave()
	away, others := c.join(people[0]), people[1:]
	if err := away.dial(ctx, r.Server.Dial); err != nil { // it was here before
		return err
	}
	away.leave()
	senders, err := c.connect(ctx, others)
	if err != nil {
		return err
	}
	chats := make([]string, len(senders))
	err = peer.Each(ctx, len(senders), 16, func(i int) (err error) {
		chats[i], _, err = r.Server.Direct(ctx, others[i], people[0])
		return err
	})
	if err != nil {
		return err
	}
	addresses := make([]*address, len(senders))
	for i, s := range senders {
		addresses[i] = s.address(chats[i], away)
		for range r.Scale.Missed {
			if err := addresses[i].send(-1); err != nil {
				return err
			}
		}
		if err := s.flush(); err != nil {
			return err
		}
	}
	if err := c.until(ctx, func() bool {
		for _, a := range addresses {
			if a.acked.Load() < int64(r.Scale.Missed) {
				return false
			}
		}
		return true
	}); err != nil {
		return err
	}
	// Who comes back at once meets what is still on its way to people's subjects, and is told to sync.
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(absence):
	}
	began := driver.Clock()
	err = away.dial(ctx, func(ctx context.Context, p peer.Person, sink driver.Sink) (driver.Conn, error) {
		return server.Return(ctx, p, chats, sink)
	})
	if err == nil {
		err = c.settle(ctx)
	}
	if err != nil {
		return err
	}
	r.Record("catchup_s", (driver.Clock() - began).Seconds(), "s")
	return nil
}

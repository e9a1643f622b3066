package scenario

import (
	"context"

	"github.com/chatmesh/chatmesh/bench/peer"
)

// groupWindow is how many messages the only sender of a group has in flight at full speed.
const groupWindow = 16

// group measures how many deliveries a second there are in a group of a hundred when one of them sends as fast as all get it, and how
// long deliveries take to the last of them at 20 messages a second.
func group(ctx context.Context, r *Run) error {
	people, err := r.somebody(ctx, r.Scale.Group)
	if err != nil {
		return err
	}
	name, err := r.Server.Group(ctx, people)
	if err != nil {
		return err
	}
	err = r.inGroup(ctx, people, name, func(c *crowd, a *address) error {
		m, err := c.rush(ctx, []*address{a}, groupWindow)
		r.Record("group100_deliveries_per_s", m.perSecond(), "1/s")
		r.Record("group100_cpu_us_per_delivery", m.serverMicros(), "µs")
		return err
	})
	if err != nil {
		return err
	}
	return r.inGroup(ctx, people, name, func(c *crowd, a *address) error {
		_, err := c.during(ctx, c.pace([]*address{a}, 20))
		_, p99, _ := c.percentiles()
		r.Record("group100_p99_ms", millis(p99), "ms")
		return err
	})
}

// inGroup connects the members of a group, of whom the first sends.
func (r *Run) inGroup(ctx context.Context, people []peer.Person, name string, do func(*crowd, *address) error) error {
	c := newCrowd(r)
	defer c.leave()
	members, err := c.connect(ctx, people)
	if err != nil {
		return err
	}
	return do(c, members[0].address(name, members[1:]...))
}

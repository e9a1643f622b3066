package scenario

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/chatmesh/chatmesh/bench/driver"
	"github.com/chatmesh/chatmesh/bench/peer"
	"github.com/chatmesh/chatmesh/bench/swarm"
)

const (
	// atOnce is how many connections are being made at a time: as many as the queue of a listener takes.
	atOnce = 4000
	// stormEdges is over how many edges the largest storm comes.
	stormEdges = 3
	// stormRate is how many messages a second a pair exchanges during a storm.
	stormRate = 50
)

// storm measures how long it takes until many people are welcomed who all connect at once, while a pair goes on chatting, to whom
// nothing may be lost. Who is refused tries again.
func storm(ctx context.Context, r *Run) error {
	people, err := r.somebody(ctx, 2+r.Scale.Storm)
	if err != nil {
		return err
	}
	c, addresses, err := r.talking(ctx, 1)
	if err != nil {
		return err
	}
	defer c.leave()
	stop := c.pace(addresses, stormRate)
	c.record()
	coming := make([]*person, r.Scale.Storm)
	for i := range coming {
		coming[i] = c.join(people[2+i])
	}
	began := driver.Clock()
	retries, err := swarm.Connect(ctx, people[2:], atOnce, func(ctx context.Context, _ peer.Person, i int) error {
		return coming[i].dial(ctx, r.Server.Dial)
	})
	took := driver.Clock() - began
	stop()
	if err != nil {
		return err
	}
	return c.weathered(ctx, r, "connect_storm", took, retries)
}

// largeStorm is storm over three edges, with a mesh of its own and people in several processes. The pair that goes on chatting is at two
// edges.
func largeStorm(ctx context.Context, r *Run) (err error) {
	dir, err := os.MkdirTemp("", "chatmesh-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	mesh, err := peer.StartMesh(ctx, dir, 2+r.Scale.LargeStorm, stormEdges)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, mesh.Stop()) }()
	on := &Run{Server: mesh, Scale: r.Scale}
	people, err := on.somebody(ctx, 2+r.Scale.LargeStorm)
	if err != nil {
		return err
	}
	all, err := on.pairs(ctx, 1)
	if err != nil {
		return err
	}
	c := newCrowd(on)
	defer c.leave()
	pair := []*person{c.join(all[0].a), c.join(all[0].b)}
	for i, p := range pair {
		edge, err := peer.EdgeAt(mesh.Addresses[1+i])
		if err != nil {
			return err
		}
		defer edge.Close()
		if err := p.dial(ctx, edge.Dial); err != nil {
			return err
		}
	}
	addresses := []*address{pair[0].address(all[0].to, pair[1]), pair[1].address(all[0].back, pair[0])}
	swarm, err := swarm.Gather(mesh.Addresses, people[2:], atOnce)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, swarm.Leave()) }()
	stop := c.pace(addresses, stormRate)
	c.record()
	retries, took, err := swarm.Go()
	stop()
	if err != nil {
		return err
	}
	return c.weathered(ctx, r, "connect_storm_50k", took, retries)
}

// weathered records a storm that is over as figures that begin with a name, once the pair that went on chatting has all.
func (c *crowd) weathered(ctx context.Context, r *Run, name string, took time.Duration, retries int) error {
	if err := c.settle(ctx); err != nil {
		return err
	}
	_, p99, _ := c.percentiles()
	r.Record(name+"_s", took.Seconds(), "s")
	r.Record(name+"_retries", float64(retries), "")
	r.Record(name+"_p99_ms", millis(p99), "ms")
	return nil
}

package scenario

import (
	"context"
	"math"
	"time"
)

// activePairs are how many pairs at most write to each other while all others are connected and silent, activeRate how many messages all of
// them send in a second.
const (
	activePairs = 25
	activeRate  = 1000
)

// connections measures what a message costs between the same few people, and what memory a connection takes, while more and more others
// are connected to the edge and silent.
func connections(ctx context.Context, r *Run) error {
	steps := r.Scale.Connections
	active := min(activePairs, steps[0]/4)
	people, err := r.somebody(ctx, steps[len(steps)-1])
	if err != nil {
		return err
	}
	c, addresses, err := r.talking(ctx, active)
	if err != nil {
		return err
	}
	defer c.leave()
	there := 2 * active
	least, most := math.Inf(1), 0.0
	var before memory
	for i, n := range steps {
		if _, err := c.connect(ctx, people[there:n]); err != nil {
			return err
		}
		now, err := c.memory(ctx)
		if err != nil {
			return err
		}
		if i > 0 {
			r.point("memory_per_connection", "connections", float64(n), float64(now.pss-before.pss)/1024/float64(n-there), "KB")
		}
		before, there = now, n
		if err := c.rest(ctx); err != nil {
			return err
		}
		m, err := c.during(ctx, c.pace(addresses, activeRate))
		if err != nil {
			return err
		}
		cost := m.serverMicros()
		least, most = min(least, cost), max(most, cost)
		r.point("cost_per_message_by_connections", "connections", float64(n), cost, "µs")
	}
	r.Record("growth_connections_ratio", most/least, "×")
	return nil
}

// rest waits until the server has done what came of the last who connected: until it takes less than a tenth of a core, and as long as
// things may take to settle.
func (c *crowd) rest(ctx context.Context) error {
	pids := c.run.Server.PIDs()
	for end := time.Now().Add(c.run.Scale.Settle); time.Now().Before(end); {
		const look = 500 * time.Millisecond
		spent := -cpu(pids)
		if err := pause(ctx, look, c); err != nil {
			return err
		}
		if spent += cpu(pids); spent < look/10 {
			return nil
		}
	}
	return nil
}

// point notes a point of a series along something that grows, named x.
func (r *Run) point(name, x string, at, value float64, unit string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.values = append(r.values, Value{Name: name, Value: value, Unit: unit, X: x, At: at})
}

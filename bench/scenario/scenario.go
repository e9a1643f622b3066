// Package scenario is what people do with a system, and what is measured of it. A figure counts only where the checker of its run found
// that nothing was lost, doubled or overtaken.
package scenario

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/chatmesh/chatmesh/bench/peer"
)

// Scenario is one thing that people do.
type Scenario struct {
	Name string
	// Rounds is in how many rounds it is run at most; 0 is all.
	Rounds int
	// Only tells whether a system takes part; nil is all of them.
	Only func(system string) bool
	// Figures are the names of what it measures.
	Figures []string
	// Run measures. What it has recorded counts only where it returns no error.
	Run func(ctx context.Context, r *Run) error
}

// All are the scenarios in the order in which they are run on a server that has just started: memory first.
func All() []Scenario {
	return []Scenario{
		{Name: "idle", Run: idle, Rounds: 1, Figures: []string{"idle_kb_per_user", "idle_kernel_kb_per_user"}},
		{Name: "rate", Run: rate, Figures: []string{"rate2000_p50_ms", "rate2000_p99_ms"}},
		{Name: "pairs", Run: pairs, Figures: []string{"pairs_max_w1_per_s", "pairs_max_w16_per_s", "cpu_us_per_delivery_w1", "cpu_us_per_delivery_w16"}},
		{Name: "group100", Run: group, Figures: []string{"group100_deliveries_per_s", "group100_p99_ms"}},
		{Name: "catchup", Run: catchup, Rounds: 1, Only: ours, Figures: []string{"catchup_s"}},
		{Name: "mixed", Run: mixed, Rounds: 1, Figures: []string{"mixed_p99_ms", "mixed_cpu_us_per_delivery"}},
		{Name: "connections", Run: connections, Rounds: 1, Only: func(system string) bool { return system == "chatmesh" }, Figures: []string{"growth_connections_ratio"}},
		{Name: "storm", Run: storm, Rounds: 1, Only: stormed, Figures: []string{"connect_storm_s"}},
		{Name: "storm50k", Run: largeStorm, Rounds: 1, Only: func(system string) bool { return system == "chatmesh" }, Figures: []string{"connect_storm_50k_s"}},
	}
}

// ours are the systems whose devices catch up from the log.
func ours(system string) bool { return strings.HasPrefix(system, "chatmesh") }

// stormed are the systems that are fast enough for so many connections.
func stormed(system string) bool { return ours(system) || strings.HasPrefix(system, "hub-") }

// Scale is how large and how long a run is.
type Scale struct {
	// Pairs of people who write to each other, and messages that all of them send in a second at a fixed rate.
	Pairs, Rate int
	// Group is how many people are in a group, Idle how many are connected and silent, Storm how many connect at once, LargeStorm how many to
	// three edges.
	Group, Idle, Storm, LargeStorm int
	// Connections are how many people are connected, ascending, while some of them write to each other.
	Connections []int
	// Chats is in how many somebody was away, Missed how many messages came there in each.
	Chats, Missed int
	// Warm is how long a scenario runs before it is measured, Measure how long it is measured.
	Warm, Measure time.Duration
	// Calm is for how long memory does not become less until its least counts.
	Calm time.Duration
	// Settle is how long what was sent may take to arrive in the end.
	Settle time.Duration
	// Size is the length of a text in bytes.
	Size int
}

// Full is the scale of the official run, Quick that of a test.
func Full() Scale {
	return Scale{Pairs: 100, Rate: 2000, Group: 100, Idle: 5000, Storm: 18_000, Connections: []int{100, 1000, 5000, 18_000}, LargeStorm: 50_000, Chats: 200, Missed: 20, Warm: time.Second, Measure: 3 * time.Second,
		Calm: 5 * time.Second, Settle: 30 * time.Second, Size: 100}
}

// Quick is a scale that shows that everything works; its figures mean little.
func Quick() Scale {
	s := Full()
	s.Pairs, s.Group, s.Idle, s.Storm, s.LargeStorm, s.Chats, s.Missed = 20, 20, 400, 1000, 1500, 20, 10
	s.Connections = []int{100, 300}
	s.Warm, s.Measure, s.Calm = 200*time.Millisecond, 500*time.Millisecond, 600*time.Millisecond
	return s
}

// Value is a figure of one run.
type Value struct {
	Name  string
	Value float64
	Unit  string
	// X, unless it is empty, says that this is a point of a series along something that grows, which is named so: that at At.
	X  string
	At float64
}

// Run is a system that runs, with what was measured of it.
type Run struct {
	Server peer.Server
	Scale  Scale

	mu      sync.Mutex
	values  []Value // guarded by mu
	people  []peer.Person
	direct  []pair
	address uint32 // the number of the last address
}

// pair are two people who can write to each other.
type pair struct {
	a, b     peer.Person
	to, back string
}

// Record notes a figure.
func (r *Run) Record(name string, value float64, unit string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.values = append(r.values, Value{Name: name, Value: value, Unit: unit})
}

// Do runs a scenario and returns what it measured.
func (r *Run) Do(ctx context.Context, s Scenario) ([]Value, error) {
	r.mu.Lock()
	r.values = nil
	r.mu.Unlock()
	if err := s.Run(ctx, r); err != nil {
		return nil, fmt.Errorf("%s: %w", s.Name, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.values, nil
}

// somebody returns n people, the same each time.
func (r *Run) somebody(ctx context.Context, n int) ([]peer.Person, error) {
	if missing := n - len(r.people); missing > 0 {
		more, err := r.Server.People(ctx, missing)
		if err != nil {
			return nil, err
		}
		r.people = append(r.people, more...)
	}
	return r.people[:n], nil
}

// pairs returns n pairs of people, the same each time.
func (r *Run) pairs(ctx context.Context, n int) ([]pair, error) {
	people, err := r.somebody(ctx, 2*n)
	if err != nil {
		return nil, err
	}
	from := len(r.direct)
	if from >= n {
		return r.direct[:n], nil
	}
	r.direct = append(r.direct, make([]pair, n-from)...)
	err = peer.Each(ctx, n-from, 16, func(i int) (err error) {
		p := pair{a: people[2*(from+i)], b: people[2*(from+i)+1]}
		p.to, p.back, err = r.Server.Direct(ctx, p.a, p.b)
		r.direct[from+i] = p
		return err
	})
	if err != nil {
		r.direct = r.direct[:from]
	}
	return r.direct, err
}

// pause waits, unless ctx ends or the crowd fails.
func pause(ctx context.Context, d time.Duration, c *crowd) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-c.broken:
		return c.err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

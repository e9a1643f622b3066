// Package edges knows which edges live, how full they are, and which of them a client does best to connect to. It owns the
// reading side of what edges announce in the bucket of nodes. It promises that an edge which drains, is full or fell silent is
// never named, and that a herd which asks between two beats of the edges is spread over them.
package edges

import (
	"cmp"
	"context"
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/subject"
)

// Service is the name under which edges announce themselves.
const Service = "edge"

// maxEdges is how many edges are known; further ones are not seen.
const maxEdges = 10_000

// Edge is what a live edge told last.
type Edge struct {
	Node string
	// URL is the WebSocket that clients open, with its path.
	URL string
	// Load is its open connections, Capacity how many it takes.
	Load, Capacity int64
	Draining       bool
}

// open tells whether the edge takes a further connection.
func (e Edge) open() bool { return !e.Draining && e.Load < e.Capacity }

// Directory is the edges that live. The zero value is an empty one; its methods may be used by many goroutines.
type Directory struct {
	mu sync.Mutex // guards the following fields
	// ready says that all that stood in the bucket has been told.
	ready bool
	known map[string]*entry // by node
}

// entry is an edge with what this process knows beyond what it told.
type entry struct {
	Edge
	// heard is when it was last heard of, by the clock of this machine.
	heard time.Time
	// live is that it was heard of while this process listened: what stood in the bucket before may be all that is left of an
	// edge that died.
	live bool
	// sent is how often it was named since: those who asked are on their way and stand in no beat yet.
	sent int64
}

// fill is how full the edge would be with one more.
func (e *entry) fill() float64 { return float64(e.Load+e.sent+1) / float64(e.Capacity) }

// Run follows the bucket of nodes until ctx ends.
func (d *Directory) Run(ctx context.Context, b *bus.Bus) {
	d.follow(func(begin, ready func(), fn func(bus.KeyChange)) { b.Watch(ctx, subject.Nodes, begin, ready, fn) })
}

// follow takes what a watch tells. A watch that begins anew forgets nobody: who is gone by then falls silent.
func (d *Directory) follow(watch func(begin, ready func(), fn func(bus.KeyChange))) {
	ready := func(is bool) func() {
		return func() {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.ready = is
		}
	}
	watch(ready(false), ready(true), func(k bus.KeyChange) { d.take(k, time.Now()) })
}

func (d *Directory) take(k bus.KeyChange, now time.Time) {
	service, node, ok := strings.Cut(k.Key, ".")
	if !ok || service != Service {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	var n bus.Node
	if k.Value == nil || json.Unmarshal(k.Value, &n) != nil || n.Load < 0 || n.Capacity < 1 || n.URL == "" {
		delete(d.known, node) // gone, or none to which a client can be sent
		return
	}
	if d.known == nil {
		d.known = map[string]*entry{}
	}
	e := d.known[node]
	if e == nil {
		if len(d.known) >= maxEdges {
			d.expire(now)
		}
		if len(d.known) >= maxEdges {
			return
		}
		e = &entry{}
		d.known[node] = e
	}
	*e = entry{live: e.live || d.ready, Edge: Edge{Node: node, URL: n.URL, Load: n.Load, Capacity: n.Capacity, Draining: n.Draining}, heard: now}
}

// expire forgets who fell silent: the broker says so as well, unless it is away. mu is held.
func (d *Directory) expire(now time.Time) {
	for node, e := range d.known {
		if now.Sub(e.heard) > bus.NodeTTL {
			delete(d.known, node)
		}
	}
}

// List returns the edges that live, in the order of their names.
func (d *Directory) List() []Edge {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.expire(time.Now())
	out := make([]Edge, 0, len(d.known))
	for _, e := range d.known {
		out = append(out, e.Edge)
	}
	slices.SortFunc(out, func(a, b Edge) int { return cmp.Compare(a.Node, b.Node) })
	return out
}

// Best names the edge for a next connection; false where none takes one. Of two that are drawn it is the emptier one, counting
// those whom this process has sent there since the edge's last beat: so neither a herd that asks at once, nor several processes
// that answer from the same beats, all send to the one that was emptiest.
func (d *Directory) Best() (Edge, bool) { return d.best(rand.IntN) }

func (d *Directory) best(intN func(int) int) (Edge, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.expire(time.Now())
	candidates := make([]*entry, 0, len(d.known))
	for _, e := range d.known {
		if e.open() {
			candidates = append(candidates, e)
		}
	}
	prefer := func(ok func(*entry) bool) {
		if some := slices.DeleteFunc(slices.Clone(candidates), func(e *entry) bool { return !ok(e) }); len(some) > 0 {
			candidates = some
		}
	}
	prefer(func(e *entry) bool { return e.live })
	prefer(func(e *entry) bool { return e.fill() <= 1 }) // if all would be full, those who were sent may have gone elsewhere
	if len(candidates) == 0 {
		return Edge{}, false
	}
	i := Choose(len(candidates), func(i int) float64 { return candidates[i].fill() }, intN)
	candidates[i].sent++
	return candidates[i].Edge, true
}

// Choose names one of n edges, at least one: of two that are drawn by intN the one that fill says is emptier. It is the choice of Best
// without what Best knows.
func Choose(n int, fill func(i int) float64, intN func(n int) int) int {
	i := intN(n)
	if n > 1 {
		if j := (i + 1 + intN(n-1)) % n; fill(j) < fill(i) {
			return j
		}
	}
	return i
}

// Share is how many of all connections an edge would have if each had as many as it is large, load being those that it has at
// this moment. It is false where the edge is alone, drains or is not known: then there is nobody to share with.
func (d *Directory) Share(node string, load int64) (float64, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.expire(time.Now())
	own := d.known[node]
	if own == nil || own.Draining {
		return 0, false
	}
	total, capacity, others := load, own.Capacity, 0
	for _, e := range d.known {
		if e != own && !e.Draining && e.live {
			total, capacity, others = total+e.Load, capacity+e.Capacity, others+1
		}
	}
	return float64(total) * float64(own.Capacity) / float64(capacity), others > 0
}

// Elsewhere tells whether another edge than node lives and takes connections.
func (d *Directory) Elsewhere(node string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.expire(time.Now())
	for _, e := range d.known {
		if e.Node != node && e.live && e.open() {
			return true
		}
	}
	return false
}

package sim

import (
	"time"

	"github.com/chatmesh/chatmesh/pkg/client"
	"github.com/chatmesh/chatmesh/pkg/edges"
)

// Storm is an outage of all that are connected, after which they come back. Rates are those of the whole cell.
type Storm struct {
	// Outage is how many seconds nobody can connect. Clients try all the time, ever more seldom.
	Outage float64
	// Admit is how many connections an edge welcomes in a second.
	Admit float64
	// Patience is how many seconds a client waits to be welcomed (15 in the Go SDK). Who would wait longer has waited in vain, and
	// tries again later.
	Patience float64
	// Keys is how many keys of presence are written in a second.
	Keys float64
}

// Return is how they came back. Times are seconds since connecting was possible again.
type Return struct {
	Connections int `json:"connections"`
	// Ideal is how long all edges together would need for all, were there always somebody waiting at each.
	Ideal float64 `json:"ideal_s"`
	// Half, Most (99 %) and All are back.
	Half float64 `json:"half_s"`
	Most float64 `json:"most_s"`
	All  float64 `json:"all_s"`
	// Present is when the last key of presence is written.
	Present float64 `json:"present_s"`
	// Tries is how many attempts a connection made after the outage, on the average; Rush how many came in the busiest second over what
	// the edges welcome in one; Waiting the longest queue before an edge, in seconds of its work.
	Tries   float64 `json:"tries"`
	Rush    float64 `json:"rush"`
	Waiting float64 `json:"waiting_s"`
}

// tick is the step of the clock.
const tick = 0.05

// storm plays the return of all connections.
func (w *world) storm() Return {
	c, s := w.c, w.c.Storm
	n := 0
	for _, k := range w.connections {
		n += k
	}
	out := Return{Connections: n, Ideal: float64(n) * c.Scale / (s.Admit * float64(c.Edges))}
	// Of whom is played each is Scale people, so an edge welcomes its Scale-th part.
	admit := s.Admit / c.Scale * tick // in a tick
	due := w.whoTries(n)
	queue, credit := make([]float64, c.Edges), make([]float64, c.Edges)
	told, sent := make([]float64, c.Edges), make([]float64, c.Edges)
	failures := make([]uint8, n)
	for i := range failures {
		failures[i] = 6 // the longest wait, after some minutes
	}
	back, keys, tries, rush, second := 0, 0.0, 0, 0, 0
	// A person has several devices: the first one back writes the key.
	keysEach := float64(len(w.online)) / float64(n)
	for t := 0; back < n && t < 3600/tick; t++ {
		now := float64(t) * tick
		if t%int(1/tick) == 0 { // edges tell how full they are
			rush = max(rush, second)
			second = 0
			copy(told, queue)
			clear(sent)
		}
		for _, i := range due.take(t) {
			tries++
			second++
			e := edges.Choose(c.Edges, func(k int) float64 { return told[k] + sent[k] }, w.r.IntN)
			sent[e]++
			if wait := queue[e] / admit * tick; wait > s.Patience {
				again := s.Patience + client.Delay(int(failures[i]), w.r.Float64()).Seconds()
				if failures[i] < 255 {
					failures[i]++
				}
				due.add(t+1+int(again/tick), i)
				continue
			}
			queue[e]++
		}
		for e := range queue {
			out.Waiting = max(out.Waiting, queue[e]/admit*tick)
			credit[e] = min(credit[e]+admit, admit+1) // what is left of one, and no more
			done := min(queue[e], float64(int(credit[e])))
			queue[e] -= done
			credit[e] -= done
			before := back
			back += int(done)
			keys += done * keysEach
			for _, mark := range []struct {
				part float64
				at   *float64
			}{{0.5, &out.Half}, {0.99, &out.Most}, {1, &out.All}} {
				if limit := int(mark.part * float64(n)); before < limit && back >= limit {
					*mark.at = now
				}
			}
		}
		keys = max(0, keys-s.Keys/c.Scale*tick)
	}
	out.Present = out.All + keys/(s.Keys/c.Scale)
	out.Tries = float64(tries) / float64(n)
	out.Rush = float64(max(rush, second)) * c.Scale / (s.Admit * float64(c.Edges))
	return out
}

// whoTries plays the outage: from the cut on each client tries after its wait, and fails.
func (w *world) whoTries(n int) *calendar {
	due := &calendar{at: map[int][]int32{}}
	for i := range n {
		now, failures := 0.0, 0
		for now < w.c.Storm.Outage {
			now += max(client.Delay(failures, w.r.Float64()), time.Millisecond).Seconds()
			failures++
		}
		due.add(int((now-w.c.Storm.Outage)/tick), int32(i))
	}
	return due
}

// calendar is who is due when.
type calendar struct{ at map[int][]int32 }

func (c *calendar) add(t int, who int32) { c.at[t] = append(c.at[t], who) }

func (c *calendar) take(t int) []int32 {
	who := c.at[t]
	delete(c.at, t)
	return who
}

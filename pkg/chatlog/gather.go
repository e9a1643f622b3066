package chatlog

import (
	"sync"
	"time"
)

// gathered is what is asked of others: while a request is under way the rest waits, and goes out with the next. So many cost little more
// than one, and who comes alone waits for nobody.
type gathered[T any] struct {
	// most go into one request, and so many flights are under way at a time; a second and further ones only where one is full, or after
	// the last has been alone for the pause.
	most, flights int
	pause         time.Duration

	mu      sync.Mutex // guards the following fields
	waiting []T
	flying  int
	begun   time.Time // the last of them
	ended   *sync.Cond
}

func gather[T any](most, flights int, pause time.Duration) *gathered[T] {
	g := &gathered[T]{most: most, flights: flights, pause: pause}
	g.ended = sync.NewCond(&g.mu)
	return g
}

// wait returns when nothing is under way.
func (g *gathered[T]) wait() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.flying > 0 {
		g.ended.Wait()
	}
}

// join adds to those that wait. Where it tells so, who called it must let a flight begin, which goes on until there is nothing to take.
// mu is held.
func (g *gathered[T]) join(one T, now time.Time) bool {
	g.waiting = append(g.waiting, one)
	if g.flying >= g.flights || g.flying > 0 && len(g.waiting) < g.most && now.Sub(g.begun) < g.pause {
		return false
	}
	g.flying++
	return true
}

// take takes those that are asked for next; none ends the flight. mu is held.
func (g *gathered[T]) take(now time.Time) []T {
	n := min(len(g.waiting), g.most)
	some := g.waiting[:n:n]
	g.waiting, g.begun = g.waiting[n:], now
	if n == 0 {
		g.waiting = nil
		if g.flying--; g.flying == 0 {
			g.ended.Broadcast()
		}
	}
	return some
}

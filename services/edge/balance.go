package edge

import (
	"context"
	"time"
)

// Rebalancing: an edge that has far more than its share sends some of its connections away, slowly.
const (
	balanceEvery = 3 * time.Second
	// farAbove is how far above its share an edge begins, and floor by how many connections at least: of a few, nobody has
	// too many.
	farAbove = 1.3
	floor    = 50
	// slowly is how many go in a second, and slowPart the part of all that goes where that is more.
	slowly   = 5
	slowPart = 0.001
	// roundTime is what one round takes at most. pauseLeast lies between two; where a round did not help, because clients come
	// back to this edge whatever they are told, it doubles up to pauseMost.
	roundTime  = time.Minute
	pauseLeast = 30 * time.Second
	pauseMost  = time.Hour
)

// balance looks, as long as ctx lasts, whether the edge has too many.
func (s *Server) balance(ctx context.Context) {
	tick := time.NewTicker(balanceEvery)
	defer tick.Stop()
	b := balancer{}
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			load := s.Connections()
			share, ok := s.edges.Share(s.c.Node, load)
			if !ok || s.hub.shut.Load() {
				continue
			}
			if n, over := b.next(now, load, share); n > 0 {
				if told := s.shed(n, over, movedToBalance); told > 0 {
					s.c.Logger.Info("sends connections away to balance", "connections", load, "share", int64(share), "sent", told, "over", over)
				}
			}
		}
	}
}

// balancer decides when and how many. The zero value is ready.
type balancer struct {
	after time.Time // nothing before
	pause time.Duration
	// before is the load when the last round began, asked how many were to go.
	before, asked int64
}

// next is how many connections are to go at this moment, and over which time.
func (b *balancer) next(now time.Time, load int64, share float64) (int, time.Duration) {
	surplus := float64(load) - share
	if now.Before(b.after) || float64(load) <= farAbove*share || surplus < floor {
		return 0, 0
	}
	if b.asked > 0 && b.before-load < b.asked/2 { // they came back
		b.pause = min(2*b.pause, pauseMost)
	} else {
		b.pause = pauseLeast
	}
	rate := max(slowly, slowPart*float64(load)) // a second
	n := min(surplus, rate*roundTime.Seconds())
	over := time.Duration(n / rate * float64(time.Second))
	b.before, b.asked, b.after = load, int64(n), now.Add(over+b.pause)
	return int(n), over
}

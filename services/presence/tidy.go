package presence

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/online"
	"github.com/chatmesh/chatmesh/pkg/subject"
)

const (
	// tidyRound is how many keys of dead edges are listed at once, tidyBatch how many are removed together, with tidyPause
	// between: at most 5,000 a second, so that the living are not kept waiting.
	tidyRound = 8192
	tidyBatch = 256
	tidyPause = 50 * time.Millisecond
	tidyEvery = time.Second
)

// tidy removes, where this process leads, the keys that dead edges left behind, until ctx ends.
func (s *Server) tidy(ctx context.Context) {
	for bus.Sleep(ctx, tidyEvery) == nil {
		if !s.lead.leads() {
			continue
		}
		keys, revision := s.table.stale(tidyRound, time.Now().Add(-s.times.stale))
		for len(keys) > 0 && s.lead.leads() {
			n := min(len(keys), tidyBatch)
			removed, err := s.removeStale(ctx, keys[:n], revision)
			s.m.stale.Add(float64(removed))
			if err != nil {
				s.c.Logger.Debug("stale keys not removed", "error", err)
				break
			}
			if keys = keys[n:]; bus.Sleep(ctx, tidyPause) != nil {
				return
			}
		}
	}
}

// removeStale removes those keys that are still as they were at a revision of the bucket at which their host was dead. One
// that was put since belongs to an edge that came back.
func (s *Server) removeStale(ctx context.Context, keys []staleKey, revision uint64) (int, error) {
	subjects := make([]string, len(keys))
	hosts := make(map[string]hostName, len(keys))
	for i, k := range keys {
		subjects[i] = subject.KV(subject.Presence, subject.PresenceKey(k.user, k.host.edge))
		hosts[subjects[i]] = k.host
	}
	msgs, err := s.c.Bus.LastFor(ctx, subject.KVStream(subject.Presence), subjects...)
	if err != nil {
		return 0, err
	}
	prefix := len(subject.KV(subject.Presence, ""))
	var removals []*nats.Msg
	for _, m := range msgs {
		host := hosts[m.Subject]
		if m.Sequence <= revision && online.LifeOf(m.Data) == host.life && s.table.dead(host) {
			removals = append(removals, bus.Removal(subject.Presence, m.Subject[prefix:], m.Sequence))
		}
	}
	ctx, cancel := context.WithTimeout(ctx, seenTimeout)
	defer cancel()
	_, errs := s.c.Bus.PublishAll(ctx, removals)
	removed := 0
	for _, err := range errs {
		if err == nil {
			removed++
		}
	}
	return removed, nil
}

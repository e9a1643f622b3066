// Package presence turns the keys that edges keep in the bucket of presence into transitions: who came online, who went
// offline, and when they were last seen. It promises that a person on several devices and edges is one person, that every
// change between none and some is told in the end whatever happened to the broker, to edges and to this service, and that of
// several processes one tells.
//
//	$KV.presence.> ── watch ──► table ──► changes ──► presence.<user>      by the leader
//	                              │                └► $KV.lastseen.<user>  by the leader
//	svc.presence.get ◄────────────┘                                        by every process
//
// Latency. A change is known here as soon as the broker's watch has delivered it, and an answer of svc.presence.get reflects
// every key that was stored that much before the request. From an edge's word to the transition, the way to the broker
// included, it takes 0.5 ms at the median and 7 ms at the 99th percentile on a busy machine (BenchmarkChangeIsHeard), and as
// much longer as the broker waits for its disk. When the broker's node that feeds the watch dies it can be 6 s. An edge
// that dies is offline when its lease expires: at most its ttl, and half a second for the broker to notice. After the watch
// broke, nobody goes offline for another settleTime, so that edges which find their way back to the broker do not flicker.
package presence

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/online"
	"github.com/chatmesh/chatmesh/pkg/run"
	"github.com/chatmesh/chatmesh/pkg/subject"
)

// Config is what a Server needs. All fields but Metrics are required.
type Config struct {
	Bus *bus.Bus
	// Node names this process among those of the service.
	Node    string
	Version string
	Logger  *slog.Logger
	Metrics prometheus.Registerer
	Health  *run.Health
}

// Server watches the bucket of presence, answers who is online and, where it leads, tells what changes.
type Server struct {
	c       Config
	table   *table
	changes *changes
	seen    *lastSeen
	lead    *leader
	past    past
	m       *metrics
	times   times
}

// times are the waits of a Server.
type times struct {
	// settle is how long after a rebuild nobody goes offline; stale how long a dead edge's keys are left alone; leader and
	// beat the age of the leader's key and the time between its renewals.
	settle, stale, leader, beat time.Duration
}

const settleTime = 5 * time.Second

// healthName is the part of the process that waits while the bucket is read.
const healthName = "presence"

// New validates the configuration.
func New(c Config) (*Server, error) {
	if c.Bus == nil || c.Logger == nil || c.Health == nil {
		return nil, errors.New("presence: bus, logger and health are required")
	}
	if _, err := chat.ParseID(c.Node); err != nil {
		return nil, errors.New("presence: the name of the node is not 1 to 64 of A-Z a-z 0-9 _ -")
	}
	s := &Server{c: c, changes: newChanges(), seen: newLastSeen(c.Bus, c.Logger),
		times: times{settle: settleTime, stale: 10 * time.Second, leader: 5 * time.Second, beat: 1500 * time.Millisecond}}
	s.table = newTable(s.changes.add)
	s.lead = &leader{changes: s.changes}
	s.m = newMetrics(c.Metrics, s)
	c.Health.Set(healthName, errRebuilding)
	return s, nil
}

var errRebuilding = errors.New("the bucket is being read")

// Run works until ctx ends. It fails only where the endpoint cannot be served at all.
func (s *Server) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { s.watch(ctx); return nil })
	g.Go(func() error { s.clock(ctx); return nil })
	g.Go(func() error { s.elect(ctx); return nil })
	g.Go(func() error { s.publish(ctx); return nil })
	g.Go(func() error { s.seen.write(ctx); return nil })
	g.Go(func() error { s.tidy(ctx); return nil })
	g.Go(func() error { return s.serve(ctx) })
	return g.Wait()
}

// watch feeds the table.
func (s *Server) watch(ctx context.Context) {
	started := time.Now()
	begin := func() {
		started = time.Now()
		s.m.rebuilds.Inc()
		s.c.Health.Set(healthName, errRebuilding)
		since, _ := s.lastTold(ctx) // where it cannot be had, everything is told once more
		s.table.begin(since)
	}
	ready := func() {
		now := time.Now()
		s.table.ready(now, now.Add(s.times.settle))
		s.changes.again()
		s.c.Health.Set(healthName, nil)
		people, edges := s.table.counts()
		s.c.Logger.Info("presence is known", "people", people, "edges", edges, "took", now.Sub(started))
	}
	s.c.Bus.Watch(ctx, subject.Presence, begin, ready, s.feed)
}

// feed takes a change of the bucket: of a person's key or of an edge's lease. Other keys mean nothing here.
func (s *Server) feed(c bus.KeyChange) {
	who, edge, _ := strings.Cut(c.Key, ".")
	if _, err := chat.ParseID(edge); err != nil {
		return
	}
	switch user, err := chat.ParseUserID(who); {
	case err != nil:
	case who == subject.EdgeLease && c.Value != nil:
		s.table.leased(edge, online.LifeOf(c.Value), c.At, c.Revision)
	case who == subject.EdgeLease:
		s.table.unleased(edge, c.At, c.Revision)
	case c.Value != nil:
		s.table.put(user, edge, online.LifeOf(c.Value), online.StateOf(c.Value), c.At, c.Revision)
	default:
		s.table.remove(user, edge, c.At, c.Revision)
	}
}

// clock ends the settling and lets the changes that a new leader would tell again grow old.
func (s *Server) clock(ctx context.Context) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	aged := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			s.table.settled(now)
			if s.c.Bus.Check(ctx) != nil {
				aged = now // what was told last may not have arrived
			}
			if now.Sub(aged) > remembered {
				aged = now
				s.changes.age()
			}
		}
	}
}

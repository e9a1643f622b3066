package edge

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"time"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/subject"
)

// What a DrainRequest asks for.
const (
	// ActionNone only tells how it stands.
	ActionNone = ""
	// ActionDrain sends everybody away and lets nobody in.
	ActionDrain = "drain"
	// ActionUndo lets people in again, and those stay who have not gone.
	ActionUndo = "undo"
	// ActionShare sends as many away as the edge has above its share.
	ActionShare = "share"
)

// Bounds of a drain.
const (
	// DefaultOver is over which time connections are moved where nobody says another, MostOver the longest.
	DefaultOver = 30 * time.Second
	MostOver    = time.Hour
)

// DrainRequest asks subject.DrainEndpoint of an edge to move its clients away, spread over OverMS milliseconds (zero is
// DefaultOver).
type DrainRequest struct {
	Action string `json:"action,omitempty"`
	OverMS int64  `json:"over_ms,omitempty"`
}

// DrainAnswer is how it stands with an edge.
type DrainAnswer struct {
	Node        string `json:"node"`
	Connections int64  `json:"connections"`
	Capacity    int64  `json:"capacity"`
	Draining    bool   `json:"draining"`
	// Leaving is how many were told to go and are not closed yet.
	Leaving int `json:"leaving"`
}

// endpoint answers operators.
func (s *Server) endpoint() bus.Endpoint {
	return bus.Endpoint{Subject: subject.DrainEndpoint(s.c.Node), Parallel: 1,
		Doc: "move this edge's clients away: {action: drain|undo|share, over_ms?} to {node, connections, capacity, draining, leaving}",
		Handle: func(_ context.Context, request []byte) (any, error) {
			var q DrainRequest
			if len(request) > 0 && json.Unmarshal(request, &q) != nil {
				return nil, chat.Errorf(chat.BadRequest, "not a JSON object")
			}
			over := DefaultOver
			if q.OverMS != 0 {
				over = time.Duration(q.OverMS) * time.Millisecond
			}
			if q.OverMS < 0 || q.OverMS > MostOver.Milliseconds() {
				return nil, chat.Errorf(chat.BadRequest, "over_ms is from 0 to %d", MostOver.Milliseconds())
			}
			if err := s.act(q.Action, over); err != nil {
				return nil, err
			}
			return DrainAnswer{Node: s.c.Node, Connections: s.Connections(), Capacity: int64(s.c.MaxConnections),
				Draining: s.hub.shut.Load(), Leaving: s.mover.waiting()}, nil
		}}
}

func (s *Server) act(action string, over time.Duration) error {
	switch action {
	case ActionNone:
	case ActionDrain:
		s.drain(over)
	case ActionUndo:
		return s.undo()
	case ActionShare:
		share, ok := s.edges.Share(s.c.Node, s.Connections())
		if !ok {
			return chat.Errorf(chat.Conflict, "there is no other edge to share with, or this one drains")
		}
		s.shed(int(float64(s.Connections())-math.Ceil(share)), over, movedToShare)
	default:
		return chat.Errorf(chat.BadRequest, "action is drain, undo or share")
	}
	return nil
}

// drain lets nobody in any more and sends everybody away, spread over a time.
func (s *Server) drain(over time.Duration) {
	s.mover.mu.Lock()
	s.mover.until = time.Now().Add(over)
	s.mover.mu.Unlock()
	conns, first := s.hub.close()
	if first {
		s.c.Logger.Info("drains", "connections", len(conns), "over", over)
		s.m.draining.Set(1)
	}
	s.tell() // before anybody looks for another edge
	s.m.moved.WithLabelValues(movedByDrain).Add(float64(s.mover.move(conns, over)))
}

// undo ends a drain.
func (s *Server) undo() error {
	if s.stopping.Load() {
		return chat.Errorf(chat.Conflict, "this edge stops")
	}
	if s.hub.reopen() {
		s.mover.stay()
		s.c.Logger.Info("takes connections again")
		s.m.draining.Set(0)
		s.tell()
	}
	return nil
}

// shed sends n connections away, chosen at random, and returns how many it told.
func (s *Server) shed(n int, over time.Duration, why string) int {
	if n <= 0 || s.hub.shut.Load() {
		return 0
	}
	conns := s.hub.all()
	n = min(n, len(conns)) - s.mover.waiting() // who was told counts as gone
	if n <= 0 {
		return 0
	}
	rand.Shuffle(len(conns), func(i, j int) { conns[i], conns[j] = conns[j], conns[i] })
	told := s.mover.move(conns[:n], over)
	s.m.moved.WithLabelValues(why).Add(float64(told))
	return told
}

// tell has the node announced at once, with what has changed.
func (s *Server) tell() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// Changed has something to receive when Describe would tell something that cannot wait for the next beat.
func (s *Server) Changed() <-chan struct{} { return s.changed }

// Describe brings up to date what the edge tells of itself in the bucket of nodes.
func (s *Server) Describe(n *bus.Node) {
	n.Load, n.Capacity, n.Draining = s.Connections(), int64(s.c.MaxConnections), s.hub.shut.Load()
}

// Check fails while the edge lets nobody in: a load balancer that asks sends nobody.
func (s *Server) Check(context.Context) error {
	if s.hub.shut.Load() {
		return errors.New("this edge drains")
	}
	return nil
}

// reconnectSpread is the time over which clients of an edge that stops spread their return where there is no other edge.
const reconnectSpread = 2 * time.Second

// retryElsewhere is what a request is refused with whose connection is about to be closed: by then the client is on another.
const retryElsewhere = 250 * time.Millisecond

// stop sends everybody away for good, and returns when they are gone or the grace is over. With another edge to go to, people
// are moved over half of the grace, and there is time for what they have begun; without one they are told to come back within
// reconnectSpread and closed at once, so that the next process can begin.
func (s *Server) stop() {
	s.stopping.Store(true)
	deadline := time.Now().Add(s.c.Grace)
	moves := s.edges.Elsewhere(s.c.Node)
	s.mover.stay() // who had an hour until now is told anew
	if moves {
		s.drain(s.c.Grace / 2)
	} else {
		s.drain(reconnectSpread)
		s.mover.closeNow()
	}
	for s.hub.connections.Load() > 0 && time.Now().Before(deadline) {
		_ = bus.Sleep(context.Background(), 10*time.Millisecond)
	}
	for _, c := range s.hub.all() {
		c.abort()
	}
	// Where people have gone elsewhere, the lease is kept until they have arrived.
	for moves && !s.mover.settled() && time.Now().Before(deadline) {
		_ = bus.Sleep(context.Background(), 10*time.Millisecond)
	}
}

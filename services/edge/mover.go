package edge

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// mover sends connections away: each is told that it has a time of its own to go, and closed when that is over. One goroutine
// does it for all, so that a connection needs no timer.
type mover struct {
	s    *Server
	wake chan struct{}

	mu sync.Mutex // guards the following fields; no other lock is taken under it
	// leaving are those who were told, the first to be closed at the end.
	leaving []departure
	// until is when a drain is to be over; whoever was on the way in when it began gets what is left.
	until time.Time
	gone  partings
}

type departure struct {
	c  *conn
	at time.Time
}

func newMover(s *Server) *mover {
	return &mover{s: s, wake: make(chan struct{}, 1), gone: partings{last: map[chat.UserID]time.Time{}}}
}

func (m *mover) ring() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// move tells connections to go, each within a time of its own that is at most over, and returns how many had not been told
// before.
//
// The time is the greater of two at random. A client goes at a random moment within it, or is closed at its end: whichever
// clients do, at no moment do more than twice as many go as on the average, and none is closed before it would have gone, which
// would leave it without a connection until then.
func (m *mover) move(conns []*conn, over time.Duration) int {
	now := time.Now()
	told := make([]departure, 0, len(conns))
	for _, c := range conns {
		c.mu.Lock()
		skip := c.moving || c.dead || c.closing != 0
		c.moving = c.moving || !skip
		c.mu.Unlock()
		if skip {
			continue
		}
		within := time.Duration(max(rand.Float64(), rand.Float64()) * float64(over))
		told = append(told, departure{c: c, at: now.Add(within)})
		c.send(wire.Draining{Type: wire.TypeDraining, ReconnectAfterMS: within.Milliseconds()})
	}
	m.mu.Lock()
	m.leaving = append(m.leaving, told...)
	slices.SortFunc(m.leaving, func(a, b departure) int { return b.at.Compare(a.at) })
	m.mu.Unlock()
	m.ring()
	return len(told)
}

// late tells a connection that came in while a drain began.
func (m *mover) late(c *conn) {
	m.mu.Lock()
	left := time.Until(m.until)
	m.mu.Unlock()
	m.move([]*conn{c}, max(left, 0))
}

// stay lets those stay who were told to go and have not.
func (m *mover) stay() {
	m.mu.Lock()
	leaving := m.leaving
	m.leaving = nil
	m.mu.Unlock()
	for _, d := range leaving {
		d.c.mu.Lock()
		d.c.moving = false
		d.c.mu.Unlock()
	}
}

// closeNow closes all that were told, whatever time they had.
func (m *mover) closeNow() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.leaving {
		m.leaving[i].at = time.Time{}
	}
	m.until = time.Time{}
	m.ring()
}

// waiting is how many have been told and are not closed yet by this side; some may have gone by themselves.
func (m *mover) waiting() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.leaving)
}

// left says that a connection of somebody has ended, who may have been sent away. It is false where they have no time to come back.
func (m *mover) left(user chat.UserID, moving bool) bool {
	grace := m.s.c.PresenceGrace
	if moving {
		grace = m.s.c.MoveGrace
	}
	if grace <= 0 {
		return false
	}
	m.mu.Lock()
	ok := m.gone.add(parting{user: user, at: time.Now().Add(grace), moved: moving})
	m.mu.Unlock()
	m.ring()
	return ok
}

// settled tells whether nobody who was sent away counts as online here without being so.
func (m *mover) settled() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.gone.moved == 0
}

// run does what is due until ctx ends.
func (m *mover) run(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		timer.Reset(m.step(time.Now()))
		select {
		case <-ctx.Done():
			return
		case <-m.wake:
		case <-timer.C:
		}
	}
}

// step does what is due and returns after which time something will be.
func (m *mover) step(now time.Time) time.Duration {
	m.mu.Lock()
	i := len(m.leaving)
	for i > 0 && !m.leaving[i-1].at.After(now) {
		i--
	}
	due := slices.Clone(m.leaving[i:])
	clear(m.leaving[i:])
	m.leaving = m.leaving[:i]
	gone := m.gone.due(now)
	next := time.Hour
	if i > 0 {
		next = m.leaving[i-1].at.Sub(now)
	}
	if at, ok := m.gone.next(); ok {
		next = min(next, at.Sub(now))
	}
	m.mu.Unlock()
	for _, d := range due {
		d.c.finishAfterWork(wire.CloseDraining, "this edge is going away")
	}
	for _, u := range gone {
		m.s.hub.gone(u)
	}
	return max(next, time.Millisecond)
}

package edge

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/chatlog"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// Bounds of marks.
const (
	// markWindow is how long after a move of a cursor the next ones of the same person in the same chat are gathered into one, unless
	// somebody waits for it.
	markWindow = 250 * time.Millisecond
	// marksHeld is how many cursors (of a person in a chat) are known to have moved lately; a further one moves at once, by itself.
	marksHeld = 10_000
	// marksAtOnce is how many gathered moves are written at once, marksFlush how long the last ones may take when the edge stops.
	marksAtOnce = 16
	marksFlush  = time.Second
)

// marks moves cursors. Of what one person does in one chat within a moment, on all their devices here, it makes one write of the
// furthest. Who wants an answer is answered when the cursor is durable.
type marks struct {
	s *Server
	// room bounds the writes of gathered moves.
	room chan struct{}
	// wake tells run that something is due that was not.
	wake chan struct{}
	// wg has the writes that no request does.
	wg sync.WaitGroup

	mu    sync.Mutex // guards the following fields
	slots map[markKey]*slot
	// due is when slots are to be looked at, in that order.
	due []dueMark
}

// markKey names a cursor. What others are told and what they are not is not gathered into one.
type markKey struct {
	chat    chat.ID
	user    chat.UserID
	private bool
}

type dueMark struct {
	key markKey
	at  time.Time
}

// slot is a cursor that is being moved, or was within markWindow.
type slot struct {
	running bool
	due     time.Time
	// done is what is durable.
	done chatlog.Move
	// next gathers what comes meanwhile; nil is nothing.
	next *gathered
}

// gathered are moves that become one.
type gathered struct {
	move chatlog.Move
	// urgent says that somebody waits for ready; err is valid then.
	urgent bool
	ready  chan struct{}
	err    error
	// from are connections that do not wait, to be told of a refusal.
	from []*conn
}

func newMarks(s *Server) *marks {
	return &marks{s: s, room: make(chan struct{}, marksAtOnce), wake: make(chan struct{}, 1), slots: map[markKey]*slot{}}
}

// mark moves the cursor of a connection's person. With wait it returns when the cursor is durable; otherwise perhaps before, and the
// connection is told of a refusal.
func (m *marks) mark(ctx context.Context, c *conn, id chat.ID, move chatlog.Move, wait bool) error {
	// What is refused must not be gathered with what is not.
	if err := m.s.c.Log.CheckMark(ctx, id, c.id.User, move); err != nil {
		return err
	}
	m.s.m.marks.Inc()
	move.Private = !c.person.preferences().ReadReceipts
	key := markKey{id, c.id.User, move.Private}
	m.mu.Lock()
	sl := m.slots[key]
	if sl == nil {
		if len(m.slots) >= marksHeld {
			m.mu.Unlock()
			_, err := m.s.c.Log.Mark(ctx, id, c.id.User, move)
			return err
		}
		sl = &slot{running: true}
		m.slots[key] = sl
		m.mu.Unlock()
		return m.write(ctx, key, sl, &gathered{move: move, ready: make(chan struct{})})
	}
	if sl.done.Later(move) == sl.done {
		m.mu.Unlock()
		m.s.m.marksJoined.Inc()
		return nil
	}
	if sl.next == nil {
		sl.next = &gathered{ready: make(chan struct{})}
	} else {
		m.s.m.marksJoined.Inc()
	}
	g := sl.next
	g.move = g.move.Later(move)
	if !wait {
		if !slices.Contains(g.from, c) {
			g.from = append(g.from, c)
		}
		m.mu.Unlock()
		return nil
	}
	g.urgent = true
	if !sl.running {
		sl.running, sl.next = true, nil
		m.mu.Unlock()
		return m.write(ctx, key, sl, g)
	}
	m.mu.Unlock()
	select {
	case <-g.ready:
		return g.err
	case <-ctx.Done():
		return chatUnavailable()
	}
}

// write moves a cursor of a slot that the caller has made run.
func (m *marks) write(ctx context.Context, key markKey, sl *slot, g *gathered) error {
	_, g.err = m.s.c.Log.Mark(ctx, key.chat, key.user, g.move)
	close(g.ready)
	m.mu.Lock()
	if g.err == nil {
		sl.done = sl.done.Later(g.move)
	}
	if next := sl.next; next != nil && next.urgent {
		sl.next = nil
		m.wg.Go(func() { m.later(key, sl, next) })
	} else {
		sl.running, sl.due = false, time.Now().Add(markWindow)
		m.due = append(m.due, dueMark{key, sl.due})
		select {
		case m.wake <- struct{}{}:
		default:
		}
	}
	m.mu.Unlock()
	for _, c := range g.from {
		if g.err != nil {
			c.refuse(nil, g.err)
		}
	}
	return g.err
}

// later is write for what no request's context belongs to.
func (m *marks) later(key markKey, sl *slot, g *gathered) {
	ctx, cancel := context.WithTimeout(m.s.work, requestTimeout)
	defer cancel()
	_ = m.write(ctx, key, sl, g) // told to whom it concerns
}

// run writes what is gathered when it is due, and forgets slots of which nothing more has come, until ctx ends. It waits for the
// writes.
func (m *marks) run(ctx context.Context) {
	defer m.wg.Wait()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		wait := time.Hour
		m.mu.Lock()
		if len(m.due) > 0 {
			wait = max(0, time.Until(m.due[0].at))
		}
		m.mu.Unlock()
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return
		case <-m.wake:
		case <-timer.C:
			for {
				key, sl, g := m.take(time.Now())
				if g == nil {
					break
				}
				select {
				case m.room <- struct{}{}:
				case <-ctx.Done():
					return
				}
				m.wg.Go(func() {
					defer func() { <-m.room }()
					m.later(key, sl, g)
				})
			}
		}
	}
}

// take makes the next slot run that is due and has something to write; nil where there is none.
func (m *marks) take(now time.Time) (markKey, *slot, *gathered) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for len(m.due) > 0 && !m.due[0].at.After(now) {
		d := m.due[0]
		m.due = m.due[1:]
		sl := m.slots[d.key]
		switch {
		case sl == nil || sl.running || !sl.due.Equal(d.at): // it will be due again
		case sl.next == nil:
			delete(m.slots, d.key)
		default:
			g := sl.next
			sl.running, sl.next = true, nil
			return d.key, sl, g
		}
	}
	return markKey{}, nil, nil
}

// flush writes all that is gathered. No request comes any more.
func (m *marks) flush() {
	ctx, cancel := context.WithTimeout(m.s.work, marksFlush)
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	for key, sl := range m.slots {
		if sl.next == nil {
			continue
		}
		g := sl.next
		sl.next = nil // also of one that runs: cursors only move forward, whoever comes first
		wg.Go(func() {
			m.room <- struct{}{}
			defer func() { <-m.room }()
			_, g.err = m.s.c.Log.Mark(ctx, key.chat, key.user, g.move)
			close(g.ready)
		})
	}
}

// mark moves a cursor of the person.
func (c *conn) mark(ctx context.Context, r wire.Request) error {
	id, err := chat.ParseID(r.Chat)
	if err != nil {
		return err
	}
	move := chatlog.Move{Read: r.Seq}
	if r.Type == wire.TypeDelivered {
		move = chatlog.Move{Delivered: r.Seq}
	}
	if err := c.s.marks.mark(ctx, c, id, move, len(r.ID) > 0); err != nil {
		return err
	}
	if len(r.ID) > 0 {
		c.send(wire.Ack{Type: wire.TypeAck, ID: r.ID, Chat: id, Seq: r.Seq})
	}
	return nil
}

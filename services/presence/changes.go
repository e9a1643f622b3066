package presence

import (
	"context"
	"sync"
	"time"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/prefs"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// remembered is how long at least a change is kept to be told again by a new leader, or after the broker was away: longer
// than it takes to notice that a leader has fallen silent. Whoever receives it takes it as a state.
const remembered = 10 * time.Second

// change is the last that happened to a person.
type change struct {
	is standing
	// was is what was told before, if that is known.
	was   standing
	known bool
	// public is that others have something to be told, of the moment at: not where only the own devices have.
	public bool
	at     time.Time
}

// changes holds what the leader has to tell, and what it told in the last seconds. A person stands in it once, so that it is
// bounded by the people there are.
type changes struct {
	wake chan struct{} // there is something to tell

	mu         sync.Mutex // guards the following fields; taken after table.mu
	leading    bool
	pending    map[chat.UserID]change
	young, old map[chat.UserID]change
}

func newChanges() *changes {
	return &changes{wake: make(chan struct{}, 1), pending: map[chat.UserID]change{}, young: map[chat.UserID]change{}}
}

func (c *changes) ring() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// add takes a transition. One that undoes another which was not told yet takes it away.
func (c *changes) add(user chat.UserID, was, is standing, at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	next := change{is: is, was: was, known: true, public: was.public() != is.public(), at: at}
	last, ok := c.young[user]
	if !ok {
		last, ok = c.old[user]
	}
	c.young[user] = next.after(last, ok && at.Sub(last.at) < 2*remembered)
	if !c.leading {
		return
	}
	if p, ok := c.pending[user]; ok {
		next.was, next.known = p.was, p.known
		next = next.after(p, true)
	}
	if next.known && next.was == is {
		delete(c.pending, user)
		return
	}
	c.pending[user] = next
	c.ring()
}

// after adds to a change what an earlier one, where there is one, has left to tell others: what follows among the own devices must
// not hide it, nor move its moment.
func (ch change) after(last change, ok bool) change {
	if ok && last.public && !ch.public {
		ch.public, ch.at = true, last.at
	}
	return ch
}

// lead says whether this process leads from now on: it then tells what happened lately.
func (c *changes) lead(leading bool) {
	c.mu.Lock()
	c.leading = leading
	clear(c.pending)
	c.mu.Unlock()
	c.again()
}

// again makes the leader tell once more what it told in the last seconds: it may not have arrived.
func (c *changes) again() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.leading {
		return
	}
	for _, from := range []map[chat.UserID]change{c.old, c.young} {
		for user, ch := range from {
			ch.known = false
			c.pending[user] = ch
		}
	}
	c.ring()
}

// age forgets what is older than remembered.
func (c *changes) age() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.old, c.young = c.young, map[chat.UserID]change{}
}

// take returns up to n changes to tell.
func (c *changes) take(n int) map[chat.UserID]change {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.pending) == 0 {
		return nil
	}
	if len(c.pending) <= n {
		out := c.pending
		c.pending = map[chat.UserID]change{}
		return out
	}
	out := make(map[chat.UserID]change, n)
	for user, ch := range c.pending {
		out[user] = ch
		delete(c.pending, user)
		if len(out) == n {
			break
		}
	}
	return out
}

// giveBack returns changes that could not be told.
func (c *changes) giveBack(untold map[chat.UserID]change) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.leading {
		return
	}
	for user, ch := range untold {
		if newer, ok := c.pending[user]; ok {
			ch = newer.after(ch, true)
		}
		ch.known = false
		c.pending[user] = ch
	}
}

// telling is how many transitions are published in one go.
const telling = 512

// publish tells the changes while this process leads, until ctx ends.
func (s *Server) publish(ctx context.Context) {
	for failures := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-s.changes.wake:
		}
		for ctx.Err() == nil && s.lead.leads() {
			batch := s.changes.take(telling)
			if batch == nil {
				break
			}
			err := s.tell(ctx, batch)
			if err == nil {
				failures = 0
				continue
			}
			s.changes.giveBack(batch)
			if failures == 0 {
				s.c.Logger.Warn("transitions not told; they are tried again", "transitions", len(batch), "error", err)
			}
			_ = bus.Sleep(ctx, bus.Backoff(failures))
			failures++
		}
	}
}

// tellsOthers tells whether those who watch the person have something to learn.
func (ch change) tellsOthers() bool {
	if ch.known {
		return ch.was.public() != ch.is.public()
	}
	return ch.public
}

// tellsOwn tells whether the own devices have something to learn that others do not.
func (ch change) tellsOwn() bool { return ch.is.hidden() || ch.known && ch.was.hidden() }

// leaveHidden takes those out of a batch who went while no presence service was there and did not want to be seen: the broker knows
// that they had a key, but not any more what stood in it.
func (s *Server) leaveHidden(ctx context.Context, batch map[chat.UserID]change) error {
	var users []chat.UserID
	for user, ch := range batch {
		if ch.was == unknown && ch.is == offline {
			users = append(users, user)
		}
	}
	if len(users) == 0 {
		return nil
	}
	all, err := prefs.Of(ctx, s.c.Bus, users...)
	if err != nil {
		return err
	}
	for _, user := range users {
		if all[user].Invisible {
			delete(batch, user)
		}
	}
	return nil
}

// tell publishes a batch and takes out of it what is published.
func (s *Server) tell(ctx context.Context, batch map[chat.UserID]change) error {
	storm := len(batch) == telling
	if err := s.leaveHidden(ctx, batch); err != nil {
		return err
	}
	for user, ch := range batch {
		if ch.tellsOthers() {
			p := ch.is.public().presence(user)
			if ch.is.public() == offline {
				at := chat.TimeOf(ch.at)
				p.LastSeen = &at
			}
			if err := s.c.Bus.Conn().Publish(subject.PresenceOf(user), wire.Encode(p)); err != nil {
				return err
			}
		}
		if ch.tellsOwn() {
			if err := s.c.Bus.Conn().Publish(subject.PresenceOwn(user), wire.Encode(ch.is.presence(user))); err != nil {
				return err
			}
		}
		delete(batch, user)
		if !ch.tellsOthers() {
			continue
		}
		if s.m.told(ch.is.public()); ch.is.public() == offline {
			s.seen.add(user, ch.at)
		}
	}
	if storm {
		return s.c.Bus.Flush(ctx) // at the pace of the broker
	}
	return nil
}

package edge

import (
	"context"
	"time"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/online"
	"github.com/chatmesh/chatmesh/pkg/prefs"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// learn has a person's preferences known, and tells the mesh that the person is here. Whoever changes them from the moment when the
// person's subject is listened to is heard. It fails where the broker cannot be asked: nothing is told of who may not want it.
func (s *Server) learn(ctx context.Context, p *person) error {
	p.mu.Lock()
	known := p.prefsKnown
	if known {
		p.tell()
	}
	p.mu.Unlock()
	if known {
		return nil
	}
	own, err := prefs.OfOne(ctx, s.c.Bus, p.id)
	if err == nil {
		p.prefer(own)
	}
	return err
}

// learnAgain reads the preferences of all people here again: word of a change may have been lost.
func (s *Server) learnAgain(ctx context.Context) {
	var users []chat.UserID
	people := s.hub.people()
	for _, p := range people {
		users = append(users, p.id)
	}
	all, err := prefs.Of(ctx, s.c.Bus, users...)
	if err != nil {
		s.c.Logger.Warn("preferences not read again", "error", err)
		return
	}
	for _, p := range people {
		p.prefer(all[p.id])
	}
}

// prefer takes the preferences of a person, unless later ones are known.
func (p *person) prefer(next prefs.Preferences) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.prefsKnown && next.Revision <= p.prefs.Revision {
		return
	}
	p.prefs, p.prefsKnown = next, true
	p.tell()
}

// preferences are those of the person; until they are known what tells others the least.
func (p *person) preferences() prefs.Preferences {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.prefs
}

// seesCursor tells whether the devices of a person may be told of a cursor: who does not tell others is told nothing of theirs.
func (p *person) seesCursor(of chat.UserID) bool { return of == p.id || p.preferences().ReadReceipts }

// tell has the mesh know how the person is. mu is held.
func (p *person) tell() {
	if p.prefsKnown && len(p.conns) > 0 {
		p.s.c.Online.Be(p.id, online.State{Away: p.away(), Invisible: p.prefs.Invisible})
	}
}

// away tells whether nobody is at any device. mu is held.
func (p *person) away() bool {
	for _, c := range p.conns {
		if !c.idle.Load() {
			return false
		}
	}
	return true
}

// acts are the requests by which a client shows that somebody is at the device. The others it makes by itself.
func acts(typ string) bool {
	switch typ {
	case wire.TypePing, wire.TypeDelivered, wire.TypeSync, wire.TypeWatch, wire.TypeIdle:
		return false
	}
	return true
}

// act notes that somebody is at the device.
func (c *conn) act() {
	c.acted.Store(time.Now().Unix())
	if c.idle.Load() {
		c.rest(false)
	}
}

// rest says whether nobody is at the device.
func (c *conn) rest(idle bool) {
	p := c.person
	p.mu.Lock()
	defer p.mu.Unlock()
	if c.idle.Swap(idle) != idle {
		p.tell()
	}
}

// beIdle carries out an idle request.
func (c *conn) beIdle(r wire.Request) {
	if r.Idle {
		c.rest(true)
	} else {
		c.act()
	}
	if len(r.ID) > 0 {
		c.send(wire.Ack{Type: wire.TypeAck, ID: r.ID})
	}
}

// doze makes those devices of a person idle that have not shown anybody at them since a moment.
func (p *person) doze(since time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	changed := false
	for _, c := range p.conns {
		if c.feed != nil || c.idle.Load() || c.acted.Load() >= since.Unix() {
			continue // who has no WebSocket says so with each request
		}
		c.idle.Store(true)
		if c.acted.Load() >= since.Unix() { // by now, and act may not have seen it idle
			c.idle.Store(false)
			continue
		}
		changed = true
	}
	if changed {
		p.tell()
	}
}

package edge

import (
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// Bounds of what is kept back while a connection catches up; of the chats of which more comes, the client is told to sync.
const (
	heldFrames = 1000
	heldBytes  = 1 << 20
)

// held is what a connection keeps back until it has caught up: everything until it is welcome, then the events of the chats whose turn
// is not over. The connection's mu guards it.
type held struct {
	welcome bool
	// pending are the chats of which events are kept back.
	pending map[chat.ID]struct{}
	frames  []frame
	bytes   int
	// missed are chats of which something was dropped; all says that something else was.
	missed map[chat.ID]struct{}
	all    bool
}

func newHeld(ids []chat.ID) *held {
	h := &held{pending: make(map[chat.ID]struct{}, len(ids)), missed: map[chat.ID]struct{}{}}
	for _, id := range ids {
		h.pending[id] = struct{}{}
	}
	return h
}

// waits tells whether a frame has to wait.
func (h *held) waits(f frame) bool {
	if !h.welcome {
		return true
	}
	_, pending := h.pending[f.chat]
	return pending && f.seq > 0
}

// keep takes a frame that waits.
func (h *held) keep(f frame) {
	_, missed := h.missed[f.chat]
	switch {
	case missed && f.seq > 0: // it will be synced
	case len(h.frames) < heldFrames && h.bytes+len(f.data) <= heldBytes:
		h.frames, h.bytes = append(h.frames, f), h.bytes+len(f.data)
	case f.seq > 0 && len(h.missed) < cursorsMax:
		h.missed[f.chat] = struct{}{}
	default:
		h.all = true
	}
}

// release returns the frames that need not wait any more, in their order.
func (h *held) release() []frame {
	var out []frame
	kept := h.frames[:0]
	for _, f := range h.frames {
		if h.waits(f) {
			kept = append(kept, f)
			continue
		}
		out, h.bytes = append(out, f), h.bytes-len(f.data)
	}
	clear(h.frames[len(kept):])
	h.frames = kept
	return out
}

// greet sends the welcome. From now on frames that belong to no catch-up pass.
func (c *conn) greet() {
	data := wire.Encode(wire.Welcome{Type: wire.TypeWelcome, User: c.id.User, Session: c.id.Session, ServerTime: chat.Now()})
	c.mu.Lock()
	defer c.mu.Unlock()
	c.put(data)
	c.held.welcome = true
	for _, f := range c.held.release() {
		c.pass(f)
	}
}

// untold tells the client to sync a chat of which nothing can be told.
func (c *conn) untold(id chat.ID) { c.caughtUp(id, 0, true) }

// caughtUp ends the turn of a chat: the client has it up to seq (zero is not known), or is told to sync. What came of it meanwhile and was
// not sent follows.
func (c *conn) caughtUp(id chat.ID, seq chat.Seq, resync bool) {
	p := c.person
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.conns) == 1 && seq > 0 && p.last[id] < seq && len(p.last) < chatsRemembered {
		// The only device: what it has is what this edge has handed out, so that a hole behind it is seen.
		if p.last == nil {
			p.last = map[chat.ID]chat.Seq{}
		}
		p.last[id] = seq
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.held.pending, id)
	if seq > 0 {
		if c.caught == nil {
			c.caught = map[chat.ID]chat.Seq{}
		}
		c.caught[id] = seq
	}
	frames := c.held.release()
	if _, missed := c.held.missed[id]; missed || seq > 0 && gap(frames, seq) {
		delete(c.held.missed, id)
		resync = true
	}
	if resync {
		c.s.m.resyncs.Inc()
		c.put(wire.Encode(wire.Resync{Type: wire.TypeResync, Chat: id}))
	}
	for _, f := range frames {
		c.pass(f)
	}
}

// gap tells whether something is missing between seq and the first of the frames behind it.
func gap(frames []frame, seq chat.Seq) bool {
	for _, f := range frames {
		if f.seq > seq {
			return f.seq > seq+1
		}
	}
	return false
}

// goLive ends the catch-up: nothing is kept back any more.
func (c *conn) goLive(missed bool) {
	p := c.person
	p.mu.Lock()
	defer p.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.held
	c.held = nil
	for id := range h.missed { // chats without a cursor
		c.s.m.resyncs.Inc()
		c.put(wire.Encode(wire.Resync{Type: wire.TypeResync, Chat: id}))
	}
	for _, f := range h.frames { // none, but for a catch-up that was broken off
		c.pass(f)
	}
	if missed || h.all {
		c.s.m.resyncs.Inc()
		c.put(wire.Encode(wire.Resync{Type: wire.TypeResync}))
	}
	if len(p.conns) == 1 { // what the person remembers, the connection need not
		for id, seq := range c.caught {
			if p.last[id] >= seq {
				delete(c.caught, id)
			}
		}
		if len(c.caught) == 0 {
			c.caught = nil
		}
	}
}

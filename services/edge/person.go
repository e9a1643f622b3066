package edge

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/chatlog"
	"github.com/chatmesh/chatmesh/pkg/prefs"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/trace"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// frame is something for the devices of a person; seq is zero where it is no event. A receipt is only for those that asked for them.
type frame struct {
	chat chat.ID
	seq  chat.Seq
	data []byte
	// stream is the event's sequence in its partition's stream; zero where it is not known.
	stream uint64

	receipt bool
	// fleeting says that it is worth nothing later.
	fleeting bool
	// span is that of the delivery, nil where it is not traced.
	span *trace.Span
	// later takes who is to write the frame; nil has it written at once. It goes with whoever hands the frame out now.
	later *pending
}

// person is somebody who is connected here, with one device or several. It puts the events of each chat in order: once for
// all devices.
type person struct {
	s   *Server
	id  chat.UserID
	sub *nats.Subscription
	// looks counts how often the right of the devices to watch was looked at again.
	looks atomic.Int64

	mu    sync.Mutex // guards the following fields; locked before conn.mu
	conns []*conn
	// last is the last seq of each chat that was handed to the devices. A chat that is not in it starts with the next event.
	last map[chat.ID]chat.Seq
	// holes are chats of which something is missing.
	holes map[chat.ID]*hole
	// since is when the first device came.
	since time.Time
	// prefs are what the person lets others learn; the zero value while prefsKnown is false.
	prefs      prefs.Preferences
	prefsKnown bool
}

// hole is what is missing of a chat up to an event, and what came later meanwhile.
type hole struct {
	upTo    chat.Seq
	waiting []frame
}

// Bounds of a person.
const (
	// chatsRemembered is how many chats' last seq is kept; beyond it all are forgotten, and holes go unseen until each chat's
	// next event.
	chatsRemembered = 4096
	// framesInHole is how many events wait for a hole to be filled; with more the devices are told to sync.
	framesInHole = 1000
)

// add takes a connection, unless there are too many: those that are there stay, so that a crowd of devices does not send each other
// away in turns for ever.
func (p *person) add(c *conn) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.crowded(); err != nil {
		return err
	}
	p.conns = append(p.conns, c)
	return nil
}

// remove tells whether c was the last connection.
func (p *person) remove(c *conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns = slices.DeleteFunc(p.conns, func(x *conn) bool { return x == c })
	return len(p.conns) == 0
}

// receive takes a frame from the person's subject. later takes those who are to write it; nil has it written at once.
func (p *person) receive(m *nats.Msg, later *pending) {
	e := p.s.read(m, later)
	h := e.head
	switch {
	case e.foreign:
		p.s.m.foreign.Inc()
		return
	case e.err != nil:
		p.s.c.Logger.Error("frame on a person's subject is not one", "error", e.err)
		return
	case e.stale:
		return
	case h.Type == wire.TypeHeads:
		p.compare(e.data)
		return
	case h.Type == wire.TypeRecheck:
		p.s.watchers.lookAt(p)
		return
	}
	typ := chat.EventType(h.Type)
	switch h.Type {
	case wire.TypePreferences:
		if next, ok := prefs.FromFrame(e.data); ok {
			p.prefer(next)
		}
	case wire.TypeRead, wire.TypeDelivered:
		if !p.seesCursor(e.whose) {
			return
		}
	}
	if !typ.Known() {
		p.mu.Lock()
		p.hand(frame{data: e.data, receipt: h.Type == wire.TypeDelivered, fleeting: h.Type == wire.TypeTyping, later: later})
		p.mu.Unlock()
		return
	}
	f := frame{chat: h.Chat, seq: h.Seq, data: e.data, stream: e.stream, later: later}
	if parent := trace.Parent(m.Header); parent != "" {
		if _, span := p.s.c.Tracer.From(context.Background(), "edge deliver", parent, h.Chat); span.On() {
			span.Set(trace.Seq(h.Seq), trace.Stream(e.stream), trace.Size(len(e.data)))
			kept := span // of its own, so that only what is traced is allocated
			f.span = &kept
			defer kept.End(nil)
		}
	}
	p.event(f)
	if typ == chat.Changed {
		p.s.watchers.recheck(p, e.data)
	}
}

// event hands an event to the devices if it is the next one of its chat, drops it if it was handed out before, and otherwise
// keeps it until the hole before it is filled.
func (p *person) event(f frame) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if h := p.holes[f.chat]; h != nil {
		f.later = nil
		if f.seq > h.upTo && len(h.waiting) < framesInHole {
			h.waiting = append(h.waiting, f)
		} // else the repair brings it, or the next event shows another hole
		return
	}
	last, known := p.last[f.chat]
	switch {
	case known && f.seq <= last:
		return
	case known && f.seq > last+1:
		f.later = nil
		p.open(f.chat, last, &hole{upTo: f.seq - 1, waiting: []frame{f}})
		return
	}
	p.hand(f)
}

// open begins to repair a chat behind last. mu is held.
func (p *person) open(id chat.ID, last chat.Seq, h *hole) {
	if p.holes == nil {
		p.holes = map[chat.ID]*hole{}
	}
	p.holes[id] = h
	p.s.wg.Add(1)
	go p.repair(id, last)
}

// hand gives a frame to every device. mu is held.
func (p *person) hand(f frame) {
	if f.seq > 0 {
		if p.last == nil || len(p.last) >= chatsRemembered {
			p.last = map[chat.ID]chat.Seq{}
		}
		p.last[f.chat] = f.seq
	}
	for _, c := range p.conns {
		c.hand(f)
	}
	p.s.m.delivered.Add(float64(len(p.conns)))
}

// hand gives a live frame to one device, unless its catch-up has given it already.
func (c *conn) hand(f frame) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case f.receipt && !c.receipts:
	case c.feed != nil && (c.feed.behind || f.fleeting && c.feed.wake == nil):
	case c.held != nil && c.held.waits(f):
		f.later = nil
		c.held.keep(f)
	default:
		c.pass(f)
	}
}

// pass queues a live frame, unless the catch-up has sent it. mu is held.
func (c *conn) pass(f frame) {
	if f.seq > 0 && len(c.caught) > 0 {
		if had, ok := c.caught[f.chat]; ok {
			if f.seq >= had {
				delete(c.caught, f.chat)
			}
			if f.seq <= had {
				return
			}
			if c.feed != nil && f.seq > had+1 {
				c.resync(f.chat)
			}
		}
	}
	if c.feed != nil && f.seq > 0 {
		told, gap := c.feed.knows(c.s, f)
		if told {
			return
		}
		if gap {
			c.resync(f.chat)
		}
	}
	c.putFrame(f)
	if f.span != nil && c.feed == nil {
		c.follow(f)
	}
}

// toAll gives a frame that is no event to every device.
func (p *person) toAll(data []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hand(frame{data: data})
}

// repairTime bounds how long a hole is tried to be filled before the devices are told to sync.
const repairTime = 10 * time.Second

// repair reads what is missing of a chat behind last, hands it out and then what came meanwhile.
func (p *person) repair(id chat.ID, last chat.Seq) {
	defer p.s.wg.Done()
	p.s.repairs <- struct{}{}
	defer func() { <-p.s.repairs }()
	ctx, cancel := context.WithTimeout(p.s.work, repairTime)
	defer cancel()
	for attempt := 0; ; attempt++ {
		snap, page, err := p.missing(ctx, id, last)
		if err == nil {
			var done bool
			if last, done = p.fill(id, last, page.Items, snap.State); done {
				p.s.m.repaired.Inc()
				return
			}
		}
		if err := bus.Sleep(ctx, bus.Backoff(attempt)/4); err != nil {
			break
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.resync(id)
	h := p.holes[id]
	delete(p.holes, id)
	if last = max(last, h.upTo); p.last != nil {
		p.last[id] = last
	}
	for _, f := range h.waiting {
		if f.seq > p.last[id] {
			p.hand(f)
		}
	}
}

// resync tells every device to sync a chat. mu is held.
func (p *person) resync(id chat.ID) {
	p.s.m.resyncs.Inc()
	p.hand(frame{data: wire.Encode(wire.Resync{Type: wire.TypeResync, Chat: id})})
}

// missing reads events behind last, and a state that knows who they were for.
func (p *person) missing(ctx context.Context, id chat.ID, last chat.Seq) (chatlog.Snapshot, chatlog.Page, error) {
	page, err := p.s.c.Log.Page(ctx, id, store.Range{After: last, Forward: true, Limit: chat.MaxPage, MaxBytes: pageBytes})
	if err != nil {
		return chatlog.Snapshot{}, page, err
	}
	snap, err := p.s.c.Log.Known(ctx, id)
	if err == nil && snap.Head.Seq < page.To {
		snap, err = p.s.c.Log.Snapshot(ctx, id)
	}
	return snap, page, err
}

// fill hands out items behind last, then as much of what waits as follows without a hole, and tells whether all is handed out.
// What was not for this person, who was no member then, is no hole.
func (p *person) fill(id chat.ID, last chat.Seq, items []store.Item, state *chat.State) (chat.Seq, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := p.holes[id]
	for _, it := range items {
		// Not beyond what came to this person: what is behind it may not be theirs any more.
		if it.Seq == last+1 && it.Seq <= h.upTo {
			if slices.Contains(state.ReceiversAt(it.Seq), p.id) {
				p.hand(frame{chat: id, seq: it.Seq, data: it.Body})
			}
			last = it.Seq
		}
	}
	for len(h.waiting) > 0 && h.waiting[0].seq <= last+1 {
		if h.waiting[0].seq == last+1 {
			p.hand(h.waiting[0])
			last++
		}
		h.waiting = h.waiting[1:]
	}
	if last < h.upTo {
		return last, false
	}
	if len(h.waiting) > 0 { // another hole behind this one
		h.upTo = h.waiting[0].seq - 1
		return last, false
	}
	delete(p.holes, id)
	return last, true
}

package history

import "time"

// view is what one connection has of a chat.
type view struct {
	// last is the last seq that it has or was told that it has, by its cursor or an event; begun says that there is one.
	last  uint64
	begun bool
	// first and high are the first and highest seq that came as events; zero before the first.
	first, high uint64
	// skipped are the seqs before high that did not come.
	skipped map[uint64]skip
	// run says that all so far followed the cursor of hello one by one, as a catch-up does.
	run bool
	// open says that a resync came since the last event or complete page, at resyncAt.
	open     bool
	resyncAt Time
	// covered is up to where a page after a resync has brought it.
	covered uint64
}

// skip is a seq that was passed over: at what moment, by which event, and whether it should have come.
type skip struct {
	at     Time
	by     uint64
	should bool
}

// reader goes through the entries of a connection.
type reader struct {
	c       *checker
	conn    *Conn
	views   map[string]*view
	cursors map[[2]string]uint64
	// resynced says that a resync of all chats came, at resyncAt: it holds for chats of which nothing came before as well.
	resynced bool
	resyncAt Time
}

// checkConn checks what came on one connection.
func (c *checker) checkConn(conn *Conn) {
	rd := &reader{c: c, conn: conn, views: map[string]*view{}, cursors: map[[2]string]uint64{}}
	for chat, seq := range conn.cursors {
		rd.views[chat] = &view{last: seq, begun: true, run: true}
	}
	for _, e := range conn.entries {
		switch {
		case e.event != nil:
			rd.event(e.at, e.event)
			c.r.Delivered++
		case e.note.page != nil:
			rd.page(e.note.page)
		case e.note.user != "":
			rd.cursor(e.at, e.note)
		default:
			rd.resync(e.at, e.note.chat)
			c.r.Resyncs++
		}
	}
	for id, v := range rd.views {
		for seq, s := range v.skipped {
			if s.should {
				c.r.add(Hole, s.at, "chat %s: seq %d did not come to %s before %d, and nothing told them to sync", id, seq, conn.user, s.by)
			}
		}
	}
	if conn.ended >= 0 || conn.welcome < 0 {
		return
	}
	for id, p := range c.chats {
		v := rd.view(id)
		if v.open {
			continue // told so until the end
		}
		for seq := rd.from(v, p); seq <= p.last; seq++ {
			if seq > v.covered && p.at(seq) != nil && p.receives(conn.user, seq) {
				c.r.add(Hole, conn.welcome, "chat %s: seq %d never came on a connection of %s that was open until the end", id, seq, conn.user)
			}
		}
	}
}

func (rd *reader) view(chat string) *view {
	v := rd.views[chat]
	if v == nil {
		v = &view{open: rd.resynced, resyncAt: rd.resyncAt}
		rd.views[chat] = v
	}
	return v
}

// from is the first seq that the connection should have next. Without a cursor it is what was surely appended after the welcome.
func (rd *reader) from(v *view, p *past) uint64 {
	if v.begun {
		return v.last + 1
	}
	if rd.conn.welcome < 0 {
		return forEver
	}
	return p.firstAfter(rd.conn.welcome)
}

func (rd *reader) event(at Time, e *Event) {
	c, p, v := rd.c, rd.c.chat(e.Chat), rd.view(e.Chat)
	v.run = v.run && e.Seq == v.last+1
	if !p.receives(rd.conn.user, e.Seq) && p.at(e.Seq) != nil {
		// A new member sees the past, and so does one who came back: their catch-up brings it.
		if !v.run || !p.entersAfter(rd.conn.user, e.Seq) || !p.addBegun(rd.conn.user, at) {
			c.r.add(Leak, at, "chat %s: seq %d came to %s, who was no member then", e.Chat, e.Seq, rd.conn.user)
			return
		}
	}
	if rd.late(at, v, p, e) {
		c.r.add(Unerased, at, "chat %s: what was written in seq %d came to %s after its deletion was acked", e.Chat, e.Seq, rd.conn.user)
	}
	if v.first != 0 && e.Seq <= v.high {
		_, skipped := v.skipped[e.Seq]
		delete(v.skipped, e.Seq) // it came after all
		switch {
		case skipped, e.Seq < v.first:
			c.r.add(Disordered, at, "chat %s: seq %d came to %s behind %d", e.Chat, e.Seq, rd.conn.user, v.high)
		default:
			c.r.add(Doubled, at, "chat %s: seq %d came twice to %s on one connection", e.Chat, e.Seq, rd.conn.user)
		}
		return
	}
	rd.passed(at, v, p, e.Seq)
	if v.first == 0 {
		v.first = e.Seq
	}
	v.high, v.last, v.begun, v.open = e.Seq, max(v.last, e.Seq), true, false
	rd.stall(at, p, e)
}

// underWay is how long after the ack of a deletion a frame with the text may still come that was on its way before.
const underWay = 30 * time.Second

// late tells whether an event comes with what was written though it was erased: in the catch-up of a connection that was made after the
// ack, or when nothing can be on its way any more.
func (rd *reader) late(at Time, v *view, p *past, e *Event) bool {
	if !e.written() {
		return false
	}
	return p.erasedBefore(e.root(), at-underWay) || v.run && p.erasedBefore(e.root(), rd.conn.opened)
}

// passed looks at what was passed over by an event at seq.
func (rd *reader) passed(at Time, v *view, p *past, seq uint64) {
	from := rd.from(v, p)
	low := from
	if v.first != 0 {
		low = min(low, v.high+1)
	}
	for s := low; s < seq; s++ {
		should := s >= from && s > v.covered && !v.open && p.at(s) != nil && p.receives(rd.conn.user, s)
		if v.skipped == nil {
			v.skipped = map[uint64]skip{}
		}
		v.skipped[s] = skip{at, seq, should}
	}
}

func (rd *reader) resync(at Time, chat string) {
	if chat != "" {
		v := rd.view(chat)
		v.open, v.resyncAt = true, at
		return
	}
	rd.resynced, rd.resyncAt = true, at
	for _, v := range rd.views {
		v.open, v.resyncAt = true, at
	}
}

// page closes what a resync has left open, if it was asked for after it and there is no more.
func (rd *reader) page(p *Page) {
	v := rd.view(p.Chat)
	if v.open && p.Begin >= v.resyncAt && !p.HasMore {
		v.covered, v.open = max(v.covered, p.to()), false
		if !v.begun {
			v.begun, v.last = true, p.to()
		}
	}
}

// cursor checks that the cursors of others, as they are told, move forward.
func (rd *reader) cursor(at Time, n *note) {
	key := [2]string{n.chat, n.user}
	if n.seq < rd.cursors[key] {
		rd.c.r.add(CursorBack, at, "chat %s: the cursor of %s was told to %s at %d and then at %d", n.chat, n.user, rd.conn.user, rd.cursors[key], n.seq)
	}
	rd.cursors[key] = max(rd.cursors[key], n.seq)
}

// stall takes the time from the ack of a message to this connection, if it was open then.
func (rd *reader) stall(at Time, p *past, e *Event) {
	if !e.isMessage() || rd.conn.welcome < 0 {
		return
	}
	acked, ok := p.firstAck[e.Seq]
	if ok && rd.conn.welcome <= acked && at-acked > rd.c.r.ToDevice.For {
		rd.c.r.ToDevice = Stall{at - acked, acked, "chat " + p.id + ", " + e.ClientID + " of " + e.Sender + " to " + rd.conn.user}
	}
}

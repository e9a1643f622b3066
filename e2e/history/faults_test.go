package history

import "slices"

// mutants are the faults that the checker must tell.
var mutants = []mutant{
	{"an acked message is not in the history", Lost, func(m *mutation) bool {
		s, seq, _, ok := m.acked(always)
		if ok {
			m.drop(s.chat, seq)
		}
		return ok
	}},
	{"a message that was never appended is acked", Lost, func(m *mutation) bool {
		s, ok := anyOf(m, m.h.sends, func(s *Send) bool { return len(m.c.chats[s.chat].messages[messageKey{s.sender, s.clientID}]) == 0 })
		if ok {
			s.Acked(m.end(), m.c.chats[s.chat].last+1)
		}
		return ok
	}},
	{"a message stands twice", Doubled, func(m *mutation) bool {
		_, seq, p, ok := m.acked(func(s *Send, _ uint64, p *past) bool { return p.isMember(s.sender, p.last+1) })
		if ok {
			m.appended(*p.at(seq))
		}
		return ok
	}},
	{"an event comes twice on a connection", Doubled, func(m *mutation) bool {
		at, ok := anyOf(m, m.deliveries(), func(place) bool { return true })
		if ok {
			where := at.i + 1 + m.rand.IntN(len(at.conn.entries)-at.i)
			at.conn.entries = slices.Insert(at.conn.entries, where, *at.entry())
		}
		return ok
	}},
	{"the history is read with an event twice", Doubled, func(m *mutation) bool {
		_, seq, p, ok := m.acked(always)
		if ok {
			m.h.finals[p.id] = slices.Insert(slices.Clone(m.h.finals[p.id]), int(seq), p.at(seq))
		}
		return ok
	}},
	{"two events are swapped on a connection", Disordered, func(m *mutation) bool {
		one, ok := anyOf(m, m.deliveries(), func(p place) bool { _, ok := p.next(); return ok })
		if ok {
			two, _ := one.next()
			one.entry().event, two.entry().event = two.entry().event, one.entry().event
		}
		return ok
	}},
	{"two messages are swapped in the history", Disordered, func(m *mutation) bool {
		_, seq, p, ok := m.acked(func(s *Send, seq uint64, p *past) bool {
			next := p.at(seq + 1)
			return next != nil && next.Sender == s.sender && p.ackedAt[seq+1] && p.targets[seq+1] == nil
		})
		if !ok {
			return false
		}
		final := slices.Clone(m.h.finals[p.id])
		one, two := *final[seq-1], *final[seq]
		one.Seq, one.N, two.Seq, two.N = two.Seq, two.N, one.Seq, one.N
		final[seq-1], final[seq] = m.h.event(two), m.h.event(one)
		m.h.finals[p.id] = final
		m.unfolded()
		return true
	}},
	{"a device has another event at a seq", Disordered, func(m *mutation) bool {
		at, ok := anyOf(m, m.deliveries(), func(p place) bool { return p.entry().event.isMessage() })
		if ok {
			at.entry().event = m.versionOf(at.entry().event, func(e *Event) { e.ClientID = "another" })
		}
		return ok
	}},
	{"a retry is acked with another seq", Disordered, func(m *mutation) bool {
		s, seq, p, ok := m.acked(func(s *Send, seq uint64, p *past) bool {
			e := p.at(seq - 1)
			return e.isMessage() && e.Sender != s.sender
		})
		if ok {
			s.Acked(m.end(), p.at(seq-1).Seq)
		}
		return ok
	}},
	{"a message stands before one that was acked before it was sent", Disordered, func(m *mutation) bool {
		one, _, _, ok := m.acked(func(s *Send, seq uint64, p *past) bool {
			return p.ackedBefore(m.end()) > seq && p.hasRightAck(p.ackedBefore(m.end()))
		})
		if ok {
			one.first, one.acks = m.end(), []ack{{m.end() + 1, one.acks[0].seq}}
			for _, c := range m.h.conns { // who has no cursor owes more now: that is another matter
				c.welcome = -1
			}
		}
		return ok
	}},
	{"an event is missing on a connection", Hole, func(m *mutation) bool {
		at, ok := anyOf(m, m.deliveries(), func(p place) bool {
			_, cursor := p.conn.cursors[p.entry().event.Chat]
			first := !slices.ContainsFunc(p.conn.entries[:p.i], func(e entry) bool { return e.event != nil && e.event.Chat == p.entry().event.Chat })
			_, next := p.next()
			return (cursor || !first) && (next || p.conn.ended < 0 && p.conn.welcome >= 0)
		})
		if ok {
			at.conn.entries = slices.Delete(at.conn.entries, at.i, at.i+1)
		}
		return ok
	}},
	{"the history has a hole", Hole, func(m *mutation) bool {
		s, ok := anyOf(m, m.h.sends, func(s *Send) bool {
			p := m.c.chats[s.chat]
			at := p.messages[messageKey{s.sender, s.clientID}]
			return len(s.acks) == 0 && len(at) > 0 && !p.ackedAt[at[0]]
		})
		if ok {
			p := m.c.chats[s.chat]
			seq := p.messages[messageKey{s.sender, s.clientID}][0]
			m.fresh("nobody").note(m.end(), &note{page: m.h.page(Page{Begin: -1, End: -1, Chat: s.chat, User: "ann", Events: []Event{*p.at(seq)}, After: seq - 1, HasMore: true})})
			m.h.pages = m.h.pages[:len(m.h.pages)-1] // only so that somebody has seen it
			m.drop(s.chat, seq)
		}
		return ok
	}},
	{"a page has a hole", Hole, func(m *mutation) bool {
		pg, ok := anyOf(m, m.h.pages, func(p *Page) bool { return len(p.events) > 2 })
		if ok {
			pg.events = slices.Delete(slices.Clone(pg.events), 1, 2)
		}
		return ok
	}},
	{"a page is older than an ack", Hole, func(m *mutation) bool {
		pg, ok := anyOf(m, m.h.pages, func(p *Page) bool {
			acked := m.c.chats[p.Chat].ackedBefore(p.Begin)
			return p.Newest && len(p.events) > 0 && acked >= p.events[0].Seq
		})
		if ok {
			acked := m.c.chats[pg.Chat].ackedBefore(pg.Begin)
			pg.events = slices.DeleteFunc(slices.Clone(pg.events), func(e *Event) bool { return e.Seq >= acked })
		}
		return ok
	}},
	{"an event comes to somebody who was removed", Leak, func(m *mutation) bool {
		user, e, ok := m.removed()
		if ok {
			m.fresh(user).Delivered(m.end(), *e)
		}
		return ok
	}},
	{"a catch-up brings what came after a removal", Leak, func(m *mutation) bool {
		user, e, ok := m.removed()
		if ok {
			c := m.h.Open(m.end(), user, map[string]uint64{e.Chat: e.Seq - 1})
			c.Welcomed(m.now)
			c.Delivered(m.end(), *e)
		}
		return ok
	}},
	{"an event comes to a stranger", Leak, func(m *mutation) bool {
		_, seq, p, ok := m.acked(always)
		if ok {
			m.fresh("stranger").Delivered(m.end(), *p.at(seq))
		}
		return ok
	}},
	{"a page for somebody who was removed", Leak, func(m *mutation) bool {
		user, e, ok := m.removed()
		if ok {
			m.h.Page(Page{Begin: m.end(), End: m.end() + 1, Chat: e.Chat, User: user, Events: []Event{*e}, After: e.Seq - 1, HasMore: true})
		}
		return ok
	}},
	{"a page for somebody whose removal was acked", Leak, func(m *mutation) bool {
		ch, ok := anyOf(m, m.h.changes, func(c *Change) bool {
			return !c.add && c.outcome == Done && !slices.ContainsFunc(m.c.chats[c.chat].changes[c.user], func(d *Change) bool { return d.add && (d.end >= c.begin || d.outcome == Unknown) })
		})
		if ok {
			m.h.Page(Page{Begin: m.end(), End: m.end() + 1, Chat: ch.chat, User: ch.user, HasMore: true})
		}
		return ok
	}},
	{"a page for a stranger", Leak, func(m *mutation) bool {
		m.h.Page(Page{Begin: m.end(), End: m.end() + 1, Chat: "group", User: "stranger", HasMore: true})
		return true
	}},
	{"a message from a stranger", Leak, func(m *mutation) bool {
		m.h.Send(m.end(), "group", "stranger", "x", "text")
		m.appended(Event{Chat: "group", Type: "message", Sender: "stranger", ClientID: "x", Text: "text"})
		return true
	}},
	{"a device has another text", Altered, func(m *mutation) bool {
		at, ok := anyOf(m, m.deliveries(), func(p place) bool { return p.entry().event.isMessage() })
		if ok {
			at.entry().event = m.versionOf(at.entry().event, func(e *Event) { e.Text += "!" })
		}
		return ok
	}},
	{"all have another text than was sent", Altered, func(m *mutation) bool {
		s, _, _, ok := m.acked(always)
		if ok {
			s.text += "!"
		}
		return ok
	}},
	{"a page has another time", Altered, func(m *mutation) bool {
		pg, ok := anyOf(m, m.h.pages, func(p *Page) bool { return len(p.events) > 0 })
		if ok {
			pg.events = slices.Clone(pg.events)
			pg.events[0] = m.versionOf(pg.events[0], func(e *Event) { e.At++ })
		}
		return ok
	}},
	{"a message that nobody sent", Invented, func(m *mutation) bool {
		s, _, _, ok := m.acked(func(s *Send, seq uint64, p *past) bool { return true })
		if ok {
			m.h.sends = slices.DeleteFunc(m.h.sends, func(t *Send) bool { return t == s })
		}
		return ok
	}},
	{"unread is one too many", Unread, func(m *mutation) bool {
		if len(m.h.standings) == 0 {
			return false
		}
		m.h.standings[m.rand.IntN(len(m.h.standings))].Unread++
		return true
	}},
	{"a chat's last seq is older than an ack", Unread, func(m *mutation) bool {
		for i := range m.h.standings {
			s := &m.h.standings[i]
			p := m.c.chats[s.Chat]
			if acked := p.ackedBefore(s.Begin); acked > s.ReadSeq {
				s.LastSeq = acked - 1
				s.Unread, _ = p.others(s.User, s.ReadSeq, s.LastSeq)
				return true
			}
		}
		return false
	}},
	{"a message is miscounted", Unread, func(m *mutation) bool {
		e, ok := anyOf(m, m.h.finals["group"], func(e *Event) bool { return e.Erased == 0 })
		if ok {
			f := m.versionOf(e, func(e *Event) { e.N++ })
			m.h.replace(e, f)
			m.unfolded()
		}
		return ok
	}},
	{"a standing is behind a mark", CursorBack, func(m *mutation) bool {
		for i := range m.h.standings {
			s := &m.h.standings[i]
			p := m.c.chats[s.Chat]
			if low, _ := p.readBounds(s.User, s.Begin, s.End); low > 0 {
				s.ReadSeq = low - 1
				s.Unread, _ = p.others(s.User, s.ReadSeq, s.LastSeq)
				return true
			}
		}
		return false
	}},
	{"a cursor is told that moved back", CursorBack, func(m *mutation) bool {
		for _, c := range m.h.conns {
			for _, e := range c.entries {
				if n := e.note; n != nil && n.user != "" && n.seq > 1 {
					c.Cursor(m.end(), n.chat, n.user, n.seq-1)
					return true
				}
			}
		}
		return false
	}},
	{"a mark is answered with an earlier seq", CursorBack, func(m *mutation) bool {
		mk, ok := anyOf(m, m.h.marks, func(k *Mark) bool { return k.outcome == Done && k.now > 1 })
		if ok {
			mk.now = mk.seq - 1
			ok = mk.now > 0
		}
		return ok
	}},
	{"a roster without a member", NotLinear, func(m *mutation) bool {
		ch, ok := anyOf(m, m.h.changes, func(c *Change) bool {
			return c.outcome == Done && len(m.c.chats[c.chat].changes[c.user]) == 1 // with others at the same time either may be the last
		})
		if ok {
			p := m.c.chats[ch.chat]
			r := Roster{Begin: m.end(), End: m.end() + 1, Chat: ch.chat}
			for user := range p.changes {
				if in := p.receives(user, p.last+1); in != (user == ch.user) {
					r.Members = append(r.Members, user)
				}
			}
			m.h.Roster(r)
		}
		return ok
	}},
	{"two looks at a cursor that moved back between them", NotLinear, func(m *mutation) bool {
		// Within the bounds: the first mark has no outcome, and yet it was seen.
		m.h.Mark(m.end(), "group", "ann", 1)
		p := m.c.chats["group"]
		low, _ := p.readBounds("ann", m.end(), m.end())
		if low > 0 || len(p.own["ann"]) > 0 || p.marks["ann"] != nil {
			return false
		}
		for i, read := range []uint64{1, 0} {
			unread, _ := p.others("ann", read, p.last)
			m.h.Standing(Standing{Begin: m.end() + Time(2+2*i), End: m.end() + Time(3+2*i), Chat: "group", User: "ann", LastSeq: p.last, ReadSeq: read, Unread: unread})
		}
		return true
	}},
}

// replace puts one event in the place of another wherever it was seen.
func (h *History) replace(e, f *Event) {
	in := func(events []*Event) {
		for i := range events {
			if events[i] == e {
				events[i] = f
			}
		}
	}
	for _, events := range h.finals {
		in(events)
	}
	for _, p := range h.pages {
		in(p.events)
	}
	for _, c := range h.conns {
		for i := range c.entries {
			if c.entries[i].event == e {
				c.entries[i].event = f
			}
		}
	}
	delete(h.events, *e)
}

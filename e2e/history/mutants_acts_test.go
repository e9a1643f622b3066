package history

import "slices"

// act returns an attempt that was acked, and stands in the history by itself, that will do.
func (m *mutation) act(will func(*Act, *Event, *past) bool) (*Act, *Event, *past, bool) {
	a, ok := anyOf(m, m.h.acts, func(a *Act) bool {
		p := m.c.chats[a.Chat]
		if a.outcome != Done || a.seq == 0 || p.at(a.seq).key() != a.key() {
			return false
		}
		_, in := m.memberOf(p)
		return in != "" && will(a, p.at(a.seq), p)
	})
	if !ok {
		return nil, nil, nil, false
	}
	p := m.c.chats[a.Chat]
	return a, p.at(a.seq), p, true
}

// tries is how many attempts there are to do the same, refused ones included.
func (m *mutation) tries(a *Act) (n int) {
	for _, b := range m.h.acts {
		if b.Chat == a.Chat && b.key() == a.key() {
			n++
		}
	}
	return n
}

// memberOf is somebody who was in the chat all the time, empty if nobody was.
func (m *mutation) memberOf(p *past) (*past, string) {
	for _, user := range m.people {
		if s := p.spans[user]; len(s) == 1 && s[0] == (span{1, forEver}) {
			return p, user
		}
	}
	return p, ""
}

// chatOf is the chat of two, where somebody always is, or the group, and somebody who was there all the time.
func (m *mutation) chatOf() (*past, string) {
	p := m.c.chats["group"]
	for _, user := range m.rand.Perm(len(m.people)) {
		if s := p.spans[m.people[user]]; len(s) == 1 && s[0] == (span{1, forEver}) {
			return p, m.people[user]
		}
	}
	return m.memberOf(m.c.chats["direct"])
}

// standing returns a message that nobody tried to delete.
func (m *mutation) standing(p *past, will func(*Event) bool) (*Event, bool) {
	return anyOf(m, m.h.finals[p.id], func(e *Event) bool {
		return e.isMessage() && will(e) && !slices.ContainsFunc(m.h.acts, func(a *Act) bool { return a.Chat == p.id && a.Type == "deletion" && a.Target == e.Seq })
	})
}

// did appends what somebody tried to do.
func (m *mutation) did(p *past, a Action) {
	a.Chat = p.id
	m.h.Act(m.now, a)
	of, change := a.eventType()
	m.appended(Event{Chat: p.id, Type: of, Change: change, By: a.By, Target: a.Target, Text: a.Text, Emoji: a.Emoji, Removed: a.Removed})
}

// erased returns a stub whose deletion was acked, and somebody who was in its chat all the time.
func (m *mutation) erased(will func(*Event) bool) (user string, e *Event, p *past, ok bool) {
	for _, i := range m.rand.Perm(len(m.h.acts)) {
		a := m.h.acts[i]
		p := m.c.chats[a.Chat]
		_, user := m.memberOf(p)
		if a.Type != "deletion" || a.outcome != Done || user == "" {
			continue
		}
		for _, e := range p.events {
			if e.root() == a.Target && e.Erased != 0 && will(e) {
				return user, e, p, true
			}
		}
	}
	return "", nil, nil, false
}

// whole is what a stub was before.
func (m *mutation) whole(e *Event) Event {
	f, p := e.bare(), m.c.chats[e.Chat]
	if e.isMessage() {
		s := p.sendsOf(e)[0]
		f.Text, f.ReplyTo, f.Mentions = s.text, s.replyTo, s.mentions
		return f
	}
	for _, a := range p.acts {
		if a.key() == e.key() {
			f.Text, f.Mentions = a.Text, a.Mentions
		}
	}
	return f
}

// seenWhole tells whether anybody saw what a stub was before.
func (m *mutation) seenWhole(e *Event) bool {
	for f := range m.h.events {
		if f.Chat == e.Chat && f.Seq == e.Seq && f.Erased == 0 {
			return true
		}
	}
	return false
}

// item is a message at the end, which is not deleted.
func (m *mutation) item(p *past, seq uint64) Item {
	it := Item{Event: *p.at(seq)}
	all := p.states(seq, forEver)
	s := all[len(all)-1]
	it.Edits, it.Reactions = s.edits, s.reactions
	if s.edits > 0 {
		it.Text, it.Mentions, it.EditedAt = s.as.Text, s.as.Mentions, s.as.At
	}
	return it
}

// folded gives somebody a page of one message at the end.
func (m *mutation) folded(p *past, user string, it Item) {
	m.h.Fold(Fold{Begin: m.end(), End: m.end() + 1, Chat: p.id, User: user, From: it.Seq, To: it.Seq, Items: []Item{it}})
}

func lostAct(of string) func(*mutation) bool {
	return func(m *mutation) bool {
		a, e, p, ok := m.act(func(a *Act, _ *Event, p *past) bool {
			return a.Type == of && (of != "pinned" || !slices.ContainsFunc(p.acts, func(b *Act) bool { // that was so already by this one
				_, pin := b.eventType()
				return b != a && b.Target == a.Target && pin != ""
			}))
		})
		if ok {
			m.drop(p.id, e.Seq)
			m.unfolded()
		}
		return ok && a != nil
	}
}

func inventedAct(of string) func(*mutation) bool {
	return func(m *mutation) bool {
		a, _, _, ok := m.act(func(a *Act, e *Event, _ *past) bool { return a.Type == of && e.Erased == 0 && m.tries(a) == 1 })
		if ok {
			m.h.acts = slices.DeleteFunc(m.h.acts, func(b *Act) bool { return a == b })
		}
		return ok
	}
}

// passedBy makes a device that has all but one event of a chat, behind which its next connection goes on.
func passedBy(of string) func(*mutation) bool {
	return func(m *mutation) bool {
		_, e, p, ok := m.act(func(a *Act, e *Event, p *past) bool {
			return a.Type == of && a.seq < p.last && (of == "deletion" || p.targets[a.Target].deletion == nil)
		})
		if !ok {
			return false
		}
		_, user := m.memberOf(p)
		one := m.h.Open(0, user, map[string]uint64{p.id: 1}).On("new")
		one.Welcomed(0)
		for seq := uint64(2); seq < e.Seq; seq++ {
			one.Delivered(m.end(), *p.at(seq))
		}
		one.Closed(m.end())
		two := m.h.Open(0, user, map[string]uint64{p.id: e.Seq}).On("new")
		two.Welcomed(m.end())
		for seq := e.Seq + 1; seq <= p.last; seq++ {
			two.Delivered(m.end(), *p.at(seq))
		}
		return true
	}
}

package history

import "slices"

// actMutants are the faults in what became of messages that the checker must tell.
var actMutants = []mutant{
	{"an acked edit is not in the history", Lost, lostAct("edit")},
	{"an acked deletion is not in the history", Lost, lostAct("deletion")},
	{"an acked reaction is not in the history", Lost, lostAct("reaction")},
	{"an acked pin is not in the history", Lost, lostAct("pinned")},
	{"an edit that was tried once stands twice", Doubled, func(m *mutation) bool {
		_, e, p, ok := m.act(func(a *Act, e *Event, p *past) bool {
			return a.Type == "edit" && e.Erased == 0 && p.targets[a.Target].deletion == nil && m.tries(a) == 1 && p.isMember(a.By, p.last+1)
		})
		if ok {
			m.appended(*p.at(e.Seq))
		}
		return ok
	}},
	{"a message is deleted twice", Doubled, func(m *mutation) bool {
		a, e, p, ok := m.act(func(a *Act, e *Event, p *past) bool { return a.Type == "deletion" && p.isMember(a.By, p.last+1) })
		if ok {
			m.h.Act(m.now, a.Action)
			m.appended(*p.at(e.Seq))
		}
		return ok
	}},
	{"an edit that nobody asked for", Invented, inventedAct("edit")},
	{"a deletion that nobody asked for", Invented, inventedAct("deletion")},
	{"a reaction that nobody gave", Invented, inventedAct("reaction")},
	{"a refused reaction stands in the history", Invented, func(m *mutation) bool {
		a, _, _, ok := m.act(func(a *Act, _ *Event, _ *past) bool { return a.Type == "reaction" && m.tries(a) == 1 })
		if ok {
			a.outcome = Refused
		}
		return ok
	}},
	{"an edit has another text than was asked for", Altered, func(m *mutation) bool {
		a, _, _, ok := m.act(func(a *Act, e *Event, _ *past) bool { return a.Type == "edit" && e.Erased == 0 && m.tries(a) == 1 })
		if ok {
			a.Text += "!"
		}
		return ok
	}},
	{"a reaction is acked at another event", Disordered, func(m *mutation) bool {
		a, _, _, ok := m.act(func(a *Act, _ *Event, _ *past) bool { return a.Type == "reaction" })
		if ok {
			a.seq = 1
		}
		return ok
	}},
	{"a pin is acked where it is not", Disordered, func(m *mutation) bool {
		a, _, _, ok := m.act(func(a *Act, _ *Event, _ *past) bool { return a.Type == "pinned" })
		if ok {
			a.seq = 1
		}
		return ok
	}},
	{"an edit stands before what was acked before it was asked for", Disordered, func(m *mutation) bool {
		a, _, _, ok := m.act(func(a *Act, e *Event, p *past) bool {
			floor := p.ackedBefore(m.end())
			return a.Type == "edit" && m.tries(a) == 1 && floor > e.Seq && p.hasRightAck(floor) && p.firstAck[floor] != a.end
		})
		if ok {
			a.begin, a.end = m.end(), m.end()+1
		}
		return ok
	}},
	{"a reaction to what is no message", Disordered, func(m *mutation) bool {
		p, user := m.chatOf()
		m.did(p, Action{By: user, Type: "reaction", Target: 1, Emoji: "👍"})
		return true
	}},
	{"an edit by another than the sender", Forbidden, func(m *mutation) bool {
		p, user := m.chatOf()
		e, ok := m.standing(p, func(e *Event) bool { return e.Sender != user })
		if ok {
			m.did(p, Action{By: user, Type: "edit", Target: e.Seq, Text: "not mine"})
		}
		return ok
	}},
	{"a deletion by who may not", Forbidden, func(m *mutation) bool {
		p, user := m.chatOf()
		e, ok := m.standing(p, func(e *Event) bool { return e.Sender != user && !p.isStrong(user, p.last+1) })
		if ok {
			m.did(p, Action{By: user, Type: "deletion", Target: e.Seq})
		}
		return ok
	}},
	{"a pin by who may not", Forbidden, func(m *mutation) bool {
		p, user := m.chatOf()
		e, ok := m.standing(p, func(*Event) bool { return p.isGroup() && !p.isStrong(user, p.last+1) })
		if ok {
			m.did(p, Action{By: user, Type: "pinned", Target: e.Seq})
		}
		return ok
	}},
	{"a reaction of a stranger", Leak, func(m *mutation) bool {
		p, _ := m.chatOf()
		e, ok := m.standing(p, func(*Event) bool { return true })
		if ok {
			m.did(p, Action{By: "stranger", Type: "reaction", Target: e.Seq, Emoji: "👍"})
		}
		return ok
	}},
	{"a stub has another time than the message", Altered, func(m *mutation) bool {
		_, e, p, ok := m.erased(func(e *Event) bool {
			for f := range m.h.events {
				if f.Chat == e.Chat && f.Seq == e.Seq && f.Erased == 0 {
					return true
				}
			}
			return false
		})
		if ok {
			m.h.replace(e, m.versionOf(e, func(e *Event) { e.At++ }))
			m.unfolded()
		}
		return ok && p != nil
	}},
	{"a stub names another deletion", Altered, func(m *mutation) bool {
		_, e, _, ok := m.erased(func(*Event) bool { return true })
		if ok {
			m.h.replace(e, m.versionOf(e, func(e *Event) { e.ErasedBy += "!" }))
		}
		return ok
	}},
	{"a stub counts once more", Unread, func(m *mutation) bool {
		_, e, _, ok := m.erased(func(e *Event) bool { return !m.seenWhole(e) })
		if ok {
			m.h.replace(e, m.versionOf(e, func(e *Event) { e.N++ }))
			m.unfolded()
		}
		return ok
	}},
	{"an edit counts as a message", Unread, func(m *mutation) bool {
		_, e, _, ok := m.act(func(a *Act, e *Event, _ *past) bool { return a.Type == "edit" && e.Erased == 0 })
		if ok {
			m.h.replace(e, m.versionOf(e, func(e *Event) { e.N++ }))
		}
		return ok
	}},
	{"a stub holds the text", Unerased, func(m *mutation) bool {
		_, e, _, ok := m.erased(func(*Event) bool { return true })
		if ok {
			m.h.replace(e, m.versionOf(e, func(e *Event) { e.Text = m.whole(e).Text }))
		}
		return ok
	}},
	{"the history holds a text whose deletion was acked", Unerased, func(m *mutation) bool {
		_, e, p, ok := m.erased(func(*Event) bool { return true })
		if ok {
			final := slices.Clone(m.h.finals[p.id])
			final[e.Seq-1] = m.h.event(m.whole(e))
			m.h.finals[p.id] = final
		}
		return ok
	}},
	{"a page holds a text whose deletion was acked before", Unerased, func(m *mutation) bool {
		user, e, p, ok := m.erased(func(*Event) bool { return true })
		if ok {
			m.h.Page(Page{Begin: m.end(), End: m.end() + 1, Chat: p.id, User: user, After: e.Seq - 1, HasMore: true, Events: []Event{m.whole(e)}})
		}
		return ok
	}},
	{"a page of the history holds a text whose deletion was acked before", Unerased, func(m *mutation) bool {
		user, e, p, ok := m.erased((*Event).isMessage)
		if ok {
			m.folded(p, user, Item{Event: m.whole(e)})
		}
		return ok
	}},
	{"a list shows a text whose deletion was acked before", Unerased, func(m *mutation) bool {
		user, e, p, ok := m.erased((*Event).isMessage)
		if ok {
			m.h.Shown(Shown{Begin: m.end(), End: m.end() + 1, Chat: p.id, User: user, Seq: e.Seq, Text: m.whole(e).Text})
		}
		return ok
	}},
	{"a catch-up that began after the ack of a deletion brings the text", Unerased, func(m *mutation) bool {
		user, e, p, ok := m.erased(func(*Event) bool { return true })
		if ok {
			c := m.h.Open(m.end(), user, map[string]uint64{p.id: e.Seq - 1})
			c.Welcomed(m.end() + 1)
			c.Delivered(m.end()+2, m.whole(e))
			c.Closed(m.end() + 3)
		}
		return ok
	}},
	{"a text comes long after the ack of its deletion", Unerased, func(m *mutation) bool {
		user, e, _, ok := m.erased(func(*Event) bool { return true })
		if ok {
			c := m.fresh(user)
			c.Delivered(m.end()+2*underWay, m.whole(e))
			c.Closed(m.end() + 3*underWay)
		}
		return ok
	}},
	{"an edit stands behind the deletion of its message", Unerased, func(m *mutation) bool {
		_, e, p, ok := m.erased(func(e *Event) bool {
			p := m.c.chats[e.Chat]
			return e.isMessage() && p.isMember(e.Sender, p.last+1)
		})
		if ok {
			m.did(p, Action{By: e.Sender, Type: "edit", Target: e.Seq, Text: "again"})
		}
		return ok
	}},
	{"a reaction stands behind the deletion of its message", Unerased, func(m *mutation) bool {
		user, e, p, ok := m.erased((*Event).isMessage)
		if ok {
			m.did(p, Action{By: user, Type: "reaction", Target: e.Seq, Emoji: "😀"})
		}
		return ok
	}},
	{"a page of the history lacks an acked edit", Diverged, func(m *mutation) bool {
		a, _, p, ok := m.act(func(a *Act, e *Event, p *past) bool {
			return a.Type == "edit" && e.Erased == 0 && p.targets[a.Target].deletion == nil
		})
		if ok {
			_, user := m.memberOf(p)
			m.folded(p, user, Item{Event: *p.at(a.Target), Reactions: m.item(p, a.Target).Reactions})
		}
		return ok
	}},
	{"a list shows a text from before an acked edit", Diverged, func(m *mutation) bool {
		a, _, p, ok := m.act(func(a *Act, e *Event, p *past) bool {
			return a.Type == "edit" && e.Erased == 0 && p.targets[a.Target].deletion == nil
		})
		if ok {
			_, user := m.memberOf(p)
			m.h.Shown(Shown{Begin: m.end(), End: m.end() + 1, Chat: p.id, User: user, Seq: a.Target, Text: p.at(a.Target).Text})
		}
		return ok
	}},
	{"a reaction counts twice", Diverged, func(m *mutation) bool {
		a, e, p, ok := m.act(func(a *Act, e *Event, p *past) bool {
			return a.Type == "reaction" && p.targets[a.Target].deletion == nil && m.item(p, a.Target).Reactions != ""
		})
		if ok {
			_, user := m.memberOf(p)
			it := m.item(p, a.Target)
			it.Reactions += e.Emoji + " " + e.By + ";"
			m.folded(p, user, it)
		}
		return ok
	}},
	{"a page of the history has a reaction that does not stand", Diverged, func(m *mutation) bool {
		p, user := m.chatOf()
		e, ok := m.standing(p, func(*Event) bool { return true })
		if ok {
			it := m.item(p, e.Seq)
			it.Reactions += Reactions(Reaction{"😀", user})
			m.folded(p, user, it)
		}
		return ok
	}},
	{"the pins lack one that was acked", Diverged, func(m *mutation) bool {
		a, _, p, ok := m.act(func(a *Act, _ *Event, p *past) bool {
			return a.Type == "pinned" && slices.Contains(p.pinned(forEver), a.Target)
		})
		if ok {
			_, user := m.memberOf(p)
			seqs := slices.DeleteFunc(p.pinned(forEver), func(seq uint64) bool { return seq == a.Target })
			m.h.Pins(Pins{Begin: m.end(), End: m.end() + 1, Chat: p.id, User: user, Seqs: seqs})
		}
		return ok
	}},
	{"the pins have one whose deletion was acked", Diverged, func(m *mutation) bool {
		user, e, p, ok := m.erased((*Event).isMessage)
		if ok {
			m.h.Pins(Pins{Begin: m.end(), End: m.end() + 1, Chat: p.id, User: user, Seqs: append(p.pinned(forEver), e.Seq)})
		}
		return ok
	}},
	{"a message is shown as erased that nobody deleted", Diverged, func(m *mutation) bool {
		p, user := m.chatOf()
		e, ok := m.standing(p, func(*Event) bool { return true })
		if ok {
			m.h.Shown(Shown{Begin: m.end(), End: m.end() + 1, Chat: p.id, User: user, Seq: e.Seq})
		}
		return ok
	}},
	{"the cursor of a device passes an edit that it never had", Diverged, passedBy("edit")},
	{"the cursor of a device passes a deletion that it never had", Diverged, passedBy("deletion")},
	{"a page of the history lacks a message that it covers", Hole, func(m *mutation) bool {
		f, ok := anyOf(m, m.h.folds, func(f *Fold) bool { return len(f.Items) > 0 })
		if ok {
			i := m.rand.IntN(len(f.Items))
			f.Items = slices.Delete(slices.Clone(f.Items), i, i+1)
		}
		return ok
	}},
	{"a page of the history has a message twice", Doubled, func(m *mutation) bool {
		f, ok := anyOf(m, m.h.folds, func(f *Fold) bool { return len(f.Items) > 0 })
		if ok {
			i := m.rand.IntN(len(f.Items))
			f.Items = slices.Insert(slices.Clone(f.Items), i, f.Items[i])
		}
		return ok
	}},
	{"a page of the history is not in order", Disordered, func(m *mutation) bool {
		f, ok := anyOf(m, m.h.folds, func(f *Fold) bool { return len(f.Items) > 1 })
		if ok {
			f.Items = slices.Clone(f.Items)
			n := len(f.Items)
			f.Items[n-1], f.Items[n-2] = f.Items[n-2], f.Items[n-1]
		}
		return ok
	}},
	{"a page of the history has another time", Altered, func(m *mutation) bool {
		f, ok := anyOf(m, m.h.folds, func(f *Fold) bool { return len(f.Items) > 0 })
		if ok {
			f.Items = slices.Clone(f.Items)
			f.Items[0].At++
		}
		return ok
	}},
	{"a page of the history for a stranger", Leak, func(m *mutation) bool {
		m.h.Fold(Fold{Begin: m.end(), End: m.end() + 1, Chat: "group", User: "stranger", From: 1})
		return true
	}},
	{"a page of the history is older than an ack", Hole, func(m *mutation) bool {
		s, _, p, ok := m.acked(func(_ *Send, seq uint64, p *past) bool {
			_, user := m.memberOf(p)
			return user != "" && p.ackedBefore(m.end()) == seq
		})
		if ok {
			_, user := m.memberOf(p)
			m.h.Fold(Fold{Begin: m.end(), End: m.end() + 1, Chat: s.chat, User: user, Newest: true, From: 1, To: 1, Items: []Item{{Event: *p.at(1)}}})
		}
		return ok
	}},
}

package history

import "slices"

// Action is something that somebody does to a message: an "edit", a "deletion", a "reaction", or that it is "pinned" or "unpinned".
type Action struct {
	Chat, By, Type string
	Target         uint64
	// Text and Mentions are those of an edit.
	Text, Mentions string
	// Emoji and Removed are those of a reaction.
	Emoji   string
	Removed bool
}

// Act is an attempt to do it.
type Act struct {
	Action
	h          *History
	begin, end Time
	outcome    Outcome
	seq        uint64
}

// Act records an attempt to do something to a message, before it leaves. A retry of a deletion is the same Act, one of anything else
// another: it may be done twice.
func (h *History) Act(at Time, a Action) *Act {
	act := &Act{Action: a, h: h, begin: at}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.acts = append(h.acts, act)
	return act
}

// Ended records the answer. seq is the event that it names, zero if it names none: then what was asked for was so already. Without a
// call the outcome is unknown.
func (a *Act) Ended(at Time, o Outcome, seq uint64) {
	a.h.mu.Lock()
	defer a.h.mu.Unlock()
	a.end, a.outcome, a.seq = at, o, seq
}

// eventType tells of what type an event must be, and of what change.
func (a *Action) eventType() (of, change string) {
	if a.Type == "pinned" || a.Type == "unpinned" {
		return "chat", a.Type
	}
	return a.Type, ""
}

// isAct tells whether an event is something that was done to a message.
func (e *Event) isAct() bool { return e.Target != 0 }

// answeredBy tells whether an event says what was asked for. Of a deletion and a pin it does not matter who was faster.
func (a *Act) answeredBy(e *Event) bool {
	of, change := a.eventType()
	if e.Type != of || e.Change != change || e.Target != a.Target {
		return false
	}
	switch a.Type {
	case "edit":
		return e.By == a.By
	case "reaction":
		return e.By == a.By && e.Emoji == a.Emoji && e.Removed == a.Removed
	}
	return true
}

// answers tells whether an event says what was asked for, or is one behind which it was so already: the message itself where nobody
// had given the reaction, any where the pins are as asked for.
func (p *past) answers(a *Act, e *Event) bool {
	switch a.Type {
	case "reaction":
		return a.answeredBy(e) || a.Removed && e.Seq == a.Target
	case "pinned", "unpinned":
		return a.answeredBy(e) || slices.Contains(p.pinned(e.Seq), a.Target) == (a.Type == "pinned")
	}
	return a.answeredBy(e)
}

// is tells whether an edit has what was asked for.
func (a *Act) is(e *Event) bool { return e.Text == a.Text && e.Mentions == a.Mentions }

// actKey tells what was done by whom to which message, without the text.
type actKey struct {
	by, of, change, emoji string
	target                uint64
	removed               bool
}

func (a *Act) key() actKey {
	of, change := a.eventType()
	return actKey{a.By, of, change, a.Emoji, a.Target, a.Removed}
}

func (e *Event) key() actKey { return actKey{e.By, e.Type, e.Change, e.Emoji, e.Target, e.Removed} }

// checkActs checks that what was acked stands in the history, once for each attempt and by somebody who may, that nothing stands there
// that nobody tried, and nothing behind the deletion of its message.
func (c *checker) checkActs() {
	for id, p := range c.chats {
		tried, stands := map[actKey]int{}, map[actKey]int{}
		for _, e := range p.events {
			if e != nil && e.isAct() {
				stands[e.key()]++
			}
		}
		for _, a := range p.acts {
			if a.outcome != Refused {
				tried[a.key()]++
			}
			if a.outcome != Done || a.seq == 0 {
				continue
			}
			switch e := p.at(a.seq); {
			case e == nil:
				c.r.add(Lost, a.end, "chat %s: %s of %d by %s was acked at seq %d and is not in the history", id, a.Type, a.Target, a.By, a.seq)
			case a.answeredBy(e) && a.Type == "edit" && e.Erased == 0 && !a.is(e):
				c.r.add(Altered, a.end, "chat %s: edit of %d by %s was acked at seq %d, which has another text or mentions others", id, a.Target, a.By, a.seq)
			case !p.answers(a, e):
				c.r.add(Disordered, a.end, "chat %s: %s of %d by %s was acked at seq %d, where something else stands", id, a.Type, a.Target, a.By, a.seq)
			}
		}
		for _, a := range p.acts {
			if floor := p.ackedBefore(a.begin); a.outcome == Done && tried[a.key()] == 1 && stands[a.key()] == 1 && a.seq != 0 && a.seq <= floor &&
				p.hasRightAck(floor) && p.at(a.seq) != nil && p.at(a.seq).key() == a.key() {
				c.r.add(Disordered, a.begin, "chat %s: %s of %d by %s stands at seq %d, though %d was acked before it was asked for",
					id, a.Type, a.Target, a.By, a.seq, floor)
			}
		}
		seen := map[actKey]int{}
		for _, e := range p.events {
			if e == nil || !e.isAct() {
				continue
			}
			seen[e.key()]++
			switch n := seen[e.key()]; {
			case tried[e.key()] == 0:
				c.r.add(Invented, 0, "chat %s: seq %d, %s%s of %d by %s, was asked for by nobody", id, e.Seq, e.Type, e.Change, e.Target, e.By)
				continue
			case n > tried[e.key()]:
				c.r.add(Doubled, 0, "chat %s: seq %d is %s%s of %d by %s for the %d. time; it was tried %d times", id, e.Seq, e.Type, e.Change, e.Target, e.By,
					n, tried[e.key()])
				continue
			case e.Type == "edit" && e.Erased == 0 && !p.wrote(e):
				c.r.add(Altered, 0, "chat %s: seq %d has another text or mentions others than the edit", id, e.Seq)
			}
			c.checkAct(p, e)
		}
	}
}

// checkAct checks that something may stand where it stands.
func (c *checker) checkAct(p *past, e *Event) {
	m := p.at(e.Target)
	switch {
	case e.Target >= e.Seq || m != nil && !m.isMessage():
		c.r.add(Disordered, 0, "chat %s: seq %d is about seq %d, which is no message before it", p.id, e.Seq, e.Target)
		return
	case m == nil:
		return
	case !p.isMember(e.By, e.Seq):
		c.r.add(Leak, 0, "chat %s: seq %d is from %s, who was no member then", p.id, e.Seq, e.By)
		return
	}
	if d := p.targets[e.Target].deletion; d != nil && d.Seq < e.Seq && e.Change != "unpinned" {
		if e.Type == "deletion" {
			c.r.add(Doubled, 0, "chat %s: seq %d deletes %d, which %d has deleted", p.id, e.Seq, e.Target, d.Seq)
		} else {
			c.r.add(Unerased, 0, "chat %s: seq %d, %s%s of %d, stands behind its deletion at %d", p.id, e.Seq, e.Type, e.Change, e.Target, d.Seq)
		}
		return
	}
	may := true
	switch strong := p.isStrong(e.By, e.Seq); {
	case e.Type == "edit":
		may = e.By == m.Sender
	case e.Type == "deletion":
		may = e.By == m.Sender || strong
	case e.Type == "chat":
		may = strong || !p.isGroup()
	}
	if !may {
		c.r.add(Forbidden, 0, "chat %s: seq %d, %s%s of %d by %s, who may not", p.id, e.Seq, e.Type, e.Change, e.Target, e.By)
	}
}

// checkStubs checks that what is erased says by which deletion, holds nothing, and that nothing holds a text whose deletion was acked.
func (c *checker) checkStubs() {
	for id, p := range c.chats {
		for _, e := range p.events {
			if e == nil || e.root() == 0 {
				continue
			}
			var d *Event
			if t := p.targets[e.root()]; t != nil {
				d = t.deletion
			}
			_, acked := p.erased[e.root()]
			switch {
			case e.Erased == 0:
				if d != nil && d.Seq > e.Seq && acked {
					c.r.add(Unerased, 0, "chat %s: the history has the text of seq %d, whose deletion at %d was acked", id, e.Seq, d.Seq)
				}
			case e.written():
				c.r.add(Unerased, 0, "chat %s: seq %d is erased and has a text", id, e.Seq)
			case p.at(e.Erased) == nil: // a hole is told once
			case d == nil || d.Seq != e.Erased || d.By != e.ErasedBy || d.At != e.ErasedAt:
				c.r.add(Altered, 0, "chat %s: seq %d is erased by %d, %s, which is not its deletion", id, e.Seq, e.Erased, e.ErasedBy)
			}
		}
	}
}

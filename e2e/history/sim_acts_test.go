package history

import (
	"fmt"
	"slices"
)

// message is the seq of a message of a chat, zero if there is none yet.
func (s *sim) message(c *simChat) uint64 {
	var all []uint64
	for _, e := range c.log {
		if e.isMessage() {
			all = append(all, e.Seq)
		}
	}
	if len(all) == 0 {
		return 0
	}
	return all[s.pick(len(all))]
}

// do has somebody do something to a message. decide is asked when the request takes effect: how it ends, and with what event, none if it
// is so already.
func (s *sim) do(c *simChat, a Action, decide func() (Outcome, *Event, uint64)) {
	if a.Target == 0 {
		return
	}
	a.Chat = c.id
	rec := s.h.Act(s.now, a)
	how := s.pick(6) // 0: the request is lost, 1: the answer is
	if how == 0 {
		return
	}
	s.after(1+s.pick(3), func() {
		o, seq := Refused, uint64(0)
		if c.members[a.By] && !(c.gone[a.Target] && a.Type != "unpinned") {
			var e *Event
			if o, e, seq = decide(); e != nil {
				e.Target, e.By = a.Target, a.By
				seq = s.append(c, *e)
			}
		}
		if a.Type == "deletion" && o == Done {
			at := c.log[seq-1].At
			c.gone[a.Target] = true
			scrub := func() {
				for i := range c.log {
					if e := &c.log[i]; e.root() == a.Target && e.Seq < seq {
						*e = e.bare()
						e.Erased, e.ErasedBy, e.ErasedAt = seq, a.By, at
					}
				}
			}
			if how == 1 {
				s.after(5+s.pick(20), scrub) // by somebody else, or not before the end
				return
			}
			s.after(1+s.pick(3), func() {
				scrub()
				s.after(1+s.pick(3), func() { rec.Ended(s.now, o, seq) })
			})
			return
		}
		if how > 1 {
			s.after(1+s.pick(3), func() { rec.Ended(s.now, o, seq) })
		}
	})
}

func (s *sim) actor() (string, *simChat, uint64) {
	c := s.chats[s.pick(len(s.chats))]
	return s.people[s.pick(len(s.people))], c, s.message(c)
}

func (s *sim) edit() {
	_, c, seq := s.actor()
	if seq == 0 {
		return
	}
	text, by := fmt.Sprintf("edit %d", s.pick(4)), c.log[seq-1].Sender
	s.do(c, Action{By: by, Type: "edit", Target: seq, Text: text}, func() (Outcome, *Event, uint64) {
		return Done, &Event{Type: "edit", Text: text}, 0
	})
}

func (s *sim) react() {
	user, c, seq := s.actor()
	a := Action{By: user, Type: "reaction", Target: seq, Emoji: []string{"👍", "🎉"}[s.pick(2)], Removed: s.pick(3) == 0}
	s.do(c, a, func() (Outcome, *Event, uint64) {
		gave := a
		gave.Removed = false
		last := c.reacted[gave]
		is := last != 0 && !c.log[last-1].Removed
		if is != a.Removed {
			return Done, nil, max(last, seq)
		}
		c.reacted[gave] = uint64(len(c.log) + 1)
		return Done, &Event{Type: "reaction", Emoji: a.Emoji, Removed: a.Removed}, 0
	})
}

func (s *sim) erase() {
	user, c, seq := s.actor()
	s.do(c, Action{By: user, Type: "deletion", Target: seq}, func() (Outcome, *Event, uint64) {
		if c.log[seq-1].Sender != user && c.owner != user {
			return Refused, nil, 0
		}
		return Done, &Event{Type: "deletion"}, 0
	})
}

func (s *sim) pins(c *simChat) (out []uint64) {
	for _, e := range c.log {
		if e.Change == "pinned" || e.Change == "unpinned" || e.Type == "deletion" {
			out = slices.DeleteFunc(out, func(seq uint64) bool { return seq == e.Target })
		}
		if e.Change == "pinned" {
			out = append(out, e.Target)
		}
	}
	return out
}

func (s *sim) pin() {
	user, c, seq := s.actor()
	a := Action{By: user, Type: "pinned", Target: seq}
	if s.pick(3) == 0 {
		a.Type = "unpinned"
	}
	s.do(c, a, func() (Outcome, *Event, uint64) {
		switch {
		case c.group && c.owner != user:
			return Refused, nil, 0
		case slices.Contains(s.pins(c), seq) == (a.Type == "pinned"):
			return Done, nil, uint64(len(c.log))
		}
		return Done, &Event{Type: "chat", Change: a.Type}, 0
	})
}

// item is a message as the log has it now.
func (c *simChat) item(seq uint64) Item {
	it := Item{Event: c.log[seq-1]}
	if it.Erased != 0 || !it.isMessage() {
		return it
	}
	var r []Reaction
	for _, e := range c.log {
		if e.Target != seq {
			continue
		}
		switch one := (Reaction{e.Emoji, e.By}); {
		case e.Type == "edit":
			it.Text, it.Mentions, it.Edits, it.EditedAt = e.Text, e.Mentions, it.Edits+1, e.At
		case e.Type == "reaction" && e.Removed:
			r = slices.DeleteFunc(r, func(x Reaction) bool { return x == one })
		case e.Type == "reaction":
			r = append(r, one)
		}
	}
	it.Reactions = Reactions(r...)
	return it
}

// fold asks for the newest page of the history.
func (s *sim) fold() {
	user, c := s.people[s.pick(len(s.people))], s.chats[s.pick(len(s.chats))]
	f := Fold{Begin: s.now, Chat: c.id, User: user, Newest: true}
	s.after(1+s.pick(3), func() {
		if !c.members[user] {
			return
		}
		f.To = uint64(len(c.log))
		f.From = f.To - min(f.To-1, uint64(s.pick(12)))
		for seq := f.From; seq <= f.To; seq++ {
			if e := c.log[seq-1]; e.isMessage() || e.Type == "chat" {
				f.Items = append(f.Items, c.item(seq))
			}
		}
		s.after(1+s.pick(3), func() { f.End = s.now; s.h.Fold(f) })
	})
}

// look asks for a preview of a message and for the pins.
func (s *sim) look() {
	user, c, seq := s.actor()
	if seq == 0 {
		return
	}
	one, pins := Shown{Begin: s.now, Chat: c.id, User: user, Seq: seq}, Pins{Begin: s.now, Chat: c.id, User: user}
	s.after(1+s.pick(3), func() {
		if !c.members[user] {
			return
		}
		one.Text, pins.Seqs = c.item(seq).Text, s.pins(c)
		s.after(1+s.pick(3), func() {
			one.End, pins.End = s.now, s.now
			s.h.Shown(one)
			s.h.Pins(pins)
		})
	})
}

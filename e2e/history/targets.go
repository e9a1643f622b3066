package history

import (
	"cmp"
	"slices"
	"strings"
)

// target is what became of a message, ascending by seq.
type target struct {
	edits, reactions []*Event
	deletion         *Event // the first
}

// role is what somebody may do from a seq on.
type role struct {
	from uint64
	name string
}

// act takes an attempt to do something to a message.
func (p *past) act(a *Act) {
	p.acts = append(p.acts, a)
	if a.outcome != Done {
		return
	}
	if e := p.at(a.seq); a.seq != 0 && (e == nil || p.answers(a, e)) {
		p.ackedAt[a.seq] = true
		p.last = max(p.last, a.seq)
	}
	if at, ok := p.erased[a.Target]; a.Type == "deletion" && (!ok || a.end < at) {
		p.erased[a.Target] = a.end
	}
}

// follow takes an event of the history that says what became of a message.
func (p *past) follow(e *Event) {
	if !e.isAct() {
		return
	}
	t := p.targets[e.Target]
	if t == nil {
		t = &target{}
		p.targets[e.Target] = t
	}
	switch {
	case e.Type == "edit":
		t.edits = append(t.edits, e)
	case e.Type == "reaction":
		t.reactions = append(t.reactions, e)
	case e.Type == "deletion" && t.deletion == nil:
		t.deletion = e
	}
	if e.Type == "deletion" || e.Type == "chat" {
		p.pinning = append(p.pinning, e)
	}
}

// isGroup tells whether the chat has somebody who may do more than others.
func (p *past) isGroup() bool {
	for _, roles := range p.roles {
		if slices.ContainsFunc(roles, role.isStrong) {
			return true
		}
	}
	return false
}

func (r role) isStrong() bool { return r.name == "owner" || r.name == "admin" }

// isStrong tells whether user was owner or admin when the event at seq was appended.
func (p *past) isStrong(user string, seq uint64) bool {
	strong := false
	for _, r := range p.roles[user] {
		if r.from < seq {
			strong = r.isStrong()
		}
	}
	return strong
}

// erasedBefore tells whether the deletion of the message at seq was acked before a moment.
func (p *past) erasedBefore(seq uint64, at Time) bool {
	acked, ok := p.erased[seq]
	return ok && acked < at
}

// wrote tells whether somebody tried to write what stands in a message or an edit.
func (p *past) wrote(e *Event) bool {
	if e.isMessage() {
		return slices.ContainsFunc(p.sendsOf(e), func(s *Send) bool { return s.is(e) })
	}
	return slices.ContainsFunc(p.acts, func(a *Act) bool {
		return a.Type == "edit" && a.Target == e.Target && a.By == e.By && a.is(e)
	})
}

// sendsOf are the attempts to send a message.
func (p *past) sendsOf(e *Event) (out []*Send) {
	for _, s := range p.sends {
		if s.sender == e.Sender && s.clientID == e.ClientID {
			out = append(out, s)
		}
	}
	return out
}

// mayRead tells whether a message or an edit reads so, or did before it was erased. mentions may be nil where they were not told.
func (p *past) mayRead(e *Event, text string, mentions *string) bool {
	is := func(t, m string) bool { return t == text && (mentions == nil || *mentions == m) }
	switch {
	case e.Erased == 0:
		return is(e.Text, e.Mentions)
	case e.isMessage():
		return slices.ContainsFunc(p.sendsOf(e), func(s *Send) bool { return is(s.text, s.mentions) })
	}
	return slices.ContainsFunc(p.acts, func(a *Act) bool {
		return a.Type == "edit" && a.Target == e.Target && a.By == e.By && is(a.Text, a.Mentions)
	})
}

// state is a message as it is after some of what became of it.
type state struct {
	// as is what gives it its text: itself, or its last edit.
	as        *Event
	edits     uint64
	reactions string
}

// states are all that the message at seq has been since floor: after the event at it, and after each later one. The history has it.
func (p *past) states(seq, floor uint64) []state {
	t := p.targets[seq]
	if t == nil {
		return []state{{as: p.at(seq)}}
	}
	later := []uint64{max(seq, floor)}
	for _, e := range slices.Concat(t.edits, t.reactions) {
		if e.Seq > floor {
			later = append(later, e.Seq)
		}
	}
	slices.Sort(later)
	out := make([]state, len(later))
	for i, at := range later {
		out[i] = t.state(p.at(seq), at)
	}
	return out
}

// state is the message m after the event at a seq.
func (t *target) state(m *Event, at uint64) state {
	s := state{as: m}
	for _, e := range t.edits {
		if e.Seq <= at {
			s.as, s.edits = e, s.edits+1
		}
	}
	var r reactions
	for _, e := range t.reactions {
		if e.Seq <= at {
			r.follow(e)
		}
	}
	s.reactions = r.String()
	return s
}

// reactions are who gave which emoji, each once.
type reactions map[[2]string]bool

func (r *reactions) follow(e *Event) {
	if *r == nil {
		*r = reactions{}
	}
	if e.Removed {
		delete(*r, [2]string{e.Emoji, e.By})
	} else {
		(*r)[[2]string{e.Emoji, e.By}] = true
	}
}

// String lists them as an Item does.
func (r reactions) String() string {
	all := make([]Reaction, 0, len(r))
	for one := range r {
		all = append(all, Reaction{one[0], one[1]})
	}
	return Reactions(all...)
}

// Reaction is an emoji that somebody gave a message.
type Reaction struct{ Emoji, User string }

// Reactions lists them in an order that does not depend on the server's; one that is given twice stands there twice.
func Reactions(all ...Reaction) string {
	slices.SortFunc(all, func(a, b Reaction) int { return cmp.Or(cmp.Compare(a.Emoji, b.Emoji), cmp.Compare(a.User, b.User)) })
	var b strings.Builder
	for _, r := range all {
		b.WriteString(r.Emoji + " " + r.User + ";")
	}
	return b.String()
}

// pinned are the pins after the event at a seq, in the order in which they were pinned.
func (p *past) pinned(at uint64) (out []uint64) {
	for _, e := range p.pinning {
		if e.Seq > at {
			break
		}
		if out = slices.DeleteFunc(out, func(seq uint64) bool { return seq == e.Target }); e.Change == "pinned" {
			out = append(out, e.Target)
		}
	}
	return out
}

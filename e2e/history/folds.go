package history

import "slices"

// Item is a message with all that became of it folded in, or a change of the chat, as a page of the history has them.
type Item struct {
	// Event is the message with its newest text, or the change.
	Event
	// Edits is how many edits are in it, EditedAt when the last was made, zero if there is none.
	Edits    uint64
	EditedAt int64
	// Reactions are those of Reactions.
	Reactions string
}

// Fold is a page of the history that somebody was given. A request that was refused or not answered is none.
type Fold struct {
	Begin, End Time
	Chat, User string
	// From and To are what it covers, Newest says that it was asked for without a seq: then it reaches to the last message.
	From, To uint64
	Newest   bool
	Items    []Item
}

// Fold records such a page.
func (h *History) Fold(f Fold) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.folds = append(h.folds, &f)
}

// Shown is the text of a message as somebody saw it in an answer that is no page: as the last of a chat in their list, in what answers
// it, among the pins.
type Shown struct {
	Begin, End Time
	Chat, User string
	Seq        uint64
	// Text is empty where the message is shown as erased.
	Text string
}

// Shown records it.
func (h *History) Shown(s Shown) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.shown = append(h.shown, s)
}

// Pins are the pinned messages of a chat as somebody was told, in the order in which they were pinned.
type Pins struct {
	Begin, End Time
	Chat, User string
	Seqs       []uint64
}

// Pins records them.
func (h *History) Pins(p Pins) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.pins = append(h.pins, p)
}

// checkFolds checks that whoever asked after an ack was told a message as it was then or later: with its last text, each reaction of
// each person once, and without a text once its deletion was acked.
func (c *checker) checkFolds() {
	for _, f := range c.h.folds {
		c.r.Folds++
		p := c.chat(f.Chat)
		if !p.mayBeMember(f.User, f.Begin, f.End) {
			c.r.add(Leak, f.End, "chat %s: a page of the history up to seq %d for %s, who was no member", f.Chat, f.To, f.User)
			continue
		}
		c.checkCover(p, f)
		for i := range f.Items {
			c.checkItem(p, f, &f.Items[i])
		}
	}
	for _, s := range c.h.shown {
		c.r.Folds++
		c.checkShown(c.chat(s.Chat), s)
	}
	for _, s := range c.h.pins {
		c.r.Folds++
		p := c.chat(s.Chat)
		floor := p.ackedBefore(s.Begin)
		ok := slices.Equal(p.pinned(floor), s.Seqs)
		for _, e := range p.pinning {
			ok = ok || e.Seq > floor && slices.Equal(p.pinned(e.Seq), s.Seqs)
		}
		if !ok {
			c.r.add(Diverged, s.End, "chat %s: %s was told that %v are pinned, which was never so since seq %d: then %v were", s.Chat, s.User, s.Seqs, floor, p.pinned(floor))
		}
	}
}

// checkCover checks that a page has every message and change that it covers, each once and in order.
func (c *checker) checkCover(p *past, f *Fold) {
	before := f.From - min(f.From, 1)
	there := map[uint64]bool{}
	for i := range f.Items {
		there[f.Items[i].Seq] = true
	}
	missing := func(to uint64) {
		for s := before + 1; s < to; s++ {
			if e := p.at(s); e != nil && !there[s] && (e.isMessage() || e.Type == "chat") {
				c.r.add(Hole, f.End, "chat %s: a page of the history for %s from %d to %d has no seq %d", f.Chat, f.User, f.From, f.To, s)
				return
			}
		}
	}
	for _, it := range f.Items {
		switch {
		case it.Seq == before && it.Seq >= f.From && f.From > 0 && before != f.From-1:
			c.r.add(Doubled, f.End, "chat %s: a page of the history for %s has seq %d twice", f.Chat, f.User, it.Seq)
		case it.Seq <= before:
			c.r.add(Disordered, f.End, "chat %s: a page of the history for %s has seq %d behind %d", f.Chat, f.User, it.Seq, before)
		}
		missing(it.Seq)
		before = max(before, it.Seq)
	}
	missing(f.To + 1)
	if acked := p.ackedBefore(f.Begin); f.Newest && f.To < acked && p.hasRightAck(acked) && p.at(acked).isMessage() {
		c.r.add(Hole, f.End, "chat %s: a page of the history for %s ends at seq %d, though %d was acked before it was asked for", f.Chat, f.User, f.To, acked)
	}
}

func (c *checker) checkItem(p *past, f *Fold, it *Item) {
	e := p.at(it.Seq)
	switch {
	case e == nil: // a hole of the history is told once
	case it.Type != "message":
		if it.Event != *e {
			c.r.add(Altered, f.End, "chat %s: a page of the history for %s has another seq %d: %+v, %+v", f.Chat, f.User, it.Seq, it.Event, *e)
		}
	case !it.same(e):
		c.r.add(Disordered, f.End, "chat %s: a page of the history for %s has seq %d as %+v; it is %+v", f.Chat, f.User, it.Seq, it.Event, *e)
	case it.bare() != e.bare():
		c.r.add(Altered, f.End, "chat %s: a page of the history for %s has another message %d: %+v, %+v", f.Chat, f.User, it.Seq, it.Event, *e)
	case it.Erased != 0:
		var d *Event
		if t := p.targets[it.Seq]; t != nil {
			d = t.deletion
		}
		switch {
		case it.written():
			c.r.add(Unerased, f.End, "chat %s: a page of the history for %s has the text of seq %d, which it says is erased", f.Chat, f.User, it.Seq)
		case d == nil || d.Seq != it.Erased || d.By != it.ErasedBy || d.At != it.ErasedAt:
			c.r.add(Altered, f.End, "chat %s: a page of the history for %s has seq %d erased by %d, which is not its deletion", f.Chat, f.User, it.Seq, it.Erased)
		}
	case p.erasedBefore(it.Seq, f.Begin):
		c.r.add(Unerased, f.End, "chat %s: a page of the history for %s has seq %d, whose deletion was acked before it was asked for", f.Chat, f.User, it.Seq)
	case !slices.ContainsFunc(p.states(it.Seq, p.ackedBefore(f.Begin)), func(s state) bool {
		at := int64(0)
		if s.edits > 0 {
			at = s.as.At
		}
		return it.Edits == s.edits && it.EditedAt == at && it.Reactions == s.reactions && p.mayRead(s.as, it.Text, &it.Mentions)
	}):
		c.r.add(Diverged, f.End, "chat %s: a page of the history for %s has seq %d as it never was since %d: %d edits, reactions %s; by the history %+v", f.Chat, f.User,
			it.Seq, p.ackedBefore(f.Begin), it.Edits, it.Reactions, p.states(it.Seq, p.ackedBefore(f.Begin)))
	}
}

func (c *checker) checkShown(p *past, s Shown) {
	e := p.at(s.Seq)
	if e == nil || !e.isMessage() {
		return
	}
	t := p.targets[s.Seq]
	switch {
	case s.Text == "":
		if t == nil || t.deletion == nil {
			c.r.add(Diverged, s.End, "chat %s: seq %d was shown to %s as erased, and nobody has deleted it", s.Chat, s.Seq, s.User)
		}
	case p.erasedBefore(s.Seq, s.Begin):
		c.r.add(Unerased, s.End, "chat %s: seq %d was shown to %s, though its deletion was acked before they asked", s.Chat, s.Seq, s.User)
	case !slices.ContainsFunc(p.states(s.Seq, p.ackedBefore(s.Begin)), func(st state) bool { return p.mayRead(st.as, s.Text, nil) }):
		c.r.add(Diverged, s.End, "chat %s: seq %d was shown to %s with a text that it never had since seq %d", s.Chat, s.Seq, s.User, p.ackedBefore(s.Begin))
	}
}

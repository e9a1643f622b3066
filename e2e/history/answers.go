package history

import "sort"

// checkPages checks each page: for a member, without a hole, and not older than what was acked before it was asked for.
func (c *checker) checkPages() {
	for _, pg := range c.h.pages {
		p := c.chat(pg.Chat)
		switch to := pg.to(); {
		case !p.mayBeMember(pg.User, pg.Begin, pg.End):
			c.r.add(Leak, pg.End, "chat %s: a page of %d events up to seq %d for %s, who was no member", pg.Chat, len(pg.events), to, pg.User)
			continue
		case len(pg.events) > 0 && p.at(to) != nil && !p.receives(pg.User, to) && !p.entersAfter(pg.User, to):
			c.r.add(Leak, pg.End, "chat %s: a page up to seq %d for %s, who was no member from before that on", pg.Chat, to, pg.User)
			continue
		}
		before := pg.After
		if pg.Newest && len(pg.events) > 0 {
			before = pg.events[0].Seq - 1
		}
		for _, e := range pg.events {
			if p.erasedBefore(e.root(), pg.Begin) && e.written() {
				c.r.add(Unerased, pg.End, "chat %s: a page for %s has what was written in seq %d, whose deletion was acked before it was asked for",
					pg.Chat, pg.User, e.Seq)
			}
			switch {
			case e.Seq == before && e.Seq > pg.After:
				c.r.add(Doubled, pg.End, "chat %s: a page for %s has seq %d twice", pg.Chat, pg.User, e.Seq)
			case e.Seq <= before:
				c.r.add(Disordered, pg.End, "chat %s: a page for %s has seq %d behind %d", pg.Chat, pg.User, e.Seq, before)
			}
			for s := before + 1; s < e.Seq; s++ {
				if p.at(s) != nil {
					c.r.add(Hole, pg.End, "chat %s: a page for %s has %d and then %d", pg.Chat, pg.User, before, e.Seq)
					break
				}
			}
			before = max(before, e.Seq)
		}
		if acked := p.ackedBefore(pg.Begin); (pg.Newest || !pg.HasMore) && before < acked && p.hasRightAck(acked) {
			c.r.add(Hole, pg.End, "chat %s: a page for %s ends at seq %d, though %d was acked before it was asked for", pg.Chat, pg.User, before, acked)
		}
	}
}

// checkStandings checks what people were told of their chats: that unread is what they would count between the two seqs told, and
// that these are neither older than what was acked nor newer than what was tried.
func (c *checker) checkStandings() {
	for _, s := range c.h.standings {
		p := c.chat(s.Chat)
		p.standings[s.User] = append(p.standings[s.User], s)
		if want, ok := p.others(s.User, s.ReadSeq, s.LastSeq); ok && s.Unread != want {
			c.r.add(Unread, s.End, "chat %s: %s has %d unread of %d to %d; want %d", s.Chat, s.User, s.Unread, s.ReadSeq, s.LastSeq, want)
		}
		if acked := p.ackedBefore(s.Begin); s.LastSeq < acked && p.hasRightAck(acked) || s.LastSeq > p.last {
			c.r.add(Unread, s.End, "chat %s: %s was told that %d is the last seq; %d was acked, %d is the last", s.Chat, s.User, s.LastSeq, acked, p.last)
		}
		low, high := p.readBounds(s.User, s.Begin, s.End)
		if s.ReadSeq < low || s.ReadSeq > high && p.at(s.ReadSeq) != nil {
			p.wrong(s.User)
			c.r.add(CursorBack, s.End, "chat %s: %s was told that they have read up to %d; want %d to %d", s.Chat, s.User, s.ReadSeq, low, high)
		}
	}
}

// others counts the messages of others above read up to last, and tells whether the history has all of these.
func (p *past) others(user string, read, last uint64) (n uint64, ok bool) {
	if read > last || last >= uint64(len(p.counts)) {
		return 0, read == last
	}
	from, to := p.counts[read], p.counts[last]
	if to.missing > from.missing {
		return 0, false
	}
	own := p.own[user]
	mine := sort.Search(len(own), func(i int) bool { return own[i] > last }) - sort.Search(len(own), func(i int) bool { return own[i] > read })
	return to.messages - from.messages - uint64(mine), true
}

// readBounds is between what a cursor can stand, told at a moment between begin and end: not below a mark or an own message that was
// acked before, and not above what was tried.
func (p *past) readBounds(user string, begin, end Time) (low, high uint64) {
	if m := p.marks[user]; m != nil {
		low, high = m.ended.before(begin), m.begun.before(end+1)
	}
	own := p.own[user]
	if n := len(own); n > 0 {
		high = max(high, own[n-1])
	}
	// The last own message that was acked before begin: most often the last of all.
	for i := len(own) - 1; i >= 0 && own[i] > low; i-- {
		if at, ok := p.firstAck[own[i]]; ok && at < begin {
			low = own[i]
			break
		}
	}
	return low, high
}

// checkMarks checks that the answers to who marked say a cursor that is neither behind the mark nor behind one that was answered
// before.
func (c *checker) checkMarks() {
	for _, p := range c.chats {
		for user, marks := range p.marks {
			for _, m := range marks.all {
				if m.outcome != Done || m.now == 0 {
					continue
				}
				if floor := max(m.seq, marks.ended.before(m.begin)); m.now < floor {
					c.r.add(CursorBack, m.end, "chat %s: the mark of %s at %d was answered with %d; want at least %d", p.id, user, m.seq, m.now, floor)
					marks.wrong = true
				}
			}
		}
	}
}

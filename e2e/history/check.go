package history

import "slices"

// Check compares what clients saw with what the history says. It is called once, when the run has ended and nothing is recorded
// any more.
func Check(h *History) *Report {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := &checker{h: h, r: &Report{Count: map[Kind]int{}}, chats: map[string]*past{}}
	c.build()
	c.checkFinals()
	c.checkSends()
	c.checkActs()
	c.checkStubs()
	c.checkVersions()
	c.checkPages()
	c.checkFolds()
	for _, conn := range h.conns {
		c.checkConn(conn)
	}
	c.checkStandings()
	c.checkMarks()
	c.checkRegisters()
	c.checkDevices()
	return c.r
}

// checker is a check under way.
type checker struct {
	h     *History
	r     *Report
	chats map[string]*past
}

// chat returns what is known of a chat, which is nothing if its history was not read.
func (c *checker) chat(id string) *past {
	p := c.chats[id]
	if p == nil {
		p = newPast(id)
		c.chats[id] = p
	}
	return p
}

// build puts what was recorded to its chat.
func (c *checker) build() {
	for id, events := range c.h.finals {
		c.chat(id).final(events)
		c.r.Chats++
	}
	for e := range c.h.events {
		p := c.chat(e.Chat)
		p.last = max(p.last, e.Seq)
	}
	for _, s := range c.h.sends {
		p := c.chat(s.chat)
		p.sends = append(p.sends, s)
		c.r.Sent++
		if len(s.acks) > 0 {
			c.r.Acked++
		}
		for _, a := range s.acks {
			p.last = max(p.last, a.seq)
			p.ackedAt[a.seq] = true
		}
	}
	for _, a := range c.h.acts {
		c.chat(a.Chat).act(a)
		if a.outcome == Done {
			c.r.Acts++
		}
		if a.outcome == Done && a.Type == "deletion" {
			c.r.Deletions++
		}
	}
	for _, ch := range c.h.changes {
		p := c.chat(ch.chat)
		p.changes[ch.user] = append(p.changes[ch.user], ch)
	}
	for _, m := range c.h.marks {
		c.chat(m.chat).mark(m)
	}
	for _, r := range c.h.rosters {
		p := c.chat(r.Chat)
		p.rosters = append(p.rosters, r)
	}
	for _, p := range c.chats {
		p.index()
	}
	c.r.Conns, c.r.Pages, c.r.Standings = len(c.h.conns), len(c.h.pages), len(c.h.standings)
}

// checkFinals checks each history by itself: no hole, nothing twice, each message counted, each sender a member.
func (c *checker) checkFinals() {
	for id, p := range c.chats {
		read := uint64(0) // the seq before, in the order in which the history was read
		for _, e := range p.read {
			switch {
			case e.Seq == read || e.Seq < read && p.at(e.Seq) != e:
				c.r.add(Doubled, 0, "chat %s: seq %d stands twice in the history", id, e.Seq)
			case e.Seq < read:
				c.r.add(Disordered, 0, "chat %s: the history has seq %d behind %d", id, e.Seq, read)
			}
			read = max(read, e.Seq)
		}
		for seq := uint64(1); seq <= p.last; seq++ {
			e, before := p.at(seq), p.at(seq-1)
			if e == nil {
				if !p.ackedAt[seq] { // otherwise it is lost, which is worse
					c.r.add(Hole, 0, "chat %s: the history has no seq %d", id, seq)
				}
				continue
			}
			if seq == 1 || before != nil {
				want := uint64(0)
				if before != nil {
					want = before.N
				}
				if e.isMessage() {
					want++
				}
				if e.N != want {
					c.r.add(Unread, 0, "chat %s: seq %d is message %d by its n; want %d", id, seq, e.N, want)
				}
			}
			if e.isMessage() && !p.isMember(e.Sender, seq) {
				c.r.add(Leak, 0, "chat %s: seq %d is from %s, who was no member then", id, seq, e.Sender)
			}
		}
	}
}

// checkSends checks that each acked message stands once in the history, where the ack said and as it was sent.
func (c *checker) checkSends() {
	for id, p := range c.chats {
		known := map[messageKey]bool{}
		for _, s := range p.sends {
			key := messageKey{s.sender, s.clientID}
			known[key] = true
			at := p.messages[key]
			for _, a := range s.acks {
				switch {
				case len(at) == 0:
					c.r.add(Lost, a.at, "chat %s: %s of %s was acked at seq %d and is not in the history", id, s.clientID, s.sender, a.seq)
				case !contains(at, a.seq):
					c.r.add(Disordered, a.at, "chat %s: %s of %s was acked at seq %d and stands at %d", id, s.clientID, s.sender, a.seq, at[0])
				}
			}
			if len(at) > 1 {
				c.r.add(Doubled, s.first, "chat %s: %s of %s stands at seqs %v", id, s.clientID, s.sender, at)
			}
			for _, seq := range at {
				if e := p.at(seq); e.Erased == 0 && !s.is(e) {
					c.r.add(Altered, s.first, "chat %s: seq %d has another text, answers another message or mentions others than was sent", id, seq)
				}
			}
			if len(s.acks) > 0 {
				if wait := s.acks[0].at - s.first; wait > c.r.ToAck.For {
					c.r.ToAck = Stall{wait, s.first, "chat " + id + ", " + s.clientID + " of " + s.sender}
				}
			}
		}
		for key, at := range p.messages {
			if !known[key] {
				c.r.add(Invented, 0, "chat %s: seq %d, %s of %s, was sent by nobody", id, at[0], key.clientID, key.sender)
			}
		}
		c.checkOrder(id, p)
	}
}

// checkOrder checks that a message stands behind all that were acked before it was first sent.
func (c *checker) checkOrder(id string, p *past) {
	for _, s := range p.byFirst {
		at := p.messages[messageKey{s.sender, s.clientID}]
		if len(at) == 0 {
			continue
		}
		// An ack that is wrong by itself is told elsewhere, and so is a message that was sent before under the same name.
		if floor := p.ackedBefore(s.first); at[0] <= floor && p.hasRightAck(floor) {
			c.r.add(Disordered, s.first, "chat %s: %s of %s stands at seq %d, though %d was acked before it was sent", id, s.clientID, s.sender, at[0], floor)
		}
	}
}

// checkVersions compares every event that anybody saw with the one in the history. Before its deletion an event was more than its stub.
func (c *checker) checkVersions() {
	for _, e := range c.h.events {
		p := c.chats[e.Chat]
		f := p.at(e.Seq)
		switch {
		case f == nil || f == e: // a hole of the history is told once
		case e.bare() == f.bare() && e.Erased == 0 && f.Erased != 0:
			if !p.wrote(e) {
				c.r.add(Altered, 0, "chat %s: seq %d, which is erased, was seen with another text than was written", e.Chat, e.Seq)
			}
		case e.bare() == f.bare() && e.Erased != 0 && f.Erased == 0:
			c.r.add(Unerased, 0, "chat %s: seq %d was seen erased and has its text in the history", e.Chat, e.Seq)
		case f.same(e):
			c.r.add(Altered, 0, "chat %s: seq %d was seen with another content than it has in the history: %+v, %+v", e.Chat, e.Seq, *e, *f)
		default:
			c.r.add(Disordered, 0, "chat %s: seq %d was seen as %+v and is %+v in the history", e.Chat, e.Seq, *e, *f)
		}
	}
}

func contains(sorted []uint64, x uint64) bool {
	_, ok := slices.BinarySearch(sorted, x)
	return ok
}

package history

import (
	"cmp"
	"slices"
	"sort"
	"strings"
)

// past is a chat as its history tells it, and what was done to it.
type past struct {
	id string
	// read is the history as it was read, events the same by seq: nil where one is missing.
	read, events []*Event
	// last is the highest seq that anybody ever saw or was told.
	last uint64

	messages map[messageKey][]uint64
	own      map[string][]uint64 // seqs of a sender's messages, ascending
	spans    map[string][]span

	sends   []*Send
	ackedAt map[uint64]bool
	changes map[string][]*Change
	marks   map[string]*marks
	rosters []Roster
	acts    []*Act
	// targets is what became of messages, by seq; pinning are the events that change what is pinned.
	targets map[uint64]*target
	pinning []*Event
	// roles are the roles of people from a seq on, ascending.
	roles map[string][]role
	// erased is when the deletion of a message was first acked.
	erased map[uint64]Time

	standings map[string][]Standing // by person

	// counts[i] counts what is in the first i seqs.
	counts []count
	// byFirst are the sends by first attempt, lowest[i] the lowest seq of byFirst[i:].
	byFirst []*Send
	lowest  []uint64
	acks    rising // seqs of acks
	// firstAck is when a seq was first acked.
	firstAck map[uint64]Time
}

type messageKey struct{ sender, clientID string }

// span is a membership: who is a member receives the events from to to, both included. The last one is the removal.
type span struct{ from, to uint64 }

// forEver is the end of a span that has none.
const forEver = ^uint64(0)

func newPast(id string) *past {
	return &past{id: id, messages: map[messageKey][]uint64{}, own: map[string][]uint64{}, spans: map[string][]span{}, ackedAt: map[uint64]bool{},
		changes: map[string][]*Change{}, marks: map[string]*marks{},
		standings: map[string][]Standing{}, firstAck: map[uint64]Time{}, targets: map[uint64]*target{}, roles: map[string][]role{},
		erased: map[uint64]Time{}}
}

// final takes the history.
func (p *past) final(events []*Event) {
	p.read = events
	for _, e := range events {
		p.last = max(p.last, e.Seq)
	}
	p.events = make([]*Event, p.last)
	for _, e := range events {
		if e.Seq > 0 && p.events[e.Seq-1] == nil {
			p.events[e.Seq-1] = e
		}
	}
	for _, e := range p.events {
		if e != nil {
			p.follow(e)
		}
		switch {
		case e == nil:
		case e.isMessage():
			key := messageKey{e.Sender, e.ClientID}
			p.messages[key] = append(p.messages[key], e.Seq)
			p.own[e.Sender] = append(p.own[e.Sender], e.Seq)
		case e.Change == "created":
			for m := range strings.SplitSeq(e.Members, ",") {
				u, r, _ := strings.Cut(m, "=")
				p.enter(u, e.Seq)
				p.roles[u] = append(p.roles[u], role{e.Seq, r})
			}
		case e.Change == "member_added":
			p.enter(e.User, e.Seq)
			p.roles[e.User] = append(p.roles[e.User], role{e.Seq, e.Role})
		case e.Change == "role":
			p.roles[e.User] = append(p.roles[e.User], role{e.Seq, e.Role})
		case e.Change == "member_removed":
			if s := p.spans[e.User]; len(s) > 0 && s[len(s)-1].to == forEver {
				s[len(s)-1].to = e.Seq
			}
		}
	}
}

func (p *past) enter(user string, seq uint64) {
	if s := p.spans[user]; len(s) == 0 || s[len(s)-1].to != forEver {
		p.spans[user] = append(s, span{seq, forEver})
	}
}

// index sorts by time what was recorded in any order.
func (p *past) index() {
	p.byFirst = slices.Clone(p.sends)
	slices.SortStableFunc(p.byFirst, func(a, b *Send) int { return cmp.Compare(a.first, b.first) })
	p.lowest = make([]uint64, len(p.byFirst))
	low := forEver
	for i, s := range slices.Backward(p.byFirst) {
		// Where an ack says something else, which is told as such, nothing follows.
		if at := p.messages[messageKey{s.sender, s.clientID}]; len(at) > 0 && (len(s.acks) == 0 || s.acks[0].seq == at[0]) {
			low = min(low, at[0])
		}
		p.lowest[i] = low
	}
	for _, s := range p.sends {
		for _, a := range s.acks {
			p.acks.add(a.at, a.seq)
			if at, ok := p.firstAck[a.seq]; !ok || a.at < at {
				p.firstAck[a.seq] = a.at
			}
		}
	}
	for _, a := range p.acts {
		if e := p.at(a.seq); a.outcome == Done && e != nil && p.answers(a, e) {
			p.acks.add(a.end, a.seq)
			if at, ok := p.firstAck[a.seq]; !ok || a.end < at {
				p.firstAck[a.seq] = a.end
			}
		}
	}
	p.acks.sort()
	for _, m := range p.marks {
		for _, m1 := range m.all {
			if m1.outcome == Done {
				m.ended.add(m1.end, m1.seq)
			}
			if m1.outcome != Refused {
				m.begun.add(m1.begin, m1.seq)
			}
		}
		m.ended.sort()
		m.begun.sort()
	}
	p.counts = make([]count, p.last+1)
	for seq := uint64(1); seq <= p.last; seq++ {
		now := p.counts[seq-1]
		switch e := p.at(seq); {
		case e == nil:
			now.missing++
		case e.isMessage():
			now.messages++
		}
		p.counts[seq] = now
	}
}

// count says how many messages there are, and how many seqs that the history lacks.
type count struct{ messages, missing uint64 }

// marks are what a person tried to mark as read.
type marks struct {
	all []*Mark
	// ended has the seqs of what was answered by the time of the answer, begun those of what may have been done by that of the
	// attempt.
	ended, begun rising
	// wrong says that a fault was found already.
	wrong bool
}

func (p *past) mark(m *Mark) {
	if p.marks[m.user] == nil {
		p.marks[m.user] = &marks{}
	}
	p.marks[m.user].all = append(p.marks[m.user].all, m)
}

// wrong remembers that a fault was found in the cursor of user.
func (p *past) wrong(user string) {
	if m := p.marks[user]; m != nil {
		m.wrong = true
	}
}

// rising are seqs by time, which tell the highest before a moment.
type rising struct{ at []ack }

func (r *rising) add(at Time, seq uint64) { r.at = append(r.at, ack{at, seq}) }

// sort is called between the last add and the first before.
func (r *rising) sort() {
	slices.SortFunc(r.at, func(a, b ack) int { return cmp.Compare(a.at, b.at) })
	high := uint64(0)
	for i := range r.at {
		high = max(high, r.at[i].seq)
		r.at[i].seq = high
	}
}

// before is the highest seq at a moment before at, zero if there is none.
func (r *rising) before(at Time) uint64 {
	i := sort.Search(len(r.at), func(i int) bool { return r.at[i].at >= at })
	if i == 0 {
		return 0
	}
	return r.at[i-1].seq
}

// at is the event at a seq, nil if the history lacks it.
func (p *past) at(seq uint64) *Event {
	if seq == 0 || seq > uint64(len(p.events)) {
		return nil
	}
	return p.events[seq-1]
}

// firstAfter is a seq from which on everything was appended after a moment: that of a message that was first sent then.
func (p *past) firstAfter(at Time) uint64 {
	i := sort.Search(len(p.byFirst), func(i int) bool { return p.byFirst[i].first > at })
	if i == len(p.byFirst) {
		return forEver
	}
	return p.lowest[i]
}

// ackedBefore is the highest seq of which anybody had an ack before a moment.
func (p *past) ackedBefore(at Time) uint64 { return p.acks.before(at) }

// hasRightAck tells whether what stands at a seq was acked there.
func (p *past) hasRightAck(seq uint64) bool {
	e := p.at(seq)
	return p.ackedAt[seq] && e != nil && (e.isMessage() || e.Target != 0)
}

// receives tells whether user is one of those whom the event at seq is for.
func (p *past) receives(user string, seq uint64) bool {
	spans := p.spans[user]
	i := sort.Search(len(spans), func(i int) bool { return spans[i].to >= seq })
	return i < len(spans) && spans[i].from <= seq
}

// isMember tells whether user may act at seq: the one whom it removes may not any more, unless they did it themselves.
func (p *past) isMember(user string, seq uint64) bool {
	return p.receives(user, seq) && p.receives(user, seq-1)
}

// entersAfter tells whether user becomes a member behind seq.
func (p *past) entersAfter(user string, seq uint64) bool {
	spans := p.spans[user]
	return len(spans) > 0 && spans[len(spans)-1].from > seq
}

// mayBeMember tells whether user can have been a member at a moment between begin and end, by what they asked for and were told: not
// before anybody began to add them, and not after a removal was answered until somebody began to add them again. Who was in the chat
// from its creation counts as added before the run.
func (p *past) mayBeMember(user string, begin, end Time) bool {
	gone, removed := Time(-1), false
	for _, c := range p.changes[user] {
		if !c.add && c.outcome == Done && c.end < begin && (!removed || c.begin > gone) {
			gone, removed = c.begin, true
		}
	}
	if !removed && len(p.spans[user]) > 0 && p.spans[user][0].from == 1 {
		return true
	}
	for _, c := range p.changes[user] {
		if c.add && c.outcome != Refused && c.begin <= end && (!removed || c.outcome == Unknown || c.end >= gone) {
			return true
		}
	}
	return false
}

// addBegun tells whether anybody had begun to add user before a moment.
func (p *past) addBegun(user string, at Time) bool {
	return slices.ContainsFunc(p.changes[user], func(c *Change) bool { return c.add && c.begin <= at })
}

// mayBeOwn tells whether a message of user stands at seq, as far as the history has it.
func (p *past) mayBeOwn(user string, seq uint64) bool {
	return p.at(seq) == nil || contains(p.own[user], seq)
}

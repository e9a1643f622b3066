package history

import (
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
	marks   map[string][]*Mark

	// byFirst are the sends by first attempt, lowest[i] the lowest seq of byFirst[i:].
	byFirst []*Send
	lowest  []uint64
	// acks are the acks by time, highest[i] the highest seq of acks[:i+1].
	acks    []ack
	highest []uint64
}

type messageKey struct{ sender, clientID string }

// span is a membership: who is a member receives the events from to to, both included. The last one is the removal.
type span struct{ from, to uint64 }

// forEver is the end of a span that has none.
const forEver = ^uint64(0)

func newPast(id string) *past {
	return &past{id: id, messages: map[messageKey][]uint64{}, own: map[string][]uint64{}, spans: map[string][]span{}, ackedAt: map[uint64]bool{},
		changes: map[string][]*Change{}, marks: map[string][]*Mark{}}
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
		switch {
		case e == nil:
		case e.isMessage():
			key := messageKey{e.Sender, e.ClientID}
			p.messages[key] = append(p.messages[key], e.Seq)
			p.own[e.Sender] = append(p.own[e.Sender], e.Seq)
		case e.Change == "created":
			for u := range strings.SplitSeq(e.Members, ",") {
				p.enter(u, e.Seq)
			}
		case e.Change == "member_added":
			p.enter(e.User, e.Seq)
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
	slices.SortStableFunc(p.byFirst, func(a, b *Send) int { return int(a.first - b.first) })
	p.lowest = make([]uint64, len(p.byFirst))
	low := forEver
	for i, s := range slices.Backward(p.byFirst) {
		if at := p.messages[messageKey{s.sender, s.clientID}]; len(at) > 0 {
			low = min(low, at[0])
		}
		p.lowest[i] = low
	}
	for _, s := range p.sends {
		p.acks = append(p.acks, s.acks...)
	}
	slices.SortFunc(p.acks, func(a, b ack) int { return int(a.at - b.at) })
	p.highest = make([]uint64, len(p.acks))
	high := uint64(0)
	for i, a := range p.acks {
		high = max(high, a.seq)
		p.highest[i] = high
	}
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
func (p *past) ackedBefore(at Time) uint64 {
	i := sort.Search(len(p.acks), func(i int) bool { return p.acks[i].at >= at })
	if i == 0 {
		return 0
	}
	return p.highest[i-1]
}

// hasRightAck tells whether what stands at a seq was acked there.
func (p *past) hasRightAck(seq uint64) bool {
	return p.ackedAt[seq] && p.at(seq) != nil && p.at(seq).isMessage()
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

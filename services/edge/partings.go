package edge

import (
	"slices"
	"time"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

const (
	// DefaultMoveGrace is how long somebody who was sent away still counts as online here: a client needs some time to come back
	// elsewhere, and nobody is to see it go and come meanwhile.
	DefaultMoveGrace = 3 * time.Second
	// partingsMax is how many people who left count as online yet; beyond it they are gone at once.
	partingsMax = 100_000
)

// partings are the people of whom a device left a moment ago: what that changes is told when they have had time to come back.
type partings struct {
	queue []parting // the first to be due at the beginning
	// last is when the last parting of each is due: an earlier one says nothing.
	last map[chat.UserID]time.Time
	// moved is how many in the queue were sent away.
	moved int
}

type parting struct {
	user  chat.UserID
	at    time.Time
	moved bool
}

// add is false where there is no room.
func (p *partings) add(x parting) bool {
	if len(p.queue) >= partingsMax {
		return false
	}
	i := len(p.queue)
	for i > 0 && p.queue[i-1].at.After(x.at) {
		i--
	}
	p.queue = slices.Insert(p.queue, i, x)
	if x.at.After(p.last[x.user]) {
		p.last[x.user] = x.at
	}
	if x.moved {
		p.moved++
	}
	return true
}

// due takes out whom nothing keeps any more.
func (p *partings) due(now time.Time) []chat.UserID {
	var out []chat.UserID
	n := 0
	for ; n < len(p.queue) && !p.queue[n].at.After(now); n++ {
		x := p.queue[n]
		if x.moved {
			p.moved--
		}
		if !p.last[x.user].After(x.at) {
			delete(p.last, x.user)
			out = append(out, x.user)
		}
	}
	if p.queue = p.queue[n:]; len(p.queue) == 0 {
		p.queue = nil // its array may be that of a storm
	}
	return out
}

// next is when the next is due; false where nobody waits.
func (p *partings) next() (time.Time, bool) {
	if len(p.queue) == 0 {
		return time.Time{}, false
	}
	return p.queue[0].at, true
}

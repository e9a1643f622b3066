package driver

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
)

// Checker knows of each sender, address and receiver what was sent, acknowledged and delivered, and finds what was lost, doubled or
// overtaken. Its methods are for any goroutine.
type Checker struct {
	mu    sync.Mutex
	lines map[lineKey]*Line // guarded by mu
	errs  []error           // guarded by mu; the first few
	bad   int               // guarded by mu; how many there were
}

type lineKey struct{ sender, address uint32 }

// maxTold is how many faults are told one by one.
const maxTold = 10

// NewChecker returns a Checker that knows of nobody.
func NewChecker() *Checker { return &Checker{lines: map[lineKey]*Line{}} }

// Line is what one sender sends to one address.
type Line struct {
	// Owner is whatever the scenario keeps of the line; it is set before anything is sent.
	Owner any

	check           *Checker
	sender, address uint32

	mu       sync.Mutex
	sent     uint32              // guarded by mu
	acked    map[uint32]bool     // guarded by mu; those above low
	low      uint32              // guarded by mu; all up to it are acknowledged
	receipts map[uint32]*receipt // guarded by mu; by receiver
}

// receipt is how far a receiver has a line.
type receipt struct {
	last    uint32          // the greatest number that came
	missing map[uint32]bool // those below it that did not
}

// Line registers that a sender sends to an address that leads to the receivers, and returns what tells of it.
func (c *Checker) Line(sender, address uint32, receivers ...uint32) *Line {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := lineKey{sender, address}
	l := c.lines[key]
	if l == nil {
		l = &Line{check: c, sender: sender, address: address, acked: map[uint32]bool{}, receipts: map[uint32]*receipt{}}
		c.lines[key] = l
	}
	for _, r := range receivers {
		if l.receipts[r] == nil {
			l.receipts[r] = &receipt{}
		}
	}
	return l
}

// Sent returns the number of the next message.
func (l *Line) Sent() uint32 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent++
	return l.sent
}

// Count is how many were sent.
func (l *Line) Count() uint32 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sent
}

// Acked says that the server took a message, and returns whether it did so for the first time.
func (l *Line) Acked(number uint32) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case number == 0 || number > l.sent:
		l.check.fault("%v: %d was acknowledged; only %d were sent", l, number, l.sent)
		return false
	case number <= l.low || l.acked[number]:
		l.check.fault("%v: %d was acknowledged twice", l, number)
		return false
	case number == l.low+1:
		for l.low++; len(l.acked) > 0 && l.acked[l.low+1]; l.low++ {
			delete(l.acked, l.low+1)
		}
	default:
		l.acked[number] = true
	}
	return true
}

// Delivered says that a receiver got a message, and returns its line. Where it should not have come, as it came before or is of nobody
// who was registered, it returns nil and keeps the fault for Finish.
func (c *Checker) Delivered(receiver uint32, s Stamp) *Line {
	c.mu.Lock()
	l := c.lines[lineKey{s.Sender, s.Address}]
	c.mu.Unlock()
	if l == nil {
		c.fault("receiver %d got a message of sender %d to address %d, of which nobody knows", receiver, s.Sender, s.Address)
		return nil
	}
	if !l.delivered(receiver, s.Number) {
		return nil
	}
	return l
}

func (l *Line) delivered(receiver, number uint32) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.receipts[receiver]
	switch {
	case r == nil:
		l.check.fault("%v: receiver %d got %d, which is not for it", l, receiver, number)
		return false
	case number == r.last+1 && number <= l.sent:
		r.last = number
		return true
	case number == 0 || number > l.sent:
		l.check.fault("%v: receiver %d got %d; only %d were sent", l, receiver, number, l.sent)
		return false
	case number > r.last:
		if r.missing == nil {
			r.missing = map[uint32]bool{}
		}
		for n := r.last + 1; n < number; n++ {
			r.missing[n] = true
		}
		r.last = number
		return true
	case r.missing[number]:
		delete(r.missing, number)
		l.check.fault("%v: %d was overtaken on its way to receiver %d", l, number, receiver)
		return true
	default:
		l.check.fault("%v: receiver %d got %d twice", l, receiver, number)
		return false
	}
}

// String names the line in faults.
func (l *Line) String() string { return fmt.Sprintf("sender %d to address %d", l.sender, l.address) }

func (c *Checker) all() []*Line {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Collect(maps.Values(c.lines))
}

// Settled tells whether all that was sent was acknowledged and delivered to everybody.
func (c *Checker) Settled() bool {
	for _, l := range c.all() {
		if !l.settled() {
			return false
		}
	}
	return true
}

func (l *Line) settled() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.low != l.sent {
		return false
	}
	for _, r := range l.receipts {
		if r.last != l.sent || len(r.missing) > 0 {
			return false
		}
	}
	return true
}

// Finish returns what was wrong: what was lost up to now, never acknowledged, doubled, overtaken, or of nobody.
func (c *Checker) Finish() error {
	for _, l := range c.all() {
		l.finish()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.bad > len(c.errs) {
		return errors.Join(append(c.errs, fmt.Errorf("and %d more", c.bad-len(c.errs)))...)
	}
	return errors.Join(c.errs...)
}

func (l *Line) finish() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if open := l.sent - l.low - uint32(len(l.acked)); open > 0 {
		l.check.fault("%v: %d of %d were never acknowledged", l, open, l.sent)
	}
	for receiver, r := range l.receipts {
		if lost := int(l.sent-r.last) + len(r.missing); lost > 0 {
			l.check.fault("%v: %d of %d were lost on their way to receiver %d", l, lost, l.sent, receiver)
		}
	}
}

// fault keeps what was wrong. The caller may hold the lock of a line, never that of c.
func (c *Checker) fault(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bad++
	if len(c.errs) < maxTold {
		c.errs = append(c.errs, fmt.Errorf(format, args...))
	}
}

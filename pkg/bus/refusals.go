package bus

import (
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// refusals knows what the broker refuses, so that it is logged once and not at every attempt.
type refusals struct {
	mu     sync.Mutex // guards the following fields
	last   string     // why it could not be reached
	denied map[string]time.Time
}

// How many denials are remembered, and for how long one is said to be in force.
const (
	maxDenied = 100
	deniedFor = 30 * time.Second
)

// isAnother tells whether the broker cannot be reached for another reason than before.
func (r *refusals) isAnother(err error) bool {
	if err == nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	text := err.Error()
	if text == r.last {
		return false
	}
	r.last = text
	return true
}

// connected tells that the broker is there.
func (r *refusals) connected() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last = ""
}

// isNew tells whether an error is to be logged: a permission that is denied is told once.
func (r *refusals) isNew(err error) bool {
	if !errors.Is(err, nats.ErrPermissionViolation) {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	text := withoutPrefix(err)
	if _, known := r.denied[text]; !known && len(r.denied) >= maxDenied {
		clear(r.denied)
	}
	_, known := r.denied[text]
	if r.denied == nil {
		r.denied = map[string]time.Time{}
	}
	r.denied[text] = time.Now()
	return !known
}

// withoutPrefix is what the broker itself said of a permission.
func withoutPrefix(err error) string {
	return strings.TrimPrefix(err.Error(), nats.ErrPermissionViolation.Error()+": ")
}

// Denied is what the broker has last denied to this connection, within the last half a minute; empty for nothing.
func (b *Bus) Denied() (what string) {
	r := &b.refusals
	r.mu.Lock()
	defer r.mu.Unlock()
	last := time.Now().Add(-deniedFor)
	for text, at := range r.denied {
		if at.After(last) {
			what, last = text, at
		}
	}
	return what
}

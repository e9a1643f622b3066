// Package run owns the life of a process: the parts it is made of, what they wait for, and the pages on which operators
// look. It promises that a part that fails ends the process with its reason, and that every part has ended before Wait
// returns.
package run

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// Health knows what a process waits for. The zero value waits for nothing.
type Health struct {
	mu     sync.Mutex // guards the following fields
	checks []check
	notes  []check
	states map[string]string
}

type check struct {
	name string
	fn   func(context.Context) error
}

// Check adds something that is asked at each look at Waiting, for example whether a connection stands.
func (h *Health) Check(name string, fn func(context.Context) error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.checks = append(h.checks, check{name, fn})
}

// Note adds something that is asked at each look at Notes, and that operators are to know though nothing waits for it.
func (h *Health) Note(name string, fn func(context.Context) error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.notes = append(h.notes, check{name, fn})
}

// Notes lists what operators are to know though the process is ready, as "name: what", sorted.
func (h *Health) Notes(ctx context.Context) []string {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	h.mu.Lock()
	notes := slices.Clone(h.notes)
	h.mu.Unlock()
	var out []string
	for _, c := range notes {
		if err := c.fn(ctx); err != nil {
			out = append(out, fmt.Sprintf("%s: %v", c.name, err))
		}
	}
	slices.Sort(out)
	return out
}

// Set tells that the part named waits because of err, or with nil that it does not wait any more. The error must not hold
// user text or a secret.
func (h *Health) Set(name string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err == nil {
		delete(h.states, name)
		return
	}
	if h.states == nil {
		h.states = map[string]string{}
	}
	h.states[name] = err.Error()
}

// checkTimeout bounds one look.
const checkTimeout = 2 * time.Second

// Waiting lists what the process waits for, as "name: reason", sorted; nothing means that it is ready.
func (h *Health) Waiting(ctx context.Context) []string {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	h.mu.Lock()
	checks := slices.Clone(h.checks)
	out := make([]string, 0, len(h.states))
	for name, why := range h.states {
		out = append(out, name+": "+why)
	}
	h.mu.Unlock()
	for _, c := range checks {
		if err := c.fn(ctx); err != nil {
			out = append(out, fmt.Sprintf("%s: %v", c.name, err))
		}
	}
	slices.Sort(out)
	return out
}

// Err is Waiting as one error, nil when ready.
func (h *Health) Err(ctx context.Context) error {
	if w := h.Waiting(ctx); len(w) > 0 {
		return fmt.Errorf("waits for %s", strings.Join(w, "; "))
	}
	return nil
}

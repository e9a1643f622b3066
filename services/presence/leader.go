package presence

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/subject"
)

// leaderKey is held in the bucket of leases by the process that tells transitions.
const leaderKey = subject.PresenceLease

// leader knows whether this process leads.
type leader struct {
	changes *changes
	// until is when the leadership ends unless it is renewed, in nanoseconds since epoch; zero where there is none.
	until atomic.Int64
}

// epoch makes moments monotonic.
var epoch = time.Now()

// leads tells whether this process may act as the leader now. No other one may while it is true.
func (l *leader) leads() bool { return time.Since(epoch) < time.Duration(l.until.Load()) }

// set takes note of a lease that ends at a moment, or with the zero value that there is none.
func (l *leader) set(end time.Time) (changed bool) {
	until := int64(0)
	if !end.IsZero() {
		until = int64(end.Sub(epoch))
	}
	if changed = (l.until.Swap(until) > 0) != (until > 0); changed {
		l.changes.lead(until > 0)
	}
	return changed
}

// elect tries to lead until ctx ends, and then makes way.
func (s *Server) elect(ctx context.Context) {
	for {
		if _, err := s.lastTold(ctx); err == nil {
			break
		}
		if bus.Sleep(ctx, s.times.beat) != nil {
			return
		}
	}
	var revision uint64
	for {
		start := time.Now()
		try, cancel := context.WithTimeout(ctx, s.times.beat)
		at, err := s.c.Bus.Acquire(try, subject.Leases, leaderKey, []byte(s.c.Node), s.times.leader, revision)
		cancel()
		switch {
		case err == nil:
			revision = at
			// The broker's lease begins later than start; a tenth less leaves room for the clocks to differ in speed.
			if s.lead.set(start.Add(s.times.leader * 9 / 10)) {
				s.c.Logger.Info("leads presence")
			}
			s.changes.ring() // it may have stopped telling for a while
		case errors.Is(err, bus.ErrHeld) || !s.lead.leads():
			revision = 0
			if s.lead.set(time.Time{}) {
				s.c.Logger.Warn("does not lead presence any more", "error", err)
			}
		}
		if bus.Sleep(ctx, s.times.beat) != nil {
			break
		}
	}
	if s.lead.leads() && revision > 0 {
		bye, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		// Another process takes over at its next try; otherwise when the key has expired.
		_, _ = s.c.Bus.Publish(bye, bus.Removal(subject.Leases, leaderKey, revision))
	}
	s.lead.set(time.Time{})
}

// slack is how much earlier than its last sign of life a leader may have told its last transition.
const slack = 2 * time.Second

// past knows until when others have told what happened before this process came.
type past struct {
	mu    sync.Mutex // guards the following fields; held while the broker is asked
	known bool
	until time.Time
}

// lastTold is the moment up to which some earlier leader has surely told what happened; zero if there was none. It is read
// once, before this process leads for the first time. It fails with bus.ErrDown.
func (s *Server) lastTold(ctx context.Context) (time.Time, error) {
	s.past.mu.Lock()
	defer s.past.mu.Unlock()
	if s.past.known {
		return s.past.until, nil
	}
	msgs, err := s.c.Bus.LastFor(ctx, subject.KVStream(subject.Leases), subject.KV(subject.Leases, leaderKey))
	if err != nil {
		return time.Time{}, err
	}
	if s.past.known = true; len(msgs) == 1 {
		// The last beat; or what marks its end, which came a whole age later where the key has expired.
		s.past.until = msgs[0].Time.Add(-slack)
		if msgs[0].Header.Get(jetstream.MarkerReasonHeader) != "" {
			s.past.until = s.past.until.Add(-s.times.leader)
		}
	}
	return s.past.until, nil
}

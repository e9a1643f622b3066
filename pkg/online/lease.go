package online

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/subject"
)

// lease is the edge's key that is beaten. It belongs to the goroutine of beat.
type lease struct {
	*Reporter
	// revision of the last beat; zero while there is no lease of this life.
	revision uint64
	// born is that this life had the lease once.
	born bool
	// yielded is that another process holds the name.
	yielded bool
}

// beat keeps the lease alive until ctx ends.
func (l *lease) beat(ctx context.Context) {
	back := l.bus.Conn().StatusChanged(nats.CONNECTED)
	defer l.bus.Conn().RemoveStatusListener(back)
	every := l.ttl / 3
	timer := time.NewTimer(0)
	defer timer.Stop()
	reconnected := false
	for failures := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-back:
			reconnected = true
		case <-timer.C:
		}
		err := l.once(ctx, every, reconnected)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			if failures > 0 {
				l.log.Info("lease stands again")
			}
			reconnected, failures = false, 0
			timer.Reset(every)
		default:
			if failures == 0 {
				l.log.Warn("lease not renewed", "error", err)
			}
			timer.Reset(min(bus.Backoff(failures), every))
			failures++
		}
	}
}

// once renews the lease or takes it anew. reconnected says that the connection was lost since the last time.
func (l *lease) once(ctx context.Context, timeout time.Duration, reconnected bool) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	key := subject.LeaseKey(l.edge)
	if l.revision > 0 {
		before := l.revision
		at, err := l.bus.Renew(ctx, subject.Presence, key, l.value, l.ttl, before)
		switch {
		case err == nil:
			l.revision = at
			if reconnected {
				// A broker that crashed may have lost the end of its log. The lease's last beat is there, and so is all before it.
				l.putAgain(before)
			}
			return nil
		case !errors.Is(err, bus.ErrLost):
			return err
		}
		l.log.Warn("lease lost; it is taken anew and everybody is put again")
		l.revision = 0
	}
	at, err := l.bus.Acquire(ctx, subject.Presence, key, l.value, l.ttl, 0)
	if errors.Is(err, bus.ErrHeld) {
		at, err = l.held(ctx, key)
	}
	if err != nil || at == 0 {
		return err
	}
	l.revision, l.born, l.yielded = at, true, false
	l.putAgain(0)
	return nil
}

// held decides about a lease of the same name that another process holds. One that was there before this one is taken
// over: it is dead, or must make way. To one that came later this one makes way.
func (l *lease) held(ctx context.Context, key string) (uint64, error) {
	if l.born {
		if !l.yielded {
			l.yielded = true
			l.log.Error("another process has taken the name of this edge: nobody here counts as online")
			l.mu.Lock()
			l.leased = false
			l.mu.Unlock()
		}
		return 0, nil
	}
	if err := l.bus.PutFor(ctx, subject.Presence, key, l.value, l.ttl); err != nil {
		return 0, err
	}
	return l.bus.Renew(ctx, subject.Presence, key, l.value, l.ttl, 0)
}

// end takes the lease back. It is false if there was none, or somebody else has it.
func (l *lease) end(ctx context.Context) bool {
	if l.revision == 0 {
		return false
	}
	key := subject.LeaseKey(l.edge)
	// The answer to the last beat may have been lost with the end of Run: a last one tells the revision.
	at, err := l.bus.Renew(ctx, subject.Presence, key, l.value, l.ttl, l.revision)
	if err == nil {
		_, err = l.bus.Publish(ctx, bus.Removal(subject.Presence, key, at))
	}
	if err != nil {
		l.log.Warn("lease not taken back; it expires", "error", err)
	}
	return err == nil
}

// chunk is how many people are looked at while the lock is held.
const chunk = 1024

// putAgain makes the writer put every key again whose revision is above after or unknown.
func (r *Reporter) putAgain(after uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.leased = true
	r.again++
	n := 0
	// Others may change the map where the lock is given up; a range allows that. Who comes meanwhile stands in the queue.
	for user, h := range r.people {
		if h.maybe && (h.revision > after || h.revision == 0) {
			h.stored = gone
			r.people[user] = r.enqueue(user, h)
		}
		if n++; n%chunk == 0 {
			r.mu.Unlock()
			r.mu.Lock()
		}
	}
	r.ring()
}

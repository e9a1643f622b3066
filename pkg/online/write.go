package online

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/subject"
)

const (
	// batch is how many keys are on their way to the broker at once: few enough that somebody who comes while others are
	// written waits for milliseconds.
	batch = 256
	// turn is how many batches are written before it is looked at renewals.
	turn = 16
	// few is how many renewals go together.
	few = 64
	// writeTimeout bounds the wait for the broker's answers to a batch. What it dropped while it had no leader is never
	// answered.
	writeTimeout = 2 * time.Second
	// looks is how often within the age of a key it is looked for keys to renew. They are renewed between half and three
	// quarters of the age, at random, so that those who came together are not renewed together.
	looks = 24
)

// write carries wishes to the broker until ctx ends.
func (r *Reporter) write(ctx context.Context) {
	var age, every time.Duration // of the bucket's keys; between renewals of a few
	var renewals []chat.UserID
	look, renew := time.NewTimer(0), time.NewTimer(time.Hour)
	defer look.Stop()
	defer renew.Stop()
	for failures := 0; ; {
		var next []chat.UserID
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
		case <-look.C:
			if age == 0 {
				age = r.keyAge(ctx)
			}
			wait := time.Second
			if age > 0 {
				wait = age / looks
			}
			if age > 0 && len(renewals) == 0 {
				renewals = r.due(age)
				every = wait / time.Duration(len(renewals)/few+2)
				renew.Reset(every)
			}
			look.Reset(wait)
		case <-renew.C:
			n := min(few, len(renewals))
			next, renewals = renewals[:n], renewals[n:]
			if len(renewals) > 0 {
				renew.Reset(every)
			}
		}
		for n := 0; ctx.Err() == nil; n++ {
			if n == turn {
				r.ring() // there is more; but renewals have their turn
				break
			}
			ops, again := r.take(next)
			if next = nil; len(ops) == 0 {
				break
			}
			if r.flush(ctx, ops, again) {
				failures = 0
				continue
			}
			if failures == 0 && ctx.Err() == nil {
				r.log.Warn("keys not written; they are tried again", "keys", len(ops))
			}
			_ = bus.Sleep(ctx, bus.Backoff(failures))
			failures++
		}
	}
}

// keyAge is the age at which the bucket's keys expire; zero when it cannot be had now.
func (r *Reporter) keyAge(ctx context.Context) time.Duration {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	kv, err := r.bus.JetStream().KeyValue(ctx, subject.Presence)
	if err != nil {
		return 0
	}
	status, err := kv.Status(ctx)
	if err != nil {
		return 0
	}
	if status.TTL() == 0 {
		return 24 * time.Hour // keys never expire; renewing them does no harm
	}
	return status.TTL()
}

// due lists the keys to renew before the next look.
func (r *Reporter) due(age time.Duration) []chat.UserID {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	var out []chat.UserID
	n := 0
	for user, h := range r.people {
		if over := time.Duration(now-h.put)*tick - age/2; h.stored != gone && h.want != gone && over >= 0 {
			left := looks/4 - int(over*looks/age) // so many looks before three quarters
			if left <= 1 || rand.IntN(left) == 0 {
				out = append(out, user)
			}
		}
		if n++; n%chunk == 0 {
			r.mu.Unlock()
			r.mu.Lock()
		}
	}
	return out
}

// tick is the unit of hosted.put.
const tick = 100 * time.Millisecond

func (r *Reporter) now() uint32 { return uint32(time.Since(r.started) / tick) }

// op is a key on its way to the broker.
type op struct {
	user chat.UserID
	want wish // gone removes the key
	msg  *nats.Msg
}

// take returns what is to be written next: the front of the queue, then renewals. Nothing while there is no lease.
// The number is for flush.
func (r *Reporter) take(renewals []chat.UserID) ([]op, int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.leased {
		return nil, 0
	}
	var ops []op
	n := 0
	for ; n < len(r.queue) && len(ops) < batch; n++ {
		user := r.queue[n]
		h := r.people[user]
		h.queued = false
		switch {
		case h.want != gone && h.stored != h.want:
			ops = append(ops, r.put(user, h.want))
			h.maybe = true
		case h.want == gone && h.maybe:
			ops = append(ops, op{user, gone, bus.Removal(subject.Presence, subject.PresenceKey(user, r.edge), h.revision)})
		case h.want == gone:
			delete(r.people, user)
			continue
		}
		r.people[user] = h
	}
	if r.queue = r.queue[n:]; len(r.queue) == 0 {
		r.queue = nil // its array may be that of a storm
	}
	for _, user := range renewals {
		if h := r.people[user]; h.want != gone && h.stored != gone {
			ops = append(ops, r.put(user, h.want))
		}
	}
	return ops, r.again
}

func (r *Reporter) put(user chat.UserID, want wish) op {
	return op{user, want, &nats.Msg{Subject: subject.KV(subject.Presence, subject.PresenceKey(user, r.edge)), Data: r.values[want]}}
}

// flush publishes and waits for the answers. What was not stored is queued again; then it is false.
func (r *Reporter) flush(ctx context.Context, ops []op, again int) bool {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	msgs := make([]*nats.Msg, len(ops))
	for i := range ops {
		msgs[i] = ops[i].msg
	}
	acks, errs := r.bus.PublishAll(ctx, msgs)
	all := true
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, o := range ops {
		h := r.people[o.user]
		switch {
		case errs[i] == nil && o.want != gone:
			h.stored, h.revision, h.put = o.want, acks[i].Sequence, r.now()
			if again != r.again {
				h.stored = gone
				h = r.enqueue(o.user, h)
			}
		case errs[i] == nil, o.want == gone && replaced(errs[i]):
			h.stored, h.maybe, h.revision = gone, false, 0
			if h.want == gone && !h.queued {
				delete(r.people, o.user)
				continue
			}
		default:
			all = false
			h.stored = gone // or only the answer was lost: who has come meanwhile is put again
			if o.want != gone {
				h.revision = 0
			}
			h = r.enqueue(o.user, h)
		}
		r.people[o.user] = h
	}
	return all
}

// wrongLast is the broker's refusal of a message whose key has changed since.
const wrongLast = 10071

// replaced tells that a key was not removed because it is another's now, or had gone already.
func replaced(err error) bool {
	var refused *bus.Refusal
	return errors.As(err, &refused) && refused.Code == wrongLast
}

// removeAll removes as many keys as ctx allows.
func (r *Reporter) removeAll(ctx context.Context, people map[chat.UserID]hosted) {
	msgs := make([]*nats.Msg, 0, batch)
	for user, h := range people {
		if !h.maybe {
			continue
		}
		msgs = append(msgs, bus.Removal(subject.Presence, subject.PresenceKey(user, r.edge), h.revision))
		if len(msgs) == batch {
			r.bus.PublishAll(ctx, msgs)
			msgs = msgs[:0]
		}
		if ctx.Err() != nil {
			return
		}
	}
	r.bus.PublishAll(ctx, msgs)
}

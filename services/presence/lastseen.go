package presence

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/subject"
)

// lastSeen carries to its bucket when people were last online, the latest moment of each only.
type lastSeen struct {
	bus  *bus.Bus
	log  *slog.Logger
	wake chan struct{}

	mu      sync.Mutex // guards the following field
	pending map[chat.UserID]time.Time
}

func newLastSeen(b *bus.Bus, log *slog.Logger) *lastSeen {
	return &lastSeen{bus: b, log: log, wake: make(chan struct{}, 1), pending: map[chat.UserID]time.Time{}}
}

// add takes a moment to be written. It does not wait.
func (l *lastSeen) add(user chat.UserID, at time.Time) {
	l.mu.Lock()
	l.pending[user] = at
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

const (
	// seenBatch is how many moments are on their way to the broker at once, seenTimeout how long its answers are waited for: what
	// it dropped while it had no leader is never answered.
	seenBatch   = 256
	seenTimeout = 2 * time.Second
)

// write writes until ctx ends, and then for another second what is left.
func (l *lastSeen) write(ctx context.Context) {
	for failures := 0; ctx.Err() == nil; {
		select {
		case <-ctx.Done():
		case <-l.wake:
		}
		for ctx.Err() == nil {
			left, ok := l.some(ctx)
			if ok && left == 0 {
				failures = 0
				break
			}
			if ok {
				failures = 0
				continue
			}
			if failures == 0 {
				l.log.Warn("last seen not written; it is tried again")
			}
			_ = bus.Sleep(ctx, bus.Backoff(failures))
			failures++
		}
	}
	bye, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	for left, ok := 1, true; ok && left > 0; {
		left, ok = l.some(bye)
	}
}

// some writes a batch. It returns how many are left, and whether the whole batch was written.
func (l *lastSeen) some(ctx context.Context) (left int, ok bool) {
	ctx, cancel := context.WithTimeout(ctx, seenTimeout)
	defer cancel()
	var users []chat.UserID
	var times []time.Time
	var msgs []*nats.Msg
	l.mu.Lock()
	for user, at := range l.pending {
		users, times = append(users, user), append(times, at)
		msgs = append(msgs, &nats.Msg{Subject: subject.KV(subject.LastSeen, string(user)), Data: []byte(at.UTC().Format(time.RFC3339Nano))})
		if len(msgs) == seenBatch {
			break
		}
	}
	l.mu.Unlock()
	_, errs := l.bus.PublishAll(ctx, msgs)
	ok = true
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, user := range users {
		if errs[i] != nil {
			ok = false
		} else if l.pending[user].Equal(times[i]) {
			delete(l.pending, user)
		}
	}
	return len(l.pending), ok
}

// seenLookup is how many people are looked up with one request to the broker.
const seenLookup = 512

// of returns when people were last online, as far as that is known.
func (l *lastSeen) of(ctx context.Context, users []chat.UserID) (map[chat.UserID]chat.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, seenTimeout)
	defer cancel()
	out := make(map[chat.UserID]chat.Time, len(users))
	prefix := subject.KV(subject.LastSeen, "")
	for chunk := range slices.Chunk(users, seenLookup) {
		subjects := make([]string, len(chunk))
		for i, user := range chunk {
			subjects[i] = prefix + string(user)
		}
		msgs, err := l.bus.LastFor(ctx, subject.KVStream(subject.LastSeen), subjects...)
		if err != nil {
			return nil, err
		}
		for _, m := range msgs {
			if at, err := time.Parse(time.RFC3339Nano, string(m.Data)); err == nil {
				out[chat.UserID(strings.TrimPrefix(m.Subject, prefix))] = chat.TimeOf(at)
			}
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, user := range users {
		if at, ok := l.pending[user]; ok {
			out[user] = chat.TimeOf(at)
		}
	}
	return out, nil
}

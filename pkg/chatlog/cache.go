package chatlog

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// entry is a chat as this process knows it: right at some moment, never ahead of the log.
type entry struct {
	mu   sync.Mutex // guards the following fields
	snap Snapshot
	// stateAt is when the state was written to the broker.
	stateAt time.Time
	passed  passed
}

func (e *entry) get() (Snapshot, time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.snap, e.stateAt
}

// replace takes what was read if it is newer. The ids of what lies between are not known.
func (e *entry) replace(s Snapshot, stateAt time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if s.Head.Seq > e.snap.Head.Seq {
		e.passed.forget(s.Head.Seq)
	}
	if s.Head.Seq >= e.snap.Head.Seq {
		e.snap = s
		e.stateWritten(stateAt)
	}
}

// landed takes what was appended here behind the event before: its snapshot and message id, which is zero for a change.
func (e *entry) landed(before chat.Seq, s Snapshot, id ID, stateAt time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.snap.Head.Seq != before {
		return // what flows past was quicker, or tells later
	}
	e.snap = s
	e.stateWritten(stateAt)
	if id != 0 {
		e.passed.add(id, s.Head.Seq)
	}
}

func (e *entry) stateWritten(at time.Time) {
	if at.After(e.stateAt) {
		e.stateAt = at
	}
}

// remember puts a snapshot into the cache. A chat that does not exist is not remembered: strangers could fill the cache.
func (l *Log) remember(id chat.ID, s Snapshot, stateAt time.Time) {
	if !s.State.Exists() {
		return
	}
	if e, ok := l.cache.Get(id); ok {
		e.replace(s, stateAt)
		return
	}
	e := &entry{snap: s, stateAt: stateAt, passed: passed{total: l.ids, since: s.Head.Seq}}
	if evicted := l.cache.Add(id, e); evicted {
		l.m.evicted.Inc()
	}
}

// known returns the chat from the cache, or else from the broker; fresh tells which.
func (l *Log) known(ctx context.Context, id chat.ID) (s Snapshot, fresh bool, err error) {
	if e, ok := l.cache.Get(id); ok {
		l.m.hits.Inc()
		s, _ := e.get()
		return s, false, nil
	}
	l.m.misses.Inc()
	s, err = l.refresh(ctx, id)
	return s, true, err
}

// Known returns a chat as this process knows it, which may be some events old; a chat it does not know is read from the
// broker, or from Older. The state of a chat that does not exist is the zero state.
func (l *Log) Known(ctx context.Context, id chat.ID) (Snapshot, error) {
	s, _, err := l.known(ctx, id)
	return s, err
}

// Snapshot returns the newest head and state of a chat. It fails with NotFound or Unavailable.
func (l *Log) Snapshot(ctx context.Context, id chat.ID) (Snapshot, error) {
	s, err := l.refresh(ctx, id)
	if err != nil {
		return Snapshot{}, l.unavailable(err)
	}
	if !s.State.Exists() {
		return Snapshot{}, chat.Errorf(chat.NotFound, "no such chat")
	}
	return s, nil
}

// refresh reads head and state together from the broker, and from Older what has aged out of it.
func (l *Log) refresh(ctx context.Context, id chat.ID) (Snapshot, error) {
	p := l.Partition(id)
	msgs, err := l.bus.LastFor(ctx, subject.ChatStream(p), subject.LogAndState(p, id))
	if err != nil {
		return Snapshot{}, err
	}
	return l.assemble(ctx, id, msgs)
}

// assemble makes a snapshot of the last messages of a chat's subjects.
func (l *Log) assemble(ctx context.Context, id chat.ID, msgs []*bus.Msg) (Snapshot, error) {
	var s Snapshot
	var stateAt time.Time
	for _, m := range msgs {
		if strings.HasSuffix(m.Subject, ".state") {
			st, err := wire.DecodeState(m.Data)
			if err != nil {
				return s, err
			}
			s.State, stateAt = st, m.Time
			continue
		}
		var err error
		if s.Head, err = l.headAt(ctx, id, m); err != nil {
			return s, err
		}
	}
	if s.State == nil || s.Head.Seq == 0 {
		r, err := l.older.Record(ctx, id)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return s, err
		}
		if s.State == nil {
			s.State = r.State
		}
		if s.State == nil {
			s.State = &chat.State{}
		}
		if s.Head.Seq == 0 {
			// The expectation for the next append is that the subject is empty, or as it is.
			s.Head = Head{Seq: r.Seq, N: r.N, At: r.At, Stream: s.Head.Stream}
		}
	}
	if s.Head.Seq < s.State.Seq {
		return s, fmt.Errorf("chatlog: state %d is ahead of head %d in partition %d", s.State.Seq, s.Head.Seq, l.Partition(id))
	}
	l.keep(id, s, stateAt)
	return s, nil
}

// maxForeign bounds how many messages that are no events are skipped in search of the head.
const maxForeign = 100

// headAt is the head of a chat whose last message is m. What is no event, because somebody published it by hand, is skipped; the
// next append stands behind it all the same.
func (l *Log) headAt(ctx context.Context, id chat.ID, m *bus.Msg) (Head, error) {
	p, last := l.Partition(id), m.Sequence
	for n := 0; ; n++ {
		e, err := wire.DecodeEvent(m.Data)
		if seq, bad := seqOf(m); err == nil && bad == nil && e.Chat == id && e.Seq == seq {
			return Head{Seq: e.Seq, N: e.N, At: e.Time(), Stream: last, Body: m.Data}, nil
		}
		if m, err = l.bus.LastUpTo(ctx, subject.ChatStream(p), subject.Log(p, id), m.Sequence-1); errors.Is(err, bus.ErrNotFound) {
			return Head{Stream: last}, nil
		}
		if err != nil {
			return Head{}, err
		}
		if n == maxForeign {
			return Head{}, fmt.Errorf("chatlog: the last %d messages of a chat in partition %d are no events", n, p)
		}
	}
}

// keep remembers what was read, unless what is known follows up to it soon by itself: to jump would forget the message ids.
func (l *Log) keep(id chat.ID, s Snapshot, stateAt time.Time) {
	if e, ok := l.cache.Get(id); ok {
		if known, _ := e.get(); known.Head.Stream > 0 && s.Head.Seq > known.Head.Seq && s.Head.Seq-known.Head.Seq <= followLimit {
			return
		}
	}
	l.remember(id, s, stateAt)
}

// Bounds of Snapshots: how many chats one direct get asks for (two subjects each; the broker matches 1,024), and how many
// old chats are asked for at once.
const (
	snapshotsPerGet = 256
	olderAtOnce     = 16
)

// Snapshots returns the newest head and state of many chats; those that do not exist are left out.
func (l *Log) Snapshots(ctx context.Context, ids []chat.ID) (map[chat.ID]Snapshot, error) {
	byPart := make(map[int][]chat.ID)
	for _, id := range ids {
		p := l.Partition(id)
		byPart[p] = append(byPart[p], id)
	}
	out := make(map[chat.ID]Snapshot, len(ids))
	var mu sync.Mutex // guards out
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(olderAtOnce)
	for p, ids := range byPart {
		for len(ids) > 0 {
			some := ids[:min(len(ids), snapshotsPerGet)]
			ids = ids[len(some):]
			subjects := make([]string, len(some))
			for i, id := range some {
				subjects[i] = subject.LogAndState(p, id)
			}
			msgs, err := l.bus.LastFor(ctx, subject.ChatStream(p), subjects...)
			if err != nil {
				_ = g.Wait()
				return nil, l.unavailable(err)
			}
			byChat := make(map[chat.ID][]*bus.Msg, len(some))
			for _, m := range msgs {
				id := subject.ChatOf(m.Subject)
				byChat[id] = append(byChat[id], m)
			}
			for _, id := range some {
				g.Go(func() error {
					s, err := l.assemble(ctx, id, byChat[id])
					if err != nil {
						return err
					}
					if s.State.Exists() {
						mu.Lock()
						out[id] = s
						mu.Unlock()
					}
					return nil
				})
			}
		}
	}
	if err := g.Wait(); err != nil {
		return nil, l.unavailable(err)
	}
	return out, nil
}

// Observed is an event that flows past.
type Observed struct {
	Chat chat.ID
	Type chat.EventType
	Seq  chat.Seq
	// Stream is the event's sequence in its partition's stream; zero where it is not known.
	Stream uint64
	// ID is the id under which the broker knows it.
	ID   string
	Body []byte
}

// Observe tells the log of an event that flows past, so that what it knows of the chat stays fresh at no cost. It returns the
// chat after the event, and whether it is known.
func (l *Log) Observe(o Observed) (Snapshot, bool) {
	e, ok := l.cache.Peek(o.Chat)
	if !ok {
		return Snapshot{}, false
	}
	s, known := e.observe(o)
	if !known {
		l.cache.Remove(o.Chat) // something was missed
	}
	return s, known
}

// observe takes the next event, and tells whether it could.
func (e *entry) observe(o Observed) (Snapshot, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case o.Seq <= e.snap.Head.Seq:
		return e.snap, true
	case o.Seq > e.snap.Head.Seq+1 || o.Stream == 0:
		return Snapshot{}, false
	}
	next := Snapshot{Head: Head{Seq: o.Seq, N: e.snap.Head.N, At: chat.Now(), Stream: o.Stream}, State: e.snap.State}
	if o.Type == chat.Message {
		id := shortID(o.ID)
		if id == 0 {
			return Snapshot{}, false
		}
		next.Head.N++
		e.passed.add(id, o.Seq)
	} else {
		ev, err := wire.DecodeEvent(o.Body)
		if err == nil {
			next.State, err = e.snap.State.Apply(&ev)
		}
		if err != nil {
			return Snapshot{}, false
		}
		next.Head.N, e.stateAt = ev.N, time.Now()
	}
	e.snap = next
	return next, true
}

package chatlog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
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
	// weight is what the chat counts in used, which is nil where it is in no cache (any more).
	weight int64
	used   *atomic.Int64
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
		e.passed.begin(s.Head)
	}
	if s.Head.Seq >= e.snap.Head.Seq {
		e.take(s)
		e.stateWritten(stateAt)
	}
}

// take takes a snapshot. Who calls it holds mu.
func (e *entry) take(s Snapshot) {
	changed := s.State != e.snap.State
	e.snap = s
	if changed {
		e.weighAgain()
	}
}

// landed takes what was appended here behind the event before: its snapshot and message id, which is zero for a change.
func (e *entry) landed(before chat.Seq, s Snapshot, id ID, stateAt time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.snap.Head.Seq != before {
		return // what flows past was quicker, or tells later
	}
	e.take(s)
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
	s.Head.Body = nil // may be large, and is of use only to who has just read it
	if e, ok := l.cache.Get(id); ok {
		e.replace(s, stateAt)
		return
	}
	e := &entry{snap: s, stateAt: stateAt, passed: passed{total: l.ids}}
	e.passed.begin(s.Head)
	// The id may be a piece of something larger, which would be kept with it.
	there, evicted := l.cache.put(chat.ID(strings.Clone(string(id))), e)
	if there != nil {
		there.replace(s, stateAt)
	}
	l.m.evicted.Add(float64(evicted))
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
//
// A log that is behind what was known before the question has lost events, with its brokers' disks, say: what is known of the chat is
// forgotten, or nothing could be appended to it any more.
func (l *Log) refresh(ctx context.Context, id chat.ID) (Snapshot, error) {
	var before Snapshot
	if e, ok := l.cache.Peek(id); ok {
		before, _ = e.get()
	}
	p := l.Partition(id)
	msgs, err := l.last(ctx, id)
	if err != nil {
		return Snapshot{}, err
	}
	s, err := l.assemble(ctx, id, msgs)
	if err == nil && s.Head.Seq < before.Head.Seq {
		l.log.Error("log has lost events", "partition", p, "chat", id, "known", before.Head.Seq, "seq", s.Head.Seq)
		l.cache.Remove(id)
		l.remember(id, s, time.Time{})
	}
	return s, err
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
			h := Head{Seq: e.Seq, N: e.N, At: e.Time(), Stream: last, Body: m.Data}
			if e.Type == chat.Message && e.N == 1 {
				h.only = IDOf(id, e.Sender, e.ClientID)
			}
			return h, nil
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

// Snapshots returns the newest head and state of many chats; those that do not exist are left out. With an error comes what could be
// read all the same.
func (l *Log) Snapshots(ctx context.Context, ids []chat.ID) (map[chat.ID]Snapshot, error) {
	out := make(map[chat.ID]Snapshot, len(ids))
	var mu sync.Mutex // guards out and failed
	var failed error
	var g errgroup.Group
	g.SetLimit(olderAtOnce)
	note := func(id chat.ID, s Snapshot, err error) {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case err != nil:
			failed = cmp.Or(failed, err)
		case s.State.Exists():
			out[id] = s
		}
	}
	for p, ids := range l.byPartition(ids) {
		for some := range slices.Chunk(ids, snapshotsPerGet) {
			subjects := make([]string, len(some))
			for i, id := range some {
				subjects[i] = subject.LogAndState(p, id)
			}
			msgs, err := l.bus.LastFor(ctx, subject.ChatStream(p), subjects...)
			if err != nil {
				note("", Snapshot{}, err)
				break
			}
			byChat := make(map[chat.ID][]*bus.Msg, len(some))
			for _, m := range msgs {
				id := subject.ChatOf(m.Subject)
				byChat[id] = append(byChat[id], m)
			}
			for _, id := range some {
				g.Go(func() error {
					s, err := l.assemble(ctx, id, byChat[id])
					note(id, s, err)
					return nil
				})
			}
		}
	}
	_ = g.Wait() // each has noted its own
	if failed != nil {
		return out, l.unavailable(failed)
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
		if next.Head.N = ev.N; next.State != e.snap.State {
			e.stateAt = time.Now()
		}
	}
	e.take(next)
	return next, true
}

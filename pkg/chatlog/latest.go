package chatlog

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/subject"
)

// Bounds of Latest: how many heads one direct get asks for (with each comes the last event, so they are few), and how many
// partitions are asked at once.
const (
	headsPerGet  = 64
	latestAtOnce = 4
)

// Latest returns head and state of those of the chats whose last event is in the log. It is Snapshots at less cost: a state is read only
// where this process does not know that of the head, and what has aged out of the log is left out.
func (l *Log) Latest(ctx context.Context, ids []chat.ID) (map[chat.ID]Snapshot, error) {
	out := make(map[chat.ID]Snapshot, len(ids))
	var stale []chat.ID
	var mu sync.Mutex // guards out and stale
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(latestAtOnce)
	for p, ids := range l.byPartition(ids) {
		g.Go(func() error {
			for some := range slices.Chunk(ids, headsPerGet) {
				subjects := make([]string, len(some))
				for i, id := range some {
					subjects[i] = subject.Log(p, id)
				}
				msgs, err := l.bus.LastFor(gctx, subject.ChatStream(p), subjects...)
				if err != nil {
					return err
				}
				for _, m := range msgs {
					id := subject.ChatOf(m.Subject)
					s, known, err := l.latest(gctx, id, m)
					if err != nil {
						return err
					}
					mu.Lock()
					if known {
						out[id] = s
					} else {
						stale = append(stale, id)
					}
					mu.Unlock()
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, l.unavailable(err)
	}
	if len(stale) == 0 {
		return out, nil
	}
	more, err := l.Snapshots(ctx, stale)
	if err != nil {
		return nil, err
	}
	for id, s := range more {
		s.Head.Body = nil
		out[id] = s
	}
	return out, nil
}

// latest is the chat whose last message is m, where this process knows the state that goes with it.
func (l *Log) latest(ctx context.Context, id chat.ID, m *bus.Msg) (Snapshot, bool, error) {
	h, err := l.headAt(ctx, id, m)
	if err != nil {
		return Snapshot{}, false, err
	}
	h.Body = nil
	e, ok := l.cache.Get(id)
	if !ok {
		return Snapshot{}, false, nil
	}
	s, _ := e.get()
	if s.Head.Seq == h.Seq {
		s.Head = h
	}
	return s, s.Head.Seq >= h.Seq, nil
}

// FirstBehind returns the seq of a chat's first event behind a sequence of its partition's stream; zero where there is none. It may name an
// erased event before that sequence, never one too late.
func (l *Log) FirstBehind(ctx context.Context, id chat.ID, stream uint64) (chat.Seq, error) {
	p := l.Partition(id)
	name, subj := subject.ChatStream(p), subject.Log(p, id)
	next, err := l.bus.From(ctx, name, subj, stream+1, 1, 0)
	if err != nil {
		return 0, l.unavailable(err)
	}
	if len(next) == 0 {
		return 0, nil
	}
	if stream > 0 { // what was taken out of the log between both is behind it, too
		switch last, err := l.bus.LastUpTo(ctx, name, subj, stream); {
		case err == nil:
			if seq, err := seqOf(last); err == nil {
				return seq + 1, nil
			}
		case !errors.Is(err, bus.ErrNotFound):
			return 0, l.unavailable(err)
		}
	}
	for {
		if seq, err := seqOf(next[0]); err == nil {
			return seq, nil
		} // no event
		next, err = l.bus.From(ctx, name, subj, next[0].Sequence+1, 1, 0)
		if err != nil {
			return 0, l.unavailable(err)
		}
		if len(next) == 0 {
			return 0, nil
		}
	}
}

// End returns the last sequence of a partition's stream: what was appended before the call is not behind it.
func (l *Log) End(ctx context.Context, partition int) (uint64, error) {
	end, err := l.bus.End(ctx, subject.ChatStream(partition))
	if err != nil {
		return 0, l.unavailable(err)
	}
	return end, nil
}

// Retention is how long the broker keeps an event.
func (l *Log) Retention() time.Duration { return l.retention }

package chatlog

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// Chats that are not remembered are read together.

// loadAtOnce is how many chats one get asks for. The broker answers it before what else the connection has sent.
const loadAtOnce = 64

// loader reads the chats of one partition.
type loader struct {
	*gathered[*load]
	by map[chat.ID]*load // guarded by mu; those that wait
}

func newLoader() *loader {
	return &loader{gather[*load](loadAtOnce, 1, 0), map[chat.ID]*load{}}
}

// load is a chat that is read, for all who wait for it.
type load struct {
	id   chat.ID
	done chan struct{} // closed when the following fields are set
	msgs []*bus.Msg
	err  error
}

// last returns the last event and the state of a chat, as the broker has them after the call.
func (l *Log) last(ctx context.Context, id chat.ID) ([]*bus.Msg, error) {
	p := l.Partition(id)
	w, first := l.loads[p].read(id)
	if first {
		go l.loads[p].work(l.bus, p) // ends when nobody waits; Run waits for it
	}
	select {
	case <-w.done:
		return w.msgs, w.err
	case <-ctx.Done():
		return nil, fmt.Errorf("chatlog: read a chat: %w: %w", bus.ErrDown, ctx.Err())
	}
}

// read adds a chat to those that wait. Where nobody reads, who called it must let work begin.
func (d *loader) read(id chat.ID) (w *load, first bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if w := d.by[id]; w != nil {
		return w, false
	}
	w = &load{id: id, done: make(chan struct{})}
	d.by[id] = w
	return w, d.join(w, time.Time{}) // of one flight the time does not matter
}

// next takes those that are read next; none ends the work.
func (d *loader) next() []*load {
	d.mu.Lock()
	defer d.mu.Unlock()
	some := d.take(time.Time{})
	for _, w := range some {
		delete(d.by, w.id)
	}
	return some
}

// work reads as long as somebody waits. One get takes 5 s at most.
func (d *loader) work(b *bus.Bus, p int) {
	for some := d.next(); len(some) > 0; some = d.next() {
		subjects := make([]string, len(some))
		for i, w := range some {
			subjects[i] = subject.LogAndState(p, w.id)
		}
		msgs, err := b.LastFor(context.Background(), subject.ChatStream(p), subjects...)
		byChat := make(map[chat.ID][]*bus.Msg, len(some))
		for _, m := range msgs {
			id := subject.ChatOf(m.Subject)
			byChat[id] = append(byChat[id], m)
		}
		for _, w := range some {
			w.msgs, w.err = byChat[w.id], err
			close(w.done)
		}
	}
}

// Warm reads those of the chats that are not remembered, together, so that Known finds them. What cannot be read is left to Known.
func (l *Log) Warm(ctx context.Context, ids []chat.ID) {
	var cold []chat.ID
	seen := map[chat.ID]struct{}{}
	for _, id := range ids {
		if _, twice := seen[id]; !twice && !l.cache.Contains(id) {
			seen[id] = struct{}{}
			cold = append(cold, id)
		}
	}
	if len(cold) > 1 {
		l.m.misses.Add(float64(len(cold)))
		_, _ = l.Snapshots(ctx, cold)
	}
}

// statesPerGet is how many states one direct get asks for; the broker gives 1,024 messages for one.
const statesPerGet = 512

// WarmBehind reads, together, the states of those chats that are not remembered and of which events have come, in the order of their logs,
// so that Known finds each chat at its first of these events at least. A state that is read after the event came knows all changes up to
// it; so the last event of the chat need not be read. What cannot be read, or has changed since, is left to Known.
func (l *Log) WarmBehind(ctx context.Context, events []Observed) {
	first := map[chat.ID]Observed{}
	var ids []chat.ID
	for _, o := range events {
		if _, twice := first[o.Chat]; !twice && o.Stream > 0 && !l.cache.Contains(o.Chat) {
			first[o.Chat] = o
			ids = append(ids, o.Chat)
		}
	}
	for p, ids := range l.byPartition(ids) {
		for some := range slices.Chunk(ids, statesPerGet) {
			l.m.misses.Add(float64(len(some)))
			subjects := make([]string, len(some))
			for i, id := range some {
				subjects[i] = subject.State(p, id)
			}
			msgs, err := l.bus.LastFor(ctx, subject.ChatStream(p), subjects...)
			if err != nil {
				return
			}
			for _, m := range msgs {
				l.rememberAt(first[subject.ChatOf(m.Subject)], m)
			}
		}
	}
}

// rememberAt remembers a chat at an event, with the state that was read after it came, where both fit.
func (l *Log) rememberAt(o Observed, state *bus.Msg) {
	st, err := wire.DecodeState(state.Data)
	if err != nil || st.Chat != o.Chat || st.Seq > o.Seq {
		return
	}
	e, err := wire.DecodeEvent(o.Body)
	if err != nil || e.Chat != o.Chat || e.Seq != o.Seq {
		return
	}
	l.remember(o.Chat, Snapshot{Head: Head{Seq: e.Seq, N: e.N, At: e.Time(), Stream: o.Stream}, State: st}, state.Time)
}

package api

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"pgregory.net/rapid"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/chatlog"
	"github.com/chatmesh/chatmesh/pkg/meshtest"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// node is a further process with a log of its own, as an edge is: what a person does on one device goes through one, on another through
// another.
type node struct {
	log  *chatlog.Log
	stop func()
}

func (w *world) node() *node {
	w.t.Helper()
	l, err := chatlog.New(chatlog.Config{Bus: w.bus, Partitions: partitions, Older: w.api.older,
		Retention: meshtest.Layout(partitions).Retention, Logger: slog.New(slog.DiscardHandler)})
	check(w.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	return &node{l, sync.OnceFunc(func() { cancel(); check(w.t, <-done) })}
}

// redeliver writes a part of the streams into the store as a persister does. What was written before, past, comes again, later than what
// is newer.
func (w *world) redeliver(rt *rapid.T, id chat.ID, past *[]store.Batch) {
	ctx := context.Background()
	p := w.log.Partition(id)
	events, err := w.bus.From(ctx, subject.ChatStream(p), subject.Log(p, id), 1, 10_000, 0)
	check(w.t, err)
	cursors, err := w.bus.LastFor(ctx, subject.CursorStream(p), subject.CursorsOf(p, id))
	check(w.t, err)
	var parts []store.Batch
	if len(events) > 0 { // without holes up to somewhere, as batches are acked in order
		var b store.Batch
		for _, m := range events[:rapid.IntRange(1, len(events)).Draw(rt, "events")] {
			e, err := wire.DecodeEvent(m.Data)
			check(w.t, err)
			b.Events = append(b.Events, store.Entry{Event: e, Body: m.Data, Stream: m.Sequence})
		}
		parts = append(parts, b)
	}
	for _, m := range cursors {
		r, err := wire.DecodeCursor(m.Data)
		check(w.t, err)
		c := store.Cursor{Chat: r.Chat, User: r.User, Seq: r.Seq, N: r.N}
		if r.Type == wire.TypeDelivered {
			c = store.Cursor{Chat: r.Chat, User: r.User, Delivered: r.Seq}
		}
		parts = append(parts, store.Batch{Cursors: []store.Cursor{c}})
	}
	*past = append(*past, parts...)
	parts = append(parts, rapid.SliceOfN(rapid.SampledFrom(*past), 0, 4).Draw(rt, "again")...)
	for _, b := range rapid.Permutation(parts).Draw(rt, "order") {
		for range rapid.IntRange(1, 2).Draw(rt, "times") {
			check(w.t, w.store.Store.Write(ctx, b))
		}
	}
}

// forget takes the cursors of a chat from the broker, which keeps them for a month only.
func (w *world) forget(id chat.ID) {
	p := w.log.Partition(id)
	s, err := w.bus.JetStream().Stream(context.Background(), subject.CursorStream(p))
	check(w.t, err)
	check(w.t, s.Purge(context.Background(), jetstream.WithPurgeSubject(subject.CursorsOf(p, id))))
}

func TestUnreadAndReceiptsAreExactUnderAnyInterleavingOfDevicesRestartsAndRedeliveries(t *testing.T) {
	w := newWorld(t)
	p := w.people("ann", "ben", "cat")
	nodes := []*node{w.node(), w.node(), w.node()}
	defer func() {
		for _, n := range nodes {
			n.stop()
		}
	}()
	var sent atomic.Int64
	checks(t, 15)
	rapid.Check(t, func(rt *rapid.T) {
		id := p[0].group(p[1], p[2])
		m := &unreadModel{senders: []chat.UserID{""}, read: map[chat.UserID]int{}}
		has := map[chat.UserID]int{}
		var past []store.Batch
		var mu sync.Mutex // guards m and has
		for range rapid.IntRange(1, 6).Draw(rt, "rounds") {
			// Several devices at once.
			var wg sync.WaitGroup
			top := len(m.senders)
			for range rapid.IntRange(1, 8).Draw(rt, "at once") {
				who := rapid.SampledFrom(p).Draw(rt, "who")
				log := rapid.SampledFrom(nodes).Draw(rt, "node").log
				what := rapid.SampledFrom([]string{"send", "send", "read", "read", "delivered", "both"}).Draw(rt, "what")
				seq, more := rapid.IntRange(0, top).Draw(rt, "seq"), rapid.IntRange(0, top).Draw(rt, "more")
				wg.Go(func() {
					if what == "send" {
						r, err := log.Append(context.Background(), id, chat.Send{Sender: who.id, Text: "x",
							ClientID: chat.ClientID(fmt.Sprintf("i%d", sent.Add(1)))})
						check(w.t, err)
						mu.Lock()
						defer mu.Unlock()
						for len(m.senders) < int(r.Seq) {
							m.senders = append(m.senders, "")
						}
						m.senders[r.Seq-1] = who.id
						m.read[who.id] = max(m.read[who.id], int(r.Seq))
						return
					}
					move := chatlog.Move{Read: chat.Seq(seq)}
					switch what {
					case "delivered":
						move = chatlog.Move{Delivered: chat.Seq(seq)}
					case "both":
						move.Delivered = chat.Seq(more)
					}
					_, err := log.Mark(context.Background(), id, who.id, move)
					check(w.t, err)
					mu.Lock()
					defer mu.Unlock()
					m.read[who.id] = max(m.read[who.id], int(move.Read))
					has[who.id] = max(has[who.id], int(move.Delivered))
				})
			}
			wg.Wait()
			switch rapid.SampledFrom([]string{"nothing", "redeliver", "redeliver", "restart", "forget"}).Draw(rt, "then") {
			case "redeliver":
				w.redeliver(rt, id, &past)
			case "restart":
				i := rapid.IntRange(0, len(nodes)-1).Draw(rt, "which")
				nodes[i].stop()
				nodes[i] = w.node()
			case "forget":
				w.redeliver(rt, id, &past) // all cursors are in the store then
				w.forget(id)
			}
			snap, err := w.log.Snapshot(t.Context(), id)
			check(t, err)
			if snap.Head.Seq != chat.Seq(len(m.senders)) {
				rt.Fatalf("got head %d; want %d", snap.Head.Seq, len(m.senders))
			}
			cursors, err := w.api.cursorsOf(t.Context(), snap)
			check(t, err)
			for _, at := range cursors {
				now, err := w.api.standing(t.Context(), at.User, snap)
				check(t, err)
				if now.read != chat.Seq(m.read[at.User]) || now.unread != m.unread(at.User) {
					rt.Fatalf("got %d unread behind %d; want %d behind %d", now.unread, now.read, m.unread(at.User), m.read[at.User])
				}
				if at.Seq != now.read || at.Delivered != chat.Seq(max(m.read[at.User], has[at.User])) {
					rt.Fatalf("got receipt %+v; want read %d, delivered %d", at, now.read, max(m.read[at.User], has[at.User]))
				}
			}
		}
	})
}

package storetest

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/store"
)

// single returns a batch of each entry, state and cursor alone.
func single(b store.Batch) []store.Batch {
	var out []store.Batch
	for i := range b.Events {
		out = append(out, store.Batch{Events: b.Events[i : i+1]})
	}
	for i := range b.Erased {
		out = append(out, store.Batch{Erased: b.Erased[i : i+1]})
	}
	for i := range b.States {
		out = append(out, store.Batch{States: b.States[i : i+1]})
	}
	for i := range b.Cursors {
		out = append(out, store.Batch{Cursors: b.Cursors[i : i+1]})
	}
	return out
}

var sink = []test{
	{"AnEmptyBatchIsNoError", func(t *testing.T, s store.Store) {
		check(t, "Write", s.Write(t.Context(), store.Batch{}))
		check(t, "Link", s.Link(t.Context(), newChat(), 1))
	}},
	{"ABatchHoldsManyChats", func(t *testing.T, s store.Store) {
		w := newWorld(25, 3)
		b, m := w.history(8), newModel(w)
		check(t, "Write", s.Write(t.Context(), b))
		m.write(b)
		m.compare(t, s)
	}},
	{"ReplayingABatchChangesNothing", func(t *testing.T, s store.Store) {
		w := newWorld(2, 3)
		b, m := w.history(20), newModel(w)
		m.write(b)
		for range 3 {
			check(t, "Write", s.Write(t.Context(), b))
			m.compare(t, s)
		}
		check(t, "Write", s.Write(t.Context(), store.Batch{Events: slices.Concat(b.Events, b.Events), Erased: slices.Concat(b.Erased, b.Erased)}))
		m.compare(t, s)
	}},
	{"TheOrderOfWritesDoesNotMatter", func(t *testing.T, s store.Store) {
		w := newWorld(1, 3)
		b, m := w.history(20), newModel(w)
		m.write(b)
		parts := single(b)
		slices.Reverse(parts)
		for _, p := range parts {
			check(t, "Write", s.Write(t.Context(), p))
		}
		m.compare(t, s)
		for _, p := range parts {
			check(t, "Write", s.Write(t.Context(), p))
		}
		m.compare(t, s)
	}},
	{"AnEventThatIsThereIsNotChanged", func(t *testing.T, s store.Store) {
		id, user := newChat(), newUser()
		first := message(id, 1, 1, user)
		other := first
		// Later in the log, and greater: what stays, stays for neither reason.
		other.Body, other.Stream = []byte(`~{"other":true}`), first.Stream+1
		for _, e := range []store.Entry{first, other} {
			check(t, "Write", s.Write(t.Context(), store.Batch{Events: []store.Entry{e}}))
		}
		wantPage(t, s, id, store.Range{}, first.Body)
		// Also when the two meet in one batch.
		id = newChat()
		first.Event.Chat, other.Event.Chat = id, id
		check(t, "Write", s.Write(t.Context(), store.Batch{Events: []store.Entry{first, other}}))
		wantPage(t, s, id, store.Range{}, first.Body)
	}},
	{"WhatTheCallerDoesWithABodyAfterWriteDoesNotMatter", func(t *testing.T, s store.Store) {
		id := newChat()
		e := message(id, 1, 1, newUser())
		want := slices.Clone(e.Body)
		check(t, "Write", s.Write(t.Context(), store.Batch{Events: []store.Entry{e}}))
		clear(e.Body)
		wantPage(t, s, id, store.Range{}, want)
	}},
	{"ConcurrentWritersOfOneChatEndWhereOneWouldHave", func(t *testing.T, s store.Store) {
		w := newWorld(3, 4)
		b, m := w.history(30), newModel(w)
		m.write(b)
		parts := single(b)
		const writers = 6
		atOnce(writers, func(i int) {
			// Each writes a third of everything, from its own end: so all meet on the same rows, and nothing is left out.
			for j := range parts {
				at := (j + i*len(parts)/writers) % len(parts)
				if i%2 == 1 {
					at = len(parts) - 1 - at
				}
				if at%4 != 0 && at%writers != i {
					continue
				}
				if err := s.Write(t.Context(), parts[at]); err != nil {
					t.Errorf("Write: got error %v; want none", err)
				}
			}
		})
		m.compare(t, s)
	}},
	{"ConcurrentCursorsEndAtTheFurthest", func(t *testing.T, s store.Store) {
		const n = 24
		for range 5 {
			id, user := newChat(), newUser()
			atOnce(n, func(i int) {
				seq := chat.Seq(n - i)
				c := store.Cursor{Chat: id, User: user, Seq: seq, N: uint64(seq) * 2, Delivered: chat.Seq(2*i + 1)}
				if err := s.Write(t.Context(), store.Batch{Cursors: []store.Cursor{c}}); err != nil {
					t.Errorf("Write: got error %v; want none", err)
				}
			})
			wantCursor(t, s, store.Cursor{Chat: id, User: user, Seq: n, N: 2 * n, Delivered: 2*n - 1})
		}
	}},
}

// op is one write of the model test: a batch or a link.
type op struct {
	batch store.Batch
	chat  chat.ID
	seq   chat.Seq
	users []chat.UserID
}

func (o op) run(t tb, s store.Store, m *model) {
	if o.chat == "" {
		check(t, "Write", s.Write(t.Context(), o.batch))
		m.write(o.batch)
		return
	}
	check(t, "Link", s.Link(t.Context(), o.chat, o.seq, o.users...))
	m.link(o.chat, o.seq, o.users...)
}

// drawWorld lets random things happen in two chats of three people.
func drawWorld(t *rapid.T) *world {
	w := newWorld(2, 3)
	for _, id := range w.chats {
		for range rapid.IntRange(1, 18).Draw(t, "length") {
			w.happen(id, rapid.IntRange(0, things-1).Draw(t, "what"), rapid.IntRange(0, 2).Draw(t, "who"))
		}
	}
	return w
}

// drawOp picks any part of what happened, in any order.
func drawOp(t *rapid.T, w *world) op {
	id := rapid.SampledFrom(w.chats).Draw(t, "chat")
	log := w.logs[id]
	at := rapid.IntRange(1, len(log))
	user := rapid.IntRange(0, len(w.users)-1)
	if rapid.IntRange(0, 4).Draw(t, "link") == 0 {
		o := op{chat: id, seq: chat.Seq(at.Draw(t, "seq")), users: []chat.UserID{w.users[user.Draw(t, "user")]}}
		// Nobody is made a member by the event that removes them.
		if e := log[o.seq-1].Event; e.Change == chat.MemberRemoved && e.User == o.users[0] {
			o.users = nil
		}
		return o
	}
	var o op
	for range rapid.IntRange(0, 6).Draw(t, "events") {
		other := w.logs[rapid.SampledFrom(w.chats).Draw(t, "chat")]
		o.batch.Events = append(o.batch.Events, rapid.SampledFrom(other).Draw(t, "event"))
	}
	for range rapid.IntRange(0, 3).Draw(t, "erased") {
		if stubs := w.stubs[rapid.SampledFrom(w.chats).Draw(t, "chat")]; len(stubs) > 0 {
			e := rapid.SampledFrom(stubs).Draw(t, "stub")
			if rapid.IntRange(0, 3).Draw(t, "unknown") == 0 {
				e.Stream = 0
			}
			if rapid.IntRange(0, 3).Draw(t, "among events") == 0 {
				o.batch.Events = append(o.batch.Events, e)
			} else {
				o.batch.Erased = append(o.batch.Erased, e)
			}
		}
	}
	for range rapid.IntRange(0, 2).Draw(t, "states") {
		o.batch.States = append(o.batch.States, rapid.SampledFrom(w.states[id]).Draw(t, "state"))
	}
	for range rapid.IntRange(0, 2).Draw(t, "cursors") {
		c := w.cursor(id, user.Draw(t, "user"), at.Draw(t, "seq"))
		c.Delivered = chat.Seq(rapid.IntRange(0, len(log)).Draw(t, "delivered"))
		if rapid.IntRange(0, 3).Draw(t, "delivered only") == 0 {
			c.Seq, c.N = 0, 0
		}
		o.batch.Cursors = append(o.batch.Cursors, c)
	}
	return o
}

func drawRange(t *rapid.T) store.Range {
	seq := rapid.IntRange(0, 20)
	return store.Range{
		After: chat.Seq(seq.Draw(t, "after")), Before: chat.Seq(seq.Draw(t, "before")),
		Forward: rapid.Bool().Draw(t, "forward"), Limit: rapid.IntRange(0, 5).Draw(t, "limit"),
		MaxBytes: rapid.SampledFrom([]int{0, 0, 1, 300, 700}).Draw(t, "max bytes"),
	}
}

var models = []test{
	{"TheStoreIsAFunctionOfTheSetOfWrites", func(t *testing.T, s store.Store) {
		rapid.Check(t, func(t *rapid.T) {
			w := drawWorld(t)
			m := newModel(w)
			ops := make([]op, rapid.IntRange(1, 8).Draw(t, "ops"))
			for i := range ops {
				ops[i] = drawOp(t, w)
			}
			// In any order, some never, some several times.
			for _, i := range rapid.SliceOfN(rapid.IntRange(0, len(ops)-1), 1, 12).Draw(t, "order") {
				ops[i].run(t, s, m)
			}
			m.compare(t, s)
			for range 8 {
				m.comparePage(t, s, rapid.SampledFrom(w.chats).Draw(t, "chat"), drawRange(t))
			}
		})
	}},
}

package chatlog

import (
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/trace"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// work is a chat within one commit: what it was before and what it is after the items planned so far.
type work struct {
	base, snap Snapshot
	stateAt    time.Time
}

// planned is an item with the messages that carry it out.
type planned struct {
	it   *item
	w    *work
	base Head
	// msgs are the events, of which there are so many, the stubs of what they erase, and the new state.
	msgs    []*nats.Msg
	events  int
	receipt Receipt
	after   Snapshot
	// refused is the refusal of an item that was decided on a state which is not durable yet.
	refused error
}

// plan decides each item on the state after those before it. What is refused on a durable state is answered at once.
func (c *committer) plan(items []*item) ([]*planned, map[chat.ID]*work) {
	works := make(map[chat.ID]*work, len(items))
	plan := make([]*planned, 0, len(items))
	for _, it := range items {
		if it.ctx.Err() != nil {
			it.finish(outcome{err: errStopped})
			continue
		}
		if it.behind != nil && it.behind.stuck {
			it.finish(outcome{err: errBefore})
			continue
		}
		w := works[it.id]
		if w == nil {
			w = &work{base: it.snap}
			if e, ok := c.log.cache.Get(it.id); ok {
				w.base, w.stateAt = e.get()
			}
			w.snap = w.base
			works[it.id] = w
		}
		p := &planned{it: it, w: w, base: w.snap.Head}
		events, err := it.cmd.Decide(w.snap.State)
		switch {
		case err == nil && len(events) == 0:
			p.receipt = Receipt{Chat: it.id, State: w.snap.State}
		case err == nil:
			err = c.build(p, events)
		}
		durable := w.snap.Head.Seq == w.base.Head.Seq || len(p.msgs) > 0
		if (err != nil || len(p.msgs) == 0) && durable {
			it.finish(outcome{receipt: p.receipt, base: p.base, err: err})
			continue
		}
		p.refused, it.stuck = err, err != nil
		plan = append(plan, p)
	}
	return plan, works
}

// build makes the messages of an item: its events and, where they change it, the whole new state.
func (c *committer) build(p *planned, events []chat.Event) error {
	it, w := p.it, p.w
	next := w.snap
	changed := false
	var msgs, stubs []*nats.Msg
	for i := range events {
		e := &events[i]
		e.Chat, e.Seq, e.N = it.id, next.Head.Seq+1, next.Head.N
		if e.Type == chat.Message {
			e.N++
			e.SentAt = &it.at
		} else {
			e.At = &it.at
		}
		st, err := next.State.Apply(e)
		if err != nil {
			return fmt.Errorf("chatlog: decided what cannot follow: %w", err)
		}
		changed = changed || st != next.State
		m := &nats.Msg{Subject: subject.Log(c.partition, it.id), Data: wire.EncodeEvent(e), Header: nats.Header{}}
		key := it.key
		if i > 0 {
			key += "." + strconv.Itoa(i)
		}
		m.Header[jetstream.MsgIDHeader] = []string{key}
		m.Header[subject.HeaderSeq] = []string{strconv.FormatUint(uint64(e.Seq), 10)}
		trace.Mark(m.Header, it.span.Place())
		if w.snap.Head.Seq == w.base.Head.Seq && i == 0 {
			// Only the first event of a chat in a batch carries the expectation: the others stand directly behind it.
			m.Header[jetstream.ExpectedLastSubjSeqHeader] = []string{strconv.FormatUint(w.base.Head.Stream, 10)}
		}
		msgs = append(msgs, m)
		for _, gone := range e.Stubs {
			stubs = append(stubs, stubMsg(c.partition, gone.Stub(chat.Erasure{Seq: e.Seq, By: e.By, At: it.at})))
		}
		next = Snapshot{Head: Head{Seq: e.Seq, N: e.N, At: it.at, Body: m.Data}, State: st}
		if i == 0 {
			p.receipt = Receipt{Chat: it.id, Seq: e.Seq, SentAt: it.at}
		}
	}
	p.receipt.State = next.State
	p.events = len(msgs)
	msgs = append(msgs, stubs...)
	// A state that nears the age at which the broker forgets it is written again.
	if stale := !w.stateAt.IsZero() && time.Since(w.stateAt) > c.log.retention/2; changed || stale {
		s := &nats.Msg{Subject: subject.State(c.partition, it.id), Data: wire.Encode(next.State), Header: nats.Header{}}
		s.Header[jetstream.MsgRollup] = []string{jetstream.MsgRollupSubject}
		s.Header[subject.HeaderSeq] = []string{strconv.FormatUint(uint64(next.Head.Seq), 10)}
		msgs = append(msgs, s)
		w.stateAt = time.Now()
	}
	p.msgs, p.after, w.snap = msgs, next, next
	return nil
}

// together tells whether the plan goes out as one atomic batch: where there is company enough to pay for it, or where one
// item or chat needs several messages.
func (c *committer) together(plan []*planned, works map[chat.ID]*work) bool {
	if len(plan) >= batchFrom {
		return true
	}
	for _, p := range plan {
		if len(p.msgs) != 1 {
			return true
		}
	}
	n := 0
	for _, w := range works {
		if w.snap.Head.Seq != w.base.Head.Seq {
			n++
		}
	}
	return n < len(plan) // a chat has two
}

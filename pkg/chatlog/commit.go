package chatlog

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// Bounds of a committer.
const (
	// queueItems and queueBytes bound what waits in a partition; beyond them an append is refused with Unavailable.
	queueItems = 8192
	queueBytes = 64 << 20
	// commitItems and commitBytes bound one commit.
	commitItems = 400
	commitBytes = 8 << 20
	// batchFrom is how many appends must wait for an atomic batch to be faster than publishing them one by one.
	batchFrom = 12
	// commitTimeout is how long the broker may take. What is not answered by then is in doubt.
	commitTimeout = 5 * time.Second
)

var (
	// errFull says that the queue of the partition is full: nothing was published.
	errFull = errors.New("chatlog: queue full")
	// errBehind says that the store is so far behind that the log may forget what it does not have.
	errBehind = errors.New("the store is too far behind the log")
	// errStopped says that nobody waits for the outcome any more.
	errStopped = errors.New("chatlog: stopped")
	// errDoubt says that the append may or may not stand.
	errDoubt = errors.New("chatlog: in doubt")
)

// item is an append that waits.
type item struct {
	ctx  context.Context
	id   chat.ID
	cmd  chat.Command
	key  string
	at   chat.Time
	size int
	snap Snapshot
	done chan outcome
}

// outcome is what became of an item. duplicateAt is the stream sequence of a message with the same id, if the broker said so;
// base is the head on which the command was decided.
type outcome struct {
	receipt     Receipt
	duplicateAt uint64
	base        Head
	err         error
}

// committer appends to the chats of one partition: what waits at the same time goes out together, one commit after the other.
type committer struct {
	log       *Log
	partition int
	single    bool
	in        chan *item
	bytes     atomic.Int64
	// stopped says that nothing may be appended for now (guard.go).
	stopped atomic.Bool
	closed  chan struct{}
}

func newCommitter(l *Log, partition int, single bool) *committer {
	return &committer{log: l, partition: partition, single: single, in: make(chan *item, queueItems), closed: make(chan struct{})}
}

func randomID() string { return nuid.Next() }

// submit waits for the outcome of an item, or for the end of its context.
func (c *committer) submit(it *item) outcome {
	if c.stopped.Load() {
		return outcome{err: errBehind}
	}
	if c.single {
		c.commit([]*item{it})
		return <-it.done
	}
	if c.bytes.Add(int64(it.size)) > queueBytes {
		c.bytes.Add(-int64(it.size))
		return outcome{err: errFull}
	}
	select {
	case c.in <- it:
	case <-c.closed:
		c.bytes.Add(-int64(it.size))
		return outcome{err: errStopped}
	default:
		c.bytes.Add(-int64(it.size))
		return outcome{err: errFull}
	}
	select {
	case out := <-it.done:
		return out
	case <-it.ctx.Done():
		return outcome{err: errStopped}
	case <-c.closed:
		select {
		case out := <-it.done:
			return out
		default:
			return outcome{err: errStopped}
		}
	}
}

func (c *committer) run(ctx context.Context) {
	defer close(c.closed)
	batch := make([]*item, 0, commitItems)
	for {
		batch = batch[:0]
		size := 0
		take := func(it *item) {
			c.bytes.Add(-int64(it.size))
			size += it.size
			batch = append(batch, it)
		}
		select {
		case <-ctx.Done():
			return
		case it := <-c.in:
			take(it)
		}
	more:
		for len(batch) < commitItems && size < commitBytes {
			select {
			case it := <-c.in:
				take(it)
			default:
				break more
			}
		}
		c.commit(batch)
	}
}

// work is a chat within one commit: what it was before and what it is after the items planned so far.
type work struct {
	base, snap Snapshot
	stateAt    time.Time
}

// planned is an item with the messages that carry it out.
type planned struct {
	it      *item
	w       *work
	base    Head
	msgs    []*nats.Msg
	receipt Receipt
	after   Snapshot
	// refused is the refusal of an item that was decided on a state which is not durable yet.
	refused error
}

// commit carries items out, and answers each.
func (c *committer) commit(items []*item) {
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	defer cancel()
	start := time.Now()
	defer func() { c.log.m.commitSeconds.Observe(time.Since(start).Seconds()) }()
	for round := 0; len(items) > 0; round++ {
		plan, works := c.plan(items)
		if len(plan) == 0 {
			return
		}
		if !c.together(plan, works) {
			c.oneByOne(ctx, plan)
			return
		}
		items = c.atOnce(ctx, plan, works, round)
	}
}

// plan decides each item on the state after those before it. What is refused on a durable state is answered at once.
func (c *committer) plan(items []*item) ([]*planned, map[chat.ID]*work) {
	works := make(map[chat.ID]*work, len(items))
	plan := make([]*planned, 0, len(items))
	for _, it := range items {
		if it.ctx.Err() != nil {
			it.done <- outcome{err: errStopped}
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
			it.done <- outcome{receipt: p.receipt, base: p.base, err: err}
			continue
		}
		p.refused = err
		plan = append(plan, p)
	}
	return plan, works
}

// build makes the messages of an item: its events and, where they change it, the whole new state.
func (c *committer) build(p *planned, events []chat.Event) error {
	it, w := p.it, p.w
	next := w.snap
	changed := false
	var msgs []*nats.Msg
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
		m := &nats.Msg{Subject: subject.Log(c.partition, it.id), Data: wire.Encode(e), Header: nats.Header{}}
		key := it.key
		if i > 0 {
			key += "." + strconv.Itoa(i)
		}
		m.Header[jetstream.MsgIDHeader] = []string{key}
		m.Header[subject.HeaderSeq] = []string{strconv.FormatUint(uint64(e.Seq), 10)}
		if w.snap.Head.Seq == w.base.Head.Seq && i == 0 {
			// Only the first event of a chat in a batch carries the expectation: the others stand directly behind it.
			m.Header[jetstream.ExpectedLastSubjSeqHeader] = []string{strconv.FormatUint(w.base.Head.Stream, 10)}
		}
		msgs = append(msgs, m)
		next = Snapshot{Head: Head{Seq: e.Seq, N: e.N, At: it.at, Body: m.Data}, State: st}
		if i == 0 {
			p.receipt = Receipt{Chat: it.id, Seq: e.Seq, SentAt: it.at}
		}
	}
	p.receipt.State = next.State
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

// oneByOne publishes single messages of different chats beside each other.
func (c *committer) oneByOne(ctx context.Context, plan []*planned) {
	msgs := make([]*nats.Msg, len(plan))
	for i, p := range plan {
		msgs[i] = p.msgs[0]
	}
	acks, errs := c.log.bus.PublishAll(ctx, msgs)
	c.log.m.batch.Observe(1)
	for i, p := range plan {
		switch {
		case errs[i] != nil:
			c.refused(p, errs[i])
		case acks[i].Duplicate:
			p.it.done <- outcome{duplicateAt: acks[i].Sequence}
		default:
			c.landed(p, acks[i].Sequence)
		}
	}
}

// atOnce publishes the plan as one atomic batch. It returns the items that are to be planned again.
func (c *committer) atOnce(ctx context.Context, plan []*planned, works map[chat.ID]*work, round int) []*item {
	var msgs []*nats.Msg
	for _, p := range plan {
		msgs = append(msgs, p.msgs...)
	}
	if len(msgs) == 0 {
		return nil
	}
	ack, err := c.publish(ctx, msgs)
	if err == nil {
		c.log.m.batch.Observe(float64(len(msgs)))
		at := ack.Sequence - uint64(len(msgs))
		for _, p := range plan {
			if p.refused != nil || len(p.msgs) == 0 {
				p.it.done <- outcome{receipt: p.receipt, base: p.base, err: p.refused}
				continue
			}
			events := uint64(len(p.msgs))
			if p.msgs[events-1].Header.Get(jetstream.MsgRollup) != "" {
				events--
			}
			c.landed(p, at+events)
			at += uint64(len(p.msgs))
		}
		return nil
	}
	var refused *bus.Refusal
	if !errors.As(err, &refused) || round >= maxRounds || !isConflict(refused.Code) {
		for _, p := range plan {
			c.refused(p, err)
		}
		return nil
	}
	return c.isolate(ctx, plan, works, refused)
}

func (c *committer) publish(ctx context.Context, msgs []*nats.Msg) (bus.Ack, error) {
	if len(msgs) == 1 {
		return c.log.bus.Publish(ctx, msgs[0])
	}
	return c.log.bus.PublishAtomic(ctx, msgs)
}

// maxRounds bounds how often a batch is planned again without the chats in conflict.
const maxRounds = 3

// isolate finds which chats refused a batch for all: those whose last event is not the expected one any more. Their items are in
// doubt; the others are returned to be planned again. A duplicate is found by publishing each item alone.
func (c *committer) isolate(ctx context.Context, plan []*planned, works map[chat.ID]*work, why *bus.Refusal) []*item {
	if why.Code == codeDuplicateInBatch {
		for _, p := range plan {
			c.alone(ctx, p)
		}
		return nil
	}
	subjects := make([]string, 0, len(works))
	for id := range works {
		subjects = append(subjects, subject.Log(c.partition, id))
	}
	last, err := c.log.bus.LastFor(ctx, subject.ChatStream(c.partition), subjects...)
	if err != nil {
		for _, p := range plan {
			c.refused(p, err)
		}
		return nil
	}
	now := make(map[chat.ID]uint64, len(last))
	for _, m := range last {
		now[subject.ChatOf(m.Subject)] = m.Sequence
	}
	var again []*item
	for _, p := range plan {
		if now[p.it.id] == p.w.base.Head.Stream {
			again = append(again, p.it)
			continue
		}
		c.refused(p, why)
	}
	return again
}

// alone publishes one item of a batch that held a duplicate. An item that was planned on top of another of the same chat cannot
// go alone: it is in doubt and its caller tries again.
func (c *committer) alone(ctx context.Context, p *planned) {
	if len(p.msgs) == 0 || p.msgs[0].Header.Get(jetstream.ExpectedLastSubjSeqHeader) == "" {
		c.refused(p, errDoubt)
		return
	}
	for _, m := range p.msgs {
		m.Header.Del("Nats-Batch-Id")
		m.Header.Del("Nats-Batch-Sequence")
		m.Header.Del("Nats-Batch-Commit")
	}
	ack, err := c.publish(ctx, p.msgs)
	switch {
	case err != nil:
		c.refused(p, err)
	case ack.Duplicate:
		p.it.done <- outcome{duplicateAt: ack.Sequence}
	default:
		events := len(p.msgs)
		if p.msgs[events-1].Header.Get(jetstream.MsgRollup) != "" {
			ack.Sequence--
		}
		c.landed(p, ack.Sequence)
	}
}

// landed notes that an item stands; stream is the sequence of its last event.
func (c *committer) landed(p *planned, stream uint64) {
	p.after.Head.Stream = stream
	if e, ok := c.log.cache.Get(p.it.id); ok {
		e.landed(p.base.Seq, p.after, shortID(p.it.key), p.w.stateAt)
	} else {
		c.log.remember(p.it.id, p.after, p.w.stateAt)
	}
	c.log.m.appended.Inc()
	p.it.done <- outcome{receipt: p.receipt, base: p.base}
}

// refused notes that the broker did not store an item, or did not say. The caller finds out and tries again.
func (c *committer) refused(p *planned, err error) {
	p.it.done <- outcome{base: p.base, err: fmt.Errorf("%w: %w", errDoubt, err)}
}

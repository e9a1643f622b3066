package chatlog

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/trace"
)

// Bounds of a committer.
const (
	// queueItems and queueBytes bound what waits in a partition; beyond them an append is refused with Unavailable.
	queueItems = 8192
	queueBytes = 64 << 20
	// commitItems and commitBytes bound one commit.
	commitItems = 400
	// commitMsgs bounds the messages of one commit: the broker takes 1,000 in a batch.
	commitMsgs  = 900
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
	// errNoRoom says that the disk is nearly full: nothing was published.
	errNoRoom = errors.New("chatlog: no room")
	// errStopped says that nobody waits for the outcome any more.
	errStopped = errors.New("chatlog: stopped")
	// errDoubt says that the append may or may not stand.
	errDoubt = errors.New("chatlog: in doubt")
	// errBefore says that the one before it did not land: nothing was published.
	errBefore = errors.New("chatlog: the one before did not land")
)

// item is an append that waits.
type item struct {
	ctx  context.Context
	span trace.Span // off for most
	id   chat.ID
	cmd  chat.Command
	key  string
	at   chat.Time
	size int
	// msgs is how many messages it may take.
	msgs int
	snap Snapshot
	// behind is the one of the same caller and chat that comes before, nil for none.
	behind *item
	// stuck says that it did not land, so that those behind it must not; only commits use it, and one chat is in one commit at a time.
	stuck bool

	// out is the outcome once finished is true, and waits is told.
	out      outcome
	finished atomic.Bool
	waits    *waits
}

// waits are the items that one caller waits for.
type waits struct {
	left atomic.Int32
	done chan struct{}
}

func newWaits(n int) *waits {
	w := &waits{done: make(chan struct{})}
	w.left.Store(int32(n))
	return w
}

// skip says that one of them has its outcome.
func (w *waits) skip() {
	if w.left.Add(-1) == 0 {
		close(w.done)
	}
}

// wait waits until all have theirs, or for the end of ctx.
func (w *waits) wait(ctx context.Context) {
	select {
	case <-w.done:
	case <-ctx.Done():
	}
}

// finish gives an item its outcome, once.
func (it *item) finish(out outcome) {
	it.stuck = out.err != nil
	it.out = out
	it.finished.Store(true)
	it.waits.skip()
}

// outcome is what became of an item, or that nobody waits any more.
func (it *item) outcome() outcome {
	if it.finished.Load() {
		return it.out
	}
	return outcome{err: errStopped}
}

// outcome is what became of an item. duplicateAt is the stream sequence of a message with the same id, if the broker said so;
// base is the head on which the command was decided.
type outcome struct {
	receipt     Receipt
	duplicateAt uint64
	base        Head
	err         error
}

// committer appends to the chats of one partition: what waits at the same time goes out together.
type committer struct {
	log       *Log
	partition int
	single    bool
	// stopped says that nothing may be appended for now (guard.go).
	stopped atomic.Bool
	// flying are the commits under way.
	flying sync.WaitGroup

	mu sync.Mutex // guards the following fields
	// held are the items that wait, in the order in which they came, of size bytes together; ready is how many of them are of a chat
	// that no commit has under way.
	held      []*item
	bytes     int
	ready     int
	busy      map[chat.ID]struct{} // chats of the commits under way
	flights   int                  // how many there are
	lastTaken int                  // items of the last of them
	ended     bool
}

// Of the commits of a partition maxFlights are under way at the same time, of different chats: while the broker stores one, the
// next is made. The second must have secondFrom appends and half as many as the first: a batch costs the broker some milliseconds of CPU
// however small it is.
const (
	maxFlights = 2
	secondFrom = 64
)

func newCommitter(l *Log, partition int, single bool) *committer {
	return &committer{log: l, partition: partition, single: single, busy: map[chat.ID]struct{}{}}
}

func randomID() string { return nuid.Next() }

// submit waits until each item, which are of one caller, has an outcome, or for the end of ctx. Those of a chat land in their order, or
// from some on none does.
func (c *committer) submit(ctx context.Context, items []*item) {
	refuse := func(err error) {
		for _, it := range items {
			it.finish(outcome{err: err})
		}
	}
	if c.stopped.Load() {
		refuse(errBehind)
		return
	}
	if c.log.noRoom.Load() {
		refuse(errNoRoom)
		return
	}
	if c.single {
		for _, it := range items {
			c.commit([]*item{it})
		}
		return
	}
	size, msgs := 0, 0
	for _, it := range items {
		size += it.size
		msgs += it.msgs
	}
	c.mu.Lock()
	switch {
	case c.ended:
		c.mu.Unlock()
		refuse(errStopped)
		return
	case c.flights == 0 && len(c.held) == 0 && len(items) <= commitItems && size <= commitBytes && msgs <= commitMsgs && patient(ctx):
		c.launch(items) // nobody waits: who comes alone goes at once, in a goroutine that is there already
		c.mu.Unlock()
		c.fly(items)
		return
	case len(c.held)+len(items) > queueItems || c.bytes+size > queueBytes:
		c.mu.Unlock()
		refuse(errFull)
		return
	}
	c.held = append(c.held, items...)
	c.bytes += size
	for _, it := range items {
		if _, busy := c.busy[it.id]; !busy {
			c.ready++
		}
	}
	c.start()
	c.mu.Unlock()
}

// patient tells whether a caller has the time that a commit may take.
func patient(ctx context.Context) bool {
	end, bounded := ctx.Deadline()
	return !bounded || time.Until(end) > commitTimeout
}

// run waits for the end of ctx, refuses what waits and lets what is under way end.
func (c *committer) run(ctx context.Context) {
	<-ctx.Done()
	c.mu.Lock()
	c.ended = true
	for _, it := range c.held {
		it.finish(outcome{err: errStopped})
	}
	c.held, c.bytes, c.ready = nil, 0, 0
	c.mu.Unlock()
	c.flying.Wait()
}

// start begins commits of what waits, as many as may be under way. Who calls it holds mu.
func (c *committer) start() {
	for c.flights < maxFlights && c.ready > 0 {
		if c.flights > 0 && c.ready < max(secondFrom, c.lastTaken/2) {
			return
		}
		items := c.take()
		c.launch(items)
		go c.fly(items)
	}
}

// take takes items for a commit from those that wait, of chats that no other commit has. Who calls it holds mu.
func (c *committer) take() []*item {
	var items []*item
	size, msgs, rest, full := 0, 0, c.held[:0], false
	for _, it := range c.held {
		// What does not fit must not be overtaken by what does.
		full = full || len(items) == commitItems || size >= commitBytes || len(items) > 0 && msgs+it.msgs > commitMsgs
		if _, busy := c.busy[it.id]; busy || full {
			rest = append(rest, it)
			continue
		}
		msgs += it.msgs
		items = append(items, it)
		size += it.size
	}
	clear(c.held[len(rest):])
	c.held = rest
	c.bytes -= size
	return items
}

// launch notes that a commit begins. Who calls it holds mu.
func (c *committer) launch(items []*item) {
	for _, it := range items {
		c.busy[it.id] = struct{}{}
	}
	c.flights++
	c.lastTaken = len(items)
	c.flying.Add(1)
	c.count()
}

// count counts what is ready. Who calls it holds mu.
func (c *committer) count() {
	c.ready = 0
	for _, it := range c.held {
		if _, busy := c.busy[it.id]; !busy {
			c.ready++
		}
	}
}

// fly carries out a commit that was launched.
func (c *committer) fly(items []*item) {
	defer c.flying.Done()
	c.commit(items)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, it := range items {
		delete(c.busy, it.id)
	}
	c.flights--
	c.count()
	c.start()
}

// commit carries items out, and answers each.
func (c *committer) commit(items []*item) {
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	defer cancel()
	start := time.Now()
	defer func() { c.log.m.commitSeconds.Observe(time.Since(start).Seconds()) }()
	for round := 0; len(items) > 0; round++ {
		for _, it := range items {
			if it.span.On() {
				it.span.Event("commit", trace.Count(len(items)))
			}
		}
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
			p.it.finish(outcome{duplicateAt: acks[i].Sequence})
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
				p.it.finish(outcome{receipt: p.receipt, base: p.base, err: p.refused})
				continue
			}
			c.landed(p, at+uint64(p.events))
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
		p.it.finish(outcome{duplicateAt: ack.Sequence})
	default:
		c.landed(p, ack.Sequence-uint64(len(p.msgs)-p.events))
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
	if p.it.span.On() {
		p.it.span.Event("stored", trace.Stream(stream))
	}
	p.it.finish(outcome{receipt: p.receipt, base: p.base})
}

// refused notes that the broker did not store an item, or did not say. The caller finds out and tries again.
func (c *committer) refused(p *planned, err error) {
	p.it.finish(outcome{base: p.base, err: fmt.Errorf("%w: %w", errDoubt, err)})
}

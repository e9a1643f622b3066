package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/chatmesh/chatmesh/pkg/subject"
)

// Delivery is an event on its way to a worker.
type Delivery struct {
	jetstream.Msg
	// Stream is the sequence in the stream, Redelivered how often it was delivered before.
	Stream      uint64
	Redelivered uint64
	// Pending is how many more messages the stream has for this consumer.
	Pending uint64
}

// Worker takes what a consumer has for it, in batches.
type Worker struct {
	Stream, Consumer string
	// Batch is how many deliveries Handle gets at most; zero is 500.
	Batch int
	// Linger is how long the worker waits for more before it hands over a batch that is not full. Zero hands over what is there.
	Linger time.Duration
	// Handle does the work. Only when it returns nil are the deliveries acknowledged; otherwise the same batch is handled again
	// after a pause, for as long as it takes. It decides itself about what can never be handled (see DeadLetter).
	Handle func(ctx context.Context, batch []Delivery) error
	// OnActive, if set, is called before the first batch after this worker became the active one. The messages with stream
	// sequences from first to last may have been delivered to the worker before it, who did not acknowledge them: the broker
	// delivers them again only after a while. Where last is less than first there are none.
	OnActive func(ctx context.Context, first, last uint64) error
	// OnIdle, if set, is called whenever the worker has given up what it worked on: another may be the active one from then on.
	OnIdle func()
	// OnState, if set, is told of each failure and, with nil, of each success after one.
	OnState func(err error)
	// Shares, if set, say on which node the worker of Partition is to work. The others hold back as long as it does. Nil lets the
	// first that comes work.
	Shares    *Shares
	Partition int
}

// Work runs a worker until ctx ends. Of all workers of the same consumer one is active at a time (it is pinned); the others
// wait and one of them takes over within seconds when it falls silent. With Shares, it makes room for a worker whose share the
// partition is. When the broker goes away, it waits for it.
func (b *Bus) Work(ctx context.Context, w Worker) error {
	if w.Batch == 0 {
		w.Batch = 500
	}
	tell, failing := w.OnState, false
	w.OnState = func(err error) {
		if tell != nil && (err != nil || failing) {
			tell(err)
		}
		failing = err != nil
	}
	var kept []Delivery
	t := &turn{shares: w.Shares, partition: w.Partition}
	for n := 0; ; n++ {
		if t.await(ctx, b, w) != nil {
			return nil
		}
		started := time.Now()
		var err error
		kept, err = b.work(ctx, w, kept, t)
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, errYield) {
			b.log.Debug("worker makes room", "stream", w.Stream, "consumer", w.Consumer)
			n = -1
			continue
		}
		w.OnState(err)
		b.log.Warn("worker starts again", "stream", w.Stream, "consumer", w.Consumer, "error", err)
		if time.Since(started) > time.Minute {
			n = 0
		}
		if Sleep(ctx, Backoff(n)) != nil {
			return nil
		}
	}
}

// Expiry of a pull must lie well under pinTTL: a pull is what keeps the worker pinned.
const (
	pullExpiry    = 1500 * time.Millisecond
	pullHeartbeat = 500 * time.Millisecond
)

// work works until something fails. It gives back first what was kept while the broker was away, and returns what is now.
func (b *Bus) work(ctx context.Context, w Worker, kept []Delivery, t *turn) (keep []Delivery, err error) {
	setup, cancel := within(ctx, requestTimeout)
	cons, err := b.js.Consumer(setup, w.Stream, w.Consumer)
	cancel()
	if err != nil {
		return kept, fmt.Errorf("%w: consumer %s of %s: %w", ErrDown, w.Consumer, w.Stream, err)
	}
	k, err := b.settle(ctx, w, cons.CachedInfo().Config.MemoryStorage)
	if err != nil {
		return kept, err
	}
	for _, d := range kept {
		_ = d.Nak()
	}
	// The buffer holds all that can be unacknowledged, so that the callback blocks on redeliveries only; the broker then
	// stops sending.
	in := make(chan Delivery, MaxPending)
	failed := make(chan error, 1)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	cc, err := cons.Consume(func(m jetstream.Msg) {
		d := Delivery{Msg: m}
		if meta, err := m.Metadata(); err == nil {
			d.Stream, d.Redelivered, d.Pending = meta.Sequence.Stream, meta.NumDelivered-1, meta.NumPending
		}
		select {
		case <-ctx.Done():
			_ = m.Nak() // for whoever is next
			return
		default:
		}
		select {
		case in <- d:
		case <-ctx.Done():
			_ = m.Nak()
		}
	}, jetstream.PullMaxMessages(MaxPending/2), jetstream.PullExpiry(pullExpiry), jetstream.PullHeartbeat(pullHeartbeat),
		jetstream.PullPriorityGroup(subject.PinGroup),
		jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) {
			// Missing heartbeats and a changed pin pass by themselves. What ends the consumption must not end it silently.
			if errors.Is(err, jetstream.ErrConsumerDeleted) || errors.Is(err, jetstream.ErrBadRequest) ||
				errors.Is(err, jetstream.ErrConnectionClosed) || errors.Is(err, jetstream.ErrConsumerNotFound) {
				select {
				case failed <- err:
				default:
				}
			}
		}))
	if err != nil {
		return nil, fmt.Errorf("%w: consume %s of %s: %w", ErrDown, w.Consumer, w.Stream, err)
	}
	w.OnState(nil) // there may be no event for long
	pin := ""
	batch := make([]Delivery, 0, w.Batch)
	yield, watched := t.watch(ctx)
	var keeping sync.WaitGroup
	if k != nil {
		keeping.Go(func() {
			if err := k.run(ctx); err != nil {
				select {
				case failed <- err:
				default:
				}
			}
		})
	}
	defer func() {
		stop()
		watched()
		keeping.Wait()
		k.last()
		keep = b.handOver(cc, batch, in, w, pin)
		if w.OnIdle != nil {
			w.OnIdle()
		}
	}()
	for {
		batch = batch[:0]
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case err := <-failed:
			return nil, err
		case <-cc.Closed():
			return nil, errors.New("bus: consumption ended")
		case <-yield:
			return nil, errYield
		case d := <-in:
			batch = append(batch, d)
		}
		batch = w.gather(ctx, batch, in)
		// Behind a new pin there may be what was before it was forgotten: the last one says.
		if now := batch[len(batch)-1].Headers().Get(pinHeader); now != pin {
			pin = now
			if err := b.active(ctx, w, cons, k, batch[0].Stream); err != nil {
				return nil, err
			}
		}
		if err := b.handle(ctx, w, batch, yield); err != nil {
			return nil, err
		}
		if k != nil {
			k.acked.Store(true)
		}
	}
}

// gather adds what is there, or comes within Linger, to a batch. What it was given waits no longer where ctx ends.
func (w *Worker) gather(ctx context.Context, batch []Delivery, in <-chan Delivery) []Delivery {
	var late <-chan time.Time
	for len(batch) < w.Batch {
		select {
		case d := <-in:
			batch = append(batch, d)
			continue
		default:
		}
		if w.Linger <= 0 {
			break
		}
		if late == nil {
			t := time.NewTimer(w.Linger)
			defer t.Stop()
			late = t.C
		}
		select {
		case d := <-in:
			batch = append(batch, d)
			continue
		case <-late:
		case <-ctx.Done():
		}
		break
	}
	return batch
}

// pinHeader names, on each delivery, the worker that is pinned.
const pinHeader = "Nats-Pin-Id"

// active tells the worker what its predecessor may have left undone. It fails with errMoved where the consumer forgot what came before: a broker
// that forgets it forgets who was pinned as well.
func (b *Bus) active(ctx context.Context, w Worker, cons jetstream.Consumer, k *keeper, next uint64) error {
	if w.OnActive == nil && k == nil {
		return nil
	}
	var p place
	if k != nil {
		var err error
		if p, err = b.place(ctx, w.Stream, w.Consumer); err != nil {
			return err
		}
	}
	ask, cancel := within(ctx, requestTimeout)
	defer cancel()
	info, err := cons.Info(ask)
	if err != nil {
		return fmt.Errorf("%w: consumer %s of %s: %w", ErrDown, w.Consumer, w.Stream, err)
	}
	if p.from > 0 || info.AckFloor.Stream < p.acked {
		return errMoved
	}
	if w.OnActive == nil {
		return nil
	}
	first, last := info.AckFloor.Stream+1, max(info.Delivered.Stream, next)
	if info.NumAckPending == 0 {
		last = 0
	}
	return w.OnActive(ctx, first, last)
}

// handOver gives back what was delivered and not handled, and the pin, so that another worker goes on at once. It returns what
// cannot be given back because the broker is away.
func (b *Bus) handOver(cc jetstream.ConsumeContext, batch []Delivery, in chan Delivery, w Worker, pin string) (keep []Delivery) {
	away := b.Check(context.Background()) != nil
	if away { // draining would wait 10 s for an answer
		cc.Stop()
		<-cc.Closed()
	} else {
		cc.Drain()
		select {
		case <-cc.Closed():
		case <-time.After(time.Second): // what still comes is given back when it comes
		}
	}
	undone := slices.Clone(batch)
	for more := true; more; {
		select {
		case d := <-in:
			undone = append(undone, d)
		default:
			more = false
		}
	}
	if away {
		return undone
	}
	for _, d := range undone {
		_ = d.Nak() // of no effect on what is acknowledged
	}
	b.unpin(w, pin)
	return nil
}

// unpin gives back a pin, unless it is another worker's by now. Without it, it expires.
func (b *Bus) unpin(w Worker, pin string) {
	if pin == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	s, err := b.js.Stream(ctx, w.Stream)
	if err != nil {
		return
	}
	c, err := s.Consumer(ctx, w.Consumer)
	if err != nil {
		return
	}
	for _, g := range c.CachedInfo().PriorityGroups {
		if g.Group == subject.PinGroup && g.PinnedClientID == pin {
			_ = s.UnpinConsumer(ctx, w.Consumer, subject.PinGroup)
		}
	}
}

// handle repeats a batch until it is done, ctx ends or somebody else is to try, and acknowledges it.
func (b *Bus) handle(ctx context.Context, w Worker, batch []Delivery, yield <-chan struct{}) error {
	failed := false
	for n := 0; ; n++ {
		err := w.Handle(ctx, batch)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		failed = true
		w.OnState(err)
		if n == 0 {
			b.log.Warn("worker waits", "stream", w.Stream, "consumer", w.Consumer, "error", err)
		}
		if err := Sleep(ctx, Backoff(n)); err != nil {
			return err
		}
		select {
		case <-yield:
			return errYield
		default:
		}
		for _, d := range batch { // not again to somebody else meanwhile
			_ = d.InProgress()
		}
	}
	if failed {
		w.OnState(nil)
		b.log.Info("worker goes on", "stream", w.Stream, "consumer", w.Consumer)
	}
	last := len(batch) - 1
	for _, d := range batch[:last] {
		if err := d.Ack(); err != nil {
			return fmt.Errorf("%w: ack: %w", ErrDown, err)
		}
	}
	// The broker takes the acks of a connection in order: when the last is confirmed, all are.
	ackCtx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if err := batch[last].DoubleAck(ackCtx); err != nil {
		return fmt.Errorf("%w: ack: %w", ErrDown, err)
	}
	return nil
}

// DeadLetter puts a delivery that can never be handled aside, with the reason. The reason must not contain user text.
func (b *Bus) DeadLetter(ctx context.Context, worker string, partition int, d Delivery, reason string) error {
	m := newMsg(subject.Dead(worker, partition), d.Data())
	for k, v := range d.Headers() {
		if k == subject.HeaderSeq {
			m.Header[k] = v
		}
	}
	m.Header.Set(subject.HeaderReason, reason)
	m.Header.Set(subject.HeaderOrigin, fmt.Sprintf("%s %d", d.Subject(), d.Stream))
	m.Header.Set(jetstream.MsgIDHeader, fmt.Sprintf("%s %s %d", worker, d.Subject(), d.Stream))
	_, err := b.Publish(ctx, m)
	return err
}

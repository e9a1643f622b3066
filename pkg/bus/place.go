package bus

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/chatmesh/chatmesh/pkg/subject"
)

// A consumer in memory costs three brokers no sync, but forgets how far it was when they end at once. So its worker keeps its place in a
// bucket, and a worker that finds the consumer behind its place sets it there before it takes anything. What is kept was acknowledged before,
// so that a place that is a second old costs doubles and loses nothing.

// placeEvery is how often a worker keeps its place; one that has nothing to keep looks every lookEvery-th time for an order.
const (
	placeEvery = time.Second
	lookEvery  = 5
)

// order is what a value in Places begins with by which an operator has the worker begin again at a sequence.
const order = "from "

// errMoved says that the consumer is not where its worker is to go on: it forgot its place, or an operator wants it elsewhere.
var errMoved = errors.New("bus: the consumer is not at its place")

// place is what is kept of a consumer.
type place struct {
	// acked is the stream sequence up to which all was acknowledged; zero where that is not known.
	acked uint64
	// from is where an operator wants the worker to begin again; zero for nowhere.
	from uint64
	// void says that what stands there counts no more: it must be replaced before the stream grows up to it.
	void bool
	// revision is that of the key; zero where there is none.
	revision uint64
	// life is which stream of that name there is at the moment: one that is put back from a backup is another, with other events at the
	// sequences behind it.
	life string
}

// place reads what is kept of a consumer. The place in another stream of the same name, or one behind the end of the stream, is not known.
func (b *Bus) place(ctx context.Context, stream, consumer string) (p place, err error) {
	m, err := b.lastOf(ctx, subject.Places, subject.PlaceKey(consumer, stream))
	if err != nil {
		return p, err
	}
	i, err := b.info(ctx, stream) // later, so that what was acknowledged is in it
	if err != nil {
		return p, err
	}
	p.life = i.Created.UTC().Format(time.RFC3339Nano)
	if m == nil {
		return p, nil
	}
	p.revision = m.Sequence
	if text, ok := strings.CutPrefix(string(m.Data), order); ok {
		p.from, err = strconv.ParseUint(strings.TrimSpace(text), 10, 64)
		p.void = err != nil
		return p, nil
	}
	text, life, _ := strings.Cut(string(m.Data), " ")
	if seq, err := strconv.ParseUint(text, 10, 64); err == nil && life == p.life && seq <= i.State.LastSeq {
		p.acked = seq
	} else {
		p.void = true
	}
	return p, nil
}

// covered is up to where a consumer has acknowledged everything, also where it forgot that.
func (b *Bus) covered(ctx context.Context, i *jetstream.ConsumerInfo) (uint64, error) {
	if !i.Config.MemoryStorage {
		return i.AckFloor.Stream, nil
	}
	p, err := b.place(ctx, i.Stream, i.Name)
	return max(i.AckFloor.Stream, p.acked), err
}

// consumer asks how a consumer is. It fails with ErrDown.
func (b *Bus) consumer(ctx context.Context, stream, consumer string) (*jetstream.ConsumerInfo, error) {
	ctx, cancel := within(ctx, requestTimeout)
	defer cancel()
	c, err := b.js.Consumer(ctx, stream, consumer)
	if err != nil {
		return nil, fmt.Errorf("%w: consumer %s of %s: %w", ErrDown, consumer, stream, err)
	}
	return c.CachedInfo(), nil
}

// keeper keeps the place of one worker. Nil keeps none. All but acked is of one goroutine at a time.
type keeper struct {
	b                *Bus
	stream, consumer string
	p                place
	// acked says that something was acknowledged since the place was kept.
	acked atomic.Bool
}

// settle sets a consumer to its place where it is behind it, or to where an operator wants it, before anything is taken from it. It returns
// who keeps its place from now on: nobody where a consumer on disk has none, because there is one broker, or no bucket yet.
func (b *Bus) settle(ctx context.Context, w Worker, inMemory bool) (*keeper, error) {
	p, err := b.place(ctx, w.Stream, w.Consumer)
	if err != nil {
		if !inMemory {
			return nil, nil
		}
		return nil, err
	}
	i, err := b.consumer(ctx, w.Stream, w.Consumer) // later, so that it is not behind for being older
	if err != nil {
		return nil, err
	}
	k, at := &keeper{b: b, stream: w.Stream, consumer: w.Consumer, p: p}, i.AckFloor.Stream
	k.acked.Store(true) // it keeps once in any case: perhaps nobody has before
	switch {
	case p.from > 0:
		at = min(at, p.from-1) // back only: nothing is skipped
		b.log.Info("worker begins again where an operator wants it", "stream", w.Stream, "consumer", w.Consumer, "from", at+1)
	case p.acked > at:
		b.log.Warn("consumer forgot its place", "stream", w.Stream, "consumer", w.Consumer, "was", at, "place", p.acked)
		at = p.acked
	}
	if at != i.AckFloor.Stream {
		ctx, cancel := within(ctx, requestTimeout)
		defer cancel()
		if _, err := b.js.ResetConsumerToSequence(ctx, w.Stream, w.Consumer, at+1); err != nil {
			return nil, fmt.Errorf("%w: set %s of %s to %d: %w", ErrDown, w.Consumer, w.Stream, at+1, err)
		}
	}
	if p.from > 0 || p.void {
		err = k.write(ctx, at)
	}
	return k, err
}

// write keeps a place if nobody else wrote one meanwhile; then it fails with a Refusal.
func (k *keeper) write(ctx context.Context, acked uint64) error {
	m := newMsg(subject.KV(subject.Places, subject.PlaceKey(k.consumer, k.stream)), []byte(strconv.FormatUint(acked, 10)+" "+k.p.life))
	m.Header.Set(jetstream.ExpectedLastSubjSeqHeader, strconv.FormatUint(k.p.revision, 10))
	a, err := k.b.Publish(ctx, m)
	if err == nil {
		k.p = place{acked: acked, revision: a.Sequence, life: k.p.life}
	}
	return err
}

// keep keeps how far the consumer is. It fails with errMoved where that is behind its place, or an operator has given an order.
func (k *keeper) keep(ctx context.Context) error {
	if !k.acked.Swap(false) {
		return nil
	}
	i, err := k.b.consumer(ctx, k.stream, k.consumer)
	if err == nil && i.AckFloor.Stream > k.p.acked {
		err = k.write(ctx, i.AckFloor.Stream)
	}
	var refused *Refusal
	switch {
	case errors.As(err, &refused): // by another worker, or an operator: what the consumer said may be from before an order was obeyed
		k.acked.Store(true)
		return k.look(ctx)
	case err != nil:
		k.acked.Store(true)
		return err
	case i.AckFloor.Stream < k.p.acked:
		return errMoved
	}
	return nil
}

// look reads the place again. It fails with errMoved where an operator has given an order.
func (k *keeper) look(ctx context.Context) error {
	p, err := k.b.place(ctx, k.stream, k.consumer)
	if err != nil {
		return err
	}
	if k.p = p; p.from > 0 {
		return errMoved
	}
	return nil
}

// run keeps the place until ctx ends, or the consumer is to be settled anew: errMoved.
func (k *keeper) run(ctx context.Context) error {
	for n := 1; Sleep(ctx, placeEvery) == nil; n++ {
		err := k.keep(ctx)
		if err == nil && n%lookEvery == 0 {
			err = k.look(ctx)
		}
		if errors.Is(err, errMoved) {
			return err
		}
	}
	return nil
}

// last keeps the place of a worker that gives up, unless the broker is away.
func (k *keeper) last() {
	if k == nil || k.b.Check(context.Background()) != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), placeEvery)
	defer cancel()
	_ = k.keep(ctx) // whoever goes on finds out what is wrong
}

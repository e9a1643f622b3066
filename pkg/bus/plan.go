package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/chatmesh/chatmesh/pkg/subject"
)

// Field is a setting that differs.
type Field struct{ Name, Old, New string }

// Change is what is to be done with one stream, bucket or consumer.
type Change struct {
	// What it is, such as "stream CHAT_0" or "consumer fanout of CHAT_0".
	What string
	// Create says that it is missing; Fields are then what matters of it. Otherwise they are what differs.
	Create bool
	Fields []Field
	// Refused says why it is not done: it would lose data, or the broker cannot do it. Empty where it is done.
	Refused string
	// Stops says what would work no more although nothing is lost. Empty for nothing.
	Stops string
	// Later says what is left as it is for now, so that nothing is lost. Empty for nothing.
	Later string

	apply func(context.Context) error
}

// Plan is what is to be done so that the broker has a layout, in order.
type Plan []Change

// Refused is ErrLayout with the first of what is refused; nil for none.
func (p Plan) Refused() error {
	for _, c := range p {
		if c.Refused != "" {
			return fmt.Errorf("%w: %s: %s", ErrLayout, c.What, c.Refused)
		}
	}
	return nil
}

// Todo counts what Apply will do.
func (p Plan) Todo() (n int) {
	for _, c := range p {
		if c.apply != nil {
			n++
		}
	}
	return n
}

// Plan compares the broker with a layout. What is already right is not in it. It fails with ErrLayout where the streams are for
// another number of partitions.
func (b *Bus) Plan(ctx context.Context, l Layout) (Plan, error) {
	if err := b.checkPartitions(ctx, l.Partitions); err != nil {
		return nil, err
	}
	var p Plan
	for n := range l.Partitions {
		for _, want := range []jetstream.StreamConfig{l.chatStream(n), l.cursorStream(n)} {
			have, err := b.planStream(ctx, &p, "stream "+want.Name, want, l.MaxBytes == 0, nil)
			if err != nil {
				return nil, err
			}
			for _, c := range l.workers(want.Name, n) {
				if err := b.planConsumer(ctx, &p, want.Name, have, c); err != nil {
					return nil, err
				}
			}
		}
	}
	if _, err := b.planStream(ctx, &p, "stream "+subject.DeadLetters, l.deadLetters(), true, nil); err != nil {
		return nil, err
	}
	for _, c := range l.buckets() {
		create := func(ctx context.Context) error {
			_, err := b.js.CreateOrUpdateKeyValue(ctx, c)
			return err
		}
		if _, err := b.planStream(ctx, &p, "bucket "+c.Bucket, bucketStream(c), true, create); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// Apply does what is planned, in order, up to the first error.
func (b *Bus) Apply(ctx context.Context, p Plan) error {
	for _, c := range p {
		if c.apply == nil {
			continue
		}
		ask, cancel := within(ctx, applyTimeout)
		err := c.apply(ask)
		cancel()
		if err != nil {
			return fmt.Errorf("bus: %s: %w", c.What, err)
		}
	}
	return nil
}

// applyTimeout bounds one change: a cluster elects the leaders of a new stream first.
const applyTimeout = 2 * requestTimeout

// planStream adds what is to be done with a stream, and tells whether there is one.
func (b *Bus) planStream(ctx context.Context, p *Plan, what string, want jetstream.StreamConfig, keepBytes bool,
	create func(context.Context) error) (have bool, err error) {
	i, err := b.info(ctx, want.Name)
	if errors.Is(err, ErrNotFound) {
		if create == nil {
			create = func(ctx context.Context) error {
				_, err := b.js.CreateStream(ctx, want)
				return err
			}
		}
		*p = append(*p, Change{What: what, Create: true, Fields: shown(streamFields, &want), apply: create})
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if keepBytes {
		want.MaxBytes = i.Config.MaxBytes
	}
	c, next := Change{What: what}, i.Config
	var why reasons
	for _, f := range streamFields {
		old, now := f.get(&i.Config), f.get(&want)
		if old == now {
			continue
		}
		field := Field{f.name, old, now}
		verdict := f.may(&i.Config, &want)
		switch {
		case verdict == ignore:
			continue
		case verdict == frozen:
			why.add("%s cannot be changed from %s to %s", f.name, old, now)
		case verdict == shrinks:
			if err := b.fits(ctx, i, &want, f.name, &c, &why); err != nil {
				return true, err
			}
			if c.Later != "" {
				continue
			}
		}
		c.Fields = append(c.Fields, field)
		f.set(&next, &want)
	}
	if i.Config.Sealed {
		why.add("it is sealed")
	}
	if next.MaxAge > 0 { // where the layout leaves the window to the broker
		next.Duplicates = min(next.Duplicates, next.MaxAge)
	}
	c.Refused = strings.Join(why, "; ")
	if c.Refused == "" && len(c.Fields) > 0 {
		c.apply = func(ctx context.Context) error {
			_, err := b.js.UpdateStream(ctx, next)
			return err
		}
	}
	if len(c.Fields) > 0 || c.Refused != "" || c.Later != "" {
		*p = append(*p, c)
	}
	return true, nil
}

type reasons []string

func (r *reasons) add(format string, args ...any) { *r = append(*r, fmt.Sprintf(format, args...)) }

// fits looks whether a limit that gets smaller still holds what must be kept.
func (b *Bus) fits(ctx context.Context, i *jetstream.StreamInfo, want *jetstream.StreamConfig, field string, c *Change, why *reasons) error {
	switch field {
	case "max_age":
		if strings.HasPrefix(want.Name, subject.KVStream("")) {
			if age := time.Since(i.State.FirstTime); i.State.Msgs > 0 && age > want.MaxAge {
				c.Later = fmt.Sprintf("max_age stays %v until no key is older than %v", i.Config.MaxAge, want.MaxAge)
			}
			return nil
		}
		for _, consumer := range []string{subject.Persister, subject.FanOut} { // what both have done is in the store
			age, err := b.OldestPending(ctx, want.Name, consumer)
			switch {
			case errors.Is(err, jetstream.ErrConsumerNotFound) && i.State.Msgs > 0:
				age = time.Since(i.State.FirstTime)
			case err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound):
				return err
			}
			if age > want.MaxAge {
				why.add("max_age of %v would drop events that the consumer %s has not worked off: the oldest is %v old", want.MaxAge, consumer,
					age.Round(time.Second))
			}
		}
	case "max_bytes":
		switch {
		case i.State.Bytes <= uint64(want.MaxBytes):
		case want.Discard == jetstream.DiscardNew && i.Config.Discard == jetstream.DiscardNew:
			c.Stops = fmt.Sprintf("it holds %d bytes already, so that every append would be refused", i.State.Bytes)
		default:
			why.add("max_bytes of %d is less than the %d bytes that it holds", want.MaxBytes, i.State.Bytes)
		}
	default:
		if i.State.Msgs > 0 {
			why.add("%s may not get smaller while something is stored", field)
		}
	}
	return nil
}

// planConsumer adds what is to be done with a consumer of a stream, which may not be there yet.
func (b *Bus) planConsumer(ctx context.Context, p *Plan, stream string, haveStream bool, want jetstream.ConsumerConfig) error {
	change := Change{What: "consumer " + want.Durable + " of " + stream}
	var have *jetstream.ConsumerInfo
	if haveStream {
		ask, cancel := within(ctx, requestTimeout)
		defer cancel()
		c, err := b.js.Consumer(ask, stream, want.Durable)
		switch {
		case err == nil:
			have = c.CachedInfo()
		case !errors.Is(err, jetstream.ErrConsumerNotFound):
			return fmt.Errorf("%w: %s: %w", ErrDown, change.What, err)
		}
	}
	if have == nil {
		change.Create, change.Fields = true, shown(consumerFields, &want)
		change.apply = func(ctx context.Context) error {
			_, err := b.js.CreateConsumer(ctx, stream, want)
			return err
		}
		*p = append(*p, change)
		return nil
	}
	var why reasons
	next := have.Config
	apply := func(ctx context.Context) error {
		_, err := b.js.UpdateConsumer(ctx, stream, next)
		return err
	}
	for _, f := range consumerFields {
		old, now := f.get(&have.Config), f.get(&want)
		if old == now {
			continue
		}
		switch f.may(&have.Config, &want) {
		case ignore:
			continue
		case frozen:
			why.add("%s cannot be changed from %s to %s", f.name, old, now)
		case remake:
			if !b.isKept(ctx, have) {
				change.Later = fmt.Sprintf("%s stays %s until its worker keeps its place in the bucket %s: let workers of this version run, and do this again",
					f.name, old, subject.Places)
				continue
			}
			apply = func(ctx context.Context) error {
				err := b.js.DeleteConsumer(ctx, stream, want.Durable)
				if err == nil || errors.Is(err, jetstream.ErrConsumerNotFound) {
					_, err = b.js.CreateConsumer(ctx, stream, next)
				}
				return err
			}
		}
		change.Fields = append(change.Fields, Field{f.name, old, now})
		f.set(&next, &want)
	}
	change.Refused = strings.Join(why, "; ")
	if len(change.Fields) == 0 && change.Later == "" {
		return nil
	}
	if change.Refused == "" && len(change.Fields) > 0 {
		change.apply = apply
	}
	*p = append(*p, change)
	return nil
}

// isKept tells whether a worker keeps the place of a consumer at the moment: what it has acknowledged by now is kept soon.
func (b *Bus) isKept(ctx context.Context, i *jetstream.ConsumerInfo) bool {
	for range lookEvery {
		p, err := b.place(ctx, i.Stream, i.Name)
		if err != nil {
			return false
		}
		if p.from == 0 && p.acked >= i.AckFloor.Stream { // none is enough where nothing was acknowledged
			return true
		}
		if Sleep(ctx, placeEvery) != nil {
			return false
		}
	}
	return false
}

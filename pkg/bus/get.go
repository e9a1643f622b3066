package bus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"
)

func jitter(d time.Duration) time.Duration { return rand.N(d + 1) }

// Msg is a stored message.
type Msg = jetstream.RawStreamMsg

// LastFor returns the last message of each subject (wildcards allowed, at most 1,024 subjects in all), in stream order.
// No message at all is no error.
func (b *Bus) LastFor(ctx context.Context, stream string, subjects ...string) ([]*Msg, error) {
	ctx, cancel := within(ctx, requestTimeout)
	defer cancel()
	seq, err := jetstreamext.GetLastMsgsFor(ctx, b.js, stream, subjects)
	msgs, err := collect(ctx, seq, err, "last of "+stream)
	if n := len(msgs); err != nil || n == 0 || msgs[n-1].Header.Get(pendingHeader) == "0" {
		return msgs, err
	}
	// The broker ends an answer that is larger than what it holds for one connection (64 MB).
	if len(subjects) == 1 {
		return nil, fmt.Errorf("%w: last of %s: too much for one answer", ErrDown, stream)
	}
	msgs = msgs[:0]
	for some := range slices.Chunk(subjects, (len(subjects)+1)/2) {
		half, err := b.LastFor(ctx, stream, some...)
		if err != nil {
			return nil, err
		}
		msgs = append(msgs, half...)
	}
	slices.SortFunc(msgs, func(a, b *Msg) int { return cmp.Compare(a.Sequence, b.Sequence) })
	return slices.CompactFunc(msgs, func(a, b *Msg) bool { return a.Sequence == b.Sequence }), nil
}

// pendingHeader tells, on each message of an answer, how many are still to come.
const pendingHeader = "Nats-Num-Pending"

// LastUpTo returns the last message of a subject that is not behind stream sequence upTo. It fails with ErrNotFound.
func (b *Bus) LastUpTo(ctx context.Context, stream, subj string, upTo uint64) (*Msg, error) {
	ctx, cancel := within(ctx, requestTimeout)
	defer cancel()
	seq, err := jetstreamext.GetLastMsgsFor(ctx, b.js, stream, []string{subj}, jetstreamext.GetLastMsgsUpToSeq(upTo))
	msgs, err := collect(ctx, seq, err, "last of "+stream)
	if err == nil && len(msgs) == 0 { // or upTo lies beyond the end of the stream, where the broker finds nothing
		msgs, err = b.LastFor(ctx, stream, subj)
	}
	if err != nil {
		return nil, err
	}
	if len(msgs) == 0 || msgs[0].Sequence > upTo {
		return nil, ErrNotFound
	}
	return msgs[0], nil
}

// From returns up to limit messages of a subject, ascending, from stream sequence from on; maxBytes bounds their size,
// zero is no bound. None is no error.
func (b *Bus) From(ctx context.Context, stream, subj string, from uint64, limit, maxBytes int) ([]*Msg, error) {
	ctx, cancel := within(ctx, requestTimeout)
	defer cancel()
	opts := []jetstreamext.GetBatchOpt{jetstreamext.GetBatchSeq(max(from, 1)), jetstreamext.GetBatchSubject(subj)}
	if maxBytes > 0 {
		opts = append(opts, jetstreamext.GetBatchMaxBytes(maxBytes))
	}
	seq, err := jetstreamext.GetBatch(ctx, b.js, stream, limit, opts...)
	return collect(ctx, seq, err, "batch of "+stream)
}

// Since is From, from the first message that was stored at or after a time.
func (b *Bus) Since(ctx context.Context, stream, subj string, since time.Time, limit, maxBytes int) ([]*Msg, error) {
	ctx, cancel := within(ctx, requestTimeout)
	defer cancel()
	opts := []jetstreamext.GetBatchOpt{jetstreamext.GetBatchStartTime(since), jetstreamext.GetBatchSubject(subj)}
	if maxBytes > 0 {
		opts = append(opts, jetstreamext.GetBatchMaxBytes(maxBytes))
	}
	seq, err := jetstreamext.GetBatch(ctx, b.js, stream, limit, opts...)
	return collect(ctx, seq, err, "batch of "+stream)
}

// collect reads an answer to its end. The sequence ends without an error where the time is up, too: what was not answered, or
// not in full, must not look like what does not exist.
func collect(ctx context.Context, seq func(func(*Msg, error) bool), err error, op string) ([]*Msg, error) {
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrDown, op, err)
	}
	var out []*Msg
	for m, err := range seq {
		if errors.Is(err, jetstreamext.ErrNoMessages) && len(out) == 0 {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrDown, op, err)
		}
		out = append(out, m)
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrDown, op, err)
	}
	return out, nil
}

// At returns the message at a stream sequence. It fails with ErrNotFound.
func (b *Bus) At(ctx context.Context, stream string, seq uint64) (*Msg, error) {
	ctx, cancel := within(ctx, requestTimeout)
	defer cancel()
	s, err := b.js.Stream(ctx, stream)
	if err != nil {
		return nil, fmt.Errorf("%w: stream %s: %w", ErrDown, stream, err)
	}
	m, err := s.GetMsg(ctx, seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("%w: get from %s: %w", ErrDown, stream, err)
	}
	return m, nil
}

// OldestPending is the age of the oldest message of a stream that a consumer has not acknowledged; zero where there is none.
func (b *Bus) OldestPending(ctx context.Context, stream, consumer string) (time.Duration, error) {
	ctx, cancel := within(ctx, requestTimeout)
	defer cancel()
	c, err := b.js.Consumer(ctx, stream, consumer)
	if err != nil {
		return 0, fmt.Errorf("%w: consumer %s of %s: %w", ErrDown, consumer, stream, err)
	}
	info := c.CachedInfo()
	if info.NumPending == 0 && info.NumAckPending == 0 {
		return 0, nil
	}
	next, err := b.From(ctx, stream, ">", info.AckFloor.Stream+1, 1, 0)
	if err != nil || len(next) == 0 {
		return 0, err
	}
	return max(time.Since(next[0].Time), 0), nil
}

// Ack is the broker's answer to a publish that it has stored.
type Ack struct {
	// Sequence of the (last) message in the stream.
	Sequence uint64
	// Duplicate says that a message with the id was there already, at Sequence.
	Duplicate bool
}

// Refusal is the broker's answer to a publish that it has not stored.
type Refusal struct {
	// Code is JetStream's error code.
	Code int
	Text string
}

// Error returns the code and what the broker says of it.
func (r *Refusal) Error() string { return fmt.Sprintf("bus: refused (%d): %s", r.Code, r.Text) }

// PublishAll publishes messages to their streams at the same time, each on its own. The answers stand in the order
// of the messages.
func (b *Bus) PublishAll(ctx context.Context, msgs []*nats.Msg) ([]Ack, []error) {
	ctx, cancel := within(ctx, requestTimeout)
	defer cancel()
	acks, errs := make([]Ack, len(msgs)), make([]error, len(msgs))
	futures := make([]jetstream.PubAckFuture, len(msgs))
	for i, m := range msgs {
		if errs[i] = ctx.Err(); errs[i] != nil { // where too many wait, each waits for its turn
			continue
		}
		futures[i], errs[i] = b.js.PublishMsgAsync(m, jetstream.WithRetryAttempts(0))
	}
	for i, f := range futures {
		if errs[i] != nil {
			errs[i] = refusal(errs[i])
			continue
		}
		select {
		case a := <-f.Ok():
			acks[i] = Ack{Sequence: a.Sequence, Duplicate: a.Duplicate}
		case err := <-f.Err():
			errs[i] = refusal(err)
		case <-ctx.Done():
			errs[i] = fmt.Errorf("%w: %w", ErrDown, ctx.Err())
		}
	}
	return acks, errs
}

// Publish publishes one message to its stream and waits for the broker's answer.
func (b *Bus) Publish(ctx context.Context, m *nats.Msg) (Ack, error) {
	ctx, cancel := within(ctx, requestTimeout)
	defer cancel()
	a, err := b.js.PublishMsg(ctx, m, jetstream.WithRetryAttempts(0))
	if err != nil {
		return Ack{}, refusal(err)
	}
	return Ack{Sequence: a.Sequence, Duplicate: a.Duplicate}, nil
}

// PublishAtomic publishes messages to one stream so that all are stored or none, with one sync. They stand directly behind
// each other; the answer has the sequence of the last.
func (b *Bus) PublishAtomic(ctx context.Context, msgs []*nats.Msg) (Ack, error) {
	ctx, cancel := within(ctx, requestTimeout)
	defer cancel()
	a, err := jetstreamext.PublishMsgBatch(ctx, b.js, msgs, jetstreamext.BatchFlowControl{AckFirst: false})
	if err != nil {
		return Ack{}, refusal(err)
	}
	return Ack{Sequence: a.Sequence}, nil
}

func refusal(err error) error {
	var api *jetstream.APIError
	if errors.As(err, &api) {
		return &Refusal{Code: int(api.ErrorCode), Text: api.Description}
	}
	return fmt.Errorf("%w: publish: %w", ErrDown, err)
}

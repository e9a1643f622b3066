package bus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
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
	floor, err := b.floor(ctx, stream)
	if err != nil {
		return nil, err
	}
	if floor == 0 && len(subjects) == 1 && !strings.ContainsAny(subjects[0], "*>") {
		m, err := b.getOne(ctx, stream, direct{LastFor: subjects[0]})
		if m == nil {
			return nil, err
		}
		return []*Msg{m}, nil
	}
	msgs, upTo, err := b.getMany(ctx, stream, direct{MultiLast: subjects})
	for n := 0; err == nil && upTo < floor; n++ { // none, or from a copy that lags
		if len(msgs) == 0 {
			if some, err := b.anyAtLeader(ctx, stream, subjects); err != nil || !some {
				return nil, err
			}
		}
		if err := caughtUp(ctx, stream, n); err != nil {
			return nil, err
		}
		msgs, upTo, err = b.getMany(ctx, stream, direct{MultiLast: subjects})
	}
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

// storedMsg is the message in an answer to a direct get.
func storedMsg(m *nats.Msg) (*Msg, error) {
	if s := m.Header.Get("Status"); s != "" {
		return nil, fmt.Errorf("bus: direct get: %s %s", s, m.Header.Get("Description"))
	}
	seq, err := strconv.ParseUint(m.Header.Get(jetstream.SequenceHeader), 10, 64)
	if err != nil {
		return nil, fmt.Errorf("bus: direct get without a sequence: %w", err)
	}
	at, err := time.Parse(time.RFC3339Nano, m.Header.Get(jetstream.TimeStampHeaer))
	if err != nil {
		return nil, fmt.Errorf("bus: direct get without a time: %w", err)
	}
	return &Msg{Subject: m.Header.Get(jetstream.SubjectHeader), Sequence: seq, Header: m.Header, Data: m.Data, Time: at}, nil
}

// pendingHeader tells, on each message of an answer, how many are still to come.
const pendingHeader = "Nats-Num-Pending"

// LastUpTo returns the last message of a subject that is not behind stream sequence upTo. It fails with ErrNotFound.
func (b *Bus) LastUpTo(ctx context.Context, stream, subj string, upTo uint64) (*Msg, error) {
	ctx, cancel := within(ctx, requestTimeout)
	defer cancel()
	msgs, _, err := b.getMany(ctx, stream, direct{MultiLast: []string{subj}, UpToSeq: upTo})
	if err == nil && len(msgs) == 0 { // or upTo lies beyond the end of the stream, where the broker finds nothing
		msgs, err = b.LastFor(ctx, stream, subj)
	}
	if err != nil {
		return nil, err
	}
	if len(msgs) == 0 || msgs[0].Sequence > upTo {
		return nil, ErrNotFound // also where a copy that lags was asked: who looks for a place looks again
	}
	return msgs[0], nil
}

// From returns up to limit messages of a subject, ascending, from stream sequence from on; maxBytes bounds their size,
// zero is no bound. None is no error.
func (b *Bus) From(ctx context.Context, stream, subj string, from uint64, limit, maxBytes int) ([]*Msg, error) {
	ctx, cancel := within(ctx, requestTimeout)
	defer cancel()
	from = max(from, 1)
	read := func(from uint64, limit int) ([]*Msg, error) {
		return b.next(ctx, stream, direct{NextFor: subj, Seq: from}, limit, maxBytes)
	}
	msgs, err := read(from, limit)
	if err != nil {
		return nil, err
	}
	return b.complete(ctx, stream, subj, get{NextFor: subj, Seq: from}, msgs, limit, maxBytes, read)
}

// Since is From, from the first message that was stored at or after a time.
func (b *Bus) Since(ctx context.Context, stream, subj string, since time.Time, limit, maxBytes int) ([]*Msg, error) {
	ctx, cancel := within(ctx, requestTimeout)
	defer cancel()
	msgs, err := b.next(ctx, stream, direct{NextFor: subj, Since: &since}, limit, maxBytes)
	if err != nil {
		return nil, err
	}
	return b.complete(ctx, stream, subj, get{NextFor: subj, Since: &since}, msgs, limit, maxBytes, func(from uint64, limit int) ([]*Msg, error) {
		return b.next(ctx, stream, direct{NextFor: subj, Seq: from}, limit, maxBytes)
	})
}

// next asks one copy for up to limit messages of a subject from where q says; maxBytes bounds their size, zero is no bound.
//
// For many the broker counts first how many there are, message by message of a file: up to 1 ms where q begins far back. So the first is
// asked for alone, which it finds in its index: mostly there is none, or it is near the end.
func (b *Bus) next(ctx context.Context, stream string, q direct, limit, maxBytes int) ([]*Msg, error) {
	first, err := b.getOne(ctx, stream, q)
	if err != nil || first == nil {
		return nil, err
	}
	msgs := []*Msg{first}
	if left := maxBytes - len(first.Data); limit > 1 && (maxBytes <= 0 || left > 0) {
		q = direct{NextFor: q.NextFor, Seq: first.Sequence + 1, Batch: limit - 1, MaxBytes: max(left, 0)}
		rest, _, err := b.getMany(ctx, stream, q)
		if err != nil {
			return nil, err
		}
		msgs = append(msgs, rest...)
	}
	return msgs, nil
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
	if errors.Is(err, jetstream.ErrMsgNotFound) && s.CachedInfo().Config.Replicas > 1 && seq <= s.CachedInfo().State.LastSeq {
		if m, err = b.fromLeader(ctx, stream, get{Seq: seq}); err == nil && m == nil { // the copy lagged, or it was deleted
			err = jetstream.ErrMsgNotFound
		}
	}
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
	info, err := b.consumer(ctx, stream, consumer)
	if err != nil || info.NumPending == 0 && info.NumAckPending == 0 {
		return 0, err
	}
	done, err := b.covered(ctx, info)
	if err != nil {
		return 0, err
	}
	next, err := b.From(ctx, stream, ">", done+1, 1, 0)
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

// Erase takes a message out of a stream and overwrites its bytes in the files of the broker. One that is not there is no error.
func (b *Bus) Erase(ctx context.Context, stream string, seq uint64) error {
	ctx, cancel := within(ctx, requestTimeout)
	defer cancel()
	s, err := b.js.Stream(ctx, stream)
	if err == nil {
		err = s.SecureDeleteMsg(ctx, seq)
	}
	if errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful) { // perhaps another has done it
		if _, gone := b.At(ctx, stream, seq); errors.Is(gone, ErrNotFound) {
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("%w: erase in %s: %w", ErrDown, stream, err)
	}
	return nil
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

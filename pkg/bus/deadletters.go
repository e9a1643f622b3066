package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/subject"
)

// Dead is a dead letter: what a worker could not handle, as it was, and why.
type Dead struct {
	// Seq is where it stands in the stream of dead letters, Time since when.
	Seq  uint64
	Time time.Time
	// Worker is who put it aside, of which Partition.
	Worker    string
	Partition int
	// Origin is the subject on which it came, Stream its sequence in the stream of that.
	Origin string
	Stream uint64
	Reason string
	// Header is what it was published with.
	Header nats.Header
	// Body may hold text of a person.
	Body []byte
}

// dead reads a message of the stream of dead letters.
func dead(m *Msg) (Dead, error) {
	d := Dead{Seq: m.Sequence, Time: m.Time, Reason: m.Header.Get(subject.HeaderReason), Header: nats.Header{}, Body: m.Data}
	for k, v := range m.Header {
		if !strings.HasPrefix(k, "Nats-") || k == jetstream.MsgIDHeader { // the others are added by the broker when it is read
			d.Header[k] = v
		}
	}
	var ok bool
	if d.Worker, d.Partition, ok = subject.WorkerOf(m.Subject); !ok {
		return d, fmt.Errorf("bus: dead letter %d is of no worker", m.Sequence)
	}
	origin, at, _ := strings.Cut(m.Header.Get(subject.HeaderOrigin), " ")
	n, err := strconv.ParseUint(at, 10, 64)
	if err != nil {
		return d, fmt.Errorf("bus: dead letter %d does not say where it came from", m.Sequence)
	}
	d.Origin, d.Stream = origin, n
	return d, nil
}

// deadBytes bounds what one request for dead letters brings.
const deadBytes = 8 << 20

// DeadLetters returns up to limit dead letters, ascending, from sequence from on. What somebody else published into the stream is
// among them, without an origin.
func (b *Bus) DeadLetters(ctx context.Context, from uint64, limit int) ([]Dead, error) {
	msgs, err := b.From(ctx, subject.DeadLetters, subject.AllDead, from, limit, deadBytes)
	if err != nil {
		return nil, err
	}
	out := make([]Dead, 0, len(msgs))
	for _, m := range msgs {
		d, _ := dead(m)
		out = append(out, d)
	}
	return out, nil
}

// DeadLetterAt returns the dead letter at a sequence. It fails with ErrNotFound.
func (b *Bus) DeadLetterAt(ctx context.Context, seq uint64) (Dead, error) {
	m, err := b.At(ctx, subject.DeadLetters, seq)
	if err != nil {
		return Dead{}, err
	}
	d, _ := dead(m)
	return d, nil
}

// CountDeadLetters returns how many dead letters a worker has.
func (b *Bus) CountDeadLetters(ctx context.Context, worker string) (uint64, error) {
	ctx, cancel := within(ctx, requestTimeout)
	defer cancel()
	s, err := b.js.Stream(ctx, subject.DeadLetters)
	if err != nil {
		return 0, fmt.Errorf("%w: stream %s: %w", ErrDown, subject.DeadLetters, err)
	}
	i, err := s.Info(ctx, jetstream.WithSubjectFilter(subject.DeadOf(worker)))
	if err != nil {
		return 0, fmt.Errorf("%w: subjects of %s: %w", ErrDown, subject.DeadLetters, err)
	}
	var n uint64
	for _, count := range i.State.Subjects {
		n += count
	}
	return n, nil
}

// RetryRequest asks a worker to handle the dead letter at Seq again.
type RetryRequest struct {
	Seq uint64 `json:"seq"`
}

// RetryAnswer says what became of it: it is Done and deleted, or it is at Seq now, for Reason.
type RetryAnswer struct {
	Done   bool   `json:"done"`
	Seq    uint64 `json:"seq,omitempty"`
	Reason string `json:"reason,omitempty"`
}

// Poison is the error of a delivery that can never be handled, whatever is tried. Reason holds no user text.
type Poison struct{ Reason string }

// Error is the reason.
func (p *Poison) Error() string { return "bus: it can never be handled: " + p.Reason }

// Undertaker looks after the dead letters of a worker.
type Undertaker struct {
	Worker, Endpoint, Version string
	// Handle handles a delivery again, of which it can ask for nothing but subject, headers and data. It fails with Poison where
	// nothing has changed, and with any other error where the same may succeed later.
	Handle func(ctx context.Context, partition int, d Delivery) error
	// Count is told how many there are, every countEvery.
	Count func(n float64)
}

// countEvery is how often the dead letters are counted.
const countEvery = 10 * time.Second

// LookAfter answers the requests to retry dead letters, and counts them, until ctx ends.
func (b *Bus) LookAfter(ctx context.Context, u Undertaker) error {
	ctx, cancel := context.WithCancel(ctx)
	counted := make(chan struct{})
	go func() {
		defer close(counted)
		for {
			if n, err := b.CountDeadLetters(ctx, u.Worker); err == nil {
				u.Count(float64(n))
			}
			if Sleep(ctx, countEvery) != nil {
				return
			}
		}
	}()
	defer func() { cancel(); <-counted }()
	return b.Serve(ctx, u.Version, []Endpoint{{
		Subject: u.Endpoint, Parallel: 1,
		Doc: "handle a dead letter of this worker again: {seq} to {done} or {seq, reason}",
		Handle: func(ctx context.Context, request []byte) (any, error) {
			var q RetryRequest
			if err := json.Unmarshal(request, &q); err != nil || q.Seq == 0 {
				return nil, chat.Errorf(chat.BadRequest, "it is {\"seq\":N}, the sequence of a dead letter")
			}
			a, err := b.retry(ctx, u, q.Seq)
			if err == nil {
				if n, err := b.CountDeadLetters(ctx, u.Worker); err == nil {
					u.Count(float64(n))
				}
			}
			return a, err
		},
	}}, nil)
}

// retry handles a dead letter again. It is deleted after that has succeeded; where it failed with another reason than before, the
// letter is replaced by one with that reason. A crash in between leaves it where it was, or twice: to handle it once more does no
// harm.
func (b *Bus) retry(ctx context.Context, u Undertaker, seq uint64) (RetryAnswer, error) {
	m, err := b.At(ctx, subject.DeadLetters, seq)
	if errors.Is(err, ErrNotFound) {
		return RetryAnswer{}, chat.Errorf(chat.NotFound, "no such dead letter")
	}
	if err != nil {
		return RetryAnswer{}, unavailable("the broker does not answer", err)
	}
	d, err := dead(m)
	if err != nil || d.Worker != u.Worker {
		return RetryAnswer{}, chat.Errorf(chat.BadRequest, "it is no dead letter of this worker")
	}
	err = u.Handle(ctx, d.Partition, Delivery{Msg: letter{dead: d}, Stream: d.Stream})
	a := RetryAnswer{Done: err == nil}
	var why *Poison
	switch {
	case err == nil:
	case !errors.As(err, &why):
		return RetryAnswer{}, unavailable("it cannot be handled at the moment", err)
	case why.Reason == d.Reason:
		return RetryAnswer{Seq: d.Seq, Reason: d.Reason}, nil
	default:
		again := newMsg(m.Subject, m.Data)
		for k, v := range d.Header {
			if k != jetstream.MsgIDHeader { // with the same one the broker would take it for the same letter
				again.Header[k] = v
			}
		}
		again.Header.Set(subject.HeaderReason, why.Reason)
		ack, err := b.Publish(ctx, again)
		if err != nil {
			return RetryAnswer{}, unavailable("the broker does not answer", err)
		}
		a.Seq, a.Reason = ack.Sequence, why.Reason
	}
	s, err := b.js.Stream(ctx, subject.DeadLetters)
	if err == nil {
		err = s.DeleteMsg(ctx, seq)
	}
	if err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) {
		return RetryAnswer{}, unavailable("it was tried again, and the broker does not delete it", err)
	}
	return a, nil
}

func unavailable(why string, cause error) error {
	return fmt.Errorf("%w: %w", chat.Retry(chat.Unavailable, time.Second, why), cause)
}

// letter is a dead letter as the delivery that it was.
type letter struct {
	jetstream.Msg // none: there is nothing to acknowledge
	dead          Dead
}

// Subject is the one on which it came.
func (l letter) Subject() string { return l.dead.Origin }

// Headers are what is left of its headers.
func (l letter) Headers() nats.Header { return l.dead.Header }

// Data is its body.
func (l letter) Data() []byte { return l.dead.Body }

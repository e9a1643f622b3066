package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/subject"
)

// info asks for a stream. It fails with ErrNotFound or ErrDown.
func (b *Bus) info(ctx context.Context, name string) (*jetstream.StreamInfo, error) {
	ctx, cancel := within(ctx, requestTimeout)
	defer cancel()
	s, err := b.js.Stream(ctx, name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, fmt.Errorf("%w: stream %s", ErrNotFound, name)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: stream %s: %w", ErrDown, name, err)
	}
	return s.CachedInfo(), nil
}

// Partitions returns the number of partitions with which the streams were made. It fails with ErrNotFound where there are none.
func (b *Bus) Partitions(ctx context.Context) (int, error) {
	i, err := b.info(ctx, subject.ChatStream(0))
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(i.Config.Metadata[partitionsKey])
	if err != nil || n < 1 {
		return 0, fmt.Errorf("%w: stream %s does not say how many partitions there are", ErrLayout, subject.ChatStream(0))
	}
	return n, nil
}

// subjectsTimeout bounds how long the broker may take to list the subjects of a stream, which it does 100,000 at a time.
const subjectsTimeout = time.Minute

// Chats returns the ids of all chats that have an event in the log of a partition, ascending. It costs the broker a walk over all
// of them.
func (b *Bus) Chats(ctx context.Context, partition int) ([]chat.ID, error) {
	ctx, cancel := context.WithTimeout(ctx, subjectsTimeout)
	defer cancel()
	name := subject.ChatStream(partition)
	s, err := b.js.Stream(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("%w: stream %s: %w", ErrDown, name, err)
	}
	// Info asks for one page after the other.
	i, err := s.Info(ctx, jetstream.WithSubjectFilter(subject.Logs(partition)))
	if err != nil {
		return nil, fmt.Errorf("%w: subjects of %s: %w", ErrDown, name, err)
	}
	ids := make([]chat.ID, 0, len(i.State.Subjects))
	for subj := range i.State.Subjects {
		if id, err := chat.ParseID(string(subject.ChatOf(subj))); err == nil { // otherwise somebody published it by hand
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids, nil
}

// First returns sequence and time of the oldest message that a stream holds: what is older has aged out of it. The time of an
// empty stream is zero.
func (b *Bus) First(ctx context.Context, stream string) (seq uint64, at time.Time, err error) {
	i, err := b.info(ctx, stream)
	if err != nil {
		return 0, time.Time{}, err
	}
	if i.State.Msgs == 0 {
		return i.State.FirstSeq, time.Time{}, nil
	}
	return i.State.FirstSeq, i.State.FirstTime, nil
}

// Waiting is how many messages of a stream a consumer has not acknowledged yet.
func (b *Bus) Waiting(ctx context.Context, stream, consumer string) (uint64, error) {
	i, err := b.consumer(ctx, stream, consumer)
	if err != nil {
		return 0, err
	}
	return i.NumPending + uint64(i.NumAckPending), nil
}

// Acked returns the stream sequence up to which a consumer has acknowledged everything.
func (b *Bus) Acked(ctx context.Context, stream, consumer string) (uint64, error) {
	i, err := b.consumer(ctx, stream, consumer)
	if errors.Is(err, jetstream.ErrConsumerNotFound) || errors.Is(err, jetstream.ErrStreamNotFound) {
		return 0, fmt.Errorf("%w: consumer %s of %s", ErrNotFound, consumer, stream)
	}
	if err != nil {
		return 0, err
	}
	return b.covered(ctx, i)
}

package bus

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/chatmesh/chatmesh/pkg/subject"
)

// Start says with which event a consumer begins. The zero value is the oldest that the log has.
type Start struct {
	// New is only what comes from now on.
	New bool
	// Seq is a sequence in the stream; zero is none.
	Seq uint64
	// Time is a moment; the zero time is none.
	Time time.Time
}

// ParseStart reads all, new, a sequence, or a moment as RFC 3339 has it.
func ParseStart(text string) (Start, error) {
	switch text {
	case "all":
		return Start{}, nil
	case "new":
		return Start{New: true}, nil
	}
	if seq, err := strconv.ParseUint(text, 10, 64); err == nil && seq > 0 {
		return Start{Seq: seq}, nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return Start{}, fmt.Errorf("%q is not all, new, a sequence such as 4711, or a moment such as 2026-11-01T00:00:00Z", text)
	}
	return Start{Time: at.UTC()}, nil
}

// Settings of a team's consumers: it has longer than our workers, and may hold less.
const (
	teamAckWait = 30 * time.Second
	teamPending = 1000
)

func teamConsumer(name string, partition int, s Start) jetstream.ConsumerConfig {
	c := jetstream.ConsumerConfig{
		Durable: name, Description: "a backend team's place in the logs of partition " + strconv.Itoa(partition),
		FilterSubject: subject.Logs(partition), AckPolicy: jetstream.AckExplicitPolicy, AckWait: teamAckWait, MaxDeliver: -1,
		MaxAckPending: teamPending,
	}
	switch {
	case s.New:
		c.DeliverPolicy = jetstream.DeliverNewPolicy
	case s.Seq > 0:
		c.DeliverPolicy, c.OptStartSeq = jetstream.DeliverByStartSequencePolicy, s.Seq
	case !s.Time.IsZero():
		c.DeliverPolicy, c.OptStartTime = jetstream.DeliverByStartTimePolicy, &s.Time
	}
	return c
}

// PlanTeam compares a team's consumers with what they should be, one for each partition's logs, named after its role. Where start is
// nil, those that stand begin where they do, and missing ones are an error. It fails with ErrNotFound where there are no streams.
func (b *Bus) PlanTeam(ctx context.Context, role string, start *Start) (Plan, error) {
	n, err := b.Partitions(ctx)
	if err != nil {
		return nil, err
	}
	var p Plan
	for partition := range n {
		stream := subject.ChatStream(partition)
		begin := Start{}
		if start != nil {
			begin = *start
		}
		want := teamConsumer(role, partition, begin)
		if start == nil {
			have, err := b.consumer(ctx, stream, role)
			switch {
			case errors.Is(err, jetstream.ErrConsumerNotFound):
				return nil, fmt.Errorf("%w: consumer %s of %s, and it is not said where it is to begin", ErrNotFound, role, stream)
			case err != nil:
				return nil, err
			}
			want.DeliverPolicy, want.OptStartSeq, want.OptStartTime = have.Config.DeliverPolicy, have.Config.OptStartSeq, have.Config.OptStartTime
		}
		if err := b.planConsumer(ctx, &p, stream, true, want); err != nil {
			return nil, err
		}
	}
	return p, nil
}

package bus

import (
	"context"
	"encoding/json"
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

// The broker lists the subjects of a stream 100,000 at a time. subjectsTimeout bounds all of it, pageTimeout one page: where a broker ends that was
// asked, nobody answers.
const (
	subjectsTimeout = time.Minute
	pageTimeout     = 15 * time.Second
)

// Chats returns the ids of all chats that have an event in the log of a partition, ascending. It costs the broker a walk over all
// of them.
func (b *Bus) Chats(ctx context.Context, partition int) ([]chat.ID, error) {
	ctx, cancel := within(ctx, subjectsTimeout)
	defer cancel()
	name := subject.ChatStream(partition)
	var ids []chat.ID
	for offset, total := 0, 1; offset < total; {
		page, err := b.subjects(ctx, name, subject.Logs(partition), offset)
		if err != nil {
			return nil, fmt.Errorf("%w: subjects of %s: %w", ErrDown, name, err)
		}
		for subj := range page.State.Subjects {
			if id, err := chat.ParseID(string(subject.ChatOf(subj))); err == nil { // otherwise somebody published it by hand
				ids = append(ids, id)
			}
		}
		if len(page.State.Subjects) == 0 {
			break
		}
		offset, total = offset+len(page.State.Subjects), page.Total
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil // a chat may be made between two pages
}

// subjectsPage is what is used of the broker's answer.
type subjectsPage struct {
	Error *jetstream.APIError `json:"error"`
	Total int                 `json:"total"`
	State struct {
		Subjects map[string]uint64 `json:"subjects"`
	} `json:"state"`
}

// subjects asks for the subjects of a stream that match a filter, from an offset on, again as long as nobody answers.
func (b *Bus) subjects(ctx context.Context, stream, filter string, offset int) (*subjectsPage, error) {
	body, err := json.Marshal(map[string]any{"subjects_filter": filter, "offset": offset})
	if err != nil {
		return nil, err
	}
	m, err := b.requestAgain(ctx, pageTimeout, Backoff, "$JS.API.STREAM.INFO."+stream, body)
	if err != nil {
		return nil, err
	}
	p := new(subjectsPage)
	if err = json.Unmarshal(m.Data, p); err == nil && p.Error != nil {
		err = p.Error
	}
	return p, err
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

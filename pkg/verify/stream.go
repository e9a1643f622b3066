package verify

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// Stream is the log as the broker has it, without what any process remembers of it.
type Stream struct {
	bus        *bus.Bus
	partitions int
}

var _ Log = (*Stream)(nil)

// NewStream returns the log in the streams of so many partitions.
func NewStream(b *bus.Bus, partitions int) *Stream { return &Stream{b, partitions} }

// askTimeout bounds one request to the broker: a lost answer must not cost the time of the whole verification.
const askTimeout = 10 * time.Second

func asking(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, askTimeout)
}

func (s *Stream) partition(id chat.ID) int { return subject.Partition(id, s.partitions) }

// Acked is how far the persister is in the stream of the chat.
func (s *Stream) Acked(ctx context.Context, id chat.ID) (uint64, error) {
	ctx, cancel := asking(ctx)
	defer cancel()
	return s.bus.Acked(ctx, subject.ChatStream(s.partition(id)), subject.Persister)
}

// Ends reads the last messages of both subjects of a chat.
func (s *Stream) Ends(ctx context.Context, id chat.ID) (Ends, error) {
	ctx, cancel := asking(ctx)
	defer cancel()
	p := s.partition(id)
	var e Ends
	msgs, err := s.bus.LastFor(ctx, subject.ChatStream(p), subject.LogAndState(p, id))
	for _, m := range msgs {
		if !strings.HasSuffix(m.Subject, ".state") {
			e.Stream = m.Sequence
			continue
		}
		e.StateAt = m.Sequence
		if e.State, err = wire.DecodeState(m.Data); err != nil {
			e.State, e.Damaged, err = nil, true, nil
		}
	}
	return e, err
}

// Cursors reads the cursors of people in a chat.
func (s *Stream) Cursors(ctx context.Context, id chat.ID, users []chat.UserID) ([]Cursor, error) {
	if len(users) == 0 {
		return nil, nil
	}
	ctx, cancel := asking(ctx)
	defer cancel()
	p := s.partition(id)
	subjects := make([]string, 0, len(users))
	for _, u := range users {
		subjects = append(subjects, subject.Cursor(p, id, u), subject.Delivered(p, id, u))
	}
	msgs, err := s.bus.LastFor(ctx, subject.CursorStream(p), subjects...)
	out := make([]Cursor, 0, len(msgs))
	for _, m := range msgs {
		var c Cursor
		r, err := wire.DecodeCursor(m.Data)
		c.Damaged = err != nil || r.Chat != id
		switch c.Chat, c.User = r.Chat, r.User; {
		case c.Damaged:
		case r.Type == wire.TypeRead:
			c.Seq, c.N, c.Delivered = r.Seq, r.N, r.Seq
		default:
			c.Delivered = r.Seq
		}
		out = append(out, c)
	}
	return out, err
}

// Events reads what stands on the log subject of a chat. What has no seq in its header is no event for anybody: it is not among
// them.
func (s *Stream) Events(ctx context.Context, id chat.ID, from uint64) ([]Entry, error) {
	p := s.partition(id)
	for {
		ask, cancel := asking(ctx)
		msgs, err := s.bus.From(ask, subject.ChatStream(p), subject.Log(p, id), from, pageEvents, pageBytes)
		cancel()
		if err != nil || len(msgs) == 0 {
			return nil, err
		}
		out := make([]Entry, 0, len(msgs))
		for _, m := range msgs {
			from = m.Sequence + 1
			seq, err := strconv.ParseUint(m.Header.Get(subject.HeaderSeq), 10, 64)
			if err == nil && seq > 0 {
				out = append(out, Entry{Seq: chat.Seq(seq), Stream: m.Sequence, Body: m.Data})
			}
		}
		if len(out) > 0 {
			return out, nil
		}
	}
}

// stubsAtOnce is for how many stubs the broker is asked together.
const stubsAtOnce = 256

// Stubs reads what stands on the subjects of erased events.
func (s *Stream) Stubs(ctx context.Context, id chat.ID, from, to chat.Seq) ([]Entry, error) {
	p := s.partition(id)
	var out []Entry
	for end := from + min(to-from, maxStubs-1); from <= end; from += stubsAtOnce {
		var subjects []string
		for seq := from; seq <= min(end, from+stubsAtOnce-1); seq++ {
			subjects = append(subjects, subject.Erased(p, id, seq))
		}
		ask, cancel := asking(ctx)
		msgs, err := s.bus.LastFor(ask, subject.ChatStream(p), subjects...)
		cancel()
		if err != nil {
			return nil, err
		}
		for _, m := range msgs {
			seq, err := strconv.ParseUint(m.Header.Get(subject.HeaderSeq), 10, 64)
			if err == nil && m.Subject == subject.Erased(p, id, chat.Seq(seq)) {
				out = append(out, Entry{Seq: chat.Seq(seq), Stream: m.Sequence, Body: m.Data, Stub: true})
			}
		}
	}
	slices.SortFunc(out, func(a, b Entry) int { return cmp.Compare(a.Seq, b.Seq) })
	return out, nil
}

// First is where the stream of the chat begins.
func (s *Stream) First(ctx context.Context, id chat.ID) (uint64, time.Time, error) {
	ctx, cancel := asking(ctx)
	defer cancel()
	return s.bus.First(ctx, subject.ChatStream(s.partition(id)))
}

package persister

import (
	"context"

	"github.com/nats-io/nats.go"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/subject"
)

// record is a message of a stream, delivered or read.
type record struct {
	subject string
	header  nats.Header
	body    []byte
	stream  uint64
}

func arrived(d bus.Delivery) record { return record{d.Subject(), d.Headers(), d.Data(), d.Stream} }

// readAtOnce and readBytes are how much of the log is read, and written to the store, at once.
const (
	readAtOnce = 500
	readBytes  = 8 << 20
)

// leftover is what the worker before was given and may not have written: the messages of the stream from first to last; zeroes are none.
type leftover struct{ first, last uint64 }

// note is called when a worker becomes the active one, before its first batch.
func (l *leftover) note(_ context.Context, first, last uint64) error {
	l.first, l.last = first, last
	return nil
}

// takeOver writes what is left over, from the log itself. The broker will deliver it again, but later: what comes now would overtake it,
// and the store's head, which says that everything before it is there, would not be true. Cursors stand for themselves.
func (s *Server) takeOver(ctx context.Context, p int, stream string, left *leftover) error {
	for stream == subject.ChatStream(p) && left.last > 0 && left.first <= left.last {
		msgs, err := s.c.Bus.From(ctx, stream, subject.AllOf(p), left.first, readAtOnce, readBytes)
		if err != nil {
			return err
		}
		if len(msgs) == 0 {
			break
		}
		next := left.first
		var b store.Batch
		var each []store.Batch
		for _, m := range msgs {
			if next = m.Sequence + 1; m.Sequence > left.last {
				break
			}
			var one store.Batch
			r := record{m.Subject, m.Header, m.Data, m.Sequence}
			if add(&one, r) == nil && add(&b, r) == nil { // otherwise it is put aside when it is delivered
				each = append(each, one)
			}
		}
		err = s.keep(ctx, p, b)
		if chat.Is(err, chat.BadRequest) {
			err = s.keepEach(ctx, p, each)
		}
		if err != nil {
			return err
		}
		left.first = next
	}
	*left = leftover{}
	return nil
}

// keepEach writes what the store takes.
func (s *Server) keepEach(ctx context.Context, p int, each []store.Batch) error {
	for _, b := range each {
		if err := s.keep(ctx, p, b); err != nil && !chat.Is(err, chat.BadRequest) {
			return err
		}
	}
	return nil
}

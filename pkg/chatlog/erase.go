package chatlog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/nats-io/nats.go"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// A text is erased in three steps. The deletion lands in the log, and with it, in the same batch, a stub of each event that loses its
// text: the event without it, on a subject of its own. Then the event is taken out of the stream, its bytes overwritten. The seq has
// no hole all the same: who finds none of the events at it in the log finds the stub. The persister, which gets the stubs in the order
// of the stream, replaces what the store has, and takes the event out of the stream if nobody did.

// ErrNotErasable says that an event may not be taken out of the log: it has no stub, or it is the last one of its chat, which the next
// append names.
var ErrNotErasable = errors.New("chatlog: not erasable")

// maxGap is how many events in a row may be missing from the log at the beginning of what is read for their stubs to be looked for.
const maxGap = chat.MaxPage

// stubsAtOnce is how many stubs are put, or asked for, together.
const stubsAtOnce = 256

func stubMsg(p int, e chat.Event) *nats.Msg {
	return &nats.Msg{Subject: subject.Erased(p, e.Chat, e.Seq), Data: wire.Encode(e),
		Header: nats.Header{subject.HeaderSeq: []string{strconv.FormatUint(uint64(e.Seq), 10)}}}
}

// stubs returns the stubs of a chat between two seqs, both included, ascending; those that there are.
func (l *Log) stubs(ctx context.Context, p int, id chat.ID, from, to chat.Seq) ([]store.Item, error) {
	var out []store.Item
	for from <= to {
		end := min(to, from+stubsAtOnce-1)
		subjects := make([]string, 0, end-from+1)
		for seq := from; seq <= end; seq++ {
			subjects = append(subjects, subject.Erased(p, id, seq))
		}
		msgs, err := l.bus.LastFor(ctx, subject.ChatStream(p), subjects...)
		if err != nil {
			return nil, err
		}
		for _, m := range msgs {
			seq, err := seqOf(m)
			if err != nil || m.Subject != subject.Erased(p, id, seq) {
				continue
			}
			out = append(out, store.Item{Seq: seq, Body: m.Data})
		}
		from = end + 1
	}
	slices.SortFunc(out, func(a, b store.Item) int { return int(a.Seq) - int(b.Seq) })
	return out, nil
}

// PutStubs puts the stubs of events whose texts a change of the chat erases that is in the log already: of the messages of a person
// whose account is deleted. They are durable when it returns; Scrub follows. It fails with Unavailable.
func (l *Log) PutStubs(ctx context.Context, id chat.ID, stubs []chat.Event) error {
	p := l.Partition(id)
	for some := range slices.Chunk(stubs, stubsAtOnce) {
		msgs := make([]*nats.Msg, len(some))
		for i, e := range some {
			if e.Chat != id || e.Deleted == nil || e.Text != "" {
				return fmt.Errorf("chatlog: event %d is no stub of the chat", e.Seq)
			}
			msgs[i] = stubMsg(p, e)
		}
		var err error
		if len(msgs) == 1 {
			_, err = l.bus.Publish(ctx, msgs[0])
		} else {
			_, err = l.bus.PublishAtomic(ctx, msgs)
		}
		if err != nil {
			return l.unavailable(err)
		}
	}
	return nil
}

// Scrub takes events whose stubs stand out of the log, and overwrites their bytes there. What is gone already is no error. It fails with
// Unavailable.
func (l *Log) Scrub(ctx context.Context, id chat.ID, seqs ...chat.Seq) error {
	for _, seq := range seqs {
		if err := Scrub(ctx, l.bus, l.Partition(id), id, seq); err != nil {
			return l.unavailable(err)
		}
	}
	return nil
}

// Scrub is Log.Scrub of one event, for who has no Log. It fails with ErrNotErasable, or where the broker does not answer.
func Scrub(ctx context.Context, b *bus.Bus, partition int, id chat.ID, seq chat.Seq) error {
	stream := subject.ChatStream(partition)
	last, err := b.LastFor(ctx, stream, subject.Log(partition, id), subject.Erased(partition, id, seq))
	if err != nil {
		return err
	}
	var head Head
	var stub bool
	for _, m := range last {
		if m.Subject != subject.Log(partition, id) {
			stub = true
			continue
		}
		if head.Seq, err = seqOf(m); err != nil {
			return err
		}
		head.Stream = m.Sequence
	}
	switch {
	case head.Stream == 0 || head.Seq < seq:
		return nil // it has aged out with all the others
	case head.Seq == seq:
		// The next append names the last event: without it, its seq would be given a second time.
		return fmt.Errorf("%w: the last event of a chat, in partition %d", ErrNotErasable, partition)
	case !stub:
		return fmt.Errorf("%w: event %d in partition %d has no stub", ErrNotErasable, seq, partition)
	}
	at, err := locate(ctx, b, partition, id, seq, head)
	if errors.Is(err, errAged) || err == nil && !at.there {
		return nil
	}
	if err != nil {
		return err
	}
	return b.Erase(ctx, stream, at.sequence)
}

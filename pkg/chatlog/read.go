package chatlog

import (
	"context"
	"errors"
	"fmt"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/subject"
)

// getLimit is how many messages one direct get asks for.
const getLimit = 512

// After returns events of a chat with seq > after, ascending and without holes, at most limit (at least one where there is one,
// whatever maxBytes says; zero is no bound). It reads the log from behind stream, the sequence of an event at or before after;
// zero reads from the beginning of what is retained.
func (l *Log) After(ctx context.Context, id chat.ID, after chat.Seq, stream uint64, limit, maxBytes int) ([]store.Item, error) {
	p := l.Partition(id)
	var out []store.Item
	size := 0
	for {
		msgs, err := l.bus.From(ctx, subject.ChatStream(p), subject.Log(p, id), stream+1, min(getLimit, limit-len(out)), 8<<20)
		if err != nil {
			return nil, l.unavailable(err)
		}
		if len(msgs) == 0 {
			return out, nil
		}
		for _, m := range msgs {
			stream = m.Sequence
			seq, err := seqOf(m)
			if err != nil || seq <= after {
				continue // before it, or no event
			}
			if len(out) > 0 && seq != out[len(out)-1].Seq+1 {
				return nil, l.unavailable(fmt.Errorf("chatlog: partition %d: %d follows %d", p, seq, out[len(out)-1].Seq))
			}
			size += len(m.Data)
			if len(out) > 0 && maxBytes > 0 && size > maxBytes {
				return out, nil
			}
			if out = append(out, store.Item{Seq: seq, Body: m.Data}); len(out) >= limit {
				return out, nil
			}
		}
	}
}

// errAged says that the log does not reach back that far any more.
var errAged = errors.New("chatlog: aged out of the log")

// locate returns the stream sequence of the event at seq, which must not be above head. It fails with errAged.
//
// The broker finds a message by stream sequence, not by ours; but ours rises with it, so that the place is found by asking
// for the last message up to a sequence, each time closer.
func (l *Log) locate(ctx context.Context, id chat.ID, seq chat.Seq, head Head) (uint64, error) {
	if head.Stream == 0 {
		return 0, errAged
	}
	if seq == head.Seq {
		return head.Stream, nil
	}
	p := l.Partition(id)
	stream, subj := subject.ChatStream(p), subject.Log(p, id)
	first, err := l.bus.From(ctx, stream, subj, 1, 1, 0)
	if err != nil {
		return 0, err
	}
	if len(first) == 0 {
		return 0, errAged
	}
	loSeq, err := seqOf(first[0])
	if err != nil {
		return 0, errAged // no event: the store knows what was before
	}
	if seq < loSeq {
		return 0, errAged
	}
	lo, hi, hiSeq := first[0].Sequence, head.Stream, head.Seq
	for even := false; ; even = !even {
		switch {
		case seq == loSeq:
			return lo, nil
		case seq == hiSeq:
			return hi, nil
		case hi-lo < 2 || hiSeq <= loSeq:
			return 0, fmt.Errorf("chatlog: partition %d: no event between %d and %d", p, loSeq, hiSeq)
		}
		mid := lo + (hi-lo)/2
		if !even { // by proportion first: chats are written at an even pace more often than not
			mid = lo + uint64(float64(hi-lo)*float64(seq-loSeq)/float64(hiSeq-loSeq))
			mid = min(max(mid, lo+1), hi-1)
		}
		m, err := l.bus.LastUpTo(ctx, stream, subj, mid)
		if err != nil {
			return 0, err
		}
		s, err := seqOf(m)
		if err != nil {
			return 0, errAged
		}
		if s < seq {
			lo, loSeq = mid, s
			continue
		}
		hi, hiSeq = m.Sequence, s
	}
}

// Page returns events of a chat from the log's tail where it reaches back far enough, otherwise from Older, ascending and without
// holes. A message that was acked before the call is in it.
func (l *Log) Page(ctx context.Context, id chat.ID, r store.Range) (Page, error) {
	if r.After > 0 || r.Forward {
		page, err := l.tail(ctx, id, r)
		if err == nil || !errors.Is(err, errAged) {
			return page, err
		}
	}
	page, err := l.older.Page(ctx, id, r)
	if err != nil {
		return Page{}, l.unavailable(err)
	}
	return page, nil
}

// tail answers a forward page from the broker alone.
func (l *Log) tail(ctx context.Context, id chat.ID, r store.Range) (Page, error) {
	head, _, err := l.known(ctx, id)
	if err != nil {
		return Page{}, l.unavailable(err)
	}
	if r.Before > 0 && r.After+1 >= r.Before {
		return Page{}, nil
	}
	if r.Before == 0 || r.Before > head.Head.Seq+1 { // perhaps there is more than this node knows
		if head, err = l.refresh(ctx, id); err != nil {
			return Page{}, l.unavailable(err)
		}
	}
	if r.After >= head.Head.Seq {
		return Page{}, nil
	}
	at, err := l.locate(ctx, id, r.After+1, head.Head)
	if errors.Is(err, errAged) {
		return Page{}, err
	}
	if err != nil {
		return Page{}, l.unavailable(err)
	}
	items, err := l.After(ctx, id, r.After, at-1, r.Limit+1, r.MaxBytes)
	if err != nil {
		return Page{}, err
	}
	if len(items) == 0 || items[0].Seq != r.After+1 {
		return Page{}, errAged // it has aged out meanwhile
	}
	end := head.Head.Seq
	if r.Before > 0 {
		end = min(end, r.Before-1)
	}
	for len(items) > 0 && items[len(items)-1].Seq > end && r.Before > 0 {
		items = items[:len(items)-1]
	}
	return pageOf(items, r.Limit, end), nil
}

// pageOf makes a forward page of items, of which there may be one more than wanted; head is the last event known.
func pageOf(items []store.Item, limit int, head chat.Seq) Page {
	items = items[:min(len(items), limit)]
	p := Page{Items: items}
	if len(items) > 0 {
		p.From, p.To = items[0].Seq, items[len(items)-1].Seq
		p.More = p.To < head
	}
	return p
}

// Event returns the event at seq, which must exist.
func (l *Log) Event(ctx context.Context, id chat.ID, seq chat.Seq) (store.Item, error) {
	page, err := l.Page(ctx, id, store.Range{After: seq - 1, Forward: true, Limit: 1})
	if err != nil {
		return store.Item{}, err
	}
	if len(page.Items) != 1 || page.Items[0].Seq != seq {
		return store.Item{}, fmt.Errorf("chatlog: %w: event %d", bus.ErrNotFound, seq)
	}
	return page.Items[0], nil
}

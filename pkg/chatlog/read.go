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

// getLimit and getBytes are how much one direct get asks for; getSlack is for subjects and headers, which count too.
const (
	getLimit = 512
	getBytes = 8 << 20
	getSlack = 64 << 10
)

// After returns events of a chat with seq > after, ascending and without holes, at most limit (at least one where there is one,
// whatever maxBytes says; zero is no bound). It reads the log from behind stream, the sequence of an event at or before after;
// zero reads from the beginning of what is retained.
func (l *Log) After(ctx context.Context, id chat.ID, after chat.Seq, stream uint64, limit, maxBytes int) ([]store.Item, error) {
	p := l.Partition(id)
	var out []store.Item
	size := 0
	for {
		most := getBytes
		if maxBytes > 0 {
			most = min(most, maxBytes-size+getSlack)
		}
		msgs, err := l.bus.From(ctx, subject.ChatStream(p), subject.Log(p, id), stream+1, min(getLimit, limit-len(out)), most)
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
			last := after
			if len(out) > 0 {
				last = out[len(out)-1].Seq
			}
			next := []store.Item{{Seq: seq, Body: m.Data}}
			if gap := seq - last - 1; gap > 0 && (len(out) > 0 || gap <= maxGap) {
				stubs, err := l.stubs(ctx, p, id, last+1, seq-1)
				if err == nil && len(stubs) != int(gap) && len(out) > 0 {
					err = fmt.Errorf("chatlog: partition %d: %d follows %d", p, seq, last)
				}
				if err != nil {
					return nil, l.unavailable(err)
				}
				if len(stubs) == int(gap) { // otherwise the log begins here
					next = append(stubs, next...)
				}
			}
			for _, it := range next {
				size += len(it.Body)
				if len(out) > 0 && maxBytes > 0 && size > maxBytes {
					return out, nil
				}
				if out = append(out, it); len(out) >= limit {
					return out, nil
				}
			}
		}
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
	at, err := locate(ctx, l.bus, l.Partition(id), id, r.After+1, head.Head)
	if errors.Is(err, errAged) {
		return Page{}, err
	}
	if err != nil {
		return Page{}, l.unavailable(err)
	}
	end := head.Head.Seq
	if r.Before > 0 {
		end = min(end, r.Before-1)
	}
	items, err := l.After(ctx, id, r.After, at.behind(), int(min(chat.Seq(r.Limit+1), end-r.After)), r.MaxBytes)
	if err != nil {
		return Page{}, err
	}
	if len(items) == 0 || items[0].Seq != r.After+1 {
		return Page{}, errAged // it has aged out meanwhile
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

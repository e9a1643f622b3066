package api

import (
	"context"
	"encoding/json"
	"math"
	"net/http"
	"slices"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/chatlog"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// A page of history has defaultPage items unless the call says otherwise, and at most pageBytes, so that one call cannot ask
// for 200 of the longest texts. For one page at most pageEvents are read: further reactions and edits than those end it early.
const (
	defaultPage = 50
	pageBytes   = 4 << 20
	pageEvents  = 2000
	// fewEvents is how many are read at least, so that some reactions behind a message cost no second reading.
	fewEvents = 16
)

// foldedPage is a page of messages as they stand and of changes of the chat, ascending. From and To are the events that it covers. What
// became of its messages up to FoldedTo is in them, and perhaps more of it.
type foldedPage struct {
	Messages []json.RawMessage `json:"messages"`
	HasMore  bool              `json:"has_more"`
	From     chat.Seq          `json:"from_seq"`
	To       chat.Seq          `json:"to_seq"`
	FoldedTo chat.Seq          `json:"folded_to"`
}

// history returns a page of a chat: the newest, what is below before, or what follows after.
func (s *Server) history(c *call) (answer, error) {
	id, err := c.chat()
	if err != nil {
		return answer{}, err
	}
	q, err := c.query()
	if err != nil {
		return answer{}, err
	}
	before, _, err := number(q, "before")
	if err != nil {
		return answer{}, err
	}
	after, forward, err := number(q, "after")
	if err != nil {
		return answer{}, err
	}
	limit, err := limitOf(q, defaultPage, chat.MaxPage)
	if err != nil {
		return answer{}, err
	}
	snap, err := s.member(c.ctx, id, c.who.User)
	if err != nil {
		return answer{}, err
	}
	r := store.Range{After: chat.Seq(after), Before: upTo(snap, chat.Seq(before)), Forward: forward,
		Limit: limit}
	if r.After >= math.MaxInt64 || r.Before <= r.After+1 {
		return answer{http.StatusOK, foldedPage{Messages: []json.RawMessage{}, FoldedTo: snap.Head.Seq}}, nil
	}
	w, err := s.window(c.ctx, c.who.User, snap, r, isItem, pageEvents)
	if err != nil {
		return answer{}, underChat(err)
	}
	page, err := s.foldedPage(c.ctx, snap, w)
	if err != nil {
		return answer{}, underChat(err)
	}
	return answer{http.StatusOK, page}, nil
}

// upTo bounds a page by the head at the moment at which membership was looked at: what is appended after a removal is not shown.
func upTo(snap chatlog.Snapshot, before chat.Seq) chat.Seq {
	if end := snap.Head.Seq + 1; before == 0 || before > end {
		return end
	}
	return before
}

// isItem tells whether an event is an item of a page: others are folded into the messages that they concern.
func isItem(e *chat.Event) bool { return e.Type == chat.Message || e.Type == chat.Changed }

// event is an event and how it is stored.
type event struct {
	chat.Event
	body []byte
}

// window is a part of a chat as it was read: the items from one event to another, ascending, and all that became of their messages up to
// the last event that was read.
type window struct {
	items    []event
	from, to chat.Seq
	more     bool
	forward  bool
	read     span
	fold     chat.Fold
	// below is how many messages there are below from.
	below uint64
}

// window reads until it has r.Limit of the events that are wanted and that the person has not hidden, or until it has read pageBytes or at
// least most events.
func (s *Server) window(ctx context.Context, user chat.UserID, snap chatlog.Snapshot, r store.Range, want func(*chat.Event) bool,
	most int) (window, error) {
	id, end := snap.State.Chat, min(r.Before, snap.Head.Seq+1)
	w := window{forward: r.After > 0 || r.Forward}
	next := r
	next.Before, next.Forward, next.MaxBytes, next.Limit = end, w.forward, pageBytes, max(r.Limit, fewEvents)
	for left := most; left > 0 && next.MaxBytes > 0; next.Limit = min(2*next.Limit, chat.MaxPage) {
		page, err := s.log.Page(ctx, id, next)
		if err != nil {
			return w, err
		}
		if len(page.Items) == 0 {
			break
		}
		hidden := s.hidden(ctx, user, id, span{page.From, page.To})
		full, err := w.take(page, r.Limit, func(e *chat.Event) bool { return want(e) && !slices.Contains(hidden, e.Seq) })
		if err != nil {
			return w, err
		}
		if full || w.forward && w.to+1 >= end || !w.forward && w.from <= 1 {
			break
		}
		left -= len(page.Items)
		for _, it := range page.Items {
			next.MaxBytes -= len(it.Body)
		}
		next.After, next.Before = page.To, end
		if !w.forward {
			next.After, next.Before = 0, page.From
		}
	}
	w.more = w.from > 1
	if w.forward {
		w.more = w.to > 0 && w.to+1 < end
	} else {
		slices.Reverse(w.items)
	}
	return w, nil
}

// take takes the events of the next page, up to the first that there is no room for among limit items, and tells whether there is none.
func (w *window) take(page chatlog.Page, limit int, want func(*chat.Event) bool) (full bool, err error) {
	events := make([]event, len(page.Items))
	for i, it := range page.Items {
		events[i].body = it.Body
		if events[i].Event, err = wire.DecodeEvent(it.Body); err != nil {
			return false, err
		}
		w.fold.Add(&events[i].Event)
	}
	if w.read.from == 0 {
		w.read = span{page.From, page.To}
		w.from, w.to = page.From, page.From-1
		if !w.forward {
			w.from, w.to = page.To+1, page.To
		}
	}
	w.read = span{min(w.read.from, page.From), max(w.read.to, page.To)}
	if !w.forward {
		slices.Reverse(events)
	}
	for i := range events {
		e := &events[i]
		if want(&e.Event) {
			if len(w.items) == limit {
				return true, nil
			}
			w.items = append(w.items, *e)
		}
		w.from, w.to = min(w.from, e.Seq), max(w.to, e.Seq)
		if e.Seq == w.from {
			if w.below = e.N; e.Type == chat.Message {
				w.below--
			}
		}
	}
	return len(w.items) == limit, nil
}

// hidden are the events that a person has hidden. While the store is away nobody knows, and the history goes on.
func (s *Server) hidden(ctx context.Context, user chat.UserID, id chat.ID, sp span) []chat.Seq {
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	seqs, err := s.store.Hidden(ctx, user, id, sp.from, sp.to)
	_ = s.stored(err) // is logged
	return seqs
}

// fatesIn is what became of the messages of a window since it was read, and with replies of those that they answer.
func (s *Server) fatesIn(ctx context.Context, snap chatlog.Snapshot, w *window, replies bool) (*fates, error) {
	p := newFates(s, snap, w.from, w.fold)
	whole := w.read.to >= snap.Head.Seq
	for _, e := range w.items {
		whole = whole && (!replies || e.ReplyTo == 0 || w.read.has(e.ReplyTo))
	}
	if !whole && len(w.items) > 0 {
		var err error
		if p, err = s.fates(ctx, snap, w.from, w.fold, w.read); err != nil {
			return nil, err
		}
		if w.read.to < snap.Head.Seq {
			if err := p.marks(ctx, w.read); err != nil {
				return nil, err
			}
		}
	}
	p.told, p.items = w.read, w.items
	return p, nil
}

// foldedPage folds what became of the messages of a window into them. It ends early where that makes it too large.
func (s *Server) foldedPage(ctx context.Context, snap chatlog.Snapshot, w window) (foldedPage, error) {
	p, err := s.fatesIn(ctx, snap, &w, true)
	if err != nil {
		return foldedPage{}, err
	}
	out := foldedPage{Messages: []json.RawMessage{}, HasMore: w.more, From: w.from, To: w.to, FoldedTo: p.to}
	items, size := slices.Clone(w.items), 0
	if !w.forward {
		slices.Reverse(items)
	}
	for some := range slices.Chunk(items, textsAtOnce) {
		bodies, err := p.bodies(ctx, some)
		if err != nil {
			return foldedPage{}, err
		}
		for i, b := range bodies {
			if size += len(b); size > pageBytes && len(out.Messages) > 0 {
				out.HasMore = true
				if out.To = some[i].Seq - 1; !w.forward {
					out.From, out.To = some[i].Seq+1, w.to
				}
				return out.inOrder(w.forward), nil
			}
			out.Messages = append(out.Messages, b)
		}
	}
	return out.inOrder(w.forward), nil
}

func (f foldedPage) inOrder(forward bool) foldedPage {
	if !forward {
		slices.Reverse(f.Messages)
	}
	return f
}

// bodies are items as clients see them.
func (p *fates) bodies(ctx context.Context, items []event) ([]json.RawMessage, error) {
	var messages []chat.Event
	for _, e := range items {
		if e.Type == chat.Message {
			messages = append(messages, e.Event)
		}
	}
	folded, err := p.folded(ctx, messages, true)
	if err != nil {
		return nil, err
	}
	out := make([]json.RawMessage, len(items))
	for i, e := range items {
		out[i] = e.body
		if e.Type == chat.Message {
			out[i], folded = body(e, &folded[0]), folded[1:]
		}
	}
	return out, nil
}

// body is a message as it stands; where nothing became of it, as it is stored.
func body(e event, m *chat.Folded) json.RawMessage {
	if m.Edits == 0 && len(m.Reactions) == 0 && m.Reply == nil && m.Deleted == e.Deleted {
		return e.body
	}
	return wire.Encode(m)
}

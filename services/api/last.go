package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/chatlog"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// lastEvents is how many events are looked through for the last message of a chat, before it is searched for. Nearly always it is among
// the last few.
const lastEvents = 64

func isMessage(e *chat.Event) bool { return e.Type == chat.Message }

// lastMessage returns the last message of a chat as it stands, its text cut; null for none. Messages that the person has hidden are passed
// over, as far as lastEvents go.
func (s *Server) lastMessage(ctx context.Context, user chat.UserID, snap chatlog.Snapshot) (json.RawMessage, error) {
	if snap.Head.N == 0 {
		return nil, nil
	}
	w, err := s.lastOf(ctx, user, snap)
	if err != nil || len(w.items) == 0 {
		return nil, err
	}
	p, err := s.fatesIn(ctx, snap, &w, false)
	if err != nil {
		return nil, err
	}
	last := w.items[0]
	folded, err := p.folded(ctx, []chat.Event{last.Event}, false)
	if err != nil {
		return nil, err
	}
	m := &folded[0]
	if m.Text, m.Truncated = chat.Cut(m.Text, previewText); m.Truncated {
		return wire.Encode(m), nil
	}
	return body(last, m), nil
}

// lastOf is a window with the last message that the person has not hidden; without an item where there is none.
func (s *Server) lastOf(ctx context.Context, user chat.UserID, snap chatlog.Snapshot) (window, error) {
	id, head := snap.State.Chat, snap.Head
	if head.Body != nil {
		at := span{head.Seq, head.Seq}
		if e, err := wire.DecodeEvent(head.Body); err == nil && e.Type == chat.Message && len(s.hidden(ctx, user, id, at)) == 0 {
			return window{items: []event{{e, head.Body}}, from: at.from, to: at.to, read: at}, nil
		}
	}
	w, err := s.window(ctx, user, snap, store.Range{Before: head.Seq + 1, Limit: 1}, isMessage, lastEvents)
	if err != nil || len(w.items) > 0 || w.from <= 1 || w.below == 0 {
		return w, err
	}
	last, err := s.nth(ctx, id, w.below, w.from-1)
	if err != nil {
		return w, err
	}
	at := span{last.Seq, last.Seq}
	if len(s.hidden(ctx, user, id, at)) > 0 {
		return window{}, nil
	}
	return window{items: []event{last}, from: at.from, to: at.to, read: at}, nil
}

// nth is the nth message of a chat, which is not above hi: the first event that counts n messages.
func (s *Server) nth(ctx context.Context, id chat.ID, n uint64, hi chat.Seq) (event, error) {
	for lo := chat.Seq(1); lo <= hi; {
		mid := lo + (hi-lo)/2
		page, err := s.log.Page(ctx, id, store.Range{After: mid - 1, Before: mid + 1, Forward: true, Limit: 1})
		if err != nil {
			return event{}, err
		}
		if len(page.Items) != 1 {
			return event{}, errors.New("api: an event below the head is missing")
		}
		e, err := wire.DecodeEvent(page.Items[0].Body)
		switch {
		case err != nil:
			return event{}, err
		case e.N == n && e.Type == chat.Message:
			return event{e, page.Items[0].Body}, nil
		case e.N >= n:
			hi = mid - 1
		default:
			lo = mid + 1
		}
	}
	return event{}, fmt.Errorf("api: message %d of a chat was not found", n)
}

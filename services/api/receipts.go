package api

import (
	"context"
	"errors"
	"net/http"

	"golang.org/x/sync/errgroup"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/chatlog"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// receipt is how far a member has a chat on a device, and how far they have read it.
type receipt struct {
	User      chat.UserID `json:"user_id"`
	Read      chat.Seq    `json:"read_seq"`
	Delivered chat.Seq    `json:"delivered_seq"`
}

// receipts tells a member how far every member is who lets others know.
func (s *Server) receipts(c *call) (answer, error) {
	id, err := c.chat()
	if err != nil {
		return answer{}, err
	}
	snap, err := s.member(c.ctx, id, c.who.User)
	if err != nil {
		return answer{}, err
	}
	cursors, err := s.cursorsOf(c.ctx, snap)
	if err != nil {
		return answer{}, err
	}
	tells, err := s.tellsReceipts(c.ctx, snap.State, c.who.User)
	if err != nil {
		return answer{}, err
	}
	out := struct {
		Receipts []receipt `json:"receipts"`
	}{make([]receipt, 0, len(cursors))}
	for _, at := range cursors {
		if tells(at.User) {
			out.Receipts = append(out.Receipts, receipt{User: at.User, Read: at.Seq, Delivered: at.Delivered})
		}
	}
	return answer{http.StatusOK, out}, nil
}

// cursorsOf returns the cursors of all members, in the order of the state: the furthest of what the broker and the store know and
// of the own messages that the store does not have yet.
func (s *Server) cursorsOf(ctx context.Context, snap chatlog.Snapshot) ([]store.Cursor, error) {
	id := snap.State.Chat
	// The record first: the cursors in the store then have every own message up to it.
	rec, err := s.store.Record(ctx, id)
	if err := s.stored(err); err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	sent, err := s.lastSent(ctx, snap, rec)
	if err != nil {
		return nil, err
	}
	moved, err := s.log.Cursors(ctx, id)
	if err != nil {
		return nil, err
	}
	out := make([]store.Cursor, len(snap.State.Members))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(listAtOnce)
	for i, m := range snap.State.Members {
		g.Go(func() error {
			at, err := s.store.Cursor(ctx, id, m.UserID)
			if err := s.stored(err); err != nil {
				return err
			}
			at.Chat, at.User = id, m.UserID
			out[i] = at.Later(moved[m.UserID]).Later(sent[m.UserID])
			return nil
		})
	}
	return out, g.Wait()
}

// lastSent returns the cursors that the messages between record and head give their senders.
func (s *Server) lastSent(ctx context.Context, snap chatlog.Snapshot, rec store.Record) (map[chat.UserID]store.Cursor, error) {
	out := map[chat.UserID]store.Cursor{}
	for done, stream := rec.Seq, rec.Stream; done < snap.Head.Seq; {
		items, err := s.log.After(ctx, snap.State.Chat, done, stream, min(int(snap.Head.Seq-done), tailPage), tailBytes)
		if err != nil || len(items) == 0 {
			return out, err // the store has it by now, and its cursors are read after this
		}
		for _, it := range items {
			e, err := wire.DecodeEvent(it.Body)
			if err != nil {
				return nil, err
			}
			if done = it.Seq; e.Type == chat.Message {
				out[e.Sender] = store.Cursor{Chat: e.Chat, User: e.Sender, Seq: e.Seq, N: e.N, Delivered: e.Seq}
			}
		}
	}
	return out, nil
}

// markRead moves the caller's cursor forward, and takes back that they marked the chat as unread.
func (s *Server) markRead(c *call) (answer, error) {
	a, err := s.mark(c, func(seq chat.Seq) chatlog.Move { return chatlog.Move{Read: seq} },
		func(at store.Cursor) chat.Seq { return at.Seq })
	if err == nil {
		err = s.unmark(c.ctx, c.who.User, chat.ID(c.r.PathValue("chat")))
	}
	return a, err
}

// markDelivered says that a device of the caller has the chat.
func (s *Server) markDelivered(c *call) (answer, error) {
	return s.mark(c, func(seq chat.Seq) chatlog.Move { return chatlog.Move{Delivered: seq} },
		func(at store.Cursor) chat.Seq { return at.Delivered })
}

// mark moves a cursor of the caller, and answers where it is.
func (s *Server) mark(c *call, move func(chat.Seq) chatlog.Move, where func(store.Cursor) chat.Seq) (answer, error) {
	id, err := c.chat()
	if err != nil {
		return answer{}, err
	}
	var in struct {
		Seq *chat.Seq `json:"seq"`
	}
	if err := c.body(&in); err != nil {
		return answer{}, err
	}
	if in.Seq == nil {
		return answer{}, chat.Errorf(chat.BadRequest, "seq is required")
	}
	own, err := s.preferencesOf(c.ctx, c.who.User)
	if err != nil {
		return answer{}, err
	}
	m := move(*in.Seq)
	m.Private = !own[c.who.User].ReadReceipts
	if _, err := s.log.Mark(c.ctx, id, c.who.User, m); err != nil {
		return answer{}, underChat(err)
	}
	// An own message may have moved the cursor further than what was asked for.
	now, err := s.log.Cursor(c.ctx, id, c.who.User)
	if err != nil {
		return answer{}, err
	}
	return answer{http.StatusOK, struct {
		Chat chat.ID  `json:"chat"`
		Seq  chat.Seq `json:"seq"`
	}{id, max(*in.Seq, where(now))}}, nil
}

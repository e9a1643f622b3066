package chatlog

import (
	"context"
	"errors"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// Cursor returns how far a person has read a chat: the newer of what the broker and the store know. The cursor that own
// messages advance is that of the store.
func (l *Log) Cursor(ctx context.Context, id chat.ID, user chat.UserID) (store.Cursor, error) {
	c, _, err := l.cursor(ctx, id, user)
	if err != nil {
		return store.Cursor{}, l.unavailable(err)
	}
	old, err := l.older.Cursor(ctx, id, user)
	if err != nil {
		return store.Cursor{}, l.unavailable(err)
	}
	if old.Seq > c.Seq {
		return old, nil
	}
	return c, nil
}

// cursor returns the cursor in the broker, with its stream sequence; zeroes where there is none.
func (l *Log) cursor(ctx context.Context, id chat.ID, user chat.UserID) (store.Cursor, uint64, error) {
	p := l.Partition(id)
	msgs, err := l.bus.LastFor(ctx, subject.CursorStream(p), subject.Cursor(p, id, user))
	c := store.Cursor{Chat: id, User: user}
	if err != nil || len(msgs) == 0 {
		return c, 0, err
	}
	r, err := wire.DecodeRead(msgs[0].Data)
	if err != nil {
		return c, 0, err
	}
	c.Seq, c.N = r.Seq, r.N
	return c, msgs[0].Sequence, nil
}

// MarkRead moves the cursor of a member forward to seq, durably, and tells whether it moved: it never moves back. It fails
// with BadRequest where seq is beyond the last event, NotFound for who is no member, Unavailable.
func (l *Log) MarkRead(ctx context.Context, id chat.ID, user chat.UserID, seq chat.Seq) (moved bool, err error) {
	snap, err := l.refresh(ctx, id)
	if err != nil {
		return false, l.unavailable(err)
	}
	if _, member := snap.State.Member(user); !member {
		return false, chat.Errorf(chat.NotFound, "no such chat")
	}
	if seq > snap.Head.Seq {
		return false, chat.Errorf(chat.BadRequest, "seq is beyond the last event")
	}
	if seq == 0 {
		return false, nil
	}
	n := snap.Head.N
	if seq < snap.Head.Seq {
		item, err := l.Event(ctx, id, seq)
		if err != nil {
			return false, l.unavailable(err)
		}
		e, err := wire.DecodeEvent(item.Body)
		if err != nil {
			return false, err
		}
		n = e.N
	}
	p := l.Partition(id)
	for attempt := range maxAttempts {
		now, at, err := l.cursor(ctx, id, user)
		if err != nil {
			return false, l.unavailable(err)
		}
		if now.Seq >= seq {
			return false, nil
		}
		m := &nats.Msg{Subject: subject.Cursor(p, id, user), Header: nats.Header{},
			Data: wire.Encode(wire.Read{Type: wire.TypeRead, Chat: id, User: user, Seq: seq, N: n})}
		m.Header[jetstream.ExpectedLastSubjSeqHeader] = []string{strconv.FormatUint(at, 10)}
		if _, err = l.bus.Publish(ctx, m); err == nil {
			return true, nil
		}
		var refused *bus.Refusal
		if err := bus.Sleep(ctx, conflictPause(attempt, !errors.As(err, &refused))); err != nil {
			return false, Unavailable("the log does not answer")
		}
	}
	return false, Unavailable("the cursor is written too often")
}

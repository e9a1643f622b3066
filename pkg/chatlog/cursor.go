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

// Cursor returns how far a person has read a chat, and up to where they have it: the newer of what the broker and the store
// know. The cursor that own messages advance is that of the store.
func (l *Log) Cursor(ctx context.Context, id chat.ID, user chat.UserID) (store.Cursor, error) {
	c, _, err := l.cursor(ctx, id, user)
	if err != nil {
		return store.Cursor{}, l.unavailable(err)
	}
	old, err := l.older.Cursor(ctx, id, user)
	if err != nil {
		return store.Cursor{}, l.unavailable(err)
	}
	return c.Later(old), nil
}

// Cursors returns what the broker knows of the cursors of everybody in a chat: those that moved lately, without what own messages
// move. Older.Cursor has the rest.
func (l *Log) Cursors(ctx context.Context, id chat.ID) (map[chat.UserID]store.Cursor, error) {
	p := l.Partition(id)
	msgs, err := l.bus.LastFor(ctx, subject.CursorStream(p), subject.CursorsOf(p, id))
	if err != nil {
		return nil, l.unavailable(err)
	}
	out := make(map[chat.UserID]store.Cursor, len(msgs))
	for _, m := range msgs {
		c, err := decodeCursor(m)
		if err != nil || c.Chat != id {
			continue // put aside by the workers; the store has what was before
		}
		out[c.User] = out[c.User].Later(c)
	}
	return out, nil
}

func decodeCursor(m *bus.Msg) (store.Cursor, error) {
	r, err := wire.DecodeCursor(m.Data)
	if err != nil {
		return store.Cursor{}, err
	}
	c := store.Cursor{Chat: r.Chat, User: r.User, Delivered: r.Seq}
	if r.Type == wire.TypeRead {
		c.Seq, c.N = r.Seq, r.N
	}
	return c, nil
}

// places are the stream sequences of the last cursors of a person in a chat; zero where there is none.
type places struct{ read, delivered uint64 }

// cursor returns the cursor in the broker; zeroes where there is none.
func (l *Log) cursor(ctx context.Context, id chat.ID, user chat.UserID) (store.Cursor, places, error) {
	p := l.Partition(id)
	now, at := store.Cursor{Chat: id, User: user}, places{}
	delivered := subject.Delivered(p, id, user)
	msgs, err := l.bus.LastFor(ctx, subject.CursorStream(p), subject.Cursor(p, id, user), delivered)
	if err != nil {
		return now, at, err
	}
	for _, m := range msgs {
		c, err := decodeCursor(m)
		if err != nil {
			return now, at, err
		}
		now = now.Later(c)
		if m.Subject == delivered {
			at.delivered = m.Sequence
		} else {
			at.read = m.Sequence
		}
	}
	return now, at, nil
}

// Move says how far to move the cursors of a person in a chat; a zero moves nothing.
type Move struct {
	Read, Delivered chat.Seq
	// Private has nobody told but the person's own devices.
	Private bool
}

// Later is what does for both moves.
func (m Move) Later(o Move) Move {
	return Move{Read: max(m.Read, o.Read), Delivered: max(m.Delivered, o.Delivered), Private: m.Private || o.Private}
}

// MarkRead moves the cursor of a member forward to seq, durably, and tells whether it moved: it never moves back. It fails
// with BadRequest where seq is beyond the last event, NotFound for who is no member, Unavailable.
func (l *Log) MarkRead(ctx context.Context, id chat.ID, user chat.UserID, seq chat.Seq) (moved bool, err error) {
	return l.Mark(ctx, id, user, Move{Read: seq})
}

// MarkDelivered says that a device of a member has the chat up to seq, durably, and tells whether that is news: what was read
// was delivered. It fails as MarkRead does.
func (l *Log) MarkDelivered(ctx context.Context, id chat.ID, user chat.UserID, seq chat.Seq) (moved bool, err error) {
	return l.Mark(ctx, id, user, Move{Delivered: seq})
}

// Mark does what MarkRead and MarkDelivered do, together.
func (l *Log) Mark(ctx context.Context, id chat.ID, user chat.UserID, m Move) (moved bool, err error) {
	snap, err := l.refresh(ctx, id)
	if err != nil {
		return false, l.unavailable(err)
	}
	if err := mayMark(snap, user, m); err != nil {
		return false, err
	}
	if m.Read == 0 && m.Delivered == 0 {
		return false, nil
	}
	var n uint64
	if m.Read > 0 {
		if n, err = l.countAt(ctx, id, snap.Head, m.Read); err != nil {
			return false, err
		}
	}
	p := l.Partition(id)
	for attempt := range maxAttempts {
		now, at, err := l.cursor(ctx, id, user)
		if err != nil {
			return moved, l.unavailable(err)
		}
		var next *nats.Msg
		switch {
		case m.Read > now.Seq:
			next = cursorMsg(subject.Cursor(p, id, user), at.read, wire.Read{Type: wire.TypeRead, Chat: id, User: user, Seq: m.Read, N: n, Private: m.Private})
		case m.Delivered > now.Delivered:
			next = cursorMsg(subject.Delivered(p, id, user), at.delivered,
				wire.Delivered{Type: wire.TypeDelivered, Chat: id, User: user, Seq: m.Delivered, Private: m.Private})
		default:
			return moved, nil
		}
		if _, err = l.bus.Publish(ctx, next); err == nil {
			if moved = true; m.Delivered <= max(now.Delivered, m.Read) || next.Subject == subject.Delivered(p, id, user) {
				return true, nil
			}
			continue // what was delivered is beyond what was read
		}
		var refused *bus.Refusal
		if err := bus.Sleep(ctx, conflictPause(attempt, !errors.As(err, &refused))); err != nil {
			return moved, Unavailable("the log does not answer")
		}
	}
	return moved, Unavailable("the cursor is written too often")
}

// CheckMark tells whether Mark would be refused, as far as this process knows; where it thinks so, it asks the broker. It fails as
// MarkRead does.
func (l *Log) CheckMark(ctx context.Context, id chat.ID, user chat.UserID, m Move) error {
	snap, fresh, err := l.known(ctx, id)
	if err != nil {
		return l.unavailable(err)
	}
	if err := mayMark(snap, user, m); err == nil || fresh {
		return err
	}
	if snap, err = l.refresh(ctx, id); err != nil {
		return l.unavailable(err)
	}
	return mayMark(snap, user, m)
}

func mayMark(snap Snapshot, user chat.UserID, m Move) error {
	if _, member := snap.State.Member(user); !member {
		return chat.Errorf(chat.NotFound, "no such chat")
	}
	if max(m.Read, m.Delivered) > snap.Head.Seq {
		return chat.Errorf(chat.BadRequest, "seq is beyond the last event")
	}
	return nil
}

// countAt is how many messages there are up to seq, which is not beyond head.
func (l *Log) countAt(ctx context.Context, id chat.ID, head Head, seq chat.Seq) (uint64, error) {
	if seq == head.Seq {
		return head.N, nil
	}
	item, err := l.Event(ctx, id, seq)
	if err != nil {
		return 0, l.unavailable(err)
	}
	e, err := wire.DecodeEvent(item.Body)
	return e.N, err
}

// cursorMsg is a cursor that replaces the one at stream sequence at; zero is none.
func cursorMsg(subj string, at uint64, body any) *nats.Msg {
	m := &nats.Msg{Subject: subj, Header: nats.Header{}, Data: wire.Encode(body)}
	m.Header[jetstream.ExpectedLastSubjSeqHeader] = []string{strconv.FormatUint(at, 10)}
	return m
}

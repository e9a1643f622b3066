package edge

import (
	"context"
	"errors"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// change asks the api to edit, delete, pin or react to a message: it has the store, which says what became of the message so far.
func (c *conn) change(ctx context.Context, r wire.Request) error {
	id, err := chat.ParseID(r.Chat)
	if err != nil {
		return err
	}
	if r.Seq == 0 {
		return chat.Errorf(chat.BadRequest, "seq is required")
	}
	switch r.Type {
	case wire.TypeEdit:
		if err := chat.CheckText(r.Text); err != nil {
			return err
		}
		if _, err := chat.ParseMentions(r.Mentions); err != nil {
			return err
		}
	case wire.TypeReact:
		if err := chat.CheckEmoji(r.Emoji); err != nil {
			return err
		}
	}
	request := wire.ChangeRequest{Chat: string(id), User: string(c.id.User), Action: r.Type, Seq: r.Seq,
		Text: r.Text, Mentions: r.Mentions, For: r.For, Emoji: r.Emoji, Remove: r.Remove}
	var done struct {
		Seq chat.Seq `json:"seq"`
	}
	if err := c.askChange(ctx, request, &done); err != nil {
		return err
	}
	c.send(wire.Ack{Type: wire.TypeAck, ID: r.ID, Chat: id, Seq: done.Seq})
	return nil
}

// forward asks the api to pass a message on: it knows how the message stands now.
func (c *conn) forward(ctx context.Context, r wire.Request, id chat.ID, client chat.ClientID) error {
	source, err := chat.ParseID(r.Forward.Chat)
	if err != nil {
		return err
	}
	if r.Forward.Seq == 0 {
		return chat.Errorf(chat.BadRequest, "forward.seq is required")
	}
	if r.Text != "" || r.ReplyTo > 0 || len(r.Mentions) > 0 {
		return chat.Errorf(chat.BadRequest, "what is passed on has no text of its own and answers and mentions nobody")
	}
	request := wire.ChangeRequest{Chat: string(id), User: string(c.id.User), Action: wire.ActionForward,
		From: string(source), Seq: r.Forward.Seq, ClientID: string(client)}
	var done struct {
		Seq       chat.Seq   `json:"seq"`
		SentAt    *chat.Time `json:"sent_at"`
		Duplicate bool       `json:"duplicate"`
	}
	if err := c.askChange(ctx, request, &done); err != nil {
		return err
	}
	c.send(wire.Ack{Type: wire.TypeAck, ID: r.ID, Chat: id, ClientID: client, Seq: done.Seq, SentAt: done.SentAt, Duplicate: done.Duplicate})
	return nil
}

// askChange asks the api. It fails with its refusal, or with Unavailable.
func (c *conn) askChange(ctx context.Context, request wire.ChangeRequest, done any) error {
	err := c.s.c.Bus.CallWithin(ctx, requestTimeout, subject.ChangeEndpoint, request, done)
	if errors.Is(err, bus.ErrDown) {
		return chatUnavailable()
	}
	return err
}

// answers fails unless a message stands at seq, which a member wants to answer. One that was deleted since will do: so a retry is not
// refused.
func (c *conn) answers(ctx context.Context, id chat.ID, seq chat.Seq) error {
	if _, err := c.s.c.Log.Membership(ctx, id, c.id.User); err != nil {
		return err
	}
	snap, err := c.s.c.Log.Known(ctx, id)
	if err == nil && seq > snap.Head.Seq {
		snap, err = c.s.c.Log.Snapshot(ctx, id)
	}
	if err != nil {
		return err
	}
	none := chat.Errorf(chat.NotFound, "no such message")
	if seq > snap.Head.Seq {
		return none
	}
	it, err := c.s.c.Log.Event(ctx, id, seq)
	if err != nil {
		return err
	}
	if h, err := wire.Peek(it.Body); err != nil || chat.EventType(h.Type) != chat.Message {
		return none
	}
	return nil
}

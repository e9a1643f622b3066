package edge

import (
	"context"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/limit"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// typing tells the other members, who are online or not: nothing of it is kept. What comes too often is dropped without a word, and so
// is what the person does not want to be told.
func (c *conn) typing(ctx context.Context, r wire.Request) error {
	id, err := chat.ParseID(r.Chat)
	if err != nil {
		return err
	}
	snap, err := c.s.c.Log.Snapshot(ctx, id)
	if err != nil {
		return err
	}
	if _, member := snap.State.Member(c.id.User); !member {
		return chat.Errorf(chat.NotFound, "no such chat")
	}
	if c.tellsTyping(snap.State, r.Stopped) {
		frame := wire.Encode(wire.NewTyping(id, c.id.User, r.Stopped))
		for _, m := range snap.State.Members {
			if m.UserID != c.id.User {
				if err := c.s.c.Bus.Conn().Publish(subject.User(m.UserID), frame); err != nil {
					return chatUnavailable()
				}
			}
		}
	}
	if len(r.ID) > 0 {
		c.send(wire.Ack{Type: wire.TypeAck, ID: r.ID, Chat: id})
	}
	return nil
}

// tellsTyping tells whether it is passed on that the person is writing in a chat, or has stopped.
func (c *conn) tellsTyping(s *chat.State, stopped bool) bool {
	if len(s.Blocks) > 0 || !c.person.preferences().Typing {
		return false
	}
	return c.s.c.Limits.Allow(c.counted(), limit.Typing) == nil && c.s.typingPace.Allow(string(c.id.User)+"."+string(s.Chat), stopped)
}

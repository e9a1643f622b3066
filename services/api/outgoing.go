package api

import (
	"context"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/chatlog"
)

// outgoing is a message as somebody wants to send it: a text, with what it answers and whom it mentions, or one that is passed on.
type outgoing struct {
	ClientID string   `json:"client_id"`
	Text     string   `json:"text"`
	ReplyTo  chat.Seq `json:"reply_to"`
	Mentions []string `json:"mentions"`
	// Forward is the message that is passed on.
	Forward *Place `json:"forward"`
}

// Place is where a message stands.
type Place struct {
	Chat string   `json:"chat"`
	Seq  chat.Seq `json:"seq"`
}

// post appends a message, once for each client id.
func (s *Server) post(ctx context.Context, id chat.ID, sender chat.UserID, o outgoing) (chatlog.Receipt, error) {
	cmd := chat.Send{Sender: sender, Text: o.Text, ReplyTo: o.ReplyTo}
	var err error
	if cmd.ClientID, err = chat.ParseClientID(o.ClientID); err != nil {
		return chatlog.Receipt{}, err
	}
	if cmd.Mentions, err = chat.ParseMentions(o.Mentions); err != nil {
		return chatlog.Receipt{}, err
	}
	if o.Forward != nil {
		if o.Text != "" || o.ReplyTo > 0 || len(o.Mentions) > 0 {
			return chatlog.Receipt{}, chat.Errorf(chat.BadRequest, "what is passed on has no text of its own and answers and mentions nobody")
		}
		return s.forward(ctx, id, cmd, *o.Forward)
	}
	if err := chat.CheckText(o.Text); err != nil {
		return chatlog.Receipt{}, err
	}
	if o.ReplyTo > 0 {
		// That a message stands there never changes, so that a retry is not refused.
		if err := s.isMessage(ctx, id, o.ReplyTo, sender); err != nil {
			return chatlog.Receipt{}, err
		}
	}
	r, err := s.log.Append(ctx, id, cmd)
	return r, underChat(err)
}

// forward appends a message with the text that another has now. The sender must be a member of both chats.
func (s *Server) forward(ctx context.Context, id chat.ID, cmd chat.Send, from Place) (chatlog.Receipt, error) {
	source, err := chat.ParseID(from.Chat)
	if err != nil {
		return chatlog.Receipt{}, err
	}
	t, err := s.target(ctx, source, from.Seq, cmd.Sender)
	if err == nil && (t.message.Deleted != nil || len(s.hidden(ctx, cmd.Sender, source, span{from.Seq, from.Seq})) > 0) {
		err = errNoMessage
	}
	if chat.Is(err, chat.NotFound) { // it may have been there when this message was sent for the first time
		if _, err := s.member(ctx, id, cmd.Sender); err == nil {
			if f, err := s.older.Find(ctx, id, cmd.Sender, cmd.ClientID); err == nil {
				return chatlog.Receipt{Chat: id, Seq: f.Seq, SentAt: f.SentAt, Duplicate: true}, nil
			}
		}
	}
	if err != nil {
		return chatlog.Receipt{}, err
	}
	m := t.message
	cmd.Text, cmd.Forwarded = m.Text, m.Forwarded
	if cmd.Forwarded == nil {
		cmd.Forwarded = &chat.Forward{Sender: m.Sender, SentAt: m.Time()}
	}
	r, err := s.log.Append(ctx, id, cmd)
	return r, underChat(err)
}

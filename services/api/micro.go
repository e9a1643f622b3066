package api

import (
	"context"
	"errors"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// SendRequest asks subject.SendEndpoint to send a message for Sender, who must be a member. SendAnswer says where it stands.
// Text, ReplyTo, Mentions and Forward are as in a frame of a client.
type SendRequest struct {
	Chat     string   `json:"chat"`
	Sender   string   `json:"sender"`
	ClientID string   `json:"client_id"`
	Text     string   `json:"text,omitempty"`
	ReplyTo  chat.Seq `json:"reply_to,omitempty"`
	Mentions []string `json:"mentions,omitempty"`
	Forward  *Place   `json:"forward,omitempty"`
}

// SendAnswer says where a message stands; Duplicate that it stood there before.
type SendAnswer = sent

// maxOthers is how many people one wire.SharesRequest asks for.
const maxOthers = 1000

// endpoints lists what this service answers over NATS.
func (s *Server) endpoints() []bus.Endpoint {
	return []bus.Endpoint{
		{Subject: subject.SendEndpoint, Handle: endpoint(s, s.microSend),
			Doc: "append a message: {chat, sender, client_id, text, reply_to?, mentions?}, or forward: {chat, seq} in place of text, to {chat, seq, sent_at, duplicate?}"},
		{Subject: subject.ChangeEndpoint, Handle: endpoint(s, s.microChange),
			Doc: "change a message: {chat, user, action: edit|delete|react|pin, seq, text?, mentions?, for?, emoji?, remove?} to {chat, seq, target}"},
		{Subject: subject.HistoryEndpoint, Handle: endpoint(s, s.microHistory),
			Doc: "a page of a chat's events: {chat, user?, after?, before?, forward?, limit?, max_bytes?} to {messages, has_more, from_seq, to_seq}"},
		{Subject: subject.StateEndpoint, Handle: endpoint(s, s.microState),
			Doc: "what the store has of a chat: {chat} to {seq, n, at, stream, state}"},
		{Subject: subject.FindEndpoint, Handle: endpoint(s, s.microFind),
			Doc: "where a message stands: {chat, sender, client_id} to {seq, sent_at}"},
		{Subject: subject.SentEndpoint, Handle: endpoint(s, s.microSent),
			Doc: "the ids of what a person has sent to a chat: {chat, sender, since?} to {ids, up_to, complete}"},
		{Subject: subject.CursorEndpoint, Handle: endpoint(s, s.microCursor),
			Doc: "how far the store knows a person to have read: {chat, user} to {seq, n, delivered}"},
		{Subject: subject.SharesEndpoint, Handle: endpoint(s, s.microShares),
			Doc: "whose presence a person may see, of others who share a chat with them and have not blocked them: {user, others} to {users}"},
		{Subject: subject.UserChatsEndpoint, Handle: endpoint(s, s.microChatsOf),
			Doc: "the ids of a person's chats: {user, after?, limit?} to {chats, more}"},
	}
}

// endpoint reads the request, turns errors into refusals, and a panic into an internal error.
func endpoint[Q any](s *Server, handle func(context.Context, Q) (any, error)) bus.Handler {
	return func(ctx context.Context, request []byte) (out any, err error) {
		defer func() {
			if v := recover(); v != nil {
				out, err = nil, s.panicked("micro", v)
			}
		}()
		var q Q
		if err := decodeObject(request, &q); err != nil {
			return nil, err
		}
		out, err = handle(ctx, q)
		return out, refusal(err)
	}
}

// parseMessage parses what names a message: its chat, its sender and its client id.
func parseMessage(chatID, senderID, clientID string) (id chat.ID, sender chat.UserID, client chat.ClientID, err error) {
	if id, err = chat.ParseID(chatID); err != nil {
		return
	}
	if sender, err = chat.ParseUserID(senderID); err != nil {
		return
	}
	client, err = chat.ParseClientID(clientID)
	return
}

func (s *Server) microSend(ctx context.Context, q SendRequest) (any, error) {
	id, sender, _, err := parseMessage(q.Chat, q.Sender, q.ClientID)
	if err != nil {
		return nil, err
	}
	r, err := s.post(ctx, id, sender, outgoing{ClientID: q.ClientID, Text: q.Text, ReplyTo: q.ReplyTo, Mentions: q.Mentions, Forward: q.Forward})
	if err != nil {
		return nil, err
	}
	return SendAnswer{Chat: id, Seq: r.Seq, SentAt: r.SentAt, Duplicate: r.Duplicate}, nil
}

// room is what the broker's largest message has room for besides a page's bodies.
const room = 64 << 10

func (s *Server) microHistory(ctx context.Context, q wire.HistoryRequest) (any, error) {
	id, err := chat.ParseID(q.Chat)
	if err != nil {
		return nil, err
	}
	if q.Limit < 0 || q.MaxBytes < 0 {
		return nil, chat.Errorf(chat.BadRequest, "limit and max_bytes are not negative")
	}
	if q.User != "" {
		user, err := chat.ParseUserID(q.User)
		if err != nil {
			return nil, err
		}
		snap, err := s.member(ctx, id, user)
		if err != nil {
			return nil, err
		}
		q.Before = upTo(snap, q.Before)
	}
	r := store.Range{After: q.After, Before: q.Before, Forward: q.Forward, Limit: defaultPage,
		MaxBytes: max(int(s.bus.Conn().MaxPayload())-room, 1)}
	if q.Limit > 0 {
		r.Limit = min(q.Limit, chat.MaxPage)
	}
	if q.MaxBytes > 0 {
		r.MaxBytes = min(q.MaxBytes, r.MaxBytes)
	}
	page, err := s.log.Page(ctx, id, r)
	if err != nil {
		return nil, underChat(err)
	}
	if len(page.Items) == 0 && q.User == "" { // of a chat that there is?
		if _, err := s.log.Snapshot(ctx, id); err != nil {
			return nil, underChat(err)
		}
	}
	return page.Frame(), nil
}

func (s *Server) microState(ctx context.Context, q wire.StateRequest) (any, error) {
	id, err := chat.ParseID(q.Chat)
	if err != nil {
		return nil, err
	}
	r, err := s.store.Record(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return nil, errNoChat
	}
	return wire.StateAnswer{Seq: r.Seq, N: r.N, At: r.At, Stream: r.Stream, State: r.State}, s.stored(err)
}

func (s *Server) microFind(ctx context.Context, q wire.FindRequest) (any, error) {
	id, sender, client, err := parseMessage(q.Chat, q.Sender, q.ClientID)
	if err != nil {
		return nil, err
	}
	f, err := s.older.Find(ctx, id, sender, client)
	if errors.Is(err, store.ErrNotFound) {
		return nil, chat.Errorf(chat.NotFound, "no such message")
	}
	return wire.FindAnswer{Seq: f.Seq, SentAt: f.SentAt}, err
}

func (s *Server) microCursor(ctx context.Context, q wire.CursorRequest) (any, error) {
	id, err := chat.ParseID(q.Chat)
	if err != nil {
		return nil, err
	}
	user, err := chat.ParseUserID(q.User)
	if err != nil {
		return nil, err
	}
	c, err := s.store.Cursor(ctx, id, user)
	return wire.CursorAnswer{Seq: c.Seq, N: c.N, Delivered: c.Delivered}, s.stored(err)
}

func (s *Server) microShares(ctx context.Context, q wire.SharesRequest) (any, error) {
	user, err := chat.ParseUserID(q.User)
	if err != nil {
		return nil, err
	}
	if len(q.Others) > maxOthers {
		return nil, chat.Errorf(chat.BadRequest, "others are at most %d", maxOthers)
	}
	others, err := parseUsers(q.Others)
	if err != nil {
		return nil, err
	}
	found, err := s.shown(ctx, user, others)
	return wire.SharesAnswer{Users: found}, err
}

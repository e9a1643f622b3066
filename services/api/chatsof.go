package api

import (
	"context"
	"slices"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// maxChatsOf is how many chats one answer names: they fit into a message of the broker.
const maxChatsOf = 10_000

func (s *Server) microChatsOf(ctx context.Context, q wire.ChatsOfRequest) (any, error) {
	user, err := chat.ParseUserID(q.User)
	if err != nil {
		return nil, err
	}
	if q.Limit < 0 {
		return nil, chat.Errorf(chat.BadRequest, "limit is not negative")
	}
	if q.Limit == 0 || q.Limit > maxChatsOf {
		q.Limit = maxChatsOf
	}
	index, err := s.store.ChatsOf(ctx, user)
	if err := s.stored(err); err != nil {
		return nil, err
	}
	a := wire.ChatsOfAnswer{Chats: make([]chat.ID, 0, min(len(index), q.Limit))}
	for _, entry := range index {
		if entry.Chat > q.After {
			a.Chats = append(a.Chats, entry.Chat)
		}
	}
	slices.Sort(a.Chats)
	if len(a.Chats) > q.Limit {
		a.Chats, a.More = a.Chats[:q.Limit], true
	}
	return a, nil
}

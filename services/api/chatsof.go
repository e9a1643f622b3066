package api

import (
	"context"
	"slices"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

// ChatsOfRequest asks subject.UserChatsEndpoint for the chats of User whose ids come behind After. Limit is 10,000 if it is zero, and
// at most.
type ChatsOfRequest struct {
	User  string  `json:"user"`
	After chat.ID `json:"after"`
	Limit int     `json:"limit"`
}

// ChatsOfAnswer lists them, ascending; More says that there are further ones behind the last. A chat of which the person is about to become
// a member is there before the event that makes them one; one that they have left is there until the store knows.
type ChatsOfAnswer struct {
	Chats []chat.ID `json:"chats"`
	More  bool      `json:"more"`
}

// maxChatsOf is how many chats one answer names: they fit into a message of the broker.
const maxChatsOf = 10_000

func (s *Server) microChatsOf(ctx context.Context, q ChatsOfRequest) (any, error) {
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
	a := ChatsOfAnswer{Chats: make([]chat.ID, 0, min(len(index), q.Limit))}
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

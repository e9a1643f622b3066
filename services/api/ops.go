package api

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/verify"
)

// VerifyRequest asks subject.VerifyEndpoint to compare log and store of a chat, which is answered with a verify.Report.
type VerifyRequest struct {
	Chat string `json:"chat"`
}

// ChatsRequest asks subject.ChatsEndpoint for the chats behind After, ascending by id. Limit is 10,000 at most, and 1,000 if
// it is zero.
type ChatsRequest struct {
	After string `json:"after,omitempty"`
	Limit int    `json:"limit,omitempty"`
}

// ChatsAnswer lists chats; More says that there are others behind the last.
type ChatsAnswer struct {
	Chats []chat.ID `json:"chats"`
	More  bool      `json:"more"`
}

// Bounds of the endpoints for operators.
const (
	// VerifyTimeout bounds the verification of one chat: one of a million events takes a minute or two.
	VerifyTimeout = 15 * time.Minute
	// ChatsTimeout bounds the listing of chats: the log of all is walked through for it.
	ChatsTimeout = 5 * time.Minute

	chatsPage    = 1000
	maxChatsPage = 10_000
)

// opsEndpoints lists what this service answers operators.
func (s *Server) opsEndpoints() []bus.Endpoint {
	return []bus.Endpoint{
		{Subject: subject.VerifyEndpoint, Handle: endpoint(s, s.microVerify), Parallel: 2, Timeout: VerifyTimeout,
			Doc: "compare log and store of a chat: {chat} to {chat, events, messages, stored, problems, wrong}"},
		{Subject: subject.ChatsEndpoint, Handle: endpoint(s, s.microChats), Parallel: 1, Timeout: ChatsTimeout,
			Doc: "the ids of all chats, ascending: {after?, limit?} to {chats, more}"},
	}
}

func (s *Server) microVerify(ctx context.Context, q VerifyRequest) (any, error) {
	id, err := chat.ParseID(q.Chat)
	if err != nil {
		return nil, err
	}
	partitions, err := s.bus.Partitions(ctx)
	if err != nil {
		return nil, brokerAway(err)
	}
	began := time.Now()
	r, err := verify.Chat(ctx, verify.NewStream(s.bus, partitions), s.store, id)
	if err != nil {
		return nil, brokerAway(err)
	}
	if r.Wrong > 0 {
		s.logger.Error("chat is not right", "chat", id, "problems", r.Wrong, "events", r.Events, "took", time.Since(began))
	}
	return r, nil
}

// brokerAway is the refusal for what could not be read; it is either the broker or the store that is away.
func brokerAway(err error) error {
	var known *chat.Error
	if errors.As(err, &known) {
		return err
	}
	return unavailable("log or store cannot be read at the moment", err)
}

func (s *Server) microChats(ctx context.Context, q ChatsRequest) (any, error) {
	after := chat.ID("")
	if q.After != "" {
		var err error
		if after, err = chat.ParseID(q.After); err != nil {
			return nil, err
		}
	}
	if q.Limit < 0 {
		return nil, chat.Errorf(chat.BadRequest, "limit is not negative")
	}
	limit := chatsPage
	if q.Limit > 0 {
		limit = min(q.Limit, maxChatsPage)
	}
	// What is not in the store is asked for first: what comes into the store in between is in both.
	young, err := s.unstored.chats(ctx, s.bus, s.store, after == "")
	if err != nil {
		return nil, brokerAway(err)
	}
	at, found := slices.BinarySearch(young, after)
	if found {
		at++
	}
	ids, err := s.store.Chats(ctx, after, limit+1)
	if err := s.stored(err); err != nil {
		return nil, err
	}
	ids = append(ids, young[at:min(len(young), at+limit+1)]...)
	slices.Sort(ids)
	ids = slices.Compact(ids)
	return ChatsAnswer{Chats: ids[:min(len(ids), limit)], More: len(ids) > limit}, nil
}

// unstored knows the chats that the log has and the store does not have yet. To find them takes a walk over all chats of the log,
// so they are kept for the pages of one listing.
type unstored struct {
	mu  sync.Mutex // guards the following fields
	ids []chat.ID
	at  time.Time
}

// unstoredFor is how long what was found is good.
const unstoredFor = time.Minute

// chats returns the chats, ascending; anew where fresh is set or what is known is too old.
func (u *unstored) chats(ctx context.Context, b *bus.Bus, h store.History, fresh bool) ([]chat.ID, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !fresh && time.Since(u.at) < unstoredFor {
		return u.ids, nil
	}
	n, err := b.Partitions(ctx)
	if err != nil {
		return nil, err
	}
	var all []chat.ID
	for p := range n {
		some, err := b.Chats(ctx, p)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	slices.Sort(all)
	// Both ascend, so that one walk through the store finds what it lacks.
	var ids, page []chat.ID
	var after chat.ID
	for done := false; len(all) > 0; {
		if len(page) == 0 && !done {
			if page, err = h.Chats(ctx, after, maxChatsPage); err != nil {
				return nil, err
			}
			if done = len(page) < maxChatsPage; len(page) > 0 {
				after = page[len(page)-1]
			}
		}
		switch {
		case len(page) == 0 || all[0] < page[0]:
			ids, all = append(ids, all[0]), all[1:]
		case all[0] == page[0]:
			all, page = all[1:], page[1:]
		default:
			page = page[1:]
		}
	}
	u.ids, u.at = ids, time.Now()
	return ids, nil
}

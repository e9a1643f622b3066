package presence

import (
	"context"
	"encoding/json"
	"time"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// maxAsked is how many people one request may ask for.
const maxAsked = 1000

// Query is the body of a request to subject.PresenceEndpoint.
type Query struct {
	// Users are up to 1,000 ids.
	Users []string `json:"users"`
	// For is who is to be shown the answer: it tells them the truth of themselves, also where others see them offline. Empty is
	// somebody else.
	For string `json:"for,omitempty"`
}

// Answer is the answer: one for each id asked, in that order. Somebody unknown is offline without a last seen.
type Answer struct {
	Presence []wire.Presence `json:"presence"`
}

// serve answers queries until ctx ends.
func (s *Server) serve(ctx context.Context) error {
	return s.c.Bus.Serve(ctx, s.c.Version, []bus.Endpoint{{
		Subject: subject.PresenceEndpoint,
		Doc:     `who is online, and when those who are not were last: {"users":[…], "for":"…"} with up to 1,000 ids`,
		Handle:  s.answer,
	}}, nil)
}

// answer fails with BadRequest, and with Unavailable while the bucket is being read or the broker does not answer.
func (s *Server) answer(ctx context.Context, request []byte) (any, error) {
	var q Query
	if err := json.Unmarshal(request, &q); err != nil {
		return nil, chat.Errorf(chat.BadRequest, "the body is not a JSON object with users")
	}
	if len(q.Users) > maxAsked {
		return nil, chat.Errorf(chat.BadRequest, "at most %d users", maxAsked)
	}
	users := make([]chat.UserID, len(q.Users))
	for i, u := range q.Users {
		user, err := chat.ParseUserID(u)
		if err != nil {
			return nil, err
		}
		users[i] = user
	}
	are, ok := s.table.ask(users)
	if !ok {
		return nil, chat.Retry(chat.Unavailable, time.Second, "presence is not known yet")
	}
	var gone []chat.UserID
	for i, user := range users {
		if string(user) != q.For {
			are[i] = are[i].public()
		}
		if are[i] == offline {
			gone = append(gone, user)
		}
	}
	seen, err := s.seen.of(ctx, gone)
	if err != nil {
		return nil, chat.Retry(chat.Unavailable, time.Second, "last seen cannot be read now")
	}
	out := Answer{Presence: make([]wire.Presence, len(users))}
	for i, user := range users {
		p := are[i].presence(user)
		p.Type = ""
		if at, ok := seen[user]; ok && are[i] == offline {
			p.LastSeen = &at
		}
		out.Presence[i] = p
	}
	return out, nil
}

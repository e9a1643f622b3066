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
}

// Answer is the answer: one for each id asked, in that order. Somebody unknown is offline without a last seen.
type Answer struct {
	Presence []wire.Presence `json:"presence"`
}

// serve answers queries until ctx ends.
func (s *Server) serve(ctx context.Context) error {
	return s.c.Bus.Serve(ctx, s.c.Version, []bus.Endpoint{{
		Subject: subject.PresenceEndpoint,
		Doc:     `who is online, and when those who are not were last: {"users":[…]} with up to 1,000 ids`,
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
	on, ok := s.table.ask(users)
	if !ok {
		return nil, chat.Retry(chat.Unavailable, time.Second, "presence is not known yet")
	}
	var offline []chat.UserID
	for i, user := range users {
		if !on[i] {
			offline = append(offline, user)
		}
	}
	seen, err := s.seen.of(ctx, offline)
	if err != nil {
		return nil, chat.Retry(chat.Unavailable, time.Second, "last seen cannot be read now")
	}
	out := Answer{Presence: make([]wire.Presence, len(users))}
	for i, user := range users {
		p := wire.Presence{User: user, Online: on[i]}
		if at, ok := seen[user]; ok && !on[i] {
			p.LastSeen = &at
		}
		out.Presence[i] = p
	}
	return out, nil
}

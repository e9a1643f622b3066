package api

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// presenceTimeout bounds the question to the presence service.
const presenceTimeout = 5 * time.Second

// presence tells which of the people who share a chat with the caller, and have not blocked them, are online.
func (s *Server) presence(c *call) (answer, error) {
	type view struct {
		UserID   chat.UserID `json:"user_id"`
		Online   bool        `json:"online"`
		State    string      `json:"state"`
		LastSeen *chat.Time  `json:"last_seen,omitempty"`
		// Invisible comes with the caller.
		Invisible bool `json:"invisible,omitempty"`
	}
	out := struct {
		Presence []view `json:"presence"`
	}{[]view{}}
	q, err := c.query()
	if err != nil {
		return answer{}, err
	}
	asked, err := users(q, "user")
	if err != nil {
		return answer{}, err
	}
	if asked, err = s.shown(c.ctx, c.who.User, asked); err != nil {
		return answer{}, err
	}
	if len(asked) == 0 {
		return answer{http.StatusOK, out}, nil
	}
	ctx, cancel := context.WithTimeout(c.ctx, presenceTimeout)
	defer cancel()
	request := struct {
		Users []chat.UserID `json:"users"`
		For   chat.UserID   `json:"for"`
	}{asked, c.who.User}
	var got struct {
		Presence []wire.Presence `json:"presence"`
	}
	if err := s.bus.Call(ctx, subject.PresenceEndpoint, request, &got); err != nil {
		return answer{}, err
	}
	for _, p := range got.Presence {
		if slices.Contains(asked, p.User) {
			out.Presence = append(out.Presence, view{UserID: p.User, Online: p.Online, State: p.State, LastSeen: p.LastSeen, Invisible: p.Invisible})
		}
	}
	return answer{http.StatusOK, out}, nil
}

// sharesAtOnce is how many chats of a person are looked into at once for those they share them with.
const sharesAtOnce = 256

// shares returns those of the others who are in a chat with the caller now, in the order given. Everyone shares with
// themselves.
func (s *Server) shares(ctx context.Context, caller chat.UserID, others []chat.UserID) ([]chat.UserID, error) {
	found := map[chat.UserID]bool{caller: true}
	missing := func() int {
		n := 0
		for _, u := range others {
			if !found[u] {
				n++
			}
		}
		return n
	}
	look := func(ids []chat.ID) error {
		snaps, err := s.log.Snapshots(ctx, ids)
		if err != nil {
			return err
		}
		for _, snap := range snaps {
			if _, in := snap.State.Member(caller); in {
				for _, m := range snap.State.Members {
					found[m.UserID] = true
				}
			}
		}
		return nil
	}
	if missing() == 0 {
		return others, nil
	}
	index, err := s.store.ChatsOf(ctx, caller)
	if err := s.stored(err); err != nil {
		return nil, err
	}
	// The direct chat with somebody is known by its id; only for who is not found there the groups are looked through.
	var direct, groups []chat.ID
	wanted := make(map[chat.ID]bool, len(others))
	for _, u := range others {
		wanted[DirectID(caller, u)] = true
	}
	for _, c := range index {
		switch {
		case wanted[c.Chat]:
			direct = append(direct, c.Chat)
		case !isDirect(c.Chat):
			groups = append(groups, c.Chat)
		}
	}
	for some := range slices.Chunk(append(direct, groups...), sharesAtOnce) {
		if err := look(some); err != nil {
			return nil, err
		}
		if missing() == 0 {
			break
		}
	}
	return slices.DeleteFunc(slices.Clone(others), func(u chat.UserID) bool { return !found[u] }), nil
}

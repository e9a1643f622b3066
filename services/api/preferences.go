package api

import (
	"context"
	"net/http"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/prefs"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// preferences are what the caller lets others learn, as a client sees them.
type preferences struct {
	ReadReceipts bool   `json:"read_receipts"`
	Typing       bool   `json:"typing"`
	Presence     string `json:"presence"`
}

func preferencesView(p prefs.Preferences) answer {
	f := p.Frame()
	return answer{http.StatusOK, preferences{ReadReceipts: f.ReadReceipts, Typing: f.Typing, Presence: f.Presence}}
}

// preferencesOf returns the preferences of all the people.
func (s *Server) preferencesOf(ctx context.Context, users ...chat.UserID) (map[chat.UserID]prefs.Preferences, error) {
	return prefs.Of(ctx, s.bus, users...)
}

// getPreferences tells the caller's preferences.
func (s *Server) getPreferences(c *call) (answer, error) {
	all, err := s.preferencesOf(c.ctx, c.who.User)
	if err != nil {
		return answer{}, err
	}
	return preferencesView(all[c.who.User]), nil
}

// putPreferences changes those of the caller's preferences that the body names.
func (s *Server) putPreferences(c *call) (answer, error) {
	var in struct {
		ReadReceipts *bool   `json:"read_receipts"`
		Typing       *bool   `json:"typing"`
		Presence     *string `json:"presence"`
	}
	if err := c.body(&in); err != nil {
		return answer{}, err
	}
	if in.Presence != nil && *in.Presence != wire.Visible && *in.Presence != wire.Invisible {
		return answer{}, chat.Errorf(chat.BadRequest, "presence is visible or invisible")
	}
	now, err := prefs.Change(c.ctx, s.bus, c.who.User, func(p *prefs.Preferences) {
		if in.ReadReceipts != nil {
			p.ReadReceipts = *in.ReadReceipts
		}
		if in.Typing != nil {
			p.Typing = *in.Typing
		}
		if in.Presence != nil {
			p.Invisible = *in.Presence == wire.Invisible
		}
	})
	if err != nil {
		return answer{}, err
	}
	return preferencesView(now), nil
}

// tellsReceipts returns whose cursors in a chat a member is shown: the own, and those of people who let others know, unless the member
// does not.
func (s *Server) tellsReceipts(ctx context.Context, state *chat.State, caller chat.UserID) (func(chat.UserID) bool, error) {
	users := make([]chat.UserID, len(state.Members))
	for i, m := range state.Members {
		users[i] = m.UserID
	}
	all, err := s.preferencesOf(ctx, users...)
	if err != nil {
		return nil, err
	}
	return func(u chat.UserID) bool {
		return u == caller || all[caller].ReadReceipts && all[u].ReadReceipts
	}, nil
}

// typing tells the other members of a chat that the caller is writing, or has stopped.
func (s *Server) typing(c *call) (answer, error) {
	id, err := c.chat()
	if err != nil {
		return answer{}, err
	}
	var in struct {
		Stopped bool `json:"stopped"`
	}
	if err := c.optionalBody(&in); err != nil {
		return answer{}, err
	}
	snap, err := s.member(c.ctx, id, c.who.User)
	if err != nil {
		return answer{}, err
	}
	own, err := s.preferencesOf(c.ctx, c.who.User)
	if err != nil {
		return answer{}, err
	}
	if !own[c.who.User].Typing || len(snap.State.Blocks) > 0 || !s.typingPace.Allow(string(c.who.User)+"."+string(id), in.Stopped) {
		return answer{http.StatusNoContent, nil}, nil
	}
	frame := wire.Encode(wire.NewTyping(id, c.who.User, in.Stopped))
	for _, m := range snap.State.Members {
		if m.UserID == c.who.User {
			continue
		}
		if err := s.bus.Conn().Publish(subject.User(m.UserID), frame); err != nil {
			return answer{}, chat.Retry(chat.Unavailable, 0, "the broker cannot be reached at the moment")
		}
	}
	return answer{http.StatusNoContent, nil}, nil
}

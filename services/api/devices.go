package api

import (
	"cmp"
	"errors"
	"net/http"
	"slices"
	"unicode/utf8"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/store"
)

const (
	// maxDevice is the length of the name of a device, in code points.
	maxDevice = 100
	// maxSessions is how many sessions are listed, those used last.
	maxSessions = 1000
)

var errNoSession = chat.Errorf(chat.NotFound, "no such session")

func checkDevice(s string) error {
	if utf8.RuneCountInString(s) > maxDevice || !printable(s) {
		return chat.Errorf(chat.BadRequest, "device has at most %d characters, none of them a control character", maxDevice)
	}
	return nil
}

// sessionView is a session as its person sees it.
type sessionView struct {
	ID         string    `json:"id"`
	Device     string    `json:"device"`
	CreatedAt  chat.Time `json:"created_at"`
	LastUsedAt chat.Time `json:"last_used_at"`
	Current    bool      `json:"current,omitempty"`
}

// listSessions returns the sessions of who calls, those used last first.
func (s *Server) listSessions(c *call) (answer, error) {
	all, err := s.store.Sessions(c.ctx, c.who.User)
	if err := s.stored(err); err != nil {
		return answer{}, err
	}
	out := struct {
		Sessions []sessionView `json:"sessions"`
	}{make([]sessionView, 0, len(all))}
	for _, one := range all {
		out.Sessions = append(out.Sessions, sessionView{ID: one.ID, Device: one.Device, CreatedAt: one.CreatedAt, LastUsedAt: usedAt(one),
			Current: one.ID == c.who.Session})
	}
	slices.SortFunc(out.Sessions, func(a, b sessionView) int {
		return cmp.Or(b.LastUsedAt.Compare(a.LastUsedAt.Time), cmp.Compare(a.ID, b.ID))
	})
	out.Sessions = out.Sessions[:min(len(out.Sessions), maxSessions)]
	return answer{http.StatusOK, out}, nil
}

// usedAt is when a session was last begun or refreshed.
func usedAt(one store.Session) chat.Time {
	if one.LastSeen.After(one.CreatedAt.Time) {
		return one.LastSeen
	}
	return one.CreatedAt
}

// endSession ends one session of who calls. It revokes first: should the deletion fail, the session is still listed, and the call can
// be made again.
func (s *Server) endSession(c *call) (answer, error) {
	id := c.r.PathValue("id")
	if _, err := chat.ParseID(id); err != nil {
		return answer{}, errNoSession
	}
	switch _, err := s.store.Session(c.ctx, c.who.User, id); {
	case errors.Is(err, store.ErrNotFound):
		return answer{}, errNoSession
	case err != nil:
		return answer{}, s.stored(err)
	}
	if err := s.revoke(c.ctx, c.who.User, id); err != nil {
		return answer{}, err
	}
	return answer{status: http.StatusNoContent}, s.stored(s.store.DeleteSession(c.ctx, c.who.User, id))
}

package api

import (
	"context"
	"errors"
	"net/http"
	"unicode/utf8"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// userView is a person as others see them. Of who has deleted their account only id and name are left.
type userView = wire.Person

func viewUser(u store.User) userView {
	if isDeleted(u) {
		return userView{ID: u.ID, Username: u.Name, Deleted: true}
	}
	return userView{ID: u.ID, Username: u.Name, DisplayName: u.DisplayName, Status: u.Status, Picture: u.Picture}
}

// Bounds of what a person tells of themselves.
const (
	maxEmail       = 254 // bytes
	maxDisplayName = 64  // code points
	maxStatus      = 140 // code points
)

func checkStatus(s string) error {
	if utf8.RuneCountInString(s) > maxStatus || !printable(s) {
		return chat.Errorf(chat.BadRequest, "status has at most %d characters, none of them a control character", maxStatus)
	}
	return nil
}

// account returns the account of who calls. It fails with errNoUser where nothing is left of it.
func (s *Server) account(ctx context.Context, user chat.UserID) (store.User, error) {
	found, err := s.store.Users(ctx, user)
	switch err := s.stored(err); {
	case err != nil:
		return store.User{}, err
	case len(found) != 1, isDeleted(found[0]) && found[0].PasswordHash == "":
		return store.User{}, errNoUser
	}
	return found[0], nil
}

// setProfile changes what a person tells of themselves, field by field; an empty text takes one back. Own devices are told,
// others see it when they ask for the person the next time: nobody can know everybody who shows it.
func (s *Server) setProfile(c *call) (answer, error) {
	var in struct {
		DisplayName *string `json:"display_name"`
		Status      *string `json:"status"`
		Picture     *string `json:"picture"`
	}
	if err := c.body(&in); err != nil {
		return answer{}, err
	}
	for _, f := range []struct {
		given *string
		check func(string) error
	}{{in.DisplayName, checkDisplayName}, {in.Status, checkStatus}, {in.Picture, chat.CheckPicture}} {
		if f.given == nil {
			continue
		}
		if err := f.check(*f.given); err != nil {
			return answer{}, err
		}
	}
	if in.DisplayName != nil && *in.DisplayName == "" {
		u, err := s.account(c.ctx, c.who.User)
		if err != nil {
			return answer{}, err
		}
		in.DisplayName = &u.Name
	}
	u, err := s.store.SetProfile(c.ctx, c.who.User, store.Profile{DisplayName: in.DisplayName, Status: in.Status, Picture: in.Picture})
	switch err := s.stored(err); {
	case errors.Is(err, store.ErrNotFound):
		return answer{}, errNoUser
	case err != nil:
		return answer{}, err
	}
	view := viewUser(u)
	s.tell(u.ID, wire.Profile{Type: wire.TypeProfile, User: view})
	return answer{http.StatusOK, view}, nil
}

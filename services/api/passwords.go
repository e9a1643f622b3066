package api

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/chatmesh/chatmesh/pkg/auth"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/store"
)

// confirm lets pass who knows the password of the account. Any other gets the answer of a wrong log-in, at the same price: a
// password that nobody can have costs a hash as well.
func (s *Server) confirm(c *call, password string) (store.User, bool, error) {
	u, err := s.account(c.ctx, c.who.User)
	if err != nil {
		return u, false, err
	}
	ok, err := s.knows(c.ctx, u, password)
	return u, ok, err
}

func (s *Server) knows(ctx context.Context, u store.User, password string) (bool, error) {
	if auth.CheckPassword(password) != nil { // nobody's
		return s.hasher.VerifyUnknown(ctx, "")
	}
	return s.hasher.Verify(ctx, u.PasswordHash, password)
}

// changePassword gives the account another password and ends all other sessions. A call that was cut off after the change may be
// made again as it was: it is known by the new password, and ends what is left of the other sessions.
func (s *Server) changePassword(c *call) (answer, error) {
	var in struct {
		Old string `json:"old_password"`
		New string `json:"new_password"`
	}
	if err := c.body(&in); err != nil {
		return answer{}, err
	}
	if in.Old == "" {
		return answer{}, chat.Errorf(chat.BadRequest, "old_password is required")
	}
	if auth.CheckPassword(in.New) != nil {
		return answer{}, chat.Errorf(chat.BadRequest, "new_password is %d to %d characters of UTF-8", auth.MinPassword, auth.MaxPassword)
	}
	u, ok, err := s.confirm(c, in.Old)
	if err != nil {
		return answer{}, err
	}
	if !ok {
		switch made, err := s.knows(c.ctx, u, in.New); {
		case err != nil:
			return answer{}, err
		case !made:
			return answer{}, errCredentials
		}
		return answer{status: http.StatusNoContent}, s.endSessions(c.ctx, u.ID, c.who.Session)
	}
	next, err := s.hasher.Hash(c.ctx, in.New)
	if err != nil {
		return answer{}, err
	}
	switch err := s.stored(s.store.SetPassword(c.ctx, u.ID, u.PasswordHash, next)); {
	case errors.Is(err, store.ErrConflict):
		return answer{}, chat.Errorf(chat.Conflict, "the password was changed meanwhile")
	case errors.Is(err, store.ErrNotFound):
		return answer{}, errNoUser
	case err != nil:
		return answer{}, err
	}
	return answer{status: http.StatusNoContent}, s.endSessions(c.ctx, u.ID, c.who.Session)
}

// endingAtOnce is how many sessions are revoked at the same time.
const endingAtOnce = 16

// endSessions ends all sessions of a person but one, or all where that is empty. Each is revoked before it is deleted: should
// this fail halfway, its next refresh deletes it. Who asked may be gone meanwhile.
func (s *Server) endSessions(ctx context.Context, user chat.UserID, except string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.set.RequestTimeout)
	defer cancel()
	all, err := s.store.Sessions(ctx, user)
	if err := s.stored(err); err != nil {
		return err
	}
	ids := make([]string, 0, len(all))
	for _, one := range all {
		if one.ID != except {
			ids = append(ids, one.ID)
		}
	}
	if err := s.revokeAll(ctx, user, ids); err != nil {
		return err
	}
	ended, err := s.store.DeleteSessions(ctx, user, except)
	begun := slices.DeleteFunc(ended, func(id string) bool { return slices.Contains(ids, id) })
	return errors.Join(s.revokeAll(ctx, user, begun), s.stored(err))
}

// revokeAll revokes sessions of a person.
func (s *Server) revokeAll(ctx context.Context, user chat.UserID, sessions []string) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(endingAtOnce)
	for _, id := range sessions {
		g.Go(func() error { return s.revoke(ctx, user, id) })
	}
	return g.Wait()
}

// stands tells whether a session that was begun with what was known of an account may be given away: the password was not changed,
// nor the account deleted, between the check of the password and the session. Otherwise it ends the session: whoever changes
// the password ends the sessions that there are, and might have missed this one.
func (s *Server) stands(ctx context.Context, u store.User, session string) error {
	found, err := s.store.Users(ctx, u.ID)
	if err := s.stored(err); err != nil {
		return err
	}
	if len(found) == 1 && !isDeleted(found[0]) && found[0].PasswordHash == u.PasswordHash {
		return nil
	}
	if err := s.stored(s.store.DeleteSession(ctx, u.ID, session)); err != nil {
		return err
	}
	return errCredentials
}

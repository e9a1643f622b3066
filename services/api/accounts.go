package api

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/chatmesh/chatmesh/pkg/auth"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/limit"
	"github.com/chatmesh/chatmesh/pkg/store"
)

// grant answers whatever begins or continues a session.
type grant struct {
	User         userView `json:"user"`
	AccessToken  string   `json:"access_token"`
	RefreshToken string   `json:"refresh_token"`
	ExpiresIn    int64    `json:"expires_in"` // seconds
}

func checkEmail(s string) error {
	if s != "" && (len(s) > maxEmail || !strings.Contains(s, "@") || !printable(s)) {
		return chat.Errorf(chat.BadRequest, "email is an address of at most %d bytes", maxEmail)
	}
	return nil
}

func checkDisplayName(s string) error {
	if utf8.RuneCountInString(s) > maxDisplayName || !printable(s) {
		return chat.Errorf(chat.BadRequest, "display_name has at most %d characters, none of them a control character", maxDisplayName)
	}
	return nil
}

func printable(s string) bool {
	return utf8.ValidString(s) && strings.IndexFunc(s, unicode.IsControl) < 0
}

// register makes an account and its first session.
func (s *Server) register(c *call) (answer, error) {
	var in struct {
		Username    string `json:"username"`
		Password    string `json:"password"`
		Email       string `json:"email"`
		DisplayName string `json:"display_name"`
		Device      string `json:"device"`
	}
	if err := c.body(&in); err != nil {
		return answer{}, err
	}
	for _, err := range []error{auth.CheckUsername(in.Username), auth.CheckPassword(in.Password), checkEmail(in.Email),
		checkDisplayName(in.DisplayName), checkDevice(in.Device)} {
		if err != nil {
			return answer{}, err
		}
	}
	if err := s.limits.Allow(c.counted(), limit.Register); err != nil {
		return answer{}, err
	}
	taken := chat.Errorf(chat.UsernameTaken, "somebody else has that user name")
	switch _, err := s.store.UserByName(c.ctx, in.Username); { // before the dear part
	case err == nil:
		return answer{}, taken
	case !errors.Is(err, store.ErrNotFound):
		return answer{}, s.stored(err)
	}
	id, err := NewUserID()
	if err != nil {
		return answer{}, err
	}
	u := store.User{ID: id, Name: in.Username, DisplayName: in.DisplayName, Email: in.Email, CreatedAt: chat.Now()}
	if u.DisplayName == "" {
		u.DisplayName = u.Name
	}
	if u.PasswordHash, err = s.hasher.Hash(c.ctx, in.Password); err != nil {
		return answer{}, err
	}
	if err := s.stored(s.store.CreateUser(c.ctx, u)); err != nil {
		if errors.Is(err, store.ErrTaken) {
			err = taken
		}
		return answer{}, err
	}
	return s.begin(c.ctx, u, in.Device)
}

// begin makes a session on a device.
func (s *Server) begin(ctx context.Context, u store.User, device string) (answer, error) {
	session := auth.NewSessionID()
	g, digest, err := s.grant(u, session)
	if err != nil {
		return answer{}, err
	}
	err = s.stored(s.store.CreateSession(ctx, store.Session{User: u.ID, ID: session, Device: device, Refresh: digest, CreatedAt: chat.Now(),
		ExpiresAt: chat.TimeOf(time.Now().Add(s.set.RefreshTTL))}))
	if err == nil {
		err = s.stands(ctx, u, session)
	}
	return answer{http.StatusCreated, g}, err
}

// grant makes a pair of tokens and returns the digest of the refresh token, which must be kept before the pair is given away.
func (s *Server) grant(u store.User, session string) (grant, [32]byte, error) {
	if !s.published.Load() { // others would refuse the token, and the person be logged out
		return grant{}, [32]byte{}, errStarting
	}
	access, expires, err := s.signer.Sign(u.ID, session)
	if err != nil {
		return grant{}, [32]byte{}, err
	}
	refresh, digest := auth.NewRefresh(u.ID, session)
	return grant{User: viewUser(u), AccessToken: access, RefreshToken: refresh,
		ExpiresIn: max(int64(time.Until(expires)/time.Second), 0)}, digest, nil
}

// login makes a session for who knows the password. A name that nobody has costs the same time and gets the same answer.
func (s *Server) login(c *call) (answer, error) {
	var in struct {
		Username string `json:"username"`
		Password string `json:"password"`
		Device   string `json:"device"`
	}
	if err := c.body(&in); err != nil {
		return answer{}, err
	}
	if err := checkDevice(in.Device); err != nil {
		return answer{}, err
	}
	if in.Username == "" || in.Password == "" {
		return answer{}, chat.Errorf(chat.BadRequest, "username and password are required")
	}
	if err := s.limits.Allow(forLogin(in.Username, c.address), limit.Login); err != nil {
		return answer{}, err
	}
	u, err := store.User{}, error(store.ErrNotFound)
	if auth.CheckUsername(in.Username) == nil {
		u, err = s.store.UserByName(c.ctx, in.Username)
	}
	ok := false
	switch {
	case auth.CheckPassword(in.Password) != nil: // nobody's
		_, err = s.hasher.VerifyUnknown(c.ctx, "")
	case errors.Is(err, store.ErrNotFound), err == nil && isDeleted(u):
		ok, err = s.hasher.VerifyUnknown(c.ctx, in.Password)
	case err != nil:
		err = s.stored(err)
	default:
		ok, err = s.hasher.Verify(c.ctx, u.PasswordHash, in.Password)
	}
	switch {
	case err != nil:
		return answer{}, err
	case !ok:
		return answer{}, errCredentials
	}
	return s.begin(c.ctx, u, in.Device)
}

// refresh replaces a pair of tokens. A refresh token that was used before is in the wrong hands, here or there: the session
// ends.
func (s *Server) refresh(c *call) (answer, error) {
	var in struct {
		RefreshToken string `json:"refresh_token"`
	}
	if err := c.body(&in); err != nil {
		return answer{}, err
	}
	if in.RefreshToken == "" {
		return answer{}, chat.Errorf(chat.BadRequest, "refresh_token is required")
	}
	user, session, old, err := auth.ParseRefresh(in.RefreshToken)
	if err != nil {
		return answer{}, errRefresh
	}
	if err := s.limits.Allow(c.counted(), limit.Refresh); err != nil {
		return answer{}, err
	}
	if s.revoked.has(session) { // perhaps it could not be deleted when it was revoked
		if err := s.stored(s.store.DeleteSession(c.ctx, user, session)); err != nil {
			return answer{}, err
		}
		return answer{}, errRefresh
	}
	found, err := s.store.Users(c.ctx, user)
	if err := s.stored(err); err != nil {
		return answer{}, err
	}
	if len(found) != 1 || isDeleted(found[0]) {
		return answer{}, errRefresh
	}
	g, next, err := s.grant(found[0], session)
	if err != nil {
		return answer{}, err
	}
	err = s.stored(s.store.RotateSession(c.ctx, user, session, old, next, time.Now().Add(s.set.RefreshTTL)))
	switch {
	case errors.Is(err, store.ErrNotFound):
		return answer{}, errRefresh
	case errors.Is(err, store.ErrConflict):
		if err := s.endReused(c.ctx, user, session); err != nil {
			return answer{}, err
		}
		return answer{}, errRefresh
	}
	return answer{http.StatusOK, g}, err
}

// endReused ends a session whose refresh token came twice. It revokes first: should the deletion fail, the next refresh
// makes up for it.
func (s *Server) endReused(ctx context.Context, user chat.UserID, session string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.set.RequestTimeout) // whoever asks may be a thief
	defer cancel()
	if err := s.revoke(ctx, user, session); err != nil {
		return err
	}
	s.logger.Info("session ended: refresh token used twice")
	return s.stored(s.store.DeleteSession(ctx, user, session))
}

// logout ends the session of the call. It deletes first: should the revocation fail, the token still opens the way to try
// again.
func (s *Server) logout(c *call) (answer, error) {
	if err := s.stored(s.store.DeleteSession(c.ctx, c.who.User, c.who.Session)); err != nil {
		return answer{}, err
	}
	if err := s.revoke(c.ctx, c.who.User, c.who.Session); err != nil {
		return answer{}, err
	}
	return answer{status: http.StatusNoContent}, nil
}

// me returns who calls.
func (s *Server) me(c *call) (answer, error) {
	found, err := s.store.Users(c.ctx, c.who.User)
	if err := s.stored(err); err != nil {
		return answer{}, err
	}
	if len(found) != 1 {
		return answer{}, errNoUser
	}
	return answer{http.StatusOK, viewUser(found[0])}, nil
}

// findUsers returns the person with a name, or those by id whom the caller shares a chat with.
func (s *Server) findUsers(c *call) (answer, error) {
	q, err := c.query()
	if err != nil {
		return answer{}, err
	}
	switch byName := q.Has("username"); {
	case byName == q.Has("id"):
		return answer{}, chat.Errorf(chat.BadRequest, "either username or id is required")
	case byName:
		if auth.CheckUsername(q.Get("username")) != nil { // nobody's
			return answer{}, errNoUser
		}
		u, err := s.store.UserByName(c.ctx, q.Get("username"))
		if errors.Is(err, store.ErrNotFound) {
			return answer{}, errNoUser
		}
		return answer{http.StatusOK, viewUser(u)}, s.stored(err)
	}
	ids, err := users(q, "id")
	if err != nil {
		return answer{}, err
	}
	if ids, err = s.shares(c.ctx, c.who.User, ids); err != nil {
		return answer{}, err
	}
	found, err := s.store.Users(c.ctx, ids...)
	if err := s.stored(err); err != nil {
		return answer{}, err
	}
	out := struct {
		Users []userView `json:"users"`
	}{make([]userView, 0, len(found))}
	for _, u := range found {
		out.Users = append(out.Users, viewUser(u))
	}
	return answer{http.StatusOK, out}, nil
}

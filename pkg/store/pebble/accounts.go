package pebble

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	lsm "github.com/cockroachdb/pebble/v2"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/store"
)

// CreateUser keeps a new person. It fails with ErrTaken when the name is somebody else's, and with ErrConflict when the id
// has another name. For a person who is there already, by id and name, it changes nothing: so a caller who does not know
// how the first try ended may try again.
func (s *Store) CreateUser(ctx context.Context, u store.User) error {
	if err := s.enter(ctx); err != nil {
		return fail("create user", err)
	}
	defer s.leave()
	if err := firstError(checkIDs("user", u.ID), u.CheckNew()); err != nil {
		return fail("create user", err)
	}
	account, err := json.Marshal(u)
	if err != nil {
		return fail("create user", err)
	}
	var set lockSet
	s.stripes.add(&set, u.Name)
	s.stripes.add(&set, string(u.ID))
	return fail("create user", s.update(set, func(x *tx) error {
		owner, err := x.get(nameKey(u.Name))
		switch {
		case err != nil:
			return err
		case owner != nil && string(owner) == string(u.ID):
			return nil
		case owner != nil:
			return store.ErrTaken
		}
		there, err := x.get(accountKey(u.ID))
		switch {
		case err != nil:
			return err
		case there != nil:
			return store.ErrConflict
		}
		x.set(nameKey(u.Name), []byte(u.ID))
		x.set(accountKey(u.ID), account)
		return nil
	}))
}

// UserByName finds a person by the exact name. It fails with ErrNotFound.
func (s *Store) UserByName(ctx context.Context, name string) (store.User, error) {
	if err := s.enter(ctx); err != nil {
		return store.User{}, fail("user by name", err)
	}
	defer s.leave()
	var u store.User
	err := s.view(pointReads, func(it *lsm.Iterator) error {
		id, err := seek(it, nameKey(name))
		if err != nil {
			return err
		}
		if id == nil {
			return store.ErrNotFound
		}
		v, err := seek(it, accountKey(chat.UserID(id)))
		if err != nil {
			return err
		}
		u, err = decodeUser(v)
		return err
	})
	return u, fail("user by name", err)
}

// Users finds people by id; unknown ids are left out, and each person comes once.
func (s *Store) Users(ctx context.Context, ids ...chat.UserID) ([]store.User, error) {
	if err := s.enter(ctx); err != nil {
		return nil, fail("users", err)
	}
	defer s.leave()
	ids = slices.Clone(ids)
	slices.Sort(ids)
	ids = slices.Compact(ids)
	var out []store.User
	err := s.view(pointReads, func(it *lsm.Iterator) error {
		for _, id := range ids {
			if checkIDs("user", id) != nil {
				continue // nobody has such an id
			}
			v, err := seek(it, accountKey(id))
			if err != nil {
				return err
			}
			if v == nil {
				continue
			}
			u, err := decodeUser(v)
			if err != nil {
				return err
			}
			out = append(out, u)
		}
		return nil
	})
	if err != nil {
		return nil, fail("users", err)
	}
	return out, nil
}

// CreateSession keeps a new session. It fails with ErrConflict when another one has its id; the same one may be kept again.
func (s *Store) CreateSession(ctx context.Context, n store.Session) error {
	return s.session(ctx, "create session", n.User, n.ID, func(x *tx, old *store.Session) error {
		switch {
		case old == nil:
		case old.Refresh != n.Refresh:
			return store.ErrConflict
		default:
			x.delete(expiryKey(old.ExpiresAt.Time, n.User, n.ID))
		}
		x.putSession(n)
		return nil
	})
}

// Session returns a session. It fails with ErrNotFound, also when the session has expired.
func (s *Store) Session(ctx context.Context, user chat.UserID, id string) (store.Session, error) {
	if err := s.enter(ctx); err != nil {
		return store.Session{}, fail("session", err)
	}
	defer s.leave()
	if err := firstError(checkIDs("user", user), checkIDs("session", id)); err != nil {
		return store.Session{}, fail("session", err)
	}
	v, err := s.value(sessionKey(user, id))
	if err == nil && v == nil {
		err = store.ErrNotFound
	}
	if err != nil {
		return store.Session{}, fail("session", err)
	}
	n, err := decodeSession(user, id, v)
	if err == nil && expired(&n) {
		err = store.ErrNotFound
	}
	if err != nil {
		return store.Session{}, fail("session", err)
	}
	return n, nil
}

// RotateSession replaces the refresh digest if it still is old, and sets a new expiry and LastSeen. It fails with ErrNotFound, or
// with ErrConflict when the digest is another.
func (s *Store) RotateSession(
	ctx context.Context, user chat.UserID, id string, old, next [32]byte, expires time.Time,
) error {
	return s.session(ctx, "rotate session", user, id, func(x *tx, n *store.Session) error {
		switch {
		case n == nil || expired(n):
			return store.ErrNotFound
		case n.Refresh != old:
			return store.ErrConflict
		}
		x.delete(expiryKey(n.ExpiresAt.Time, user, id))
		n.Refresh, n.ExpiresAt, n.LastSeen = next, chat.TimeOf(expires), chat.Now()
		x.putSession(*n)
		return nil
	})
}

// DeleteSession forgets a session; one that is not there is no error.
func (s *Store) DeleteSession(ctx context.Context, user chat.UserID, id string) error {
	return s.session(ctx, "delete session", user, id, func(x *tx, n *store.Session) error {
		if n != nil {
			x.deleteSession(n)
		}
		return nil
	})
}

// session runs change on a session, nil where there is none, under the lock of its person.
func (s *Store) session(
	ctx context.Context, op string, user chat.UserID, id string, change func(*tx, *store.Session) error,
) error {
	if err := s.enter(ctx); err != nil {
		return fail(op, err)
	}
	defer s.leave()
	if err := firstError(checkIDs("user", user), checkIDs("session", id)); err != nil {
		return fail(op, err)
	}
	var set lockSet
	s.stripes.add(&set, string(user))
	return fail(op, s.update(set, func(x *tx) error {
		n, err := x.getSession(user, id)
		if err != nil {
			return err
		}
		return change(x, n)
	}))
}

func (x *tx) getSession(user chat.UserID, id string) (*store.Session, error) {
	v, err := x.get(sessionKey(user, id))
	if err != nil || v == nil {
		return nil, err
	}
	n, err := decodeSession(user, id, v)
	return &n, err
}

func (x *tx) putSession(n store.Session) {
	x.set(sessionKey(n.User, n.ID), encodeSession(n))
	x.set(expiryKey(n.ExpiresAt.Time, n.User, n.ID), []byte{})
}

func (x *tx) deleteSession(n *store.Session) {
	x.delete(sessionKey(n.User, n.ID))
	x.delete(expiryKey(n.ExpiresAt.Time, n.User, n.ID))
}

func expired(n *store.Session) bool { return !time.Now().Before(n.ExpiresAt.Time) }

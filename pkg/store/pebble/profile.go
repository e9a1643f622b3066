package pebble

import (
	"context"
	"encoding/json"

	lsm "github.com/cockroachdb/pebble/v2"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/store"
)

// account runs change on a person's account, under its lock, and keeps what it changed. It fails with ErrNotFound.
func (s *Store) account(
	ctx context.Context, op string, user chat.UserID, change func(*tx, *store.User) error,
) (store.User, error) {
	if err := s.enter(ctx); err != nil {
		return store.User{}, fail(op, err)
	}
	defer s.leave()
	if err := checkIDs("user", user); err != nil {
		return store.User{}, fail(op, err)
	}
	var set lockSet
	s.stripes.add(&set, string(user))
	var u store.User
	err := s.update(set, func(x *tx) error {
		v, err := x.get(accountKey(user))
		switch {
		case err != nil:
			return err
		case v == nil:
			return store.ErrNotFound
		}
		if u, err = decodeUser(v); err != nil {
			return err
		}
		before := u
		if err := change(x, &u); err != nil || u == before {
			return err
		}
		if v, err = json.Marshal(u); err != nil {
			return err
		}
		x.set(accountKey(user), v)
		return nil
	})
	if err != nil {
		return store.User{}, fail(op, err)
	}
	return u, nil
}

// SetProfile changes what a person shows. It fails with ErrNotFound, also when the account was deleted.
func (s *Store) SetProfile(ctx context.Context, user chat.UserID, p store.Profile) (store.User, error) {
	return s.account(ctx, "set profile", user, func(_ *tx, u *store.User) error {
		if !u.Deleted.IsZero() {
			return store.ErrNotFound
		}
		p.Apply(u)
		return nil
	})
}

// SetPassword replaces the hash of the password if it still is old, or is next already. It fails with ErrNotFound or ErrConflict.
func (s *Store) SetPassword(ctx context.Context, user chat.UserID, old, next string) error {
	_, err := s.account(ctx, "set password", user, func(_ *tx, u *store.User) error { return u.ReplacePassword(old, next) })
	return err
}

// BeginDeletion marks the account as deleted and lists it. It fails with ErrNotFound.
func (s *Store) BeginDeletion(ctx context.Context, user chat.UserID) error {
	_, err := s.account(ctx, "begin deletion", user, func(x *tx, u *store.User) error {
		if u.Deleted.IsZero() {
			u.Deleted = chat.Now()
			x.set(deletionKey(user), []byte{})
		}
		return nil
	})
	return err
}

// Deleting returns people whose deletion is under way, ascending from behind after, at most limit.
func (s *Store) Deleting(ctx context.Context, behind chat.UserID, limit int) ([]chat.UserID, error) {
	if err := s.enter(ctx); err != nil {
		return nil, fail("deleting", err)
	}
	defer s.leave()
	if len(behind) > chat.MaxID {
		return nil, fail("deleting", chat.Errorf(chat.BadRequest, "user is longer than %d bytes", chat.MaxID))
	}
	lower := append(deletionKey(behind), 0) // the first key that sorts behind it
	var out []chat.UserID
	err := s.view(&lsm.IterOptions{LowerBound: lower, UpperBound: after(newKey(deletionTable))}, func(it *lsm.Iterator) error {
		for ok := it.First(); ok && len(out) < limit; ok = it.Next() {
			out = append(out, chat.UserID(it.Key()[1:]))
		}
		return it.Error()
	})
	if err != nil {
		return nil, fail("deleting", err)
	}
	return out, nil
}

// EndDeletion forgets all of a person but the id, the name and the times. It fails with ErrNotFound or ErrConflict.
func (s *Store) EndDeletion(ctx context.Context, user chat.UserID) error {
	_, err := s.account(ctx, "end deletion", user, func(x *tx, u *store.User) error {
		if u.Deleted.IsZero() {
			return store.ErrConflict
		}
		u.Wipe()
		x.delete(deletionKey(user))
		for _, prefix := range [][]byte{
			settingsPrefix(user), appendPart(newKey(hiddenTable), user), blockPrefix(user),
		} {
			x.deleteAll(prefix)
		}
		_, err := x.deleteSessions(user, "")
		return err
	})
	return err
}

// Sessions returns the sessions of a person that have not expired.
func (s *Store) Sessions(ctx context.Context, user chat.UserID) ([]store.Session, error) {
	if err := s.enter(ctx); err != nil {
		return nil, fail("sessions", err)
	}
	defer s.leave()
	if err := checkIDs("user", user); err != nil {
		return nil, fail("sessions", err)
	}
	prefix := sessionPrefix(user)
	var out []store.Session
	err := s.view(&lsm.IterOptions{LowerBound: prefix, UpperBound: after(prefix)}, func(it *lsm.Iterator) error {
		for ok := it.First(); ok; ok = it.Next() {
			v, err := it.ValueAndErr()
			if err != nil {
				return err
			}
			n, err := decodeSession(user, string(it.Key()[len(prefix):]), v)
			if err != nil {
				return err
			}
			if !expired(&n) {
				out = append(out, n)
			}
		}
		return it.Error()
	})
	if err != nil {
		return nil, fail("sessions", err)
	}
	return out, nil
}

// DeleteSessions forgets all sessions of a person but one, and returns their ids.
func (s *Store) DeleteSessions(ctx context.Context, user chat.UserID, except string) ([]string, error) {
	if err := s.enter(ctx); err != nil {
		return nil, fail("delete sessions", err)
	}
	defer s.leave()
	if err := checkIDs("user", user); err != nil {
		return nil, fail("delete sessions", err)
	}
	var set lockSet
	s.stripes.add(&set, string(user))
	var ids []string
	err := s.update(set, func(x *tx) (err error) {
		ids, err = x.deleteSessions(user, except)
		return err
	})
	if err != nil {
		return nil, fail("delete sessions", err)
	}
	return ids, nil
}

func (x *tx) deleteSessions(user chat.UserID, except string) (ids []string, err error) {
	prefix := sessionPrefix(user)
	keys, err := x.keys(prefix)
	if err != nil {
		return nil, err
	}
	for _, k := range keys {
		id := k[len(prefix):]
		if id == except {
			continue
		}
		n, err := x.getSession(user, id)
		if err != nil {
			return nil, err
		}
		if n != nil {
			x.deleteSession(n)
			ids = append(ids, id)
		}
	}
	return ids, nil
}

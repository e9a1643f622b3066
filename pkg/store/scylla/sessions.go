package scylla

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/gocql/gocql"
	"github.com/scylladb/gocqlx/v2/qb"
	"github.com/scylladb/gocqlx/v2/table"
	"golang.org/x/sync/errgroup"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/store"
)

// session is a row of sessions.
type session struct {
	UserID    string
	SessionID string
	Refresh   []byte
	CreatedAt int64
	ExpiresAt int64
}

var sessions = table.New(table.Metadata{
	Name:    "sessions",
	Columns: []string{"user_id", "session_id", "refresh", "created_at", "expires_at"},
	PartKey: []string{"user_id", "session_id"},
})

func sessionOf(n store.Session) session {
	return session{string(n.User), n.ID, bytes.Clone(n.Refresh[:]), n.CreatedAt.UnixMicro(), n.ExpiresAt.UnixMicro()}
}

func (r session) session() (store.Session, error) {
	n := store.Session{User: chat.UserID(r.UserID), ID: r.SessionID, CreatedAt: timeOf(r.CreatedAt), ExpiresAt: timeOf(r.ExpiresAt)}
	if copy(n.Refresh[:], r.Refresh) != len(n.Refresh) {
		return n, errDamaged
	}
	return n, nil
}

func (r session) expired() bool { return !time.Now().Before(time.UnixMicro(r.ExpiresAt)) }

// Rows expire a day behind their session, so that clocks of servers may differ, and after 20 years at the latest, as servers want.
const (
	ttlSlack = 24 * time.Hour
	maxTTL   = 20 * 365 * 24 * time.Hour
)

func ttl(expires int64) int {
	left := min(max(0, time.Until(time.UnixMicro(expires))), maxTTL-ttlSlack)
	return int((left + ttlSlack).Seconds())
}

// CreateSession keeps a new session. It fails with ErrConflict when another one has its id; the same one may be kept again.
func (s *Store) CreateSession(ctx context.Context, n store.Session) error {
	return s.sessionCall(ctx, "create session", n.User, n.ID, func(c call) error {
		r := sessionOf(n)
		if err := c.listSession(r, n.Device, n.LastSeen); err != nil {
			return err
		}
		stmt, columns := sessions.InsertBuilder().Unique().TTLNamed("ttl").ToCql()
		// It is there already: the same one gets the times of this call, another one stays.
		meet := func(there session) (bool, error) {
			switch {
			case !bytes.Equal(there.Refresh, r.Refresh):
				return true, store.ErrConflict
			case there.CreatedAt == r.CreatedAt && there.ExpiresAt == r.ExpiresAt:
				return true, nil
			}
			return true, c.replaceSession(r, r.Refresh)
		}
		err := c.swap(func() (bool, error) {
			var there session
			applied, err := c.ContextQuery(c.ctx, stmt, columns).
				BindStructMap(r, map[string]any{"ttl": ttl(r.ExpiresAt)}).GetCASRelease(&there)
			if err != nil || applied {
				return applied, err
			}
			return meet(there)
		}, func() (bool, error) {
			there, err := c.session(r.UserID, r.SessionID)
			switch {
			case errors.Is(err, store.ErrNotFound):
				return false, nil
			case err != nil:
				return false, err
			}
			return meet(there)
		})
		if err != nil {
			return err
		}
		return c.listSession(r, n.Device, n.LastSeen)
	})
}

// session returns a row, settled, whether the session has expired or not. It fails with ErrNotFound.
func (c call) session(user, id string) (session, error) {
	stmt, columns := sessions.Get()
	var r session
	err := c.patiently(func() error { return c.settled(stmt, columns).Bind(user, id).GetRelease(&r) })
	if errors.Is(err, gocql.ErrNotFound) {
		err = store.ErrNotFound
	}
	return r, err
}

// replaceSession sets all columns, so that all have the same TTL, if the digest still is old. It fails with ErrNotFound or
// ErrConflict.
func (c call) replaceSession(r session, old []byte) error {
	stmt, columns := qb.Update("sessions").TTLNamed("ttl").Set("refresh", "created_at", "expires_at").
		Where(qb.Eq("user_id"), qb.Eq("session_id")).If(qb.EqNamed("refresh", "old")).ToCql()
	look := func() (bool, error) {
		there, err := c.session(r.UserID, r.SessionID)
		switch {
		case err != nil:
			return errors.Is(err, store.ErrNotFound), err
		case bytes.Equal(there.Refresh, r.Refresh) && there.ExpiresAt == r.ExpiresAt:
			return true, nil // it was done: nobody else knows this digest
		case bytes.Equal(there.Refresh, old):
			return false, nil
		}
		return true, store.ErrConflict
	}
	unsure := false
	return c.swap(func() (bool, error) {
		var there session
		applied, err := c.ContextQuery(c.ctx, stmt, columns).
			BindStructMap(r, map[string]any{"ttl": ttl(r.ExpiresAt), "old": old}).GetCASRelease(&there)
		if err != nil {
			unsure = true
			return false, err
		}
		switch {
		case applied:
			return true, nil
		case unsure:
			return look() // an earlier try may have been applied after it was looked for
		case len(there.Refresh) == 0:
			return true, store.ErrNotFound
		}
		return true, store.ErrConflict
	}, look)
}

// Session returns a session. It fails with ErrNotFound, also when the session has expired.
func (s *Store) Session(ctx context.Context, user chat.UserID, id string) (n store.Session, err error) {
	err = s.sessionCall(ctx, "session", user, id, func(c call) error {
		var r session
		var l listedSession
		var g errgroup.Group
		g.Go(func() (err error) { r, err = c.session(string(user), id); return err })
		g.Go(func() (err error) { l, err = c.listedSession(string(user), id); return err })
		err := g.Wait()
		if err == nil && r.expired() {
			err = store.ErrNotFound
		}
		if err != nil {
			return err
		}
		n, err = r.session()
		n.Device, n.LastSeen = l.device, l.lastSeen()
		return err
	})
	return n, err
}

// RotateSession replaces the refresh digest if it still is old, and sets a new expiry and LastSeen. It fails with ErrNotFound, or
// with ErrConflict when the digest is another.
func (s *Store) RotateSession(
	ctx context.Context, user chat.UserID, id string, old, next [32]byte, expires time.Time,
) error {
	return s.sessionCall(ctx, "rotate session", user, id, func(c call) error {
		var r session
		var l listedSession
		var g errgroup.Group
		g.Go(func() (err error) { r, err = c.session(string(user), id); return err })
		g.Go(func() (err error) { l, err = c.listedSession(string(user), id); return err })
		switch err := g.Wait(); {
		case err != nil:
			return err
		case r.expired():
			return store.ErrNotFound
		case !bytes.Equal(r.Refresh, old[:]):
			return store.ErrConflict
		}
		r.Refresh, r.ExpiresAt = next[:], chat.TimeOf(expires).UnixMicro()
		// Listed first, for as long as it will be there. If the rotation fails, somebody was seen all the same.
		if err := c.listSession(r, l.device, chat.Now()); err != nil {
			return err
		}
		return c.replaceSession(r, old[:])
	})
}

// DeleteSession forgets a session; one that is not there is no error.
func (s *Store) DeleteSession(ctx context.Context, user chat.UserID, id string) error {
	return s.sessionCall(ctx, "delete session", user, id, func(c call) error {
		l, err := c.listedSession(string(user), id)
		if err != nil {
			return err
		}
		return c.deleteSession(user, l)
	})
}

// deleteSession forgets a session, and takes it off the list as it was seen there.
func (c call) deleteSession(user chat.UserID, l listedSession) error {
	stmt, columns := sessions.DeleteBuilder().Existing().ToCql()
	err := c.swap(func() (bool, error) {
		// Applied, it is gone; refused, it was not there.
		_, err := c.ContextQuery(c.ctx, stmt, columns).Bind(string(user), l.id).ExecCASRelease()
		return err == nil, err
	}, func() (bool, error) {
		_, err := c.session(string(user), l.id)
		if errors.Is(err, store.ErrNotFound) {
			return true, nil
		}
		return false, err
	})
	if err != nil || l.written == 0 {
		return err
	}
	return c.exec(dropListed, l.written, string(user), l.id)
}

// sessionCall runs one call on a session.
func (s *Store) sessionCall(ctx context.Context, op string, user chat.UserID, id string, f func(call) error) error {
	return s.do(ctx, op, func(c call) error {
		if err := firstError(checkIDs("user", user), checkIDs("session", id)); err != nil {
			return err
		}
		return f(c)
	})
}

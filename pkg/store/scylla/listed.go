package scylla

import (
	"context"
	"errors"
	"time"

	"github.com/gocql/gocql"
	"github.com/scylladb/gocqlx/v2"
	"github.com/scylladb/gocqlx/v2/qb"
	"golang.org/x/sync/errgroup"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/store"
)

// The statements about the list of a person's sessions. A row is written before its session, and again when the session is there; who
// deletes takes away the row as it was seen, by its write timestamp. So the list may hold too much, which the session itself tells, but
// never too little: a row that was taken away before its session was there comes back.
var (
	ofListed   = []qb.Cmp{qb.Eq("user_id"), qb.Eq("session_id")}
	putListed  = cql(qb.Insert("user_sessions").Columns("user_id", "session_id", "device", "last_seen").TTLNamed("ttl").ToCql())
	dropListed = cql(qb.Delete("user_sessions").TimestampNamed("ts").Where(ofListed...).ToCql())

	listedColumns = []string{"session_id", "device", "last_seen", "WRITETIME(device)"}
	getListed     = cql(qb.Select("user_sessions").Columns(listedColumns...).Where(ofListed...).ToCql())
	getAllListed  = cql(qb.Select("user_sessions").Columns(listedColumns...).Where(qb.Eq("user_id")).ToCql())
)

// listedSession is what the list says of a session.
type listedSession struct {
	id, device string
	seen       int64 // microseconds; zero is never
	written    int64 // the write timestamp; zero where the session is not on the list
}

func (l *listedSession) fields() []any { return []any{&l.id, &l.device, &l.seen, &l.written} }

// lastSeen is when the tokens were last renewed.
func (l listedSession) lastSeen() chat.Time {
	if l.seen == 0 {
		return chat.Time{}
	}
	return timeOf(l.seen)
}

// listSession puts a session on the list.
func (c call) listSession(r session, device string, seen chat.Time) error {
	var micro int64
	if !seen.IsZero() {
		micro = seen.UnixMicro()
	}
	return c.exec(putListed, r.UserID, r.SessionID, device, micro, ttl(r.ExpiresAt))
}

// listedSession returns what the list says of a session, nothing where it is not on it.
func (c call) listedSession(user, id string) (listedSession, error) {
	var l listedSession
	err := c.patiently(func() error { return c.query(c.ctx, getListed, user, id).Scan(l.fields()...) })
	if errors.Is(err, gocql.ErrNotFound) {
		return listedSession{id: id}, nil
	}
	return l, err
}

// listed returns the list of a person.
func (c call) listed(user chat.UserID) (out []listedSession, err error) {
	err = c.patiently(func() error {
		out = nil
		it := c.query(c.ctx, getAllListed, string(user)).Iter()
		for l := (listedSession{}); it.Scan(l.fields()...); {
			out = append(out, l)
		}
		return it.Close()
	})
	return out, err
}

// sessionsAtOnce is how many sessions of a list are read, or deleted, at once.
const sessionsAtOnce = 16

// Sessions returns the sessions of a person that have not expired.
func (s *Store) Sessions(ctx context.Context, user chat.UserID) (out []store.Session, err error) {
	err = s.do(ctx, "sessions", func(c call) error {
		if err := checkIDs("user", user); err != nil {
			return err
		}
		listed, err := c.listed(user)
		if err != nil {
			return err
		}
		found := make([]store.Session, len(listed))
		var g errgroup.Group
		g.SetLimit(sessionsAtOnce)
		for i, l := range listed {
			g.Go(func() error {
				r, err := c.session(string(user), l.id)
				if errors.Is(err, store.ErrNotFound) || err == nil && r.expired() {
					return nil
				}
				if err != nil {
					return err
				}
				found[i], err = r.session()
				found[i].Device, found[i].LastSeen = l.device, l.lastSeen()
				return err
			})
		}
		if err := g.Wait(); err != nil {
			return err
		}
		for _, n := range found {
			if n.ID != "" {
				out = append(out, n)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// DeleteSessions forgets all sessions of a person but one, and returns the ids of those that it forgot, also those before an error.
func (s *Store) DeleteSessions(ctx context.Context, user chat.UserID, except string) (ids []string, err error) {
	err = s.do(ctx, "delete sessions", func(c call) error {
		if err := checkIDs("user", user); err != nil {
			return err
		}
		var err error
		ids, err = c.deleteSessions(user, except)
		return err
	})
	return ids, err
}

func (c call) deleteSessions(user chat.UserID, except string) (ids []string, err error) {
	listed, err := c.listed(user)
	if err != nil {
		return nil, err
	}
	gone := make([]bool, len(listed))
	var g errgroup.Group
	g.SetLimit(sessionsAtOnce)
	for i, l := range listed {
		if l.id == except {
			continue
		}
		g.Go(func() error {
			err := c.deleteSession(user, l)
			gone[i] = err == nil
			return err
		})
	}
	err = g.Wait()
	for i, l := range listed {
		if gone[i] {
			ids = append(ids, l.id)
		}
	}
	return ids, err
}

// listAllSessions puts the sessions that are there on the lists of their people. It may be run again.
func listAllSessions(ctx context.Context, session gocqlx.Session) error {
	it := session.Session.Query("SELECT user_id, session_id, expires_at FROM sessions").WithContext(ctx).Idempotent(true).PageSize(1000).Iter()
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	var user, id string
	var expires int64
	for it.Scan(&user, &id, &expires) {
		if !time.Now().Before(time.UnixMicro(expires)) {
			continue
		}
		args := []any{user, id, "", int64(0), ttl(expires)}
		g.Go(func() error {
			return session.Session.Query(putListed, args...).WithContext(ctx).Idempotent(true).Exec()
		})
	}
	return errors.Join(it.Close(), g.Wait())
}

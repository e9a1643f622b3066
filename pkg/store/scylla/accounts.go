package scylla

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/gocql/gocql"
	"github.com/scylladb/gocqlx/v2/qb"
	"github.com/scylladb/gocqlx/v2/table"
	"golang.org/x/sync/errgroup"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/store"
)

// account is a row of user_names and of users.
type account struct {
	Name         string
	UserID       string
	DisplayName  string
	Email        string
	PasswordHash string
	CreatedAt    int64
}

var accountColumns = []string{"name", "user_id", "display_name", "email", "password_hash", "created_at"}

var (
	names = table.New(table.Metadata{Name: "user_names", Columns: accountColumns, PartKey: []string{"name"}})
	users = table.New(table.Metadata{Name: "users", Columns: accountColumns, PartKey: []string{"user_id"}})
)

func accountOf(u store.User) account {
	return account{u.Name, string(u.ID), u.DisplayName, u.Email, u.PasswordHash, u.CreatedAt.UnixMicro()}
}

func (a account) user() store.User {
	return store.User{ID: chat.UserID(a.UserID), Name: a.Name, DisplayName: a.DisplayName, Email: a.Email,
		PasswordHash: a.PasswordHash, CreatedAt: timeOf(a.CreatedAt)}
}

func timeOf(micro int64) chat.Time { return chat.TimeOf(time.UnixMicro(micro)) }

// CreateUser keeps a new person. It fails with ErrTaken when the name is somebody else's, and with ErrConflict when the id
// has another name. For a person who is there already, by id and name, it changes nothing: so a caller who does not know
// how the first try ended may try again.
func (s *Store) CreateUser(ctx context.Context, u store.User) error {
	return s.do(ctx, "create user", func(c call) error {
		if err := firstError(checkIDs("user", u.ID), u.CheckNew()); err != nil {
			return err
		}
		if u.Name == "" || len(u.Name) > 1<<10 {
			return chat.Errorf(chat.BadRequest, "the user name is empty or too long")
		}
		there, err := c.account(users, string(u.ID))
		switch {
		case err == nil && there.Name == u.Name:
			return nil // the name came first
		case err == nil:
			return store.ErrConflict
		case !errors.Is(err, store.ErrNotFound):
			return err
		}
		if err := c.copyAccount(names, accountOf(u)); err != nil {
			return err
		}
		// The name is ours. What is in it counts, which may be from an earlier try.
		owned, err := c.account(names, u.Name)
		if err != nil {
			return err
		}
		err = c.copyAccount(users, owned)
		if errors.Is(err, store.ErrConflict) { // somebody was faster with this id and another name: ours is free again
			stmt, columns := names.DeleteBuilder().If(qb.Eq("user_id")).ToCql()
			_, _ = c.ContextQuery(c.ctx, stmt, columns).Bind(u.Name, string(u.ID)).ExecCASRelease()
		}
		return err
	})
}

// copyAccount inserts the account if its row is not there. It fails with ErrTaken where the row is another person's.
func (c call) copyAccount(t *table.Table, a account) error {
	stmt, columns := t.InsertBuilder().Unique().ToCql()
	return c.swap(func() (bool, error) {
		var row account
		applied, err := c.ContextQuery(c.ctx, stmt, columns).BindStruct(a).GetCASRelease(&row)
		if err != nil || applied {
			return applied, err
		}
		return true, ownedBy(row, a)
	}, func() (bool, error) {
		key := a.Name
		if t == users {
			key = a.UserID
		}
		row, err := c.account(t, key)
		if errors.Is(err, store.ErrNotFound) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		return true, ownedBy(row, a)
	})
}

// ownedBy fails where a row is not the one that was to be made.
func ownedBy(row, a account) error {
	switch {
	case row.UserID != a.UserID:
		return store.ErrTaken
	case row.Name != a.Name:
		return store.ErrConflict
	}
	return nil
}

// account returns a row, settled. It fails with ErrNotFound.
func (c call) account(t *table.Table, key string) (account, error) {
	stmt, columns := t.Get()
	var a account
	err := c.patiently(func() error { return c.settled(stmt, columns).Bind(key).GetRelease(&a) })
	if errors.Is(err, gocql.ErrNotFound) {
		err = store.ErrNotFound
	}
	return a, err
}

// UserByName finds a person by the exact name. It fails with ErrNotFound.
func (s *Store) UserByName(ctx context.Context, name string) (u store.User, err error) {
	err = s.do(ctx, "user by name", func(c call) error {
		if name == "" || len(name) > 1<<10 {
			return store.ErrNotFound
		}
		a, err := c.account(names, name)
		if err != nil {
			return err
		}
		there, p, err := c.user(a.UserID)
		if errors.Is(err, store.ErrNotFound) {
			// Whoever made the name ended before the account could be found by id.
			u = a.user()
			return c.copyAccount(users, a)
		}
		u = p.over(there)
		return err
	})
	if err != nil {
		return store.User{}, err
	}
	return u, nil
}

// askedAtOnce is how many people are asked for in one request: ScyllaDB takes at most 100 keys.
const askedAtOnce = 50

// Users finds people by id; unknown ids are left out, and each person comes once.
func (s *Store) Users(ctx context.Context, ids ...chat.UserID) (out []store.User, err error) {
	err = s.do(ctx, "users", func(c call) error {
		var keys []string
		for _, id := range ids {
			if checkIDs("user", id) == nil { // nobody has another id
				keys = append(keys, string(id))
			}
		}
		slices.Sort(keys)
		for some := range slices.Chunk(slices.Compact(keys), askedAtOnce) {
			found, err := c.someUsers(some)
			if err != nil {
				return err
			}
			out = append(out, found...)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// someUsers finds people, with two requests at once.
func (c call) someUsers(ids []string) ([]store.User, error) {
	var rows []account
	over := map[string]profile{}
	var g errgroup.Group
	g.Go(func() error {
		stmt, columns := qb.Select("users").Columns(accountColumns...).Where(qb.In("user_id")).ToCql()
		return c.read(stmt, columns).Bind(ids).SelectRelease(&rows)
	})
	g.Go(func() error {
		var found []profile
		stmt, columns := qb.Select("profiles").Columns(profileColumns...).Where(qb.In("user_id")).ToCql()
		err := c.read(stmt, columns).Bind(ids).SelectRelease(&found)
		for _, p := range found {
			over[p.UserID] = p
		}
		return err
	})
	if err := g.Wait(); err != nil {
		return nil, err
	}
	out := make([]store.User, 0, len(rows))
	for _, a := range rows {
		p := over[a.UserID]
		if p.Version == 0 && a.PasswordHash == "" { // stripped after the profiles were read
			var err error
			if p, err = c.profile(a.UserID); err != nil {
				return nil, err
			}
		}
		out = append(out, p.over(a))
	}
	return out, nil
}

package scylla

import (
	"context"
	"errors"

	"github.com/gocql/gocql"
	"github.com/scylladb/gocqlx/v2/qb"
	"github.com/scylladb/gocqlx/v2/table"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/store"
)

// profile is a row of profiles: where there is one, it counts instead of what the account has of the same name. Version is zero
// where there is none.
type profile struct {
	UserID       string
	Version      int64
	DisplayName  string
	Email        string
	Status       string
	Picture      string
	PasswordHash string
	DeletedAt    int64 // zero: the account lives
	Ended        bool  // the deletion has ended
}

var (
	profileColumns = []string{"user_id", "version", "display_name", "email", "status", "picture", "password_hash", "deleted_at", "ended"}
	profiles       = table.New(table.Metadata{Name: "profiles", Columns: profileColumns, PartKey: []string{"user_id"}})
)

func profileOf(u store.User, version int64, ended bool) profile {
	p := profile{string(u.ID), version, u.DisplayName, u.Email, u.Status, u.Picture, u.PasswordHash, 0, ended}
	if !u.Deleted.IsZero() {
		p.DeletedAt = u.Deleted.UnixMicro()
	}
	return p
}

// over is the account with the profile over it.
func (p profile) over(a account) store.User {
	u := a.user()
	if p.Version == 0 {
		return u
	}
	u.DisplayName, u.Email, u.Status, u.Picture, u.PasswordHash = p.DisplayName, p.Email, p.Status, p.Picture, p.PasswordHash
	if p.DeletedAt != 0 {
		u.Deleted = timeOf(p.DeletedAt)
	}
	return u
}

// profile returns a row, settled, the zero one where there is none.
func (c call) profile(user string) (profile, error) {
	stmt, columns := profiles.Get()
	var p profile
	err := c.patiently(func() error { return c.settled(stmt, columns).Bind(user).GetRelease(&p) })
	if errors.Is(err, gocql.ErrNotFound) {
		return profile{}, nil
	}
	return p, err
}

// user is an account as it is now. The profile is read behind the account: what is missing there because somebody stripped it is
// in the profile then. It fails with ErrNotFound.
func (c call) user(id string) (account, profile, error) {
	a, err := c.account(users, id)
	if err != nil {
		return a, profile{}, err
	}
	p, err := c.profile(id)
	return a, p, err
}

// errOvertaken says that somebody else wrote the profile meanwhile.
var errOvertaken = errors.New("the profile was written meanwhile")

// putProfile writes a row of which the version is one above that which it replaces. It fails with errOvertaken, also where it
// cannot be told whether the row was written and then written by somebody else.
func (c call) putProfile(p profile) error {
	insert, insertColumns := profiles.InsertBuilder().Unique().ToCql()
	update, updateColumns := qb.Update("profiles").Set(profileColumns[1:]...).Where(qb.Eq("user_id")).
		If(qb.EqNamed("version", "before")).ToCql()
	look := func() (bool, error) {
		now, err := c.profile(p.UserID)
		switch {
		case err != nil:
			return false, err
		case now == p:
			return true, nil
		case now.Version < p.Version:
			return false, nil
		}
		return true, errOvertaken
	}
	unsure := false
	return c.swap(func() (bool, error) {
		var there profile
		var applied bool
		var err error
		if p.Version == 1 {
			applied, err = c.ContextQuery(c.ctx, insert, insertColumns).BindStruct(p).GetCASRelease(&there)
		} else {
			applied, err = c.ContextQuery(c.ctx, update, updateColumns).
				BindStructMap(p, map[string]any{"before": p.Version - 1}).GetCASRelease(&there)
		}
		switch {
		case err != nil:
			unsure = true
			return false, err
		case applied:
			return true, nil
		case unsure:
			return look() // an earlier try may have been applied after it was looked for
		}
		return true, errOvertaken
	}, look)
}

// changeUser runs change on an account until nobody comes in between, and returns the account as it is then, and what the tables
// of accounts have of it. Where change changes nothing, nothing is written. It fails with ErrNotFound or as change does.
func (c call) changeUser(id chat.UserID, change func(u *store.User, ended *bool) error) (store.User, account, error) {
	for {
		a, p, err := c.user(string(id))
		if err != nil {
			return store.User{}, a, err
		}
		u, ended := p.over(a), p.Ended
		before := u
		if err := change(&u, &ended); err != nil {
			return store.User{}, a, err
		}
		if u == before && ended == p.Ended {
			return u, a, nil
		}
		err = c.putProfile(profileOf(u, p.Version+1, ended))
		if !errors.Is(err, errOvertaken) {
			return u, a, err
		}
		if err := c.ctx.Err(); err != nil {
			return store.User{}, a, err
		}
	}
}

// strip takes the hash of the password, or all that an account does not keep, out of the tables of accounts: the profile has it.
func (c call) strip(a account, all bool) error {
	columns := []string{"password_hash"}
	if all {
		columns = []string{"display_name", "email", "password_hash"}
	}
	for _, t := range []struct {
		name, key string
		cond      qb.Cmp
	}{{"users", "user_id", qb.EqLit("name", "?")}, {"user_names", "name", qb.EqLit("user_id", "?")}} {
		stmt, _ := qb.Update(t.name).Set(columns...).Where(qb.Eq(t.key)).If(t.cond).ToCql()
		args := make([]any, len(columns), len(columns)+2)
		for i := range columns {
			args[i] = ""
		}
		if t.name == "users" {
			args = append(args, a.UserID, a.Name)
		} else {
			args = append(args, a.Name, a.UserID)
		}
		// To repeat it does no harm, whatever became of it.
		if err := c.patiently(func() error {
			_, err := c.Session.Session.Query(stmt, args...).WithContext(c.ctx).MapScanCAS(map[string]any{})
			if errors.Is(err, gocql.ErrNotFound) {
				return nil
			}
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}

// SetProfile changes what a person shows. It fails with ErrNotFound, also when the account was deleted.
func (s *Store) SetProfile(ctx context.Context, user chat.UserID, p store.Profile) (u store.User, err error) {
	err = s.do(ctx, "set profile", func(c call) error {
		if err := checkIDs("user", user); err != nil {
			return err
		}
		now, _, err := c.changeUser(user, func(u *store.User, _ *bool) error {
			if !u.Deleted.IsZero() {
				return store.ErrNotFound
			}
			p.Apply(u)
			return nil
		})
		u = now
		return err
	})
	if err != nil {
		return store.User{}, err
	}
	return u, nil
}

// SetPassword replaces the hash of the password if it still is old, or is next already. It fails with ErrNotFound or ErrConflict.
func (s *Store) SetPassword(ctx context.Context, user chat.UserID, old, next string) error {
	return s.do(ctx, "set password", func(c call) error {
		if err := checkIDs("user", user); err != nil {
			return err
		}
		_, a, err := c.changeUser(user, func(u *store.User, _ *bool) error { return u.ReplacePassword(old, next) })
		if err == nil && a.PasswordHash != "" {
			// The old hash is of no use any more. If it stays this time, it goes with the next password.
			if err := c.strip(a, false); err != nil {
				c.log.Warn("the hash of a password that was replaced stays for now", "error", quiet(err))
			}
		}
		return err
	})
}

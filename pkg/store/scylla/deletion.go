package scylla

import (
	"context"
	"errors"
	"slices"

	"github.com/scylladb/gocqlx/v2/qb"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/store"
)

// The statements about deletions. The write timestamps are those of the driver.
var (
	ofDeletion   = []qb.Cmp{qb.Eq("bucket"), qb.Eq("user_id")}
	putDeletion  = cql(qb.Insert("deletions").Columns("bucket", "user_id").ToCql())
	dropDeletion = cql(qb.Delete("deletions").Where(ofDeletion...).ToCql())
	getDeletions = cql(qb.Select("deletions").Columns("user_id").Where(qb.In("bucket"), qb.GtNamed("user_id", "after")).
			LimitPerPartitionNamed("each").ToCql())
)

func (c call) exec(stmt string, args ...any) error {
	return c.Session.Session.Query(stmt, args...).WithContext(c.ctx).Idempotent(true).Exec()
}

// BeginDeletion marks the account as deleted and lists it. It is listed first, so that no deletion is forgotten. It fails with
// ErrNotFound.
func (s *Store) BeginDeletion(ctx context.Context, user chat.UserID) error {
	return s.do(ctx, "begin deletion", func(c call) error {
		if err := checkIDs("user", user); err != nil {
			return err
		}
		_, p, err := c.user(string(user))
		if err != nil || p.Ended {
			return err
		}
		if err := c.exec(putDeletion, deletionBucket(user), string(user)); err != nil {
			return err
		}
		now := chat.Now()
		_, _, err = c.changeUser(user, func(u *store.User, _ *bool) error {
			if u.Deleted.IsZero() {
				u.Deleted = now
			}
			return nil
		})
		return err
	})
}

// Deleting returns people whose deletion is under way, ascending from behind after, at most limit.
func (s *Store) Deleting(ctx context.Context, after chat.UserID, limit int) (out []chat.UserID, err error) {
	err = s.do(ctx, "deleting", func(c call) error {
		if len(after) > chat.MaxID {
			return chat.Errorf(chat.BadRequest, "user is longer than %d bytes", chat.MaxID)
		}
		if limit <= 0 {
			return nil
		}
		buckets := make([]int, deletionBuckets)
		for i := range buckets {
			buckets[i] = i
		}
		it := c.query(c.ctx, getDeletions, buckets, string(after), limit).Iter()
		var all []chat.UserID
		for user := ""; it.Scan(&user); {
			all = append(all, chat.UserID(user))
		}
		if err := it.Close(); err != nil {
			return err
		}
		slices.Sort(all)
		out = all[:min(len(all), limit)]
		return nil
	})
	return out, err
}

// EndDeletion forgets all of a person but the id, the name and the times. It fails with ErrNotFound or ErrConflict. What it did not come to
// before an error it does when it is called again: the person is listed until all is done.
func (s *Store) EndDeletion(ctx context.Context, user chat.UserID) error {
	return s.do(ctx, "end deletion", func(c call) error {
		if err := checkIDs("user", user); err != nil {
			return err
		}
		_, a, err := c.changeUser(user, func(u *store.User, ended *bool) error {
			if u.Deleted.IsZero() {
				return store.ErrConflict
			}
			u.Wipe()
			*ended = true
			return nil
		})
		if err != nil {
			return err
		}
		if err := c.strip(a, true); err != nil {
			return err
		}
		if _, err := c.deleteSessions(user, ""); err != nil {
			return err
		}
		blocked, err := c.blocks(user)
		if err != nil {
			return err
		}
		for _, b := range blocked {
			if err := c.setBlock(user, b, false); err != nil {
				return err
			}
		}
		if err := errors.Join(c.exec(dropSettings, string(user)), c.exec(dropHidden, string(user))); err != nil {
			return err
		}
		return c.exec(dropDeletion, deletionBucket(user), string(user))
	})
}

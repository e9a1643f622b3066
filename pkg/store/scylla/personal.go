package scylla

import (
	"context"
	"errors"
	"time"

	"github.com/gocql/gocql"
	"github.com/scylladb/gocqlx/v2/qb"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/store"
)

// The statements about what people set for themselves. The write timestamps are those of the driver, the clock of this process:
// nothing of this is replayed.
var (
	settingsColumns = []string{"muted_until", "archived", "marked_unread", "marked_at"}
	putSettings     = cql(qb.Insert("chat_settings").Columns("user_id", "chat_id", "muted_until", "archived", "marked_unread", "marked_at").ToCql())
	getSettings     = cql(qb.Select("chat_settings").Columns(settingsColumns...).Where(ofUser...).ToCql())
	getAllSettings  = cql(qb.Select("chat_settings").Columns(append([]string{"chat_id"}, settingsColumns...)...).
			Where(qb.Eq("user_id")).ToCql())
	dropSettings = cql(qb.Delete("chat_settings").Where(qb.Eq("user_id")).ToCql())

	putHidden = cql(qb.Insert("hidden").Columns("user_id", "chat_id", "seq").ToCql())
	getHidden = cql(qb.Select("hidden").Columns("seq").
			Where(append(ofUser[:2:2], qb.GtOrEqNamed("seq", "low"), qb.LtOrEqNamed("seq", "high"))...).ToCql())
	dropHidden = cql(qb.Delete("hidden").Where(qb.Eq("user_id")).ToCql())

	putBlock  = cql(qb.Insert("blocks").Columns("user_id", "blocked_id").Unique().ToCql())
	dropBlock = cql(qb.Delete("blocks").Where(qb.Eq("user_id"), qb.Eq("blocked_id")).Existing().ToCql())
	getBlocks = cql(qb.Select("blocks").Columns("blocked_id").Where(qb.Eq("user_id")).ToCql())
	getBlock  = cql(qb.Select("blocks").Columns("blocked_id").Where(qb.Eq("user_id"), qb.Eq("blocked_id")).ToCql())
)

// SetChatSettings replaces what a person has set for a chat: of two calls that of the later clock stays.
func (s *Store) SetChatSettings(ctx context.Context, user chat.UserID, id chat.ID, n store.ChatSettings) error {
	return s.do(ctx, "set chat settings", func(c call) error {
		if err := firstError(checkIDs("user", user), checkIDs("chat", id)); err != nil {
			return err
		}
		var muted *int64
		if n.MutedUntil != nil {
			micro := n.MutedUntil.UnixMicro()
			muted = &micro
		}
		return c.Session.Session.Query(putSettings, string(user), string(id), muted, n.Archived, n.MarkedUnread, int64(n.MarkedAt)).
			WithContext(c.ctx).Idempotent(true).Exec()
	})
}

func settingsOf(muted *int64, archived, unread bool, at int64) store.ChatSettings {
	n := store.ChatSettings{Archived: archived, MarkedUnread: unread, MarkedAt: chat.Seq(at)}
	if muted != nil {
		until := time.UnixMicro(*muted).UTC()
		n.MutedUntil = &until
	}
	return n
}

// ChatSettingsOf returns what a person has set for a chat, the zero value where that is nothing.
func (s *Store) ChatSettingsOf(ctx context.Context, user chat.UserID, id chat.ID) (n store.ChatSettings, err error) {
	err = s.do(ctx, "chat settings", func(c call) error {
		if err := firstError(checkIDs("user", user), checkIDs("chat", id)); err != nil {
			return err
		}
		var muted *int64
		var archived, unread bool
		var at int64
		err := c.query(c.ctx, getSettings, string(user), string(id)).Scan(&muted, &archived, &unread, &at)
		if errors.Is(err, gocql.ErrNotFound) {
			return nil
		}
		n = settingsOf(muted, archived, unread, at)
		return err
	})
	if err != nil {
		return store.ChatSettings{}, err
	}
	return n, nil
}

// settings returns all that a person has set for chats.
func (c call) settings(ctx context.Context, user chat.UserID) (map[chat.ID]store.ChatSettings, error) {
	it := c.query(ctx, getAllSettings, string(user)).Iter()
	out := map[chat.ID]store.ChatSettings{}
	var id string
	var archived, unread bool
	var at int64
	for muted := (*int64)(nil); it.Scan(&id, &muted, &archived, &unread, &at); muted = nil {
		out[chat.ID(id)] = settingsOf(muted, archived, unread, at)
	}
	return out, it.Close()
}

// Hide keeps events of a chat out of a person's sight.
func (s *Store) Hide(ctx context.Context, user chat.UserID, id chat.ID, seqs ...chat.Seq) error {
	return s.do(ctx, "hide", func(c call) error {
		if err := firstError(checkIDs("user", user), checkIDs("chat", id)); err != nil {
			return err
		}
		rows := groups{}
		for _, seq := range seqs {
			if err := checkPlace("seq", uint64(seq)); err != nil {
				return err
			}
			rows.add(partition{hiddenTable, string(user), 0}, putHidden, string(user), string(id), int64(seq))
		}
		return c.send(rows)
	})
}

// Hidden returns the events from one seq to another, both included, that a person has hidden, ascending.
func (s *Store) Hidden(ctx context.Context, user chat.UserID, id chat.ID, from, to chat.Seq) (out []chat.Seq, err error) {
	err = s.do(ctx, "hidden", func(c call) error {
		if err := firstError(checkIDs("user", user), checkIDs("chat", id)); err != nil {
			return err
		}
		if from > to || from >= maxPlace {
			return nil
		}
		seqs, err := c.seqs(c.ctx, getHidden, string(user), string(id), int64(from), int64(min(to, maxPlace-1)))
		out = seqs
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// Block keeps that by wants nothing to do with user.
func (s *Store) Block(ctx context.Context, by, user chat.UserID) error {
	return s.do(ctx, "block", func(c call) error { return c.setBlock(by, user, true) })
}

// Unblock forgets a block; one that is not there is no error.
func (s *Store) Unblock(ctx context.Context, by, user chat.UserID) error {
	return s.do(ctx, "unblock", func(c call) error { return c.setBlock(by, user, false) })
}

func (c call) setBlock(by, user chat.UserID, blocked bool) error {
	if err := checkIDs("user", by, user); err != nil {
		return err
	}
	stmt := dropBlock
	if blocked {
		stmt = putBlock
	}
	return c.swap(func() (bool, error) {
		// Refused, it is as wanted already.
		_, err := c.Session.Session.Query(stmt, string(by), string(user)).WithContext(c.ctx).MapScanCAS(map[string]any{})
		if errors.Is(err, gocql.ErrNotFound) {
			err = nil // refused, and there is no row
		}
		return err == nil, err
	}, func() (bool, error) {
		now, err := c.isBlocked(by, user)
		return err == nil && now == blocked, err
	})
}

// Blocks returns whom a person has blocked, ascending by id.
func (s *Store) Blocks(ctx context.Context, by chat.UserID) (out []chat.UserID, err error) {
	err = s.do(ctx, "blocks", func(c call) error {
		if err := checkIDs("user", by); err != nil {
			return err
		}
		users, err := c.blocks(by)
		out = users
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (c call) blocks(by chat.UserID) (out []chat.UserID, err error) {
	err = c.patiently(func() error {
		out = nil
		it := c.query(c.ctx, getBlocks, string(by)).Consistency(gocql.Consistency(gocql.LocalSerial)).Iter()
		for user := ""; it.Scan(&user); {
			out = append(out, chat.UserID(user))
		}
		return it.Close()
	})
	return out, err
}

// IsBlocked tells whether by has blocked user.
func (s *Store) IsBlocked(ctx context.Context, by, user chat.UserID) (blocked bool, err error) {
	err = s.do(ctx, "is blocked", func(c call) error {
		if err := checkIDs("user", by, user); err != nil {
			return err
		}
		var err error
		blocked, err = c.isBlocked(by, user)
		return err
	})
	return blocked && err == nil, err
}

func (c call) isBlocked(by, user chat.UserID) (bool, error) {
	err := c.patiently(func() error {
		var id string
		return c.query(c.ctx, getBlock, string(by), string(user)).Consistency(gocql.Consistency(gocql.LocalSerial)).Scan(&id)
	})
	if errors.Is(err, gocql.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

package scylla

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/gocql/gocql"
	"github.com/scylladb/gocqlx/v2/qb"
	"golang.org/x/sync/errgroup"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/store"
)

// The statements of point reads.
var (
	getRecord  = cql(qb.Select("chats").Columns("seq", "n", "at", "stream", "state").Where(qb.Eq("chat_id")).ToCql())
	getHead    = cql(qb.Select("chats").Columns("seq").Where(qb.Eq("chat_id")).ToCql())
	getPlace   = cql(qb.Select("chats").Columns("seq", "stream").Where(qb.Eq("chat_id")).ToCql())
	getCursor  = cql(qb.Select("user_chats").Columns("seq", "n", "delivered").Where(ofUser...).ToCql())
	getChatsOf = cql(qb.Select("user_chats").Columns("chat_id", "link", "seq", "n", "delivered").Where(qb.Eq("user_id")).ToCql())
	getFound   = cql(qb.Select("client_ids").Columns("seq", "sent_at").
			Where(qb.Eq("chat_id"), qb.Eq("bucket"), qb.Eq("sender"), qb.Eq("client_id")).ToCql())
	getSent = cql(qb.Select("client_ids").Columns("client_id").
		Where(qb.Eq("chat_id"), qb.Eq("bucket"), qb.Eq("sender")).LimitNamed("limit").ToCql())
)

// query is a read whose rows are scanned by position: it may be repeated, and is asked of a second host when the first is slow.
func (c call) query(ctx context.Context, stmt string, args ...any) *gocql.Query {
	return c.Session.Session.Query(stmt, args...).WithContext(ctx).Idempotent(true).SetSpeculativeExecutionPolicy(c.hedge)
}

// Record returns what the store knows of a chat, all of one moment. It fails with ErrNotFound.
func (s *Store) Record(ctx context.Context, id chat.ID) (rec store.Record, err error) {
	err = s.do(ctx, "record", func(c call) error {
		if err := checkIDs("chat", id); err != nil {
			return err
		}
		var seq, n, at, stream *int64
		var state []byte
		err := c.query(c.ctx, getRecord, string(id)).Scan(&seq, &n, &at, &stream, &state)
		switch {
		case errors.Is(err, gocql.ErrNotFound):
			return store.ErrNotFound
		case err != nil:
			return err
		}
		var found store.Record
		if seq != nil {
			if n == nil || at == nil || stream == nil {
				return errDamaged
			}
			found.Seq, found.N, found.At, found.Stream = chat.Seq(*seq), uint64(*n), timeOf(*at), uint64(*stream)
		}
		if state != nil {
			found.State = new(chat.State)
			if json.Unmarshal(state, found.State) != nil {
				return errDamaged
			}
		}
		rec = found
		return nil
	})
	return rec, err
}

// Head returns the seq of the last event of a chat, and its sequence in the partition's stream; zeroes where there is none.
func (s *Store) Head(ctx context.Context, id chat.ID) (seq chat.Seq, stream uint64, err error) {
	err = s.do(ctx, "head", func(c call) error {
		if err := checkIDs("chat", id); err != nil {
			return err
		}
		var at, place *int64
		err := c.query(c.ctx, getPlace, string(id)).Scan(&at, &place)
		switch {
		case err != nil && !errors.Is(err, gocql.ErrNotFound):
			return err
		case at == nil: // nothing, or a state alone
			seq, stream = 0, 0
		case place == nil:
			return errDamaged
		default:
			seq, stream = chat.Seq(*at), uint64(*place)
		}
		return nil
	})
	return seq, stream, err
}

// Cursor returns how far a person has read, and up to where a device of theirs has the chat; zeroes where nothing is known.
func (s *Store) Cursor(ctx context.Context, id chat.ID, user chat.UserID) (cursor store.Cursor, err error) {
	err = s.do(ctx, "cursor", func(c call) error {
		if err := firstError(checkIDs("chat", id), checkIDs("user", user)); err != nil {
			return err
		}
		var seq, n, delivered int64
		err := c.query(c.ctx, getCursor, string(user), string(id)).Scan(&seq, &n, &delivered)
		if err != nil && !errors.Is(err, gocql.ErrNotFound) {
			return err
		}
		cursor = cursorOf(id, user, seq, n, delivered)
		return nil
	})
	return cursor, err
}

func cursorOf(id chat.ID, user chat.UserID, seq, n, delivered int64) store.Cursor {
	return store.Cursor{Chat: id, User: user, Seq: chat.Seq(seq), N: uint64(n), Delivered: chat.Seq(max(seq, delivered))}
}

// ChatsOf returns the index of a person's chats, in the order of their ids.
func (s *Store) ChatsOf(ctx context.Context, user chat.UserID) (out []store.UserChat, err error) {
	err = s.do(ctx, "chats of", func(c call) error {
		if err := checkIDs("user", user); err != nil {
			return err
		}
		var settings map[chat.ID]store.ChatSettings
		var all []store.UserChat
		g, ctx := errgroup.WithContext(c.ctx)
		g.Go(func() (err error) { settings, err = c.settings(ctx, user); return err })
		g.Go(func() error {
			it := c.query(ctx, getChatsOf, string(user)).Iter()
			var id string
			var link, seq, n, delivered int64
			for it.Scan(&id, &link, &seq, &n, &delivered) {
				if link&1 == 1 {
					all = append(all, store.UserChat{Chat: chat.ID(id), Cursor: cursorOf(chat.ID(id), user, seq, n, delivered)})
				}
			}
			return it.Close()
		})
		if err := g.Wait(); err != nil {
			return err
		}
		for i := range all {
			all[i].Settings = settings[all[i].Chat]
		}
		out = all
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// head returns the last seq of a chat; zero where there is none.
func (c call) head(ctx context.Context, id chat.ID) (chat.Seq, error) {
	var seq int64
	err := c.query(ctx, getHead, string(id)).Scan(&seq)
	if errors.Is(err, gocql.ErrNotFound) {
		err = nil
	}
	return chat.Seq(seq), err
}

// Find returns where the message of (chat, sender, client id) stands. It fails with ErrNotFound. It looks into one row of each
// generation that the chat has: one up to 262,144 events.
func (s *Store) Find(ctx context.Context, id chat.ID, sender chat.UserID, client chat.ClientID) (f store.Found, err error) {
	err = s.do(ctx, "find", func(c call) error {
		err := firstError(checkIDs("chat", id), checkIDs("sender", sender), checkIDs("client_id", client))
		if err != nil {
			return err
		}
		var head chat.Seq
		var first store.Found
		g, ctx := errgroup.WithContext(c.ctx)
		g.Go(func() (err error) { head, err = c.head(ctx, id); return err })
		g.Go(func() (err error) { first, err = c.foundIn(ctx, 0, id, sender, client); return err })
		if err := g.Wait(); err != nil {
			return err
		}
		later := make([]store.Found, generation(head))
		if first.Seq == 0 {
			g, ctx = errgroup.WithContext(c.ctx)
			for i := range later {
				g.Go(func() (err error) { later[i], err = c.foundIn(ctx, i+1, id, sender, client); return err })
			}
			if err := g.Wait(); err != nil {
				return err
			}
		}
		for _, l := range append([]store.Found{first}, later...) {
			if l.Seq > 0 { // the first one, if a client id ever stood twice
				f = l
				return nil
			}
		}
		return store.ErrNotFound
	})
	return f, err
}

// foundIn looks for a message in one generation. Seq is zero where it is not there.
func (c call) foundIn(ctx context.Context, g int, id chat.ID, sender chat.UserID, client chat.ClientID) (store.Found, error) {
	var seq, at int64
	err := c.query(ctx, getFound, string(id), foundIn(g, client), string(sender), string(client)).Scan(&seq, &at)
	switch {
	case errors.Is(err, gocql.ErrNotFound):
		return store.Found{}, nil
	case err != nil:
		return store.Found{}, err
	}
	return store.Found{Seq: chat.Seq(seq), SentAt: timeOf(at)}, nil
}

// sentAtOnce is how many partitions Sent looks into at once.
const sentAtOnce = 16

// Sent returns the client ids of a person's messages in a chat, at most limit. A chat of N events has about N / 262,144
// partitions of them.
func (s *Store) Sent(ctx context.Context, id chat.ID, sender chat.UserID, limit int) (out []chat.ClientID, err error) {
	err = s.do(ctx, "sent", func(c call) error {
		if err := firstError(checkIDs("chat", id), checkIDs("sender", sender)); err != nil {
			return err
		}
		if limit <= 0 {
			return nil
		}
		head, err := c.head(c.ctx, id)
		if err != nil {
			return err
		}
		for from, end := int64(0), foundBuckets(head); from < end && len(out) < limit; from += sentAtOnce {
			some := make([][]chat.ClientID, min(sentAtOnce, end-from))
			g, ctx := errgroup.WithContext(c.ctx)
			for i := range some {
				g.Go(func() (err error) {
					some[i], err = c.sentIn(ctx, id, from+int64(i), sender, limit)
					return err
				})
			}
			if err := g.Wait(); err != nil {
				return err
			}
			for _, ids := range some {
				out = append(out, ids...)
			}
		}
		out = out[:min(len(out), limit)]
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (c call) sentIn(ctx context.Context, id chat.ID, bucket int64, sender chat.UserID, limit int) ([]chat.ClientID, error) {
	it := c.query(ctx, getSent, string(id), bucket, string(sender), limit).Iter()
	var ids []chat.ClientID
	var client string
	for it.Scan(&client) {
		ids = append(ids, chat.ClientID(client))
	}
	return ids, it.Close()
}

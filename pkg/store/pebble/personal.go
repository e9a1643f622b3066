package pebble

import (
	"context"
	"math"

	lsm "github.com/cockroachdb/pebble/v2"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/store"
)

// personal runs one write of what a person has set, under their lock.
func (s *Store) personal(ctx context.Context, op string, user chat.UserID, other error, fill func(*tx)) error {
	if err := s.enter(ctx); err != nil {
		return fail(op, err)
	}
	defer s.leave()
	if err := firstError(checkIDs("user", user), other); err != nil {
		return fail(op, err)
	}
	var set lockSet
	s.stripes.add(&set, string(user))
	return fail(op, s.update(set, func(x *tx) error { fill(x); return nil }))
}

// SetChatSettings replaces what a person has set for a chat.
func (s *Store) SetChatSettings(ctx context.Context, user chat.UserID, id chat.ID, n store.ChatSettings) error {
	return s.personal(ctx, "set chat settings", user, checkIDs("chat", id), func(x *tx) {
		if n == (store.ChatSettings{}) {
			x.delete(settingsKey(user, id))
			return
		}
		x.set(settingsKey(user, id), encodeSettings(n))
	})
}

// ChatSettingsOf returns what a person has set for a chat, the zero value where that is nothing.
func (s *Store) ChatSettingsOf(ctx context.Context, user chat.UserID, id chat.ID) (store.ChatSettings, error) {
	if err := s.enter(ctx); err != nil {
		return store.ChatSettings{}, fail("chat settings", err)
	}
	defer s.leave()
	if err := firstError(checkIDs("user", user), checkIDs("chat", id)); err != nil {
		return store.ChatSettings{}, fail("chat settings", err)
	}
	v, err := s.value(settingsKey(user, id))
	if err != nil || v == nil {
		return store.ChatSettings{}, fail("chat settings", err)
	}
	n, err := decodeSettings(v)
	return n, fail("chat settings", err)
}

// settingsOf returns all that a person has set for chats.
func (s *Store) settingsOf(user chat.UserID) (map[chat.ID]store.ChatSettings, error) {
	prefix := settingsPrefix(user)
	out := map[chat.ID]store.ChatSettings{}
	err := s.view(&lsm.IterOptions{LowerBound: prefix, UpperBound: after(prefix)}, func(it *lsm.Iterator) error {
		for ok := it.First(); ok; ok = it.Next() {
			v, err := it.ValueAndErr()
			if err != nil {
				return err
			}
			n, err := decodeSettings(v)
			if err != nil {
				return err
			}
			out[chat.ID(it.Key()[len(prefix):])] = n
		}
		return it.Error()
	})
	return out, err
}

// Hide keeps events of a chat out of a person's sight.
func (s *Store) Hide(ctx context.Context, user chat.UserID, id chat.ID, seqs ...chat.Seq) error {
	return s.personal(ctx, "hide", user, checkIDs("chat", id), func(x *tx) {
		for _, seq := range seqs {
			x.set(hiddenKey(user, id, seq), []byte{})
		}
	})
}

// Hidden returns the events from one seq to another, both included, that a person has hidden, ascending.
func (s *Store) Hidden(ctx context.Context, user chat.UserID, id chat.ID, from, to chat.Seq) ([]chat.Seq, error) {
	if err := s.enter(ctx); err != nil {
		return nil, fail("hidden", err)
	}
	defer s.leave()
	if err := firstError(checkIDs("user", user), checkIDs("chat", id)); err != nil {
		return nil, fail("hidden", err)
	}
	if from > to {
		return nil, nil
	}
	seqs, err := s.seqs(between(hiddenPrefix(user, id), from, to), math.MaxInt)
	return seqs, fail("hidden", err)
}

// Block keeps that by wants nothing to do with user.
func (s *Store) Block(ctx context.Context, by, user chat.UserID) error {
	return s.personal(ctx, "block", by, checkIDs("user", user), func(x *tx) { x.set(blockKey(by, user), []byte{}) })
}

// Unblock forgets a block; one that is not there is no error.
func (s *Store) Unblock(ctx context.Context, by, user chat.UserID) error {
	return s.personal(ctx, "unblock", by, checkIDs("user", user), func(x *tx) { x.delete(blockKey(by, user)) })
}

// Blocks returns whom a person has blocked, ascending by id.
func (s *Store) Blocks(ctx context.Context, by chat.UserID) ([]chat.UserID, error) {
	if err := s.enter(ctx); err != nil {
		return nil, fail("blocks", err)
	}
	defer s.leave()
	if err := checkIDs("user", by); err != nil {
		return nil, fail("blocks", err)
	}
	prefix := blockPrefix(by)
	var out []chat.UserID
	err := s.view(&lsm.IterOptions{LowerBound: prefix, UpperBound: after(prefix)}, func(it *lsm.Iterator) error {
		for ok := it.First(); ok; ok = it.Next() {
			out = append(out, chat.UserID(it.Key()[len(prefix):]))
		}
		return it.Error()
	})
	if err != nil {
		return nil, fail("blocks", err)
	}
	return out, nil
}

// IsBlocked tells whether by has blocked user.
func (s *Store) IsBlocked(ctx context.Context, by, user chat.UserID) (bool, error) {
	if err := s.enter(ctx); err != nil {
		return false, fail("is blocked", err)
	}
	defer s.leave()
	if err := checkIDs("user", by, user); err != nil {
		return false, fail("is blocked", err)
	}
	v, err := s.value(blockKey(by, user))
	return v != nil, fail("is blocked", err)
}

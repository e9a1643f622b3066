package pebble

import (
	"bytes"
	"context"
	"encoding/binary"
	"math"
	"slices"

	lsm "github.com/cockroachdb/pebble/v2"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/store"
)

// Page returns events of a chat. It reads what it returns and one event more at most, however long the chat is.
func (s *Store) Page(ctx context.Context, id chat.ID, r store.Range) ([]store.Item, error) {
	if err := s.enter(ctx); err != nil {
		return nil, fail("page", err)
	}
	defer s.leave()
	if err := checkIDs("chat", id); err != nil {
		return nil, fail("page", err)
	}
	if r.After == math.MaxUint64 || r.Before > 0 && r.Before <= r.After+1 {
		return nil, nil
	}
	o := lsm.IterOptions{LowerBound: eventKey(id, r.After+1), UpperBound: after(eventPrefix(id))}
	if r.Before > 0 {
		o.UpperBound = eventKey(id, r.Before)
	}
	var items []store.Item
	err := s.view(&o, func(it *lsm.Iterator) (err error) {
		if r.After > 0 || r.Forward {
			items, err = collect(it, r, it.First, it.Next)
		} else {
			items, err = collect(it, r, it.Last, it.Prev)
			slices.Reverse(items)
		}
		return err
	})
	if err != nil {
		return nil, fail("page", err)
	}
	return items, nil
}

// collect takes events until the range is full.
func collect(it *lsm.Iterator, r store.Range, start, next func() bool) ([]store.Item, error) {
	var items []store.Item
	size := 0
	for ok := start(); ok && (r.Limit <= 0 || len(items) < r.Limit); ok = next() {
		v, err := it.ValueAndErr()
		if err != nil {
			return nil, err
		}
		size += len(v)
		if r.MaxBytes > 0 && size > r.MaxBytes && len(items) > 0 {
			break
		}
		k := it.Key()
		items = append(items, store.Item{
			Seq:  chat.Seq(binary.BigEndian.Uint64(k[len(k)-8:])), // the bounds let only keys of events through
			Body: bytes.Clone(v),
		})
	}
	return items, it.Error()
}

// Find returns where the message of (chat, sender, client id) stands. It fails with ErrNotFound.
func (s *Store) Find(ctx context.Context, id chat.ID, sender chat.UserID, client chat.ClientID) (store.Found, error) {
	if err := s.enter(ctx); err != nil {
		return store.Found{}, fail("find", err)
	}
	defer s.leave()
	err := firstError(checkIDs("chat", id), checkIDs("sender", sender), checkIDs("client_id", client))
	if err != nil {
		return store.Found{}, fail("find", err)
	}
	v, err := s.value(foundKey(id, sender, client))
	if err == nil && v == nil {
		err = store.ErrNotFound
	}
	if err != nil {
		return store.Found{}, fail("find", err)
	}
	f, err := decodeFound(v)
	return f, fail("find", err)
}

// Sent returns the client ids of a person's messages in a chat, at most limit.
func (s *Store) Sent(ctx context.Context, id chat.ID, sender chat.UserID, limit int) ([]chat.ClientID, error) {
	if err := s.enter(ctx); err != nil {
		return nil, fail("sent", err)
	}
	defer s.leave()
	if err := firstError(checkIDs("chat", id), checkIDs("sender", sender)); err != nil {
		return nil, fail("sent", err)
	}
	prefix := foundPrefix(id, sender)
	var ids []chat.ClientID
	err := s.view(&lsm.IterOptions{LowerBound: prefix, UpperBound: after(prefix)}, func(it *lsm.Iterator) error {
		for ok := it.First(); ok && len(ids) < limit; ok = it.Next() {
			ids = append(ids, chat.ClientID(it.Key()[len(prefix):]))
		}
		return it.Error()
	})
	return ids, fail("sent", err)
}

// Head returns the seq of the last event of a chat, and its sequence in the partition's stream; zeroes where there is none.
func (s *Store) Head(ctx context.Context, id chat.ID) (seq chat.Seq, stream uint64, err error) {
	if err := s.enter(ctx); err != nil {
		return 0, 0, fail("head", err)
	}
	defer s.leave()
	if err := checkIDs("chat", id); err != nil {
		return 0, 0, fail("head", err)
	}
	v, err := s.value(headKey(id))
	if err != nil || v == nil {
		return 0, 0, fail("head", err)
	}
	h, err := decodeHead(v)
	return h.seq, h.stream, fail("head", err)
}

// Record returns what the store knows of a chat, all of one moment. It fails with ErrNotFound.
func (s *Store) Record(ctx context.Context, id chat.ID) (store.Record, error) {
	if err := s.enter(ctx); err != nil {
		return store.Record{}, fail("record", err)
	}
	defer s.leave()
	if err := checkIDs("chat", id); err != nil {
		return store.Record{}, fail("record", err)
	}
	var rec store.Record
	err := s.view(pointReads, func(it *lsm.Iterator) error {
		v, err := seek(it, headKey(id))
		if err != nil {
			return err
		}
		if v != nil {
			h, err := decodeHead(v)
			if err != nil {
				return err
			}
			rec.Seq, rec.N, rec.At, rec.Stream = h.seq, h.n, h.at, h.stream
		}
		if v, err = seek(it, stateKey(id)); err != nil || v == nil {
			return err
		}
		rec.State, err = decodeState(v)
		return err
	})
	if err == nil && rec.Seq == 0 && rec.State == nil {
		err = store.ErrNotFound
	}
	if err != nil {
		return store.Record{}, fail("record", err)
	}
	return rec, nil
}

// Cursor returns how far a person has read; the zero Seq where nothing is known.
func (s *Store) Cursor(ctx context.Context, id chat.ID, user chat.UserID) (store.Cursor, error) {
	if err := s.enter(ctx); err != nil {
		return store.Cursor{}, fail("cursor", err)
	}
	defer s.leave()
	if err := firstError(checkIDs("chat", id), checkIDs("user", user)); err != nil {
		return store.Cursor{}, fail("cursor", err)
	}
	v, err := s.value(membershipKey(user, id))
	if err != nil {
		return store.Cursor{}, fail("cursor", err)
	}
	var m membership
	if v != nil {
		if m, err = decodeMembership(v); err != nil {
			return store.Cursor{}, fail("cursor", err)
		}
	}
	return m.cursor(user, id), nil
}

// Chats returns the ids of the chats that have a record and come behind after, ascending, at most limit. It reads limit rows of
// each of two tables at most.
func (s *Store) Chats(ctx context.Context, after chat.ID, limit int) ([]chat.ID, error) {
	if err := s.enter(ctx); err != nil {
		return nil, fail("chats", err)
	}
	defer s.leave()
	if len(after) > chat.MaxID {
		return nil, fail("chats", chat.Errorf(chat.BadRequest, "chat is longer than %d bytes", chat.MaxID))
	}
	heads, err := s.chatsIn(headTable, after, limit)
	if err != nil {
		return nil, fail("chats", err)
	}
	states, err := s.chatsIn(stateTable, after, limit) // a state may come before the first event
	if err != nil {
		return nil, fail("chats", err)
	}
	ids := append(heads, states...)
	slices.Sort(ids)
	ids = slices.Compact(ids)
	return ids[:min(len(ids), max(limit, 0))], nil
}

// chatsIn lists the chats of a table whose keys are chats.
func (s *Store) chatsIn(table byte, behind chat.ID, limit int) ([]chat.ID, error) {
	var ids []chat.ID
	lower := append(append(newKey(table), behind...), 0) // the first key that sorts behind it
	err := s.view(&lsm.IterOptions{LowerBound: lower, UpperBound: after(newKey(table))}, func(it *lsm.Iterator) error {
		for ok := it.First(); ok && len(ids) < limit; ok = it.Next() {
			ids = append(ids, chat.ID(it.Key()[1:]))
		}
		return it.Error()
	})
	return ids, err
}

// ChatsOf returns the index of a person's chats, in the order of their ids.
func (s *Store) ChatsOf(ctx context.Context, user chat.UserID) ([]store.UserChat, error) {
	if err := s.enter(ctx); err != nil {
		return nil, fail("chats of", err)
	}
	defer s.leave()
	if err := checkIDs("user", user); err != nil {
		return nil, fail("chats of", err)
	}
	settings, err := s.settingsOf(user)
	if err != nil {
		return nil, fail("chats of", err)
	}
	prefix := membershipPrefix(user)
	var out []store.UserChat
	err = s.view(&lsm.IterOptions{LowerBound: prefix, UpperBound: after(prefix)}, func(it *lsm.Iterator) error {
		for ok := it.First(); ok; ok = it.Next() {
			v, err := it.ValueAndErr()
			if err != nil {
				return err
			}
			m, err := decodeMembership(v)
			if err != nil {
				return err
			}
			if m.in() {
				id := chat.ID(it.Key()[len(prefix):])
				out = append(out, store.UserChat{Chat: id, Cursor: m.cursor(user, id), Settings: settings[id]})
			}
		}
		return it.Error()
	})
	if err != nil {
		return nil, fail("chats of", err)
	}
	return out, nil
}

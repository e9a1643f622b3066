package pebble

import (
	"cmp"
	"context"
	"encoding/binary"
	"math"
	"slices"

	lsm "github.com/cockroachdb/pebble/v2"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/store"
)

// Marks returns the marks of events of a chat, ascending by target and then by seq.
func (s *Store) Marks(ctx context.Context, id chat.ID, from, to chat.Seq) ([]store.Mark, error) {
	if err := s.enter(ctx); err != nil {
		return nil, fail("marks", err)
	}
	defer s.leave()
	if err := checkIDs("chat", id); err != nil {
		return nil, fail("marks", err)
	}
	if from > to {
		return nil, nil
	}
	prefix := markPrefix(id)
	var out []store.Mark
	err := s.view(between(prefix, from, to), func(it *lsm.Iterator) error {
		for ok := it.First(); ok; ok = it.Next() {
			v, err := it.ValueAndErr()
			if err != nil {
				return err
			}
			m, err := decodeMark(it.Key()[len(prefix):], v)
			if err != nil {
				return err
			}
			out = append(out, m)
		}
		return it.Error()
	})
	if err != nil {
		return nil, fail("marks", err)
	}
	slices.SortFunc(out, func(a, b store.Mark) int { return cmp.Or(cmp.Compare(a.Target, b.Target), cmp.Compare(a.Seq, b.Seq)) })
	return out, nil
}

// Mentions returns the messages of a chat above after that mention a person, ascending, at most limit.
func (s *Store) Mentions(
	ctx context.Context, user chat.UserID, id chat.ID, after chat.Seq, limit int,
) ([]chat.Seq, error) {
	if err := s.enter(ctx); err != nil {
		return nil, fail("mentions", err)
	}
	defer s.leave()
	if err := firstError(checkIDs("user", user), checkIDs("chat", id)); err != nil {
		return nil, fail("mentions", err)
	}
	if after == math.MaxUint64 {
		return nil, nil
	}
	seqs, err := s.seqs(between(mentionPrefix(user, id), after+1, math.MaxUint64), limit)
	return seqs, fail("mentions", err)
}

// seqs returns the seqs with which the keys within bounds end, at most limit.
func (s *Store) seqs(o *lsm.IterOptions, limit int) ([]chat.Seq, error) {
	var out []chat.Seq
	err := s.view(o, func(it *lsm.Iterator) error {
		for ok := it.First(); ok && len(out) < limit; ok = it.Next() {
			k := it.Key()
			out = append(out, chat.Seq(binary.BigEndian.Uint64(k[len(k)-8:])))
		}
		return it.Error()
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// SentSeqs returns the messages of a person in a chat above a seq, ascending, at most limit. It goes through all that the person
// has sent in the chat.
func (s *Store) SentSeqs(
	ctx context.Context, id chat.ID, sender chat.UserID, above chat.Seq, limit int,
) ([]chat.Seq, error) {
	if err := s.enter(ctx); err != nil {
		return nil, fail("sent seqs", err)
	}
	defer s.leave()
	if err := firstError(checkIDs("chat", id), checkIDs("sender", sender)); err != nil {
		return nil, fail("sent seqs", err)
	}
	prefix := foundPrefix(id, sender)
	var out []chat.Seq
	err := s.view(&lsm.IterOptions{LowerBound: prefix, UpperBound: after(prefix)}, func(it *lsm.Iterator) error {
		for ok := it.First(); ok; ok = it.Next() {
			v, err := it.ValueAndErr()
			if err != nil {
				return err
			}
			f, err := decodeFound(v)
			if err != nil {
				return err
			}
			if f.Seq > above {
				out = append(out, f.Seq)
			}
		}
		return it.Error()
	})
	if err != nil {
		return nil, fail("sent seqs", err)
	}
	slices.Sort(out)
	return out[:min(len(out), max(limit, 0))], nil
}

package pebble

import (
	"context"

	lsm "github.com/cockroachdb/pebble/v2"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

// EverIn returns the chats that a person is or was in, in the order of their ids: a membership that ended keeps its row.
func (s *Store) EverIn(ctx context.Context, user chat.UserID) ([]chat.ID, error) {
	if err := s.enter(ctx); err != nil {
		return nil, fail("ever in", err)
	}
	defer s.leave()
	if err := checkIDs("user", user); err != nil {
		return nil, fail("ever in", err)
	}
	prefix := membershipPrefix(user)
	var out []chat.ID
	err := s.view(&lsm.IterOptions{LowerBound: prefix, UpperBound: after(prefix)}, func(it *lsm.Iterator) error {
		for ok := it.First(); ok; ok = it.Next() {
			out = append(out, chat.ID(it.Key()[len(prefix):]))
		}
		return it.Error()
	})
	if err != nil {
		return nil, fail("ever in", err)
	}
	return out, nil
}

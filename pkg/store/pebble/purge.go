package pebble

import (
	"bytes"
	"context"

	lsm "github.com/cockroachdb/pebble/v2"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

// purgeBatch is how many erased bodies are driven out of the files in one pass of the sweeper, so that it writes no more than so many
// tables anew.
const purgeBatch = 1000

// purge drives erased bodies out of the files: a body that was replaced stays there until the tables that hold it are merged, which on a quiet
// store may be never. It writes out what is in memory, by which the write-ahead log is done with, and merges the ranges of the chats
// concerned. It tells how many bodies it took care of. What is left, because the store closes or fails, is taken up again, also
// after a restart.
//
// A file of the write-ahead log is used again by the engine, up to five of 16 MiB: of what stood in it before, bytes may remain until
// it is written over.
func (s *Store) purge() (int, error) {
	if err := s.enter(context.Background()); err != nil {
		return 0, fail("purge", err)
	}
	defer s.leave()
	type span struct{ from, to chat.Seq }
	var keys [][]byte
	spans := map[chat.ID]span{}
	o := &lsm.IterOptions{LowerBound: newKey(purgeTable), UpperBound: after(newKey(purgeTable))}
	err := s.view(o, func(it *lsm.Iterator) error {
		for ok := it.First(); ok && len(keys) < purgeBatch; ok = it.Next() {
			id, seq, ok := cutPurgeKey(it.Key())
			if !ok {
				return errDamaged
			}
			keys = append(keys, bytes.Clone(it.Key()))
			at, there := spans[id]
			if !there {
				at.from = seq
			}
			at.to = seq // they ascend
			spans[id] = at
		}
		return it.Error()
	})
	if err != nil || len(keys) == 0 {
		return 0, fail("purge", err)
	}
	if err := s.db.Flush(); err != nil {
		return 0, fail("purge", err)
	}
	for id, at := range spans {
		if s.quitting() {
			return 0, nil
		}
		if err := s.db.Compact(context.Background(), eventKey(id, at.from), eventKey(id, at.to+1), false); err != nil {
			return 0, fail("purge", err)
		}
	}
	b := s.db.NewBatch()
	defer b.Close()
	for _, k := range keys {
		if err := b.Delete(k, nil); err != nil {
			return 0, fail("purge", err)
		}
	}
	return len(keys), fail("purge", b.Commit(lsm.NoSync)) // a pass more does no harm
}

package pebble

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	lsm "github.com/cockroachdb/pebble/v2"
)

// tx collects the new values of rows while their locks are held, and reads its own writes.
type tx struct {
	db   *lsm.DB
	hot  *hot
	iter *lsm.Iterator     // opened by the first read that neither rows nor hot can answer
	rows map[string][]byte // new values by key; nil is a deletion
	gone [][]byte          // prefixes of which all rows are deleted, before rows are written
}

// get returns the value of a row, valid until the next get, or nil where there is none.
func (x *tx) get(key []byte) ([]byte, error) {
	if v, ok := x.rows[string(key)]; ok {
		return v, nil
	}
	v, ok := x.hot.get(key)
	if ok {
		return v, nil
	}
	if err := x.open(); err != nil {
		return nil, err
	}
	v, err := seek(x.iter, key)
	if v != nil && err == nil {
		x.hot.read(key, v)
	}
	return v, err
}

func (x *tx) open() (err error) {
	if x.iter == nil {
		x.iter, err = x.db.NewIter(pointReads)
	}
	return err
}

// keys returns the keys that begin with prefix, in any order.
func (x *tx) keys(prefix []byte) ([]string, error) {
	if err := x.open(); err != nil {
		return nil, err
	}
	var out []string
	for ok := x.iter.SeekGE(prefix); ok && bytes.HasPrefix(x.iter.Key(), prefix); ok = x.iter.Next() {
		if _, changed := x.rows[string(x.iter.Key())]; !changed {
			out = append(out, string(x.iter.Key()))
		}
	}
	for k, v := range x.rows {
		if v != nil && strings.HasPrefix(k, string(prefix)) {
			out = append(out, k)
		}
	}
	return out, x.iter.Error()
}

func (x *tx) set(key, value []byte) { x.rows[string(key)] = value }
func (x *tx) delete(key []byte)     { x.rows[string(key)] = nil }

// deleteAll deletes all rows that begin with prefix and are there already.
func (x *tx) deleteAll(prefix []byte) { x.gone = append(x.gone, prefix) }

// update runs fill under the locks of set and writes what it changed, in one atomic batch with one sync. An error of fill
// is returned as it is, and nothing is written.
func (s *Store) update(set lockSet, fill func(*tx) error) error {
	began := time.Now()
	b, err := s.stage(&set, fill)
	if err != nil {
		return err
	}
	// From here on others see the new values. The locks are free, and all who wait here share a sync.
	if !s.noSync {
		if err := b.SyncWait(); err != nil {
			s.failed.Store(true)
			s.log.Error("pebble: sync failed", "error", quiet(err))
			return fmt.Errorf("%w: %w", ErrFailed, quiet(err))
		}
	}
	s.metrics.commits.Observe(time.Since(began).Seconds())
	return b.Close()
}

// stage is the part of update that holds the locks: it ends when the new values are visible, in the order in which the
// write-ahead log has them.
func (s *Store) stage(set *lockSet, fill func(*tx) error) (*lsm.Batch, error) {
	s.stripes.lock(set)
	defer s.stripes.unlock(set)
	x := tx{db: s.db, hot: s.hot, rows: make(map[string][]byte)}
	err := fill(&x)
	if x.iter != nil {
		if e := x.iter.Close(); err == nil {
			err = e
		}
	}
	if err != nil {
		return nil, err
	}
	b := s.db.NewBatch()
	if err = x.fill(b); err == nil {
		err = s.checkRoom(b.Len())
	}
	if err != nil {
		return nil, errors.Join(err, b.Close())
	}
	if s.noSync {
		err = s.db.Apply(b, lsm.NoSync)
	} else {
		err = s.db.ApplyNoSyncWait(b, lsm.Sync)
	}
	s.hot.wrote(x.rows, err)
	return b, err
}

// fill puts the new values into b, which is never empty afterwards: where all is as wanted already, it may not be on disk
// yet, because whoever wrote it still waits for the sync. The log is synced in order, so a record without content makes us
// wait for that sync too.
func (x *tx) fill(b *lsm.Batch) error {
	if len(x.rows)+len(x.gone) == 0 {
		return b.LogData(nil, nil)
	}
	for _, prefix := range x.gone {
		if err := b.DeleteRange(prefix, after(prefix), nil); err != nil {
			return err
		}
	}
	for _, k := range slices.Sorted(maps.Keys(x.rows)) { // neighbors are found faster in memory than rows at random
		v := x.rows[k]
		if v == nil {
			op := b.DeleteDeferred(len(k))
			copy(op.Key, k)
			if err := op.Finish(); err != nil {
				return err
			}
			continue
		}
		op := b.SetDeferred(len(k), len(v)) // without a copy of its own for each key
		copy(op.Key, k)
		copy(op.Value, v)
		if err := op.Finish(); err != nil {
			return err
		}
	}
	return nil
}

// checkRoom fails with ErrFull where the disk would have too little room left after a write of n bytes. The engine cannot
// go on after its log hit the end of the disk; a refusal in time leaves the store readable, and it heals by itself when
// there is room again.
func (s *Store) checkRoom(n int) error {
	if s.reserve <= 0 {
		return nil
	}
	u, err := s.fs.GetDiskUsage(s.dir)
	if err != nil {
		return nil // not every file system can tell
	}
	if u.AvailBytes < uint64(s.reserve)+uint64(n) {
		return ErrFull
	}
	return nil
}

package pebble

import (
	"errors"
	"fmt"
	"time"

	lsm "github.com/cockroachdb/pebble/v2"
)

// tx collects the new values of rows while their locks are held, and reads its own writes.
type tx struct {
	db   *lsm.DB
	iter *lsm.Iterator     // opened by the first read that rows cannot answer
	rows map[string][]byte // new values by key; nil is a deletion
}

// get returns the value of a row, valid until the next get, or nil where there is none.
func (x *tx) get(key []byte) ([]byte, error) {
	if v, ok := x.rows[string(key)]; ok {
		return v, nil
	}
	if x.iter == nil {
		var err error
		if x.iter, err = x.db.NewIter(pointReads); err != nil {
			return nil, err
		}
	}
	return seek(x.iter, key)
}

func (x *tx) set(key, value []byte) { x.rows[string(key)] = value }
func (x *tx) delete(key []byte)     { x.rows[string(key)] = nil }

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
	x := tx{db: s.db, rows: make(map[string][]byte)}
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
		return b, s.db.Apply(b, lsm.NoSync)
	}
	return b, s.db.ApplyNoSyncWait(b, lsm.Sync)
}

// fill puts the new values into b, which is never empty afterwards: where all is as wanted already, it may not be on disk
// yet, because whoever wrote it still waits for the sync. The log is synced in order, so a record without content makes us
// wait for that sync too.
func (x *tx) fill(b *lsm.Batch) error {
	if len(x.rows) == 0 {
		return b.LogData(nil, nil)
	}
	for k, v := range x.rows {
		var err error
		if v == nil {
			err = b.Delete([]byte(k), nil)
		} else {
			err = b.Set([]byte(k), v, nil)
		}
		if err != nil {
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

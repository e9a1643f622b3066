package pebble

import (
	"bytes"
	"context"
	"errors"
	"time"

	lsm "github.com/cockroachdb/pebble/v2"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

// sweepBatch is how many expired sessions are removed under one lock and in one write.
const sweepBatch = 256

// sweepLoop removes expired sessions, and drives erased bodies out of the files, until Close. Reads depend on neither: an expired session is
// not found anyway, and in the place of an erased body its stub is found.
func (s *Store) sweepLoop(every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-s.quit:
			return
		case <-tick.C:
		}
		for more := true; more; {
			n, err := s.sweep(time.Now())
			if err != nil && !errors.Is(err, ErrFull) {
				s.log.Warn("pebble: expired sessions stay for now", "error", err)
			}
			more = err == nil && n == sweepBatch && !s.quitting()
		}
		if _, err := s.purge(); err != nil && !errors.Is(err, ErrFull) {
			s.log.Warn("pebble: erased bodies stay in the files for now", "error", err)
		}
	}
}

func (s *Store) quitting() bool {
	select {
	case <-s.quit:
		return true
	default:
		return false
	}
}

// sweep removes up to sweepBatch sessions that expired before now, and tells how many it found.
func (s *Store) sweep(now time.Time) (int, error) {
	if err := s.enter(context.Background()); err != nil {
		return 0, fail("sweep", err)
	}
	defer s.leave()
	type due struct {
		key  []byte
		user chat.UserID
		id   string
	}
	var dues []due
	var set lockSet
	o := &lsm.IterOptions{LowerBound: newKey(expiryTable), UpperBound: expiryPrefix(now)}
	err := s.view(o, func(it *lsm.Iterator) error {
		for ok := it.First(); ok && len(dues) < sweepBatch; ok = it.Next() {
			user, id, ok := cutExpiryKey(it.Key())
			if !ok {
				return errDamaged
			}
			dues = append(dues, due{bytes.Clone(it.Key()), user, id})
			s.stripes.add(&set, string(user))
		}
		return it.Error()
	})
	if err != nil || len(dues) == 0 {
		return 0, fail("sweep", err)
	}
	err = s.update(set, func(x *tx) error {
		for _, d := range dues {
			n, err := x.getSession(d.user, d.id)
			if err != nil {
				return err
			}
			// Between the look at the index and the lock the session may have been given more time.
			if n != nil && bytes.Equal(expiryKey(n.ExpiresAt.Time, d.user, d.id), d.key) {
				x.delete(sessionKey(d.user, d.id))
			}
			x.delete(d.key)
		}
		return nil
	})
	return len(dues), fail("sweep", err)
}

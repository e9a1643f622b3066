package api

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"time"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/subject"
)

// isDeleted tells whether an account is deleted, or about to be: nobody logs in to it any more.
func isDeleted(u store.User) bool { return !u.Deleted.IsZero() }

// deleteAccount deletes the account of who calls. Once it is answered that is durable, the sessions have ended and nobody logs in
// again. What the person wrote is erased by whichever node holds the lease, which goes on after a restart.
func (s *Server) deleteAccount(c *call) (answer, error) {
	var in struct {
		Password string `json:"password"`
	}
	if err := c.body(&in); err != nil {
		return answer{}, err
	}
	if in.Password == "" {
		return answer{}, chat.Errorf(chat.BadRequest, "password is required")
	}
	u, ok, err := s.confirm(c, in.Password)
	switch {
	case err != nil:
		return answer{}, err
	case !ok:
		return answer{}, errCredentials
	}
	if err := s.stored(s.store.BeginDeletion(c.ctx, u.ID)); err != nil {
		return answer{}, err
	}
	s.deletions.wake()
	return answer{status: http.StatusNoContent}, s.endSessions(c.ctx, u.ID, "")
}

// deletions are the accounts whose deletion is under way, as far as this node has worked on them.
type deletions struct {
	// again wakes the work; it holds one call.
	again chan struct{}
	// look is how often it is looked for work, lease how long others leave it to who works, grace how long after its begin a deletion may
	// end: a call or an edge that has not heard of it may still be carrying something.
	look, lease, grace time.Duration
	// passed is when this node went through all chats of a person whose deletion may not end yet. Only who works uses it.
	passed map[chat.UserID]time.Time
}

func newDeletions(grace time.Duration) deletions {
	return deletions{again: make(chan struct{}, 1), look: 5 * time.Second, lease: 10 * time.Second, grace: grace,
		passed: make(map[chat.UserID]time.Time)}
}

// wake lets the work be looked for now.
func (d *deletions) wake() {
	select {
	case d.again <- struct{}{}:
	default:
	}
}

// deletionsAtOnce is how many accounts are listed at once.
const deletionsAtOnce = 100

// eraseAccounts finishes deletions of accounts until ctx ends. Of several nodes one works at a time.
func (s *Server) eraseAccounts(ctx context.Context) {
	tick := time.NewTicker(s.deletions.look)
	defer tick.Stop()
	for failed := false; ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-s.deletions.again:
		}
		err := s.eraseAll(ctx)
		switch {
		case err == nil && failed:
			s.logger.Info("deletions of accounts go on")
		case err != nil && !failed && ctx.Err() == nil:
			s.logger.Warn("deletions of accounts wait", "error", err)
		}
		failed = err != nil
	}
}

// eraseAll works on all deletions once, if no other node does.
func (s *Server) eraseAll(ctx context.Context) (err error) {
	maps.DeleteFunc(s.deletions.passed, func(_ chat.UserID, at time.Time) bool { return time.Since(at) > 2*s.deletions.grace })
	var revision uint64
	defer func() {
		if revision == 0 {
			return
		}
		bye, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_, _ = s.bus.Publish(bye, bus.Removal(subject.Leases, subject.DeletionLease, revision)) // expires otherwise
	}()
	var failed error
	for after := chat.UserID(""); ; {
		some, err := s.store.Deleting(ctx, after, deletionsAtOnce)
		if err := s.stored(err); err != nil {
			return err
		}
		for _, user := range some {
			if revision == 0 {
				at, err := s.bus.Acquire(ctx, subject.Leases, subject.DeletionLease, []byte(s.node), s.deletions.lease, 0)
				if errors.Is(err, bus.ErrHeld) {
					return nil
				}
				if err != nil {
					return err
				}
				revision = at
			}
			if revision, err = s.eraseOne(ctx, user, revision); err != nil {
				failed = errors.Join(failed, err)
				if ctx.Err() != nil || revision == 0 {
					return failed
				}
			}
		}
		if len(some) < deletionsAtOnce {
			return failed
		}
		after = some[len(some)-1]
	}
}

// eraseOne works on one deletion under the lease, and returns how that stands: zero where it is lost.
func (s *Server) eraseOne(ctx context.Context, user chat.UserID, revision uint64) (uint64, error) {
	work, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- s.eraseAccount(work, user) }()
	beat := time.NewTicker(s.deletions.lease / 3)
	defer beat.Stop()
	for {
		select {
		case err := <-done:
			return revision, err
		case <-beat.C:
			at, err := s.bus.Renew(ctx, subject.Leases, subject.DeletionLease, []byte(s.node), s.deletions.lease, revision)
			if err != nil { // another node may go on
				cancel()
				<-done
				return 0, err
			}
			revision = at
		}
	}
}

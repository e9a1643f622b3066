package edge

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"sync"
	"time"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// revoked knows the sessions that ended while tokens of theirs were still valid. They are forgotten when no token can be valid
// any more.
type revoked struct {
	mu  sync.Mutex // guards ids
	ids map[string]time.Time
}

func newRevoked() *revoked { return &revoked{ids: map[string]time.Time{}} }

func (r *revoked) has(session string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.ids[session]
	return ok
}

// set notes that a session ended, or with ended false that it is forgotten.
func (r *revoked) set(session string, ended bool, at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if ended {
		r.ids[session] = at
		return
	}
	delete(r.ids, session)
}

// prune forgets the sessions that ended before a moment.
func (r *revoked) prune(before time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.DeleteFunc(r.ids, func(_ string, at time.Time) bool { return at.Before(before) })
}

func (r *revoked) clear() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.ids)
}

// watchRevoked closes the connections of sessions that end.
func (s *Server) watchRevoked(ctx context.Context) {
	s.c.Bus.Watch(ctx, subject.Revoked, s.revoked.clear, nil, func(k bus.KeyChange) {
		s.revoked.set(k.Key, k.Value != nil, k.At)
		if k.Value == nil {
			return
		}
		var v struct {
			User chat.UserID `json:"user"`
		}
		if err := json.Unmarshal(k.Value, &v); err != nil {
			s.c.Logger.Error("entry of an ended session is damaged", "error", err)
			return
		}
		if p := s.hub.person(v.User); p != nil {
			p.endSession(k.Key)
		}
	})
}

func (p *person) endSession(session string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		if c.id.Session == session {
			c.finish(wire.CloseSessionEnded, "the session has ended")
		}
	}
}

// sessionEnded tells whether a session has ended, as the broker knows it now.
func (s *Server) sessionEnded(ctx context.Context, session string) (bool, error) {
	if s.revoked.has(session) {
		return true, nil
	}
	_, err := s.c.Bus.Key(ctx, subject.Revoked, session)
	if errors.Is(err, bus.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

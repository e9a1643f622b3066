package edge

import (
	"context"
	"encoding/json"
	"sync"

	"github.com/nats-io/nats.go"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// watchedMax bounds the people whom one connection watches.
const watchedMax = 1000

// watchers knows which connections are told of whose presence.
type watchers struct {
	s  *Server
	mu sync.Mutex // guards by; locked before conn.mu
	by map[chat.UserID]*watched
}

type watched struct {
	sub   *nats.Subscription
	conns map[*conn]struct{}
}

func newWatchers(s *Server) *watchers { return &watchers{s: s, by: map[chat.UserID]*watched{}} }

// watch adds people to those whose presence the connection is told, and tells what it is now. An empty list forgets all. People
// who share no chat with the watcher are left out without a word.
func (c *conn) watch(ctx context.Context, r wire.Request) error {
	if len(r.Users) == 0 {
		c.s.watchers.forget(c)
		if len(r.ID) > 0 {
			c.send(wire.Ack{Type: wire.TypeAck, ID: r.ID})
		}
		return nil
	}
	if len(r.Users) > watchedMax {
		return chat.Errorf(chat.BadRequest, "at most %d people can be watched", watchedMax)
	}
	users := make([]chat.UserID, 0, len(r.Users))
	for _, u := range r.Users {
		id, err := chat.ParseUserID(u)
		if err != nil {
			return err
		}
		users = append(users, id)
	}
	allowed, err := c.s.shares(ctx, c.id.User, users)
	if err != nil {
		return err
	}
	if len(allowed) == 0 {
		if len(r.ID) > 0 {
			c.send(wire.Ack{Type: wire.TypeAck, ID: r.ID})
		}
		return nil
	}
	// Listen first, then ask: a change in between is told twice rather than not at all.
	if err := c.s.watchers.add(c, allowed); err != nil {
		return err
	}
	var answer struct {
		Presence []wire.Presence `json:"presence"`
	}
	if err := c.s.c.Bus.Call(ctx, subject.PresenceEndpoint, map[string]any{"users": allowed}, &answer); err != nil {
		if _, refused := err.(*chat.Error); !refused {
			err = chatUnavailable()
		}
		return err
	}
	for _, p := range answer.Presence {
		p.Type, p.ID = wire.TypePresence, r.ID
		c.send(p)
	}
	return nil
}

// shares returns those of others who share a chat with user.
func (s *Server) shares(ctx context.Context, user chat.UserID, others []chat.UserID) ([]chat.UserID, error) {
	var a struct {
		Users []chat.UserID `json:"users"`
	}
	err := s.c.Bus.Call(ctx, subject.SharesEndpoint, map[string]any{"user": user, "others": others}, &a)
	if err != nil && !isRefusal(err) {
		err = chatUnavailable()
	}
	return a.Users, err
}

func isRefusal(err error) bool {
	_, ok := err.(*chat.Error)
	return ok
}

// add lets a connection be told of people.
func (w *watchers) add(c *conn, users []chat.UserID) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left {
		return nil
	}
	for _, u := range users {
		if _, ok := c.watched[u]; ok {
			continue
		}
		if len(c.watched) >= watchedMax {
			return chat.Errorf(chat.BadRequest, "at most %d people can be watched", watchedMax)
		}
		x := w.by[u]
		if x == nil {
			sub, err := w.s.c.Bus.Conn().ChanSubscribe(subject.PresenceOf(u), w.s.in)
			if err != nil {
				return chatUnavailable()
			}
			x = &watched{sub: sub, conns: map[*conn]struct{}{}}
			w.by[u] = x
		}
		x.conns[c] = struct{}{}
		if c.watched == nil {
			c.watched = map[chat.UserID]struct{}{}
		}
		c.watched[u] = struct{}{}
	}
	return nil
}

// forget ends what a connection is told: of some people, or of all where none is named.
func (w *watchers) forget(c *conn, users ...chat.UserID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(users) == 0 {
		for u := range c.watched {
			users = append(users, u)
		}
	}
	for _, u := range users {
		delete(c.watched, u)
		x := w.by[u]
		if x == nil {
			continue
		}
		if delete(x.conns, c); len(x.conns) == 0 {
			_ = x.sub.Unsubscribe()
			delete(w.by, u)
		}
	}
}

// tell hands a change of presence to those who watch.
func (w *watchers) tell(m *nats.Msg) {
	w.mu.Lock()
	defer w.mu.Unlock()
	x := w.by[subject.PresentOf(m.Subject)]
	if x == nil {
		return
	}
	for c := range x.conns {
		c.hand(frame{data: m.Data})
	}
}

// recheck ends the watches that a removal from a chat has ended the right to: those of the person who hosts p on whoever left,
// or on all when it is they who left.
func (w *watchers) recheck(p *person, id chat.ID, body []byte) {
	var e struct {
		Change chat.Change `json:"change"`
	}
	if err := json.Unmarshal(body, &e); err != nil || e.Change != chat.MemberRemoved {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		c.mu.Lock()
		var users []chat.UserID
		for u := range c.watched {
			users = append(users, u)
		}
		c.mu.Unlock()
		if len(users) == 0 {
			continue
		}
		w.s.wg.Add(1)
		go func() {
			defer w.s.wg.Done()
			ctx, cancel := context.WithTimeout(w.s.work, requestTimeout)
			defer cancel()
			allowed, err := w.s.shares(ctx, p.id, users)
			if err != nil {
				allowed = nil // who cannot be asked for is not shown
			}
			still := make(map[chat.UserID]bool, len(allowed))
			for _, u := range allowed {
				still[u] = true
			}
			for _, u := range users {
				if !still[u] {
					w.forget(c, u)
				}
			}
		}()
	}
}

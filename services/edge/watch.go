package edge

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

const (
	// watchedMax bounds the people whom one connection watches, watchesMax those whom all watch, each counted for each who does.
	watchedMax = 1000
	watchesMax = 2_000_000
)

// watchers knows which connections are told of whose presence.
type watchers struct {
	s  *Server
	mu sync.Mutex // guards the following fields; locked before conn.mu
	by map[chat.UserID]*watched
	// of counts for each watcher the people whom all of their connections watch, all for all watchers together.
	of  map[chat.UserID]int
	all int
}

// watched is somebody who is watched. own is for the devices of the person: it tells what others do not see. It is nil where none of
// them watches.
type watched struct {
	sub, own *nats.Subscription
	conns    map[*conn]struct{}
}

func newWatchers(s *Server) *watchers {
	return &watchers{s: s, by: map[chat.UserID]*watched{}, of: map[chat.UserID]int{}}
}

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
	before := c.person.looks.Load()
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
	if c.person.looks.Load() != before { // the right may have ended before there was something to end
		c.s.watchers.look(c)
	}
	var answer struct {
		Presence []wire.Presence `json:"presence"`
	}
	if err := c.s.c.Bus.Call(ctx, subject.PresenceEndpoint, map[string]any{"users": allowed, "for": c.id.User}, &answer); err != nil {
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

// retryWatch is after which time it may be worth to watch again where there was no room.
const retryWatch = 10 * time.Second

// shares returns those of others who share a chat with user.
func (s *Server) shares(ctx context.Context, user chat.UserID, others []chat.UserID) ([]chat.UserID, error) {
	q := wire.SharesRequest{User: string(user), Others: make([]string, len(others))}
	for i, o := range others {
		q.Others[i] = string(o)
	}
	var a wire.SharesAnswer
	err := s.c.Bus.Call(ctx, subject.SharesEndpoint, q, &a)
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
		if most := w.s.c.Limits.Watched(); w.of[c.id.User] >= most {
			w.s.c.Limits.Greedy()
			return chat.Errorf(chat.BadRequest, "at most %d people can be watched by all connections of a person here", most)
		}
		if w.all >= watchesMax {
			return chat.Retry(chat.Unavailable, retryWatch, "this edge watches as many people as it can")
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
		if x.own == nil && u == c.id.User {
			sub, err := w.s.c.Bus.Conn().ChanSubscribe(subject.PresenceOwn(u), w.s.in)
			if err != nil {
				w.drop(u, x)
				return chatUnavailable()
			}
			x.own = sub
		}
		x.conns[c] = struct{}{}
		w.all++
		if c.watched == nil {
			c.watched = map[chat.UserID]struct{}{}
		}
		c.watched[u] = struct{}{}
		w.of[c.id.User]++
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
		if _, ok := c.watched[u]; ok {
			delete(c.watched, u)
			if w.of[c.id.User]--; w.of[c.id.User] == 0 {
				delete(w.of, c.id.User)
			}
			w.all--
		}
		x := w.by[u]
		if x == nil {
			continue
		}
		delete(x.conns, c)
		w.drop(u, x)
	}
}

// drop ends the subscriptions to somebody whom nobody watches. mu is held.
func (w *watchers) drop(u chat.UserID, x *watched) {
	if len(x.conns) > 0 {
		return
	}
	_ = x.sub.Unsubscribe()
	if x.own != nil {
		_ = x.own.Unsubscribe()
	}
	delete(w.by, u)
}

// tell hands a change of presence to those who watch. The own devices of somebody are connected: that others see the person offline is
// no news of theirs.
func (w *watchers) tell(m *nats.Msg) {
	w.mu.Lock()
	defer w.mu.Unlock()
	user, own := subject.PresentOf(m.Subject)
	x := w.by[user]
	if x == nil {
		return
	}
	toOwn := own
	if !own && x.own != nil {
		var p wire.Presence
		toOwn = json.Unmarshal(m.Data, &p) == nil && p.Online
	}
	for c := range x.conns {
		if isOwn := c.id.User == user; isOwn && toOwn || !isOwn && !own {
			c.hand(frame{data: m.Data})
		}
	}
}

// recheck looks again at the watches of the person who hosts p where an event may have ended the right to some: somebody left a chat,
// perhaps they themselves, or was blocked.
func (w *watchers) recheck(p *person, body []byte) {
	var e struct {
		Change chat.Change `json:"change"`
	}
	if err := json.Unmarshal(body, &e); err == nil && (e.Change == chat.MemberRemoved || e.Change == chat.Blocked) {
		w.lookAt(p)
	}
}

// lookAt looks again at whom the devices of a person watch.
func (w *watchers) lookAt(p *person) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.looks.Add(1)
	for _, c := range p.conns {
		w.look(c)
	}
}

// look ends those watches of a connection to which there is no right any more. It asks in a goroutine of its own.
func (w *watchers) look(c *conn) {
	c.mu.Lock()
	users := slices.Collect(maps.Keys(c.watched))
	c.mu.Unlock()
	if len(users) == 0 {
		return
	}
	w.s.wg.Add(1)
	go func() {
		defer w.s.wg.Done()
		ctx, cancel := context.WithTimeout(w.s.work, requestTimeout)
		defer cancel()
		allowed, err := w.s.shares(ctx, c.id.User, users)
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

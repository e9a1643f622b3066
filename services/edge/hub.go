package edge

import (
	"context"
	"hash/maphash"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
	"github.com/nats-io/nats.go"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/subject"
)

// shards is how many parts the people are divided into, so that they seldom wait for each other.
const shards = 64

// hub knows who is connected here.
type hub struct {
	s           *Server
	connections atomic.Int64
	seed        maphash.Seed
	shards      [shards]shard

	mu   sync.Mutex // guards open
	conn map[*conn]struct{}
}

type shard struct {
	mu     sync.RWMutex // guards people
	people map[chat.UserID]*person
}

func newHub(s *Server) *hub {
	h := &hub{s: s, seed: maphash.MakeSeed(), conn: map[*conn]struct{}{}}
	for i := range h.shards {
		h.shards[i].people = map[chat.UserID]*person{}
	}
	return h
}

func (h *hub) shard(u chat.UserID) *shard {
	return &h.shards[maphash.String(h.seed, string(u))%shards]
}

// open and closed keep count of the connections, also of those that have not said hello.
func (h *hub) open(c *conn) {
	h.mu.Lock()
	h.conn[c] = struct{}{}
	h.mu.Unlock()
	h.connections.Add(1)
	h.s.m.connections.Inc()
}

func (h *hub) closed(c *conn) {
	h.mu.Lock()
	delete(h.conn, c)
	h.mu.Unlock()
	h.connections.Add(-1)
	h.s.m.connections.Dec()
}

func (h *hub) all() []*conn {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := make([]*conn, 0, len(h.conn))
	for c := range h.conn {
		out = append(out, c)
	}
	return out
}

// join puts a connection to its person; the first one subscribes to the person's subject. The subscription is in the broker's
// hands before any request that this edge makes later.
func (h *hub) join(c *conn) error {
	sh := h.shard(c.id.User)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	p := sh.people[c.id.User]
	if p == nil {
		sub, err := h.s.c.Bus.Conn().ChanSubscribe(subject.User(c.id.User), h.s.in)
		if err != nil {
			return chatUnavailable()
		}
		p = &person{s: h.s, id: c.id.User, sub: sub, since: time.Now()}
		sh.people[c.id.User] = p
		h.s.m.people.Inc()
		h.s.c.Online.Come(c.id.User)
	}
	p.add(c)
	c.person = p
	return nil
}

// leave takes a connection from its person; with the last one the person goes.
func (h *hub) leave(c *conn) {
	sh := h.shard(c.id.User)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if p := c.person; p.remove(c) {
		delete(sh.people, p.id)
		_ = p.sub.Unsubscribe() // fails where the connection to the broker is gone, and the subscription with it
		h.s.m.people.Dec()
		h.s.c.Online.Go(p.id)
	}
}

func (h *hub) person(u chat.UserID) *person {
	sh := h.shard(u)
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	return sh.people[u]
}

func (h *hub) people() []*person {
	var out []*person
	for i := range h.shards {
		sh := &h.shards[i]
		sh.mu.RLock()
		for _, p := range sh.people {
			out = append(out, p)
		}
		sh.mu.RUnlock()
	}
	return out
}

// run hands out what the broker sends, in order, until ctx ends.
func (h *hub) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case m := <-h.s.in:
			h.handOut(m)
		}
	}
}

func (h *hub) handOut(m *nats.Msg) {
	if strings.HasPrefix(m.Subject, "presence.") {
		h.s.watchers.tell(m)
		return
	}
	if p := h.person(subject.UserOf(m.Subject)); p != nil {
		p.receive(m)
	}
}

// Times of tend.
const (
	tendEvery = 5 * time.Second
	pingAfter = 30 * time.Second
	deadAfter = 75 * time.Second
	// revokedSlack covers clocks that differ.
	revokedSlack = 2 * time.Minute
	// replayPause lies between two replays of what may have been lost.
	replayPause = 2 * time.Second
)

// tend pings who was silent, ends who does not answer, and reads again what may have been lost. One goroutine
// does that for all connections, so that an idle one needs no timer.
func (h *hub) tend(ctx context.Context) {
	tick := time.NewTicker(tendEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.s.lost:
			h.s.replay(ctx)
			_ = bus.Sleep(ctx, replayPause)
		case <-tick.C:
			now := time.Now()
			h.s.revoked.prune(now.Add(-h.s.c.TokenTTL - revokedSlack))
			for _, c := range h.all() {
				silent := now.Sub(time.Unix(c.read.Load(), 0))
				switch {
				case silent > deadAfter:
					c.abort()
				case silent > pingAfter:
					// Fails when the connection is being written to for longer: then it is not idle.
					_ = c.ws.WriteControl(websocket.PingMessage, nil, now.Add(10*time.Millisecond))
				}
			}
		}
	}
}

package edge

import (
	"context"
	"hash/maphash"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
	"github.com/nats-io/nats.go"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// shards is how many parts the people are divided into, so that they seldom wait for each other.
const shards = 64

// hub knows who is connected here.
type hub struct {
	s           *Server
	connections atomic.Int64
	seed        maphash.Seed
	shards      [shards]shard

	// shut says that nobody is let in. It changes under mu.
	shut atomic.Bool

	mu sync.Mutex // guards the following fields
	// conns are those that are open, each at its place.
	conns []*conn
	// places is how many connections are open or being opened.
	places int
}

type shard struct {
	mu     sync.RWMutex // guards people
	people map[chat.UserID]*person
}

func newHub(s *Server) *hub {
	h := &hub{s: s, seed: maphash.MakeSeed()}
	for i := range h.shards {
		h.shards[i].people = map[chat.UserID]*person{}
	}
	return h
}

func (h *hub) shard(u chat.UserID) *shard {
	return &h.shards[maphash.String(h.seed, string(u))%shards]
}

// Why a connection is refused.
const (
	refusedFull     = "full"
	refusedDraining = "draining"
	refusedLimited  = "limited"
)

// refusals is what is said to whom is refused, and retryFull when to come again.
var refusals = map[string]string{refusedFull: "this edge is full; GET /v1/edges names another",
	refusedDraining: "this edge is going away; GET /v1/edges names another"}

const retryFull = 2 * time.Second

// reserve takes a place for a connection, or says why there is none. A place that was taken is given back by closed, or by
// release where no connection came of it.
func (h *hub) reserve() (refused string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.shut.Load():
		return refusedDraining
	case h.places >= h.s.c.MaxConnections:
		return refusedFull
	}
	h.places++
	return ""
}

func (h *hub) release() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.places--
}

// open and closed keep count of the connections, also of those that have not said hello. open tells whether the hub was closed
// since the place was taken.
func (h *hub) open(c *conn) (late bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c.place = len(h.conns)
	h.conns = append(h.conns, c)
	h.connections.Add(1)
	h.s.m.connections.Inc()
	return h.shut.Load()
}

func (h *hub) closed(c *conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	last := len(h.conns) - 1
	h.conns[c.place] = h.conns[last]
	h.conns[c.place].place = c.place
	h.conns[last] = nil
	h.conns = h.conns[:last]
	h.places--
	h.connections.Add(-1)
	h.s.m.connections.Dec()
}

// close lets nobody in any more, and returns who is there; first is that it was open before.
func (h *hub) close() (there []*conn, first bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.conns), !h.shut.Swap(true)
}

// reopen lets people in again. It is false where it was open.
func (h *hub) reopen() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.shut.Swap(false)
}

func (h *hub) all() []*conn {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.conns)
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
	}
	c.person = p
	return p.add(c) // who is new has room for one
}

// leave takes a connection from its person; with the last one the person goes.
func (h *hub) leave(c *conn) {
	sh := h.shard(c.id.User)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	p := c.person
	if p.remove(c) {
		delete(sh.people, p.id)
		_ = p.sub.Unsubscribe() // fails where the connection to the broker is gone, and the subscription with it
		h.s.m.people.Dec()
	}
	c.mu.Lock()
	moving, ended := c.moving, c.closing == wire.CloseSessionEnded
	c.mu.Unlock()
	if ended || !h.s.mover.left(p.id, moving) {
		h.settle(sh, p.id)
	}
}

// gone says that somebody of whom a device left has had time to come back, or to arrive elsewhere.
func (h *hub) gone(u chat.UserID) {
	sh := h.shard(u)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	h.settle(sh, u)
}

// settle tells the mesh how somebody is now. The shard is locked.
func (h *hub) settle(sh *shard, u chat.UserID) {
	p := sh.people[u]
	if p == nil {
		h.s.c.Online.Go(u)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tell()
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

// doze looks for devices at which nobody is since a moment.
func (h *hub) doze(since time.Time) {
	for i := range h.shards {
		sh := &h.shards[i]
		sh.mu.RLock()
		for _, p := range sh.people {
			p.doze(since)
		}
		sh.mu.RUnlock()
	}
}

// run hands out what the broker sends, in order, until ctx ends.
func (h *hub) run(ctx context.Context) {
	later := &pending{}
	for {
		select {
		case <-ctx.Done():
			return
		case m := <-h.s.in:
			h.handOutAll(m, later)
		}
	}
}

// atOnce is how many messages are handed out before those are woken that write them.
const atOnce = 1024

// yields is how often others may work before what was handed out is written: where an event comes for many, as manyHere says, they bring
// more of it. Elsewhere that would only take time.
const (
	yields   = 2
	manyHere = 8
)

// handOutAll hands out a message and what waits behind it, and then has it written: to a socket, what came for it meanwhile goes with one
// system call.
func (h *hub) handOutAll(m *nats.Msg, later *pending) {
	for n := 1; ; n++ {
		h.handOut(m, later)
		if n == atOnce {
			break
		}
		if m = h.next(later); m == nil {
			break
		}
	}
	h.s.writeAll(later.conns)
	clear(later.conns)
	later.conns = later.conns[:0]
}

// next returns what waits, or comes while others work. On an idle machine it returns at once.
func (h *hub) next(later *pending) *nats.Msg {
	for n := 0; ; n++ {
		select {
		case m := <-h.s.in:
			return m
		default:
		}
		if n == yields || later.same < manyHere {
			return nil
		}
		runtime.Gosched()
	}
}

// pending are connections that have frames which nobody writes yet, and what came last. It is of one goroutine. Nil has them written at once.
type pending struct {
	conns []*conn
	last  came
	// same is how often last came behind the first time.
	same int
}

// handOut hands a message of the mesh to those whom it is for. What comes with a reply subject other than that of an event was not published
// to a person but delivered by a stream at the wish of somebody who may read it, such as a backend team: it is dropped. later takes those who
// are to write.
func (h *hub) handOut(m *nats.Msg, later *pending) {
	if strings.HasPrefix(m.Subject, "presence.") {
		if m.Reply == "" {
			h.s.watchers.tell(m)
		} else {
			h.s.m.foreign.Inc()
		}
		return
	}
	if p := h.person(subject.UserOf(m.Subject)); p != nil {
		p.receive(m, later)
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
	var conns []*conn // kept, so that looking after those who do nothing allocates nothing
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.s.lost:
			h.s.learnAgain(ctx)
			h.s.replay(ctx)
			_ = bus.Sleep(ctx, replayPause)
		case <-tick.C:
			now := time.Now()
			h.s.revoked.prune(now.Add(-h.s.c.TokenTTL - revokedSlack))
			h.doze(now.Add(-h.s.c.AwayAfter))
			h.mu.Lock()
			conns = append(conns[:0], h.conns...)
			h.mu.Unlock()
			for _, c := range conns {
				silent := now.Sub(time.Unix(c.read.Load(), 0))
				switch {
				case c.feed != nil:
					c.tend(now, silent)
				case silent > deadAfter:
					c.abort()
				case silent > pingAfter:
					// Fails when the connection is being written to for longer: then it is not idle.
					c.control(websocket.PingMessage, nil, 10*time.Millisecond)
				}
			}
			clear(conns)
		}
	}
}

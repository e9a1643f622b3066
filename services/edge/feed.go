package edge

import (
	"context"
	"encoding/json"
	"time"

	"github.com/chatmesh/chatmesh/pkg/auth"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/limit"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// feed is what a connection has in the place of a WebSocket: the frames for a client go to HTTP requests, one that lasts (sse.go) or one
// after the other (poll.go). A poller is a connection between its polls, too, for pollGrace: so the edge listens for it on, and the person
// stays online. All that is in a feed may be lost: the client's cursor says where to go on, at any edge.
//
// The connection's mu guards all fields.
type feed struct {
	// steps are what the frames in out do to a position, one for each.
	steps []step
	// told is where the client is with all that was handed to a request, queued where it is with what waits in out as well.
	told, queued position
	// wake rings the request that is served; nil between the requests of a poller. cut ends its writing.
	wake chan struct{}
	cut  func()
	// since is since when no request is served.
	since time.Time
	// behind says that what comes is dropped, until the logs are read again.
	behind bool
	// busy says that they are being read.
	busy bool
	// ending says that somebody ends the connection.
	ending bool
	// poller and answers name a poller and count its answers; zero for a stream of events.
	poller, answers uint64
	// watching is whom the client asked to watch.
	watching string
	// lastTry is when a new base was looked for last.
	lastTry time.Time
	// named says that the client of a stream has an id to come back with, bye that it was told why the stream ends.
	named, bye bool
}

// step is what a frame does to a position: it moves a chat, or puts another in its place.
type step struct {
	key    uint64
	seq    chat.Seq
	change uint8
	anew   *position
}

// Bounds of a feed.
const (
	// feedEvents and feedBytes bound what one reading of the logs tells; the rest comes with the next.
	feedEvents = 1000
	feedBytes  = 1 << 20
	// idleFrames and idleBytes bound what waits for a poller between two polls; beyond it all is dropped, and read from the logs.
	idleFrames = 256
	idleBytes  = 64 << 10
	// pollGrace is for how long an edge listens on after an answer, and counts the person as online.
	pollGrace = 15 * time.Second
)

// enter makes a connection without a WebSocket and joins it to its person. Its request is being served. It fails with a refusal.
func (s *Server) enter(ctx context.Context, id auth.Identity, address string, f *feed) (*conn, error) {
	c := &conn{s: s, id: identity{id.User, id.Session}, address: address, feed: f, held: newHeld(nil)}
	if err := s.c.Limits.Allow(c.counted(), limit.Hello); err != nil {
		return nil, err
	}
	if why := s.hub.reserve(); why != "" {
		s.m.refused.WithLabelValues(why).Inc()
		return nil, chat.Retry(chat.Unavailable, retryFull, refusals[why])
	}
	f.wake = make(chan struct{}, 1)
	c.touch()
	if late := s.hub.open(c); late {
		s.mover.late(c)
	}
	s.m.feeds.Inc()
	if err := s.hub.join(c); err != nil {
		c.person = nil
		c.endFeed()
		return nil, err
	}
	// Whoever ends the session from now on finds this connection; who ended it before is found here.
	if ended, err := s.sessionEnded(ctx, id.Session); ended || err != nil {
		c.endFeed()
		if err != nil {
			return nil, chatUnavailable()
		}
		return nil, errSessionEnded
	}
	if err := s.learn(ctx, c.person); err != nil {
		c.endFeed()
		return nil, chatUnavailable()
	}
	return c, nil
}

var errSessionEnded = chat.Errorf(chat.Unauthorized, "the session has ended")

// begin tells what the client misses behind told, or nothing where it begins now. What waits is dropped: it is read again. It fails with
// Unavailable; then, and where not all has been told, the connection is behind. It is called by the request that is served.
func (c *conn) begin(ctx context.Context, now, welcome bool) error {
	c.mu.Lock()
	f := c.feed
	lost := f.behind || c.held != nil || len(c.out) > 0
	f.behind, f.busy = false, true
	c.held, c.out, c.outBytes, f.steps = newHeld(nil), nil, 0, nil
	for i := range f.told.moved {
		f.told.moved[i].heard = false
	}
	f.queued = f.told.clone()
	var from *position
	if p := f.told.clone(); !now {
		from = &p
	}
	c.mu.Unlock()
	done, started := false, false
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		f.busy = false
		switch h := c.held; {
		case done:
		case started || lost || h.all || len(h.missed) > 0:
			c.held, f.behind = nil, true
		default: // it goes on as if this had not been tried
			h.welcome, c.held = true, nil
			for _, e := range h.release() {
				c.pass(e)
			}
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, catchUpWait+catchUpTime)
	defer cancel()
	if !c.turn(ctx) {
		return chat.Retry(chat.Unavailable, time.Second, "too many read the logs at the moment")
	}
	defer func() { <-c.s.catchUps }()
	c.s.m.catchUps.Inc()
	defer c.s.m.catchUps.Dec()
	m, err := c.s.missed(ctx, c.id.User, from)
	if err != nil {
		return err
	}
	quiet, ok := c.start(m, from == nil || m.anew, welcome)
	if !ok {
		return chat.Retry(chat.Unavailable, retryFull, "this connection is to end")
	}
	started = true
	for _, id := range quiet {
		c.caughtUp(id, m.heads[id], false)
	}
	events, bytes := feedEvents, feedBytes
	for _, b := range m.late {
		if events <= 0 || bytes <= 0 {
			return nil // the rest comes when the client has this
		}
		seq := c.tellMissed(ctx, b, &events, &bytes)
		if seq < b.head && (events <= 0 || bytes <= 0) {
			return nil
		}
		c.caughtUp(b.id, seq, seq < b.head)
	}
	c.goLive(false)
	c.anew(m)
	done = true
	return nil
}

// turn waits for one of the catch-ups that an edge does at once. The caller gives it back.
func (c *conn) turn(ctx context.Context) bool {
	wait := time.NewTimer(catchUpWait)
	defer wait.Stop()
	c.s.m.catchUpsWaiting.Inc()
	defer c.s.m.catchUpsWaiting.Dec()
	select {
	case c.s.catchUps <- struct{}{}:
		return true
	case <-wait.C:
	case <-ctx.Done():
	case <-c.s.work.Done():
	}
	return false
}

// start sends what comes before all events. From now on only events of the chats that are looked at wait; it returns those of which nothing
// is missed.
//
// Of a connection that is to end nothing is sent any more, and nothing may count as told.
func (c *conn) start(m *missed, now, welcome bool) (quiet []chat.ID, ok bool) {
	late := make(map[chat.ID]bool, len(m.late))
	for _, b := range m.late {
		late[b.id] = true
	}
	for id := range m.heads {
		if !late[id] && len(quiet) < cursorsMax {
			quiet = append(quiet, id)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing != 0 || c.dead {
		return nil, false
	}
	c.caught = nil
	if now {
		c.feed.told, c.feed.queued = m.next.clone(), m.next.clone()
	}
	if welcome {
		c.put(wire.Encode(wire.Welcome{Type: wire.TypeWelcome, User: c.id.User, Session: c.id.Session, ServerTime: chat.Now()}))
	}
	for _, id := range quiet {
		c.held.pending[id] = struct{}{}
	}
	for id := range late {
		c.held.pending[id] = struct{}{}
	}
	c.held.welcome = true
	if m.all {
		c.s.m.resyncs.Inc()
		c.put(wire.Encode(wire.Resync{Type: wire.TypeResync}))
	}
	for _, id := range m.resync {
		c.resync(id)
	}
	for _, f := range c.held.release() {
		c.pass(f)
	}
	return quiet, true
}

// resync tells one device to sync a chat. mu is held.
func (c *conn) resync(id chat.ID) {
	c.s.m.resyncs.Inc()
	c.put(wire.Encode(wire.Resync{Type: wire.TypeResync, Chat: id}))
}

// anew queues the position that has all that was missed. Of what moved since, as far as it is behind that, it keeps account.
func (c *conn) anew(m *missed) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing != 0 || c.dead { // what came last may have been dropped
		return
	}
	f, next := c.feed, m.next
	for _, t := range f.queued.moved {
		head, there := m.keys[t.key]
		if !t.heard || there && t.seq <= head {
			continue
		}
		t.member = there
		if i := next.find(t.key); i >= 0 {
			next.moved[i] = t
		} else {
			next.moved = append(next.moved, t)
		}
	}
	told := next.clone()
	f.queued = next
	if len(c.out) == 0 { // the client has it already
		f.told = told
		return
	}
	c.out, f.steps = append(c.out, nil), append(f.steps, step{anew: &told})
}

// knows tells whether an event was told, and whether something is missing before it. mu is held.
func (f *feed) knows(s *Server, e frame) (told, gap bool) {
	if i := f.queued.find(keyOf(e.chat)); i >= 0 {
		m := f.queued.moved[i]
		return e.seq <= m.seq, e.seq > m.seq+1 && !m.left
	}
	p := s.c.Log.Partition(e.chat)
	return e.stream > 0 && p < len(f.queued.base) && e.stream <= f.queued.base[p], false
}

// note queues what a frame does to the position. mu is held.
func (c *conn) note(f frame) {
	s := step{}
	if f.seq > 0 {
		s = step{key: keyOf(f.chat), seq: f.seq, change: membership(f.data, c.id.User)}
		c.feed.queued.told(s.key, s.seq, s.change)
	}
	c.feed.steps = append(c.feed.steps, s)
}

// membership is what an event does to the membership of a person.
func membership(body []byte, user chat.UserID) uint8 {
	if h, err := wire.Peek(body); err != nil || h.Type != string(chat.Changed) {
		return staysAsItWas
	}
	var e struct {
		Change chat.Change `json:"change"`
		User   chat.UserID `json:"user"`
	}
	switch err := json.Unmarshal(body, &e); {
	case err != nil:
	case e.Change == chat.Created, e.Change == chat.MemberAdded && e.User == user:
		return joins
	case e.Change == chat.MemberRemoved && e.User == user:
		return leaves
	}
	return staysAsItWas
}

// full tells whether a feed has no room for a frame of so many bytes. mu is held.
func (f *feed) full(frames, bytes int) bool {
	return f.wake == nil && (frames >= idleFrames || bytes > idleBytes)
}

// lose drops what waits: it will be read from the logs. mu is held.
func (c *conn) lose() {
	c.out, c.outBytes, c.feed.steps, c.feed.behind = nil, 0, nil, true
}

// ring wakes the request that is served; where there is none and the connection is to end, it ends. mu is held.
func (c *conn) ring() {
	f := c.feed
	if f.wake != nil {
		select {
		case f.wake <- struct{}{}:
		default:
		}
		return
	}
	if c.closing != 0 && !f.ending {
		f.ending = true
		c.s.wg.Add(1)
		go func() {
			defer c.s.wg.Done()
			c.endFeed()
		}()
	}
}

// take hands frames that wait to a request: tell is called for each with the position that the client has with it, which it may not keep, and
// whether that is another than before; data is nil where nothing but the position changes. It stops behind so many events or bytes, and where
// the position would become too large: then the connection is behind. mu is held.
func (c *conn) take(events, bytes int, tell func(data []byte, at *position, moved bool)) {
	f, n := c.feed, 0
	for n < len(c.out) && events > 0 && bytes > 0 {
		data, s := c.out[n], f.steps[n]
		switch {
		case s.anew != nil:
			f.told = *s.anew
		case s.key != 0 && len(f.told.moved) >= movedMost && f.told.find(s.key) < 0:
			c.lose()
			return
		case s.key != 0:
			f.told.told(s.key, s.seq, s.change)
		}
		n++
		c.outBytes -= len(data)
		tell(data, &f.told, s.anew != nil || s.key != 0)
		if data != nil {
			events, bytes = events-1, bytes-len(data)
		}
	}
	c.s.m.written.Add(float64(n))
	if n == len(c.out) {
		c.out, f.steps = nil, nil // an idle connection keeps no buffer
		return
	}
	c.out, f.steps = c.out[n:], f.steps[n:]
}

// unserved tells whether a poller is between its polls.
func (c *conn) unserved() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.feed.wake == nil
}

// must tells whether the logs are to be read before anything else can be told, and may whether it is time to. mu is held.
func (c *conn) must() (must, may bool) {
	return len(c.out) == 0 && c.feed.behind, len(c.out) == 0 && len(c.feed.told.moved) > movedMany
}

// endFeed gives back all that the connection holds. It may be called again.
func (c *conn) endFeed() {
	c.mu.Lock()
	if c.dead {
		c.mu.Unlock()
		return
	}
	c.dead, c.out, c.outBytes = true, nil, 0
	c.feed.steps, c.feed.wake, c.feed.cut = nil, nil, nil
	c.mu.Unlock()
	c.s.pollers.forget(c)
	if c.person != nil {
		c.leave()
	}
	c.s.m.feeds.Dec()
	c.s.hub.closed(c)
}

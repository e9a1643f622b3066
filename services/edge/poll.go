package edge

import (
	"bytes"
	"context"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/chatmesh/chatmesh/pkg/wire"
)

// Bounds of an answer: the rest comes with the next poll at once.
const (
	answerEvents = 500
	answerBytes  = 1 << 20
	// answerTime is how long a client may take to receive an answer.
	answerTime = 30 * time.Second
)

// pollers knows the pollers that this edge listens for.
type pollers struct {
	mu sync.Mutex // guards by; no other lock is taken under it
	by map[uint64]*conn
}

func newPollers() *pollers { return &pollers{by: map[uint64]*conn{}} }

func (p *pollers) find(id uint64) *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.by[id]
}

func (p *pollers) keep(id uint64, c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.by[id] = c
}

func (p *pollers) forget(c *conn) {
	if c.feed.poller == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.by, c.feed.poller)
}

// poll answers with what has come behind a cursor: at once when there is something, else after a while.
func (s *Server) poll(w http.ResponseWriter, r *http.Request) {
	a, err := s.asked(r)
	if err != nil {
		s.decline(w, err)
		return
	}
	s.wg.Add(1)
	defer s.wg.Done()
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Time{}) // that of a request's body would end the waiting
	c, wake, err := s.resume(r.Context(), a)
	if err != nil {
		s.decline(w, err)
		return
	}
	c.heed(r, a)
	ans := c.await(r.Context(), wake, a.wait)
	if ans.err != nil {
		s.decline(w, ans.err)
		return
	}
	s.m.polls.Inc()
	_ = rc.SetWriteDeadline(time.Now().Add(answerTime))
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	ans.write(w)
	_ = rc.SetWriteDeadline(time.Time{}) // the connection serves others yet
}

// resume returns the connection of a poller, or one that it makes, which serves this request now. A request that it served until now is answered.
// What a new one misses has been read.
func (s *Server) resume(ctx context.Context, a ask) (*conn, chan struct{}, error) {
	if a.from != nil && a.from.poller != 0 {
		if c := s.pollers.find(a.from.poller); c != nil && c.id.User == a.who.User && c.id.Session == a.who.Session {
			if wake := c.serveNext(a.from.answer); wake != nil {
				return c, wake, nil
			}
		}
	}
	f := &feed{poller: 1 + rand.Uint64N(1<<62)}
	if a.from != nil {
		f.told = a.from.position
	}
	c, err := s.enter(ctx, a.who, a.address, f)
	if err != nil {
		return nil, nil, err
	}
	wake := f.wake
	if err := c.begin(ctx, a.from == nil, false); err != nil {
		c.endFeed()
		return nil, nil, err
	}
	s.pollers.keep(f.poller, c)
	return c, wake, nil
}

// serveNext has a poller serve a request that holds the cursor of an answer. It returns nil where it cannot: the cursor is not that of the last
// answer, or the logs are being read for another request.
func (c *conn) serveNext(answer uint64) chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.feed
	if c.dead || c.closing != 0 || f.busy || f.ending || f.answers != answer {
		return nil
	}
	if f.wake != nil {
		close(f.wake)
	}
	f.wake = make(chan struct{}, 1)
	return f.wake
}

// answer is what a poll is answered with.
type answer struct {
	cursor string
	events [][]byte
	err    error
}

// write writes an answer as JSON.
func (a answer) write(w http.ResponseWriter) {
	size := len(`{"cursor":"","events":[]}`) + len(a.cursor) + max(0, len(a.events)-1)
	for _, e := range a.events {
		size += len(e)
	}
	w.Header().Set("Content-Length", strconv.Itoa(size))
	var head bytes.Buffer
	head.WriteString(`{"cursor":"` + a.cursor + `","events":[`)
	_, err := w.Write(head.Bytes())
	for i := 0; i < len(a.events) && err == nil; i++ {
		if i > 0 {
			_, _ = w.Write([]byte(","))
		}
		_, err = w.Write(a.events[i])
	}
	if err == nil {
		_, _ = w.Write([]byte("]}"))
	}
}

// await waits until there is something to tell, or the time is up, and returns the answer. Then the poller is without a request.
func (c *conn) await(ctx context.Context, wake chan struct{}, wait time.Duration) answer {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	late := false
	for {
		a, ok, read := c.answer(wake, late)
		if ok {
			return a
		}
		if read {
			if err := c.begin(ctx, false, false); err != nil && c.isBehind() {
				c.leaveWaiting(wake)
				return answer{err: err}
			}
			continue
		}
		select {
		case <-wake:
		case <-timer.C:
			late = true
		case <-ctx.Done(): // nobody is there to be answered
			c.leaveWaiting(wake)
			return answer{err: chatUnavailable()}
		}
	}
}

// answer makes the answer to the request that wake belongs to, where there is something to tell, or it is late. read says that the logs must be read
// first.
func (c *conn) answer(wake chan struct{}, late bool) (a answer, ok, read bool) {
	c.mu.Lock()
	f := c.feed
	if f.wake != wake { // another request of the same poller has come
		defer c.mu.Unlock()
		return answer{cursor: cursor{position: f.told, poller: f.poller, answer: f.answers}.String()}, true, false
	}
	c.take(answerEvents, answerBytes, func(data []byte, _ *position, _ bool) {
		if data != nil {
			a.events = append(a.events, data)
		}
	})
	ends := c.closing
	if len(a.events) == 0 && ends == 0 {
		must, may := c.must()
		if must || may && !f.tried() {
			c.mu.Unlock()
			return a, false, true
		}
		if !late {
			c.mu.Unlock()
			return a, false, false
		}
	}
	f.answers++
	a.cursor = cursor{position: f.told, poller: f.poller, answer: f.answers}.String()
	f.wake, f.since = nil, time.Now()
	c.mu.Unlock()
	if ends != 0 {
		c.endFeed()
	}
	if ends == wire.CloseSessionEnded {
		a.err = errSessionEnded
	}
	return a, true, false
}

// isBehind tells whether the logs must be read before anything is told.
func (c *conn) isBehind() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.feed.behind
}

// tried tells whether a new base was looked for a short time ago, and that it is now.
func (f *feed) tried() bool {
	if time.Since(f.lastTry) < tryAgain {
		return true
	}
	f.lastTry = time.Now()
	return false
}

// tryAgain lies between two attempts to read the logs for a new base.
const tryAgain = 10 * time.Second

// leaveWaiting lets a poller be without a request.
func (c *conn) leaveWaiting(wake chan struct{}) {
	c.mu.Lock()
	if c.feed.wake == wake {
		c.feed.wake, c.feed.since = nil, time.Now()
	}
	ends := c.closing != 0 && c.feed.wake == nil
	c.mu.Unlock()
	if ends {
		c.endFeed()
	}
}

// tend ends a poller that has not polled for a while, and has a stream of events written to that was silent.
func (c *conn) tend(now time.Time, silent time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch f := c.feed; {
	case c.dead || c.closing != 0:
	case f.wake == nil && now.Sub(f.since) > pollGrace:
		c.close(wire.CloseUnavailable, "nobody polls")
	case f.poller == 0 && silent >= keepAlive:
		c.ring()
	}
}

// cutFeed ends a connection without a WebSocket as soon as that can be.
func (c *conn) cutFeed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead {
		return
	}
	c.out, c.outBytes, c.feed.steps = nil, 0, nil
	if c.closing == 0 {
		c.close(wire.CloseDraining, "")
	}
	if c.feed.cut != nil {
		c.feed.cut()
	}
	c.ring()
}

package edge

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/limit"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// Bounds of a connection.
const (
	helloTimeout = 10 * time.Second
	writeTimeout = 10 * time.Second
	// lingerTime and lingerBytes bound how long and how much is still read after a close frame was sent, so that it
	// arrives before the socket is reset.
	lingerTime  = 2 * time.Second
	lingerBytes = 4 << 20
	// jobsWaiting is how many requests of a connection wait while one is carried out; then its frames wait in the socket.
	jobsWaiting = 64
)

// identity is whom a connection is of.
type identity struct {
	User    chat.UserID
	Session string
}

// conn is one WebSocket, or what serves a client without one: then it has a feed. Most connections do nothing most of the time: a field costs
// memory for each, so those of a byte stand together.
type conn struct {
	s    *Server
	nc   net.Conn
	feed *feed
	// library reads what a reader does not read itself; nil until there is such.
	library *library
	id      identity
	person  *person
	// address it comes from, as limits count it.
	address string
	// place is where the hub has the connection; the hub's mu guards it.
	place int
	// read is when something was last received, in Unix seconds; acted when somebody last showed to be at the device.
	read, acted atomic.Int64
	// owner tells whose the connection is: the reader's, or that of the set in which it waits at its seat (ready.go).
	owner atomic.Int32
	seat  seat
	// idle says that nobody is at the device; it changes under person.mu.
	idle atomic.Bool
	// What follows only the reader uses. joined says that the connection is one of its person, handshake that the client has sent its close
	// frame.
	joined, handshake bool

	// mu guards the following fields. Locked after person.mu, never before it.
	mu sync.Mutex
	// writing says that a goroutine is writing what is in out (writer.go), working that one carries out what is in jobs (handle.go). dead
	// says that nothing can be written any more.
	writing, working, dead bool
	// pending says that who hands out frames will wake the writer.
	pending bool
	// moving says that the client was told to go elsewhere, left that the connection has given back what it holds elsewhere, and must not
	// take more. receipts says that the client wants to know what was delivered to whom.
	moving, left, receipts bool
	// closing is the close code to send when out is empty, once set; closeAfter the one to be set when the jobs are done.
	closing, closeAfter uint16
	closeReason         string
	// out are outgoing frames.
	out      [][]byte
	outBytes int
	// pongs wait to be written before out, encoded.
	pongs []byte
	// traced are the spans of some of the frames in out, in their order; nil for most.
	traced []traced
	// said is closed when the close frame was sent; nil as long as none is to be.
	said chan struct{}
	// jobs are requests to be carried out.
	jobs []wire.Request
	// room wakes the reader when it waits for jobs to be done; nil until it first does.
	room chan struct{}
	// held is what is kept back during the catch-up; nil when it is over. caught is how far it went, for chats in which live frames
	// up to there may still come.
	held   *held
	caught map[chat.ID]chat.Seq
	// watched are the people whose presence this connection is told.
	watched map[chat.UserID]struct{}
}

// connect upgrades a request and serves the connection until it ends.
func (s *Server) connect(w http.ResponseWriter, r *http.Request) {
	address := limit.AddressOf(r, s.c.TrustedProxies)
	if err := s.c.Limits.Allow(limit.Who{Address: address}, limit.Connect); err != nil {
		s.m.refused.WithLabelValues(refusedLimited).Inc()
		limited(w, err)
		return
	}
	if why := s.hub.reserve(); why != "" {
		s.m.refused.WithLabelValues(why).Inc()
		w.Header().Set("Retry-After", "2")
		problem(w, http.StatusServiceUnavailable, chat.Unavailable, refusals[why])
		return
	}
	h := &hijacker{ResponseWriter: w}
	if _, err := s.upgrader.Upgrade(h, r, nil); err != nil {
		s.hub.release()
		return // answered by the upgrader
	}
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	c := &conn{s: s, nc: h.nc, address: address}
	c.touch() // before anyone can find it silent
	c.acted.Store(c.read.Load())
	if late := s.hub.open(c); late {
		s.mover.late(c)
	}
	// A goroutine of its own, so that the request, its buffers and the stack that grew with them are let go of.
	s.wg.Add(1) // until its end
	go c.open(token, h.br)
}

// hijacker keeps hold of what the library takes over from the HTTP server. The library answers the handshake; then a connection needs it no
// more.
type hijacker struct {
	http.ResponseWriter
	nc net.Conn
	br *bufio.Reader
}

// Hijack is that of http.Hijacker.
func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	nc, brw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	h.nc, h.br = nc, brw.Reader
	return nc, brw, nil
}

// open waits for hello and serves the connection until it waits or has ended.
func (c *conn) open(token string, br *bufio.Reader) {
	r := c.s.readers.first(c, br)
	c.deadline(time.Now().Add(helloTimeout))
	c.joined = r.hello(token)
	if !c.joined {
		c.end()
		return
	}
	r.serve(false)
}

// end ends a connection that nobody reads any more. All that it holds elsewhere is given back before it returns.
func (c *conn) end() {
	c.linger()
	if c.joined {
		c.leave()
	}
	c.s.ready.forget(c)
	_ = c.nc.Close()
	c.s.hub.closed(c)
	c.s.wg.Done()
}

// linger sees to it that the close frame arrives: it waits until it was sent and, unless the client has sent its own already, reads
// what is still under way, so that the frame is not overtaken by a reset.
func (c *conn) linger() {
	c.mu.Lock()
	said := c.said
	c.mu.Unlock()
	if said == nil {
		return // aborted
	}
	select {
	case <-said:
	case <-time.After(lingerTime):
	}
	if c.handshake {
		return
	}
	_ = c.nc.SetReadDeadline(time.Now().Add(lingerTime))
	_, _ = io.CopyN(io.Discard, c.nc, lingerBytes)
}

func (c *conn) touch() { c.read.Store(time.Now().Unix()) }

// hello waits for the first frame, checks the token and joins the person. It returns false when the connection is to end.
func (in *socketReader) hello(token string) bool {
	c := in.c
	var data []byte
	for ok := true; data == nil; {
		if data, ok = in.receive(); !ok {
			return false
		}
	}
	r, err := wire.ParseRequest(data)
	if err == nil && r.Type != wire.TypeHello {
		err = chat.Errorf(chat.BadRequest, "the first frame is hello")
	}
	if err != nil {
		if errors.Is(err, wire.ErrNotProtocol) {
			err = chat.Errorf(chat.BadRequest, "not a JSON object")
		}
		c.refuse(r.ID, err)
		c.finish(wire.CloseProtocol, "not the protocol")
		return false
	}
	if r.Token != "" {
		token = r.Token
	}
	ctx, cancel := context.WithTimeout(c.s.work, requestTimeout)
	defer cancel()
	id, err := c.s.verifier.Identify(ctx, token, c.s.askKey)
	if err != nil {
		c.refuse(r.ID, err)
		if chat.Is(err, chat.Unavailable) {
			c.finish(wire.CloseUnavailable, "tokens cannot be checked at the moment")
		} else {
			c.finish(wire.CloseToken, "token not accepted")
		}
		return false
	}
	c.id = identity{id.User, id.Session}
	if err := c.allow(wire.TypeHello); err != nil {
		c.refuse(r.ID, err)
		c.finish(wire.CloseLimited, "too many new connections of one person")
		return false
	}
	ids, missed, bad := cursorsOf(r)
	c.mu.Lock()
	c.held, c.receipts = newHeld(ids), r.Receipts
	c.mu.Unlock()
	if err := c.s.hub.join(c); err != nil {
		c.refuse(r.ID, err)
		if chat.Is(err, chat.RateLimited) {
			c.finish(wire.CloseLimited, "too many connections of one person")
		} else {
			c.finish(wire.CloseUnavailable, "the broker is away")
		}
		return false
	}
	// Whoever ends the session from now on finds this connection; who ended it before is found here.
	if ended, err := c.s.sessionEnded(ctx, c.id.Session); ended || err != nil {
		c.leave()
		if err != nil {
			c.refuse(r.ID, chatUnavailable())
			c.finish(wire.CloseUnavailable, "the broker is away")
			return false
		}
		c.refuse(r.ID, chat.Errorf(chat.Unauthorized, "the session has ended"))
		c.finish(wire.CloseToken, "token not accepted")
		return false
	}
	if err := c.s.learn(ctx, c.person); err != nil {
		c.leave()
		c.refuse(r.ID, chatUnavailable())
		c.finish(wire.CloseUnavailable, "the broker is away")
		return false
	}
	c.deadline(time.Time{})
	c.greet()
	if bad != nil {
		c.refuse(r.ID, bad)
	}
	c.catchUp(r, ids)
	c.goLive(missed)
	return true
}

// cursorsOf returns the chats of which hello has a cursor, whether there are too many, and why some are none.
func cursorsOf(hello wire.Request) (ids []chat.ID, missed bool, bad error) {
	ids = make([]chat.ID, 0, min(len(hello.Cursors), cursorsMax))
	for s := range hello.Cursors {
		id, err := chat.ParseID(s)
		switch {
		case err != nil:
			bad = err
		case len(ids) == cursorsMax:
			missed = true
		default:
			ids = append(ids, id)
		}
	}
	return ids, missed, bad
}

// leave gives back what the connection holds: its place with the person and its watches.
func (c *conn) leave() {
	c.mu.Lock()
	c.left = true
	c.mu.Unlock()
	c.s.watchers.forget(c)
	c.s.hub.leave(c)
}

func chatUnavailable() error {
	return chat.Retry(chat.Unavailable, time.Second, "the broker cannot be reached at the moment")
}

package edge

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/gorilla/websocket"

	"github.com/chatmesh/chatmesh/pkg/auth"
	"github.com/chatmesh/chatmesh/pkg/chat"
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

// conn is one WebSocket.
type conn struct {
	s      *Server
	ws     *websocket.Conn
	id     auth.Identity
	person *person
	// handshake says that the client has sent its close frame; only the reader uses it.
	handshake bool
	// read is when something was last received, in Unix seconds.
	read atomic.Int64

	// mu guards the following fields. Locked after person.mu, never before it.
	mu sync.Mutex
	// Outgoing frames, and whether a goroutine is writing them (writer.go).
	out      [][]byte
	outBytes int
	writing  bool
	// closing is the close code to send when out is empty, once set; dead says that nothing can be written any more.
	closing     int
	closeReason string
	dead        bool
	// said is closed when the close frame was sent; nil as long as none is to be.
	said chan struct{}
	// jobs are requests to be carried out, and working whether a goroutine is doing that (handle.go).
	jobs       []wire.Request
	working    bool
	closeAfter int
	// room wakes the reader when it waits for jobs to be done; nil until it first does.
	room chan struct{}
	// While catching, live frames are kept back; caught is how far the catch-up went, for chats in which live frames up to
	// there may still come.
	catching  bool
	live      []frame
	liveBytes int
	overrun   bool
	caught    map[chat.ID]chat.Seq
	// watched are the people whose presence this connection is told.
	watched map[chat.UserID]struct{}
	// left says that the connection has given back what it holds elsewhere, and must not take more.
	left bool
}

// connect upgrades a request and serves the connection until it ends.
func (s *Server) connect(w http.ResponseWriter, r *http.Request) {
	if s.draining.Load() {
		w.Header().Set("Retry-After", "2")
		problem(w, http.StatusServiceUnavailable, chat.Unavailable, "this edge is going away")
		return
	}
	ws, err := s.upgrader.Upgrade(w, r, nil)
	if err != nil {
		return // answered by the upgrader
	}
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	c := &conn{s: s, ws: ws}
	c.touch() // before anyone can find it silent
	s.hub.open(c)
	// A goroutine of its own, so that the request, its buffers and the stack that grew with them are let go of.
	s.wg.Add(1)
	go func() {
		defer s.wg.Done()
		defer s.hub.closed(c)
		c.serve(token)
	}()
}

// serve reads frames until the connection ends. All that the connection holds elsewhere is given back before it returns.
func (c *conn) serve(token string) {
	defer func() { _ = c.ws.Close() }()
	c.ws.SetReadLimit(wire.MaxFrame)
	c.ws.SetPongHandler(func(string) error { c.touch(); return nil })
	pong := c.ws.PingHandler()
	c.ws.SetPingHandler(func(data string) error { c.touch(); return pong(data) })
	// The answer to a close frame is sent by the writer, behind what is queued.
	c.ws.SetCloseHandler(func(code int, _ string) error { return nil })
	_ = c.ws.SetReadDeadline(time.Now().Add(helloTimeout))
	if !c.hello(token) {
		c.linger()
		return
	}
	defer c.leave()
	for {
		data, ok := c.receive()
		if !ok {
			break
		}
		if !c.request(data) {
			break
		}
	}
	c.linger()
}

// receive returns the next frame, or false when the connection is to end: then the close frame is on its way.
func (c *conn) receive() ([]byte, bool) {
	typ, data, err := c.ws.ReadMessage()
	if err != nil {
		c.ended(err)
		return nil, false
	}
	c.touch()
	switch {
	case typ != websocket.TextMessage:
		c.finish(wire.CloseProtocol, "frames are JSON text")
	case !utf8.Valid(data):
		c.finish(websocket.CloseInvalidFramePayloadData, "not UTF-8")
	default:
		return data, true
	}
	return nil, false
}

// ended answers the end of reading with the right close frame.
func (c *conn) ended(err error) {
	var closed *websocket.CloseError
	var timeout net.Error
	switch {
	case errors.Is(err, websocket.ErrReadLimit):
		c.finish(websocket.CloseMessageTooBig, "frame too large") // the library has sent it already
	case errors.As(err, &closed):
		c.handshake = true
		code := closed.Code
		if code == websocket.CloseNoStatusReceived || code == websocket.CloseAbnormalClosure {
			code = websocket.CloseNormalClosure
		}
		c.finish(code, "")
	case errors.As(err, &timeout) && timeout.Timeout():
		c.finish(wire.CloseProtocol, "no hello in time")
	default:
		c.abort()
	}
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
	nc := c.ws.NetConn()
	_ = nc.SetReadDeadline(time.Now().Add(lingerTime))
	_, _ = io.CopyN(io.Discard, nc, lingerBytes)
}

func (c *conn) touch() { c.read.Store(time.Now().Unix()) }

// hello waits for the first frame, checks the token and joins the person. It returns false when the connection is to end.
func (c *conn) hello(token string) bool {
	data, ok := c.receive()
	if !ok {
		return false
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
	if c.id, err = c.s.verifier.Verify(token); err != nil {
		c.refuse(r.ID, err)
		if chat.Is(err, chat.Unavailable) {
			c.finish(wire.CloseUnavailable, "tokens cannot be checked at the moment")
		} else {
			c.finish(wire.CloseToken, "token not accepted")
		}
		return false
	}
	c.mu.Lock()
	c.catching = true
	c.mu.Unlock()
	if err := c.s.hub.join(c); err != nil {
		c.refuse(r.ID, err)
		c.finish(wire.CloseUnavailable, "the broker is away")
		return false
	}
	// Whoever ends the session from now on finds this connection; who ended it before is found here.
	if ended, err := c.s.sessionEnded(ctx, c.id); ended || err != nil {
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
	_ = c.ws.SetReadDeadline(time.Time{})
	c.send(wire.Welcome{Type: wire.TypeWelcome, User: c.id.User, Session: c.id.Session, ServerTime: chat.Now()})
	c.catchUp(r)
	return true
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

package edge

import (
	"bufio"
	"net"
	"net/http"
	"time"

	"github.com/gorilla/websocket"

	"github.com/chatmesh/chatmesh/pkg/wire"
)

// library is the WebSocket library on a connection that sent something else than plain frames: messages that are large or in pieces, a close
// frame, what is wrong. Most connections never have one.
type library struct {
	ws *websocket.Conn
	br *bufio.Reader
}

// call calls the library in. What the reader has in its buffer already it reads first.
func (r *socketReader) call() error {
	c := r.c
	ahead, _ := r.br.Peek(r.br.Buffered()) // they are there
	nc := &shaken{Conn: c.nc, ahead: append([]byte(nil), ahead...), shaking: true}
	br := bufio.NewReaderSize(nc, readBuffer)
	u := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }, WriteBufferPool: &c.s.libraryBuffers, WriteBufferSize: readBuffer}
	again := &http.Request{Method: http.MethodGet, Header: http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"},
		"Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"AAAAAAAAAAAAAAAAAAAAAA=="}}}
	ws, err := u.Upgrade(&handshake{nc: nc, br: br}, again, nil)
	if err != nil {
		return err
	}
	nc.shaking = false
	ws.SetReadLimit(wire.MaxFrame)
	ws.SetPongHandler(func(string) error { c.touch(); return nil })
	ws.SetPingHandler(func(data string) error {
		c.touch()
		c.control(websocket.PongMessage, []byte(data), time.Second)
		return nil
	})
	// The answer to a close frame is sent by the writer, behind what is queued.
	ws.SetCloseHandler(func(int, string) error { return nil })
	c.mu.Lock()
	c.library = &library{ws, br}
	c.mu.Unlock()
	r.br, r.box = br, bufio.Reader{}
	return nil
}

// handshake has the library believe that it shakes hands with the client, which was done before: it makes no connection otherwise.
type handshake struct {
	http.ResponseWriter // nothing is written to it
	nc                  *shaken
	br                  *bufio.Reader
}

// Hijack is that of http.Hijacker.
func (h *handshake) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return h.nc, bufio.NewReadWriter(h.br, bufio.NewWriterSize(h.nc, readBuffer)), nil
}

// shaken is a connection with what was read ahead in front. While shaking is set the client is told nothing, and no deadline changes.
type shaken struct {
	net.Conn
	ahead   []byte
	shaking bool
}

// Read is that of net.Conn.
func (s *shaken) Read(p []byte) (int, error) {
	if len(s.ahead) > 0 {
		n := copy(p, s.ahead)
		s.ahead = s.ahead[n:]
		return n, nil
	}
	return s.Conn.Read(p)
}

// Write is that of net.Conn.
func (s *shaken) Write(p []byte) (int, error) {
	if s.shaking {
		return len(p), nil
	}
	return s.Conn.Write(p)
}

// SetDeadline is that of net.Conn.
func (s *shaken) SetDeadline(t time.Time) error {
	if s.shaking {
		return nil
	}
	return s.Conn.SetDeadline(t)
}

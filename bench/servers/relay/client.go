package relay

import (
	"encoding/binary"
	"sync"

	"github.com/gorilla/websocket"
)

const (
	// queued is how many frames wait in a plain connection's channel; whoever has one more for it waits.
	queued = 256
	// maxWaiting is how many bytes wait for a connection that is not plain; more end it.
	maxWaiting = 8 << 20
	// keep is the capacity in bytes up to which buffers are pooled.
	keep = 64 << 10
)

// header is the room for the header of a frame of a server: contents have less than 64 KiB.
const header = 4

// Frame is a text frame, made once for all who get it.
type Frame struct {
	raw  []byte // as it is written
	from int    // where the content begins
}

// NewFrame makes a frame of a content of less than 64 KiB.
func NewFrame(content []byte) Frame {
	return seal(append(make([]byte, header, header+len(content)), content...))
}

// Content is what the frame says.
func (f Frame) Content() []byte { return f.raw[f.from:] }

// seal writes the header of a frame in front of its content.
func seal(b []byte) Frame {
	n := len(b) - header
	if n < 126 {
		b = b[2:]
		b[0], b[1] = 0x81, byte(n)
		return Frame{b, 2}
	}
	b[0], b[1] = 0x81, 126
	binary.BigEndian.PutUint16(b[2:], uint16(n))
	return Frame{b, header}
}

// Client is a connection.
type Client struct {
	User string
	// Own is what the server's owner keeps of it.
	Own any

	server *Server
	conn   *websocket.Conn
	plain  chan Frame    // where the server is plain
	ended  chan struct{} // where it is, closed when the reader has ended

	mu      sync.Mutex
	waiting *[]byte // guarded by mu; frames that nobody writes yet
	writing bool    // guarded by mu; a goroutine writes
	closed  bool    // guarded by mu
}

func newClient(s *Server, user string, conn *websocket.Conn) *Client {
	c := &Client{User: user, server: s, conn: conn}
	if s.Plain {
		c.plain, c.ended = make(chan Frame, queued), make(chan struct{})
		go c.writeOneByOne()
	}
	return c
}

func (c *Client) close() {
	if c.plain != nil {
		close(c.ended)
	}
	c.mu.Lock()
	c.closed, c.waiting = true, nil
	c.mu.Unlock()
	c.conn.Close()
}

// Write queues a frame.
func (c *Client) Write(f Frame) {
	if c.plain != nil {
		select {
		case c.plain <- f:
		case <-c.ended:
		}
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	if c.waiting == nil {
		c.waiting = buffers.Get().(*[]byte)
	}
	if *c.waiting = append(*c.waiting, f.raw...); len(*c.waiting) > maxWaiting {
		c.closed = true
		c.conn.Close()
	}
	if !c.writing {
		c.writing = true
		go c.writeAll()
	}
}

// writeOneByOne ends with the connection.
func (c *Client) writeOneByOne() {
	for {
		select {
		case f := <-c.plain:
			if c.conn.WriteMessage(websocket.TextMessage, f.Content()) != nil {
				c.conn.Close() // the reader ends
				return
			}
		case <-c.ended:
			return
		}
	}
}

// writeAll writes all that waits, and ends when nothing does.
func (c *Client) writeAll() {
	for {
		c.mu.Lock()
		b := c.waiting
		if c.waiting = nil; b == nil || c.closed {
			c.writing = false
			c.mu.Unlock()
			return
		}
		c.mu.Unlock()
		if _, err := c.conn.NetConn().Write(*b); err != nil {
			c.conn.Close() // the reader ends
		}
		if *b = (*b)[:0]; cap(*b) <= keep {
			buffers.Put(b)
		}
	}
}

var buffers = sync.Pool{New: func() any { return new([]byte) }}

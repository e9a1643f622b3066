package edge

import (
	"net/http"
	"time"

	"github.com/gorilla/websocket"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// Bounds of what waits to be written to one connection. A reader who is slower than that is cut, and told to come back; a
// page of history and a few large messages fit.
const (
	outFrames = 4096
	outBytes  = 8 << 20
)

// send encodes a frame and queues it.
func (c *conn) send(v any) { c.enqueue(wire.Encode(v)) }

// refuse queues the error frame for err.
func (c *conn) refuse(id wire.RequestID, err error) {
	f := wire.Refuse(id, err)
	c.s.m.errors.WithLabelValues(string(f.Code)).Inc()
	if f.Code == chat.Internal {
		c.s.c.Logger.Error("request failed", "error", err)
	}
	c.send(f)
}

// enqueue queues a frame, which must not be changed any more, and sees to it that somebody writes it.
func (c *conn) enqueue(data []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead || c.closing != 0 {
		return
	}
	if len(c.out) >= outFrames || c.outBytes+len(data) > outBytes && len(c.out) > 0 {
		c.s.m.slow.Inc()
		c.out, c.outBytes = nil, 0
		c.close(wire.CloseSlow, "too slow a reader")
		// What is being written now has a second left.
		_ = c.ws.NetConn().SetWriteDeadline(time.Now().Add(time.Second))
		return
	}
	c.out = append(c.out, data)
	c.outBytes += len(data)
	c.wake()
}

// finish sends a close frame behind what is queued, and ends the connection.
func (c *conn) finish(code int, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing == 0 && !c.dead {
		c.close(code, reason)
	}
}

// finishAfterWork is finish once the requests that wait are answered.
func (c *conn) finishAfterWork(code int, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closing != 0 || c.dead:
	case c.working:
		c.closeAfter, c.closeReason = code, reason
	default:
		c.close(code, reason)
	}
}

// close notes the close code. mu is held.
func (c *conn) close(code int, reason string) {
	c.closing, c.closeReason = code, reason
	if c.said == nil {
		c.said = make(chan struct{})
	}
	c.wake()
}

// abort ends the connection without a word.
func (c *conn) abort() {
	c.mu.Lock()
	c.dead, c.out, c.outBytes = true, nil, 0
	c.mu.Unlock()
	_ = c.ws.NetConn().Close()
}

// wake starts the writer where none is running. An idle connection has none. mu is held.
func (c *conn) wake() {
	if !c.writing {
		c.writing = true
		c.s.wg.Add(1)
		go c.write()
	}
}

// write writes what is queued, and ends when nothing is.
func (c *conn) write() {
	defer c.s.wg.Done()
	var spare [][]byte
	for {
		c.mu.Lock()
		frames := c.out
		c.out, c.outBytes = spare[:0], 0
		if len(frames) == 0 {
			code, reason := c.closing, c.closeReason
			if code == 0 || c.dead {
				c.writing = false
				c.out = nil // an idle connection keeps no buffer
				c.mu.Unlock()
				return
			}
			c.dead = true
			c.mu.Unlock()
			c.sayGoodbye(code, reason)
			continue
		}
		c.mu.Unlock()
		for i, data := range frames {
			_ = c.ws.SetWriteDeadline(time.Now().Add(writeTimeout))
			if err := c.ws.WriteMessage(websocket.TextMessage, data); err != nil {
				c.abort()
				break
			}
			frames[i] = nil
		}
		c.s.m.written.Add(float64(len(frames)))
		spare = frames
	}
}

// sayGoodbye sends the close frame and gives the client a moment to answer it; the reader then ends.
func (c *conn) sayGoodbye(code int, reason string) {
	defer close(c.said) // the only one: dead was set before
	_ = c.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, reason), time.Now().Add(time.Second))
	_ = c.ws.NetConn().SetReadDeadline(time.Now().Add(lingerTime))
}

// problem answers a request that does not become a WebSocket.
func problem(w http.ResponseWriter, status int, code chat.Code, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(wire.Encode(map[string]any{"type": "about:blank", "title": http.StatusText(status), "status": status,
		"detail": detail, "code": code}))
}

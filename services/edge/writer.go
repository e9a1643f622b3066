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
	c.put(data)
}

// put is enqueue where mu is held.
func (c *conn) put(data []byte) { c.putFrame(frame{data: data}) }

// putFrame is put of a frame that may be an event.
func (c *conn) putFrame(f frame) {
	if c.dead || c.closing != 0 {
		return
	}
	if c.feed != nil && c.feed.full(len(c.out), c.outBytes+len(f.data)) {
		c.lose()
		return
	}
	if len(c.out) >= outFrames || c.outBytes+len(f.data) > outBytes && len(c.out) > 0 {
		c.s.m.slow.Inc()
		c.out, c.outBytes = nil, 0
		c.close(wire.CloseSlow, "too slow a reader")
		if c.feed != nil {
			c.feed.steps = nil
			return // its request has a deadline of its own
		}
		// What is being written now has a second left.
		_ = c.nc.SetWriteDeadline(time.Now().Add(time.Second))
		return
	}
	if c.out == nil && c.feed == nil {
		c.out = borrowQueue()
	}
	c.out = append(c.out, f.data)
	c.outBytes += len(f.data)
	if c.feed != nil {
		c.note(f)
	}
	if f.later == nil || c.feed != nil {
		c.wake()
	} else if !c.writing && !c.pending {
		c.pending = true
		f.later.conns = append(f.later.conns, c)
	}
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
		c.closeAfter, c.closeReason = uint16(code), reason
	default:
		c.close(code, reason)
	}
}

// close notes the close code. mu is held.
func (c *conn) close(code int, reason string) {
	c.closing, c.closeReason = uint16(code), reason
	if c.said == nil {
		c.said = make(chan struct{})
	}
	c.wake()
}

// abort ends the connection without a word.
func (c *conn) abort() {
	if c.feed != nil {
		c.cutFeed()
		return
	}
	c.mu.Lock()
	c.dead, c.out, c.outBytes = true, nil, 0
	c.mu.Unlock()
	_ = c.nc.Close()
	c.kick()
}

// wake starts the writer where none is running. An idle connection has none. mu is held.
func (c *conn) wake() {
	if c.feed != nil {
		c.ring()
		return
	}
	if !c.writing {
		c.writing = true
		c.s.wg.Add(1)
		go func() {
			defer c.s.wg.Done()
			c.write(nil)
		}()
	}
}

// write writes what is queued, and returns when nothing is.
func (c *conn) write(w *crew) {
	var spare [][]byte
	for again := false; ; again = true {
		c.mu.Lock()
		if again && w.next(c) {
			c.mu.Unlock()
			returnQueue(spare)
			return
		}
		frames, traced, pongs := c.out, c.traced, c.pongs
		c.traced, c.pongs = nil, nil
		c.out, c.outBytes = spare[:0], 0
		if len(frames) == 0 && len(pongs) == 0 {
			unwritten(traced)
			code, reason := int(c.closing), c.closeReason
			if code == 0 || c.dead {
				c.writing = false
				c.out = nil // an idle connection keeps no buffer
				c.mu.Unlock()
				returnQueue(frames)
				returnQueue(spare)
				return
			}
			c.dead, spare = true, nil // it lies in out now
			c.mu.Unlock()
			w.leave(c.s)
			c.sayGoodbye(code, reason)
			continue
		}
		c.mu.Unlock()
		if c.writeFrames(w, pongs, frames, traced) != nil {
			c.abort()
		}
		c.s.m.written.Add(float64(len(frames)))
		clear(frames)
		spare = frames
	}
}

// sayGoodbye sends the close frame and gives the client a moment to answer it; the reader then ends.
func (c *conn) sayGoodbye(code int, reason string) {
	defer close(c.said) // the only one: dead was set before
	c.mu.Lock()
	l := c.library
	c.mu.Unlock()
	data, deadline := websocket.FormatCloseMessage(code, reason), time.Now().Add(time.Second)
	if l != nil { // which may have sent one
		_ = l.ws.WriteControl(websocket.CloseMessage, data, deadline)
	} else {
		_ = c.nc.SetWriteDeadline(deadline)
		_, _ = c.nc.Write(appendFrame(nil, websocket.CloseMessage, data))
	}
	_ = c.nc.SetReadDeadline(time.Now().Add(lingerTime))
	c.kick()
}

// problem answers a request that does not become a WebSocket.
func problem(w http.ResponseWriter, status int, code chat.Code, detail string) {
	problemAfter(w, status, code, detail, 0)
}

// problemAfter is problem where it may be tried again after some time; zero says nothing of it.
func problemAfter(w http.ResponseWriter, status int, code chat.Code, detail string, after time.Duration) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	body := map[string]any{"type": "about:blank", "title": http.StatusText(status), "status": status, "detail": detail, "code": code}
	if after > 0 {
		body["retry_after_ms"] = after.Milliseconds()
	}
	_, _ = w.Write(wire.Encode(body))
}

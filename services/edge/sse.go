package edge

import (
	"bytes"
	"context"
	"net/http"
	"time"

	"github.com/chatmesh/chatmesh/pkg/wire"
)

// Bounds of a stream of events.
const (
	// keepAlive is after which silence a comment is written, so that nobody on the way takes the connection for dead. It is looked at every
	// tendEvery.
	keepAlive = 15 * time.Second
	// writtenAtOnce is how much is written at once: an event that is larger goes alone.
	writtenAtOnce = 64 << 10
	// retryMS is after how many milliseconds a browser comes back.
	retryMS = "1000"
)

// events answers with a stream of server-sent events, each a frame as a WebSocket has it. The id of an event is a cursor.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	a, err := s.asked(r)
	if err != nil {
		s.decline(w, err)
		return
	}
	s.wg.Add(1)
	defer s.wg.Done()
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Time{}) // that of a request's body would end the stream
	f := &feed{}
	if a.from != nil {
		f.told = a.from.position
	}
	c, err := s.enter(r.Context(), a.who, a.address, f)
	if err != nil {
		s.decline(w, err)
		return
	}
	defer c.endFeed()
	c.mu.Lock()
	f.cut = func() { _ = rc.SetWriteDeadline(time.Now()) }
	c.mu.Unlock()
	if err := c.begin(r.Context(), a.from == nil, true); err != nil {
		s.decline(w, err)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // a proxy that gathers would hold events back
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(http.StatusOK)
	c.heed(r, a)
	c.stream(r.Context(), w, rc)
}

// stream writes events until the client goes or the connection is to end.
func (c *conn) stream(ctx context.Context, w http.ResponseWriter, rc *http.ResponseController) {
	c.mu.Lock()
	wake := c.feed.wake
	c.mu.Unlock()
	var out bytes.Buffer
	out.WriteString("retry: " + retryMS + "\n\n")
	for {
		read, ends := c.fill(&out)
		if out.Len() == 0 && ends == 0 && !read && time.Since(time.Unix(c.read.Load(), 0)) >= keepAlive {
			out.WriteString(":\n\n")
		}
		if out.Len() > 0 {
			_ = rc.SetWriteDeadline(time.Now().Add(writeTimeout))
			if _, err := w.Write(out.Bytes()); err != nil || rc.Flush() != nil {
				return
			}
			c.touch()
			if out.Reset(); out.Cap() > 2*writtenAtOnce { // not kept for one large event
				out = bytes.Buffer{}
			}
			continue
		}
		if ends != 0 {
			return
		}
		if read {
			if err := c.begin(ctx, false, false); err != nil && c.isBehind() {
				return // the client comes back with its cursor
			}
			continue
		}
		out = bytes.Buffer{} // an idle connection keeps no buffer
		select {
		case <-wake:
		case <-ctx.Done():
			return
		}
	}
}

// fill puts what waits into out, or tells that the logs are to be read, or that the connection ends.
func (c *conn) fill(out *bytes.Buffer) (read bool, ends int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing == wire.CloseSlow {
		return false, int(c.closing)
	}
	c.take(outFrames, writtenAtOnce-out.Len(), func(data []byte, at *position, moved bool) {
		if data != nil {
			out.WriteString("data: ")
			out.Write(data)
			out.WriteString("\n")
		}
		if moved || !c.feed.named { // behind the data, for clients that take an id before they have the event
			c.feed.named = true
			out.WriteString("id: " + cursor{position: *at}.String() + "\n")
		}
		out.WriteString("\n")
	})
	if out.Len() > 0 || len(c.out) > 0 {
		return false, 0
	}
	if c.closing == wire.CloseSessionEnded && !c.feed.bye {
		c.feed.bye = true
		out.WriteString("data: ")
		out.Write(wire.Encode(wire.Refuse(nil, errSessionEnded)))
		out.WriteString("\n\n")
		return false, 0
	}
	if c.closing != 0 {
		return false, int(c.closing)
	}
	must, may := c.must()
	return must || may && !c.feed.tried(), 0
}

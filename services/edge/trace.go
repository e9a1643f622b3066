package edge

import (
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/trace"
)

// traced is the span of a frame on its way from the queue of a connection into its socket.
type traced struct {
	frame *byte // the first of the frame
	span  trace.Span
}

// follow begins the span of a frame that was queued last. mu is held.
func (c *conn) follow(f frame) {
	if n := len(c.out); n > 0 && len(f.data) > 0 && &c.out[n-1][0] == &f.data[0] { // otherwise it was dropped
		c.traced = append(c.traced, traced{&f.data[0], f.span.Child("edge write", trace.Internal)})
	}
}

// written ends the span of a frame that was written, and returns those of the frames behind it.
func written(all []traced, frame []byte) []traced {
	if len(all) > 0 && len(frame) > 0 && all[0].frame == &frame[0] {
		all[0].span.End(nil)
		return all[1:]
	}
	return all
}

// errUnwritten says that a connection ended before a frame was written.
var errUnwritten = chat.Errorf(chat.Unavailable, "the connection ended before")

// unwritten ends the spans of frames that will not be written.
func unwritten(all []traced) {
	for _, t := range all {
		t.span.End(errUnwritten)
	}
}

package peer

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/chatmesh/chatmesh/bench/driver"
)

// chatmeshClients connects people who speak chatmesh.v1.
type chatmeshClients struct {
	loop    *driver.Loop
	address string
	number  atomic.Uint32
}

// dial opens a WebSocket, says first, where that is not empty, and waits for the welcome.
func (c *chatmeshClients) dial(ctx context.Context, path string, header http.Header, first string, sink driver.Sink) (driver.Conn, error) {
	frames := driver.NewChatmesh(c.number.Add(1))
	s, err := c.loop.WebSocket(ctx, c.address, path, header, frames, sink, func(h *driver.Handshake) error {
		if first != "" {
			if err := h.Write([]byte(first)); err != nil {
				return err
			}
		}
		for {
			b, err := h.Read()
			if err != nil {
				return err
			}
			switch {
			case strings.HasPrefix(string(b), `{"type":"welcome"`):
				return nil
			case strings.HasPrefix(string(b), `{"type":"error"`):
				return fmt.Errorf("the server says %s", b)
			}
		}
	})
	if err != nil {
		return nil, err
	}
	return &chatmeshConn{Stream: s, frames: frames}, nil
}

// chatmeshConn is a connection that can say what was read.
type chatmeshConn struct {
	*driver.Stream
	frames  *driver.Chatmesh
	content []byte
}

// Read says that the last message that came was read. It is for the sink of the connection.
func (c *chatmeshConn) Read() error {
	c.content = c.frames.AppendRead(c.content[:0])
	if len(c.content) == 0 {
		return nil
	}
	_, err := c.Write(driver.AppendText(nil, c.content))
	return err
}

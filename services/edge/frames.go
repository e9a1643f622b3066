package edge

import (
	"encoding/binary"
	"time"

	"github.com/gorilla/websocket"
)

// The frames that wait for a connection go out with one system call, in a buffer that is lent for it. The library reads the socket and
// writes close frames of its own when a client breaks the protocol; a write of the socket is never torn by another, and only whole frames
// are given to one.

// Bounds of writing.
const (
	// writeSize is how many bytes are gathered before they are written. A buffer that grew beyond keptSize is not kept.
	writeSize = 32 << 10
	keptSize  = 2 * writeSize
	// pongsSize bounds the pongs that wait. Beyond it only the last ping is answered, as RFC 6455, 5.5.3, allows.
	pongsSize = 512
)

// appendFrame appends a frame as a server sends it: in one piece, without a mask.
func appendFrame(b []byte, op byte, data []byte) []byte {
	b = append(b, finBit|op)
	switch n := len(data); {
	case n <= 125:
		b = append(b, byte(n))
	case n <= 0xFFFF:
		b = binary.BigEndian.AppendUint16(append(b, sizeOf16), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, sizeOf64), uint64(n))
	}
	return append(b, data...)
}

// writeFrames writes pongs, which are encoded, and then text frames. traced are spans of some of the latter.
func (c *conn) writeFrames(w *crew, pongs []byte, frames [][]byte, traced []traced) error {
	buf, _ := c.s.buffers.Get().(*[]byte)
	if buf == nil {
		buf = new([]byte)
	}
	b := append((*buf)[:0], pongs...)
	var err error
	first := 0
	for i, data := range frames {
		b = appendFrame(b, websocket.TextMessage, data)
		if len(b) < writeSize && i < len(frames)-1 {
			continue
		}
		if err = c.writeBytes(w, b); err != nil {
			break
		}
		for _, data := range frames[first : i+1] {
			traced = written(traced, data)
		}
		first, b = i+1, b[:0]
	}
	if err == nil && len(b) > 0 {
		err = c.writeBytes(w, b)
	}
	unwritten(traced)
	if cap(b) <= keptSize {
		*buf = b[:0]
		c.s.buffers.Put(buf)
	}
	return err
}

// writeBytes writes whole frames. Whoever calls it has set writing. Where the socket does not take them at once, the rest of the crew does
// not wait for it.
func (c *conn) writeBytes(w *crew, b []byte) error {
	if w != nil {
		if done, err := w.write(c, b); done {
			return err
		}
		w.leave(c.s)
		defer func() { _ = c.nc.SetWriteDeadline(time.Time{}) }() // behind it a crew could not write
	}
	_ = c.nc.SetWriteDeadline(time.Now().Add(writeTimeout))
	_, err := c.nc.Write(b)
	return err
}

// keepPong queues a pong. mu is held.
func (c *conn) keepPong(data []byte) {
	if len(c.pongs) > pongsSize {
		c.pongs = nil
	}
	c.pongs = appendFrame(c.pongs, websocket.PongMessage, data)
}

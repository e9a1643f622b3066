package edge

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"os"
	"time"
	"unicode/utf8"

	"github.com/gorilla/websocket"

	"github.com/chatmesh/chatmesh/pkg/wire"
)

// receive reads the next frame. It returns nothing for a ping or pong, which it has answered, and false when the connection is to end:
// then the close frame is on its way. What it returns is good until the reader reads on.
func (r *socketReader) receive() ([]byte, bool) {
	c := r.c
	op, data, ok := r.plain()
	if !ok {
		var err error
		if op, data, err = r.other(); err != nil {
			c.ended(err)
			return nil, false
		}
	}
	c.touch()
	switch {
	case op == websocket.PongMessage:
		return nil, true
	case op == websocket.PingMessage:
		c.control(websocket.PongMessage, data, time.Second)
		return nil, true
	case op == websocket.CloseMessage:
		c.handshake = true
		c.finish(closeCode(data), "")
	case op != websocket.TextMessage:
		c.finish(wire.CloseProtocol, "frames are JSON text")
	case !utf8.Valid(data):
		c.finish(websocket.CloseInvalidFramePayloadData, "not UTF-8")
	default:
		return data, true
	}
	return nil, false
}

// other reads the next message, whatever it is, with the library. It fails with the library's errors.
func (r *socketReader) other() (op int, data []byte, err error) {
	r.patience(time.Time{})
	if r.c.library == nil {
		if err := r.call(); err != nil {
			return 0, nil, err
		}
	}
	return r.c.library.ws.ReadMessage()
}

// Parts of the head of a frame.
const (
	finBit       = 0x80
	rsvAndFin    = 0xf0
	opBits       = 0x0f
	maskBit      = 0x80
	sizeBits     = 0x7f
	sizeOf16     = 126
	sizeOf64     = 127
	headSize     = 2
	headSizeOf16 = 4
	maskSize     = 4
)

// plain reads the next frame in the buffer itself, without a copy, where it is what most are: a text message of one frame, a ping, a pong or a
// close frame, that fits. ok is false for all else, and where nothing more can be read: then nothing is consumed, and the library finds what it is.
func (r *socketReader) plain() (op int, data []byte, ok bool) {
	head, ok := r.peek(headSize)
	if !ok || head[0]&rsvAndFin != finBit || head[1]&maskBit == 0 {
		return 0, nil, false
	}
	op = int(head[0] & opBits)
	n, at := int(head[1]&sizeBits), headSize
	switch {
	case n == sizeOf64, op != websocket.TextMessage && (op < websocket.CloseMessage || op > websocket.PongMessage || n == sizeOf16):
		return 0, nil, false
	case n == sizeOf16:
		if head, ok = r.peek(headSizeOf16); !ok {
			return 0, nil, false
		}
		n, at = int(binary.BigEndian.Uint16(head[headSize:])), headSizeOf16
	}
	size := at + maskSize + n
	if size > r.br.Size() {
		return 0, nil, false
	}
	frame, ok := r.peek(size)
	if !ok {
		return 0, nil, false
	}
	data, mask := frame[at+maskSize:], [maskSize]byte(frame[at:])
	if op == websocket.CloseMessage {
		data = bytes.Clone(data)
	}
	unmask(data, mask)
	if op == websocket.CloseMessage && closeCode(data) == 0 {
		return 0, nil, false
	}
	_, _ = r.br.Discard(size) // they are there
	return op, data, true
}

// closeCode is the code to answer a client's close frame with; zero where the frame is not one of those that clients send.
func closeCode(data []byte) int {
	if len(data) == 0 {
		return websocket.CloseNormalClosure
	}
	if len(data) < 2 || !utf8.Valid(data[2:]) {
		return 0
	}
	code := int(binary.BigEndian.Uint16(data))
	if code == websocket.CloseNormalClosure || code == websocket.CloseGoingAway || code >= 3000 && code <= 4999 {
		return code
	}
	return 0
}

// peek waits until so many bytes are in the buffer. It is false where no more can be read.
func (r *socketReader) peek(n int) ([]byte, bool) {
	if !r.until.IsZero() && r.br.Buffered() < n {
		r.patience(time.Time{}) // who sends half a frame is cut when it was silent for deadAfter
	}
	b, err := r.br.Peek(n)
	return b, err == nil
}

// unmask undoes what clients have to do to their data.
func unmask(data []byte, mask [maskSize]byte) {
	m := uint64(binary.LittleEndian.Uint32(mask[:]))
	m |= m << 32
	for len(data) >= 8 {
		binary.LittleEndian.PutUint64(data, binary.LittleEndian.Uint64(data)^m)
		data = data[8:]
	}
	for i := range data {
		data[i] ^= mask[i%maskSize]
	}
}

// ended answers the end of reading with the right close frame.
func (c *conn) ended(err error) {
	var closed *websocket.CloseError
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
	case isTimeout(err):
		c.finish(wire.CloseProtocol, "no hello in time")
	default:
		c.abort()
	}
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout()
}

// control sends a ping or a pong, with at most 125 bytes of data, unless that takes longer than a time. While something is being written
// the writer sends a pong next, and nobody a ping: such a connection is not idle. It allocates nothing for a ping.
func (c *conn) control(op int, data []byte, within time.Duration) {
	deadline := time.Now().Add(within)
	c.mu.Lock()
	if c.dead || c.closing != 0 {
		c.mu.Unlock()
		return
	}
	if c.writing {
		if op == websocket.PongMessage {
			c.keepPong(data)
		}
		c.mu.Unlock()
		return
	}
	c.writing = true
	c.mu.Unlock()
	var err error
	n, frame := 0, emptyPing[:]
	if op != websocket.PingMessage || len(data) > 0 {
		frame = append([]byte{finBit | byte(op), byte(len(data))}, data...)
	}
	_ = c.nc.SetWriteDeadline(deadline)
	n, err = c.nc.Write(frame)
	if err != nil && (n > 0 || !isTimeout(err)) {
		c.abort()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writing = false
	if len(c.out) > 0 || len(c.pongs) > 0 || c.closing != 0 && !c.dead {
		c.wake()
	}
}

var emptyPing = [...]byte{finBit | websocket.PingMessage, 0}

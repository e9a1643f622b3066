package driver

import (
	"context"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"net/http"
)

// Frames is what a protocol says in the frames of a WebSocket. Each connection has one of its own.
type Frames interface {
	// AppendMessage appends the content of the frame that sends a message, see Conn.Send.
	AppendMessage(out []byte, address string, tag uint32, payload []byte) []byte
	// Frame handles the content of a frame and tells the sink. Answers are appended to reply as frames, see AppendText, and returned.
	// An error ends the connection. The content is only valid during the call.
	Frame(content []byte, sink Sink, reply []byte) ([]byte, error)
}

// Opcodes of RFC 6455.
const (
	opContinuation = 0
	opText         = 1
	opBinary       = 2
	opClose        = 8
	opPing         = 9
	opPong         = 10
)

// WebSocket opens a WebSocket (RFC 6455) at path of address, with further headers or nil. begin, which may be nil, speaks on it before
// the loop takes it over.
func (l *Loop) WebSocket(ctx context.Context, address, path string, header http.Header, frames Frames, sink Sink, begin func(*Handshake) error) (*Stream, error) {
	return l.Open(ctx, address, sink, func(o *Opening) (Protocol, error) {
		if err := upgrade(o, address, path, header); err != nil {
			return nil, err
		}
		w := newWebSocket(frames)
		if begin != nil {
			if err := begin(&Handshake{o, w}); err != nil {
				return nil, err
			}
		}
		return w, nil
	})
}

func upgrade(o *Opening, address, path string, header http.Header) error {
	var nonce [16]byte
	rand.Read(nonce[:])
	key := base64.StdEncoding.EncodeToString(nonce[:])
	out := fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n",
		path, address, key)
	for name, values := range header {
		for _, v := range values {
			out = fmt.Appendf(out, "%s: %s\r\n", name, v)
		}
	}
	if _, err := o.Write(append(out, "\r\n"...)); err != nil {
		return err
	}
	res, err := http.ReadResponse(o.Reader, nil)
	if err != nil {
		return fmt.Errorf("handshake: %w", err)
	}
	res.Body.Close()
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	if res.StatusCode != http.StatusSwitchingProtocols || res.Header.Get("Sec-WebSocket-Accept") != base64.StdEncoding.EncodeToString(sum[:]) {
		return fmt.Errorf("handshake: the server answers %s", res.Status)
	}
	return nil
}

// Handshake speaks on a new WebSocket, frame by frame.
type Handshake struct {
	opening *Opening
	socket  *webSocket
}

// Write writes a text frame.
func (h *Handshake) Write(content []byte) error {
	_, err := h.opening.Write(AppendText(nil, content))
	return err
}

// Read returns the content of the next frame, which is valid until the next call. Pings are answered.
func (h *Handshake) Read() ([]byte, error) {
	for want := 2; ; {
		b, err := h.opening.Reader.Peek(want)
		if err != nil {
			return nil, err
		}
		f, size, err := cut(b)
		if err != nil {
			return nil, err
		}
		if size > len(b) {
			want = size
			continue
		}
		content := append([]byte(nil), f.content...)
		h.opening.Reader.Discard(size)
		want = 2
		switch f.op {
		case opText, opBinary:
			return content, nil
		case opPing:
			if _, err := h.opening.Write(h.socket.appendFrame(nil, opPong, content)); err != nil {
				return nil, err
			}
		case opClose:
			return nil, closed(content)
		}
	}
}

// webSocket is the Protocol of Frames in a WebSocket.
type webSocket struct {
	frames Frames
	mask   uint32
	parts  []byte // of a message that comes in several frames
}

func newWebSocket(frames Frames) *webSocket {
	var seed [4]byte
	rand.Read(seed[:])
	return &webSocket{frames: frames, mask: binary.LittleEndian.Uint32(seed[:]) | 1}
}

// nextMask is a xorshift: the server must undo each mask, which is all that they are for here.
func (w *webSocket) nextMask() uint32 {
	w.mask ^= w.mask << 13
	w.mask ^= w.mask >> 17
	w.mask ^= w.mask << 5
	return w.mask
}

// headroom is the length of the header of a masked frame with a content of 126 to 65,535 bytes.
const headroom = 8

// Append is of Protocol.
func (w *webSocket) Append(out []byte, address string, tag uint32, payload []byte) []byte {
	at := len(out)
	out = append(out, make([]byte, headroom)...)
	out = w.frames.AppendMessage(out, address, tag, payload)
	return seal(out, at, opText, w.nextMask())
}

func (w *webSocket) appendFrame(out []byte, op byte, content []byte) []byte {
	at := len(out)
	out = append(append(out, make([]byte, headroom)...), content...)
	return seal(out, at, op, w.nextMask())
}

// AppendText appends a text frame of a client.
func AppendText(out, content []byte) []byte {
	at := len(out)
	out = append(append(out, make([]byte, headroom)...), content...)
	return seal(out, at, opText, 0x9e3779b9^uint32(len(content)))
}

// seal makes what stands behind the headroom at out[at:] a frame.
func seal(out []byte, at int, op byte, mask uint32) []byte {
	n := len(out) - at - headroom
	header := out[at:]
	switch {
	case n < 126:
		copy(out[at+6:], out[at+headroom:])
		out = out[:len(out)-2]
		header[1] = 0x80 | byte(n)
		header = header[2:]
	case n < 1<<16:
		header[1] = 0x80 | 126
		binary.BigEndian.PutUint16(header[2:], uint16(n))
		header = header[4:]
	default:
		out = append(out, make([]byte, 6)...)
		copy(out[at+14:], out[at+headroom:])
		header = out[at:]
		header[1] = 0x80 | 127
		binary.BigEndian.PutUint64(header[2:], uint64(n))
		header = header[10:]
	}
	out[at] = 0x80 | op
	binary.LittleEndian.PutUint32(header, mask)
	masked(header[4:4+n], mask)
	return out
}

func masked(b []byte, mask uint32) {
	wide := uint64(mask)<<32 | uint64(mask)
	for ; len(b) >= 8; b = b[8:] {
		binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)^wide)
	}
	for i := range b {
		b[i] ^= byte(bits.RotateLeft32(mask, -8*i))
	}
}

// frame is one of a server.
type frame struct {
	op      byte
	last    bool
	content []byte // part of what was cut
}

// cut returns the frame at the beginning of b and its length; where that is more than b has, the frame is not whole and the length
// at least so much.
func cut(b []byte) (f frame, size int, err error) {
	if len(b) < 2 {
		return f, 2, nil
	}
	f.op, f.last = b[0]&15, b[0]&0x80 != 0
	if b[0]&0x70 != 0 || b[1]&0x80 != 0 {
		return f, 0, errors.New("driver: not a frame of a server")
	}
	from, n := 2, uint64(b[1])
	switch n {
	case 126:
		if from = 4; len(b) < from {
			return f, from, nil
		}
		n = uint64(binary.BigEndian.Uint16(b[2:]))
	case 127:
		if from = 10; len(b) < from {
			return f, from, nil
		}
		n = binary.BigEndian.Uint64(b[2:])
	}
	if n > readBuffer {
		return f, 0, errors.New("driver: a frame is longer than the buffer")
	}
	if size = from + int(n); size <= len(b) {
		f.content = b[from:size]
	}
	return f, size, nil
}

// Take is of Protocol.
func (w *webSocket) Take(in []byte, sink Sink, reply []byte) (taken int, replied []byte, err error) {
	for {
		f, size, err := cut(in[taken:])
		if err != nil || size > len(in)-taken {
			return taken, reply, err
		}
		taken += size
		switch f.op {
		case opText, opBinary, opContinuation:
			if !f.last || f.op == opContinuation {
				if w.parts = append(w.parts, f.content...); !f.last {
					continue
				}
				f.content, w.parts = w.parts, nil
			}
			reply, err = w.frames.Frame(f.content, sink, reply)
		case opPing:
			reply = w.appendFrame(reply, opPong, f.content)
		case opClose:
			err = closed(f.content)
		}
		if err != nil {
			return taken, reply, err
		}
	}
}

// closed is the error for what a server says at the end.
func closed(content []byte) error {
	if len(content) < 2 {
		return errors.New("driver: the server closed the connection")
	}
	return fmt.Errorf("driver: the server closed the connection with %d: %s", binary.BigEndian.Uint16(content), content[2:])
}

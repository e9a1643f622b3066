package driver

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strconv"
	"time"
)

// Chatmesh is the protocol chatmesh.v1: one JSON object a frame. The relays that exist for comparison speak the same, of which they
// know "send", "ack" and "message".
type Chatmesh struct {
	random uint64 // of this connection, and a counter: client ids differ
	last   []byte // chat and seq of the last message, as they stood in it
}

// NewChatmesh returns the Frames of a connection. No two connections of a run have the same number.
func NewChatmesh(number uint32) *Chatmesh {
	return &Chatmesh{random: uint64(number)<<32 | 0x8000_0000_0000_0000}
}

// AppendMessage is of Frames. The client id is a UUIDv7, as the web page and the SDKs make them.
func (c *Chatmesh) AppendMessage(out []byte, address string, tag uint32, payload []byte) []byte {
	out = append(out, `{"type":"send","id":"`...)
	out = strconv.AppendUint(out, uint64(tag), 10)
	out = append(out, `","chat":"`...)
	out = append(out, address...)
	out = append(out, `","client_id":"`...)
	out = c.appendID(out)
	out = append(out, `","text":"`...)
	out = append(out, payload...)
	return append(out, `"}`...)
}

func (c *Chatmesh) appendID(out []byte) []byte {
	c.random++
	var id [16]byte
	binary.BigEndian.PutUint64(id[:], uint64(time.Now().UnixMilli())<<16|0x7000)
	binary.BigEndian.PutUint64(id[8:], c.random)
	for i, b := range id {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			out = append(out, '-')
		}
		out = append(out, digits[b>>4], digits[b&15])
	}
	return out
}

var (
	ackPrefix     = []byte(`{"type":"ack","id":"`)
	messagePrefix = []byte(`{"type":"message"`)
	errorPrefix   = []byte(`{"type":"error"`)
	resyncPrefix  = []byte(`{"type":"resync"`)
	drainPrefix   = []byte(`{"type":"draining"`)
	beforeN       = []byte(`,"n":`)
	textKey       = []byte(`,"text":"`)
)

// AppendRead appends the content of the frame that says that the last message that came was read; nothing where none came. It is for
// the sink.
func (c *Chatmesh) AppendRead(out []byte) []byte {
	if len(c.last) == 0 {
		return out
	}
	out = append(out, `{"type":"read"`...)
	out = append(out, c.last...)
	return append(out, '}')
}

// Frame is of Frames. It looks only at what it needs of the frames as they are encoded; all that is neither a message, nor an
// acknowledgement, nor says that something is wrong is passed over.
func (c *Chatmesh) Frame(b []byte, sink Sink, reply []byte) ([]byte, error) {
	switch {
	case bytes.HasPrefix(b, messagePrefix):
		at := bytes.Index(b, textKey)
		if at < 0 {
			return reply, fmt.Errorf("driver: a message without a text: %.80q", b)
		}
		text := b[at+len(textKey):]
		end := bytes.IndexByte(text, '"')
		if end < 0 {
			return reply, fmt.Errorf("driver: a text without an end: %.80q", b)
		}
		if n := bytes.Index(b[:at], beforeN); n > 0 {
			c.last = append(c.last[:0], b[len(messagePrefix):n]...)
		}
		sink.Delivered(text[:end])
	case bytes.HasPrefix(b, ackPrefix):
		tag, n := uint32(0), 0
		for _, d := range b[len(ackPrefix):] {
			if d < '0' || d > '9' {
				break
			}
			tag = tag*10 + uint32(d-'0')
			n++
		}
		if n > 0 {
			sink.Acked(tag)
		}
	case bytes.HasPrefix(b, errorPrefix), bytes.HasPrefix(b, resyncPrefix), bytes.HasPrefix(b, drainPrefix):
		sink.Failed(fmt.Errorf("driver: the server says %s", b))
	}
	return reply, nil
}

package driver

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
)

// Centrifuge opens a connection with the JSON protocol of centrifuge over WebSocket, and says who connects and which channels it listens
// to. An address is a channel; the answer to a publication is its acknowledgement.
func (l *Loop) Centrifuge(ctx context.Context, address, user string, channels []string, sink Sink) (*Stream, error) {
	c := &centrifuge{}
	return l.WebSocket(ctx, address, "/connection/websocket", nil, c, sink, func(h *Handshake) error {
		hello, err := json.Marshal(map[string]any{"id": math.MaxUint32, "connect": map[string]any{
			"data": map[string]any{"user": user, "channels": channels}}}) // ids have 32 bits; no tag comes so far
		if err != nil {
			return err
		}
		if err := h.Write(hello); err != nil {
			return err
		}
		answer, err := h.Read()
		if err != nil {
			return err
		}
		// What came together with the answer would be lost; nobody writes to somebody who has not connected yet.
		if !bytes.HasPrefix(answer, []byte(`{"id":4294967295,"connect":{`)) || bytes.IndexByte(answer, '\n') >= 0 {
			return fmt.Errorf("centrifuge: the server says %.400s", answer)
		}
		return nil
	})
}

// centrifuge is the Frames of centrifuge: JSON objects, one a line.
type centrifuge struct{}

// AppendMessage is of Frames.
func (c *centrifuge) AppendMessage(out []byte, address string, tag uint32, payload []byte) []byte {
	out = append(out, `{"id":`...)
	out = strconv.AppendUint(out, uint64(tag), 10)
	out = append(out, `,"publish":{"channel":"`...)
	out = append(out, address...)
	out = append(out, `","data":"`...)
	out = append(out, payload...)
	return append(out, `"}}`...)
}

var (
	centrifugePush      = []byte(`{"push":{`)
	centrifugeData      = []byte(`,"pub":{"data":"`)
	centrifugeAnswer    = []byte(`{"id":`)
	centrifugePublished = []byte(`,"publish":{`)
)

// Frame is of Frames.
func (c *centrifuge) Frame(content []byte, sink Sink, reply []byte) ([]byte, error) {
	for len(content) > 0 {
		line := content
		if end := bytes.IndexByte(content, '\n'); end >= 0 {
			line, content = content[:end], content[end+1:]
		} else {
			content = nil
		}
		switch {
		case bytes.HasPrefix(line, centrifugePush):
			_, data, ok := bytes.Cut(line, centrifugeData)
			end := bytes.IndexByte(data, '"')
			if !ok || end < 0 {
				return reply, fmt.Errorf("driver: centrifuge: %.80q", line)
			}
			sink.Delivered(data[:end])
		case bytes.HasPrefix(line, centrifugeAnswer):
			digits, rest := number(line[len(centrifugeAnswer):])
			tag, err := strconv.ParseUint(string(digits), 10, 32)
			if err != nil || !bytes.HasPrefix(rest, centrifugePublished) {
				sink.Failed(fmt.Errorf("driver: centrifuge: the server says %.400s", line))
				continue
			}
			sink.Acked(uint32(tag))
		case len(line) == 2: // {}: is anybody there?
			reply = AppendText(reply, line)
		case len(line) > 0:
			sink.Failed(fmt.Errorf("driver: centrifuge: the server says %.400s", line))
		}
	}
	return reply, nil
}

// number splits b behind the digits at its beginning.
func number(b []byte) (digits, rest []byte) {
	n := 0
	for n < len(b) && b[n] >= '0' && b[n] <= '9' {
		n++
	}
	return b[:n], b[n:]
}

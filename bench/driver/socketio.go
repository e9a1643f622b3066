package driver

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
)

// SocketIO opens a connection with socket.io 4 (Engine.IO 4) over WebSocket alone, and says which rooms it listens to. An address is a room;
// the call of the callback is the acknowledgement.
func (l *Loop) SocketIO(ctx context.Context, address string, rooms []string, sink Sink) (*Stream, error) {
	return l.WebSocket(ctx, address, "/socket.io/?EIO=4&transport=websocket", nil, socketIO{}, sink, func(h *Handshake) error {
		auth, err := json.Marshal(map[string]any{"rooms": rooms})
		if err != nil {
			return err
		}
		for _, step := range []struct{ say, want string }{{"", "0{"}, {"40" + string(auth), "40{"}} {
			if step.say != "" {
				if err := h.Write([]byte(step.say)); err != nil {
					return err
				}
			}
			answer, err := h.Read()
			if err != nil {
				return err
			}
			if !bytes.HasPrefix(answer, []byte(step.want)) {
				return fmt.Errorf("socket.io: the server says %.400s", answer)
			}
		}
		return nil
	})
}

// socketIO is the Frames of socket.io.
type socketIO struct{}

// AppendMessage is of Frames: 4 is a message of Engine.IO, 2 an event of socket.io, and the number asks for an answer.
func (socketIO) AppendMessage(out []byte, address string, tag uint32, payload []byte) []byte {
	out = append(out, "42"...)
	out = strconv.AppendUint(out, uint64(tag), 10)
	out = append(out, `["send","`...)
	out = append(out, address...)
	out = append(out, `","`...)
	out = append(out, payload...)
	return append(out, `"]`...)
}

var (
	socketIOMessage = []byte(`42["message","`)
	socketIOAck     = []byte("43")
)

// Frame is of Frames.
func (socketIO) Frame(content []byte, sink Sink, reply []byte) ([]byte, error) {
	switch {
	case bytes.HasPrefix(content, socketIOMessage):
		payload := content[len(socketIOMessage):]
		end := bytes.IndexByte(payload, '"')
		if end < 0 {
			return reply, fmt.Errorf("driver: socket.io: %.80q", content)
		}
		sink.Delivered(payload[:end])
	case bytes.HasPrefix(content, socketIOAck):
		digits, _ := number(content[len(socketIOAck):])
		tag, err := strconv.ParseUint(string(digits), 10, 32)
		if err != nil {
			return reply, fmt.Errorf("driver: socket.io: %.80q", content)
		}
		sink.Acked(uint32(tag))
	case len(content) == 1 && content[0] == '2': // a ping of Engine.IO
		reply = AppendText(reply, []byte("3"))
	default:
		sink.Failed(fmt.Errorf("driver: socket.io: the server says %.400s", content))
	}
	return reply, nil
}

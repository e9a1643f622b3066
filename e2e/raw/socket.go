package raw

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// Patience is how long the stories wait for what should come, before it counts as missing. It is long because the machine is
// shared and the race detector slow; promises about time are checked on their own.
const Patience = time.Minute

// Object is a JSON object to send.
type Object map[string]any

// Socket is one WebSocket, with every frame that came since it was made.
type Socket struct {
	ws   *websocket.Conn
	done chan struct{} // closed when the read loop has ended

	write  sync.Mutex // held while a frame is written
	mu     sync.Mutex
	frames []Frame       // guarded by mu
	times  []time.Time   // guarded by mu; when each frame came
	more   chan struct{} // guarded by mu; closed and replaced when a frame comes
	err    error         // guarded by mu; why reading ended
	nextID int           // guarded by mu
}

// Dial makes a socket and sends nothing on it. header may be nil.
func Dial(ctx context.Context, base string, header http.Header) (*Socket, *http.Response, error) {
	d := websocket.Dialer{Subprotocols: []string{"chatmesh.v1"}, HandshakeTimeout: Patience}
	ws, res, err := d.DialContext(ctx, "ws"+strings.TrimPrefix(base, "http")+"/v1/ws", header)
	if err != nil {
		return nil, res, fmt.Errorf("raw: dial: %w", err)
	}
	if ws.Subprotocol() != "chatmesh.v1" {
		ws.Close()
		return nil, res, fmt.Errorf("raw: subprotocol %q; want chatmesh.v1", ws.Subprotocol())
	}
	s := &Socket{ws: ws, done: make(chan struct{}), more: make(chan struct{})}
	go s.read()
	return s, res, nil
}

// Connect makes a socket, says hello with the token and the cursors, and waits for the welcome.
func Connect(ctx context.Context, base, token string, cursors map[string]uint64) (*Socket, error) {
	s, _, err := Dial(ctx, base, nil)
	if err != nil {
		return nil, err
	}
	hello := Object{"type": "hello", "token": token}
	if cursors != nil {
		hello["cursors"] = cursors
	}
	if err := s.Send(hello); err != nil {
		s.Close()
		return nil, err
	}
	if _, err := s.Await(Patience, func(f Frame) bool { return f.Type == "welcome" }); err != nil {
		s.Close()
		return nil, fmt.Errorf("raw: welcome: %w", err)
	}
	return s, nil
}

func (s *Socket) read() {
	defer close(s.done)
	for {
		kind, b, err := s.ws.ReadMessage()
		var f Frame
		if err == nil && kind != websocket.TextMessage {
			err = fmt.Errorf("raw: a frame that is no text: %.100q", b)
		}
		if err == nil {
			err = json.Unmarshal(b, &f)
		}
		s.mu.Lock()
		if err != nil {
			s.err = err
		} else {
			s.frames = append(s.frames, f)
			s.times = append(s.times, time.Now())
		}
		close(s.more)
		s.more = make(chan struct{})
		s.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// Close ends the socket without a goodbye and waits for its reader.
func (s *Socket) Close() {
	s.ws.Close()
	<-s.done
}

// Leave ends the socket with a goodbye.
func (s *Socket) Leave() {
	s.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""),
		time.Now().Add(time.Second))
	s.Close()
}

// Send sends v as JSON.
func (s *Socket) Send(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return s.SendRaw(websocket.TextMessage, b)
}

// SendRaw sends bytes as a message of that kind.
func (s *Socket) SendRaw(kind int, b []byte) error {
	s.write.Lock()
	defer s.write.Unlock()
	s.ws.SetWriteDeadline(time.Now().Add(Patience))
	return s.ws.WriteMessage(kind, b)
}

// Ping sends a WebSocket ping and returns a channel that is closed by its pong. It is called before any other goroutine
// may expect one.
func (s *Socket) Ping() (<-chan struct{}, error) {
	got := make(chan struct{})
	var once sync.Once
	s.ws.SetPongHandler(func(string) error { once.Do(func() { close(got) }); return nil })
	return got, s.ws.WriteControl(websocket.PingMessage, []byte("x"), time.Now().Add(Patience))
}

// Frames returns every frame that came so far and matches; a nil match takes all.
func (s *Socket) Frames(match func(Frame) bool) []Frame {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Frame
	for _, f := range s.frames {
		if match == nil || match(f) {
			out = append(out, f)
		}
	}
	return out
}

// Arrivals returns the frames that came so far, and when.
func (s *Socket) Arrivals() ([]Frame, []time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.frames[:len(s.frames):len(s.frames)], s.times[:len(s.times):len(s.times)]
}

// Await returns the first frame that matches, of those that came already or within d.
func (s *Socket) Await(d time.Duration, match func(Frame) bool) (Frame, error) {
	deadline := time.NewTimer(d)
	defer deadline.Stop()
	for seen := 0; ; {
		s.mu.Lock()
		fresh, more, err := s.frames[seen:], s.more, s.err
		s.mu.Unlock()
		for _, f := range fresh {
			if match(f) {
				return f, nil
			}
		}
		seen += len(fresh)
		if err != nil {
			return Frame{}, err
		}
		select {
		case <-more:
		case <-deadline.C:
			return Frame{}, fmt.Errorf("raw: not within %v", d)
		}
	}
}

// Ask sends a request with an id of its own and returns the answer to it, which may be an error frame.
func (s *Socket) Ask(request Object) (Frame, error) {
	s.mu.Lock()
	s.nextID++
	id := "q" + strconv.Itoa(s.nextID)
	s.mu.Unlock()
	q := Object{"id": id}
	for k, v := range request {
		q[k] = v
	}
	if err := s.Send(q); err != nil {
		return Frame{}, err
	}
	f, err := s.Await(Patience, func(f Frame) bool { return f.ID == id })
	if err != nil {
		return f, fmt.Errorf("raw: the answer to %v: %w", request["type"], err)
	}
	return f, nil
}

// Events returns the events of a chat in the order in which they came.
func (s *Socket) Events(chat string) []Frame {
	return s.Frames(func(f Frame) bool { return f.IsEvent() && f.Chat == chat })
}

// Closed waits at most d for the end of the socket and returns its close code: 1006 when there was no goodbye.
func (s *Socket) Closed(d time.Duration) (code int, err error) {
	deadline := time.NewTimer(d)
	defer deadline.Stop()
	select {
	case <-s.done:
	case <-deadline.C:
		return 0, fmt.Errorf("raw: still open after %v", d)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var ce *websocket.CloseError
	if errors.As(s.err, &ce) {
		return ce.Code, nil
	}
	return websocket.CloseAbnormalClosure, nil
}

// IsOpen tells whether the socket has not ended.
func (s *Socket) IsOpen() bool {
	select {
	case <-s.done:
		return false
	default:
		return true
	}
}

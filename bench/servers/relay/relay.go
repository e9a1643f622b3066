// Package relay is the WebSocket side of servers that exist only to be compared: who connects is believed to be the person that the
// address names, nothing is checked, and nothing kept. It speaks what chatmesh.v1 calls "send", "ack", "welcome" and "message".
package relay

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/gorilla/websocket"
)

// Message is what somebody sends. Its parts are valid until Route returns.
type Message struct {
	ID, Chat, ClientID, Text []byte
}

// Server takes connections at /ws?user=NAME and groups at /group?name=NAME&members=A,B,C.
type Server struct {
	// Plain writes as is usually done: each connection has a channel of 256 frames and a goroutine that writes them one by one.
	// Otherwise what waits for a connection is written at once, by a goroutine that lives as long as something does.
	Plain bool
	// Route is called with each message by the goroutine that reads the sender's connection.
	Route func(from *Client, m Message)
	// Joined and Left are called when a person comes and goes; nil is nothing to do.
	Joined, Left func(c *Client) error

	mu     sync.RWMutex
	people map[string]*Client  // guarded by mu
	groups map[string][]string // guarded by mu
}

// ServeHTTP is of http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	switch r.URL.Path {
	case "/group":
		s.mu.Lock()
		if s.groups == nil {
			s.groups = map[string][]string{}
		}
		s.groups[q.Get("name")] = strings.Split(q.Get("members"), ",")
		s.mu.Unlock()
	case "/ws":
		s.connect(w, r, q.Get("user"))
	default:
		http.NotFound(w, r)
	}
}

// Members are the people to whom an address leads, the sender left out: those of a group, or the one whom it names.
func (s *Server) Members(chat, sender string, each func(user string)) {
	s.mu.RLock()
	members, ok := s.groups[chat]
	s.mu.RUnlock()
	if !ok {
		each(chat)
		return
	}
	for _, m := range members {
		if m != sender {
			each(m)
		}
	}
}

// Deliver queues a frame for a person. Who is not connected does not get it.
func (s *Server) Deliver(user string, f Frame) {
	s.mu.RLock()
	c := s.people[user]
	s.mu.RUnlock()
	if c != nil {
		c.Write(f)
	}
}

func (s *Server) connect(w http.ResponseWriter, r *http.Request, user string) {
	up := websocket.Upgrader{}
	if !s.Plain {
		up = websocket.Upgrader{ReadBufferSize: 256, WriteBufferSize: 256, WriteBufferPool: &writeBuffers}
	}
	conn, err := up.Upgrade(w, r, nil)
	if err != nil {
		return // the client has been told
	}
	c := newClient(s, user, conn)
	if s.Joined != nil {
		if err := s.Joined(c); err != nil {
			c.close()
			return
		}
	}
	s.mu.Lock()
	if s.people == nil {
		s.people = map[string]*Client{}
	}
	s.people[user] = c
	s.mu.Unlock()
	c.Write(NewFrame([]byte(`{"type":"welcome"}`)))
	go c.live() // ends with the connection; what net/http has for it is freed
}

// live routes what comes until the connection ends, and takes the person out then.
func (c *Client) live() {
	c.read()
	s := c.server
	s.mu.Lock()
	if s.people[c.User] == c {
		delete(s.people, c.User)
	}
	s.mu.Unlock()
	if s.Left != nil {
		s.Left(c)
	}
	c.close()
}

var writeBuffers sync.Pool

// read routes what comes until the connection ends.
func (c *Client) read() {
	var b []byte
	for {
		_, r, err := c.conn.NextReader()
		if err != nil {
			return
		}
		if c.server.Plain {
			b, err = io.ReadAll(r)
		} else {
			b, err = readInto(b[:0], r)
		}
		if err != nil {
			return
		}
		m, err := parse(b)
		if err != nil {
			return
		}
		c.server.Route(c, m)
		if !c.server.Plain && cap(b) > 1024 {
			b = nil
		}
	}
}

func readInto(b []byte, r io.Reader) ([]byte, error) {
	if cap(b) == 0 {
		b = make([]byte, 0, 512)
	}
	for {
		n, err := r.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		if errors.Is(err, io.EOF) {
			return b, nil
		}
		if err != nil {
			return b, err
		}
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
	}
}

// parse reads a message as the driver encodes it: there is nothing to escape in any of its parts.
func parse(b []byte) (m Message, err error) {
	for _, part := range []struct {
		key string
		to  *[]byte
	}{{`{"type":"send","id":"`, &m.ID}, {`,"chat":"`, &m.Chat}, {`,"client_id":"`, &m.ClientID}, {`,"text":"`, &m.Text}} {
		rest, ok := bytes.CutPrefix(b, []byte(part.key))
		end := bytes.IndexByte(rest, '"')
		if !ok || end < 0 {
			return m, fmt.Errorf("relay: not a message: %.80q", b)
		}
		*part.to, b = rest[:end], rest[end+1:]
	}
	return m, nil
}

// Ack is the frame that acknowledges a message.
func (m Message) Ack() Frame {
	b := make([]byte, header, 64)
	b = append(b, `{"type":"ack","id":"`...)
	b = append(b, m.ID...)
	return seal(append(b, `"}`...))
}

// Delivery is the frame that delivers a message.
func (m Message) Delivery(sender string) Frame {
	b := make([]byte, header, header+len(m.Text)+len(m.Chat)+len(m.ClientID)+len(sender)+80)
	return seal(m.appendTo(b, sender))
}

// appendTo appends the content of the frame that delivers a message.
func (m Message) appendTo(b []byte, sender string) []byte {
	b = append(b, `{"type":"message","chat":"`...)
	b = append(b, m.Chat...)
	b = append(b, `","sender":"`...)
	b = append(b, sender...)
	b = append(b, `","client_id":"`...)
	b = append(b, m.ClientID...)
	b = append(b, `","text":"`...)
	b = append(b, m.Text...)
	return append(b, `"}`...)
}

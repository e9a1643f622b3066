package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

const (
	subprotocol = "chatmesh.v1"
	// handshakeTimeout bounds each of dialing and waiting for the welcome.
	handshakeTimeout = 15 * time.Second
	writeTimeout     = 15 * time.Second
	// maxOutgoing is how many frames wait for the socket; callers wait for a place.
	maxOutgoing = 64
	// maxHello is how many cursors a hello carries; the comparison with the list of chats finds the others.
	maxHello = 10_000
)

// link is one socket from its welcome to its end. It belongs to the run loop of a Conn.
type link struct {
	ws  *websocket.Conn
	out chan []byte
	// over is closed when the socket is not used any more.
	over chan struct{}

	mu      sync.Mutex
	nextID  uint64                 // guarded by mu
	waiting map[string]chan result // guarded by mu; each has room for its one result
}

// result is what a request ended with.
type result struct {
	answer answer
	err    error
}

// dial makes a socket, to the best edge where ask is set, and says hello, with a token. The error of a refused token satisfies final.
func dial(ctx context.Context, c *Client, ask bool, hello request) (*link, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	token, err := c.access(ctx)
	if err != nil {
		return nil, err
	}
	hello.Type, hello.Token = "hello", token
	ws, err := c.reach(ctx, ask)
	if err != nil {
		return nil, err
	}
	ws.SetReadLimit(maxAnswer)
	l := &link{ws: ws, out: make(chan []byte, maxOutgoing), over: make(chan struct{}), waiting: map[string]chan result{}}
	if err := l.hello(ctx, hello); err != nil {
		ws.Close()
		return nil, err
	}
	return l, nil
}

func (l *link) hello(ctx context.Context, r request) error {
	stop := context.AfterFunc(ctx, func() { l.ws.Close() })
	defer stop()
	for id := range r.Cursors {
		if len(r.Cursors) <= maxHello {
			break
		}
		delete(r.Cursors, id)
	}
	b, err := encode(r)
	if err != nil {
		return err
	}
	l.ws.SetWriteDeadline(time.Now().Add(writeTimeout))
	if err := l.ws.WriteMessage(websocket.TextMessage, b); err != nil {
		return fmt.Errorf("client: hello: %w", err)
	}
	l.ws.SetReadDeadline(time.Now().Add(handshakeTimeout))
	for {
		_, b, err := l.ws.ReadMessage()
		if err != nil {
			return fmt.Errorf("client: hello: %w", err)
		}
		var h head
		if err := decode(b, &h); err != nil {
			return err
		}
		switch h.Type {
		case "welcome":
			return nil
		case "error": // the close frame that follows says whether to come back
			var a answer
			if err := decode(b, &a); err != nil {
				return err
			}
			if e := a.refusal(); final(e) != nil {
				return e
			}
		}
	}
}

// write sends frames and pings until ctx ends or the socket fails.
func (l *link) write(ctx context.Context, pingEvery time.Duration) error {
	ping := time.NewTicker(pingEvery)
	defer ping.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return ctx.Err()
		case b := <-l.out:
			l.ws.SetWriteDeadline(time.Now().Add(writeTimeout))
			err = l.ws.WriteMessage(websocket.TextMessage, b)
		case <-ping.C:
			err = l.ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(writeTimeout))
		}
		if err != nil {
			return err
		}
	}
}

// send queues a frame that nothing waits for.
func (l *link) send(ctx context.Context, r request) error {
	b, err := encode(r)
	if err != nil {
		return err
	}
	select {
	case l.out <- b:
		return nil
	case <-l.over:
		return errLinkOver
	case <-ctx.Done():
		return ctx.Err()
	}
}

// call sends a request and waits for its answer, at most d. It fails with the refusal of the server, with errLinkOver, or
// with the error of ctx; errNoAnswer after d.
func (l *link) call(ctx context.Context, r request, d time.Duration) (answer, error) {
	done := make(chan result, 1)
	l.mu.Lock()
	l.nextID++
	r.ID = strconv.FormatUint(l.nextID, 10)
	l.waiting[r.ID] = done
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.waiting, r.ID)
	}()
	if err := l.send(ctx, r); err != nil {
		return answer{}, err
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case res := <-done:
		return res.answer, res.err
	case <-l.over:
		select {
		case res := <-done: // both were ready
			return res.answer, res.err
		default:
			return answer{}, errLinkOver
		}
	case <-ctx.Done():
		return answer{}, ctx.Err()
	case <-t.C:
		return answer{}, errNoAnswer
	}
}

// errNoAnswer ends a request that the server did not answer in time: whether it was handled is unknown.
var errNoAnswer = errors.New("client: no answer")

// settle gives the answer to whoever waits for it, and tells whether there was one.
func (l *link) settle(id string, r result) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	done := l.waiting[id]
	if done == nil {
		return false
	}
	delete(l.waiting, id)
	done <- r
	return true
}

// spread is a random part of the time over which a draining edge wants its clients to leave.
func spread(ms int64) time.Duration {
	d := min(time.Duration(ms)*time.Millisecond, time.Minute)
	return time.Duration(rand.Float64() * float64(max(d, 0)))
}

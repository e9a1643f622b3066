package client

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

// ConnConfig says how a Conn works. The zero value is good.
type ConnConfig struct {
	// Cursors are where the device stands: the seq of the last event that it has of each chat. Chats without one begin at
	// their present end, or where the person became a member later.
	Cursors map[chat.ID]chat.Seq
	// Receipts asks to be told what was delivered to whom.
	Receipts bool
	// Queue is how many events may wait for Next; zero is 1,024.
	Queue int
	// InFlight is how many requests may wait for their answers; further callers wait. Zero is 256.
	InFlight int
	// PingEvery is how often an idle connection is tried; one that is silent for two and a half times as long is made
	// anew. Zero is 20 s.
	PingEvery time.Duration
	// AnswerWithin is how long an answer may take before the same is asked again; zero is 25 s.
	AnswerWithin time.Duration
}

// Conn is a device's live connection, made again whenever it is lost. Its methods may be used by many goroutines at the
// same time, Next by one. Its goroutines are the run loop and, for each socket, a writer and a filler; Close waits for all.
type Conn struct {
	client *Client
	cfg    ConnConfig
	box    *inbox
	slots  chan struct{} // one token for each request in flight

	cancel context.CancelFunc
	// ended is closed after the run loop returned, with err set before.
	ended chan struct{}
	err   error
	// settled is closed when the list of chats was compared for the first time.
	settled     chan struct{}
	settledOnce sync.Once

	mu      sync.Mutex
	link    *link                    // guarded by mu; nil while offline
	changed chan struct{}            // guarded by mu; closed and replaced when link changes
	watched map[chat.UserID]struct{} // guarded by mu
	idle    bool                     // guarded by mu; nobody is at the device
	// revision of the preferences that were told last; guarded by mu.
	revision uint64
}

// Connect makes a connection and returns when it is welcome and knows the chats: whatever is sent to them from then on
// comes by Next. It tries until ctx ends, which afterwards has no influence on the Conn, and fails at once when the server
// refuses the token.
func (c *Client) Connect(ctx context.Context, cfg ConnConfig) (*Conn, error) {
	if cfg.Queue <= 0 {
		cfg.Queue = 1024
	}
	if cfg.InFlight <= 0 {
		cfg.InFlight = 256
	}
	if cfg.PingEvery <= 0 {
		cfg.PingEvery = 20 * time.Second
	}
	if cfg.AnswerWithin <= 0 {
		cfg.AnswerWithin = 25 * time.Second
	}
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	conn := &Conn{client: c, cfg: cfg, box: newInbox(c.user.ID, cfg.Queue, cfg.Cursors),
		slots: make(chan struct{}, cfg.InFlight), cancel: cancel, ended: make(chan struct{}), settled: make(chan struct{}),
		changed: make(chan struct{}), watched: map[chat.UserID]struct{}{}}
	go conn.run(run)
	select {
	case <-conn.settled:
		return conn, nil
	case <-conn.ended:
		cancel()
		return nil, conn.err
	case <-ctx.Done():
		conn.Close()
		return nil, ctx.Err()
	}
}

// Close ends the connection and waits for its goroutines. Updates that wait can still be read with Next.
func (c *Conn) Close() error {
	c.cancel()
	<-c.ended
	return nil
}

// Next returns the next update, waiting for one. After the end of the Conn it returns what still waits, then ErrClosed, or
// why the server wants us no more: a *CloseError or a *chat.Error.
func (c *Conn) Next(ctx context.Context) (Update, error) {
	for {
		if u, ok := c.box.take(); ok {
			return u, nil
		}
		select {
		case <-c.box.arrived:
		case <-ctx.Done():
			return Update{}, ctx.Err()
		case <-c.ended:
			if u, ok := c.box.take(); ok {
				return u, nil
			}
			return Update{}, c.err
		}
	}
}

// Cursors returns the seq of the last event of each chat that Next returned: what a device keeps to go on from.
func (c *Conn) Cursors() map[chat.ID]chat.Seq { return c.box.cursors(true) }

// run makes one link after the other until it is told to stop or the server wants us no more.
func (c *Conn) run(ctx context.Context) {
	defer close(c.ended)
	var wait backoff
	away := false
	for {
		var delay time.Duration
		l, err := dial(ctx, c.client, away, request{Cursors: c.box.cursors(false), Receipts: c.cfg.Receipts})
		if err == nil {
			began := time.Now()
			delay, err = c.live(ctx, l)
			if time.Since(began) > backoffCap {
				wait.reset()
			}
			c.box.put(Update{Link: &Link{Err: err}})
		}
		away = delay > 0 || sentAway(err)
		if ctx.Err() != nil {
			c.err = ErrClosed
			return
		}
		if c.err = final(err); c.err != nil {
			return
		}
		if delay == 0 {
			delay = wait.next()
		}
		if sleep(ctx, delay) != nil {
			c.err = ErrClosed
			return
		}
	}
}

// live uses a link until it ends and says why, and after which delay the next one is due; zero leaves that to the caller.
func (c *Conn) live(ctx context.Context, l *link) (time.Duration, error) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() {
		l.write(ctx, c.cfg.PingEvery) // why it failed is seen and told by the read loop
		if ctx.Err() != nil {         // a goodbye to an edge that is still there
			l.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""),
				time.Now().Add(time.Second))
		}
		l.ws.Close()
	})
	wg.Go(func() { c.fill(ctx, l) })

	c.setLink(l)
	c.box.resync("")
	c.box.put(Update{Link: &Link{Online: true}})
	c.rewatch(ctx, l)
	d, err := c.read(l, cancel)
	c.setLink(nil)
	close(l.over)
	return d, err
}

// read handles what comes until the socket ends.
func (c *Conn) read(l *link, leave func()) (delay time.Duration, err error) {
	silence := c.cfg.PingEvery*5/2 + time.Second
	alive := func() { l.ws.SetReadDeadline(time.Now().Add(silence)) }
	l.ws.SetPongHandler(func(string) error { alive(); return nil })
	answerPing := l.ws.PingHandler()
	l.ws.SetPingHandler(func(s string) error { alive(); return answerPing(s) })
	var departure *time.Timer // set by the first draining
	var due time.Time
	for {
		alive()
		_, b, err := l.ws.ReadMessage()
		if err != nil {
			if departure != nil {
				departure.Stop()
				delay = max(time.Until(due), time.Millisecond)
			}
			return delay, err
		}
		ms, err := c.handle(l, b)
		if err != nil {
			return 0, err
		}
		if ms == 0 {
			continue
		}
		d := spread(ms)
		switch at := time.Now().Add(d); {
		case departure == nil:
			due, departure = at, time.AfterFunc(d, leave)
		case at.Before(due): // it has become more urgent
			due = at
			departure.Reset(d)
		}
	}
}

// handle takes one frame. It returns a positive drain when the edge is going away.
func (c *Conn) handle(l *link, b []byte) (drain int64, err error) {
	var h head
	if err := decode(b, &h); err != nil {
		return 0, err
	}
	switch h.Type {
	case "message", "chat", "edit", "deletion", "reaction":
		e := new(chat.Event)
		if err := decode(b, e); err != nil {
			return 0, err
		}
		c.box.live(e)
	case "ack", "page", "pong", "error":
		var a answer
		if err := decode(b, &a); err != nil {
			return 0, err
		}
		r := result{answer: a}
		if h.Type == "error" {
			r.err = a.refusal()
		}
		if !l.settle(h.ID, r) && h.Type == "error" {
			c.box.put(Update{Refusal: a.refusal()})
		}
	case "read":
		var r Read
		if err := decode(b, &r); err != nil {
			return 0, err
		}
		c.box.put(Update{Read: &r})
	case "delivered":
		var d Delivered
		if err := decode(b, &d); err != nil {
			return 0, err
		}
		c.box.put(Update{Delivered: &d})
	case "profile":
		var p struct {
			User User `json:"user"`
		}
		if err := decode(b, &p); err != nil {
			return 0, err
		}
		c.box.put(Update{Profile: &p.User})
	case "settings":
		var s SettingsUpdate
		if err := decode(b, &s); err != nil {
			return 0, err
		}
		c.box.put(Update{Settings: &s})
	case "hidden":
		var h Hidden
		if err := decode(b, &h); err != nil {
			return 0, err
		}
		c.box.put(Update{Hidden: &h})
	case "resync":
		var r struct {
			Chat chat.ID `json:"chat"`
		}
		if err := decode(b, &r); err != nil {
			return 0, err
		}
		c.box.resync(r.Chat)
	case "draining":
		var d struct {
			After int64 `json:"reconnect_after_ms"`
		}
		if err := decode(b, &d); err != nil {
			return 0, err
		}
		return max(d.After, 1), nil
	}
	_, err = c.person(h.Type, b) // or a type of a later version of the protocol
	return 0, err
}

func (c *Conn) setLink(l *link) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.link = l
	close(c.changed)
	c.changed = make(chan struct{})
}

// current returns the link, waiting for one.
func (c *Conn) current(ctx context.Context) (*link, error) {
	for {
		c.mu.Lock()
		l, changed := c.link, c.changed
		c.mu.Unlock()
		if l != nil {
			return l, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-c.ended:
			return nil, c.err
		}
	}
}

// lost tells whether a request failed in a way that leaves open whether the server handled it.
func lost(err error) bool { return errors.Is(err, errLinkOver) || errors.Is(err, errNoAnswer) }

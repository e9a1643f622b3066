package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/chatmesh/chatmesh/e2e/history"
	"github.com/chatmesh/chatmesh/e2e/raw"
)

// soakDevice is a device of somebody: it connects with its cursors, comes back when its connection ends, and syncs where it must.
type soakDevice struct {
	s    *soak
	p    *person
	edge int // which edge it prefers
	rand *rand.Rand

	mu      sync.Mutex // guards the following fields
	cursors map[string]uint64
	link    *soakLink     // nil while there is none
	changed chan struct{} // closed and replaced when link changes
}

// soakLink is one connection of a device.
type soakLink struct {
	d    *soakDevice
	sock *raw.Socket
	conn *history.Conn
	// welcomed and down are closed when the server has taken the connection, and when it has ended.
	welcomed, down chan struct{}

	mu      sync.Mutex // guards the following fields
	next    int
	waiting map[string]chan raw.Frame
	toSync  map[string]bool
	more    chan struct{} // holds one when toSync has grown
}

var errDown = errors.New("the connection has ended")

// run keeps the device connected until ctx ends.
func (d *soakDevice) run(ctx context.Context) {
	for attempt := 0; ctx.Err() == nil; attempt++ {
		l, err := d.connect(ctx, d.s.edgeFor(d.edge+attempt))
		if err == nil {
			d.use(l)
			select {
			case <-ctx.Done(): // still open at the end of the run
			case <-l.down:
			}
			d.use(nil)
			l.sock.Close()
			attempt = -1
		}
		d.s.pause(ctx, 50*time.Millisecond, 300*time.Millisecond)
	}
}

func (d *soakDevice) use(l *soakLink) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.link = l
	close(d.changed)
	d.changed = make(chan struct{})
}

// current waits for a connection.
func (d *soakDevice) current(ctx context.Context) (*soakLink, error) {
	for {
		d.mu.Lock()
		l, changed := d.link, d.changed
		d.mu.Unlock()
		if l != nil {
			return l, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// connect makes a connection and waits until the server has taken it.
func (d *soakDevice) connect(ctx context.Context, base string) (*soakLink, error) {
	dialCtx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	sock, _, err := raw.Dial(dialCtx, base, nil)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	if d.rand.IntN(20) == 0 {
		d.cursors = map[string]uint64{} // the app was installed again
	}
	cursors := make(map[string]uint64, len(d.cursors))
	for chat, seq := range d.cursors {
		cursors[chat] = seq
	}
	d.mu.Unlock()
	l := &soakLink{d: d, sock: sock, conn: d.s.h.Open(d.s.h.Now(), d.p.id, cursors).On(fmt.Sprint(d.p.id, "/", d.edge)), welcomed: make(chan struct{}), down: make(chan struct{}),
		waiting: map[string]chan raw.Frame{}, toSync: map[string]bool{}, more: make(chan struct{}, 1)}
	d.s.background.Go(l.read)
	d.s.background.Go(l.syncAll)
	err = sock.Send(raw.Object{"type": "hello", "token": d.p.access, "cursors": cursors})
	if err == nil {
		select {
		case <-l.welcomed:
			return l, nil
		case <-l.down:
			err = errDown
		case <-time.After(soakPatience):
			err = errors.New("no welcome")
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	sock.Close()
	<-l.down
	return nil, err
}

// read takes every frame until the connection ends.
func (l *soakLink) read() {
	_, _ = l.sock.Await(24*time.Hour, func(f raw.Frame) bool { // its error is the end
		l.take(f)
		return false
	})
	if !l.d.s.over() {
		l.conn.Closed(l.d.s.h.Now())
	}
	close(l.down)
}

func (l *soakLink) take(f raw.Frame) {
	now := l.d.s.h.Now()
	switch f.Type {
	case "welcome":
		l.conn.Welcomed(now)
		close(l.welcomed)
	case "message", "chat", "edit", "deletion", "reaction":
		l.conn.Delivered(now, seen(f))
		l.d.s.remember(f)
		l.d.saw(l, f)
	case "resync":
		l.conn.Resync(now, f.Chat)
		if f.Chat != "" {
			l.sync(f.Chat)
			return
		}
		for _, c := range l.d.s.chats {
			l.sync(c.id)
		}
	case "read":
		l.conn.Cursor(now, f.Chat, f.User(), f.Seq)
	case "draining":
		l.d.s.draining.Add(1)
	case "ack", "page", "error", "pong":
		l.mu.Lock()
		answer := l.waiting[f.ID]
		delete(l.waiting, f.ID)
		l.mu.Unlock()
		if answer != nil {
			answer <- f
		}
	}
}

// ask sends a request and waits for its answer.
func (l *soakLink) ask(ctx context.Context, request raw.Object) (raw.Frame, error) {
	answer := make(chan raw.Frame, 1)
	l.mu.Lock()
	l.next++
	id := strconv.Itoa(l.next)
	l.waiting[id] = answer
	l.mu.Unlock()
	request["id"] = id
	if err := l.sock.Send(request); err != nil {
		return raw.Frame{}, err
	}
	late := time.NewTimer(soakPatience)
	defer late.Stop()
	select {
	case f := <-answer:
		return f, nil
	case <-l.down:
		return raw.Frame{}, errDown
	case <-late.C:
		return raw.Frame{}, errors.New("no answer")
	case <-ctx.Done():
		return raw.Frame{}, ctx.Err()
	}
}

// saw moves the cursor, as a client does: by one, or by a sync where something is missing.
func (d *soakDevice) saw(l *soakLink, f raw.Frame) {
	d.mu.Lock()
	cursor, known := d.cursors[f.Chat]
	if !known || f.Seq == cursor+1 {
		d.cursors[f.Chat] = f.Seq
	}
	d.mu.Unlock()
	if known && f.Seq > cursor+1 {
		l.sync(f.Chat)
	}
}

func (d *soakDevice) cursor(chat string) uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.cursors[chat]
}

// sync has a chat synced.
func (l *soakLink) sync(chat string) {
	l.mu.Lock()
	l.toSync[chat] = true
	l.mu.Unlock()
	select {
	case l.more <- struct{}{}:
	default:
	}
}

// syncAll syncs chats as they come up, until the connection ends.
func (l *soakLink) syncAll() {
	for {
		select {
		case <-l.down:
			return
		case <-l.more:
		}
		l.mu.Lock()
		chats := l.toSync
		l.toSync = map[string]bool{}
		l.mu.Unlock()
		for chat := range chats {
			if !l.syncChat(chat) {
				time.Sleep(100 * time.Millisecond)
				l.sync(chat)
			}
		}
	}
}

// syncChat syncs from the cursor and tells whether it need not be tried again.
func (l *soakLink) syncChat(chat string) bool {
	for {
		after := l.d.cursor(chat)
		p := history.Page{Begin: l.d.s.h.Now(), Chat: chat, User: l.d.p.id, After: after}
		f, err := l.ask(context.Background(), raw.Object{"type": "sync", "chat": chat, "after": after})
		switch {
		case errors.Is(err, errDown):
			return true // the next connection brings it
		case err != nil || f.Type == "error" && f.Code == "unavailable":
			return false
		case f.Type != "page":
			l.d.s.refused("sync", f.Code)
			return true
		}
		p.End, p.HasMore = l.d.s.h.Now(), f.HasMore
		for _, e := range f.Messages {
			p.Events = append(p.Events, seen(e))
		}
		l.conn.Page(p)
		l.d.mu.Lock()
		if n := len(f.Messages); n > 0 {
			l.d.cursors[chat] = max(l.d.cursors[chat], f.Messages[n-1].Seq)
		}
		l.d.mu.Unlock()
		if !f.HasMore {
			return true
		}
	}
}

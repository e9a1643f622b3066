package edge

import (
	"context"
	"errors"
	"time"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// pageBytes bounds the bodies of one page, so that a page of large messages stays a frame that can be held.
const pageBytes = 1 << 20

// request takes a frame after hello. What is answered from here is answered at once; the rest waits its turn, so that the
// requests of a connection are carried out one after the other. It returns false when the connection is to end.
func (c *conn) request(data []byte) bool {
	r, err := wire.ParseRequest(data)
	if errors.Is(err, wire.ErrNotProtocol) {
		c.refuse(nil, chat.Errorf(chat.BadRequest, "not a JSON object"))
		c.finish(wire.CloseProtocol, "not the protocol")
		return false
	}
	if err != nil {
		c.refuse(r.ID, err)
		return true
	}
	if acts(r.Type) {
		c.act()
	}
	switch r.Type {
	case wire.TypeIdle:
		if err := c.allow(r.Type); err != nil {
			c.refuse(r.ID, err)
			break
		}
		c.beIdle(r)
	case wire.TypePing:
		if err := c.allow(r.Type); err != nil {
			c.refuse(r.ID, err)
			break
		}
		c.send(struct {
			Type string         `json:"type"`
			ID   wire.RequestID `json:"id,omitempty"`
		}{wire.TypePong, r.ID})
	case wire.TypeSend, wire.TypeEdit, wire.TypeDelete, wire.TypeReact, wire.TypePin, wire.TypeSync, wire.TypeRead, wire.TypeDelivered, wire.TypeTyping, wire.TypeWatch:
		c.later(r)
	case wire.TypeHello:
		c.refuse(r.ID, chat.Errorf(chat.BadRequest, "hello comes once"))
	default:
		c.refuse(r.ID, chat.Errorf(chat.BadRequest, "unknown type"))
	}
	return true
}

// later queues a request. When too many wait, the reader waits too, and with it the socket.
func (c *conn) later(r wire.Request) {
	c.mu.Lock()
	for len(c.jobs) >= jobsWaiting && !c.dead {
		if c.room == nil {
			c.room = make(chan struct{}, 1)
		}
		room := c.room
		c.mu.Unlock()
		<-room
		c.mu.Lock()
	}
	if c.closeAfter != 0 { // the edge is going away: what is taken now would keep it
		c.mu.Unlock()
		c.refuse(r.ID, chat.Retry(chat.Unavailable, retryElsewhere, "this edge is going away"))
		return
	}
	defer c.mu.Unlock()
	if c.dead {
		return
	}
	if r.Type == wire.TypeDelivered {
		c.receipts = true // who tells understands what others tell
	}
	c.jobs = append(c.jobs, r)
	if !c.working {
		c.working = true
		c.s.wg.Add(1)
		go c.carryOut()
	}
}

// carryOut answers what waits, and ends when nothing does.
func (c *conn) carryOut() {
	defer c.s.wg.Done()
	var batch []wire.Request
	for {
		c.mu.Lock()
		if len(c.jobs) == 0 || c.dead {
			c.working, c.jobs = false, nil
			if c.closeAfter != 0 && c.closing == 0 && !c.dead {
				c.close(int(c.closeAfter), c.closeReason)
			}
			c.signal()
			c.mu.Unlock()
			return
		}
		n := plainSends(c.jobs)
		batch = append(batch[:0], c.jobs[:max(n, 1)]...)
		rest := copy(c.jobs, c.jobs[len(batch):])
		clear(c.jobs[rest:])
		c.jobs = c.jobs[:rest]
		c.signal()
		c.mu.Unlock()
		ctx, cancel := context.WithTimeout(c.s.work, requestTimeout)
		if n > 1 {
			c.sendAll(ctx, batch)
		} else {
			c.handle(ctx, batch[0])
		}
		cancel()
		clear(batch)
	}
}

// signal lets the reader look again. mu is held.
func (c *conn) signal() {
	if c.room == nil {
		return
	}
	select {
	case c.room <- struct{}{}:
	default:
	}
}

// handle carries out one request and answers it.
func (c *conn) handle(ctx context.Context, r wire.Request) {
	start := time.Now()
	err := c.allow(r.Type)
	if err != nil {
		c.refuse(r.ID, err)
		return
	}
	switch r.Type {
	case wire.TypeSend:
		err = c.sendMessage(ctx, &r)
	case wire.TypeEdit, wire.TypeDelete, wire.TypeReact, wire.TypePin:
		err = c.change(ctx, r)
	case wire.TypeSync:
		err = c.sync(ctx, r)
	case wire.TypeRead, wire.TypeDelivered:
		err = c.mark(ctx, r)
	case wire.TypeTyping:
		err = c.typing(ctx, r)
	case wire.TypeWatch:
		err = c.watch(ctx, r)
	}
	if err != nil {
		c.refuse(r.ID, err)
	}
	c.s.m.requests.WithLabelValues(r.Type).Observe(time.Since(start).Seconds())
}

// sync answers with a page of what comes after a seq.
func (c *conn) sync(ctx context.Context, r wire.Request) error {
	id, err := chat.ParseID(r.Chat)
	if err != nil {
		return err
	}
	if r.Limit < 0 {
		return chat.Errorf(chat.BadRequest, "limit is not negative")
	}
	if r.Limit == 0 || r.Limit > chat.MaxPage {
		r.Limit = chat.MaxPage
	}
	// Head and membership of one moment: what is appended after a removal is not shown.
	snap, err := c.s.c.Log.Snapshot(ctx, id)
	if err != nil {
		return err
	}
	if _, member := snap.State.Member(c.id.User); !member {
		return chat.Errorf(chat.NotFound, "no such chat")
	}
	page, err := c.s.c.Log.Page(ctx, id, store.Range{After: r.After, Before: snap.Head.Seq + 1, Forward: true,
		Limit: r.Limit, MaxBytes: pageBytes})
	if err != nil {
		return err
	}
	f := page.Frame()
	f.Type, f.ID, f.Chat = wire.TypePage, r.ID, id
	c.send(f)
	return nil
}

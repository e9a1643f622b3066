package edge

import (
	"context"
	"errors"
	"time"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/subject"
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
	switch r.Type {
	case wire.TypePing:
		c.send(struct {
			Type string         `json:"type"`
			ID   wire.RequestID `json:"id,omitempty"`
		}{wire.TypePong, r.ID})
	case wire.TypeSend, wire.TypeSync, wire.TypeRead, wire.TypeTyping, wire.TypeWatch:
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
		c.refuse(r.ID, chat.Retry(chat.Unavailable, reconnectSpread, "this edge is going away"))
		return
	}
	defer c.mu.Unlock()
	if c.dead {
		return
	}
	if n := len(c.jobs) - 1; r.Type == wire.TypeRead && n >= 0 && c.jobs[n].Type == wire.TypeRead && len(r.ID) == 0 &&
		len(c.jobs[n].ID) == 0 && c.jobs[n].Chat == r.Chat {
		c.jobs[n].Seq = max(c.jobs[n].Seq, r.Seq) // one write does for both
		return
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
	for {
		c.mu.Lock()
		if len(c.jobs) == 0 || c.dead {
			c.working, c.jobs = false, nil
			if c.closeAfter != 0 && c.closing == 0 && !c.dead {
				c.close(c.closeAfter, c.closeReason)
			}
			c.signal()
			c.mu.Unlock()
			return
		}
		r := c.jobs[0]
		c.jobs = c.jobs[1:]
		c.signal()
		c.mu.Unlock()
		ctx, cancel := context.WithTimeout(c.s.work, requestTimeout)
		c.handle(ctx, r)
		cancel()
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
	var err error
	switch r.Type {
	case wire.TypeSend:
		err = c.sendMessage(ctx, r)
	case wire.TypeSync:
		err = c.sync(ctx, r)
	case wire.TypeRead:
		err = c.markRead(ctx, r)
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

func (c *conn) sendMessage(ctx context.Context, r wire.Request) error {
	id, err := chat.ParseID(r.Chat)
	if err != nil {
		return err
	}
	client, err := chat.ParseClientID(r.ClientID)
	if err != nil {
		return err
	}
	if err := chat.CheckText(r.Text); err != nil {
		return err
	}
	if ok, wait := c.s.sends.Allow(string(c.id.User)); !ok {
		return chat.Retry(chat.RateLimited, wait, "too many messages")
	}
	receipt, err := c.s.c.Log.Append(ctx, id, chat.Send{Sender: c.id.User, ClientID: client, Text: r.Text})
	if err != nil {
		return err
	}
	c.send(wire.Ack{Type: wire.TypeAck, ID: r.ID, Chat: id, ClientID: client, Seq: receipt.Seq, SentAt: &receipt.SentAt,
		Duplicate: receipt.Duplicate})
	return nil
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

func (c *conn) markRead(ctx context.Context, r wire.Request) error {
	id, err := chat.ParseID(r.Chat)
	if err != nil {
		return err
	}
	if _, err := c.s.c.Log.MarkRead(ctx, id, c.id.User, r.Seq); err != nil {
		return err
	}
	if len(r.ID) > 0 {
		c.send(wire.Ack{Type: wire.TypeAck, ID: r.ID, Chat: id, Seq: r.Seq})
	}
	return nil
}

// typing tells the other members, who are online or not: nothing of it is kept.
func (c *conn) typing(ctx context.Context, r wire.Request) error {
	id, err := chat.ParseID(r.Chat)
	if err != nil {
		return err
	}
	snap, err := c.s.c.Log.Snapshot(ctx, id)
	if err != nil {
		return err
	}
	if _, member := snap.State.Member(c.id.User); !member {
		return chat.Errorf(chat.NotFound, "no such chat")
	}
	if ok, _ := c.s.typings.Allow(string(c.id.User)); ok { // too much of it is dropped without a word
		frame := wire.Encode(wire.Typing{Type: wire.TypeTyping, Chat: id, User: c.id.User})
		for _, m := range snap.State.Members {
			if m.UserID != c.id.User {
				if err := c.s.c.Bus.Conn().Publish(subject.User(m.UserID), frame); err != nil {
					return chatUnavailable()
				}
			}
		}
	}
	if len(r.ID) > 0 {
		c.send(wire.Ack{Type: wire.TypeAck, ID: r.ID, Chat: id})
	}
	return nil
}

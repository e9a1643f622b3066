package client

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

// maxWatch is how many people one watch frame names.
const maxWatch = 100

// request makes a request until it is answered, over as many links as it takes. It must be one that may be handled twice.
func (c *Conn) request(ctx context.Context, r request) (answer, error) {
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-ctx.Done():
		return answer{}, ctx.Err()
	case <-c.ended:
		return answer{}, c.err
	}
	var wait backoff
	for {
		l, err := c.current(ctx)
		if err != nil {
			return answer{}, err
		}
		a, err := l.call(ctx, r, c.cfg.AnswerWithin)
		switch {
		case err == nil:
			return a, nil
		case lost(err):
			// A link that is over is not current any more; one that is alive is asked again.
		case transient(err) && ctx.Err() == nil:
			if err := sleep(ctx, chat.AsError(err).RetryAfter+wait.next()); err != nil {
				return answer{}, err
			}
		default:
			return answer{}, err
		}
	}
}

// Send sends a message and returns its receipt once it is durable. It is repeated with the same client id over lost
// connections and for errors that pass, until ctx ends; then the message may stand in the chat or not, and the same
// Outgoing may be sent again. It fails with chat.NotFound, chat.BadRequest or chat.TooLong.
func (c *Conn) Send(ctx context.Context, m Outgoing) (Receipt, error) {
	if err := m.complete(); err != nil {
		return Receipt{}, err
	}
	a, err := c.request(ctx, request{Type: "send", Chat: m.Chat, ClientID: m.ClientID, Text: m.Text, ReplyTo: m.ReplyTo, Mentions: m.Mentions})
	if err != nil {
		return Receipt{}, err
	}
	return Receipt{Chat: m.Chat, ClientID: m.ClientID, Seq: a.Seq, SentAt: a.SentAt, Duplicate: a.Duplicate}, nil
}

// MarkRead moves the caller's read cursor forward to seq. It fails with chat.NotFound, or chat.BadRequest for a seq beyond
// the last.
func (c *Conn) MarkRead(ctx context.Context, id chat.ID, seq chat.Seq) error {
	_, err := c.request(ctx, request{Type: "read", Chat: id, Seq: seq})
	return err
}

// MarkDelivered says that this device has a chat up to seq. It fails as MarkRead does. From then on Delivered of others comes by Next,
// but over a connection that is made anew only with ConnConfig.Receipts.
func (c *Conn) MarkDelivered(ctx context.Context, id chat.ID, seq chat.Seq) error {
	_, err := c.request(ctx, request{Type: "delivered", Chat: id, Seq: seq})
	return err
}

// Sync returns the events of a chat after a seq, oldest first, at most limit or, with zero, as many as the server gives.
// It fails with chat.NotFound. The Conn itself needs no help to deliver what it missed.
func (c *Conn) Sync(ctx context.Context, id chat.ID, after chat.Seq, limit int) (Page, error) {
	a, err := c.request(ctx, request{Type: "sync", Chat: id, After: &after, Limit: limit})
	return Page{Messages: a.Messages, HasMore: a.HasMore}, err
}

// Ping asks the server for a sign of life and returns how long it took.
func (c *Conn) Ping(ctx context.Context) (time.Duration, error) {
	began := time.Now()
	_, err := c.request(ctx, request{Type: "ping"})
	return time.Since(began), err
}

// Watch asks for the presence of users, which comes by Next: once now and on each change, also over lost connections. Those
// who share no chat with the caller are never told of.
func (c *Conn) Watch(ctx context.Context, users ...chat.UserID) error {
	c.mu.Lock()
	for _, u := range users {
		c.watched[u] = struct{}{}
	}
	l := c.link
	c.mu.Unlock()
	if l == nil {
		return nil // the next link watches them all
	}
	if err := watch(ctx, l, users); err != nil && !lost(err) {
		return err
	}
	return nil
}

func watch(ctx context.Context, l *link, users []chat.UserID) error {
	for part := range slices.Chunk(users, maxWatch) {
		l.mu.Lock()
		l.nextID++
		id := l.nextID
		l.mu.Unlock()
		if err := l.send(ctx, request{Type: "watch", ID: strconv.FormatUint(id, 10), Users: part}); err != nil {
			return err
		}
	}
	return nil
}

// rewatch tells a new link whom the device watches, and whether somebody is there. It is called by the run loop before it reads.
func (c *Conn) rewatch(ctx context.Context, l *link) {
	c.mu.Lock()
	users := make([]chat.UserID, 0, len(c.watched))
	for u := range c.watched {
		users = append(users, u)
	}
	c.mu.Unlock()
	_ = watch(ctx, l, users) // it fails with the link only, and the next link does it again
	c.idleAgain(ctx, l)
}

// fill does what the inbox lists as missing until ctx or the link ends.
func (c *Conn) fill(ctx context.Context, l *link) {
	var wait backoff
	for {
		t, ok := c.box.next()
		if !ok {
			select {
			case <-c.box.work:
			case <-ctx.Done():
				return
			case <-l.over:
				return
			}
			continue
		}
		pause, err := c.perform(ctx, l, t)
		switch {
		case lost(err) && isOver(l), ctx.Err() != nil:
			return
		case err != nil:
			pause = max(chat.AsError(err).RetryAfter, 50*time.Millisecond) + wait.next()
		default:
			wait.reset()
		}
		if sleep(ctx, pause) != nil {
			return
		}
	}
}

func isOver(l *link) bool {
	select {
	case <-l.over:
		return true
	default:
		return false
	}
}

// perform does one task and returns how long the filler should rest.
func (c *Conn) perform(ctx context.Context, l *link, t task) (time.Duration, error) {
	if t.compare {
		var all []Chat
		for cursor := ""; ; {
			chats, next, err := c.client.Chats(ctx, cursor, 0)
			if err != nil {
				return 0, err
			}
			all = append(all, chats...)
			if cursor = next; next == "" || len(chats) == 0 {
				break
			}
		}
		c.box.list(all)
		c.settledOnce.Do(func() { close(c.settled) })
		return 0, nil
	}
	a, err := l.call(ctx, request{Type: "sync", Chat: t.chat, After: &t.after, Limit: t.limit}, c.cfg.AnswerWithin)
	if chat.Is(err, chat.NotFound) || chat.Is(err, chat.BadRequest) {
		c.box.gone(t.chat)
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	if c.box.page(t.chat, a.Messages, a.HasMore) {
		return fruitlessPause, nil
	}
	return 0, nil
}

// fruitlessPause is the rest after a sync that brought nothing although there should be something.
const fruitlessPause = 300 * time.Millisecond

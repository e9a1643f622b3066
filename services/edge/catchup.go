package edge

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// Bounds of a catch-up.
const (
	// cursorsMax is how many cursors a hello may carry, cursorsAtOnce how many chats' heads are read, and told, together. With a head
	// comes the last event, so they are few.
	cursorsMax    = 4096
	cursorsAtOnce = 64
	// catchUpEvents and catchUpBytes bound what is sent to one connection, chatBytes what of one chat, beside chat.MaxPage events. For
	// what is beyond, the client is told to sync: it asks for pages when it wants them.
	catchUpEvents = 5000
	catchUpBytes  = 4 << 20
	chatBytes     = 1 << 20
	// readBytes is how much is read at once, and queueLow, queueFew how much may wait to be written before more is read: so much
	// memory does a catch-up take, but for a single event that is larger.
	readBytes = 256 << 10
	queueLow  = 256 << 10
	queueFew  = outFrames / 4
	// catchUpsAtOnce is how many catch-ups an edge does at once; catchUpWait how long a further one waits for its turn before the
	// client is told to sync, catchUpTime how long one takes, slowReader how long it waits for a client that does not read.
	catchUpsAtOnce = 64
	catchUpWait    = 10 * time.Second
	catchUpTime    = 8 * time.Second
	slowReader     = 3 * time.Second
)

// behind is a chat of which a client misses events: those above cursor, up to head.
type behind struct {
	id     chat.ID
	cursor chat.Seq
	head   chat.Seq
	at     chat.Time
}

// catchUp tells what the cursors of hello miss: first the heads of all, to those who asked, then the events, beginning with the chat
// that was active last. The person's subject is subscribed already, and what comes live of a chat is kept back until its turn
// is over, less what it was sent then: so nothing is lost between reading and listening.
func (c *conn) catchUp(hello wire.Request, ids []chat.ID) {
	if len(ids) == 0 {
		return
	}
	turn := time.NewTimer(catchUpWait)
	defer turn.Stop()
	c.s.m.catchUpsWaiting.Inc()
	select {
	case c.s.catchUps <- struct{}{}:
		c.s.m.catchUpsWaiting.Dec()
		defer func() { <-c.s.catchUps }()
	case <-turn.C:
		c.s.m.catchUpsWaiting.Dec()
		for _, id := range ids {
			c.untold(id)
		}
		return
	case <-c.s.work.Done():
		c.s.m.catchUpsWaiting.Dec()
		return
	}
	c.s.m.catchUps.Inc()
	defer c.s.m.catchUps.Dec()
	ctx, cancel := context.WithTimeout(c.s.work, catchUpTime)
	defer cancel()
	late, untold := c.heads(ctx, hello, ids)
	for _, id := range untold {
		c.untold(id)
	}
	slices.SortFunc(late, func(a, b behind) int { return cmp.Or(b.at.Compare(a.at.Time), cmp.Compare(a.id, b.id)) })
	events, bytes := catchUpEvents, catchUpBytes
	for _, b := range late {
		c.catchUpChat(ctx, b, &events, &bytes)
	}
}

// heads reads, and tells if that is wanted, the heads of chats. It returns those of which events are missed, and those of which nothing
// can be told; the others are done with.
func (c *conn) heads(ctx context.Context, hello wire.Request, ids []chat.ID) (late []behind, untold []chat.ID) {
	for some := range slices.Chunk(ids, cursorsAtOnce) {
		snaps, err := c.s.c.Log.Snapshots(ctx, some)
		if err != nil {
			c.s.c.Logger.Warn("heads for a catch-up cannot be read: clients are told to sync", "chats", len(some)-len(snaps), "error", err)
		}
		told := make(map[chat.ID]wire.ChatHead, len(some))
		for _, id := range some {
			snap, cursor := snaps[id], hello.Cursors[string(id)]
			if snap.State == nil {
				untold = append(untold, id)
				continue
			}
			if _, member := snap.State.Member(c.id.User); !member {
				untold = append(untold, id)
				continue
			}
			told[id] = wire.ChatHead{Seq: snap.Head.Seq, N: snap.Head.N}
			switch {
			case cursor > snap.Head.Seq:
				untold = append(untold, id)
			case cursor == snap.Head.Seq:
				c.caughtUp(id, cursor, false)
			default:
				late = append(late, behind{id, cursor, snap.Head.Seq, snap.Head.At})
			}
		}
		if hello.Heads && len(told) > 0 {
			c.send(wire.ChatHeads{Type: wire.TypeHeads, Heads: told})
		}
	}
	return late, untold
}

// catchUpChat sends the events that are missed of a chat, as far as its and the connection's bounds go, and resync if that is not all.
// Head and membership are of one moment: what is appended after a removal is not shown.
func (c *conn) catchUpChat(ctx context.Context, b behind, events, bytes *int) {
	seq := c.tellMissed(ctx, b, events, bytes)
	c.caughtUp(b.id, seq, seq < b.head)
}

// tellMissed sends the events that are missed of a chat and returns up to where.
func (c *conn) tellMissed(ctx context.Context, b behind, events, bytes *int) chat.Seq {
	seq, left, size := b.cursor, min(chat.MaxPage, *events), min(chatBytes, *bytes)
	for seq < b.head && left > 0 && size > 0 {
		page, err := c.s.c.Log.Page(ctx, b.id, store.Range{After: seq, Before: b.head + 1, Forward: true, Limit: left,
			MaxBytes: min(size, readBytes)})
		if err != nil || len(page.Items) == 0 || !c.drained(ctx) {
			break
		}
		for _, it := range page.Items {
			c.mu.Lock()
			c.putFrame(frame{chat: b.id, seq: it.Seq, data: it.Body})
			c.mu.Unlock()
			seq, left, size = it.Seq, left-1, size-len(it.Body)
			*events, *bytes = *events-1, *bytes-len(it.Body)
		}
		c.s.m.caughtUp.Add(float64(len(page.Items)))
		c.s.m.delivered.Add(float64(len(page.Items)))
	}
	return seq
}

// drained waits until little waits to be written. It returns false when the connection ends, the time is up, or the client does not
// read.
func (c *conn) drained(ctx context.Context) bool {
	if c.feed != nil { // bounded as a whole, and told when all is there
		return ctx.Err() == nil
	}
	ctx, cancel := context.WithTimeout(ctx, slowReader)
	defer cancel()
	for {
		c.mu.Lock()
		ok, ended := c.outBytes < queueLow && len(c.out) < queueFew, c.dead || c.closing != 0
		c.mu.Unlock()
		if ok || ended {
			return !ended
		}
		if bus.Sleep(ctx, bus.Backoff(0)/4) != nil {
			return false
		}
	}
}

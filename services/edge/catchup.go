package edge

import (
	"context"
	"slices"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/chatlog"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// Bounds of a catch-up.
const (
	// cursorsAtOnce is how many chats' heads are read together, cursorsMax how many cursors a hello may carry; for what
	// is beyond, the client is told to sync.
	cursorsAtOnce = 256
	cursorsMax    = 4096
	// queueLow is how much may wait to be written while a catch-up goes on.
	queueLow = 1 << 20
)

// catchUp sends what the cursors of hello miss. The person's subject is subscribed already, and what comes live meanwhile is
// kept back and handed out at the end, less what the catch-up has sent: so nothing is lost between reading and listening.
func (c *conn) catchUp(hello wire.Request) {
	ctx, cancel := context.WithTimeout(c.s.work, requestTimeout)
	defer cancel()
	ids := make([]chat.ID, 0, min(len(hello.Cursors), cursorsMax))
	missed := false
	for s := range hello.Cursors {
		id, err := chat.ParseID(s)
		if err != nil {
			c.refuse(hello.ID, err)
			continue
		}
		if len(ids) == cursorsMax {
			missed = true
			break
		}
		ids = append(ids, id)
	}
	slices.Sort(ids)
	caught := make(map[chat.ID]chat.Seq, len(ids))
	for len(ids) > 0 {
		some := ids[:min(len(ids), cursorsAtOnce)]
		ids = ids[len(some):]
		snaps, err := c.s.c.Log.Snapshots(ctx, some)
		for _, id := range some {
			if err != nil {
				c.resync(id)
				continue
			}
			c.catchUpChat(ctx, id, hello.Cursors[string(id)], snaps[id], caught)
		}
	}
	c.goLive(caught, missed)
}

func (c *conn) resync(id chat.ID) {
	c.s.m.resyncs.Inc()
	c.send(wire.Resync{Type: wire.TypeResync, Chat: id})
}

// catchUpChat sends the events behind a cursor, up to chat.MaxPage; for more, and where it can't be told, resync.
func (c *conn) catchUpChat(ctx context.Context, id chat.ID, cursor chat.Seq, snap chatlog.Snapshot, caught map[chat.ID]chat.Seq) {
	if snap.State == nil {
		c.resync(id)
		return
	}
	if _, member := snap.State.Member(c.id.User); !member || cursor > snap.Head.Seq {
		c.resync(id)
		return
	}
	if cursor == snap.Head.Seq {
		caught[id] = cursor
		return
	}
	page, err := c.s.c.Log.Page(ctx, id, store.Range{After: cursor, Before: snap.Head.Seq + 1, Forward: true,
		Limit: chat.MaxPage, MaxBytes: pageBytes})
	if err != nil {
		c.resync(id)
		return
	}
	for _, it := range page.Items {
		if !c.drained(ctx) {
			break
		}
		c.enqueue(it.Body)
		c.s.m.delivered.Inc()
		cursor = it.Seq
	}
	if cursor < snap.Head.Seq {
		c.resync(id)
	}
	caught[id] = cursor
}

// drained waits until little waits to be written, so that a catch-up holds little memory however slow the reader is. It returns
// false when the connection ends.
func (c *conn) drained(ctx context.Context) bool {
	for n := 0; ; n++ {
		c.mu.Lock()
		ok, ended := c.outBytes < queueLow, c.dead || c.closing != 0
		c.mu.Unlock()
		if ok || ended {
			return !ended
		}
		if bus.Sleep(ctx, bus.Backoff(0)/4) != nil {
			return false
		}
	}
}

// goLive hands out what came meanwhile and lets what comes from now on through.
func (c *conn) goLive(caught map[chat.ID]chat.Seq, missed bool) {
	p := c.person
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.conns) == 1 {
		// The only device: what it has is what this edge has handed out, so that a hole behind it is seen.
		for id, seq := range caught {
			if p.last == nil {
				p.last = map[chat.ID]chat.Seq{}
			}
			if len(p.last) < chatsRemembered && p.last[id] < seq {
				p.last[id] = seq
			}
		}
	}
	c.mu.Lock()
	live := c.live
	missed = missed || c.overrun
	c.live, c.liveBytes, c.catching, c.caught = nil, 0, false, caught
	c.mu.Unlock()
	for _, f := range live {
		c.hand(f)
	}
	if missed {
		c.s.m.resyncs.Inc()
		c.send(wire.Resync{Type: wire.TypeResync})
	}
}

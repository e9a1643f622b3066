package e2e

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chatmesh/chatmesh/e2e/program"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/client"
)

// crowd is people with several devices each, on the Go SDK, who write to each other all the time while something is done to the
// servers: load and check for stories in which nothing may be lost, doubled, disordered or late, and nobody seen to go.
//
//	c := newCrowd(t, srv, 10, 5)   // 10 people with 1 or 9 devices, in one group and in pairs
//	c.begin()
//	…                              // whatever is to go unnoticed
//	c.end(5 * time.Second)         // waits until everything has arrived, and judges
type crowd struct {
	t       *testing.T
	people  []*client.Client
	devices []*crowdDevice
	chats   []chat.ID
	// online counts the connections that stand, links how often one was made.
	online, links atomic.Int64

	ctx    context.Context
	cancel context.CancelFunc
	load   context.Context
	stop   context.CancelFunc
	wg     sync.WaitGroup // those who write and those who read
	guard  *guards

	mu   sync.Mutex // guards the following fields
	sent map[string]*crowdMessage
	// there are those who were seen online: who has just connected may not be when the watch begins. gone are those who were seen to go.
	there map[chat.UserID]bool
	gone  []string
	errs  []string
}

// crowdMessage is a message and what its sender knows of it.
type crowdMessage struct {
	began   time.Time
	acked   time.Time // zero without a receipt
	receipt client.Receipt
}

// crowdDevice is a connection and the events that it delivered, in their order.
type crowdDevice struct {
	c      *crowd
	person int
	conn   *client.Conn
	mine   []chat.ID

	mu  sync.Mutex // guards got
	got map[chat.ID][]crowdEvent
}

type crowdEvent struct {
	seq  chat.Seq
	text string
	at   time.Time
}

// crowdPace is how long a device pauses between two messages.
const crowdPace = 4 * time.Second

// newCrowd registers people, an even number, and connects their devices to the address of srv: so many on the average, but every
// other person has one only.
func newCrowd(t *testing.T, srv *program.Program, people, devices int) *crowd {
	t.Helper()
	c := &crowd{t: t, sent: map[string]*crowdMessage{}, there: map[chat.UserID]bool{}, guard: &guards{srv: srv}}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.load, c.stop = context.WithCancel(c.ctx)
	c.guard.add(canary)
	c.people = make([]*client.Client, people)
	inParallel(people, func(i int) {
		hashing <- struct{}{}
		defer func() { <-hashing }()
		p, err := client.Register(t.Context(), srv.Client, client.Account{Username: fmt.Sprintf("crowd%d_%s", i, random(6)), Password: canary + random(6)},
			client.WithTokenHook(func(tokens client.Tokens) { c.guard.add(tokens.Access, tokens.Refresh) }))
		if err != nil {
			t.Errorf("person %d: %v", i, err)
			return
		}
		t.Cleanup(p.Close)
		c.people[i] = p
	})
	if t.Failed() {
		t.FailNow()
	}
	ids := make([]chat.UserID, people)
	for i, p := range c.people {
		ids[i] = p.User().ID
	}
	chats := make([][]chat.ID, people) // of each person
	group, err := c.people[0].NewGroup(t.Context(), "crowd", ids[1:]...)
	if err != nil {
		t.Fatal(err)
	}
	c.chats = append(c.chats, group.ID)
	for i := range people {
		chats[i] = append(chats[i], group.ID)
	}
	for i := 0; i+1 < people; i += 2 {
		d, _, err := c.people[i].Direct(t.Context(), ids[i+1])
		if err != nil {
			t.Fatal(err)
		}
		c.chats = append(c.chats, d.ID)
		chats[i], chats[i+1] = append(chats[i], d.ID), append(chats[i+1], d.ID)
	}
	t.Cleanup(func() { // whatever happens, nothing is left behind
		c.cancel()
		for _, d := range c.devices {
			d.conn.Close()
		}
		c.wg.Wait()
	})
	for i, p := range c.people {
		n := 2*devices - 1
		if i%2 == 1 {
			n = 1 // who has several is hardly ever between two edges as a whole
		}
		for range n {
			d := &crowdDevice{c: c, person: i, mine: chats[i], got: map[chat.ID][]crowdEvent{}}
			cursors := map[chat.ID]chat.Seq{}
			for _, id := range d.mine {
				cursors[id] = 1 // its creation
			}
			if d.conn, err = p.Connect(t.Context(), client.ConnConfig{Cursors: cursors, PingEvery: 2 * time.Second}); err != nil {
				t.Fatal(err)
			}
			c.devices = append(c.devices, d)
		}
	}
	// The first device of the first person watches all others.
	if err := c.devices[0].conn.Watch(t.Context(), ids[1:]...); err != nil {
		t.Fatal(err)
	}
	return c
}

// begin has all devices read, and write now and then.
func (c *crowd) begin() {
	for n, d := range c.devices {
		c.wg.Go(func() { d.read() })
		c.wg.Go(func() { d.write(n) })
	}
}

func (c *crowd) failed(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.errs = append(c.errs, fmt.Sprintf(format, args...))
}

// write sends a message every crowdPace, each of which is tried until it is answered.
func (d *crowdDevice) write(device int) {
	pause := time.NewTimer(crowdPace * time.Duration(device) / time.Duration(len(d.c.devices)))
	defer pause.Stop()
	for n := 0; ; n++ {
		select {
		case <-pause.C:
		case <-d.c.load.Done():
			return
		}
		words := text("crowd %d %d", device, n)
		m := &crowdMessage{began: time.Now()}
		d.c.mu.Lock()
		d.c.sent[words] = m
		d.c.mu.Unlock()
		r, err := d.conn.Send(d.c.ctx, client.Outgoing{Chat: d.mine[n%len(d.mine)], Text: words})
		if err != nil {
			d.c.failed("a send of device %d: %v", device, err)
			return
		}
		d.c.mu.Lock()
		m.receipt, m.acked = r, time.Now()
		d.c.mu.Unlock()
		pause.Reset(crowdPace - min(time.Since(m.began), crowdPace/2))
	}
}

// read takes what the connection delivers until it is closed.
func (d *crowdDevice) read() {
	for {
		u, err := d.conn.Next(d.c.ctx)
		switch {
		case errors.Is(err, context.Canceled), errors.Is(err, client.ErrClosed):
			return
		case err != nil:
			d.c.failed("a device of person %d: %v", d.person, err)
			return
		case u.Event != nil:
			d.mu.Lock()
			d.got[u.Event.Chat] = append(d.got[u.Event.Chat], crowdEvent{seq: u.Event.Seq, text: u.Event.Text, at: time.Now()})
			d.mu.Unlock()
		case u.Skipped != nil, u.Left != nil, u.Refusal != nil:
			d.c.failed("a device of person %d was told %+v", d.person, u)
		case u.Link != nil && u.Link.Online:
			d.c.online.Add(1)
			d.c.links.Add(1)
		case u.Link != nil:
			d.c.online.Add(-1)
		case u.Presence != nil:
			d.c.mu.Lock()
			if there := u.Presence.Online; d.c.there[u.Presence.User] && !there {
				d.c.gone = append(d.c.gone, fmt.Sprintf("%s at %s", u.Presence.User, time.Now().UTC().Format(time.RFC3339Nano)))
			} else if there {
				d.c.there[u.Presence.User] = true
			}
			d.c.mu.Unlock()
		}
	}
}

// awaitSends waits until n more messages are acked: the load has gone on for a while.
func (c *crowd) awaitSends(n int) {
	c.t.Helper()
	acked := func() (k int) {
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, m := range c.sent {
			if !m.acked.IsZero() {
				k++
			}
		}
		return k
	}
	before := acked()
	eventually(c.t, 2*time.Minute, "the load goes on", func() bool { return acked() >= before+n })
}

// behind is how many events a device lacks, or what is wrong with those that it has.
func (d *crowdDevice) behind(want map[chat.ID]chat.Seq) (missing int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, id := range d.mine {
		missing += max(int(want[id])-1-len(d.got[id]), 0)
	}
	return missing
}

// end stops the load, waits until everything has arrived, and fails the test for whatever was lost, doubled, disordered, or
// later than it may be.
func (c *crowd) end(late time.Duration) {
	t := c.t
	t.Helper()
	c.stop()
	want := map[chat.ID]chat.Seq{}
	eventually(t, 2*time.Minute, "every message is acked", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, m := range c.sent {
			if m.acked.IsZero() && len(c.errs) == 0 {
				return false
			}
			want[m.receipt.Chat] = max(want[m.receipt.Chat], m.receipt.Seq)
		}
		return true
	})
	eventually(t, time.Minute, "everything has arrived", func() bool {
		return !slices.ContainsFunc(c.devices, func(d *crowdDevice) bool { return d.behind(want) > 0 })
	})
	c.cancel()
	c.wg.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.errs {
		t.Error(e)
	}
	if len(c.gone) > 0 {
		t.Errorf("%d times somebody was seen to go offline: %s", len(c.gone), strings.Join(c.gone, ", "))
	}
	order := map[string]client.Receipt{} // by text
	deliveries := 0
	var slowest, slowestAck time.Duration
	for n, d := range c.devices {
		for _, id := range d.mine {
			for i, e := range d.got[id] {
				m := c.sent[e.text]
				switch {
				case e.seq != chat.Seq(i+2):
					t.Fatalf("device %d, chat %s: event %d has seq %d; want %d: lost, doubled or disordered", n, id, i, e.seq, i+2)
				case m == nil:
					t.Fatalf("device %d, chat %s: seq %d was sent by nobody", n, id, e.seq)
				case m.receipt.Chat != id || m.receipt.Seq != e.seq:
					t.Errorf("device %d, chat %s: seq %d; its receipt says %d in %s", n, id, e.seq, m.receipt.Seq, m.receipt.Chat)
				}
				order[e.text] = m.receipt
				deliveries++
				if took := e.at.Sub(m.began); took > slowest {
					slowest = took
				}
			}
		}
	}
	for words, m := range c.sent {
		if _, ok := order[words]; !ok {
			t.Errorf("seq %d of chat %s was acked and came to nobody", m.receipt.Seq, m.receipt.Chat)
		}
		slowestAck = max(slowestAck, m.acked.Sub(m.began))
	}
	t.Logf("crowd: %d messages, %d deliveries to %d devices over %d connections; the slowest ack after %v, the slowest delivery after %v",
		len(c.sent), deliveries, len(c.devices), c.links.Load(), slowestAck.Round(time.Millisecond), slowest.Round(time.Millisecond))
	if slowest > late || slowestAck > late {
		t.Errorf("a delivery took %v, an ack %v; want at most %v", slowest, slowestAck, late)
	}
}

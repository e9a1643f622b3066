package scenario

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chatmesh/chatmesh/bench/driver"
	"github.com/chatmesh/chatmesh/bench/peer"
)

// crowd are people who are connected, with a checker of what they send.
type crowd struct {
	run   *Run
	check *driver.Checker
	// Addresses up to old are of earlier crowds: what a scenario that failed left on its way is not counted against the next.
	old   uint32
	count atomic.Int64 // deliveries to others than the sender

	mu        sync.Mutex
	all       []*person       // guarded by mu
	latencies []time.Duration // guarded by mu; of what was due at from or later
	lateness  []time.Duration // guarded by mu; by which the driver itself sent those
	from      time.Duration   // guarded by mu; negative is none
	fault     error           // guarded by mu
	broken    chan struct{}   // closed when fault is set
}

func newCrowd(r *Run) *crowd {
	r.mu.Lock()
	defer r.mu.Unlock()
	return &crowd{run: r, check: driver.NewChecker(), old: r.address, from: -1, broken: make(chan struct{})}
}

// person is a connection of somebody. It is a driver.Sink.
type person struct {
	crowd *crowd
	who   peer.Person
	id    uint32
	// reads is after how many deliveries the last is marked as read, where the protocol knows of that; 0 is never.
	reads, unread int

	mu      sync.Mutex
	conn    driver.Conn // guarded by mu; nil is not connected
	sent    []sent      // guarded by mu; by tag
	payload []byte      // guarded by mu
}

// sent is a message by its tag.
type sent struct {
	to     *address
	number uint32
}

// address is where somebody sends to.
type address struct {
	from *person
	name string
	id   uint32
	line *driver.Line
	// progress is called, unless it is nil, when a message was acknowledged or delivered to somebody.
	progress func()
	// acked and delivered are how many messages were acknowledged, and deliveries to how many receivers there were of each.
	acked, delivered atomic.Int64
	receivers        int64
}

// join makes somebody part of the crowd who connects later.
func (c *crowd) join(who peer.Person) *person {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := &person{crowd: c, who: who, id: uint32(len(c.all) + 1)}
	c.all = append(c.all, p)
	return p
}

// connect connects people and returns them in their order.
func (c *crowd) connect(ctx context.Context, people []peer.Person) ([]*person, error) {
	joined := make([]*person, len(people))
	for i := range joined {
		joined[i] = c.join(people[i])
	}
	return joined, peer.Each(ctx, len(people), 64, func(i int) error { return joined[i].dial(ctx, c.run.Server.Dial) })
}

// dial connects somebody in the way of a system.
func (p *person) dial(ctx context.Context, how func(context.Context, peer.Person, driver.Sink) (driver.Conn, error)) error {
	conn, err := how(ctx, p.who, p)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conn = conn
	return nil
}

// address registers that p sends to an address of the system that leads to the receivers.
func (p *person) address(name string, receivers ...*person) *address {
	ids := make([]uint32, len(receivers))
	for i, r := range receivers {
		ids[i] = r.id
	}
	c := p.crowd
	c.run.mu.Lock()
	c.run.address++
	a := &address{from: p, name: name, id: c.run.address, receivers: int64(len(receivers))}
	c.run.mu.Unlock()
	a.line = c.check.Line(p.id, a.id, ids...)
	a.line.Owner = a
	return a
}

// send sends the next message, which should have been sent at due; negative is now. It is written by Flush, or at once when a sink
// calls send.
func (a *address) send(due time.Duration) error {
	p := a.from
	p.mu.Lock()
	defer p.mu.Unlock()
	now := driver.Clock()
	if due < 0 {
		due = now
	}
	number := a.line.Sent()
	p.payload = driver.Stamp{Sender: p.id, Address: a.id, Number: number, Due: due, Sent: now}.Append(p.payload[:0], p.crowd.run.Scale.Size)
	p.sent = append(p.sent, sent{a, number})
	return p.conn.Send(a.name, uint32(len(p.sent)), p.payload)
}

// open is how many messages were sent and are not both acknowledged and delivered to all.
func (a *address) open() int64 {
	return int64(a.line.Count()) - min(a.acked.Load(), a.delivered.Load()/a.receivers)
}

// Acked is of driver.Sink.
func (p *person) Acked(tag uint32) {
	p.mu.Lock()
	if tag == 0 || int(tag) > len(p.sent) {
		p.mu.Unlock()
		p.Failed(errors.New("something was acknowledged that was never sent"))
		return
	}
	s := p.sent[tag-1]
	p.mu.Unlock()
	if s.to.line.Acked(s.number) {
		s.to.acked.Add(1)
		if s.to.progress != nil {
			s.to.progress()
		}
	}
}

// Delivered is of driver.Sink.
func (p *person) Delivered(payload []byte) {
	s, ok := driver.ParseStamp(payload)
	if !ok {
		p.Failed(errors.New("something was delivered that nobody of the crowd sent"))
		return
	}
	c := p.crowd
	if s.Sender == p.id || s.Address <= c.old {
		return // a copy for the devices of the sender
	}
	line := c.check.Delivered(p.id, s)
	if line == nil {
		return
	}
	c.count.Add(1)
	if p.unread++; p.reads > 0 && p.unread >= p.reads {
		p.unread = 0
		p.read()
	}
	c.mu.Lock()
	if c.from >= 0 && s.Due >= c.from {
		c.latencies = append(c.latencies, driver.Clock()-s.Due)
		c.lateness = append(c.lateness, s.Sent-s.Due)
	}
	c.mu.Unlock()
	a := line.Owner.(*address)
	a.delivered.Add(1)
	if a.progress != nil {
		a.progress()
	}
}

// reader is a connection whose protocol knows of reading: Read says that the last message that came was read.
type reader interface{ Read() error }

func (p *person) read() {
	p.mu.Lock()
	r, ok := p.conn.(reader)
	p.mu.Unlock()
	if ok {
		if err := r.Read(); err != nil {
			p.Failed(err)
		}
	}
}

// Failed is of driver.Sink.
func (p *person) Failed(err error) { p.crowd.fail(err) }

func (c *crowd) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fault == nil && err != nil {
		c.fault = err
		close(c.broken)
	}
}

func (c *crowd) err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.fault
}

// record notes from now on how long deliveries take, counted from when they were due.
func (c *crowd) record() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.from = driver.Clock()
}

// settle waits until all that was sent was acknowledged and delivered, and returns what was wrong up to then.
func (c *crowd) settle(ctx context.Context) error {
	if err := c.until(ctx, c.check.Settled); err != nil {
		return err
	}
	return errors.Join(c.err(), c.check.Finish())
}

// until waits until something is so, but no longer than things may take to settle.
func (c *crowd) until(ctx context.Context, done func() bool) error {
	for end := time.Now().Add(c.run.Scale.Settle); !done() && time.Now().Before(end); {
		if err := pause(ctx, 2*time.Millisecond, c); err != nil {
			return err
		}
	}
	return nil
}

// leave closes all connections.
func (c *crowd) leave() {
	c.mu.Lock()
	all := c.all
	c.mu.Unlock()
	for _, p := range all {
		p.leave()
	}
}

// flush writes what was sent.
func (p *person) flush() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.conn.Flush()
}

// leave closes the connection, if there is one.
func (p *person) leave() {
	p.mu.Lock()
	conn := p.conn
	p.conn = nil
	p.mu.Unlock()
	if conn != nil {
		conn.Close()
	}
}

package scenario

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chatmesh/chatmesh/bench/driver"
	"github.com/chatmesh/chatmesh/bench/peer"
)

// mutant is a server within the process that does something wrong with every hundredth message.
type mutant struct {
	wrong func(deliver, ack func())

	mu     sync.Mutex
	people map[string]*mutantConn
	names  int
	sent   int
	work   chan func()
}

type mutantConn struct {
	server *mutant
	sink   driver.Sink
}

func newMutant(t *testing.T, wrong func(deliver, ack func())) *mutant {
	m := &mutant{wrong: wrong, people: map[string]*mutantConn{}, work: make(chan func(), 1<<16)}
	ended := make(chan struct{})
	go func() { // the one goroutine that calls sinks
		defer close(ended)
		for do := range m.work {
			do()
		}
	}()
	t.Cleanup(func() { close(m.work); <-ended })
	return m
}

func (m *mutant) PIDs() []int { return []int{os.Getpid()} }
func (m *mutant) Stop() error { return nil }

func (m *mutant) People(_ context.Context, n int) (all []peer.Person, err error) {
	for range n {
		m.names++
		all = append(all, peer.Person{Name: fmt.Sprint("p", m.names)})
	}
	return all, nil
}

func (m *mutant) Direct(_ context.Context, a, b peer.Person) (to, back string, err error) {
	return b.Name, a.Name, nil
}

func (m *mutant) Group(context.Context, []peer.Person) (string, error) { return "", nil }

func (m *mutant) Dial(_ context.Context, p peer.Person, sink driver.Sink) (driver.Conn, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := &mutantConn{m, sink}
	m.people[p.Name] = c
	return c, nil
}

func (c *mutantConn) Send(address string, tag uint32, payload []byte) error {
	m := c.server
	m.mu.Lock()
	defer m.mu.Unlock()
	to, text := m.people[address], append([]byte(nil), payload...)
	deliver, ack := func() { to.sink.Delivered(text) }, func() { c.sink.Acked(tag) }
	do := func() { deliver(); ack() }
	if m.sent++; m.sent%100 == 0 {
		do = func() { m.wrong(deliver, ack) }
	}
	select {
	case m.work <- do:
		return nil
	default:
		return fmt.Errorf("the queue is full")
	}
}

func (c *mutantConn) Flush() error { return nil }
func (c *mutantConn) Close() error { return nil }

func TestARunInWhichAMessageIsLostOrDoubledOrNotAcknowledgedCountsAsNoFigure(t *testing.T) {
	for _, c := range []struct {
		name, want string
		wrong      func(deliver, ack func())
	}{
		{"nothing wrong", "", func(deliver, ack func()) { deliver(); ack() }},
		{"acknowledged and lost", "were lost", func(deliver, ack func()) { ack() }},
		{"doubled", "twice", func(deliver, ack func()) { deliver(); ack(); deliver() }},
		{"not acknowledged", "never acknowledged", func(deliver, ack func()) { deliver() }},
	} {
		for _, s := range []Scenario{{Name: "rate", Run: rate}, {Name: "pairs", Run: pairs}} {
			t.Run(c.name+" "+s.Name, func(t *testing.T) {
				scale := Quick()
				scale.Warm, scale.Measure, scale.Settle = 50*time.Millisecond, 200*time.Millisecond, 300*time.Millisecond
				values, err := (&Run{Server: newMutant(t, c.wrong), Scale: scale}).Do(t.Context(), s)
				if c.want == "" && (err != nil || len(values) < 2) {
					t.Errorf("got %v, %v; want figures", values, err)
				}
				if c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || len(values) > 0) {
					t.Errorf("got %v, %v; want no figures and an error with %q", values, err, c.want)
				}
			})
		}
	}
}

func TestTimesCountFromWhenAMessageWasDue(t *testing.T) {
	scale := Quick()
	m := newMutant(t, func(deliver, ack func()) { deliver(); ack() })
	r := &Run{Server: m, Scale: scale}
	c := newCrowd(r)
	all, err := r.pairs(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	addresses, err := c.talk(t.Context(), all)
	if err != nil {
		t.Fatal(err)
	}
	c.mu.Lock()
	c.from = 0
	c.mu.Unlock()
	due := driver.Clock() / 2 // long ago: the driver was held up
	late := driver.Clock() - due
	if err := addresses[0].send(due); err != nil {
		t.Fatal(err)
	}
	if err := c.settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	if p50, p99, sent := c.percentiles(); p50 < late || p99 < late || sent < late {
		t.Errorf("got %v, %v, sent %v late; it was %v late", p50, p99, sent, late)
	}
}

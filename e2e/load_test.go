package e2e

import (
	"sync"
	"testing"
	"time"

	"github.com/chatmesh/chatmesh/e2e/raw"
)

// sent is one message of a load, with what the sender knows of it.
type sent struct {
	who      int
	clientID string
	text     string
	seq      uint64 // of the ack; 0 without one
}

// load sends from several sockets into one chat until it is stopped or its sockets end. Each socket keeps a few messages
// in flight.
type load struct {
	t       *testing.T
	chat    string
	sockets []*raw.Socket
	stop    chan struct{}
	wg      sync.WaitGroup

	mu    sync.Mutex
	sent  []sent // guarded by mu
	acked int    // guarded by mu
}

func startLoad(t *testing.T, chat string, sockets []*raw.Socket) *load {
	l := &load{t: t, chat: chat, sockets: sockets, stop: make(chan struct{})}
	const inFlight = 4
	for who, s := range sockets {
		for range inFlight {
			l.wg.Go(func() { l.run(who, s) })
		}
	}
	return l
}

func (l *load) run(who int, s *raw.Socket) {
	for {
		select {
		case <-l.stop:
			return
		default:
		}
		m := sent{who: who, clientID: newClientID(), text: text("under load")}
		f, err := s.Ask(raw.Object{"type": "send", "chat": l.chat, "client_id": m.clientID, "text": m.text})
		if err == nil && f.Type == "ack" {
			m.seq = f.Seq
		}
		l.mu.Lock()
		l.sent = append(l.sent, m)
		if m.seq > 0 {
			l.acked++
		}
		l.mu.Unlock()
		if m.seq == 0 {
			return // the socket has ended, or its edge is going away
		}
	}
}

// awaitAcks waits until n messages were acked.
func (l *load) awaitAcks(n int) {
	l.t.Helper()
	eventually(l.t, raw.Patience, "enough acks", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.acked >= n
	})
}

// end stops the load and returns all that was sent.
func (l *load) end() []sent {
	close(l.stop)
	l.wg.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sent
}

// accounted checks that every acked message stands in the history at its seq, and that nothing stands there twice or that
// nobody sent. It returns what was not acked.
func accounted(t *testing.T, history []raw.Frame, all []sent, senders []*person) (unacked []sent) {
	t.Helper()
	byID := map[string]raw.Frame{}
	for _, e := range history {
		if e.Type != "message" {
			continue
		}
		key := e.Sender + " " + e.ClientID
		if first, twice := byID[key]; twice {
			t.Errorf("client id %s stands at seq %d and %d", e.ClientID, first.Seq, e.Seq)
		}
		byID[key] = e
	}
	known := map[string]bool{}
	for _, m := range all {
		key := senders[m.who].id + " " + m.clientID
		known[key] = true
		e, there := byID[key]
		switch {
		case m.seq == 0:
			unacked = append(unacked, m)
		case !there:
			t.Errorf("acked at seq %d and lost: %s", m.seq, m.clientID)
		case e.Seq != m.seq:
			t.Errorf("acked at seq %d and stands at %d: %s", m.seq, e.Seq, m.clientID)
		}
		if there && e.Text != m.text {
			t.Errorf("seq %d has another text than was sent", e.Seq)
		}
	}
	for key, e := range byID {
		if !known[key] {
			t.Errorf("seq %d was sent by nobody", e.Seq)
		}
	}
	return unacked
}

// closedAs waits for the end of a socket and wants one of the codes.
func closedAs(t *testing.T, who string, s *raw.Socket, d time.Duration, codes ...int) {
	t.Helper()
	code, err := s.Closed(d)
	if err != nil {
		t.Errorf("%s: %v; want close code %v", who, err, codes)
		return
	}
	for _, c := range codes {
		if c == code {
			return
		}
	}
	t.Errorf("%s: close code %d; want %v", who, code, codes)
}

package chatlog_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/chatlog"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// model is a chat in a few lines: who is in it, and what was said, once.
type model struct {
	members map[chat.UserID]bool
	sent    map[string]chat.Seq // sender and client id
	events  []string
}

func (m *model) add(what string) chat.Seq {
	m.events = append(m.events, what)
	return chat.Seq(len(m.events))
}

// do carries out an operation: the seq at which it stands (zero for nothing to do) or the refusal.
func (m *model) do(cmd chat.Command) (chat.Seq, chat.Code) {
	switch c := cmd.(type) {
	case chat.Send:
		key := string(c.Sender) + " " + string(c.ClientID)
		if !m.members[c.Sender] {
			return 0, chat.NotFound
		}
		if m.sent[key] == 0 {
			m.sent[key] = m.add("message " + key)
		}
		return m.sent[key], ""
	case chat.PutMember: // by ann, who owns the chat
		if m.members[c.User] {
			return 0, ""
		}
		m.members[c.User] = true
		return m.add("added " + string(c.User)), ""
	case chat.RemoveMember:
		if !m.members[c.User] {
			return 0, chat.NotFound
		}
		delete(m.members, c.User)
		return m.add("removed " + string(c.User)), ""
	}
	panic("unknown command")
}

func describe(e chat.Event) string {
	switch e.Change {
	case chat.MemberAdded:
		return "added " + string(e.User)
	case chat.MemberRemoved:
		return "removed " + string(e.User)
	case chat.Created:
		return "created"
	}
	return "message " + string(e.Sender) + " " + string(e.ClientID)
}

// wireTo is a way to the broker that loses acks, delays and breaks at will.
type wireTo struct {
	listener net.Listener
	target   string
	mu       sync.Mutex // guards the following fields
	conns    map[net.Conn]bool
	deaf     bool // answers of the broker are lost
	delay    time.Duration
	wg       sync.WaitGroup
}

func newWire(t testing.TB, target string) *wireTo {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wireTo{listener: l, target: target, conns: map[net.Conn]bool{}}
	w.wg.Go(w.accept)
	t.Cleanup(func() { _ = l.Close(); w.cut(); w.wg.Wait() })
	return w
}

func (w *wireTo) accept() {
	for {
		c, err := w.listener.Accept()
		if err != nil {
			return
		}
		s, err := net.Dial("tcp", w.target)
		if err != nil {
			_ = c.Close()
			continue
		}
		w.mu.Lock()
		w.conns[c], w.conns[s] = true, true
		w.mu.Unlock()
		w.wg.Go(func() { w.pipe(s, c, false) })
		w.wg.Go(func() { w.pipe(c, s, true) })
	}
}

func (w *wireTo) pipe(to, from net.Conn, answers bool) {
	defer to.Close()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		w.mu.Lock()
		deaf, delay := w.deaf && answers, w.delay
		w.mu.Unlock()
		time.Sleep(delay)
		if deaf {
			n = 0
		}
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// set makes the way deaf or slow; cut breaks it.
func (w *wireTo) set(deaf bool, delay time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.deaf, w.delay = deaf, delay
}

func (w *wireTo) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.conns {
		_ = c.Close()
	}
	clear(w.conns)
	w.deaf, w.delay = false, 0
}

// TestTheLogIsTheModelWhateverHappensOnTheWay drives real logs on a real broker with random operations from several nodes, while
// acks are lost, the way is slow or breaks; each operation is repeated until it is answered, as a client does.
func TestTheLogIsTheModelWhateverHappensOnTheWay(t *testing.T) {
	broker := newBroker(t, 1)
	target := strings.TrimPrefix(broker.ClientURL(), "nats://")
	const nodes = 3
	var ways []*wireTo
	var logs []*chatlog.Log
	for range nodes {
		w := newWire(t, target)
		b, err := bus.Connect(bus.Config{Name: "node", URL: "nats://" + w.listener.Addr().String(), Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(b.Close)
		ways, logs = append(ways, w), append(logs, runLogOn(t, b))
	}
	run := 0
	faults := map[string]int{}
	rapid.Check(t, func(rt *rapid.T) {
		run++
		id := chat.ID(fmt.Sprintf("c%d-%d", run, time.Now().UnixNano()))
		m := &model{members: map[chat.UserID]bool{"ann": true, "ben": true}, sent: map[string]chat.Seq{}}
		m.add("created")
		if _, err := perform(ways[0], logs, 0, id, chat.Create{By: "ann", Kind: chat.Group, Title: "t", Members: []chat.UserID{"ben"}}, ""); err != nil {
			rt.Fatal(err)
		}
		people := []chat.UserID{"ann", "ben", "eve"}
		for range rapid.IntRange(5, 15).Draw(rt, "operations") {
			node := rapid.IntRange(0, nodes-1).Draw(rt, "node")
			who := rapid.SampledFrom(people).Draw(rt, "who")
			var cmd chat.Command
			switch rapid.IntRange(0, 9).Draw(rt, "what") {
			case 0:
				cmd = chat.PutMember{By: "ann", User: rapid.SampledFrom(people[1:]).Draw(rt, "added")}
			case 1:
				cmd = chat.RemoveMember{By: "ann", User: rapid.SampledFrom(people[1:]).Draw(rt, "removed")}
			default:
				cmd = chat.Send{Sender: who, ClientID: chat.ClientID(fmt.Sprint("m", rapid.IntRange(0, 12).Draw(rt, "id"))), Text: "t"}
			}
			_, isSend := cmd.(chat.Send)
			fault := rapid.SampledFrom([]string{"", "", "", "", "slow", "slow", "cut", "lost ack"}).Draw(rt, "fault")
			if !isSend && fault != "slow" {
				fault = "" // a change has no client id: who repeats it asks first
			}
			faults[fault]++
			want, code := m.do(cmd)
			got, err := perform(ways[node], logs, node, id, cmd, fault)
			if code != "" {
				if !chat.Is(err, code) {
					rt.Fatalf("%T: got %+v, %v; want %s", cmd, got, err, code)
				}
				continue
			}
			if err != nil || got.Seq != want {
				rt.Fatalf("%T with %q: got %+v, %v; want seq %d", cmd, fault, got, err, want)
			}
		}
		reader := logs[rapid.IntRange(0, nodes-1).Draw(rt, "reader")]
		items, err := reader.After(t.Context(), id, 0, 0, 10_000, 0)
		for try := 0; chat.Is(err, chat.Unavailable) && try < 200; try++ { // its way is being mended
			time.Sleep(50 * time.Millisecond)
			items, err = reader.After(t.Context(), id, 0, 0, 10_000, 0)
		}
		if err != nil {
			rt.Fatal(err)
		}
		var have []string
		for _, it := range items {
			e, err := wire.DecodeEvent(it.Body)
			if err != nil {
				rt.Fatal(err)
			}
			have = append(have, describe(e))
		}
		if !slices.Equal(have, m.events) {
			rt.Fatalf("the log has\n%q\nthe model\n%q", have, m.events)
		}
	})
	t.Logf("faults: %v", faults)
}

// perform does an operation on a node with a fault on its way, and repeats it, there or elsewhere, until it is answered.
func perform(w *wireTo, logs []*chatlog.Log, node int, id chat.ID, cmd chat.Command, fault string) (chatlog.Receipt, error) {
	patience := 10 * time.Second
	switch fault {
	case "slow":
		w.set(false, 5*time.Millisecond)
		defer w.set(false, 0)
	case "lost ack":
		w.set(true, 0)
		patience = 100 * time.Millisecond
	case "cut":
		cut := time.AfterFunc(time.Millisecond, w.cut)
		defer cut.Stop()
		patience = 300 * time.Millisecond
	}
	for try := 0; ; try++ {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		r, err := logs[(node+try)%len(logs)].Append(ctx, id, cmd)
		cancel()
		if err == nil || !chat.Is(err, chat.Unavailable) || try > 100 {
			return r, err
		}
		if try == 0 && fault != "" {
			w.cut() // what is deaf is not so for ever: the client of the broker notices and comes back
		}
		patience = 5 * time.Second
		time.Sleep(20 * time.Millisecond)
	}
}

func runLogOn(t *testing.T, b *bus.Bus) *chatlog.Log {
	t.Helper()
	l, err := chatlog.New(chatlog.Config{Bus: b, Partitions: 1, Older: empty{}, Retention: time.Hour, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = l.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return l
}

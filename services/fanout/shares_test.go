package fanout_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/chatlog"
	"github.com/chatmesh/chatmesh/pkg/meshtest"
	"github.com/chatmesh/chatmesh/pkg/run"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/wire"
	"github.com/chatmesh/chatmesh/services/fanout"
)

const sharedPartitions = 8

func sharedLog(t *testing.T, b *bus.Bus) *chatlog.Log {
	t.Helper()
	l, err := chatlog.New(chatlog.Config{Bus: b, Partitions: sharedPartitions, Older: noStore{}, Retention: time.Hour, Logger: meshtest.Logger(t)})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// node is a fan-out of several.
type node struct {
	bus    *bus.Bus
	shares *bus.Shares
	stop   func()
}

func startNode(t *testing.T, broker *meshtest.Broker, name string) *node {
	t.Helper()
	n := &node{bus: broker.Bus(t)}
	n.shares = n.bus.NewShares(subject.FanOut, name, sharedPartitions)
	s, err := fanout.New(fanout.Config{Bus: n.bus, Log: sharedLog(t, n.bus), Partitions: sharedPartitions, Shares: n.shares,
		Logger: meshtest.Logger(t), Health: &run.Health{}})
	if err != nil {
		t.Fatal(err)
	}
	stopped := start(t, func(ctx context.Context) error {
		var wg sync.WaitGroup
		wg.Go(func() { n.bus.Announce(ctx, bus.Node{Service: subject.FanOut, Node: name}, nil) })
		err := s.Run(ctx)
		wg.Wait()
		return err
	})
	n.stop = stopped
	return n
}

func awaitShares(t *testing.T, what string, nodes ...*node) {
	t.Helper()
	meshtest.Eventually(t, meshtest.Patience, what, func() bool {
		sum := 0
		for _, n := range nodes {
			if m := n.shares.Mine(); m < sharedPartitions/len(nodes) || m > (sharedPartitions+len(nodes)-1)/len(nodes) {
				return false
			}
			sum += n.shares.Mine()
		}
		return sum == sharedPartitions
	})
}

// TestOrderAndCompletenessSurviveThatPartitionsMove has people write in many chats while nodes come, stop, die and come back.
func TestOrderAndCompletenessSurviveThatPartitionsMove(t *testing.T) {
	const chats = 32
	broker := meshtest.NewBroker(t)
	b := broker.Bus(t)
	meshtest.Ensure(t, b, meshtest.Layout(sharedPartitions))
	l := sharedLog(t, b)
	start(t, l.Run)

	var mu sync.Mutex // guards the following
	next, doubles, wrong := map[chat.ID]chat.Seq{}, 0, 0
	sub, err := b.Conn().Subscribe(subject.User("ben"), func(m *nats.Msg) {
		h, err := wire.Peek(m.Data)
		if err != nil || h.Type == wire.TypeHeads || h.Type == wire.TypeRead {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		switch want := next[h.Chat] + 1; {
		case h.Seq == want:
			next[h.Chat] = h.Seq
		case h.Seq < want:
			doubles++
		default:
			wrong++
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := b.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}

	id := func(i int) chat.ID { return chat.ID(fmt.Sprint("c", i)) }
	for i := range chats {
		if _, err := l.Append(t.Context(), id(i), chat.Create{By: "ann", Kind: chat.Group, Title: "t", Members: []chat.UserID{"ben"}}); err != nil {
			t.Fatal(err)
		}
	}
	a, c := startNode(t, broker, "a"), startNode(t, broker, "c")
	awaitShares(t, "two share", a, c)
	ctx, cancel := context.WithCancel(context.Background())
	sent := make([]chat.Seq, chats)
	var writers sync.WaitGroup
	for i := range chats {
		writers.Go(func() {
			for sent[i] = 1; bus.Sleep(ctx, 15*time.Millisecond) == nil; sent[i]++ {
				if _, err := l.Append(context.Background(), id(i), say(int(sent[i]))); err != nil {
					t.Errorf("append: %v", err)
					return
				}
			}
		})
	}
	t.Cleanup(func() { cancel(); writers.Wait() })
	for range 3 {
		x := startNode(t, broker, "b")
		awaitShares(t, "three share", a, x, c)
		x.stop()
		awaitShares(t, "two share again", a, c)
	}
	x := startNode(t, broker, "b")
	awaitShares(t, "three share", a, x, c)
	x.bus.Close() // it dies
	died := time.Now()
	awaitShares(t, "two share what a dead one had", a, c)
	t.Logf("divided anew %v after the death", time.Since(died))
	x.stop()
	x = startNode(t, broker, "b")
	awaitShares(t, "three share", a, x, c)
	cancel()
	writers.Wait()
	meshtest.Eventually(t, meshtest.Patience, "every event has come", func() bool {
		mu.Lock()
		defer mu.Unlock()
		for i := range chats {
			if next[id(i)] != sent[i] {
				return false
			}
		}
		return true
	})
	mu.Lock()
	defer mu.Unlock()
	total := chat.Seq(0)
	for _, n := range sent {
		total += n
	}
	t.Logf("%d events, %d came twice", total, doubles)
	if wrong > 0 {
		t.Errorf("%d events came before an earlier one of their chat", wrong)
	}
}

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

// startNode starts a fan-out of several.
func startNode(t *testing.T, broker *meshtest.Broker, name string) *meshtest.Node {
	t.Helper()
	n := meshtest.NewNode(t, broker, subject.FanOut, name, sharedPartitions)
	s, err := fanout.New(fanout.Config{Bus: n.Bus, Log: sharedLog(t, n.Bus), Partitions: sharedPartitions, Shares: n.Shares,
		Logger: meshtest.Logger(t), Health: &run.Health{}})
	if err != nil {
		t.Fatal(err)
	}
	n.Start(t, s.Run)
	return n
}

// TestOrderAndCompletenessSurviveThatPartitionsMove has people write in many chats while nodes come, stop, die and come back.
func TestOrderAndCompletenessSurviveThatPartitionsMove(t *testing.T) {
	const chats = 32
	broker := meshtest.NewBroker(t)
	b := broker.Bus(t)
	meshtest.Ensure(t, b, meshtest.Layout(sharedPartitions))
	l := sharedLog(t, b)
	meshtest.Run(t, l.Run)

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
	meshtest.AwaitShares(t, "two share", a, c)
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
		meshtest.AwaitShares(t, "three share", a, x, c)
		x.Stop()
		meshtest.AwaitShares(t, "two share again", a, c)
	}
	x := startNode(t, broker, "b")
	meshtest.AwaitShares(t, "three share", a, x, c)
	x.Bus.Close() // it dies
	died := time.Now()
	meshtest.AwaitShares(t, "two share what a dead one had", a, c)
	t.Logf("divided anew %v after the death", time.Since(died))
	x.Stop()
	x = startNode(t, broker, "b")
	meshtest.AwaitShares(t, "three share", a, x, c)
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

package persister_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/chatlog"
	"github.com/chatmesh/chatmesh/pkg/meshtest"
	"github.com/chatmesh/chatmesh/pkg/run"
	"github.com/chatmesh/chatmesh/pkg/store/pebble"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/verify"
	"github.com/chatmesh/chatmesh/services/persister"
)

const sharedPartitions = 8

// startNode starts a persister of several.
func startNode(t *testing.T, broker *meshtest.Broker, s *flaky, name string) *meshtest.Node {
	t.Helper()
	n := meshtest.NewNode(t, broker, subject.Persister, name, sharedPartitions)
	p, err := persister.New(persister.Config{Bus: n.Bus, Store: s, Partitions: sharedPartitions, Shares: n.Shares, Logger: meshtest.Logger(t), Health: &run.Health{}})
	if err != nil {
		t.Fatal(err)
	}
	n.Start(t, p.Run)
	return n
}

// TestEachEventIsStoredOnceWhilePartitionsMove has people write in many chats while persisters come, stop, die and come back, and
// while the store is away for a moment.
func TestEachEventIsStoredOnceWhilePartitionsMove(t *testing.T) {
	const chats = 16
	broker := meshtest.NewBroker(t)
	b := broker.Bus(t)
	meshtest.Ensure(t, b, meshtest.Layout(sharedPartitions))
	db, err := pebble.Open(t.TempDir(), pebble.Options{Log: meshtest.Logger(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	s := &flaky{Store: db}
	l, err := chatlog.New(chatlog.Config{Bus: b, Partitions: sharedPartitions, Older: noStore{}, Retention: time.Hour, Logger: meshtest.Logger(t)})
	if err != nil {
		t.Fatal(err)
	}
	meshtest.Run(t, l.Run)
	id := func(i int) chat.ID { return chat.ID(fmt.Sprint("c", i)) }
	for i := range chats {
		if _, err := l.Append(t.Context(), id(i), chat.Create{By: "ann", Kind: chat.Group, Title: "t", Members: []chat.UserID{"ben"}}); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	sent := make([]int, chats)
	var writers sync.WaitGroup
	for i := range chats {
		writers.Go(func() {
			for sent[i] = 1; bus.Sleep(ctx, 20*time.Millisecond) == nil; sent[i]++ {
				if _, err := l.Append(context.Background(), id(i), say(sent[i])); err != nil {
					t.Errorf("append: %v", err)
					return
				}
			}
		})
	}
	t.Cleanup(func() { cancel(); writers.Wait() })
	a := startNode(t, broker, s, "a")
	meshtest.AwaitShares(t, "one has all", a)
	c := startNode(t, broker, s, "c")
	meshtest.AwaitShares(t, "two share", a, c)
	x := startNode(t, broker, s, "b")
	meshtest.AwaitShares(t, "three share", a, x, c)
	s.away.Store(true)
	x.Stop()
	meshtest.AwaitShares(t, "two share while the store is away", a, c)
	s.away.Store(false)
	x = startNode(t, broker, s, "b")
	meshtest.AwaitShares(t, "three share", a, x, c)
	x.Bus.Close() // it dies
	meshtest.AwaitShares(t, "two share what a dead one had", a, c)
	cancel()
	writers.Wait()
	total := 0
	for i := range chats {
		total += sent[i]
		meshtest.Eventually(t, meshtest.Patience, "the last event is stored", func() bool {
			r, err := s.Record(t.Context(), id(i))
			return err == nil && int(r.Seq) == sent[i]
		})
		r, err := verify.Chat(t.Context(), verify.NewStream(b, sharedPartitions), s, id(i))
		if err != nil || r.Wrong > 0 || r.Stored != chat.Seq(sent[i]) {
			t.Errorf("%s: got %+v, %v; want %d events stored and nothing wrong", id(i), r, err, sent[i])
		}
	}
	t.Logf("%d events", total)
}

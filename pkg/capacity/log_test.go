package capacity_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/chatmesh/chatmesh/pkg/capacity"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/chatlog"
	"github.com/chatmesh/chatmesh/pkg/meshtest"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/subject"
)

// nothingOlder is a store that is empty, and knows that nothing is missing in it.
type nothingOlder struct{ chatlog.Older }

func (nothingOlder) Record(context.Context, chat.ID) (store.Record, error) {
	return store.Record{}, store.ErrNotFound
}

func (nothingOlder) Sent(context.Context, chat.ID, chat.UserID, chat.Seq) (chatlog.Sent, error) {
	return chatlog.Sent{UpTo: 1 << 62, Complete: true}, nil
}

func TestAnEventTakesOnTheDiskOfTheLogWhatThePlanSays(t *testing.T) {
	c, err := capacity.BuiltIn()
	if err != nil {
		t.Fatal(err)
	}
	b := meshtest.NewBroker(t).Bus(t)
	meshtest.Ensure(t, b, meshtest.Layout(1))
	l, err := chatlog.New(chatlog.Config{Bus: b, Partitions: 1, Older: nothingOlder{}, Retention: time.Hour, Logger: meshtest.Logger(t)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = l.Run(ctx) })
	defer wg.Wait()
	defer cancel()

	talk := conversations(t)[0]
	sender := talk.events[0].Sender
	if _, err := l.Append(ctx, talk.chat, chat.Create{By: sender, Kind: chat.Group, Title: "t"}); err != nil {
		t.Fatal(err)
	}
	size := func() uint64 {
		s, err := b.JetStream().Stream(ctx, subject.ChatStream(0))
		if err != nil {
			t.Fatal(err)
		}
		return s.CachedInfo().State.Bytes
	}
	before := size()
	first := uint64(0)
	for i, e := range talk.events {
		r, err := l.Append(ctx, talk.chat, chat.Send{Sender: sender, ClientID: e.ClientID, Text: e.Text})
		if err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
		if i == 0 {
			first = uint64(r.Seq)
		}
	}
	took := size() - before
	msgs, err := b.From(ctx, subject.ChatStream(0), subject.Log(0, talk.chat), 1, 1000, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	bodies, n := 0, 0
	for _, m := range msgs[first-1:] {
		bodies += len(m.Data)
		n++
	}
	if n != len(talk.events) {
		t.Fatalf("got %d messages in the log; want %d", n, len(talk.events))
	}
	near(t, "log_overhead", c.LogOverhead.Value, float64(int(took)-bodies)/float64(n), 0.05)
}

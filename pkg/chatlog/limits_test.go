package chatlog_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/chatlog"
	"github.com/chatmesh/chatmesh/pkg/meshtest"
	"github.com/chatmesh/chatmesh/pkg/subject"
)

func TestAFullLogRefusesAndWorksAgainWhenThereIsRoom(t *testing.T) {
	broker := meshtest.NewBroker(t)
	layout := meshtest.Layout(1)
	layout.MaxBytes = 1 << 20
	b := broker.Bus(t)
	meshtest.Ensure(t, b, layout)
	l := newLog(t, broker, 1)
	create(t, l, "c1", "ann")
	big := strings.Repeat("x", 50_000)
	acked := 0
	var err error
	for n := 0; n < 100 && err == nil; n++ {
		var r chatlog.Receipt
		r, err = l.Append(t.Context(), "c1", chat.Send{Sender: "ann", ClientID: chat.ClientID(fmt.Sprint("m", n)), Text: big})
		if err == nil {
			acked = int(r.Seq)
		}
	}
	var refused *chat.Error
	if !errors.As(err, &refused) || refused.Code != chat.Unavailable || refused.RetryAfter == 0 {
		t.Fatalf("got %v; want unavailable with a time to wait", err)
	}
	items, err := l.After(t.Context(), "c1", 0, 0, 100, 0)
	if err != nil || len(items) != acked {
		t.Fatalf("while full: got %d events, %v; want the %d that were acked", len(items), err, acked)
	}
	layout.MaxBytes = 8 << 20
	meshtest.Ensure(t, b, layout)
	r, err := l.Append(t.Context(), "c1", chat.Send{Sender: "ann", ClientID: "later", Text: big})
	if err != nil || int(r.Seq) != acked+1 {
		t.Fatalf("with room again: got %+v, %v; want seq %d", r, err, acked+1)
	}
}

func TestNothingIsAppendedThatTheLogMightForgetBeforeTheStoreHasIt(t *testing.T) {
	broker := meshtest.NewBroker(t)
	layout := meshtest.Layout(1)
	layout.Retention = 4 * time.Second
	b := broker.Bus(t)
	meshtest.Ensure(t, b, layout)
	var mu sync.Mutex
	waiting := map[string]error{}
	l, err := chatlog.New(chatlog.Config{Bus: broker.Bus(t), Partitions: 1, Older: empty{}, Retention: layout.Retention,
		Logger: meshtest.Logger(t), Health: func(name string, err error) {
			mu.Lock()
			defer mu.Unlock()
			if waiting[name] = err; err == nil {
				delete(waiting, name)
			}
		}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = l.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	create(t, l, "c1", "ann") // and no persister takes it
	told := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(waiting)
	}
	meshtest.Eventually(t, meshtest.Patience, "it is told what is waited for", func() bool { return told() > 0 })
	if _, err := l.Append(t.Context(), "c1", send("ann", "m1")); !chat.Is(err, chat.Unavailable) {
		t.Errorf("got %v; want unavailable", err)
	}
	work, stop := context.WithCancel(t.Context())
	worked := make(chan struct{})
	go func() { // a persister that catches up
		defer close(worked)
		_ = b.Work(work, bus.Worker{Stream: subject.ChatStream(0), Consumer: subject.Persister,
			Handle: func(context.Context, []bus.Delivery) error { return nil }})
	}()
	meshtest.Eventually(t, meshtest.Patience, "appends go on", func() bool {
		_, err := l.Append(t.Context(), "c3", chat.Create{By: "ann", Kind: chat.Group, Title: "t"})
		return err == nil
	})
	meshtest.Eventually(t, meshtest.Patience, "nothing is waited for", func() bool { return told() == 0 })
	stop()
	<-worked
}

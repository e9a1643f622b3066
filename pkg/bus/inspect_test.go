package bus_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/meshtest"
	"github.com/chatmesh/chatmesh/pkg/subject"
)

func TestTheStreamsSayHowManyPartitionsThereAre(t *testing.T) {
	_, b := broker(t)
	if _, err := b.Partitions(t.Context()); !errors.Is(err, bus.ErrNotFound) {
		t.Errorf("without streams: got %v; want not found", err)
	}
	meshtest.Ensure(t, b, meshtest.Layout(3))
	if n, err := b.Partitions(t.Context()); err != nil || n != 3 {
		t.Errorf("got %d, %v; want 3", n, err)
	}
}

func TestTheChatsOfALogAreListed(t *testing.T) {
	_, b := laid(t, 2)
	for _, subj := range []string{subject.Log(0, "c2"), subject.Log(0, "c1"), subject.Log(0, "c1"), subject.Log(0, "c1-"),
		subject.State(0, "c3"), subject.Log(1, "c4"), "chat.0.no#id.log", "chat.0.c5.x.log"} {
		publish(t, b, subj, "x")
	}
	for p, want := range [][]chat.ID{{"c1", "c1-", "c2"}, {"c4"}} {
		if got, err := b.Chats(t.Context(), p); err != nil || !slices.Equal(got, want) {
			t.Errorf("partition %d: got %v, %v; want %v", p, got, err, want)
		}
	}
	if _, err := b.Chats(t.Context(), 2); !errors.Is(err, bus.ErrDown) {
		t.Errorf("no partition: got %v; want an error", err)
	}
}

// The broker lists at most 100,000 subjects at once.
func TestMoreChatsAreListedThanTheBrokerTellsAtOnce(t *testing.T) {
	_, b := broker(t)
	if _, err := b.JetStream().CreateStream(t.Context(), jetstream.StreamConfig{Name: subject.ChatStream(0), Subjects: []string{subject.AllOf(0)},
		Storage: jetstream.MemoryStorage}); err != nil {
		t.Fatal(err)
	}
	const many = 100_123
	for i := range many {
		if err := b.Conn().Publish(subject.Log(0, chat.ID(fmt.Sprintf("c%06d", i))), nil); err != nil {
			t.Fatal(err)
		}
	}
	meshtest.Eventually(t, patience, "the stream has all", func() bool { return lastSeq(t, b, subject.ChatStream(0)) == many })
	got, err := b.Chats(t.Context(), 0)
	if err != nil || len(got) != many || got[0] != "c000000" || got[many-1] != "c100122" {
		t.Errorf("got %d chats, %v; want %d, each once", len(got), err, many)
	}
}

func TestTheFirstMessageOfAStreamMovesAsItAges(t *testing.T) {
	_, b := laid(t, 1)
	name := subject.ChatStream(0)
	if seq, at, err := b.First(t.Context(), name); err != nil || seq > 1 || !at.IsZero() {
		t.Errorf("of an empty stream: got %d, %v, %v", seq, at, err)
	}
	began := time.Now().Add(-time.Second)
	for n := range 5 {
		publish(t, b, subject.Log(0, chat.ID(fmt.Sprint("c", n))), "x")
	}
	s, err := b.JetStream().Stream(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Purge(t.Context(), jetstream.WithPurgeSequence(3)); err != nil {
		t.Fatal(err)
	}
	if seq, at, err := b.First(t.Context(), name); err != nil || seq != 3 || at.Before(began) || at.After(time.Now().Add(time.Second)) {
		t.Errorf("got %d, %v, %v; want 3, of now", seq, at, err)
	}
	if _, _, err := b.First(t.Context(), "NONE"); !errors.Is(err, bus.ErrNotFound) {
		t.Errorf("of no stream: got %v; want not found", err)
	}
}

func TestItIsKnownHowFarAConsumerHasAcknowledged(t *testing.T) {
	_, b := laid(t, 1)
	for range 3 {
		publish(t, b, subject.Log(0, "c1"), "x")
	}
	name := subject.ChatStream(0)
	if n, err := b.Acked(t.Context(), name, subject.Persister); err != nil || n != 0 {
		t.Errorf("got %d, %v; want nothing acknowledged", n, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = b.Work(ctx, bus.Worker{Stream: name, Consumer: subject.Persister, Handle: func(context.Context, []bus.Delivery) error { return nil }})
	}()
	defer func() { cancel(); <-done }()
	meshtest.Eventually(t, patience, "all is acknowledged", func() bool {
		n, err := b.Acked(t.Context(), name, subject.Persister)
		return err == nil && n == 3
	})
	if _, err := b.Acked(t.Context(), name, "nobody"); !errors.Is(err, bus.ErrNotFound) {
		t.Errorf("of no consumer: got %v; want not found", err)
	}
}

func TestWorkThatMayTakeLongHasItsOwnTimeAndEndsWithTheService(t *testing.T) {
	_, b := broker(t)
	var left [2]time.Duration
	began := make(chan struct{})
	handle := func(i int, wait bool) bus.Handler {
		return func(ctx context.Context, _ []byte) (any, error) {
			at, _ := ctx.Deadline()
			left[i] = time.Until(at)
			if !wait {
				return struct{}{}, nil
			}
			close(began)
			<-ctx.Done()
			return nil, chat.Errorf(chat.Unavailable, "broken off")
		}
	}
	stop := serve(t, b, nil, bus.Endpoint{Subject: "svc.test.short", Handle: handle(0, false)},
		bus.Endpoint{Subject: "svc.test.long", Handle: handle(1, true), Timeout: time.Minute})
	if err := b.Call(t.Context(), "svc.test.short", nil, nil); err != nil {
		t.Fatal(err)
	}
	broken := make(chan error, 1)
	go func() { broken <- b.Call(within(t, patience), "svc.test.long", nil, nil) }()
	<-began
	stop()
	if err := <-broken; !chat.Is(err, chat.Unavailable) {
		t.Errorf("got %v; want that it was broken off", err)
	}
	if left[0] > 10*time.Second || left[0] < 5*time.Second || left[1] > time.Minute || left[1] < 50*time.Second {
		t.Errorf("got %v; want 10 s and a minute", left)
	}
}

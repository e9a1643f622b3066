package chatlog_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/chatlog"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// What is allocated for a message does not depend on the machine's mood as times do. The bounds have room for a broker that changes, not
// for a copy or a lookup more for each message.

// Bounds for each message.
const (
	appendAllocs  = 150
	observeAllocs = 1
)

func TestAMessageCostsFewAllocations(t *testing.T) {
	b := newBroker(t, 1)
	l, err := chatlog.New(chatlog.Config{Bus: b.Bus(t), Partitions: 1, Older: fresh{}, Retention: time.Hour, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	wg.Go(func() { _ = l.Run(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	create(t, l, "c1", "ann", "ben")
	n := 0
	for range 50 { // what is allocated once, by the client of the broker too
		n++
		if _, err := l.Append(t.Context(), "c1", send("ann", fmt.Sprint("m", n))); err != nil {
			t.Fatal(err)
		}
	}
	got := testing.AllocsPerRun(300, func() {
		n++
		if _, err := l.Append(t.Context(), "c1", send("ann", fmt.Sprint("m", n))); err != nil {
			t.Error(err)
		}
	})
	t.Logf("an append, the broker's part counted: %.0f", got)
	if got > appendAllocs {
		t.Errorf("an append, the broker's part counted, allocates %.0f times; want %d at most", got, appendAllocs)
	}
	if got := testing.AllocsPerRun(1000, func() {
		if s, err := l.Known(t.Context(), "c1"); err != nil || s.Head.Seq == 0 {
			t.Error("the chat is not known")
		}
	}); got > 0 {
		t.Errorf("to look up a chat that is remembered allocates %.0f times; want 0", got)
	}
	s, err := l.Known(t.Context(), "c1")
	if err != nil {
		t.Fatal(err)
	}
	seq := s.Head.Seq
	events := make([]chatlog.Observed, 1001)
	for i := range events {
		seq++
		client := chat.ClientID(fmt.Sprint("o", i))
		at := chat.Now()
		events[i] = chatlog.Observed{Chat: "c1", Type: chat.Message, Seq: seq, Stream: uint64(seq) + 1000, ID: "AAAAAAAA" + fmt.Sprintf("%016d", i),
			Body: wire.Encode(chat.Event{Type: chat.Message, Chat: "c1", Seq: seq, N: uint64(seq), Sender: "ann", ClientID: client, Text: "hello", SentAt: &at})}
	}
	i := 0
	got = testing.AllocsPerRun(1000, func() {
		if _, known := l.Observe(events[i]); !known {
			t.Errorf("event %d is not what follows", i)
		}
		i++
	})
	t.Logf("an event that flows past: %.0f", got)
	if got > observeAllocs {
		t.Errorf("an event that flows past allocates %.0f times; want %d at most", got, observeAllocs)
	}
}

func TestManyWhoAskForManyChatsAtOnceGetEachTheirs(t *testing.T) {
	b := newBroker(t, 2)
	writer, reader := newLog(t, b, 2), newLog(t, b, 2)
	const chats = 150
	var wg sync.WaitGroup
	for i := range chats {
		wg.Go(func() {
			if _, err := writer.Append(t.Context(), chat.ID(fmt.Sprint("c", i)),
				chat.Create{By: chat.UserID(fmt.Sprint("u", i)), Kind: chat.Group, Title: "t"}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for i := range 2 * chats {
		wg.Go(func() {
			id, who := chat.ID(fmt.Sprint("c", i%chats)), chat.UserID(fmt.Sprint("u", i%chats))
			s, err := reader.Known(t.Context(), id)
			if err != nil || s.Head.Seq != 1 || s.State.Chat != id || s.State.Members[0].UserID != who {
				t.Errorf("%s: got %+v, %v; want its head and state", id, s, err)
			}
		})
	}
	wg.Wait()
	if s, err := reader.Known(t.Context(), "none"); err != nil || s.State.Exists() {
		t.Errorf("got %+v, %v; want a chat that does not exist", s, err)
	}
}

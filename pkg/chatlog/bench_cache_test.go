package chatlog_test

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/chatlog"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/store/pebble"
	"github.com/chatmesh/chatmesh/pkg/subject"
)

// stored is an Older that reads records from a store on disk, as that of the api does.
type stored struct {
	fresh
	db *pebble.Store
}

func (s stored) Record(ctx context.Context, id chat.ID) (store.Record, error) {
	return s.db.Record(ctx, id)
}

// kinds of chat that are remembered.
var kinds = []struct {
	name    string
	members int
}{{"direct", 2}, {"group100", 100}}

// state is a chat of n people with ids as long as the server makes them.
func state(id chat.ID, n int) *chat.State {
	s := &chat.State{Chat: id, Seq: 1, Kind: chat.Group, Title: "Tea time", CreatedAt: chat.Now()}
	for i := range n {
		s.Members = append(s.Members, chat.Member{UserID: chat.UserID(fmt.Sprintf("06h0j8lmq5n7q9k5v0m6v%05d", i)), Role: chat.Plain, Since: 1})
	}
	return s
}

// inLog makes chats of n people in the log.
func inLog(b *testing.B, l *chatlog.Log, prefix string, chats, n int) []chat.ID {
	b.Helper()
	ids := make([]chat.ID, chats)
	var members []chat.UserID
	for _, m := range state("", n).Members[1:] {
		members = append(members, m.UserID)
	}
	next := make(chan chat.ID)
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for id := range next {
				if _, err := l.Append(b.Context(), id, chat.Create{By: "06h0j8lmq5n7q9k5v0m6v00000", Kind: chat.Group, Title: "Tea time", Members: members}); err != nil {
					b.Error(err)
				}
			}
		})
	}
	for i := range ids {
		ids[i] = chat.ID(fmt.Sprintf("%s06h0j8lmq5n7q9k5v%05d", prefix, i))
		next <- ids[i]
	}
	close(next)
	wg.Wait()
	return ids
}

// reader is a log that reads only, with room for so many chats.
func reader(b *testing.B, conn *bus.Bus, older chatlog.Older, chats int, readOnly bool) *chatlog.Log {
	b.Helper()
	l, err := chatlog.New(chatlog.Config{Bus: conn, Partitions: 1, Older: older, Retention: time.Hour, CacheChats: chats,
		ReadOnly: readOnly, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	return l
}

func heapNow() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkCacheMemory tells how much a chat takes that is remembered, and what a hit costs among many: with the ids of the last 100
// messages, as where messages are appended, and without, as in the fan-out.
func BenchmarkCacheMemory(b *testing.B) {
	const chats, messages = 2000, 100
	broker := newBroker(b, 1)
	writer, conn := newLog(b, broker, 1), broker.Bus(b)
	for _, kind := range kinds {
		ids := inLog(b, writer, kind.name[:1], chats, kind.members)
		for _, withIDs := range []bool{false, true} {
			name := kind.name + "/without-ids"
			if withIDs {
				name = kind.name + "/with-100-ids"
			}
			b.Run(name, func(b *testing.B) {
				before := heapNow()
				l := reader(b, conn, fresh{}, chats, !withIDs)
				for _, id := range ids {
					if _, err := l.Known(b.Context(), id); err != nil {
						b.Fatal(err)
					}
					for n := range messages {
						key := append(binary.BigEndian.AppendUint64(nil, uint64(n)*0x9e3779b97f4a7c15+1), make([]byte, 10)...)
						l.Observe(chatlog.Observed{Chat: id, Type: chat.Message, Seq: chat.Seq(n + 2), Stream: uint64(n + 2),
							ID: base64.RawURLEncoding.EncodeToString(key)})
					}
				}
				each := float64(heapNow()-before) / chats
				for n := 0; b.Loop(); n++ {
					if s, err := l.Known(b.Context(), ids[n%chats]); err != nil || s.Head.Seq != messages+1 {
						b.Fatalf("got %d, %v; want what has flowed past", s.Head.Seq, err)
					}
				}
				b.ReportMetric(each, "bytes/chat")
				runtime.KeepAlive(l)
			})
		}
	}
}

// BenchmarkCacheMiss tells what it costs to learn of a chat that is not remembered: from the broker; from the store, where the log has
// forgotten it, in the api; and through the api, as an edge does.
func BenchmarkCacheMiss(b *testing.B) {
	const chats = 64
	broker := newBroker(b, 1)
	writer, conn := newLog(b, broker, 1), broker.Bus(b)
	db, err := pebble.Open(b.TempDir(), pebble.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = db.Close() })
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- broker.Bus(b).Serve(ctx, "0.0.1", []bus.Endpoint{{Subject: subject.StateEndpoint, Handle: func(ctx context.Context, in []byte) (any, error) {
			id := chat.ID(in[len(`{"chat":"`) : len(in)-len(`"}`)])
			r, err := db.Record(ctx, id)
			return map[string]any{"seq": r.Seq, "n": r.N, "at": r.At, "stream": r.Stream, "state": r.State}, err
		}}}, nil)
	}()
	b.Cleanup(func() { cancel(); <-done })
	for _, kind := range kinds {
		logged := inLog(b, writer, kind.name[:1], chats, kind.members)
		aged := make([]chat.ID, chats)
		for i := range aged {
			aged[i] = chat.ID(fmt.Sprintf("%sold%05d", kind.name, i))
			st, at := state(aged[i], kind.members), chat.Now()
			e := chat.Event{Type: chat.Changed, Change: chat.Created, Chat: aged[i], Seq: 1, By: st.Members[0].UserID, At: &at}
			if err := db.Write(b.Context(), store.Batch{States: []*chat.State{st},
				Events: []store.Entry{{Event: e, Body: []byte("{}"), Stream: 1}}}); err != nil {
				b.Fatal(err)
			}
		}
		for _, from := range []struct {
			name  string
			ids   []chat.ID
			older chatlog.Older
		}{{"broker", logged, fresh{}}, {"store", aged, stored{db: db}}, {"api", aged, chatlog.Remote{Bus: conn}}} {
			b.Run(kind.name+"/"+from.name, func(b *testing.B) {
				l := reader(b, conn, from.older, 1, true)
				for n := 0; b.Loop(); n++ {
					if s, err := l.Known(b.Context(), from.ids[n%chats]); err != nil || len(s.State.Members) != kind.members {
						b.Fatalf("got %+v, %v; want the chat", s, err)
					}
				}
			})
		}
	}
}

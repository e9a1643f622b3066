package pebble

import (
	"bytes"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/store"
)

// benchBody is as long as the event of a message of 100 bytes.
var benchBody = bytes.Repeat([]byte("0123456789abcde "), 20)

func benchEntry(id chat.ID, seq chat.Seq) store.Entry {
	at := chat.Now()
	return store.Entry{Body: benchBody, Event: chat.Event{
		Type: chat.Message, Chat: id, Seq: seq, N: uint64(seq), SentAt: &at,
		Sender: "0197d3c8-1111-7000-8000-000000000001", ClientID: chat.ClientID(fmt.Sprintf("0197d3c8-2222-7000-8000-%012d", seq)),
	}}
}

func benchChat(i int) chat.ID { return chat.ID(fmt.Sprintf("0197d3c8-3333-7000-8000-%012d", i)) }

// BenchmarkWrite writes batches of events, spread over chats as a partition's are: ten events or less of each chat.
func BenchmarkWrite(b *testing.B) {
	for _, writers := range []int{1, 4} {
		for _, size := range []int{1, 50, 500} {
			b.Run(fmt.Sprintf("writers=%d/events=%d", writers, size), func(b *testing.B) {
				s := openAt(b, b.TempDir(), Options{})
				var left atomic.Int64
				left.Store(int64(b.N))
				var wg sync.WaitGroup
				b.ResetTimer()
				for w := range writers {
					wg.Go(func() {
						seqs := make([]chat.Seq, 1000)
						for at := 0; left.Add(-1) >= 0; {
							var batch store.Batch
							for range size {
								c := at / 10 % len(seqs)
								at++
								seqs[c]++
								batch.Events = append(batch.Events, benchEntry(benchChat(w*len(seqs)+c), seqs[c]))
							}
							if err := s.Write(b.Context(), batch); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				wg.Wait()
				b.ReportMetric(float64(size)*float64(b.N)/b.Elapsed().Seconds(), "events/s")
			})
		}
	}
}

// filled writes a chat of n events, among others, and puts all into tables.
func filled(b *testing.B, n int) *Store {
	b.Helper()
	s := openAt(b, b.TempDir(), Options{NoSync: true})
	for from := 0; from < n; from += 100 {
		var batch store.Batch
		for i := from; i < min(n, from+100); i++ {
			batch.Events = append(batch.Events, benchEntry(benchChat(0), chat.Seq(i+1)), benchEntry(benchChat(1+i/100), chat.Seq(i%100+1)))
		}
		if err := s.Write(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
	}
	if err := s.db.Flush(); err != nil {
		b.Fatal(err)
	}
	if err := s.db.Compact(b.Context(), []byte{0}, []byte{0xff}, false); err != nil {
		b.Fatal(err)
	}
	return s
}

func BenchmarkPage50(b *testing.B) {
	for _, n := range []int{100, 100_000} {
		s := filled(b, n)
		for name, r := range map[string]store.Range{
			"last":  {Limit: 50},
			"older": {Limit: 50, Before: chat.Seq(n*3/4 + 1)},
			"newer": {Limit: 50, After: chat.Seq(n / 4)},
		} {
			b.Run(fmt.Sprintf("%s/of=%d", name, n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if items, err := s.Page(b.Context(), benchChat(0), r); err != nil || len(items) != 50 {
						b.Fatal(len(items), err)
					}
				}
			})
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkFind(b *testing.B) {
	const n = 100_000
	s := filled(b, n)
	for name, from := range map[string]int{"hit": 0, "miss": n} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				e := benchEntry(benchChat(0), chat.Seq(from+(i*7919)%n+1)).Event
				if _, err := s.Find(b.Context(), e.Chat, e.Sender, e.ClientID); (err == nil) != (from == 0) {
					b.Fatal(err)
				}
			}
		})
	}
}

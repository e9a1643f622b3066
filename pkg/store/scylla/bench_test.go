package scylla_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/gocql/gocql"
	"github.com/scylladb/gocqlx/v2"
	"golang.org/x/sync/errgroup"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/meshtest/cqltest"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/store/scylla"
)

// large is how many events the large chat of the benchmarks has.
var large = flag.Int("events", 1_000_000, "events of the large chat of BenchmarkPage50")

// benchBody is as long as the event of a message of 100 bytes.
var benchBody = bytes.Repeat([]byte("0123456789abcde "), 20)

func benchEntry(id chat.ID, seq chat.Seq, sender int) store.Entry {
	at := chat.Now()
	return store.Entry{Body: benchBody, Stream: uint64(seq), Event: chat.Event{
		Type: chat.Message, Chat: id, Seq: seq, N: uint64(seq), SentAt: &at,
		Sender:   chat.UserID(fmt.Sprintf("06h0j8lm5pd2s0fk9h2v0000%02d", sender)),
		ClientID: chat.ClientID(fmt.Sprintf("0197d3c8-2222-7000-8000-%012d", seq)),
	}}
}

const (
	putMessage = "INSERT INTO messages (chat_id, bucket, seq, body) VALUES (?, ?, ?, ?) USING TIMESTAMP ?"
	putClient  = "INSERT INTO client_ids (chat_id, bucket, sender, client_id, seq, sent_at) VALUES (?, ?, ?, ?, ?, ?) USING TIMESTAMP ?"
)

// bare writes events as the driver does it best: batches of 50 within a partition, as many at once as the store has. both is with
// the client ids, which are as many rows again.
func bare(ctx context.Context, s gocqlx.Session, events []store.Entry, both bool) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(32)
	write := func(some []store.Entry, add func(*gocql.Batch, *store.Entry)) {
		g.Go(func() error {
			//lint:ignore SA1019 the fork has another name for it, which upstream does not have yet
			b := s.Session.NewBatch(gocql.UnloggedBatch).WithContext(ctx)
			for i := range some {
				add(b, &some[i])
			}
			return s.ExecuteBatch(b)
		})
	}
	for len(events) > 0 {
		first := &events[0].Event
		n := 1
		for n < min(50, len(events)) && events[n].Event.Chat == first.Chat && events[n].Event.Seq/256 == first.Seq/256 {
			n++
		}
		some := events[:n]
		events = events[n:]
		write(some, func(b *gocql.Batch, e *store.Entry) {
			b.Query(putMessage, string(e.Event.Chat), int64(e.Event.Seq/256), int64(e.Event.Seq), e.Body, int64(1<<49-e.Stream))
		})
		if both {
			write(some, func(b *gocql.Batch, e *store.Entry) {
				b.Query(putClient, string(e.Event.Chat), int64(0), string(e.Event.Sender), string(e.Event.ClientID), int64(e.Event.Seq),
					e.Event.SentAt.UnixMicro(), int64(1<<49-e.Event.Seq))
			})
		}
	}
	return g.Wait()
}

// BenchmarkWriteAgainstBareInserts writes the same events by the store, with all that follows from them, and by bare batches, in
// turns. An event is two rows in the store, the message and its client id, beside heads and cursors: ratio compares with bare
// batches of these two, ratio_messages with bare batches of the messages alone.
func BenchmarkWriteAgainstBareInserts(b *testing.B) {
	const writers, size = 4, 500 // as many as the persister has workers and takes at once
	for _, each := range []int{500, 50, 10} {
		b.Run(fmt.Sprintf("events=%d/of_each_chat=%d", size, each), func(b *testing.B) {
			o := cqltest.Options(b)
			s, session := cqltest.Open(b, o), cqltest.Session(b, o.Hosts[0], o.Keyspace)
			round := 0
			run := func(kind string, write func([]store.Entry) error) time.Duration {
				round++
				var wg sync.WaitGroup
				began := time.Now()
				for w := range writers {
					wg.Go(func() {
						var events []store.Entry
						for i := range size {
							// Chats that there were before, as most are; another span of seqs each round.
							id := chat.ID(fmt.Sprintf("g06h0j8lm5pd2s0fk%s%d%05d", kind, w, i/each))
							events = append(events, benchEntry(id, chat.Seq(round/3*each+i%each+1), i%2))
						}
						if err := write(events); err != nil {
							b.Error(err)
						}
					})
				}
				wg.Wait()
				return time.Since(began)
			}
			byStore := func(events []store.Entry) error { return s.Write(b.Context(), store.Batch{Events: events}) }
			byHand := func(both bool) func([]store.Entry) error {
				return func(events []store.Entry) error { return bare(b.Context(), session, events, both) }
			}
			run("s", byStore)
			run("b", byHand(true))
			run("m", byHand(false))
			var inStore, rows, messages time.Duration
			for b.Loop() {
				inStore += run("s", byStore)
				rows += run("b", byHand(true))
				messages += run("m", byHand(false))
			}
			events := float64(writers * size * b.N)
			b.ReportMetric(events/inStore.Seconds(), "events/s")
			b.ReportMetric(events/rows.Seconds(), "bare/s")
			b.ReportMetric(events/messages.Seconds(), "bare_messages/s")
			b.ReportMetric(rows.Seconds()/inStore.Seconds(), "ratio")
			b.ReportMetric(messages.Seconds()/inStore.Seconds(), "ratio_messages")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// filled writes a chat of n events.
func filled(b *testing.B, s *scylla.Store, session gocqlx.Session, n int) chat.ID {
	b.Helper()
	id := chat.ID(fmt.Sprintf("chat-%d", n))
	began := time.Now()
	for from := 0; from < n; from += 5000 {
		var events []store.Entry
		for seq := from + 1; seq <= min(n, from+5000); seq++ {
			events = append(events, benchEntry(id, chat.Seq(seq), 0))
		}
		if err := bare(b.Context(), session, events, false); err != nil {
			b.Fatal(err)
		}
	}
	if err := s.Write(b.Context(), store.Batch{Events: []store.Entry{benchEntry(id, chat.Seq(n), 0)}}); err != nil {
		b.Fatal(err)
	}
	b.Logf("%d events were written in %v", n, time.Since(began))
	return id
}

// BenchmarkPage50 reads pages of 50 in a short and in a long chat, in turns with the bare query for the same rows. The ratio says
// how much longer the store takes, which does not know where the newest are.
func BenchmarkPage50(b *testing.B) {
	o := cqltest.Options(b)
	s, session := cqltest.Open(b, o), cqltest.Session(b, o.Hosts[0], o.Keyspace)
	for _, n := range []int{100, *large} {
		id := filled(b, s, session, n)
		for _, kind := range []struct {
			name string
			r    store.Range
			last int // seq of the newest event of the page
		}{
			{"newest", store.Range{Limit: 50}, n},
			{"older", store.Range{Limit: 50, Before: chat.Seq(n*3/4 + 1)}, n * 3 / 4},
			{"after", store.Range{Limit: 50, After: chat.Seq(n/4 + 1)}, n/4 + 51},
		} {
			b.Run(fmt.Sprintf("of=%d/%s", n, kind.name), func(b *testing.B) {
				var inStore, byDriver time.Duration
				for b.Loop() {
					began := time.Now()
					items, err := s.Page(b.Context(), id, kind.r)
					inStore += time.Since(began)
					if err != nil || len(items) != 50 || items[49].Seq != chat.Seq(kind.last) {
						b.Fatal(len(items), err)
					}
					began = time.Now()
					got := byQuery(b, session, id, kind.last)
					byDriver += time.Since(began)
					if got != 50 {
						b.Fatal(got)
					}
				}
				b.ReportMetric(float64(inStore.Microseconds())/float64(b.N), "µs/page")
				b.ReportMetric(float64(byDriver.Microseconds())/float64(b.N), "µs/bare")
				b.ReportMetric(inStore.Seconds()/byDriver.Seconds(), "ratio")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

// byQuery reads the 50 events up to last, from one partition or from two.
func byQuery(b *testing.B, s gocqlx.Session, id chat.ID, last int) (rows int) {
	for high := last; high > last-50; {
		bucket := high / 256
		low := max(last-49, bucket*256)
		it := s.Session.Query("SELECT seq, body FROM messages WHERE chat_id = ? AND bucket = ? AND seq >= ? AND seq <= ? LIMIT 50",
			string(id), int64(bucket), int64(low), int64(high)).WithContext(b.Context()).Iter()
		var seq int64
		for body := []byte(nil); it.Scan(&seq, &body); body = nil {
			rows++
		}
		if err := it.Close(); err != nil {
			b.Fatal(err)
		}
		high = low - 1
	}
	return rows
}

func BenchmarkFind(b *testing.B) {
	o := cqltest.Options(b)
	s := cqltest.Open(b, o)
	const n = 5000
	var events []store.Entry
	for seq := range chat.Seq(n) {
		events = append(events, benchEntry("chat", seq+1, 0))
	}
	if err := s.Write(b.Context(), store.Batch{Events: events}); err != nil {
		b.Fatal(err)
	}
	for name, from := range map[string]int{"hit": 0, "miss": n} {
		b.Run(name, func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				e := benchEntry("chat", chat.Seq(from+(i*7919)%n+1), 0).Event
				if _, err := s.Find(b.Context(), e.Chat, e.Sender, e.ClientID); (err == nil) != (from == 0) {
					b.Fatal(err)
				}
			}
		})
	}
}

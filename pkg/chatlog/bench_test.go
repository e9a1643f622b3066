package chatlog_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/chatlog"
	"github.com/chatmesh/chatmesh/pkg/meshtest"
)

// fresh is an Older that knows that nothing was sent before.
type fresh struct{ empty }

func (fresh) Sent(context.Context, chat.ID, chat.UserID) (chatlog.Sent, error) {
	return chatlog.Sent{UpTo: 1 << 62, Complete: true}, nil
}

// BenchmarkAppend shows what group commit is worth: N senders who each wait for their ack before they send again, each in a chat of
// their own, one partition, synced always, on the same broker.
func BenchmarkAppend(b *testing.B) {
	broker := newBroker(b, 1)
	for _, mode := range []string{"single", "group"} {
		for _, n := range []int{1, 16, 256, 1024} {
			b.Run(fmt.Sprintf("%s/%d", mode, n), func(b *testing.B) {
				l, err := chatlog.New(chatlog.Config{Bus: broker.Bus(b), Partitions: 1, Older: fresh{}, Retention: time.Hour,
					Single: mode == "single", Logger: meshtest.Logger(b)})
				if err != nil {
					b.Fatal(err)
				}
				ctx, cancel := context.WithCancel(context.Background())
				done := make(chan struct{})
				go func() { defer close(done); _ = l.Run(ctx) }()
				b.Cleanup(func() { cancel(); <-done })
				ids := make([]chat.ID, n)
				for i := range ids {
					ids[i] = chat.ID(fmt.Sprintf("%s-%d-%d-%d", mode, n, i, time.Now().UnixNano()))
					create(b, l, ids[i], "ann")
				}
				var next atomic.Int64
				var wg sync.WaitGroup
				b.ResetTimer()
				for i := range n {
					wg.Go(func() {
						for k := next.Add(1); k <= int64(b.N); k = next.Add(1) {
							if _, err := l.Append(ctx, ids[i], send("ann", fmt.Sprint("m", k))); err != nil {
								b.Errorf("append: %v", err)
								return
							}
						}
					})
				}
				wg.Wait()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appends/s")
			})
		}
	}
}

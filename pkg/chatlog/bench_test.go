package chatlog_test

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/chatlog"
	"github.com/chatmesh/chatmesh/pkg/meshtest"
	"github.com/chatmesh/chatmesh/pkg/staging"
	"github.com/chatmesh/chatmesh/pkg/subject"
)

// fresh is an Older that knows that nothing was sent before.
type fresh struct{ empty }

func (fresh) Sent(context.Context, chat.ID, chat.UserID, chat.Seq) (chatlog.Sent, error) {
	return chatlog.Sent{UpTo: 1 << 62, Complete: true}, nil
}

// BenchmarkAppend shows what group commit is worth: N senders who each wait for their ack before they send again, each in a chat of
// their own, one partition, synced always, on the same broker, which stages batches in memory as the program's own does. Each line has a stream of its own, so that none finds what another has left.
func BenchmarkAppend(b *testing.B) {
	modes, senders := []string{"single", "group"}, []int{1, 16, 256, 1024}
	parts := len(modes) * len(senders)
	broker := newBroker(b, parts)
	if f, err := staging.InMemory(staging.MemoryFiles, filepath.Dir(broker.StoreDir()), parts, meshtest.Logger(b)); err == nil {
		b.Cleanup(f.End)
	} else {
		b.Logf("batches are staged on the disk: %v", err)
	}
	for m, mode := range modes {
		for s, n := range senders {
			b.Run(fmt.Sprintf("%s/%d", mode, n), func(b *testing.B) {
				l, err := chatlog.New(chatlog.Config{Bus: broker.Bus(b), Partitions: parts, Older: fresh{}, Retention: time.Hour,
					Single: mode == "single", Logger: meshtest.Logger(b)})
				if err != nil {
					b.Fatal(err)
				}
				ctx, cancel := context.WithCancel(context.Background())
				done := make(chan struct{})
				go func() { defer close(done); _ = l.Run(ctx) }()
				b.Cleanup(func() { cancel(); <-done })
				ids := make([]chat.ID, 0, n)
				for i := 0; len(ids) < n; i++ {
					id := chat.ID(fmt.Sprintf("%s-%d-%d-%d", mode, n, i, time.Now().UnixNano()))
					if subject.Partition(id, parts) == m*len(senders)+s {
						ids = append(ids, id)
						create(b, l, id, "ann")
					}
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

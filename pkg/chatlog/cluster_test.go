package chatlog_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/chatlog"
	"github.com/chatmesh/chatmesh/pkg/meshtest"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// TestThreeBrokersKeepThePromisesWhileOneAfterTheOtherIsKilledAndPaused drives three broker processes that keep three copies:
// writers race in some chats from three nodes, retry what was not acked, and meanwhile each broker in turn is killed and started
// again, or paused for longer than an election takes.
func TestThreeBrokersKeepThePromisesWhileOneAfterTheOtherIsKilledAndPaused(t *testing.T) {
	c := meshtest.StartProcesses(t)
	t.Cleanup(c.Close)
	lay(t, c, 2)
	logs := []*chatlog.Log{newLog(t, c, 2), newLog(t, c, 2), newLog(t, c, 2)}
	const chats = 4
	for n := range chats {
		create(t, logs[0], chat.ID(fmt.Sprint("c", n)), "ann", "ben")
	}
	type acked struct {
		chat   chat.ID
		client string
	}
	var mu sync.Mutex
	at := map[acked]chat.Seq{}
	var stall time.Duration
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for w := range 6 {
		wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				a := acked{chat.ID(fmt.Sprint("c", (w+n)%chats)), fmt.Sprintf("w%d-%d", w, n)}
				begun := time.Now()
				for try := 0; t.Context().Err() == nil; try++ { // on any node, as a client that comes back elsewhere
					ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
					r, err := logs[(w+try)%len(logs)].Append(ctx, a.chat, send("ann", a.client))
					cancel()
					if err == nil {
						mu.Lock()
						at[a] = r.Seq
						stall = max(stall, time.Since(begun))
						mu.Unlock()
						break
					}
					time.Sleep(20 * time.Millisecond)
				}
			}
		})
	}
	for i := range 6 {
		time.Sleep(time.Second) // some load before each fault
		if i%2 == 0 {
			c.Kill(i / 2)
			time.Sleep(time.Second)
			c.Start(t, i/2)
			continue
		}
		if err := c.Pause(i / 2); err != nil {
			t.Fatal(err)
		}
		time.Sleep(6 * time.Second) // an election takes 4 to 9 s
		if err := c.Continue(i / 2); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(time.Second)
	close(stop)
	wg.Wait()
	total := 0
	for n := range chats {
		id := chat.ID(fmt.Sprint("c", n))
		var head chat.Seq
		meshtest.Eventually(t, meshtest.Patience, "the head", func() bool {
			s, err := logs[1].Snapshot(t.Context(), id)
			head = s.Head.Seq
			return err == nil
		})
		items, err := logs[1].After(t.Context(), id, 0, 0, 1_000_000, 0)
		if err != nil || len(items) != int(head) {
			t.Fatalf("%s: got %d events, %v; want %d", id, len(items), err, head)
		}
		seen := map[chat.ClientID]bool{}
		for i, it := range items {
			e, err := wire.DecodeEvent(it.Body)
			if err != nil || e.Seq != chat.Seq(i+1) || seen[e.ClientID] {
				t.Fatalf("%s: event %d is %d, a double %v, %v", id, i+1, e.Seq, seen[e.ClientID], err)
			}
			if seen[e.ClientID] = true; e.Type == chat.Message {
				if want, ok := at[acked{id, string(e.ClientID)}]; ok && want != e.Seq {
					t.Fatalf("%s: %s stands at %d and was acked at %d", id, e.ClientID, e.Seq, want)
				}
			}
		}
		for a := range at {
			if a.chat == id {
				if total++; !seen[chat.ClientID(a.client)] {
					t.Fatalf("%s: %s was acked and is lost", id, a.client)
				}
			}
		}
	}
	t.Logf("%d acked, longest stall %v", total, stall.Round(time.Millisecond))
	if total < 50 {
		t.Errorf("only %d acked: this is no test", total)
	}
}

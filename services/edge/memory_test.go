package edge

import (
	"fmt"
	"maps"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/meshtest"
)

func TestClientsThatDoNotReadWhileTheyCatchUpCostLittleAndAreToldToSync(t *testing.T) {
	const conns = 8
	r := newRig(t)
	big := make([]byte, 8<<10)
	for i := range big {
		big[i] = 'a' + byte(i%26)
	}
	ids := r.fill(20, 40, string(big)) // 6 MB
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	// stuck counts the connections that wait for their reader: all, or those of one device.
	stuck := func(of ...*device) (n int64) {
		for _, c := range r.edge.hub.all() {
			c.mu.Lock()
			if c.outBytes >= queueLow && (len(of) == 0 || c.nc.RemoteAddr().String() == of[0].ws.LocalAddr().String()) {
				n++
			}
			if c.outBytes > queueLow+readBytes+len(big) {
				t.Errorf("%d bytes wait for a connection; want at most %d", c.outBytes, queueLow+readBytes+len(big))
			}
			c.mu.Unlock()
		}
		return n
	}
	before := heap()
	var slow []*device
	for range conns {
		d := r.dialNarrow() // and nobody reads
		r.hello(d, ids)
		slow = append(slow, d)
		meshtest.Eventually(t, meshtest.Patience, "it is stuck", func() bool { return stuck(d) == 1 })
	}
	n := stuck() // those that came first may have been given up
	all := int64(heap()) - int64(before)
	t.Logf("heap with %d connections that catch up and do not read: %d KiB more", n, all>>10)
	// The broker keeps what it has read of its log for a while, all 6 MB. Each of them would hold as much.
	if n == 0 || all > conns*2<<20+8<<20 {
		t.Errorf("%d of %d connections that catch up and do not read, and the broker's cache, hold %d bytes; want at most 24 MiB", n, conns, all)
	}
	// Now one of them reads: what it got is in order, and for the rest it is told to sync.
	d := slow[conns-1].listen()
	cursor, want := map[chat.ID]chat.Seq{}, map[chat.ID]chat.Seq{}
	for _, id := range ids {
		cursor[id], want[id] = 1, 41
	}
	follow(t, d, cursor, func() map[chat.ID]chat.Seq { return want })
}

func TestAStormOfReconnectsLosesNothingAndNeverCatchesUpMoreThanTheBoundAtOnce(t *testing.T) {
	const people, messages = 99, 20
	r := newRig(t)
	var users []chat.UserID
	for i := range people {
		users = append(users, chat.UserID(fmt.Sprintf("u%d", i)))
	}
	want := map[chat.ID]chat.Seq{}
	for g := range 4 {
		id := chat.ID(fmt.Sprintf("g%d", g))
		r.group(id, users...)
		for n := range messages {
			r.say(id, n)
		}
		want[id] = messages + 1
	}
	cursors := map[chat.ID]chat.Seq{"g0": 1, "g1": 1, "g2": messages, "g3": messages + 1}
	var wg sync.WaitGroup
	devices := make([]*device, people)
	start := time.Now()
	for i := range devices {
		wg.Go(func() {
			devices[i] = r.dial().listen()
			devices[i].write(map[string]any{"type": "hello", "token": r.token(users[i], "s"), "cursors": cursors})
		})
	}
	wg.Wait()
	most, synced := 0, 0
	for _, d := range devices {
		synced += follow(t, d, maps.Clone(cursors), func() map[chat.ID]chat.Seq {
			most = max(most, len(r.edge.catchUps))
			return want
		})
	}
	if most > catchUpsAtOnce {
		t.Errorf("%d caught up at once; want at most %d", most, catchUpsAtOnce)
	}
	// Where the machine is too busy for a turn to come in time, they sync.
	t.Logf("%d connections have the %d events that they missed after %v; at most %d at once; %d times synced", people, 2*messages+1,
		time.Since(start), most, synced)
}

package growth

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/google/uuid"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chat"
)

// Chats says how the cost of a message is measured as chats become more.
type Chats struct {
	// Chats are the numbers of chats, ascending: each is measured in the mesh of the one before, which has grown.
	Chats []int
	// Messages is how many are sent for each number and each way to choose a chat; as many are sent before, which do not count.
	Messages int
	// InFlight is how many are sent at the same time.
	InFlight int
	// Dir is where the state is; the caller removes it.
	Dir string
	// Say is told of progress.
	Say func(string)
	// Measure, if set, is called when something begins, for profiles: making chats ("make"), or what is measured of a choice. What it
	// returns is called at the end.
	Measure func(chats int, what string) (done func())
}

// Point is what a message costs with so many chats, everything counted: edge's log, broker, fan-out, persister, store.
type Point struct {
	// System is "chatmesh", or "chatmesh-unsynced" whose log is synced now and then.
	System string
	Chats  int
	// Choice is how the chat of a message is chosen: "uniform" or "zipf".
	Choice string
	// CPU, Allocs, Bytes, Disk are for each message: µs, number, bytes in memory and on disk.
	CPU, Allocs, Bytes, Disk float64
	PerSecond                float64
	// EdgeHits and FanOutHits are the shares of look-ups that the caches of chats answered. Loads is how often, for each message, the
	// ids that somebody had sent were asked for.
	EdgeHits, FanOutHits, Loads float64
	// HeapPerChat is how many bytes of memory the process takes more for each chat than with those of the point before.
	HeapPerChat float64
	// MakePerSecond is how many chats were made a second, DiskPerChat what they take.
	MakePerSecond, DiskPerChat float64
	// Restart is how long it took to start again with all these chats, in seconds.
	Restart float64
}

// Run measures. Each message must come to both members of its chat, or the run fails.
func (g Chats) Run(ctx context.Context) (points []Point, err error) {
	var m *system
	defer func() {
		if m != nil {
			err = errors.Join(err, m.Stop())
		}
	}()
	// Chats are made on a log that is synced now and then: it is not their making that is measured.
	again := func(logSync string) error {
		if m != nil {
			if err := m.Stop(); err != nil {
				return err
			}
		}
		m, err = start(ctx, g.Dir, logSync)
		return err
	}
	made, heap := 0, heapInUse()
	for _, chats := range g.Chats {
		if err := again("interval"); err != nil {
			return points, err
		}
		disk, started, done := m.disk(), time.Now(), g.watch(chats, "make")
		if err := makeChats(ctx, m, made, chats); err != nil {
			return points, err
		}
		took := time.Since(started)
		if err := m.settled(ctx); err != nil {
			return points, err
		}
		done()
		more := float64(chats - made)
		uniform := Point{System: chatmesh, Chats: chats, Choice: "uniform", MakePerSecond: more / took.Seconds(), DiskPerChat: float64(m.disk()-disk) / more}
		g.Say(fmt.Sprintf("%d chats: %.0f made a second, all of them in the store after %.1f s", chats, uniform.MakePerSecond, time.Since(started).Seconds()))
		quick := []Point{{System: unsynced, Chats: chats, Choice: "uniform"}, {System: unsynced, Chats: chats, Choice: "zipf"}}
		if _, err := g.both(ctx, m, quick); err != nil {
			return points, err
		}
		started = time.Now()
		if err := again("always"); err != nil {
			return points, err
		}
		uniform.Restart = time.Since(started).Seconds()
		synced := []Point{uniform, {System: chatmesh, Chats: chats, Choice: "zipf"}}
		now, err := g.both(ctx, m, synced)
		if err != nil {
			return points, err
		}
		synced[0].HeapPerChat = (float64(now) - float64(heap)) / more
		heap, made = now, chats
		points = append(append(points, synced...), quick...)
	}
	return points, nil
}

// both measures the points with an edge that knows no chat yet, and returns how much of the heap is in use then.
func (g Chats) both(ctx context.Context, m *system, points []Point) (heap uint64, err error) {
	e, err := newEdge(m)
	if err != nil {
		return 0, err
	}
	defer e.stop()
	for i := range points {
		if err := g.measure(ctx, m, e, &points[i]); err != nil {
			return 0, err
		}
		g.Say(points[i].String())
	}
	return heapInUse(), nil
}

// watch begins to watch something, where somebody wants to.
func (g Chats) watch(chats int, what string) (done func()) {
	if g.Measure == nil {
		return func() {}
	}
	return g.Measure(chats, what)
}

// String is the point as a line.
func (p Point) String() string {
	return fmt.Sprintf("%-17s %7d chats %-7s %6.1f µs CPU, %5.0f allocations, %6.0f B, %5.0f B of disk a message; %6.0f/s; found: edge %.2f fan-out %.2f, loads %.2f; "+
		"%5.0f B of disk a chat; restart %.2f s", p.System, p.Chats, p.Choice, p.CPU, p.Allocs, p.Bytes, p.Disk, p.PerSecond, p.EdgeHits, p.FanOutHits,
		p.Loads, p.DiskPerChat, p.Restart)
}

// settled waits until the workers have nothing left to do, and for a minute at most until the store has put in order what it has.
func (m *system) settled(ctx context.Context) error {
	deadline := time.Now().Add(time.Minute)
	for last := -1.0; ; {
		c, err := m.counts(ctx)
		if err != nil {
			return err
		}
		lag := c[[2]string{"persister", "chatmesh_persister_lag_messages"}] + c[[2]string{"fanout", "chatmesh_fanout_lag_messages"}]
		done := c[[2]string{"persister", "chatmesh_persister_persisted_total"}] + c[[2]string{"fanout", "chatmesh_fanout_events_total"}]
		cpu := cpuTime()
		if err := bus.Sleep(ctx, 200*time.Millisecond); err != nil {
			return err
		}
		if lag == 0 && done == last && (cpuTime()-cpu < 20*time.Millisecond || time.Now().After(deadline)) {
			return nil
		}
		last = done
	}
}

// measure sends as many messages again as do not count, and then measures.
func (g Chats) measure(ctx context.Context, m *system, e *edge, p *Point) error {
	if err := g.send(ctx, e, p.Chats, p.Choice); err != nil {
		return err
	}
	if err := m.settled(ctx); err != nil {
		return err
	}
	defer g.watch(p.Chats, p.System+"-"+p.Choice)()
	before, err := m.counts(ctx)
	if err != nil {
		return err
	}
	persisted := func(c map[[2]string]float64) float64 {
		return c[[2]string{"persister", "chatmesh_persister_persisted_total"}]
	}
	hits, misses, loads := e.counts()
	disk := m.disk()
	var mem, after runtime.MemStats
	runtime.ReadMemStats(&mem)
	cpu, started := cpuTime(), time.Now()
	if err := g.send(ctx, e, p.Chats, p.Choice); err != nil {
		return err
	}
	took := time.Since(started)
	now, err := m.counts(ctx)
	for ; err == nil && persisted(now)-persisted(before) < float64(g.Messages); now, err = m.counts(ctx) {
		if err := bus.Sleep(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
	if err != nil {
		return err
	}
	n := float64(g.Messages)
	p.CPU = float64((cpuTime() - cpu).Microseconds()) / n
	runtime.ReadMemStats(&after)
	p.Allocs, p.Bytes = float64(after.Mallocs-mem.Mallocs)/n, float64(after.TotalAlloc-mem.TotalAlloc)/n
	p.Disk, p.PerSecond = float64(m.disk()-disk)/n, n/took.Seconds()
	hits2, misses2, loads2 := e.counts()
	p.EdgeHits = 1 - (misses2-misses)/(hits2-hits+misses2-misses)
	p.Loads = (loads2 - loads) / n
	of := func(name string) float64 { return now[[2]string{"fanout", name}] - before[[2]string{"fanout", name}] }
	p.FanOutHits = of("chatmesh_log_cache_hits_total") / (of("chatmesh_log_cache_hits_total") + of("chatmesh_log_cache_misses_total"))
	return nil
}

// send sends g.Messages messages and returns when each has come to both members of its chat.
func (g Chats) send(ctx context.Context, e *edge, chats int, choice string) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	before := e.delivered.Load()
	text := strings.Repeat("x", 100)
	var sent atomic.Int64
	var wg sync.WaitGroup
	for w := range g.InFlight {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), uint64(before)))
			zipf := rand.NewZipf(r, 1.1, 1, uint64(chats-1))
			for sent.Add(1) <= int64(g.Messages) && ctx.Err() == nil {
				n := r.IntN(chats)
				if choice == "zipf" {
					n = int(zipf.Uint64())
				}
				client, err := uuid.NewV7()
				if err == nil {
					err = appendTo(ctx, e.log, chatOf(n), chat.Send{Sender: membersOf(n)[r.IntN(2)], ClientID: chat.ClientID(client.String()), Text: text})
				}
				if err != nil {
					cancel(fmt.Errorf("send: %w", err))
				}
			}
		})
	}
	wg.Wait()
	for deadline := time.Now().Add(time.Minute); ctx.Err() == nil && e.delivered.Load()-before < 2*int64(g.Messages); {
		if time.Now().After(deadline) {
			return fmt.Errorf("%d of %d deliveries came", e.delivered.Load()-before, 2*g.Messages)
		}
		_ = bus.Sleep(ctx, 5*time.Millisecond)
	}
	if got := e.delivered.Load() - before; ctx.Err() == nil && got != 2*int64(g.Messages) {
		return fmt.Errorf("%d deliveries came; want %d", got, 2*g.Messages)
	}
	return context.Cause(ctx)
}

// cpuTime is what this process has used, of user and system time.
func cpuTime() time.Duration {
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r) // cannot fail
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// heapInUse is what is alive in the heap.
func heapInUse() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

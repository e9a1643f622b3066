package run

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// A process that holds little and allocates much spends an eighth of its time collecting garbage, again and again the same small heap.
// While it is busy it may leave more garbage lying, up to a bound. Once it is calm, Thrift gives the memory back.

// Bounds of pacing.
const (
	// busyRate is from how many bytes a second on a process is busy.
	busyRate = 64 << 20
	// slack is how much garbage a busy process may leave, and mostPercent how much in percent of what it holds. Where it holds more than slack
	// it collects as ever.
	slack       = 256 << 20
	mostPercent = 400
	usual       = 100
	// quietTicks is how many seconds in a row make a process quiet.
	quietTicks = 3
)

// Pace sets how much garbage may lie, every second until ctx ends, and then as it was. Where an operator has set GOGC it does nothing.
func Pace(ctx context.Context) error {
	if os.Getenv("GOGC") != "" {
		<-ctx.Done()
		return nil
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	pace(ctx, tick.C, gauge(), func(percent int) { debug.SetGCPercent(percent) })
	return nil
}

// gauge tells how many bytes were allocated since it was asked before, and how many are held.
func gauge() func() (allocated, live uint64) {
	figures := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}, {Name: "/gc/heap/live:bytes"}}
	metrics.Read(figures)
	before := figures[0].Value.Uint64()
	return func() (uint64, uint64) {
		metrics.Read(figures)
		now := figures[0].Value.Uint64()
		allocated := now - before
		before = now
		return allocated, figures[1].Value.Uint64()
	}
}

// pace is Pace on given ticks.
func pace(ctx context.Context, ticks <-chan time.Time, gauge func() (allocated, live uint64), set func(percent int)) {
	now, quiet := usual, 0
	change := func(percent int) {
		if percent != now {
			now = percent
			set(percent)
		}
	}
	defer change(usual)
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks:
		}
		allocated, live := gauge()
		if allocated >= busyRate {
			quiet = 0
			change(percentFor(live))
			continue
		}
		if quiet++; quiet >= quietTicks {
			change(usual)
		}
	}
}

// percentFor is how much garbage a busy process may leave that holds so many bytes, in steps that do not change with every breath.
func percentFor(live uint64) int {
	percent := min(slack*100/max(live, 1), mostPercent)
	return max(int(percent)/50*50, usual)
}

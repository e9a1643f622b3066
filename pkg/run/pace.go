package run

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// A process that holds little and allocates much spends an eighth of its time collecting garbage, again and again the same small heap.
// While it is busy it may leave more garbage lying, up to a bound. Once it is calm, Thrift gives the memory back: but not what lies between
// things that stay. So while thousands of people connect it collects often: what stays of them is packed closely.

// Bounds of pacing.
const (
	// paceEvery is how often it is looked.
	paceEvery = 250 * time.Millisecond
	// busyRate is from how many bytes between two looks on a process is busy: 64 MiB/s.
	busyRate = 16 << 20
	// slack is how much garbage a busy process may leave, and mostPercent how much in percent of what it holds. Where it holds more than slack
	// it collects as ever.
	slack       = 256 << 20
	mostPercent = 400
	usual       = 100
	// growing is how much a process may leave to which connections come, at least crowd between two looks, and dense up to which size it does
	// so: what lies between the things of a larger one is worth less than the time.
	growing = 30
	crowd   = 50
	dense   = 256 << 20
	// quietTicks is how many looks in a row make a process quiet, grownTicks after how many without a crowd it has grown.
	quietTicks = 12
	grownTicks = 4
)

// Pace sets how much garbage may lie, four times a second until ctx ends, and then as it was. connections tells how many there are; nil is
// none. Where an operator has set GOGC it does nothing.
func Pace(ctx context.Context, connections func() int64) error {
	if os.Getenv("GOGC") != "" {
		<-ctx.Done()
		return nil
	}
	tick := time.NewTicker(paceEvery)
	defer tick.Stop()
	pace(ctx, tick.C, gauge(connections), func(percent int) { debug.SetGCPercent(percent) })
	return nil
}

// look is what a process did since the look before.
type look struct {
	// allocated are bytes, came how many connections there are more.
	allocated uint64
	came      int64
	// live are the bytes that are held.
	live uint64
}

// gauge looks.
func gauge(connections func() int64) func() look {
	figures := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}, {Name: "/gc/heap/live:bytes"}}
	read := func() (allocated, live uint64, held int64) {
		metrics.Read(figures)
		if connections != nil {
			held = connections()
		}
		return figures[0].Value.Uint64(), figures[1].Value.Uint64(), held
	}
	allocatedBefore, _, heldBefore := read()
	return func() look {
		allocated, live, held := read()
		l := look{allocated: allocated - allocatedBefore, came: held - heldBefore, live: live}
		allocatedBefore, heldBefore = allocated, held
		return l
	}
}

// pace is Pace on given ticks.
func pace(ctx context.Context, ticks <-chan time.Time, gauge func() look, set func(percent int)) {
	now, quiet, grown := usual, 0, grownTicks
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
		l := gauge()
		if grown++; l.came >= crowd {
			grown = 0
		}
		switch {
		case grown < grownTicks && l.live < dense:
			quiet = 0
			change(growing)
		case l.allocated >= busyRate:
			quiet = 0
			change(percentFor(l.live))
		default:
			if quiet++; quiet >= quietTicks {
				change(usual)
			}
		}
	}
}

// percentFor is how much garbage a busy process may leave that holds so many bytes, in steps that do not change with every breath.
func percentFor(live uint64) int {
	percent := min(slack*100/max(live, 1), mostPercent)
	return max(int(percent)/50*50, usual)
}

package run

import (
	"context"
	"testing"
	"time"
)

func TestABusyProcessMayLeaveGarbageUpToABound(t *testing.T) {
	for live, want := range map[uint64]int{0: 400, 1 << 20: 400, 64 << 20: 400, 100 << 20: 250, 128 << 20: 200, 256 << 20: 100, 1 << 30: 100, 1 << 40: 100} {
		got := percentFor(live)
		if got != want {
			t.Errorf("%d MiB: got %d %%; want %d", live>>20, got, want)
		}
		if garbage := live / 100 * uint64(got); got > usual && garbage > slack {
			t.Errorf("%d MiB: %d MiB of garbage are more than %d", live>>20, garbage>>20, slack>>20)
		}
	}
}

// paced is what a process does for some looks, and what it may leave after each of them.
type paced struct {
	times int
	look
	want int
}

func playPace(t *testing.T, steps []paced) {
	t.Helper()
	var each []paced
	for _, s := range steps {
		for range s.times {
			each = append(each, s)
		}
	}
	now := usual
	var after []int // what was so when a tick came, and so after the one before
	ctx, cancel := context.WithCancel(t.Context())
	ticks, done := make(chan time.Time), make(chan struct{})
	go func() {
		defer close(done)
		pace(ctx, ticks, func() look {
			after = append(after, now)
			return each[min(len(after), len(each))-1].look
		}, func(percent int) { now = percent })
	}()
	for range len(each) + 1 {
		ticks <- time.Time{}
	}
	cancel()
	<-done
	for i, step := range each {
		if after[i+1] != step.want {
			t.Errorf("look %d: got %d %%; want %d", i, after[i+1], step.want)
		}
	}
	if now != usual {
		t.Errorf("at the end: got %d %%; want %d", now, usual)
	}
}

func TestABusyProcessCollectsLessUntilItIsQuiet(t *testing.T) {
	const held = 128 << 20
	busy, calm := look{allocated: busyRate, live: held}, look{live: held}
	playPace(t, []paced{
		{1, look{allocated: busyRate - 1, live: 8 << 20}, 100},
		{1, look{allocated: busyRate, live: 8 << 20}, 400},
		{1, look{allocated: 2 * busyRate, live: held}, 200}, // it holds more by now
		{quietTicks - 1, calm, 200},                         // a breath
		{1, busy, 200},
		{quietTicks - 1, calm, 200},
		{2, calm, 100}, // quiet
		{1, look{allocated: busyRate, live: 8 << 20}, 400},
	})
}

func TestAProcessToWhichManyConnectCollectsOften(t *testing.T) {
	const held = 64 << 20
	playPace(t, []paced{
		{2, look{allocated: busyRate, live: held, came: crowd - 1}, 400},
		{2, look{allocated: busyRate, live: held, came: crowd}, 30},
		{grownTicks - 1, look{allocated: busyRate, live: held}, 30}, // what they have left to do
		{1, look{allocated: busyRate, live: held, came: -crowd}, 400},
		{1, look{live: held, came: crowd}, 30}, // however little they allocate
		{grownTicks - 1, look{live: held}, 30},
		{quietTicks - 1, look{live: held}, 30},
		{1, look{live: held}, 100},
		{1, look{allocated: busyRate, live: dense, came: crowd}, 100}, // it holds much anyway
	})
}

func TestTheGaugeTellsWhatWasAllocatedSince(t *testing.T) {
	var connections int64 = 3
	read := gauge(func() int64 { return connections })
	held := make([]byte, 8<<20)
	connections = 5
	if l := read(); l.allocated < uint64(len(held)) || l.came != 2 {
		t.Errorf("got %+v; want at least %d bytes and 2 connections", l, len(held))
	}
	if l := gauge(nil)(); l.came != 0 {
		t.Errorf("got %d connections; want none", l.came)
	}
}

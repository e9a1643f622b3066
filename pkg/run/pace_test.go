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

func TestABusyProcessCollectsLessUntilItIsQuiet(t *testing.T) {
	steps := []struct {
		allocated, live uint64
		want            int
	}{
		{busyRate - 1, 8 << 20, 100},
		{busyRate, 8 << 20, 400},
		{2 * busyRate, 128 << 20, 200}, // it holds more by now
		{0, 128 << 20, 200},            // a breath
		{busyRate, 128 << 20, 200},
		{0, 128 << 20, 200},
		{0, 128 << 20, 200},
		{0, 128 << 20, 100}, // quiet
		{0, 128 << 20, 100},
		{busyRate, 8 << 20, 400},
	}
	now := usual
	var after []int // what was so when a tick came, and so after the one before
	ctx, cancel := context.WithCancel(t.Context())
	ticks, done := make(chan time.Time), make(chan struct{})
	go func() {
		defer close(done)
		pace(ctx, ticks, func() (uint64, uint64) {
			after = append(after, now)
			step := steps[min(len(after), len(steps))-1]
			return step.allocated, step.live
		}, func(percent int) { now = percent })
	}()
	for range len(steps) + 1 {
		ticks <- time.Time{}
	}
	cancel()
	<-done
	for i, step := range steps {
		if after[i+1] != step.want {
			t.Errorf("step %d: got %d %%; want %d", i, after[i+1], step.want)
		}
	}
	if now != usual {
		t.Errorf("at the end: got %d %%; want %d", now, usual)
	}
}

func TestTheGaugeTellsWhatWasAllocatedSince(t *testing.T) {
	read := gauge()
	held := make([]byte, 8<<20)
	if allocated, _ := read(); allocated < uint64(len(held)) {
		t.Errorf("got %d bytes; want at least %d", allocated, len(held))
	}
}

package run

import (
	"context"
	"testing"
	"time"
)

func TestMemoryIsGivenBackOnlyWhenItIsCalmAndWorthIt(t *testing.T) {
	const mb = 1 << 20
	now := time.Now()
	for name, c := range map[string]struct {
		h     heap
		after time.Duration
		want  bool
	}{
		"calm, a third is garbage":     {heap{allocated: 101 * mb, live: 60 * mb, objects: 80 * mb}, 0, true},
		"calm, a third is unused":      {heap{allocated: 101 * mb, live: 60 * mb, objects: 61 * mb, unused: 20 * mb}, 0, true},
		"calm, little is garbage":      {heap{allocated: 101 * mb, live: 60 * mb, objects: 66 * mb}, 0, false},
		"busy":                         {heap{allocated: 110 * mb, live: 60 * mb, objects: 90 * mb}, 0, false},
		"busy for a small heap only":   {heap{allocated: 110 * mb, live: 600 * mb, objects: 900 * mb}, 0, true},
		"too soon after the last time": {heap{allocated: 101 * mb, live: 60 * mb, objects: 80 * mb}, -time.Second, false},
	} {
		x := thrift{allocated: 100 * mb, next: now}
		if got := x.worth(c.h, now.Add(c.after)); got != c.want {
			t.Errorf("%s: got %v; want %v", name, got, c.want)
		}
	}
}

func TestGarbageIsGoneSoonAfterItWasLeft(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- Thrift(ctx) }()
	garbage := make([][]byte, 1000)
	for i := range garbage {
		garbage[i] = make([]byte, 64<<10)
	}
	before := readHeap().objects
	clear(garbage)
	for i := range len(garbage) / 2 { // a collection may have come just before, and found all of it in use
		garbage[i] = make([]byte, 64<<10)
	}
	clear(garbage)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(30 * time.Second); readHeap().objects > before/2; <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("%d bytes are held; want less than half of %d", readHeap().objects, before)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

package run

import (
	"context"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// Bounds of giving memory back.
const (
	// calmEvery is how often it is looked, calmRate how many bytes may have been allocated since while it counts as calm: so many, or the
	// calmPart-th part of what is in use.
	calmEvery = time.Second
	calmRate  = 4 << 20
	calmPart  = 16
	// worthPart is which part of what is in use must be garbage, or unused, for it to be worth while.
	worthPart = 8
	// calmPause lies between two times at least, and as many times as long as the last one took: so it takes at most 1 % of a core.
	calmPause = 2 * time.Second
	calmCost  = 100
)

// Thrift gives memory back to the system when the process has come to rest, until ctx ends. The runtime collects garbage only when as much has
// been allocated as is in use, which a process that does little takes long for; so what a storm left behind, such as thousands of
// connections that came at once, would be held for minutes. It does nothing while the process is busy.
func Thrift(ctx context.Context) error {
	tick := time.NewTicker(calmEvery)
	defer tick.Stop()
	t := thrift{allocated: readHeap().allocated}
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			if t.worth(readHeap(), now) {
				runtime.GC() // with the next, pools are emptied
				debug.FreeOSMemory()
				t.next = time.Now().Add(max(calmPause, calmCost*time.Since(now)))
			}
		}
	}
}

// thrift knows when it is worth to give memory back.
type thrift struct {
	allocated uint64
	next      time.Time
}

// worth tells whether there is enough to give back, and calm to do it.
func (t *thrift) worth(h heap, now time.Time) bool {
	calm := h.allocated-t.allocated <= max(calmRate, h.live/calmPart)
	t.allocated = h.allocated
	return calm && !now.Before(t.next) && h.objects+h.unused > h.live+h.live/worthPart
}

// heap is how the runtime's heap stands, in bytes.
type heap struct {
	// allocated is all that ever was, live what the last collection found in use, objects that and what was allocated since, unused what is
	// neither but was not given back.
	allocated, live, objects, unused uint64
}

func readHeap() heap {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}, {Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/free:bytes"}}
	metrics.Read(s)
	return heap{s[0].Value.Uint64(), s[1].Value.Uint64(), s[2].Value.Uint64(), s[3].Value.Uint64()}
}

package edge

import (
	"bytes"
	"io"
	"testing"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

// leastAllocs is the least of several measurements: what runs beside it, as the end of an earlier test, counts as well.
func leastAllocs(runs int, f func()) float64 {
	least := testing.AllocsPerRun(runs, f)
	for range 4 {
		least = min(least, testing.AllocsPerRun(runs, f))
	}
	return least
}

// From the queue of a connection into its socket: a goroutine that writes and the queue, no copy of the frame.
func TestWritingAFrameAllocatesLittle(t *testing.T) {
	r, client := pipe(t)
	r.c.s.m = newMetrics(nil)
	p := &person{s: r.c.s, id: "u1", conns: []*conn{r.c}}
	data := bytes.Repeat([]byte("x"), 200)
	in := make([]byte, 4+len(data))
	seq := chat.Seq(0)
	got := leastAllocs(500, func() {
		seq++
		p.mu.Lock()
		p.hand(frame{chat: "c1", seq: seq, data: data})
		p.mu.Unlock()
		if _, err := io.ReadFull(client, in); err != nil || !bytes.Equal(in[4:], data) {
			t.Fatalf("got %q, %v", in, err)
		}
	})
	if got > 4 {
		t.Errorf("got %v allocations; want at most 4", got)
	}
}

// What comes from the broker for a person: the head that is read of it.
func TestHandingOutAnEventAllocatesLittle(t *testing.T) {
	r := newRig(t)
	m := eventTo("u1", 1, "")
	p := &person{s: r.edge, id: "u1"}
	sh := r.edge.hub.shard("u1")
	sh.mu.Lock()
	if sh.people == nil {
		sh.people = map[chat.UserID]*person{}
	}
	sh.people["u1"] = p
	sh.mu.Unlock()
	if got := leastAllocs(200, func() { r.edge.hub.handOut(m, nil) }); got > 2 {
		t.Errorf("got %v allocations; want at most 2", got)
	}
	sh.mu.Lock()
	delete(sh.people, "u1")
	sh.mu.Unlock()
}

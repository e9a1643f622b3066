package edge

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/meshtest"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/subject"
)

// written is how many cursors were ever written in the partition of a chat.
func (r *rig) written(id chat.ID) uint64 {
	r.t.Helper()
	s, err := r.bus.JetStream().Stream(r.t.Context(), subject.CursorStream(r.log.Partition(id)))
	if err != nil {
		r.t.Fatal(err)
	}
	return s.CachedInfo().State.LastSeq
}

// at is the cursor of ben as it is durable.
func (r *rig) at(id chat.ID) store.Cursor {
	r.t.Helper()
	all, err := r.log.Cursors(r.t.Context(), id)
	if err != nil {
		r.t.Fatal(err)
	}
	return all["ben"]
}

func TestABurstOfReadsOnSeveralDevicesBecomesFewWritesAndTheHighestStands(t *testing.T) {
	const messages = 300
	r := newRig(t)
	id := r.fill(1, messages, "text")[0]
	devices := []*device{r.connect("ben", nil), r.connect("ben", nil)}
	start := time.Now()
	var wg sync.WaitGroup
	for k, d := range devices {
		wg.Go(func() {
			for seq := 2; seq <= messages+1; seq++ {
				d.write(map[string]any{"type": []string{"read", "delivered"}[(seq+k)%2], "chat": id, "seq": seq})
			}
			d.write(map[string]any{"type": "ping", "id": "end"})
		})
	}
	wg.Wait()
	want := store.Cursor{Chat: id, User: "ben", Seq: messages + 1, N: messages, Delivered: messages + 1}
	meshtest.Eventually(t, meshtest.Patience, "the highest", func() bool { return r.at(id) == want })
	if got, most := r.written(id), 2*uint64(time.Since(start)/markWindow+2); got > most {
		t.Errorf("got %d writes for %d requests in %v; want at most two for each window", got, 2*messages, time.Since(start))
	} else {
		t.Logf("%d requests in %v became %d writes", 2*messages, time.Since(start), got)
	}
	meshtest.Eventually(t, meshtest.Patience, "what is idle is forgotten", func() bool {
		r.edge.marks.mu.Lock()
		defer r.edge.marks.mu.Unlock()
		return len(r.edge.marks.slots) == 0 && len(r.edge.marks.due) == 0
	})
	for _, d := range devices {
		for _, f := range d.got() {
			if f["type"] == "error" {
				t.Errorf("got %v", f)
			}
		}
	}
}

func TestAnAckOfAReadComesWhenItIsDurableAndNotAWindowLater(t *testing.T) {
	const messages, more = 40, 15
	r := newRig(t)
	ids := r.fill(1+more, messages, "text")
	id := ids[0]
	devices := []*device{r.connect("ben", nil), r.connect("ben", nil), r.connect("ben", nil)}
	var wg sync.WaitGroup
	for k, d := range devices {
		wg.Go(func() {
			for seq := 2 + k; seq <= messages+1; seq += len(devices) {
				name := fmt.Sprint(seq)
				d.write(map[string]any{"type": "read", "chat": id, "seq": seq - 1}) // gathered with it
				d.write(map[string]any{"type": "read", "id": name, "chat": id, "seq": seq})
				d.await("the ack", is("ack", name))
				if at := r.at(id); at.Seq < chat.Seq(seq) {
					t.Errorf("%d was acked while %d is durable", seq, at.Seq)
				}
			}
		})
	}
	wg.Wait()
	quickest := time.Hour
	for i, id := range ids[1:] { // nobody else does anything
		name, start := fmt.Sprint("alone", i), time.Now()
		devices[0].write(map[string]any{"type": "read", "chat": id, "seq": 1})
		devices[0].write(map[string]any{"type": "read", "id": name, "chat": id, "seq": 2})
		devices[0].await("the ack", is("ack", name))
		quickest = min(quickest, time.Since(start))
	}
	if quickest > markWindow/2 {
		t.Errorf("the quickest of %d acks came after %v; want it long before the window of %v ends", more, quickest, markWindow)
	}
}

func TestAReadThatIsRefusedSpoilsNoOther(t *testing.T) {
	r := newRig(t)
	id := r.fill(1, 10, "text")[0]
	d := r.connect("ben", nil)
	for seq := 2; seq <= 8; seq++ {
		d.write(map[string]any{"type": "read", "chat": id, "seq": seq})
		d.write(map[string]any{"type": "read", "chat": id, "seq": 12})
		d.write(map[string]any{"type": "delivered", "id": "beyond", "chat": id, "seq": 99})
	}
	meshtest.Eventually(t, meshtest.Patience, "the highest that there is", func() bool { return r.at(id).Seq == 8 })
	meshtest.Eventually(t, meshtest.Patience, "a refusal of each", func() bool {
		refused := map[any]int{}
		for _, f := range d.got() {
			if f["type"] == "error" && f["code"] == "bad_request" {
				refused[f["id"]]++
			}
		}
		return refused[nil] == 7 && refused["beyond"] == 7
	})
	// Who is removed while a read waits is told, and it is not written.
	before := r.written(id)
	if _, err := r.log.Append(t.Context(), id, chat.RemoveMember{By: "ann", User: "ben"}); err != nil {
		t.Fatal(err)
	}
	d.write(map[string]any{"type": "read", "chat": id, "seq": 9})
	d.write(map[string]any{"type": "read", "chat": id, "seq": 10})
	d.await("not_found", func(f map[string]any) bool { return f["code"] == string(chat.NotFound) })
	if got := r.written(id); got != before {
		t.Errorf("%d cursors were written by somebody who was removed", got-before)
	}
}

func TestAnEdgeThatStopsWritesWhatItHasGathered(t *testing.T) {
	r := newRig(t)
	ids := r.fill(20, 10, "text")
	d := r.connect("ben", nil)
	for seq := 2; seq <= 11; seq++ {
		for _, id := range ids {
			d.write(map[string]any{"type": "read", "chat": id, "seq": seq})
		}
	}
	d.write(map[string]any{"type": "typing", "id": "end", "chat": ids[0]}) // its turn comes behind them
	d.await("the ack", is("ack", "end"))
	r.stop()
	for _, id := range ids {
		if at := r.at(id); at.Seq != 11 {
			t.Errorf("%s: got %d; want 11", id, at.Seq)
		}
	}
}

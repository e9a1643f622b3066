package pebble

import (
	"testing"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/store"
)

func TestAPageOfFiftyAllocatesLittleMoreThanItsBodies(t *testing.T) {
	s := openAt(t, t.TempDir(), Options{NoSync: true})
	var b store.Batch
	for seq := range chat.Seq(500) {
		b.Events = append(b.Events, benchEntry(benchChat(0), seq+1))
	}
	if err := s.Write(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	got := testing.AllocsPerRun(200, func() {
		items, err := s.Page(t.Context(), benchChat(0), store.Range{Limit: 50, Before: 400})
		if err != nil || len(items) != 50 {
			t.Fatal(len(items), err)
		}
	})
	if got > 100 {
		t.Errorf("got %v allocations; want at most 100: one for each body, and few beside", got)
	}
}

func TestABatchOfAPersisterAllocatesLittlePerEvent(t *testing.T) {
	s := openAt(t, t.TempDir(), Options{NoSync: true})
	const size, most = 500, 24
	var batches []store.Batch
	seq := chat.Seq(0)
	for range 12 {
		var b store.Batch
		for i := range size {
			b.Events = append(b.Events, benchEntry(benchChat(i%50), seq+chat.Seq(i/50)+1))
		}
		seq += size / 50
		batches = append(batches, b)
	}
	next := 0
	got := testing.AllocsPerRun(10, func() {
		if err := s.Write(t.Context(), batches[next]); err != nil {
			t.Fatal(err)
		}
		next++
	})
	if got > most*size {
		t.Errorf("got %v allocations for an event; want at most %d", got/size, most)
	}
}

func TestWhatIsHotIsWhatIsWritten(t *testing.T) {
	s := openAt(t, t.TempDir(), Options{NoSync: true})
	write := func(seq chat.Seq) {
		t.Helper()
		if err := s.Write(t.Context(), store.Batch{Events: []store.Entry{benchEntry(benchChat(0), seq)}}); err != nil {
			t.Fatal(err)
		}
	}
	for _, seq := range []chat.Seq{1, 2, 5, 3} { // the last moves nothing back
		write(seq)
	}
	check := func() {
		t.Helper()
		for _, key := range s.hot.rows.Keys() {
			hot, _ := s.hot.rows.Get(key)
			there, err := s.value([]byte(key))
			if err != nil || string(there) != string(hot) {
				t.Errorf("%q: got %x, %v; want %x", key, hot, err, there)
			}
		}
	}
	if n := s.hot.rows.Len(); n != 2 {
		t.Errorf("got %d rows; want the head and the sender's cursor", n)
	}
	check()
	// A batch that is refused as a whole leaves everything as it was.
	if err := s.Write(t.Context(), store.Batch{Events: []store.Entry{benchEntry(benchChat(0), 9), {}}}); err == nil {
		t.Error("got no error; want one")
	}
	check()
	if r, err := s.Record(t.Context(), benchChat(0)); err != nil || r.Seq != 5 {
		t.Errorf("got %+v, %v; want 5", r, err)
	}
	// A batch that does not fit on the disk, too, which is known only when all its rows are.
	s.reserve = 1 << 62
	if err := s.Write(t.Context(), store.Batch{Events: []store.Entry{benchEntry(benchChat(0), 9)}}); err == nil {
		t.Error("got no error; want that there is no room")
	}
	s.reserve = 0
	check()
}

package scylla_test

import (
	"bytes"
	"testing"

	"github.com/gocql/gocql"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/meshtest/cqltest"
	"github.com/chatmesh/chatmesh/pkg/store"
)

// What the batches rely on: the server bounds a batch (50 KiB) only where it spans partitions.
func TestTheServerBoundsBatchesThatSpanPartitionsOnly(t *testing.T) {
	t.Parallel()
	o := cqltest.Options(t)
	bare := cqltest.Session(t, o.Hosts[0], o.Keyspace)
	for name, across := range map[string]int64{"within a partition": 0, "across partitions": 1} {
		//lint:ignore SA1019 the fork has another name for it, which upstream does not have yet
		b := bare.Session.NewBatch(gocql.UnloggedBatch).WithContext(t.Context())
		for i := range int64(10) {
			b.Query(putMessage, "chat", i*across, i, bytes.Repeat([]byte("x"), 10<<10), int64(1))
		}
		if err := bare.ExecuteBatch(b); (err != nil) != (across > 0) {
			t.Errorf("a batch of 100 KiB %s: got error %v", name, err)
		}
	}
}

func TestABatchOfTheLongestTextsOfManyChatsIsWrittenWhole(t *testing.T) {
	t.Parallel()
	s := cqltest.Open(t, cqltest.Options(t))
	long := bytes.Repeat([]byte(`\u0001`), chat.MaxText) // each character escaped: 600 KB
	var b store.Batch
	for _, id := range []chat.ID{"a", "b", "c"} {
		for seq := range chat.Seq(12) {
			e := message(id, seq+1)
			e.Body = long
			b.Events = append(b.Events, e)
		}
	}
	if err := s.Write(t.Context(), b); err != nil {
		t.Fatalf("Write of %d MB: got error %v; want none", len(b.Events)*len(long)>>20, err)
	}
	for _, r := range []store.Range{{}, {Limit: 12}, {Forward: true}} {
		items, err := s.Page(t.Context(), "b", r)
		if err != nil || len(items) != 12 || !bytes.Equal(items[11].Body, long) {
			t.Errorf("Page(%+v): got %d events, error %v; want 12 whole ones", r, len(items), err)
		}
	}
	if items, err := s.Page(t.Context(), "b", store.Range{Limit: 200, MaxBytes: 4 << 20}); err != nil || len(items) != 6 || items[5].Seq != 12 {
		t.Errorf("Page of 4 MiB: got %d events, error %v; want the last 6", len(items), err)
	}
}

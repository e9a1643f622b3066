package staging

import (
	"bytes"
	"context"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/meshtest"
	"github.com/chatmesh/chatmesh/pkg/subject"
)

func TestBatchesAreStagedOnTheDiskWhereMemoryHasNoRoomOrHasNoneAnyMore(t *testing.T) {
	broker := meshtest.NewBroker(t)
	b := broker.Bus(t)
	meshtest.Ensure(t, b, meshtest.Layout(2))
	store, memory := filepath.Dir(broker.StoreDir()), t.TempDir()
	batch := func() {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), meshtest.Patience)
		defer cancel()
		var msgs []*nats.Msg
		for _, id := range []chat.ID{"a", "b"} {
			msgs = append(msgs, &nats.Msg{Subject: subject.Log(0, id), Header: nats.Header{}, Data: []byte("{}")})
		}
		if _, err := b.PublishAtomic(ctx, msgs); err != nil {
			t.Fatal(err)
		}
	}
	links := func() (n int) {
		for p := range 2 {
			if _, err := os.Readlink(filepath.Join(streamsFolder(store), subject.ChatStream(p), "batches")); err == nil {
				n++
			}
		}
		return n
	}
	var said bytes.Buffer
	log := slog.New(slog.NewTextHandler(&said, nil))

	if f, err := InMemory(memory, store, math.MaxInt32, log); err == nil {
		f.End()
		t.Error("staged in memory without room")
	}
	f, err := InMemory(memory, store, 2, log)
	if err != nil {
		t.Fatal(err)
	}
	defer f.End()
	if n := links(); n != 2 {
		t.Fatalf("%d streams stage in memory; want both", n)
	}
	batch()
	f.need = math.MaxUint64
	f.Check()
	f.Check()
	if n := links(); n > 0 {
		t.Errorf("%d streams stage in memory; want none", n)
	}
	if n := bytes.Count(said.Bytes(), []byte("staged on the disk")); n != 1 {
		t.Errorf("told %d times that it is back on the disk; want once", n)
	}
	batch()
}

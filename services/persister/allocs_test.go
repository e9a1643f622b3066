package persister

import (
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

func TestABatchIsReadWithFewAllocationsPerEvent(t *testing.T) {
	const size = 500
	var records []record
	for i := range size {
		at, id := chat.Now(), chat.ID(fmt.Sprintf("g06f0h7rne5v3f9bkq2m1p8d%03d", i%50))
		e := chat.Event{Type: chat.Message, Chat: id, Seq: chat.Seq(i/50 + 1), N: uint64(i/50 + 1), Sender: "06f0h7rne5v3f9bkq2m1p8d4sc",
			ClientID: chat.ClientID(fmt.Sprintf("0197d3c8-2222-7000-8000-%012d", i)), Text: strings.Repeat("words ", 16), SentAt: &at}
		records = append(records, record{subject: subject.Log(0, id), body: wire.Encode(e), stream: uint64(i + 1),
			header: nats.Header{subject.HeaderSeq: {fmt.Sprint(uint64(e.Seq))}}})
	}
	got := testing.AllocsPerRun(20, func() {
		var b store.Batch
		for _, r := range records {
			if err := add(&b, r); err != nil {
				t.Fatal(err)
			}
		}
		if len(b.Events) != size {
			t.Fatalf("got %d events; want %d", len(b.Events), size)
		}
	})
	if got > 9*size {
		t.Errorf("got %v allocations for an event; want at most 9", got/size)
	}
}

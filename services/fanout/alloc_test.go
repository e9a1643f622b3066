package fanout_test

import (
	"fmt"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/meshtest"
	"github.com/chatmesh/chatmesh/pkg/run"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/wire"
	"github.com/chatmesh/chatmesh/services/fanout"
)

// An event costs a person of a group little more than the bytes that are sent: the broker, which runs in this process, is counted too.
func TestPublishingAnEventAllocatesLittleForEachReceiver(t *testing.T) {
	_, b, l := setup(t)
	var members []chat.UserID
	for i := range chat.MaxMembers - 1 {
		members = append(members, chat.UserID(fmt.Sprintf("u%d", i)))
	}
	if _, err := l.Append(t.Context(), "c1", chat.Create{By: "ann", Kind: chat.Group, Title: "t", Members: members}); err != nil {
		t.Fatal(err)
	}
	s, err := fanout.New(fanout.Config{Bus: b, Log: l, Partitions: 1, Logger: meshtest.Logger(t), Health: &run.Health{}})
	if err != nil {
		t.Fatal(err)
	}
	at := chat.Now()
	body := wire.EncodeEvent(&chat.Event{Type: chat.Message, Chat: "c1", Seq: 1, N: 1, Sender: "ann", ClientID: "m1", Text: "hello", SentAt: &at})
	head, err := wire.Peek(body)
	if err != nil {
		t.Fatal(err)
	}
	header := nats.Header{jetstream.MsgIDHeader: {"0123456789012345678901234"}, subject.HeaderSeq: {"1"}}
	publish := func() {
		if err := s.Publish(t.Context(), head, 1, header, body); err != nil {
			t.Fatal(err)
		}
		if err := b.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	publish()
	least := testing.AllocsPerRun(20, publish)
	for range 4 { // what runs beside it counts as well
		least = min(least, testing.AllocsPerRun(20, publish))
	}
	if got := least / chat.MaxMembers; got > 6 {
		t.Errorf("got %.1f allocations for each receiver; want at most 6", got)
	} else {
		t.Logf("%.1f allocations for each receiver", got)
	}
}

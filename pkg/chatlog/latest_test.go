package chatlog_test

import (
	"fmt"
	"testing"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/chatlog"
	"github.com/chatmesh/chatmesh/pkg/meshtest"
)

func TestTheLatestOfManyChatsIsWhatAnyNodeHasAppendedAndTheEndIsNotBeforeIt(t *testing.T) {
	onEveryBroker(t, 2, func(t *testing.T, b meshtest.Connector) {
		writer, reader := newLog(t, b, 2), newLog(t, b, 2)
		ids := []chat.ID{"none"}
		for n := range 2*64 + 3 { // more than one direct get asks for
			id := chat.ID(fmt.Sprintf("c%d", n))
			if _, err := writer.Append(t.Context(), id, chat.Create{By: "ann", Kind: chat.Group, Title: "t", Members: []chat.UserID{"ben"}}); err != nil {
				t.Fatal(err)
			}
			ids = append(ids, id)
		}
		behind := map[chat.ID]uint64{}
		for round := range 3 { // the first time nothing is known, then some of it is old
			for n, id := range ids[1:] {
				if n%(round+1) == 0 {
					cmd := chat.Command(chat.Send{Sender: "ann", ClientID: chat.ClientID(fmt.Sprintf("m%d", round)), Text: "hi"})
					if round == 2 {
						cmd = chat.RemoveMember{By: "ann", User: "ben"}
					}
					if _, err := writer.Append(t.Context(), id, cmd); err != nil {
						t.Fatal(err)
					}
				}
			}
			got, err := reader.Latest(t.Context(), ids)
			if err != nil || len(got) != len(ids)-1 {
				t.Fatalf("round %d: got %d chats, %v; want %d", round, len(got), err, len(ids)-1)
			}
			for id, s := range got {
				want, err := writer.Snapshot(t.Context(), id)
				if err != nil {
					t.Fatal(err)
				}
				if s.Head.Seq != want.Head.Seq || s.Head.Stream != want.Head.Stream || s.State.Seq != want.State.Seq {
					t.Errorf("round %d: %s: got %+v; want %+v", round, id, s, want)
				}
				if end, err := reader.End(t.Context(), reader.Partition(id)); err != nil || end < s.Head.Stream {
					t.Errorf("round %d: the end is %d, %v; want at least %d", round, end, err, s.Head.Stream)
				}
				want1 := chat.Seq(0) // where nothing has come since
				if s.Head.Stream > behind[id] && behind[id] > 0 {
					want1 = s.Head.Seq
				}
				if first, err := reader.FirstBehind(t.Context(), id, behind[id]); behind[id] > 0 && (err != nil || first != want1) {
					t.Errorf("round %d: %s: the first event behind %d is %d, %v; want %d", round, id, behind[id], first, err, want1)
				}
				behind[id] = s.Head.Stream
			}
		}
	})
}

func TestAChatIsWarmAtTheFirstEventThatCameWithTheStateThatGoesWithIt(t *testing.T) {
	onEveryBroker(t, 2, func(t *testing.T, b meshtest.Connector) {
		writer, reader := newLog(t, b, 2), newLog(t, b, 2)
		var came []chatlog.Observed
		for n := range 4 {
			id := chat.ID(fmt.Sprintf("c%d", n))
			create(t, writer, id, "ann", "ben")
			for k := range 2 {
				if _, err := writer.Append(t.Context(), id, send("ann", fmt.Sprintf("m%d", k))); err != nil {
					t.Fatal(err)
				}
			}
			items, err := writer.After(t.Context(), id, 0, 0, 10, 0)
			if err != nil || len(items) != 3 {
				t.Fatalf("got %d events, %v; want 3", len(items), err)
			}
			snap, err := writer.Snapshot(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			for _, it := range items[1:] { // a stream sequence of one before it does as well here
				came = append(came, chatlog.Observed{Chat: id, Type: chat.Message, Seq: it.Seq, Stream: snap.Head.Stream, Body: it.Body})
			}
		}
		if _, err := writer.Append(t.Context(), "c3", chat.PutMember{By: "ann", User: "cat"}); err != nil {
			t.Fatal(err)
		}
		reader.WarmBehind(t.Context(), came)
		for n := range 4 {
			id := chat.ID(fmt.Sprintf("c%d", n))
			snap, err := reader.Known(t.Context(), id)
			seq, n2, members := chat.Seq(2), uint64(1), 2
			if id == "c3" { // which has changed since: it is read
				seq, n2, members = 4, 2, 3
			}
			if err != nil || snap.Head.Seq != seq || snap.Head.N != n2 || len(snap.State.Members) != members {
				t.Errorf("%s: got %+v of %d members, %v; want event %d of %d members", id, snap.Head, len(snap.State.Members), err, seq, members)
			}
		}
	})
}

package chatlog_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/chatlog"
	"github.com/chatmesh/chatmesh/pkg/meshtest"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// Two who write runs of messages to the same chats through different processes: each run keeps its order, whoever comes between.
func TestWhatOneCallerAppendsTogetherStandsInItsOrderAlsoInARace(t *testing.T) {
	onEveryBroker(t, 2, func(t *testing.T, b meshtest.Connector) {
		logs := []*chatlog.Log{newLog(t, b, 2), newLog(t, b, 2)}
		chats := []chat.ID{"c1", "c2", "c3"}
		for _, id := range chats {
			create(t, logs[0], id, "ann", "ben")
		}
		const rounds, each = 8, 20
		var wg sync.WaitGroup
		for w, l := range logs {
			by := []chat.UserID{"ann", "ben"}[w]
			wg.Go(func() {
				for r := range rounds {
					orders := make([]chatlog.Order, each)
					for i := range orders {
						orders[i] = chatlog.Order{Chat: chats[i%len(chats)], Command: send(by, fmt.Sprintf("%s-%02d-%02d", by, r, i))}
					}
					for i, got := range l.AppendAll(t.Context(), orders) {
						if got.Err != nil || got.Receipt.Chat != orders[i].Chat || got.Receipt.Seq == 0 || got.Receipt.Duplicate {
							t.Errorf("order %d: got %+v", i, got)
						}
					}
				}
			})
		}
		wg.Wait()
		total := 0
		for _, id := range chats {
			items, err := logs[1].After(t.Context(), id, 1, 0, 1000, 0)
			if err != nil {
				t.Fatal(err)
			}
			last := map[chat.UserID]chat.ClientID{}
			for _, it := range items {
				e, err := wire.DecodeEvent(it.Body)
				if err != nil {
					t.Fatal(err)
				}
				if e.ClientID <= last[e.Sender] {
					t.Errorf("%s: %s stands behind %s", id, e.ClientID, last[e.Sender])
				}
				last[e.Sender] = e.ClientID
				total++
			}
		}
		if total != 2*rounds*each {
			t.Errorf("got %d messages; want %d", total, 2*rounds*each)
		}
	})
}

// What is refused, sent before, or of a chat that does not exist, has its own answer between the others.
func TestEachOfWhatIsAppendedTogetherHasItsOwnAnswer(t *testing.T) {
	b := newBroker(t, 2)
	l := newLog(t, b, 2)
	create(t, l, "c1", "ann")
	create(t, l, "c2", "ben")
	first, err := l.Append(t.Context(), "c1", send("ann", "m0"))
	if err != nil {
		t.Fatal(err)
	}
	results := l.AppendAll(t.Context(), []chatlog.Order{
		{Chat: "c1", Command: send("ann", "m1")},
		{Chat: "c2", Command: send("ann", "m1")}, // no member
		{Chat: "c1", Command: send("ann", "m0")}, // sent before
		{Chat: "c9", Command: send("ann", "m1")}, // no such chat
		{Chat: "c1", Command: send("ann", "m2")},
		{Chat: "c1", Command: send("ann", "m1")}, // twice in one run
		{Chat: "c1", Command: send("ann", "m3")},
	})
	for i, want := range []struct {
		seq       chat.Seq
		duplicate bool
		code      chat.Code
	}{{3, false, ""}, {0, false, chat.NotFound}, {first.Seq, true, ""}, {0, false, chat.NotFound}, {4, false, ""}, {3, true, ""}, {5, false, ""}} {
		got := results[i]
		if want.code != "" {
			if !chat.Is(got.Err, want.code) {
				t.Errorf("%d: got %+v; want %s", i, got, want.code)
			}
			continue
		}
		if got.Err != nil || got.Receipt.Seq != want.seq || got.Receipt.Duplicate != want.duplicate {
			t.Errorf("%d: got %+v; want %+v", i, got, want)
		}
	}
	if got := l.AppendAll(t.Context(), nil); len(got) != 0 {
		t.Errorf("nothing: got %v", got)
	}
}

func TestWhoseTimeIsOverIsToldThatNothingIsKnown(t *testing.T) {
	b := newBroker(t, 1)
	l := newLog(t, b, 1)
	create(t, l, "c1", "ann")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for i, got := range l.AppendAll(ctx, []chatlog.Order{{Chat: "c1", Command: send("ann", "m1")}, {Chat: "c1", Command: send("ann", "m2")}}) {
		if !chat.Is(got.Err, chat.Unavailable) {
			t.Errorf("%d: got %+v; want unavailable", i, got)
		}
	}
	if r, err := l.Append(t.Context(), "c1", send("ann", "m2")); err != nil || r.Seq != 2 || r.Duplicate {
		t.Errorf("got %+v, %v; want seq 2: nothing landed before", r, err)
	}
}

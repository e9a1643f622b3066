package verify_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/meshtest"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/verify"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

func TestACleanChatHasNoProblem(t *testing.T) {
	w := kept(t)
	w.right(26, 20)
	if r := w.verify(); r.Stored != 26 {
		t.Errorf("got %d events in the store; want 26", r.Stored)
	}
}

func TestWhatTheStoreDoesNotHaveYetIsNoProblem(t *testing.T) {
	w := lived(t)
	w.right(26, 20) // nothing at all
	w.persist()
	w.say("ann", 20, 30)
	w.do(chat.SetTitle{By: "ann", Title: "third"})
	w.do(chat.PutMember{By: "ann", User: "fay"})
	w.right(38, 30)
}

func TestAHoleInTheStoreThatIsBeingFilledIsNoProblem(t *testing.T) {
	w := kept(t)
	w.say("ann", 20, 30)
	// A persister that took over has written the later ones; the earlier ones are delivered to it again in half a minute.
	items, err := w.log.After(t.Context(), id, 30, 0, 100, 0)
	if err != nil {
		t.Fatal(err)
	}
	var b store.Batch
	for _, it := range items {
		e, err := wire.DecodeEvent(it.Body)
		if err != nil {
			t.Fatal(err)
		}
		b.Events = append(b.Events, store.Entry{Event: e, Body: it.Body, Stream: w.streamOf(it.Seq)})
	}
	if err := w.db.Write(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	w.right(36, 30)
}

func TestWhatIsAppendedAndPersistedMeanwhileIsNoProblem(t *testing.T) {
	w := kept(t)
	w.persister()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for n := 100; ctx.Err() == nil; n++ {
			var cmd chat.Command = chat.Send{Sender: "ann", ClientID: chat.ClientID("live" + time.Now().Format("150405.000000000")), Text: "secret"}
			switch n % 7 {
			case 2:
				cmd = chat.PutMember{By: "ann", User: "gil"}
			case 4:
				cmd = chat.RemoveMember{By: "ann", User: "gil"}
			case 6:
				_, _ = w.log.MarkRead(ctx, id, "ben", chat.Seq(20+n/4))
			}
			if _, err := w.log.Append(ctx, id, cmd); err != nil && ctx.Err() == nil {
				t.Errorf("append: %v", err)
			}
		}
	}()
	defer func() { cancel(); <-done }()
	last, rounds := uint64(0), 0
	for until := time.Now().Add(4 * time.Second); time.Now().Before(until); rounds++ {
		r := w.verify()
		if r.Wrong > 0 {
			t.Fatalf("round %d: got %+v; want no problem", rounds, r.Problems)
		}
		last = r.Events
	}
	if last < 40 || rounds < 5 {
		t.Errorf("the test is weak: %d events, %d rounds", last, rounds)
	}
}

func TestACursorThatMovesOnWhileItIsReadIsNoProblem(t *testing.T) {
	w := kept(t)
	ends := 0
	w.seen.ended = func() {
		if ends++; ends == 1 {
			w.say("ann", 20, 22)
			if _, err := w.log.MarkRead(t.Context(), id, "ben", 28); err != nil {
				t.Error(err)
			}
		}
	}
	w.right(26, 20)
}

func TestWhoLeavesMeanwhileIsNoProblem(t *testing.T) {
	w := kept(t)
	ends := 0
	w.seen.ended = func() {
		if ends++; ends == 1 {
			w.do(chat.RemoveMember{By: "ann", User: "eve"})
			w.persist()
		}
	}
	w.right(26, 20)
}

func TestWhatHasAgedOutOfTheLogIsNoProblem(t *testing.T) {
	w := kept(t)
	for _, seq := range []chat.Seq{2, 9, 20} {
		w.age(w.streamOf(seq))
		w.right(26, 20)
	}
	w.age(w.last() + 1)
	w.right(26, 20)
}

func TestWhatAgesOutWhileItIsReadIsNoProblem(t *testing.T) {
	w := kept(t)
	w.age(w.streamOf(3)) // 3 is the first
	gone := false
	w.seen.events = func(e []verify.Entry) []verify.Entry {
		if gone {
			return e
		}
		gone = true
		w.age(w.streamOf(12))
		return e[:4] // the rest is asked for again
	}
	w.right(26, 20)
}

func TestWhatIsNoEventInALogIsNoProblem(t *testing.T) {
	w := lived(t)
	w.put(subject.Log(0, id), 0, []byte("garbage"))
	w.say("ann", 20, 21)
	w.put(subject.Log(0, id), 0, []byte(`{"type":"x"}`))
	w.persist()
	w.right(27, 21)
}

func TestAChatThatNobodyHasIsNotFound(t *testing.T) {
	w := kept(t)
	if _, err := verify.Chat(t.Context(), &w.seen, &w.store, "c2"); !chat.Is(err, chat.NotFound) {
		t.Errorf("got %v; want not found", err)
	}
}

func TestWithoutABrokerThereIsAnErrorAndNoProblem(t *testing.T) {
	t.Parallel()
	m := meshtest.NewBroker(t)
	b := m.Bus(t)
	meshtest.Ensure(t, b, meshtest.Layout(1))
	m.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	r, err := verify.Chat(ctx, verify.NewStream(b, 1), &faultyStore{}, id)
	if !errors.Is(err, bus.ErrDown) || r.Wrong > 0 {
		t.Errorf("got %v, %+v; want that it is away", err, r.Problems)
	}
}

func TestWithoutAStoreThereIsAnErrorAndNoProblem(t *testing.T) {
	w := kept(t)
	w.store.find = func(store.Found, error) (store.Found, error) { return store.Found{}, errFault }
	r, err := verify.Chat(t.Context(), &w.seen, &w.store, id)
	if !errors.Is(err, errFault) || r.Wrong > 0 {
		t.Errorf("got %v, %+v; want its error", err, r.Problems)
	}
}

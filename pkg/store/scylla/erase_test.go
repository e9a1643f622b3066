package scylla_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/meshtest/cqltest"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/store/scylla"
)

// message is an event at seq, whose stream sequence is ten times that.
func message(id chat.ID, seq chat.Seq) store.Entry {
	at := chat.Now()
	return store.Entry{Body: []byte("the body"), Stream: uint64(seq) * 10, Event: chat.Event{
		Type: chat.Message, Chat: id, Seq: seq, N: uint64(seq), Sender: "sender", ClientID: "client", SentAt: &at,
	}}
}

func TestAReplayNeverBringsBackWhatALaterEventErased(t *testing.T) {
	t.Parallel()
	o := cqltest.Options(t)
	s, bare := cqltest.Open(t, o), cqltest.Session(t, o.Hosts[0], o.Keyspace)
	write := store.Batch{Events: []store.Entry{message("chat", 1)}}
	for _, replayFirst := range []bool{false, true} {
		if replayFirst {
			if err := s.Write(t.Context(), write); err != nil {
				t.Fatal(err)
			}
		}
		err := bare.Session.Query("DELETE FROM messages USING TIMESTAMP ? WHERE chat_id = ? AND bucket = ? AND seq = ?",
			scylla.EraseTime(20), "chat", int64(0), int64(1)).Exec()
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Write(t.Context(), write); err != nil {
			t.Fatal(err)
		}
		if items, err := s.Page(t.Context(), "chat", store.Range{Limit: 50}); err != nil || len(items) > 0 {
			t.Errorf("Page after a replay: got %d events, error %v; want none", len(items), err)
		}
	}
}

func TestOfTwoBodiesAtOnePlaceTheFirstOfTheStreamStaysInAnyOrder(t *testing.T) {
	t.Parallel()
	s := cqltest.Open(t, cqltest.Options(t))
	first, other := message("", 1), message("", 1)
	other.Body, other.Stream = []byte("zzz: the servers would keep the greater one"), first.Stream+1
	for id, order := range map[chat.ID][]store.Entry{"a": {first, other}, "b": {other, first}} {
		for _, together := range []bool{true, false} {
			id := chat.ID(strings.Repeat(string(id), 1+len(order))) + map[bool]chat.ID{true: "t", false: "f"}[together]
			for i := range order {
				order[i].Event.Chat = id
			}
			batches := []store.Batch{{Events: order}}
			if !together {
				batches = []store.Batch{{Events: order[:1]}, {Events: order[1:]}}
			}
			for _, b := range batches {
				if err := s.Write(t.Context(), b); err != nil {
					t.Fatal(err)
				}
			}
			items, err := s.Page(t.Context(), id, store.Range{})
			if err != nil || len(items) != 1 || string(items[0].Body) != string(first.Body) {
				t.Errorf("Page: got %v, error %v; want the first body", items, err)
			}
		}
	}
}

func TestAClientIDThatStandsTwiceIsFoundAtItsFirstPlaceAcrossGenerations(t *testing.T) {
	t.Parallel()
	s := cqltest.Open(t, cqltest.Options(t))
	for id, order := range map[chat.ID][]chat.Seq{"up": {5, 9, 1 << 18, 1 << 20}, "down": {1 << 20, 1 << 18, 9, 5}, "late": {1 << 20, 1 << 19}} {
		first := order[0]
		for _, seq := range order {
			first = min(first, seq)
			if err := s.Write(t.Context(), store.Batch{Events: []store.Entry{message(id, seq)}}); err != nil {
				t.Fatal(err)
			}
			if f, err := s.Find(t.Context(), id, "sender", "client"); err != nil || f.Seq != first {
				t.Errorf("Find in %s: got %v, error %v; want seq %d", id, f, err, first)
			}
		}
		if ids, err := s.Sent(t.Context(), id, "sender", 100); err != nil || len(ids) == 0 {
			t.Errorf("Sent in %s: got %v, error %v; want the client id", id, ids, err)
		}
		if _, err := s.Find(t.Context(), id, "sender", "another"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("Find in %s of what was not sent: got error %v; want ErrNotFound", id, err)
		}
	}
}

func TestWhatCanNeverBeWrittenIsABadRequestAndNothingOfItsBatchIsWritten(t *testing.T) {
	t.Parallel()
	s := cqltest.Open(t, cqltest.Options(t))
	long := strings.Repeat("x", chat.MaxID+1)
	with := func(change func(*store.Entry)) store.Batch {
		e := message("chat", 2)
		change(&e)
		return store.Batch{Events: []store.Entry{message("chat", 1), e}}
	}
	for name, b := range map[string]store.Batch{
		"no seq":        with(func(e *store.Entry) { e.Event.Seq = 0 }),
		"large seq":     with(func(e *store.Entry) { e.Event.Seq = 1 << 49 }),
		"large stream":  with(func(e *store.Entry) { e.Stream = 1 << 49 }),
		"large body":    with(func(e *store.Entry) { e.Body = make([]byte, scylla.MaxBody+1) }),
		"no chat":       with(func(e *store.Entry) { e.Event.Chat = "" }),
		"long chat":     with(func(e *store.Entry) { e.Event.Chat = chat.ID(long) }),
		"no UTF-8":      with(func(e *store.Entry) { e.Event.Sender = "\xff" }),
		"no sender":     with(func(e *store.Entry) { e.Event.Sender = "" }),
		"long client":   with(func(e *store.Entry) { e.Event.ClientID = chat.ClientID(long) }),
		"no user":       with(func(e *store.Entry) { e.Event.Type, e.Event.Change = chat.Changed, chat.MemberAdded }),
		"no state":      {States: []*chat.State{nil}},
		"zero state":    {States: []*chat.State{{Chat: "chat"}}},
		"cursor's user": {Cursors: []store.Cursor{{Chat: "chat", Seq: 1}}},
		"cursor's chat": {Cursors: []store.Cursor{{User: "user", Seq: 1}}},
		"cursor's seq":  {Cursors: []store.Cursor{{Chat: "chat", User: "user", Seq: 1 << 50}}},
		"no member": with(func(e *store.Entry) {
			e.Event.Type, e.Event.Change, e.Event.Members = chat.Changed, chat.Created, []chat.Member{{}}
		}),
	} {
		if err := s.Write(t.Context(), b); !chat.Is(err, chat.BadRequest) || strings.Contains(err.Error(), long) {
			t.Errorf("%s: got error %v; want BadRequest without the id", name, err)
		}
	}
	if _, err := s.Record(t.Context(), "chat"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Record: got error %v; want ErrNotFound", err)
	}
	if err := s.Link(t.Context(), "chat", 1<<49, "user"); !chat.Is(err, chat.BadRequest) {
		t.Errorf("Link at a large seq: got error %v; want BadRequest", err)
	}
	largest := message("chat", 1<<49-1)
	largest.Stream = 1<<49 - 1
	if err := s.Write(t.Context(), store.Batch{Events: []store.Entry{largest}}); err != nil {
		t.Errorf("Write of the last place that there is: got error %v; want none", err)
	}
}

func TestWhomAnErasedMessageMentionedIsNowhereInTheTables(t *testing.T) {
	t.Parallel()
	o := cqltest.Options(t)
	s, bare := cqltest.Open(t, o), cqltest.Session(t, o.Hosts[0], o.Keyspace)
	count := func(table string) (n int) {
		t.Helper()
		if err := bare.Session.Query("SELECT COUNT(*) FROM " + table).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	mention := message("chat", 1)
	mention.Event.Mentions = []chat.UserID{"ann", "ben"}
	at := chat.Now()
	edit := store.Entry{Body: []byte("edit"), Stream: 20, Event: chat.Event{Type: chat.Edited, Chat: "chat", Seq: 2, Target: 1, By: "sender",
		Mentions: []chat.UserID{"cid"}, At: &at}}
	stub := store.Entry{Body: []byte("stub"), Event: mention.Event.Stub(chat.Erasure{Seq: 3, By: "sender", At: at})}
	write := func(b store.Batch) {
		t.Helper()
		if err := s.Write(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	write(store.Batch{Events: []store.Entry{mention, edit}})
	if n, m := count("mentions"), count("marks"); n != 3 || m != 4 {
		t.Fatalf("got %d mentions and %d marks; want 3, and as many and the edit", n, m)
	}
	for range 2 {
		write(store.Batch{Erased: []store.Entry{stub}})
		if n, m := count("mentions"), count("marks"); n != 0 || m != 2 {
			t.Errorf("got %d mentions and %d marks; want none, and those of the edit and of the erasure", n, m)
		}
		write(store.Batch{Events: []store.Entry{mention, edit}}) // a replay
	}
	// What the erasure did not find, because it came later, goes with the next one.
	edit.Event.Seq, edit.Event.Mentions = 4, []chat.UserID{"dan"}
	write(store.Batch{Events: []store.Entry{edit}})
	if seqs, err := s.Mentions(t.Context(), "dan", "chat", 0, 10); err != nil || len(seqs) > 0 {
		t.Errorf("Mentions: got %v, error %v; want none", seqs, err)
	}
	write(store.Batch{Erased: []store.Entry{stub}})
	if n := count("mentions"); n != 0 {
		t.Errorf("got %d mentions; want none", n)
	}
}

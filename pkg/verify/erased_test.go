package verify_test

import (
	"strings"
	"testing"
	"time"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/verify"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// event reads what the log has at seq.
func (w *world) event(seq chat.Seq) chat.Event {
	w.t.Helper()
	it, err := w.log.Event(w.t.Context(), id, seq)
	if err != nil {
		w.t.Fatal(err)
	}
	e, err := wire.DecodeEvent(it.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return e
}

// edit edits message 3, which is ann's.
func (w *world) edit() {
	w.t.Helper()
	w.do(chat.Edit{By: "ann", Target: chat.Target{Seq: 3, Sender: "ann", Head: 1 << 40}, Text: "secret, too"})
}

// remove deletes messages and their edits, of which the first is the target. Nothing is taken out of the log yet.
func (w *world) remove(seqs ...chat.Seq) {
	w.t.Helper()
	c := chat.Delete{By: "ann", Target: chat.Target{Seq: seqs[0], Sender: "ann", Head: 1 << 40}}
	for _, seq := range seqs {
		c.Events = append(c.Events, w.event(seq))
	}
	w.do(c)
}

func (w *world) scrub(seqs ...chat.Seq) {
	w.t.Helper()
	if err := w.log.Scrub(w.t.Context(), id, seqs...); err != nil {
		w.t.Fatal(err)
	}
}

// putStubs puts the stubs of events into the store, as the api does before the persister.
func (w *world) putStubs(seqs ...chat.Seq) {
	w.t.Helper()
	stubs, err := verify.NewStream(w.bus, 1).Stubs(w.t.Context(), id, 1, 100)
	if err != nil {
		w.t.Fatal(err)
	}
	var b store.Batch
	for _, s := range stubs {
		e, err := wire.DecodeEvent(s.Body)
		if err != nil {
			w.t.Fatal(err)
		}
		b.Erased = append(b.Erased, store.Entry{Event: e, Body: s.Body})
	}
	if len(b.Erased) != len(seqs) {
		w.t.Fatalf("got %d stubs; want %d", len(b.Erased), len(seqs))
	}
	if err := w.db.Write(w.t.Context(), b); err != nil {
		w.t.Fatal(err)
	}
}

// keepTexts lets the store have texts of which it has stubs.
func (w *world) keepTexts(seqs ...chat.Seq) {
	w.t.Helper()
	texts := map[chat.Seq][]byte{}
	for _, seq := range seqs {
		texts[seq] = wire.Encode(w.event(seq))
	}
	w.store.page = func(page []store.Item) []store.Item {
		for i := range page {
			if text, ok := texts[page[i].Seq]; ok {
				page[i].Body = text
			}
		}
		return page
	}
}

func TestAMessageThatWasErasedEverywhereIsNoProblem(t *testing.T) {
	w := kept(t)
	w.edit()
	w.persist()
	w.right(27, 20)
	w.remove(3, 27)
	w.scrub(3, 27)
	w.persist()
	w.right(28, 20)
	w.remove(2)
	w.scrub(2)
	w.persist()
	w.right(29, 20)
	w.age(w.streamOf(5))
	w.right(29, 20)
	w.age(w.last() + 1)
	w.right(29, 20)
}

func TestAnErasureThatIsUnderWayIsNoProblem(t *testing.T) {
	for name, steps := range map[string][]func(*world){
		"the log first":                       {func(w *world) { w.scrub(3, 27) }, func(w *world) { w.putStubs(3, 27) }},
		"the store first":                     {func(w *world) { w.putStubs(3, 27) }, func(w *world) { w.scrub(3, 27) }},
		"one of the log, the store, and both": {func(w *world) { w.scrub(27) }, func(w *world) { w.putStubs(3, 27) }, func(w *world) { w.scrub(3) }},
	} {
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			w := kept(t)
			w.edit()
			w.persist()
			w.remove(3, 27)
			w.right(28, 20)
			for _, step := range steps {
				step(w)
				w.right(28, 20)
			}
			w.persist()
			w.right(28, 20)
		})
	}
}

func TestAMessageThatWasErasedBeforeTheStoreHadItIsNoProblem(t *testing.T) {
	w := kept(t)
	w.say("ann", 20, 23)
	w.remove(27)
	w.remove(28)
	w.scrub(27, 28)
	w.right(31, 23)
	w.putStubs(27, 28)
	w.right(31, 23)
	w.persist()
	w.right(31, 23)
}

func TestAMessageThatIsErasedWhileItIsReadIsNoProblem(t *testing.T) {
	w := kept(t)
	done := false
	w.seen.ended = func() {
		if !done {
			done = true
			w.remove(3)
			w.scrub(3)
			w.putStubs(3)
		}
	}
	w.right(26, 20)
	w.right(27, 20)
}

// relics are faults of erasing.
var relics = []mutant{
	{"the text is still in the store", func(w *world) {
		w.keepTexts(3, 27)
		w.scrub(3, 27)
		w.persist()
	}, []found{{verify.NotErased, 3}, {verify.NotErased, 27}}},
	{"the text is still in store and log", func(w *world) {
		w.keepTexts(3, 27)
		w.persist()
	}, []found{{verify.NotErased, 3}, {verify.NotErased, 27}}},
	{"the text is still in the log", func(w *world) {
		w.persist()
	}, []found{{verify.NotErased, 3}, {verify.NotErased, 27}}},
	{"the text of the edit is still in the store, and all has aged out of the log", func(w *world) {
		w.keepTexts(27)
		w.scrub(3, 27)
		w.persist()
		w.age(w.last() + 1)
	}, []found{{verify.NotErased, 27}}},
	{"the store has a stub of what nobody deleted", func(w *world) {
		w.scrub(3, 27)
		w.persist()
		w.store.page = replaced(5, func([]byte) []byte {
			return wire.Encode(w.event(5).Stub(chat.Erasure{Seq: 28, By: "ann", At: chat.Now()}))
		})
	}, []found{{verify.Altered, 5}}},
	{"the store has another stub", func(w *world) {
		w.scrub(3, 27)
		w.persist()
		w.store.page = replaced(3, func([]byte) []byte {
			return wire.Encode(w.event(3).Stub(chat.Erasure{Seq: 28, By: "ben", At: chat.Now()}))
		})
	}, []found{{verify.Altered, 3}}},
	{"the stub is not in the store", func(w *world) {
		w.scrub(3, 27)
		w.persist()
		w.store.page = without(3)
	}, []found{{verify.Missing, 3}}},
	{"what a person wrote is still there long after they are gone", func(w *world) {
		w.scrub(3, 27)
		at := chat.TimeOf(time.Now().Add(-2 * time.Hour))
		w.put(subject.Log(0, id), 29, wire.Encode(chat.Event{Type: chat.Changed, Change: chat.Erased, Chat: id, Seq: 29, N: 20, User: "dan", By: "dan", At: &at}))
		w.persist()
	}, []found{{verify.NotErased, 15}, {verify.Altered, 29}}},
	{"what a person wrote is still there a moment after they are gone", func(w *world) {
		w.scrub(3, 27)
		w.do(chat.EraseSender{User: "dan"})
		w.persist()
	}, nil},
}

func TestWhatIsNotErasedIsFound(t *testing.T) {
	for _, m := range relics {
		t.Run(strings.ReplaceAll(m.name, " ", "-"), func(t *testing.T) {
			w := kept(t)
			w.edit()
			w.persist()
			w.remove(3, 27)
			m.check(t, w)
		})
	}
}

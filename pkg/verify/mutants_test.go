package verify_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/verify"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// found is a problem without its words.
type found struct {
	kind verify.Kind
	seq  chat.Seq
}

// mutant is a fault that was seeded into a chat of which all was right, and the problems that must be found.
type mutant struct {
	name string
	seed func(w *world)
	want []found
}

// without drops what has a seq from a page.
func without(seqs ...chat.Seq) func([]store.Item) []store.Item {
	return func(page []store.Item) []store.Item {
		return slices.DeleteFunc(page, func(it store.Item) bool { return slices.Contains(seqs, it.Seq) })
	}
}

// replaced changes the body of an event of a page.
func replaced(seq chat.Seq, change func([]byte) []byte) func([]store.Item) []store.Item {
	return func(page []store.Item) []store.Item {
		for i := range page {
			if page[i].Seq == seq {
				page[i].Body = change(page[i].Body)
			}
		}
		return page
	}
}

func otherText(b []byte) []byte { return bytes.Replace(b, []byte("secret"), []byte("sacred"), 1) }

func (w *world) state() *chat.State {
	w.t.Helper()
	s, err := w.log.Snapshot(w.t.Context(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	st := *s.State
	return &st
}

// lies are faults of which log and store only tell: one world is enough for all.
var lies = []mutant{
	{"an event is deleted from the store", func(w *world) { w.store.page = without(7) }, []found{{verify.Missing, 7}}},
	{"the last event is deleted from the store", func(w *world) { w.store.page = without(26) }, []found{{verify.Missing, 26}}},
	{"a body in the store is altered", func(w *world) { w.store.page = replaced(5, otherText) }, []found{{verify.Altered, 5}}},
	{"a body in the store is cut", func(w *world) {
		w.store.page = replaced(5, func(b []byte) []byte { return b[:20] })
	}, []found{{verify.Altered, 5}}},
	{"a body in the log is altered", func(w *world) {
		w.seen.events = func(all []verify.Entry) []verify.Entry {
			for i := range all {
				if all[i].Seq == 5 {
					all[i].Body = otherText(all[i].Body)
				}
			}
			return all
		}
	}, []found{{verify.Altered, 5}}},
	{"a state in the store that differs", func(w *world) {
		w.store.record = func(r *store.Record) {
			st := *r.State
			st.Members = slices.Clone(st.Members)
			st.Members[0].Role = chat.Plain
			r.State = &st
		}
	}, []found{{verify.Altered, 26}}},
	{"a state in the store that is an older one", func(w *world) {
		w.store.record = func(r *store.Record) {
			st := *r.State
			st.Seq = 20
			r.State = &st
		}
	}, []found{{verify.Altered, 20}}},
	{"no state in the store", func(w *world) {
		w.store.record = func(r *store.Record) { r.State = nil }
	}, []found{{verify.Missing, 26}}},
	{"the store counts other messages", func(w *world) {
		w.store.record = func(r *store.Record) { r.N++ }
	}, []found{{verify.Count, 26}}},
	{"the store has the end elsewhere in the stream", func(w *world) {
		w.store.record = func(r *store.Record) { r.Stream-- }
	}, []found{{verify.Count, 26}}},
	{"the store says that it has less", func(w *world) {
		w.store.record = func(r *store.Record) { r.Seq, r.N = 24, 19 }
	}, []found{{verify.Count, 24}}},
	{"the store says that it has more", func(w *world) {
		w.store.record = func(r *store.Record) { r.Seq = 1 << 60 }
	}, []found{{verify.Count, 1 << 60}}},
	{"a cursor in the store with a wrong count", func(w *world) {
		w.store.cursor = func(c *store.Cursor) {
			if c.User == "ben" {
				c.N--
			}
		}
	}, []found{{verify.Count, 25}}},
	{"a cursor in the store before an own message", func(w *world) {
		w.store.cursor = func(c *store.Cursor) {
			if c.User == "ben" {
				c.Seq, c.N, c.Delivered = 24, 19, 24
			}
		}
	}, []found{{verify.Count, 24}}},
	{"a cursor in the store of which less was delivered than read", func(w *world) {
		w.store.cursor = func(c *store.Cursor) {
			if c.User == "ben" {
				c.Delivered--
			}
		}
	}, []found{{verify.Count, 25}}},
	{"the store does not find a message", func(w *world) {
		w.store.find = func(f store.Found, err error) (store.Found, error) {
			if f.Seq == 11 {
				return store.Found{}, store.ErrNotFound
			}
			return f, err
		}
	}, []found{{verify.Index, 11}}},
	{"the store finds a message elsewhere", func(w *world) {
		w.store.find = func(f store.Found, err error) (store.Found, error) {
			if f.Seq == 11 {
				f.Seq = 12
			}
			return f, err
		}
	}, []found{{verify.Index, 11}}},
	{"members do not find the chat", func(w *world) {
		w.store.chatsOf = func([]store.UserChat) []store.UserChat { return nil }
	}, []found{{verify.Index, 1}, {verify.Index, 1}, {verify.Index, 14}, {verify.Index, 20}}},
}

// deeds are faults that are in the log itself.
var deeds = []mutant{
	{"an event is deleted from the store, and has aged out of the log", func(w *world) {
		w.store.page = without(7)
		w.age(w.streamOf(12))
	}, []found{{verify.Missing, 7}}},
	{"several events are in neither", func(w *world) {
		w.store.page = without(4, 5, 6)
		w.age(w.streamOf(12))
	}, []found{{verify.Missing, 4}}},
	{"two events are swapped in the store, and have aged out of the log", func(w *world) {
		w.age(w.streamOf(12))
		w.store.page = func(page []store.Item) []store.Item {
			for i := range page {
				if page[i].Seq == 3 {
					page[i].Body, page[i+1].Body = page[i+1].Body, page[i].Body
				}
			}
			return page
		}
	}, []found{{verify.Disordered, 3}, {verify.Disordered, 4}}},
	{"an event of another chat", func(w *world) {
		w.age(w.streamOf(12))
		w.store.page = replaced(5, func(b []byte) []byte { return bytes.Replace(b, []byte(`"c1"`), []byte(`"c2"`), 1) })
	}, []found{{verify.Altered, 5}}},
	{"an event with a wrong number", func(w *world) {
		w.forge(chat.Event{Seq: 27, N: 99})
		w.forge(chat.Event{Seq: 28, N: 22})
		w.persist()
	}, []found{{verify.Count, 27}}},
	{"an event with a wrong number from which all go on", func(w *world) {
		w.forge(chat.Event{Seq: 27, N: 20})
		w.forge(chat.Event{Seq: 28, N: 21})
		w.forge(chat.Event{Seq: 29, N: 22})
		w.persist()
	}, []found{{verify.Count, 27}}},
	{"two events are swapped in the log", func(w *world) {
		w.forge(chat.Event{Seq: 28, N: 22})
		w.forge(chat.Event{Seq: 27, N: 21})
		w.forge(chat.Event{Seq: 29, N: 23})
		w.persist()
	}, []found{{verify.Disordered, 27}}},
	{"two events are swapped in the log, and not in the store yet", func(w *world) {
		w.forge(chat.Event{Seq: 28, N: 22})
		w.forge(chat.Event{Seq: 27, N: 21})
		w.forge(chat.Event{Seq: 29, N: 23})
	}, []found{{verify.Disordered, 27}}},
	{"a hole in the seqs", func(w *world) {
		w.forge(chat.Event{Seq: 28, N: 22})
		w.persist()
	}, []found{{verify.Missing, 27}}},
	{"a hole as wide as a number", func(w *world) {
		w.forge(chat.Event{Seq: 1 << 62, N: 22})
	}, []found{{verify.Missing, 27}}},
	{"a message stands twice", func(w *world) {
		w.forge(chat.Event{Seq: 27, N: 21, ClientID: "m3"})
		w.persist()
	}, []found{{verify.Double, 27}}},
	{"an event stands in the log twice", func(w *world) {
		w.forge(chat.Event{Seq: 27, N: 21, ClientID: "twice"})
		w.forge(chat.Event{Seq: 27, N: 21, ClientID: "twice"})
		w.persist()
	}, []found{{verify.Double, 27}}},
	{"an event that nobody can read", func(w *world) {
		w.put(subject.Log(0, id), 27, []byte("garbage"))
	}, []found{{verify.Altered, 27}}},
	{"a message of somebody who is no member", func(w *world) {
		w.forge(chat.Event{Seq: 27, N: 21, Type: chat.Message, Sender: "zoe", Text: "secret"})
		w.persist()
	}, []found{{verify.Disordered, 27}}},
	{"a change that cannot follow", func(w *world) {
		w.forge(chat.Event{Seq: 27, N: 20, Type: chat.Changed, Change: chat.MemberRemoved, User: "zoe", By: "ann"})
		w.persist()
	}, []found{{verify.Disordered, 27}}},
	{"a state in the log that differs", func(w *world) {
		st := w.state()
		st.Title = "other"
		w.put(subject.State(0, id), st.Seq, wire.Encode(st))
		w.persist()
	}, []found{{verify.Altered, 26}}},
	{"a state in the log that nobody can read", func(w *world) {
		w.put(subject.State(0, id), 26, []byte("garbage"))
	}, []found{{verify.Altered, 26}}},
	{"a state in the log that is an older one", func(w *world) {
		st := w.state()
		st.Seq = 25
		w.put(subject.State(0, id), st.Seq, wire.Encode(st))
	}, []found{{verify.Altered, 26}}},
	{"a cursor in the log with a wrong count", func(w *world) {
		w.put(subject.Cursor(0, id, "ann"), 0, wire.Encode(wire.Read{Type: wire.TypeRead, Chat: id, User: "ann", Seq: 20, N: 3}))
	}, []found{{verify.Count, 20}}},
	{"a cursor in the log that nobody can read", func(w *world) {
		w.put(subject.Cursor(0, id, "ann"), 0, []byte("garbage"))
	}, []found{{verify.Altered, 26}}},
	{"a cursor in the log beyond the end", func(w *world) {
		w.put(subject.Cursor(0, id, "ann"), 0, wire.Encode(wire.Read{Type: wire.TypeRead, Chat: id, User: "ann", Seq: 40, N: 20}))
	}, []found{{verify.Count, 40}}},
	{"something was delivered that is beyond the end of the log", func(w *world) {
		w.put(subject.Delivered(0, id, "ann"), 0, wire.Encode(wire.Delivered{Type: wire.TypeDelivered, Chat: id, User: "ann", Seq: 41}))
	}, []found{{verify.Count, 41}}},
	{"an event is erased from the log", func(w *world) { w.erase(9) }, []found{{verify.Missing, 9}}},
	{"the last event is erased from the log", func(w *world) { w.erase(26) }, []found{{verify.Missing, 26}}},
	{"the first event is erased from the log", func(w *world) {
		w.erase(1)
		w.seen.older = time.Hour // than which nothing has aged out
	}, []found{{verify.Missing, 1}}},
	{"an event is erased from the log before the store has it", func(w *world) {
		w.say("ann", 20, 23)
		w.erase(28)
	}, []found{{verify.Missing, 28}}},
}

func TestEachSeededFaultIsFoundAsItsKindAndAsNothingElse(t *testing.T) {
	for _, m := range deeds {
		t.Run(strings.ReplaceAll(m.name, " ", "-"), func(t *testing.T) { m.check(t, kept(t)) })
	}
	t.Run("lies", func(t *testing.T) {
		w := kept(t)
		honest := w.seen
		for _, m := range lies {
			t.Run(strings.ReplaceAll(m.name, " ", "-"), func(t *testing.T) { m.check(t, w) })
			w.store, w.seen = faultyStore{Store: w.db}, honest
		}
		w.right(26, 20)
	})
}

// check seeds the fault and compares what is found.
func (m mutant) check(t *testing.T, w *world) {
	t.Helper()
	m.seed(w)
	r := w.verify()
	var got []found
	for _, p := range r.Problems {
		got = append(got, found{p.Kind, p.Seq})
		if strings.Contains(p.What, "secret") || p.What == "" {
			t.Errorf("%q: want a description without what people wrote", p.What)
		}
	}
	if !slices.Equal(got, m.want) || r.Wrong != len(m.want) {
		t.Errorf("got %d problems, %+v; want %v", r.Wrong, r.Problems, m.want)
	}
}

func TestAllProblemsAreCountedAndTheFirstHundredAreTold(t *testing.T) {
	w := kept(t)
	w.say("ann", 20, 150)
	w.persist()
	w.store.find = func(store.Found, error) (store.Found, error) { return store.Found{}, store.ErrNotFound }
	if r := w.verify(); r.Wrong != 150 || len(r.Problems) != 100 {
		t.Errorf("got %d problems of %d; want 100 of 150", len(r.Problems), r.Wrong)
	}
}

func TestAWholeChatThatIsErasedFromTheLogIsMissing(t *testing.T) {
	w := kept(t)
	for seq := chat.Seq(1); seq <= 26; seq++ {
		w.erase(seq)
	}
	w.seen.older = time.Hour
	r := w.verify()
	if r.Wrong != 26 || r.Problems[0].Kind != verify.Missing || r.Events != 26 {
		t.Errorf("got %d problems, %+v; want that all 26 are missing", r.Wrong, r.Problems)
	}
}

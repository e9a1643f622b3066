package storetest

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/store"
)

var erasures = []test{
	{"AStubReplacesABodyForEverWhateverIsReplayed", func(t *testing.T, s store.Store) {
		user := newUser()
		for _, order := range []string{"es", "se", "ses", "ese", "eess", "sees", "(es)", "(se)", "e(es)s", "(es)e"} {
			id := newChat()
			e := message(id, 1, 1, user)
			st := stub(e, 2, user)
			for i := 0; i < len(order); i++ {
				var b store.Batch
				add := func(c byte) {
					if c == 'e' {
						b.Events = append(b.Events, e)
					} else {
						b.Erased = append(b.Erased, st)
					}
				}
				if order[i] == '(' {
					for i++; order[i] != ')'; i++ {
						add(order[i])
					}
				} else {
					add(order[i])
				}
				check(t, "Write", s.Write(t.Context(), b))
			}
			wantPage(t, s, id, store.Range{}, st.Body)
			wantHead(t, s, id, 1, 1)
			wantCursor(t, s, store.Cursor{Chat: id, User: user, Seq: 1, N: 1, Delivered: 1})
			f, err := s.Find(t.Context(), id, user, e.Event.ClientID)
			check(t, "Find", err)
			if f.Seq != 1 || !f.SentAt.Equal(e.Event.SentAt.Time) {
				t.Errorf("%s: Find: got %+v; want seq 1 at %v", order, f, e.Event.SentAt)
			}
		}
	}},
	{"OfSeveralStubsThatOfTheLatestDeletionStays", func(t *testing.T, s store.Store) {
		user := newUser()
		for i := range 6 {
			id := newChat()
			e := message(id, 1, 1, user)
			early, late := stub(e, 2, user), stub(e, 7, user)
			all := [][]store.Entry{{e, early, late}, {e, late, early}, {early, late, e}, {late, early, e}, {late, e, early}, {early, e, late}}[i]
			for _, x := range all {
				if x.Event.Deleted == nil {
					write(t, s, x)
					continue
				}
				check(t, "Write", s.Write(t.Context(), store.Batch{Erased: []store.Entry{x}}))
			}
			wantPage(t, s, id, store.Range{}, late.Body)
			id = newChat()
			var b store.Batch
			for _, x := range all {
				x.Event.Chat = id
				if x.Event.Deleted == nil {
					b.Events = append(b.Events, x)
				} else {
					b.Erased = append(b.Erased, x)
				}
			}
			check(t, "Write", s.Write(t.Context(), b))
			wantPage(t, s, id, store.Range{}, late.Body)
		}
	}},
	{"AStubAmongTheEventsIsAStub", func(t *testing.T, s store.Store) {
		id, user := newChat(), newUser()
		e := message(id, 1, 1, user)
		write(t, s, e)
		write(t, s, stub(e, 2, user))
		write(t, s, e)
		wantPage(t, s, id, store.Range{}, stub(e, 2, user).Body)
	}},
	{"AnEditThatIsErasedKeepsItsMarkAndLosesItsText", func(t *testing.T, s store.Store) {
		for _, stubFirst := range []bool{true, false} {
			id, user := newChat(), newUser()
			said, edit := message(id, 1, 1, user), edited(id, 2, 1, user)
			m := newModel(&world{})
			parts := []store.Batch{{Events: []store.Entry{said, edit}}, {Erased: []store.Entry{stub(said, 3, user), stub(edit, 3, user)}}}
			if stubFirst {
				slices.Reverse(parts)
			}
			for _, b := range parts {
				check(t, "Write", s.Write(t.Context(), b))
				m.write(b)
				m.compareMarks(t, s, id, 1, 2)
			}
			wantPage(t, s, id, store.Range{}, stub(said, 3, user).Body, stub(edit, 3, user).Body)
			if got, err := s.Marks(t.Context(), id, 1, 1); err != nil || len(got) != 1 {
				t.Errorf("Marks: got %d, error %v; want that of the edit", len(got), err)
			}
		}
	}},
	{"WhereAStubStandsInTheStreamIsKnownOnceTheEventIsThere", func(t *testing.T, s store.Store) {
		id, user := newChat(), newUser()
		e := message(id, 1, 1, user)
		st := stub(e, 2, user)
		st.Stream = 0
		check(t, "Write", s.Write(t.Context(), store.Batch{Erased: []store.Entry{st}}))
		write(t, s, e)
		wantHead(t, s, id, 1, 1)
		check(t, "Write", s.Write(t.Context(), store.Batch{Erased: []store.Entry{st}}))
		wantHead(t, s, id, 1, 1)
		wantPage(t, s, id, store.Range{}, st.Body)
	}},
	{"ATextThatWasErasedIsNeverSeenAgain", func(t *testing.T, s store.Store) {
		const n = 30
		id, user := newChat(), newUser()
		var b store.Batch
		var want [][]byte
		for seq := range chat.Seq(n) {
			e := message(id, seq+1, uint64(seq+1), user)
			b.Events = append(b.Events, e)
			b.Erased = append(b.Erased, stub(e, n+seq+1, user))
			want = append(want, b.Erased[seq].Body)
		}
		check(t, "Write", s.Write(t.Context(), b))
		var done atomic.Bool
		atOnce(3, func(who int) {
			if who == 0 {
				defer done.Store(true)
				for range 10 {
					if err := s.Write(t.Context(), store.Batch{Events: b.Events}); err != nil {
						t.Errorf("Write: got error %v; want none", err)
					}
				}
				return
			}
			for !done.Load() && !t.Failed() {
				items, err := s.Page(t.Context(), id, store.Range{})
				if err != nil || !slices.EqualFunc(items, want, func(it store.Item, b []byte) bool { return slices.Equal(it.Body, b) }) {
					t.Errorf("Page during a replay: got %s, error %v; want the stubs", seqs(items), err)
				}
			}
		})
		wantPage(t, s, id, store.Range{}, want...)
	}},
	{"WhatHasNoPlaceAmongMarksAndStubsIsABadRequest", func(t *testing.T, s store.Store) {
		id, user := newChat(), newUser()
		e := message(id, 1, 1, user)
		with := func(e store.Entry, change func(*chat.Event)) store.Entry {
			change(&e.Event)
			return e
		}
		long := chat.UserID(fmt.Sprintf("%065d", 1))
		for name, b := range map[string]store.Batch{
			"a stub of no deletion":       {Erased: []store.Entry{e}},
			"a stub of a deletion at 0":   {Erased: []store.Entry{stub(e, 0, user)}},
			"an edit of nothing":          {Events: []store.Entry{edited(id, 2, 0, user)}},
			"an edit by nobody":           {Events: []store.Entry{edited(id, 2, 1, "")}},
			"a reaction without an emoji": {Events: []store.Entry{reacted(id, 2, 1, user, "", false)}},
			"a reaction to nothing":       {Events: []store.Entry{reacted(id, 2, 0, user, "👍", false)}},
			"a mention of nobody":         {Events: []store.Entry{with(e, func(e *chat.Event) { e.Mentions = []chat.UserID{""} })}},
			"a mention of a long id":      {Events: []store.Entry{with(e, func(e *chat.Event) { e.Mentions = []chat.UserID{long} })}},
		} {
			b.Events = append(b.Events, message(id, 9, 9, user))
			if err := s.Write(t.Context(), b); !chat.Is(err, chat.BadRequest) {
				t.Errorf("%s: got error %v; want BadRequest", name, err)
			}
		}
		wantPage(t, s, id, store.Range{})
	}},
}

package storetest

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/store"
)

type placeKey struct {
	chat chat.ID
	seq  chat.Seq
}

// markKey is what a mark has in common with those that it replaces: of an edit there are none.
type markKey struct {
	chat   chat.ID
	target chat.Seq
	what   string
}

// body keeps the body of an event or a stub, and whom it mentions.
func (m *model) body(en *store.Entry) {
	e := &en.Event
	at, message := placeKey{e.Chat, e.Seq}, placeKey{e.Chat, e.Seq}
	if e.Type == chat.Edited {
		message.seq = e.Target
	}
	switch {
	case e.Deleted != nil:
		m.silent[message] = true
		if e.Deleted.Seq > m.erasure[at] {
			m.erasure[at], m.events[e.Chat][e.Seq] = e.Deleted.Seq, en.Body
		}
	case m.events[e.Chat][e.Seq] == nil:
		m.events[e.Chat][e.Seq] = en.Body
	}
	for _, u := range e.Mentions {
		k := memberKey{e.Chat, u}
		if m.mention[k] == nil {
			m.mention[k] = map[chat.Seq]bool{}
		}
		m.mention[k][message.seq] = true
	}
}

func (m *model) mark(e *chat.Event) {
	k := markKey{e.Chat, e.Target, strconv.FormatUint(uint64(e.Seq), 10)}
	if e.Type == chat.Reacted {
		k.what = string(e.By) + " " + e.Emoji
	}
	if e.Seq > m.marks[k].Seq {
		m.marks[k] = store.Mark{Target: e.Target, Seq: e.Seq, Type: e.Type, By: e.By, Emoji: e.Emoji, Removed: e.Removed, At: e.Time()}
	}
}

func (m *model) compareMarks(t tb, s store.Store, id chat.ID, from, to chat.Seq) {
	t.Helper()
	var want []store.Mark
	for k, mark := range m.marks {
		if k.chat == id && from <= k.target && k.target <= to {
			want = append(want, mark)
		}
	}
	slices.SortFunc(want, func(a, b store.Mark) int { return cmp.Or(cmp.Compare(a.Target, b.Target), cmp.Compare(a.Seq, b.Seq)) })
	got, err := s.Marks(t.Context(), id, from, to)
	check(t, "Marks", err)
	if !gocmp.Equal(got, want, equateEmpty) {
		t.Fatalf("Marks from %d to %d (-want +got):\n%s", from, to, gocmp.Diff(want, got, equateEmpty))
	}
}

func (m *model) compareMentions(t tb, s store.Store, id chat.ID, u chat.UserID) {
	t.Helper()
	var want []chat.Seq
	for seq := range m.mention[memberKey{id, u}] {
		// Which messages a chat has is known up to its head: an edit may be there before the message that it is of.
		if !m.silent[placeKey{id, seq}] {
			want = append(want, seq)
		}
	}
	wantSeqs(t, "Mentions", want, func(after chat.Seq, limit int) ([]chat.Seq, error) {
		return s.Mentions(t.Context(), u, id, after, limit)
	})
}

func (m *model) compareSentSeqs(t tb, s store.Store, id chat.ID, u chat.UserID) {
	t.Helper()
	var want []chat.Seq
	for k, f := range m.found {
		if k.chat == id && k.sender == u {
			want = append(want, f.Seq)
		}
	}
	wantSeqs(t, "SentSeqs", want, func(after chat.Seq, limit int) ([]chat.Seq, error) {
		return s.SentSeqs(t.Context(), id, u, after, limit)
	})
}

// wantSeqs compares a list of seqs as a whole and walked through.
func wantSeqs(t tb, call string, want []chat.Seq, list func(after chat.Seq, limit int) ([]chat.Seq, error)) {
	t.Helper()
	slices.Sort(want)
	for _, limit := range []int{2, len(want) + 1} {
		var got []chat.Seq
		for after, more := chat.Seq(0), true; more; {
			some, err := list(after, limit)
			check(t, call, err)
			if len(some) > limit {
				t.Fatalf("%s: got %d; want at most %d", call, len(some), limit)
			}
			got = append(got, some...)
			if more = len(some) == limit; more {
				after = some[limit-1]
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%s, %d at a time: got %v; want %v", call, limit, got, want)
		}
	}
}

var marks = []test{
	{"OfReactionsTheLatestIsKeptAndOfEditsAll", func(t *testing.T, s store.Store) {
		id, a, b := newChat(), newUser(), newUser()
		all := []store.Entry{
			message(id, 1, 1, a), message(id, 2, 2, b),
			reacted(id, 3, 1, a, "👍", false), reacted(id, 4, 1, a, "❤️", false), reacted(id, 5, 1, b, "👍", false), reacted(id, 6, 2, a, "👍", false),
			reacted(id, 7, 1, a, "👍", true), edited(id, 8, 1, a), edited(id, 9, 1, a), reacted(id, 10, 1, a, "👍", false), edited(id, 11, 2, b),
			reacted(id, 12, 1, b, "👍", true),
		}
		m := newModel(&world{})
		for _, forward := range []bool{false, true} {
			for i := range all {
				if !forward {
					i = len(all) - 1 - i
				}
				write(t, s, all[i])
				m.write(store.Batch{Events: all[i : i+1]})
				m.compareMarks(t, s, id, 1, 2)
			}
		}
		m.compareMarks(t, s, id, 0, math.MaxUint64)
		m.compareMarks(t, s, id, 2, 2)
		m.compareMarks(t, s, id, 3, 12)
		m.compareMarks(t, s, id, 2, 1)
		if got, err := s.Marks(t.Context(), id, 1, 1); err != nil || len(got) != 5 {
			t.Errorf("Marks of the first message: got %d, error %v; want 5", len(got), err)
		}
		m.compareMarks(t, s, id+"-", 0, 100)
	}},
	{"MarksMayBeAskedForAnywhereInALongChat", func(t *testing.T, s store.Store) {
		id, user := newChat(), newUser()
		m := newModel(&world{})
		var b store.Batch
		const targets, far = 700, 20_000
		for i := range chat.Seq(targets / 10) {
			target := 10*i + 1
			b.Events = append(b.Events, reacted(id, targets+i, target, user, "👍", false))
		}
		b.Events = append(b.Events, edited(id, far+3, far, user), reacted(id, far+2, far-256, user, "👍", false))
		check(t, "Write", s.Write(t.Context(), b))
		m.write(b)
		for _, from := range []chat.Seq{0, 1, 200, 256, 257, 511, 690, far - 256, far} {
			for _, to := range []chat.Seq{0, 255, 256, 300, 512, 700, far - 1, far, math.MaxUint64} {
				m.compareMarks(t, s, id, from, to)
			}
		}
	}},
	{"WhoIsMentionedFindsTheMessagesUntilTheyAreErased", func(t *testing.T, s store.Store) {
		id, sender, a, b := newChat(), newUser(), newUser(), newUser()
		say := func(seq chat.Seq, mentions ...chat.UserID) store.Entry {
			e := message(id, seq, uint64(seq), sender).Event
			e.Mentions = mentions
			return entry(e)
		}
		m := newModel(&world{})
		see := func(b2 store.Batch) {
			t.Helper()
			check(t, "Write", s.Write(t.Context(), b2))
			m.write(b2)
			for _, u := range []chat.UserID{sender, a, b} {
				m.compareMentions(t, s, id, u)
			}
		}
		first, second, edit := say(1, a), say(2, a, b, a), edited(id, 4, 1, sender, b)
		see(store.Batch{Events: []store.Entry{first, second, say(3)}})
		see(store.Batch{Events: []store.Entry{edit}})
		see(store.Batch{Events: []store.Entry{say(300, b), say(600, b)}})
		if got, err := s.Mentions(t.Context(), b, id, 1, 2); err != nil || !slices.Equal(got, []chat.Seq{2, 300}) {
			t.Errorf("Mentions above 1: got %v, error %v; want 2 and 300", got, err)
		}
		see(store.Batch{Erased: []store.Entry{stub(first, 601, sender)}})
		see(store.Batch{Events: []store.Entry{first, edit}})
		see(store.Batch{Events: []store.Entry{edited(id, 5, 1, sender, a)}}) // which nobody had carried here yet
		see(store.Batch{Erased: []store.Entry{stub(edit, 601, sender)}})
		see(store.Batch{Events: []store.Entry{first, second, edit, say(300, b)}})
		for _, none := range []func() ([]chat.Seq, error){
			func() ([]chat.Seq, error) { return s.Mentions(t.Context(), b, id, 600, 9) },
			func() ([]chat.Seq, error) { return s.Mentions(t.Context(), b, id, math.MaxUint64, 9) },
			func() ([]chat.Seq, error) { return s.Mentions(t.Context(), b, id, 0, 0) },
			func() ([]chat.Seq, error) { return s.Mentions(t.Context(), b, id+"-", 0, 9) },
		} {
			if got, err := none(); err != nil || len(got) > 0 {
				t.Errorf("Mentions: got %v, error %v; want none", got, err)
			}
		}
	}},
	{"AMentionThatIsWrittenAtOnceWithAnErasureIsFoundByNobody", func(t *testing.T, s store.Store) {
		for range 5 {
			id, sender, a := newChat(), newUser(), newUser()
			e := message(id, 1, 1, sender).Event
			e.Mentions = []chat.UserID{a}
			first := entry(e)
			parts := []store.Batch{{Events: []store.Entry{first}}, {Erased: []store.Entry{stub(first, 3, sender)}},
				{Events: []store.Entry{edited(id, 2, 1, sender, a)}}}
			atOnce(len(parts), func(i int) {
				if err := s.Write(t.Context(), parts[i]); err != nil {
					t.Errorf("Write: got error %v; want none", err)
				}
			})
			if got, err := s.Mentions(t.Context(), a, id, 0, 9); err != nil || len(got) > 0 {
				t.Errorf("Mentions: got %v, error %v; want none", got, err)
			}
		}
	}},
	{"WhatAPersonHasSentIsListedInOrder", func(t *testing.T, s store.Store) {
		id, user, other := newChat(), newUser(), newUser()
		w := &world{chats: []chat.ID{id}, users: []chat.UserID{user, other}}
		m := newModel(w)
		var b store.Batch
		for seq := chat.Seq(1); seq <= 60; seq++ {
			e := message(id, seq, uint64(seq), w.users[seq%3%2])
			if b.Events = append(b.Events, e); seq%7 == 0 {
				b.Erased = append(b.Erased, stub(e, 1000, user))
			}
		}
		// Where client ids are in other partitions.
		for _, seq := range []chat.Seq{1<<18 - 1, 1 << 18, 1<<18 + 1, 1<<19 + 5, 1<<20 + 3, 1<<20 + 2, 1<<20 + 1} {
			b.Events = append(b.Events, message(id, seq, uint64(seq), user))
		}
		check(t, "Write", s.Write(t.Context(), b))
		m.write(b)
		m.compareSentSeqs(t, s, id, user)
		m.compareSentSeqs(t, s, id, other)
		m.compareSentSeqs(t, s, id, newUser())
	}},
}

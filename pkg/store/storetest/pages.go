package storetest

import (
	"bytes"
	"math"
	"strings"
	"testing"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/store"
)

// wantPage compares the bodies of a page.
func wantPage(t *testing.T, s store.Store, id chat.ID, r store.Range, want ...[]byte) {
	t.Helper()
	got, err := s.Page(t.Context(), id, r)
	check(t, "Page", err)
	if len(got) != len(want) {
		t.Fatalf("Page(%+v): got %s; want %d events", r, seqs(got), len(want))
	}
	for i, it := range got {
		if !bytes.Equal(it.Body, want[i]) {
			t.Errorf("Page(%+v): the body of event %d came back changed", r, it.Seq)
		}
	}
}

// writeBodies writes a chat of messages with these bodies, from seq 1 on.
func writeBodies(t *testing.T, s store.Store, bodies ...[]byte) chat.ID {
	t.Helper()
	id, user := newChat(), newUser()
	var b store.Batch
	for i, body := range bodies {
		e := message(id, chat.Seq(i+1), uint64(i+1), user)
		e.Body = body
		b.Events = append(b.Events, e)
	}
	check(t, "Write", s.Write(t.Context(), b))
	return id
}

var pages = []test{
	{"APageIsTheRangeThatWasAskedFor", func(t *testing.T, s store.Store) {
		w := newWorld(1, 2)
		b, m := w.history(12), newModel(w)
		check(t, "Write", s.Write(t.Context(), b))
		m.write(b)
		// All pairs of bounds would be many queries; these have every order of bounds, limits and ends.
		for _, after := range []chat.Seq{0, 1, 5, 11, 12, math.MaxUint64} {
			for _, before := range []chat.Seq{0, 1, 6, 7, 12, 13, math.MaxUint64} {
				for _, limit := range []int{0, 1, 3, 200} {
					m.comparePage(t, s, w.chats[0], store.Range{After: after, Before: before, Limit: limit})
					m.comparePage(t, s, w.chats[0], store.Range{After: after, Before: before, Limit: limit, Forward: true})
				}
			}
		}
	}},
	{"APageEndsBeforeMaxBytesButIsNeverEmptyForIt", func(t *testing.T, s store.Store) {
		a, b, c := bytes.Repeat([]byte("a"), 100), bytes.Repeat([]byte("b"), 1000), bytes.Repeat([]byte("c"), 100)
		id := writeBodies(t, s, a, b, c)
		for _, tc := range []struct {
			r    store.Range
			want [][]byte
		}{
			{store.Range{MaxBytes: 0}, [][]byte{a, b, c}},
			{store.Range{MaxBytes: 1200}, [][]byte{a, b, c}},
			{store.Range{MaxBytes: 1199}, [][]byte{b, c}},
			{store.Range{MaxBytes: 1100}, [][]byte{b, c}},
			{store.Range{MaxBytes: 1099}, [][]byte{c}}, // what does not fit ends the page: no holes
			{store.Range{MaxBytes: 1}, [][]byte{c}},
			{store.Range{MaxBytes: 1099, Forward: true}, [][]byte{a}},
			{store.Range{MaxBytes: 1, Forward: true}, [][]byte{a}},
			{store.Range{MaxBytes: 1, After: 1}, [][]byte{b}},
			{store.Range{MaxBytes: 1, Before: 3}, [][]byte{b}},
			{store.Range{MaxBytes: 1100, Limit: 1}, [][]byte{c}},
			{store.Range{MaxBytes: 5000, Limit: 2, Forward: true}, [][]byte{a, b}},
		} {
			wantPage(t, s, id, tc.r, tc.want...)
		}
	}},
	{"BodiesComeBackByteForByte", func(t *testing.T, s store.Store) {
		every := make([]byte, 256)
		for i := range every {
			every[i] = byte(i)
		}
		bodies := [][]byte{
			every,
			{0}, {0xff}, []byte("{"), []byte("\r\n\x00 "), []byte(`{"text":"\u003c","x":1.0}`), []byte("\xff\xfe not UTF-8"),
			bytes.Repeat(every, 2400), // 600 KB, as a text of 100,000 characters can have
			bytes.Repeat([]byte(`\u003c`), 100_000),
			[]byte("last"),
		}
		id := writeBodies(t, s, bodies...)
		wantPage(t, s, id, store.Range{}, bodies...)
		wantPage(t, s, id, store.Range{After: 7, Limit: 2}, bodies[7:9]...)
		wantPage(t, s, id, store.Range{MaxBytes: 1_000_000}, bodies[8:]...)
	}},
	{"BodiesBelongToTheCaller", func(t *testing.T, s store.Store) {
		want := []byte("the body")
		id := writeBodies(t, s, bytes.Clone(want), []byte("next"))
		got, err := s.Page(t.Context(), id, store.Range{})
		check(t, "Page", err)
		if len(got) != 2 {
			t.Fatalf("Page: got %s; want 2 events", seqs(got))
		}
		clear(got[0].Body)
		_ = append(got[0].Body, "and more"...)
		if string(got[1].Body) != "next" {
			t.Errorf("writing behind one body changed the next")
		}
		wantPage(t, s, id, store.Range{Limit: 1, Forward: true}, want)
	}},
	{"AChatWithASimilarIDIsAnotherChat", func(t *testing.T, s store.Store) {
		id := newChat()
		similar := []chat.ID{id, id + "-", id + "_0", id + "A", chat.ID(strings.ToUpper(string(id)))}
		user := newUser()
		w := &world{chats: similar, users: []chat.UserID{user, user + "-", user + "_0"}, logs: map[chat.ID][]store.Entry{}}
		m := newModel(w)
		for i, id := range similar {
			for j, u := range w.users {
				seq := chat.Seq(i + j + 1)
				e := message(id, seq, uint64(seq), u)
				e.Event.ClientID = "same"
				w.logs[id] = append(w.logs[id], e)
				b := store.Batch{Events: []store.Entry{e}}
				check(t, "Write", s.Write(t.Context(), b))
				m.write(b)
				if i != j {
					check(t, "Link", s.Link(t.Context(), id, seq, u))
					m.link(id, seq, u)
				}
			}
		}
		m.compare(t, s)
	}},
	{"APageOfALongChatMayBeginAndEndAnywhere", func(t *testing.T, s store.Store) {
		const n = 1100
		id, user := newChat(), newUser()
		w := &world{chats: []chat.ID{id}}
		m := newModel(w)
		var b store.Batch
		for seq := range chat.Seq(n) {
			b.Events = append(b.Events, message(id, seq+1, uint64(seq+1), user))
		}
		check(t, "Write", s.Write(t.Context(), b))
		m.write(b)
		for _, limit := range []int{1, 50, 200, 600, 0} {
			m.comparePage(t, s, id, store.Range{Limit: limit})
			m.comparePage(t, s, id, store.Range{Limit: limit, Forward: true})
			// Around the powers of two, where partitions may end.
			for _, edge := range []chat.Seq{128, 256, 512, 1024, n} {
				for at := edge - 1; at <= edge+1; at++ {
					m.comparePage(t, s, id, store.Range{Before: at, Limit: limit})
					m.comparePage(t, s, id, store.Range{After: at, Limit: limit})
				}
			}
		}
		m.comparePage(t, s, id, store.Range{After: 250, Before: 520, Limit: 500})
		m.comparePage(t, s, id, store.Range{Before: 300, MaxBytes: 20_000})
		m.comparePage(t, s, id, store.Range{After: 200, MaxBytes: 20_000})
	}},
	{"HolesAreLeftOut", func(t *testing.T, s store.Store) {
		id, user := newChat(), newUser()
		var bodies [][]byte
		for _, seq := range []chat.Seq{2, 3, 900, 5000} {
			e := message(id, seq, uint64(seq), user)
			bodies = append(bodies, e.Body)
			check(t, "Write", s.Write(t.Context(), store.Batch{Events: []store.Entry{e}}))
		}
		wantPage(t, s, id, store.Range{}, bodies...)
		wantPage(t, s, id, store.Range{Limit: 2}, bodies[2:]...)
		wantPage(t, s, id, store.Range{After: 3, Before: 5000}, bodies[2])
		wantPage(t, s, id, store.Range{Before: 900, Limit: 5}, bodies[:2]...)
		wantPage(t, s, id, store.Range{After: 5000})
	}},
}

package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/store"
)

var equateEmpty = cmpopts.EquateEmpty()

type findKey struct {
	chat   chat.ID
	sender chat.UserID
	client chat.ClientID
}

type memberKey struct {
	chat chat.ID
	user chat.UserID
}

// link is the latest thing known of a person in a chat: whether the event at seq made them a member or removed them.
type link struct {
	seq chat.Seq
	in  bool
}

// model is the contract of Sink and History in the fewest words: maps and maxima.
type model struct {
	world   *world
	events  map[chat.ID]map[chat.Seq][]byte
	erasure map[placeKey]chat.Seq // the latest deletion of what is a stub
	marks   map[markKey]store.Mark
	mention map[memberKey]map[chat.Seq]bool
	silent  map[placeKey]bool // messages that mention nobody any more
	found   map[findKey]store.Found
	records map[chat.ID]store.Record
	cursors map[memberKey]store.Cursor
	links   map[memberKey]link
}

func newModel(w *world) *model {
	return &model{w, map[chat.ID]map[chat.Seq][]byte{}, map[placeKey]chat.Seq{}, map[markKey]store.Mark{},
		map[memberKey]map[chat.Seq]bool{}, map[placeKey]bool{}, map[findKey]store.Found{}, map[chat.ID]store.Record{},
		map[memberKey]store.Cursor{}, map[memberKey]link{}}
}

func (m *model) write(b store.Batch) {
	for _, en := range slices.Concat(b.Events, b.Erased) {
		e := en.Event
		if m.events[e.Chat] == nil {
			m.events[e.Chat] = map[chat.Seq][]byte{}
		}
		if r := m.records[e.Chat]; e.Seq > r.Seq || e.Seq == r.Seq && en.Stream > r.Stream {
			r.Seq, r.N, r.At, r.Stream = e.Seq, e.N, e.Time(), en.Stream
			m.records[e.Chat] = r
		}
		m.body(&en)
		switch {
		case e.Type == chat.Message:
			m.found[findKey{e.Chat, e.Sender, e.ClientID}] = store.Found{Seq: e.Seq, SentAt: e.Time()}
			m.cursor(store.Cursor{Chat: e.Chat, User: e.Sender, Seq: e.Seq, N: e.N})
		case e.Type == chat.Edited || e.Type == chat.Reacted:
			m.mark(&e)
		case e.Change == chat.MemberAdded:
			m.move(e.Chat, e.User, link{e.Seq, true})
		case e.Change == chat.MemberRemoved:
			m.move(e.Chat, e.User, link{e.Seq, false})
		}
		for _, member := range e.Members {
			m.move(e.Chat, member.UserID, link{e.Seq, true})
		}
	}
	for _, s := range b.States {
		if r := m.records[s.Chat]; r.State == nil || s.Seq > r.State.Seq {
			r.State = s
			m.records[s.Chat] = r
		}
	}
	for _, c := range b.Cursors {
		m.cursor(c)
	}
}

func (m *model) cursor(c store.Cursor) {
	k := memberKey{c.Chat, c.User}
	now := m.cursors[k]
	now.Chat, now.User = c.Chat, c.User
	if c.Seq > now.Seq {
		now.Seq, now.N = c.Seq, c.N
	}
	now.Delivered = max(now.Delivered, c.Delivered, c.Seq)
	m.cursors[k] = now
}

func (m *model) move(id chat.ID, user chat.UserID, l link) {
	if k := (memberKey{id, user}); l.seq > m.links[k].seq {
		m.links[k] = l
	}
}

func (m *model) link(id chat.ID, seq chat.Seq, users ...chat.UserID) {
	for _, u := range users {
		m.move(id, u, link{seq, true})
	}
}

// page is what Page has to return.
func (m *model) page(id chat.ID, r store.Range) []store.Item {
	var all []store.Item
	for seq, body := range m.events[id] {
		if seq > r.After && (r.Before == 0 || seq < r.Before) {
			all = append(all, store.Item{Seq: seq, Body: body})
		}
	}
	lowest := r.After > 0 || r.Forward
	slices.SortFunc(all, func(a, b store.Item) int {
		if lowest {
			return int(a.Seq) - int(b.Seq)
		}
		return int(b.Seq) - int(a.Seq)
	})
	size := 0
	for i, it := range all {
		if size += len(it.Body); i > 0 && (r.Limit > 0 && i >= r.Limit || r.MaxBytes > 0 && size > r.MaxBytes) {
			all = all[:i]
			break
		}
	}
	if !lowest {
		slices.Reverse(all)
	}
	return all
}

func (m *model) comparePage(t tb, s store.Store, id chat.ID, r store.Range) {
	t.Helper()
	got, err := s.Page(t.Context(), id, r)
	check(t, "Page", err)
	same := func(a, b store.Item) bool { return a.Seq == b.Seq && bytes.Equal(a.Body, b.Body) }
	if want := m.page(id, r); !slices.EqualFunc(got, want, same) {
		t.Fatalf("Page(%+v): got %s; want %s", r, seqs(got), seqs(want))
	}
}

// compare checks everything that the model knows against the store.
func (m *model) compare(t tb, s store.Store) {
	t.Helper()
	for _, id := range m.world.chats {
		m.comparePage(t, s, id, store.Range{})
		m.compareRecord(t, s, id)
		m.compareMarks(t, s, id, 0, math.MaxUint64)
		for _, u := range m.world.users {
			m.compareSent(t, s, id, u)
			m.compareMentions(t, s, id, u)
			m.compareSentSeqs(t, s, id, u)
			got, err := s.Cursor(t.Context(), id, u)
			check(t, "Cursor", err)
			sameCursor(t, "Cursor", got, m.cursors[memberKey{id, u}])
		}
		for _, e := range m.world.logs[id] {
			if e.Event.Type == chat.Message {
				m.compareFind(t, s, findKey{id, e.Event.Sender, e.Event.ClientID})
			}
		}
	}
	for _, u := range m.world.users {
		m.compareChats(t, s, u)
	}
	m.compareListing(t, s, 200)
}

// compareListing walks through the chats of the store between the first and the last of the world, limit at a time: those with a
// record are there, once and in order, and the others of the world are not.
func (m *model) compareListing(t tb, s store.Store, limit int) {
	t.Helper()
	first, last := slices.Min(m.world.chats), slices.Max(m.world.chats)
	got := map[chat.ID]bool{}
	for after := first[:len(first)-1]; after < last; { // which sorts right before first, or close to it
		ids, err := s.Chats(t.Context(), after, limit)
		check(t, "Chats", err)
		if len(ids) > limit {
			t.Fatalf("Chats: got %d; want at most %d", len(ids), limit)
		}
		for _, id := range ids {
			if id <= after {
				t.Fatalf("Chats: got %s behind %s; want them ascending", id, after)
			}
			after, got[id] = id, true
		}
		if len(ids) < limit {
			break
		}
	}
	for _, id := range m.world.chats {
		if _, want := m.records[id]; got[id] != want {
			t.Fatalf("Chats: a chat is listed: %t; want %t", got[id], want)
		}
	}
}

func (m *model) compareFind(t tb, s store.Store, k findKey) {
	t.Helper()
	got, err := s.Find(t.Context(), k.chat, k.sender, k.client)
	want, there := m.found[k]
	switch {
	case there && (err != nil || !cmp.Equal(got, want)):
		t.Fatalf("Find: got %v, error %v; want %v", got, err, want)
	case !there && !errors.Is(err, store.ErrNotFound):
		t.Fatalf("Find what is not there: got %v, error %v; want ErrNotFound", got, err)
	}
}

func (m *model) compareSent(t tb, s store.Store, id chat.ID, u chat.UserID) {
	t.Helper()
	var want []chat.ClientID
	for k := range m.found {
		if k.chat == id && k.sender == u {
			want = append(want, k.client)
		}
	}
	slices.Sort(want)
	got, err := s.Sent(t.Context(), id, u, len(want)+1)
	check(t, "Sent", err)
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Fatalf("Sent: got %v; want %v", got, want)
	}
	if len(want) > 1 {
		got, err := s.Sent(t.Context(), id, u, len(want)-1)
		check(t, "Sent", err)
		if len(got) != len(want)-1 {
			t.Fatalf("Sent: got %d with limit %d", len(got), len(want)-1)
		}
	}
}

func (m *model) compareRecord(t tb, s store.Store, id chat.ID) {
	t.Helper()
	got, err := s.Record(t.Context(), id)
	want, there := m.records[id]
	switch {
	case there && (err != nil || !cmp.Equal(got, want, equateEmpty)):
		t.Fatalf("Record: got error %v; want none; (-want +got):\n%s", err, cmp.Diff(want, got))
	case !there && !errors.Is(err, store.ErrNotFound):
		t.Fatalf("Record of a chat that is not there: got error %v; want ErrNotFound", err)
	}
	if seq, stream, err := s.Head(t.Context(), id); err != nil || seq != want.Seq || stream != want.Stream {
		t.Fatalf("Head: got %d at %d, %v; want %d at %d", seq, stream, err, want.Seq, want.Stream)
	}
}

func (m *model) compareChats(t tb, s store.Store, u chat.UserID) {
	t.Helper()
	got, err := s.ChatsOf(t.Context(), u)
	check(t, "ChatsOf", err)
	index := map[chat.ID]store.Cursor{}
	for _, c := range got {
		index[c.Chat] = c.Cursor
	}
	want := 0
	for k, l := range m.links {
		if k.user != u || !l.in {
			continue
		}
		want++
		cursor, there := index[k.chat]
		if !there {
			t.Fatalf("ChatsOf: a chat is missing; it was linked at %d", l.seq)
		}
		sameCursor(t, "ChatsOf", cursor, m.cursors[k])
	}
	if len(got) != want {
		t.Fatalf("ChatsOf: got %d chats; want %d", len(got), want)
	}
	ever, err := s.EverIn(t.Context(), u)
	check(t, "EverIn", err)
	for k := range m.links {
		if k.user == u && !slices.Contains(ever, k.chat) {
			t.Fatalf("EverIn: a chat is missing that the person is or was in")
		}
	}
}

// sameCursor leaves open who is named in a cursor that says nothing.
func sameCursor(t tb, call string, got, want store.Cursor) {
	t.Helper()
	if got != want && (want.Delivered > 0 || got != store.Cursor{Chat: got.Chat, User: got.User}) {
		t.Fatalf("%s: got cursor %+v; want %+v", call, got, want)
	}
}

// seqs shows a page: seqs and sizes.
func seqs(items []store.Item) string {
	var b strings.Builder
	for _, it := range items {
		fmt.Fprintf(&b, " %d(%d bytes)", it.Seq, len(it.Body))
	}
	return "[" + strings.TrimSpace(b.String()) + "]"
}

package storetest

import (
	"slices"
	"testing"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/store"
)

// listing checks Chats.
var listing = []test{
	{"EveryChatWithARecordIsListedOnceInOrder", func(t *testing.T, s store.Store) {
		w := newWorld(40, 2)
		b, m := w.history(3), newModel(w)
		// Some have events only, some a state only, some nothing that makes a record.
		b.Events = slices.DeleteFunc(b.Events, func(e store.Entry) bool { return slices.Index(w.chats, e.Event.Chat)%3 == 1 })
		b.States = slices.DeleteFunc(b.States, func(st *chat.State) bool { return slices.Index(w.chats, st.Chat)%3 == 0 })
		for range 5 {
			id := newChat()
			w.chats = append(w.chats, id)
			b.Cursors = append(b.Cursors, store.Cursor{Chat: id, User: w.users[0], Seq: 1, N: 1})
			check(t, "Link", s.Link(t.Context(), id, 1, w.users[0]))
		}
		check(t, "Write", s.Write(t.Context(), b))
		m.write(b)
		for _, limit := range []int{1, 7, 40, 1000} {
			m.compareListing(t, s, limit)
		}
	}},
	{"WhatIsAskedForBehindAChatIsBehindItsIDWhateverFollows", func(t *testing.T, s store.Store) {
		id, user := newChat(), newUser()
		w := &world{chats: []chat.ID{id, id + "-", id + "0", id + "00", id + "_", id + "a"}}
		m := newModel(w)
		for _, id := range w.chats {
			b := store.Batch{Events: []store.Entry{message(id, 1, 1, user)}}
			check(t, "Write", s.Write(t.Context(), b))
			m.write(b)
		}
		m.compareListing(t, s, 1)
		m.compareListing(t, s, 3)
	}},
	{"NothingIsBehindTheLastChat", func(t *testing.T, s store.Store) {
		got, err := s.Chats(t.Context(), "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz", 10)
		check(t, "Chats", err)
		if len(got) > 0 {
			t.Errorf("Chats: got %v; want none", got)
		}
	}},
}

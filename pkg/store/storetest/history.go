package storetest

import (
	"errors"
	"testing"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/store"
)

func write(t *testing.T, s store.Store, entries ...store.Entry) {
	t.Helper()
	check(t, "Write", s.Write(t.Context(), store.Batch{Events: entries}))
}

func wantHead(t *testing.T, s store.Store, id chat.ID, seq chat.Seq, n uint64) {
	t.Helper()
	got, err := s.Record(t.Context(), id)
	check(t, "Record", err)
	if got.Seq != seq || got.N != n || got.Stream != streamAt(seq) || !got.At.Equal(timeAt(seq).Time) {
		t.Errorf("Record: got %+v; want seq %d, n %d, stream %d at %v", got, seq, n, streamAt(seq), timeAt(seq))
	}
}

func wantCursor(t *testing.T, s store.Store, want store.Cursor) {
	t.Helper()
	got, err := s.Cursor(t.Context(), want.Chat, want.User)
	check(t, "Cursor", err)
	sameCursor(t, "Cursor", got, want)
}

var history = []test{
	{"WhatWasNeverWrittenIsNotThere", func(t *testing.T, s store.Store) {
		id, user := newChat(), newUser()
		m := newModel(&world{chats: []chat.ID{id}, users: []chat.UserID{user}})
		m.compare(t, s)
		m.comparePage(t, s, id, store.Range{After: 3, Limit: 50})
		m.compareFind(t, s, findKey{id, user, newClient()})
	}},
	{"AMessageIsFoundByChatSenderAndClientID", func(t *testing.T, s store.Store) {
		id, user, other := newChat(), newUser(), newUser()
		a, b := message(id, 1, 1, user), message(id, 2, 2, other)
		b.Event.ClientID = a.Event.ClientID // two devices of two people may choose the same
		write(t, s, a, b)
		for _, e := range []store.Entry{a, b} {
			got, err := s.Find(t.Context(), id, e.Event.Sender, e.Event.ClientID)
			check(t, "Find", err)
			if got.Seq != e.Event.Seq || !got.SentAt.Equal(e.Event.SentAt.Time) {
				t.Errorf("Find: got %v; want seq %d sent at %v", got, e.Event.Seq, e.Event.SentAt)
			}
		}
		for _, k := range []findKey{
			{id, user, newClient()}, {id, newUser(), a.Event.ClientID}, {newChat(), user, a.Event.ClientID},
		} {
			if got, err := s.Find(t.Context(), k.chat, k.sender, k.client); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("Find what was not sent: got %v, error %v; want ErrNotFound", got, err)
			}
		}
	}},
	{"SentReturnsNoMoreThanTheLimit", func(t *testing.T, s store.Store) {
		id, user := newChat(), newUser()
		var entries []store.Entry
		sent := map[chat.ClientID]bool{}
		for seq := range chat.Seq(12) {
			e := message(id, seq+1, uint64(seq+1), user)
			entries, sent[e.Event.ClientID] = append(entries, e), true
		}
		write(t, s, append(entries, message(id, 13, 13, newUser()))...)
		for _, limit := range []int{1, 5, 12, 100} {
			got, err := s.Sent(t.Context(), id, user, limit)
			check(t, "Sent", err)
			different := map[chat.ClientID]bool{}
			for _, c := range got {
				if sent[c] {
					different[c] = true
				}
			}
			if want := min(limit, len(sent)); len(got) != want || len(different) != want {
				t.Errorf("Sent up to %d: got %d client ids, %d of them different and right; want %d",
					limit, len(got), len(different), want)
			}
		}
	}},
	{"TheHeadOnlyMovesForward", func(t *testing.T, s store.Store) {
		id, user := newChat(), newUser()
		write(t, s, message(id, 3, 2, user))
		wantHead(t, s, id, 3, 2)
		write(t, s, message(id, 2, 1, user))
		wantHead(t, s, id, 3, 2)
		write(t, s, message(id, 5, 4, user), message(id, 4, 3, user))
		wantHead(t, s, id, 5, 4)
		write(t, s, removed(id, 6, user)) // N is what the event says, whatever the event is
		wantHead(t, s, id, 6, 0)
	}},
	{"TheStateOnlyMovesForward", func(t *testing.T, s store.Store) {
		w := newWorld(1, 3)
		w.history(40)
		id := w.chats[0]
		states, m := w.states[id], newModel(w)
		last := len(states) - 1
		for _, i := range []int{1, 0, last, 2, last, 0} {
			b := store.Batch{States: states[i : i+1]}
			check(t, "Write", s.Write(t.Context(), b))
			m.write(b)
			m.compareRecord(t, s, id)
		}
		if len(states[last].Left) == 0 || states[last].Title == states[0].Title {
			t.Fatalf("the test is weak: the state has no departures or never changed its title")
		}
	}},
	{"AStateMayComeBeforeTheEventsAndTheEventsBeforeTheState", func(t *testing.T, s store.Store) {
		for _, stateFirst := range []bool{true, false} {
			w := newWorld(1, 2)
			b, m := w.history(3), newModel(w)
			parts := []store.Batch{{States: b.States}, {Events: b.Events}}
			if !stateFirst {
				parts[0], parts[1] = parts[1], parts[0]
			}
			for _, p := range parts {
				check(t, "Write", s.Write(t.Context(), p))
				m.write(p)
				m.compare(t, s)
			}
		}
	}},
	{"ACursorOnlyMovesForward", func(t *testing.T, s store.Store) {
		c := store.Cursor{Chat: newChat(), User: newUser()}
		want := c // what was read was delivered
		for _, seq := range []chat.Seq{4, 3, 0, 7, 4, 5} {
			c.Seq, c.N = seq, uint64(seq)*10
			check(t, "Write", s.Write(t.Context(), store.Batch{Cursors: []store.Cursor{c}}))
			if seq > want.Seq {
				want = c
				want.Delivered = c.Seq
			}
			wantCursor(t, s, want)
		}
		if _, err := s.Record(t.Context(), c.Chat); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("Record of a chat with nothing but a cursor: got error %v; want ErrNotFound", err)
		}
	}},
	{"WhatWasDeliveredMovesForwardApartFromWhatWasReadAndIsNeverBehindIt", func(t *testing.T, s store.Store) {
		id, sender, reader := newChat(), newUser(), newUser()
		write(t, s, created(id, sender, reader), message(id, 2, 1, sender))
		for _, step := range []struct{ read, delivered, wantRead, wantDelivered chat.Seq }{
			{0, 2, 0, 2}, {0, 5, 0, 5}, {0, 4, 0, 5}, {3, 0, 3, 5}, {3, 1, 3, 5}, {7, 0, 7, 7}, {0, 6, 7, 7}, {2, 9, 7, 9}, {8, 10, 8, 10},
			{0, 0, 8, 10},
		} {
			c := store.Cursor{Chat: id, User: reader, Seq: step.read, N: uint64(step.read) * 3, Delivered: step.delivered}
			check(t, "Write", s.Write(t.Context(), store.Batch{Cursors: []store.Cursor{c}}))
			want := store.Cursor{Chat: id, User: reader, Seq: step.wantRead, N: uint64(step.wantRead) * 3, Delivered: step.wantDelivered}
			wantCursor(t, s, want)
			all, err := s.ChatsOf(t.Context(), reader)
			check(t, "ChatsOf", err)
			if len(all) != 1 || all[0].Cursor != want {
				t.Fatalf("ChatsOf: got %+v; want the cursor %+v", all, want)
			}
		}
		write(t, s, message(id, 12, 11, reader)) // to have sent it is to have it
		wantCursor(t, s, store.Cursor{Chat: id, User: reader, Seq: 12, N: 11, Delivered: 12})
		wantCursor(t, s, store.Cursor{Chat: id, User: sender, Seq: 2, N: 1, Delivered: 2})
	}},
	{"AMessageMovesTheCursorOfItsSenderOnly", func(t *testing.T, s store.Store) {
		id, sender, reader := newChat(), newUser(), newUser()
		write(t, s, created(id, sender, reader), message(id, 2, 1, sender), message(id, 3, 2, sender))
		wantCursor(t, s, store.Cursor{Chat: id, User: sender, Seq: 3, N: 2, Delivered: 3})
		wantCursor(t, s, store.Cursor{Chat: id, User: reader})
		read := store.Cursor{Chat: id, User: sender, Seq: 9, N: 8, Delivered: 9}
		check(t, "Write", s.Write(t.Context(), store.Batch{Cursors: []store.Cursor{read}}))
		write(t, s, message(id, 8, 7, sender))
		wantCursor(t, s, read)
	}},
}

// wantChats compares the index of a person's chats.
func wantChats(t *testing.T, s store.Store, user chat.UserID, want ...chat.ID) {
	t.Helper()
	m := newModel(&world{})
	for _, id := range want {
		m.link(id, 1, user)
		c, err := s.Cursor(t.Context(), id, user)
		check(t, "Cursor", err)
		m.cursors[memberKey{id, user}] = c
	}
	m.compareChats(t, s, user)
}

var index = []test{
	{"ACreatedChatIsInTheIndexOfAllItsMembers", func(t *testing.T, s store.Store) {
		id, a, b := newChat(), newUser(), newUser()
		write(t, s, created(id, a, b))
		wantChats(t, s, a, id)
		wantChats(t, s, b, id)
		wantChats(t, s, newUser())
	}},
	{"AMemberWhoComesAndGoesComesAndGoesInTheIndex", func(t *testing.T, s store.Store) {
		id, u := newChat(), newUser()
		write(t, s, added(id, 2, u))
		wantChats(t, s, u, id)
		write(t, s, removed(id, 5, u))
		wantChats(t, s, u)
		write(t, s, added(id, 9, u))
		wantChats(t, s, u, id)
	}},
	{"ARemovalBeatsAnEarlierAdditionThatComesLater", func(t *testing.T, s store.Store) {
		id, u := newChat(), newUser()
		write(t, s, removed(id, 5, u))
		write(t, s, created(id, u), added(id, 3, u))
		check(t, "Link", s.Link(t.Context(), id, 4, u))
		wantChats(t, s, u)
	}},
	{"AnEarlierRemovalThatComesLaterDoesNotUnlink", func(t *testing.T, s store.Store) {
		id, u := newChat(), newUser()
		check(t, "Link", s.Link(t.Context(), id, 9, u))
		write(t, s, removed(id, 5, u))
		wantChats(t, s, u, id)
		write(t, s, added(id, 9, u))
		wantChats(t, s, u, id)
		write(t, s, removed(id, 10, u))
		wantChats(t, s, u)
	}},
	{"ALinkComesAheadOfTheEvent", func(t *testing.T, s store.Store) {
		id, a, b := newChat(), newUser(), newUser()
		for range 2 {
			check(t, "Link", s.Link(t.Context(), id, 1, a, b))
		}
		wantChats(t, s, a, id)
		wantChats(t, s, b, id)
		if _, err := s.Record(t.Context(), id); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("Record of a chat that is only linked: got error %v; want ErrNotFound", err)
		}
	}},
	{"OtherEventsAndCursorsDoNotTouchTheIndex", func(t *testing.T, s store.Store) {
		id, in, out := newChat(), newUser(), newUser()
		write(t, s, added(id, 2, in), removed(id, 3, out))
		for _, u := range []chat.UserID{in, out} {
			write(t, s, message(id, 4, 1, u),
				change(id, 5, 1, func(e *chat.Event) { e.Change, e.User, e.By, e.Role = chat.RoleChanged, u, u, chat.Admin }))
			c := store.Cursor{Chat: id, User: u, Seq: 6, N: 1}
			check(t, "Write", s.Write(t.Context(), store.Batch{Cursors: []store.Cursor{c}}))
		}
		wantChats(t, s, in, id)
		wantChats(t, s, out)
		wantChats(t, s, newUser())
	}},
	{"TheIndexCarriesTheCursors", func(t *testing.T, s store.Store) {
		w := newWorld(30, 2)
		b, m := w.history(5), newModel(w)
		check(t, "Write", s.Write(t.Context(), b))
		m.write(b)
		m.compareChats(t, s, w.users[0])
		m.compareChats(t, s, w.users[1])
	}},
}

// Package storetest owns the conformance suite of package store: whatever passes it can stand behind the services. It
// promises to ask only for what the interface promises, and to leave alone whatever else is in the store: every id that
// it uses is new, so an implementation may be tested on a database that others use.
package storetest

import (
	"context"
	"crypto/rand"
	"sync"
	"testing"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/store"
)

// Run checks an implementation. open returns a store that is ready; it is called a few times, and each store is closed by
// the suite, some more than once.
func Run(t *testing.T, open func(t *testing.T) store.Store) {
	s := open(t)
	t.Cleanup(func() { check(t, "close", s.Close()) })
	for _, suite := range [][]test{accounts, people, sessions, personal, history, marks, erasures, pages, sink, index, listing, races, models} {
		for _, c := range suite {
			t.Run(c.name, func(t *testing.T) { c.run(t, s) })
		}
	}
	t.Run("ACancelledContextStopsEveryCall", func(t *testing.T) { testCancelled(t, s) })
	t.Run("AfterCloseEveryCallFails", func(t *testing.T) { testClosed(t, open(t)) })
	t.Run("CloseMayHappenDuringCalls", func(t *testing.T) { testCloseDuringCalls(t, open(t)) })
}

// RunDurable checks that what was written is there when the store is closed and opened again. open returns a store that
// keeps its data in dir, or elsewhere under that name.
func RunDurable(t *testing.T, open func(t *testing.T, dir string) store.Store) {
	t.Run("EverythingSurvivesAReopen", func(t *testing.T) { testReopen(t, open) })
}

// test is one sentence of the contract.
type test struct {
	name string
	run  func(*testing.T, store.Store)
}

// tb is what a check needs of *testing.T and *rapid.T.
type tb interface {
	Helper()
	Context() context.Context
	Fatalf(format string, args ...any)
}

// check stops the test when a call failed.
func check(t tb, call string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: got error %v; want none", call, err)
	}
}

// atOnce runs n calls of do that begin together, and waits for them.
func atOnce(n int, do func(i int)) {
	var wg sync.WaitGroup
	begin := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-begin
			do(i)
		})
	}
	close(begin)
	wg.Wait()
}

// newID returns an id that was never used before.
func newID(kind string) string { return kind + "-" + rand.Text() }

func newChat() chat.ID         { return chat.ID(newID("chat")) }
func newUser() chat.UserID     { return chat.UserID(newID("user")) }
func newClient() chat.ClientID { return chat.ClientID(newID("client")) }

// everyCall makes every call of the interface once, with ids of its own, and hands each error to got.
func everyCall(ctx context.Context, s store.Store, got func(call string, err error)) {
	id, user := newChat(), newUser()
	n := session(user)
	do := func(call string, err error) { got(call, err) }
	do("CreateUser", s.CreateUser(ctx, account(user)))
	_, err := s.UserByName(ctx, account(user).Name)
	do("UserByName", err)
	_, err = s.Users(ctx, user)
	do("Users", err)
	do("CreateSession", s.CreateSession(ctx, n))
	_, err = s.Session(ctx, user, n.ID)
	do("Session", err)
	do("RotateSession", s.RotateSession(ctx, user, n.ID, n.Refresh, digest(), n.ExpiresAt.Time))
	_, err = s.Sessions(ctx, user)
	do("Sessions", err)
	do("DeleteSession", s.DeleteSession(ctx, user, n.ID))
	_, err = s.DeleteSessions(ctx, user, "")
	do("DeleteSessions", err)
	_, err = s.SetProfile(ctx, user, store.Profile{})
	do("SetProfile", err)
	do("SetPassword", s.SetPassword(ctx, user, account(user).PasswordHash, "next"))
	everyPersonalCall(ctx, s, do)
	e := message(id, 1, 1, user)
	do("Write", s.Write(ctx, store.Batch{Events: []store.Entry{e}}))
	do("Link", s.Link(ctx, id, 1, user))
	_, err = s.Page(ctx, id, store.Range{Limit: 10})
	do("Page", err)
	_, err = s.Find(ctx, id, user, e.Event.ClientID)
	do("Find", err)
	_, err = s.Sent(ctx, id, user, 1)
	do("Sent", err)
	_, err = s.Record(ctx, id)
	do("Record", err)
	_, err = s.Cursor(ctx, id, user)
	do("Cursor", err)
	_, err = s.Chats(ctx, "", 1)
	do("Chats", err)
	_, err = s.ChatsOf(ctx, user)
	do("ChatsOf", err)
	_, err = s.Marks(ctx, id, 1, 9)
	do("Marks", err)
	_, err = s.Mentions(ctx, user, id, 0, 1)
	do("Mentions", err)
	_, err = s.SentSeqs(ctx, id, user, 0, 1)
	do("SentSeqs", err)
	do("BeginDeletion", s.BeginDeletion(ctx, user))
	_, err = s.Deleting(ctx, "", 1)
	do("Deleting", err)
	do("EndDeletion", s.EndDeletion(ctx, user))
	do("Ping", s.Ping(ctx))
}

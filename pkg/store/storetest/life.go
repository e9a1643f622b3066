package storetest

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/store"
)

func testCancelled(t *testing.T, s store.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	everyCall(ctx, s, func(call string, err error) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: got error %v; want context.Canceled", call, err)
		}
	})
	id, user := newChat(), newUser()
	e := message(id, 1, 1, user)
	_ = s.Write(ctx, store.Batch{Events: []store.Entry{e}})
	if _, err := s.Record(t.Context(), id); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Record after a cancelled Write: got error %v; want ErrNotFound", err)
	}
}

func testClosed(t *testing.T, s store.Store) {
	check(t, "Close", s.Close())
	everyCall(t.Context(), s, func(call string, err error) {
		if err == nil {
			t.Errorf("%s after Close: got no error; want one", call)
		}
		for _, e := range []error{store.ErrNotFound, store.ErrTaken, store.ErrConflict} {
			if errors.Is(err, e) {
				t.Errorf("%s after Close: got %v, which is an answer; want a failure", call, err)
			}
		}
	})
	check(t, "second Close", s.Close())
}

func testCloseDuringCalls(t *testing.T, s store.Store) {
	var wg sync.WaitGroup
	started := make(chan struct{}, 8)
	for range cap(started) {
		wg.Go(func() {
			for i := 0; ; i++ {
				failed := false
				everyCall(t.Context(), s, func(_ string, err error) {
					failed = failed || err != nil && !errors.Is(err, store.ErrNotFound)
				})
				if i == 0 {
					started <- struct{}{}
				}
				if failed {
					return
				}
			}
		})
	}
	for range cap(started) {
		<-started
	}
	for range 2 {
		wg.Go(func() {
			if err := s.Close(); err != nil {
				t.Errorf("Close: got error %v; want none", err)
			}
		})
	}
	wg.Wait()
}

// noSecrets fails where an error shows what must not be in a log.
func noSecrets(t *testing.T, err error, secrets ...string) {
	t.Helper()
	for _, secret := range secrets {
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("the error %q shows %q", err, secret)
		}
	}
}

func testReopen(t *testing.T, open func(t *testing.T, dir string) store.Store) {
	dir := t.TempDir()
	s := open(t, dir)
	w := newWorld(2, 3)
	b, m := w.history(40), newModel(w)
	check(t, "Write", s.Write(t.Context(), b))
	m.write(b)
	linked := w.users[0]
	extra := newChat()
	w.chats = append(w.chats, extra)
	check(t, "Link", s.Link(t.Context(), extra, 1, linked))
	m.link(extra, 1, linked)
	u := account(newUser())
	check(t, "CreateUser", s.CreateUser(t.Context(), u))
	n := session(u.ID)
	check(t, "CreateSession", s.CreateSession(t.Context(), n))
	next := digest()
	check(t, "RotateSession", s.RotateSession(t.Context(), u.ID, n.ID, n.Refresh, next, n.ExpiresAt.Time))
	n.Refresh, n.LastSeen = next, n.CreatedAt
	gone := session(u.ID)
	check(t, "CreateSession", s.CreateSession(t.Context(), gone))
	check(t, "DeleteSession", s.DeleteSession(t.Context(), u.ID, gone.ID))
	check(t, "Close", s.Close())

	s = open(t, dir)
	defer func() { check(t, "Close", s.Close()) }()
	m.compare(t, s)
	wantUsers(t, s, []chat.UserID{u.ID}, u)
	wantSession(t, s, n)
	if _, err := s.Session(t.Context(), u.ID, gone.ID); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Session that was deleted: got error %v; want ErrNotFound", err)
	}
	other := account(newUser())
	other.Name = u.Name
	if err := s.CreateUser(t.Context(), other); !errors.Is(err, store.ErrTaken) {
		t.Errorf("CreateUser with a name of before: got error %v; want ErrTaken", err)
	}
	check(t, "replay", s.Write(t.Context(), b))
	m.compare(t, s)
}

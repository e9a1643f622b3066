package storetest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/store"
)

// createUser makes a person.
func createUser(t *testing.T, s store.Store) store.User {
	t.Helper()
	u := account(newUser())
	check(t, "CreateUser", s.CreateUser(t.Context(), u))
	return u
}

// wantUser checks that a person is found as such by name and by id.
func wantUser(t *testing.T, s store.Store, want store.User) {
	t.Helper()
	wantUsers(t, s, []chat.UserID{want.ID}, want)
	got, err := s.UserByName(t.Context(), want.Name)
	check(t, "UserByName", err)
	if !cmp.Equal(got, want) {
		t.Errorf("UserByName (-want +got):\n%s", cmp.Diff(want, got))
	}
}

func wantError(t *testing.T, call string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: got error %v; want %v", call, err, want)
	}
}

// wantSessions checks the list of a person's sessions.
func wantSessions(t *testing.T, s store.Store, user chat.UserID, want ...store.Session) {
	t.Helper()
	got, err := s.Sessions(t.Context(), user)
	check(t, "Sessions", err)
	byID := func(n store.Session) func(store.Session) bool {
		return func(o store.Session) bool { return o.ID == n.ID }
	}
	if len(got) != len(want) {
		t.Errorf("Sessions: got %d; want %d", len(got), len(want))
	}
	for _, w := range want {
		i := slices.IndexFunc(got, byID(w))
		if i < 0 {
			t.Errorf("Sessions: one is missing")
			continue
		}
		sameSession(t, "Sessions", got[i], w)
	}
}

func ptr(s string) *string { return &s }

// isDeleting walks through all deletions that are under way, a few at a time.
func isDeleting(t *testing.T, s store.Store, user chat.UserID) bool {
	t.Helper()
	found := false
	for after, more := chat.UserID(""), true; more; {
		ids, err := s.Deleting(t.Context(), after, 3)
		check(t, "Deleting", err)
		if len(ids) > 3 {
			t.Fatalf("Deleting: got %d; want at most 3", len(ids))
		}
		for _, id := range ids {
			if id <= after {
				t.Fatalf("Deleting: got %s behind %s; want them ascending", id, after)
			}
			after, found = id, found || id == user
		}
		more = len(ids) == 3
	}
	return found
}

var people = []test{
	{"WhatAPersonShowsIsChangedAndTheRestStays", func(t *testing.T, s store.Store) {
		u := createUser(t, s)
		for _, p := range []store.Profile{
			{}, {Status: ptr("Ünï <b>")}, {DisplayName: ptr("other"), Picture: ptr("https://example.org/?a&b")}, {Status: ptr("")},
			{DisplayName: ptr("a"), Status: ptr("b"), Picture: ptr("")},
		} {
			p.Apply(&u)
			got, err := s.SetProfile(t.Context(), u.ID, p)
			check(t, "SetProfile", err)
			if !cmp.Equal(got, u) {
				t.Errorf("SetProfile (-want +got):\n%s", cmp.Diff(u, got))
			}
			wantUser(t, s, u)
		}
		_, err := s.SetProfile(t.Context(), newUser(), store.Profile{Status: ptr("x")})
		wantError(t, "SetProfile of nobody", err, store.ErrNotFound)
		check(t, "CreateUser again", s.CreateUser(t.Context(), u0(u)))
		wantUser(t, s, u)
	}},
	{"ANewPersonHasWhatTheyRegisteredWithOnly", func(t *testing.T, s store.Store) {
		for _, change := range []func(*store.User){
			func(u *store.User) { u.Status = "x" }, func(u *store.User) { u.Picture = "x" }, func(u *store.User) { u.Deleted = chat.Now() },
		} {
			u := account(newUser())
			change(&u)
			if err := s.CreateUser(t.Context(), u); !chat.Is(err, chat.BadRequest) {
				t.Errorf("CreateUser: got error %v; want BadRequest", err)
			}
			wantUsers(t, s, []chat.UserID{u.ID})
		}
	}},
	{"APasswordIsReplacedOnlyByWhoKnowsTheOldOne", func(t *testing.T, s store.Store) {
		u := createUser(t, s)
		old := u.PasswordHash
		u.PasswordHash = "second"
		for range 2 { // who does not know how the first try ended tries again
			check(t, "SetPassword", s.SetPassword(t.Context(), u.ID, old, "second"))
			wantUser(t, s, u)
		}
		err := s.SetPassword(t.Context(), u.ID, old, "third")
		wantError(t, "SetPassword with the hash of before", err, store.ErrConflict)
		noSecrets(t, err, old, "second", "third")
		wantUser(t, s, u)
		u.PasswordHash = old
		check(t, "SetPassword", s.SetPassword(t.Context(), u.ID, "second", old))
		wantUser(t, s, u)
		wantError(t, "SetPassword of nobody", s.SetPassword(t.Context(), newUser(), "a", "b"), store.ErrNotFound)
	}},
	{"OfPasswordsThatAreSetAtOnceOneWinsAndWhatElseIsChangedStays", func(t *testing.T, s store.Store) {
		u := createUser(t, s)
		var mu sync.Mutex
		var winners []string
		atOnce(10, func(i int) {
			if i%2 == 1 {
				p := []store.Profile{{Status: ptr("here")}, {Picture: ptr("p")}, {DisplayName: ptr("d")}}[i/2%3]
				if _, err := s.SetProfile(t.Context(), u.ID, p); err != nil {
					t.Errorf("SetProfile: got error %v; want none", err)
				}
				return
			}
			next := newID("hash")
			switch err := s.SetPassword(t.Context(), u.ID, u.PasswordHash, next); {
			case err == nil:
				mu.Lock()
				winners = append(winners, next)
				mu.Unlock()
			case !errors.Is(err, store.ErrConflict):
				t.Errorf("SetPassword: got error %v; want none or ErrConflict", err)
			}
		})
		if len(winners) != 1 {
			t.Fatalf("got %d passwords that were set; want 1", len(winners))
		}
		u.PasswordHash, u.Status, u.Picture, u.DisplayName = winners[0], "here", "p", "d"
		wantUser(t, s, u)
	}},
	{"ADeletedPersonKeepsOnlyTheName", func(t *testing.T, s store.Store) {
		u, stays := createUser(t, s), createUser(t, s)
		_, err := s.SetProfile(t.Context(), u.ID, store.Profile{Status: ptr("s"), Picture: ptr("p")})
		check(t, "SetProfile", err)
		n, id := session(u.ID), newChat()
		check(t, "CreateSession", s.CreateSession(t.Context(), n))
		check(t, "SetChatSettings", s.SetChatSettings(t.Context(), u.ID, id, store.ChatSettings{Archived: true}))
		check(t, "Hide", s.Hide(t.Context(), u.ID, id, 4))
		check(t, "Block", s.Block(t.Context(), u.ID, stays.ID))
		check(t, "Block", s.Block(t.Context(), stays.ID, u.ID))
		wantError(t, "EndDeletion of who lives", s.EndDeletion(t.Context(), u.ID), store.ErrConflict)
		wantError(t, "EndDeletion of nobody", s.EndDeletion(t.Context(), newUser()), store.ErrNotFound)
		wantError(t, "BeginDeletion of nobody", s.BeginDeletion(t.Context(), newUser()), store.ErrNotFound)
		began := chat.Now()
		var deleted chat.Time
		for range 2 {
			check(t, "BeginDeletion", s.BeginDeletion(t.Context(), u.ID))
			got, err := s.UserByName(t.Context(), u.Name)
			check(t, "UserByName", err)
			if got.Deleted.Before(began.Time) || !deleted.IsZero() && !deleted.Equal(got.Deleted.Time) || got.PasswordHash != u.PasswordHash {
				t.Fatalf("UserByName: got deleted at %v; want a time from %v on, always the same, and the password", got.Deleted, began)
			}
			deleted = got.Deleted
		}
		if !isDeleting(t, s, u.ID) || isDeleting(t, s, stays.ID) {
			t.Errorf("Deleting: want the one who is deleted and not the other")
		}
		_, err = s.SetProfile(t.Context(), u.ID, store.Profile{Status: ptr("back")})
		wantError(t, "SetProfile of who is deleted", err, store.ErrNotFound)
		wantError(t, "SetPassword of who is deleted", s.SetPassword(t.Context(), u.ID, u.PasswordHash, "x"), store.ErrNotFound)
		for range 2 {
			check(t, "EndDeletion", s.EndDeletion(t.Context(), u.ID))
			wantUser(t, s, store.User{ID: u.ID, Name: u.Name, CreatedAt: u.CreatedAt, Deleted: deleted})
			check(t, "BeginDeletion", s.BeginDeletion(t.Context(), u.ID))
			if isDeleting(t, s, u.ID) {
				t.Errorf("Deleting: got one whose deletion has ended")
			}
		}
		wantUser(t, s, stays)
		wantSessions(t, s, u.ID)
		_, err = s.Session(t.Context(), u.ID, n.ID)
		wantError(t, "Session of who is deleted", err, store.ErrNotFound)
		wantSettings(t, s, u.ID, id, store.ChatSettings{})
		wantHidden(t, s, u.ID, id, 0, 100)
		wantBlocks(t, s, u.ID)
		wantBlocks(t, s, stays.ID, u.ID)
		thief := account(newUser())
		thief.Name = u.Name
		wantError(t, "CreateUser with the name", s.CreateUser(t.Context(), thief), store.ErrTaken)
	}},
	{"WhatIsChangedDuringADeletionIsGoneWhenItHasEnded", func(t *testing.T, s store.Store) {
		for range 3 {
			u := createUser(t, s)
			atOnce(4, func(i int) {
				if i == 0 {
					for _, f := range []func(context.Context, chat.UserID) error{s.BeginDeletion, s.EndDeletion} {
						if err := f(t.Context(), u.ID); err != nil {
							t.Errorf("deletion: got error %v; want none", err)
						}
					}
					return
				}
				_, err := s.SetProfile(t.Context(), u.ID, store.Profile{Status: ptr(newID("status"))})
				if err == nil {
					err = s.SetPassword(t.Context(), u.ID, u.PasswordHash, newID("hash"))
				}
				if err != nil && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrConflict) {
					t.Errorf("change: got error %v; want none, ErrNotFound or ErrConflict", err)
				}
			})
			got, err := s.UserByName(t.Context(), u.Name)
			check(t, "UserByName", err)
			if got.Status+got.PasswordHash+got.DisplayName+got.Email != "" || got.Deleted.IsZero() {
				t.Errorf("UserByName: got %+v; want nothing but the name", got)
			}
		}
	}},
	{"TheSessionsOfAPersonAreListed", func(t *testing.T, s store.Store) {
		user := newUser()
		wantSessions(t, s, user)
		a, b, c, other := session(user), session(user), session(user), session(newUser())
		b.Device = ""
		old := session(user)
		old.ExpiresAt = chat.TimeOf(time.Now().Add(-time.Second))
		for _, n := range []store.Session{a, b, c, other, old} {
			check(t, "CreateSession", s.CreateSession(t.Context(), n))
		}
		wantSessions(t, s, user, a, b, c)
		next := digest()
		before := chat.Now()
		check(t, "RotateSession", s.RotateSession(t.Context(), user, a.ID, a.Refresh, next, a.ExpiresAt.Time))
		a.Refresh, a.LastSeen = next, before
		check(t, "DeleteSession", s.DeleteSession(t.Context(), user, c.ID))
		wantSessions(t, s, user, a, b)
		wantSession(t, s, a)
		wantSessions(t, s, other.User, other)
	}},
	{"AllSessionsButOneAreForgottenAtOnce", func(t *testing.T, s store.Store) {
		user := newUser()
		stays, other := session(user), session(newUser())
		var gone []string
		for range 5 {
			n := session(user)
			check(t, "CreateSession", s.CreateSession(t.Context(), n))
			gone = append(gone, n.ID)
		}
		check(t, "CreateSession", s.CreateSession(t.Context(), stays))
		check(t, "CreateSession", s.CreateSession(t.Context(), other))
		slices.Sort(gone)
		for _, want := range [][]string{gone, nil} {
			got, err := s.DeleteSessions(t.Context(), user, stays.ID)
			check(t, "DeleteSessions", err)
			if slices.Sort(got); !slices.Equal(got, want) {
				t.Errorf("DeleteSessions: got %d ids; want those of %d sessions", len(got), len(want))
			}
			wantSessions(t, s, user, stays)
			for _, id := range gone {
				_, err := s.Session(t.Context(), user, id)
				wantError(t, "Session", err, store.ErrNotFound)
			}
		}
		got, err := s.DeleteSessions(t.Context(), user, "")
		check(t, "DeleteSessions", err)
		if !slices.Equal(got, []string{stays.ID}) {
			t.Errorf("DeleteSessions of all: got %v; want the last one", got)
		}
		wantSessions(t, s, user)
		wantSession(t, s, other)
	}},
	{"ASessionThatWasConfirmedBeforeAllAreForgottenIsForgotten", func(t *testing.T, s store.Store) {
		user := newUser()
		var confirmed sync.Map
		var done atomic.Bool
		atOnce(3, func(i int) {
			if i > 0 {
				for n := 0; n < 60 && !done.Load(); n++ {
					n := session(user)
					if err := s.CreateSession(t.Context(), n); err != nil {
						t.Errorf("CreateSession: got error %v; want none", err)
					}
					confirmed.Store(n.ID, true)
				}
				return
			}
			defer done.Store(true)
			for range 5 {
				var before []string
				confirmed.Range(func(id, _ any) bool { before = append(before, id.(string)); return true })
				if _, err := s.DeleteSessions(t.Context(), user, ""); err != nil {
					t.Errorf("DeleteSessions: got error %v; want none", err)
				}
				for _, id := range before {
					if _, err := s.Session(t.Context(), user, id); !errors.Is(err, store.ErrNotFound) {
						t.Errorf("Session: got error %v; want ErrNotFound", err)
					}
					confirmed.Delete(id)
				}
			}
		})
	}},
}

// u0 is a person as they registered.
func u0(u store.User) store.User {
	return store.User{ID: u.ID, Name: u.Name, DisplayName: u.DisplayName, PasswordHash: u.PasswordHash, CreatedAt: u.CreatedAt}
}

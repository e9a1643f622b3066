package storetest

import (
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/store"
)

// account is a person who fills every field.
func account(id chat.UserID) store.User {
	return store.User{
		ID: id, Name: "name of " + string(id), DisplayName: "Ünï <b>", Email: string(id) + "@example.org",
		PasswordHash: "$argon2id$" + string(id), CreatedAt: chat.Now(),
	}
}

// session is a new session that lasts for an hour.
func session(user chat.UserID) store.Session {
	return store.Session{
		User: user, ID: newID("session"), Refresh: digest(),
		CreatedAt: chat.Now(), ExpiresAt: chat.TimeOf(time.Now().Add(time.Hour)), Device: "Ünï's phone",
	}
}

func digest() (d [32]byte) {
	_, _ = rand.Read(d[:])
	return d
}

func wantUsers(t *testing.T, s store.Store, ids []chat.UserID, want ...store.User) {
	t.Helper()
	got, err := s.Users(t.Context(), ids...)
	check(t, "Users", err)
	byID := func(a, b store.User) int { return strings.Compare(string(a.ID), string(b.ID)) }
	slices.SortFunc(got, byID)
	slices.SortFunc(want, byID)
	if !cmp.Equal(got, want, equateEmpty) {
		t.Errorf("Users (-want +got):\n%s", cmp.Diff(want, got))
	}
}

func wantSession(t *testing.T, s store.Store, want store.Session) {
	t.Helper()
	got, err := s.Session(t.Context(), want.User, want.ID)
	check(t, "Session", err)
	sameSession(t, "Session", got, want)
}

// sameSession compares sessions. Of one that was rotated, want has a LastSeen that is not above that of the rotation.
func sameSession(t *testing.T, call string, got, want store.Session) {
	t.Helper()
	if !want.LastSeen.IsZero() && !got.LastSeen.Before(want.LastSeen.Time) && time.Since(got.LastSeen.Time) > -time.Minute {
		got.LastSeen = want.LastSeen
	}
	if !cmp.Equal(got, want) {
		t.Errorf("%s (-want +got):\n%s", call, cmp.Diff(want, got))
	}
}

var accounts = []test{
	{"ACreatedPersonIsFoundByNameAndByID", func(t *testing.T, s store.Store) {
		u, v := account(newUser()), account(newUser())
		u.Email = ""
		check(t, "CreateUser", s.CreateUser(t.Context(), u))
		check(t, "CreateUser", s.CreateUser(t.Context(), v))
		for _, want := range []store.User{u, v} {
			got, err := s.UserByName(t.Context(), want.Name)
			check(t, "UserByName", err)
			if !cmp.Equal(got, want) {
				t.Errorf("UserByName (-want +got):\n%s", cmp.Diff(want, got))
			}
		}
		wantUsers(t, s, []chat.UserID{u.ID}, u)
		wantUsers(t, s, []chat.UserID{v.ID, newUser(), u.ID}, u, v)
		wantUsers(t, s, []chat.UserID{newUser()})
		wantUsers(t, s, nil)
	}},
	{"ANameIsFoundOnlyExactly", func(t *testing.T, s store.Store) {
		u := account(newUser())
		check(t, "CreateUser", s.CreateUser(t.Context(), u))
		for _, name := range []string{u.Name + " ", u.Name[:len(u.Name)-1], strings.ToUpper(u.Name), newID("nobody")} {
			_, err := s.UserByName(t.Context(), name)
			if !errors.Is(err, store.ErrNotFound) {
				t.Errorf("UserByName of another name: got error %v; want ErrNotFound", err)
			}
			noSecrets(t, err, name)
		}
	}},
	{"ATakenNameIsRefusedAndChangesNothing", func(t *testing.T, s store.Store) {
		u, thief := account(newUser()), account(newUser())
		thief.Name = u.Name
		check(t, "CreateUser", s.CreateUser(t.Context(), u))
		err := s.CreateUser(t.Context(), thief)
		if !errors.Is(err, store.ErrTaken) {
			t.Errorf("CreateUser with a taken name: got error %v; want ErrTaken", err)
		}
		noSecrets(t, err, u.Name, thief.Email, thief.PasswordHash)
		wantUsers(t, s, []chat.UserID{u.ID, thief.ID}, u)
	}},
	{"APersonWhoIsThereMayBeCreatedAgain", func(t *testing.T, s store.Store) {
		// The name belongs to nobody else: so a caller who does not know how the first call ended may repeat it.
		u := account(newUser())
		for range 3 {
			check(t, "CreateUser", s.CreateUser(t.Context(), u))
		}
		wantUsers(t, s, []chat.UserID{u.ID}, u)
	}},
	{"OfManyWhoWantANameExactlyOneGetsIt", func(t *testing.T, s store.Store) {
		const n = 100
		name := newID("name")
		var wins atomic.Int32
		ids := make([]chat.UserID, n)
		for i := range ids {
			ids[i] = newUser()
		}
		atOnce(n, func(i int) {
			u := account(ids[i])
			u.Name = name
			switch err := s.CreateUser(t.Context(), u); {
			case err == nil:
				wins.Add(1)
			case !errors.Is(err, store.ErrTaken):
				t.Errorf("CreateUser: got error %v; want none or ErrTaken", err)
			}
		})
		if wins.Load() != 1 {
			t.Errorf("got %d people with one name; want 1", wins.Load())
		}
		winner, err := s.UserByName(t.Context(), name)
		check(t, "UserByName", err)
		wantUsers(t, s, ids, winner)
	}},
}

var sessions = []test{
	{"ASessionComesBackAsItWasCreated", func(t *testing.T, s store.Store) {
		user := newUser()
		a, b := session(user), session(user)
		check(t, "CreateSession", s.CreateSession(t.Context(), a))
		check(t, "CreateSession", s.CreateSession(t.Context(), b))
		wantSession(t, s, a)
		wantSession(t, s, b)
		if _, err := s.Session(t.Context(), newUser(), a.ID); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("Session of somebody else: got error %v; want ErrNotFound", err)
		}
		_, err := s.Session(t.Context(), user, newID("session"))
		if !errors.Is(err, store.ErrNotFound) {
			t.Errorf("Session that never was: got error %v; want ErrNotFound", err)
		}
	}},
	{"AnExpiredSessionIsNotFound", func(t *testing.T, s store.Store) {
		n := session(newUser())
		n.ExpiresAt = chat.TimeOf(time.Now().Add(-time.Second))
		check(t, "CreateSession", s.CreateSession(t.Context(), n))
		if _, err := s.Session(t.Context(), n.User, n.ID); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("Session: got error %v; want ErrNotFound", err)
		}
		err := s.RotateSession(t.Context(), n.User, n.ID, n.Refresh, digest(), time.Now().Add(time.Hour))
		if !errors.Is(err, store.ErrNotFound) {
			t.Errorf("RotateSession: got error %v; want ErrNotFound", err)
		}
		check(t, "DeleteSession", s.DeleteSession(t.Context(), n.User, n.ID))
	}},
	{"ASessionExpiresByItself", func(t *testing.T, s store.Store) {
		n := session(newUser())
		n.ExpiresAt = chat.TimeOf(time.Now().Add(300 * time.Millisecond))
		check(t, "CreateSession", s.CreateSession(t.Context(), n))
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
			_, err := s.Session(t.Context(), n.User, n.ID)
			if errors.Is(err, store.ErrNotFound) {
				break
			}
			check(t, "Session", err)
			if time.Now().After(deadline) {
				t.Fatalf("the session is there 10 s after it expired")
			}
		}
	}},
	{"ARotationReplacesDigestAndExpiry", func(t *testing.T, s store.Store) {
		n := session(newUser())
		n.ExpiresAt = chat.TimeOf(time.Now().Add(time.Minute))
		check(t, "CreateSession", s.CreateSession(t.Context(), n))
		old := n.Refresh
		n.Refresh, n.ExpiresAt, n.LastSeen = digest(), chat.TimeOf(time.Now().Add(48*time.Hour)), chat.Now()
		check(t, "RotateSession", s.RotateSession(t.Context(), n.User, n.ID, old, n.Refresh, n.ExpiresAt.Time))
		wantSession(t, s, n)
		err := s.RotateSession(t.Context(), n.User, n.ID, old, digest(), time.Now().Add(time.Hour))
		if !errors.Is(err, store.ErrConflict) {
			t.Errorf("RotateSession with the digest of before: got error %v; want ErrConflict", err)
		}
		wantSession(t, s, n)
	}},
	{"OfConcurrentRotationsExactlyOneWins", func(t *testing.T, s store.Store) {
		n := session(newUser())
		check(t, "CreateSession", s.CreateSession(t.Context(), n))
		var mu sync.Mutex
		var winners [][32]byte
		began := chat.Now()
		atOnce(20, func(int) {
			next := digest()
			switch err := s.RotateSession(t.Context(), n.User, n.ID, n.Refresh, next, n.ExpiresAt.Time); {
			case err == nil:
				mu.Lock()
				winners = append(winners, next)
				mu.Unlock()
			case !errors.Is(err, store.ErrConflict):
				t.Errorf("RotateSession: got error %v; want none or ErrConflict", err)
			}
		})
		if len(winners) != 1 {
			t.Fatalf("got %d rotations that succeeded; want 1", len(winners))
		}
		n.Refresh, n.LastSeen = winners[0], began
		wantSession(t, s, n)
	}},
	{"ADeletedSessionIsGoneAndCannotBeRotated", func(t *testing.T, s store.Store) {
		n, stays := session(newUser()), session(newUser())
		stays.ID = n.ID
		check(t, "CreateSession", s.CreateSession(t.Context(), n))
		check(t, "CreateSession", s.CreateSession(t.Context(), stays))
		for range 2 {
			check(t, "DeleteSession", s.DeleteSession(t.Context(), n.User, n.ID))
		}
		if _, err := s.Session(t.Context(), n.User, n.ID); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("Session: got error %v; want ErrNotFound", err)
		}
		err := s.RotateSession(t.Context(), n.User, n.ID, n.Refresh, digest(), time.Now().Add(time.Hour))
		if !errors.Is(err, store.ErrNotFound) {
			t.Errorf("RotateSession: got error %v; want ErrNotFound", err)
		}
		wantSession(t, s, stays)
	}},
}

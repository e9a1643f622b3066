package scylla_test

import (
	"testing"
	"time"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/meshtest/cqltest"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/store/scylla"
)

func TestSessionsFromBeforeTheyWereListedAreListedByTheMigration(t *testing.T) {
	t.Parallel()
	o := cqltest.Empty(t)
	if err := scylla.MigrateTo(t.Context(), o.Defaults(), 3); err != nil {
		t.Fatal(err)
	}
	bare := cqltest.Session(t, o.Hosts[0], o.Keyspace)
	created, expires := chat.Now(), chat.TimeOf(time.Now().Add(time.Hour))
	const n = 150
	for i := range n {
		exec(t, bare, "INSERT INTO sessions (user_id, session_id, refresh, created_at, expires_at) VALUES (?, ?, ?, ?, ?)",
			[]string{"ann", "ben"}[i%2], string(rune('a'+i%26))+string(rune('a'+i/26)), make([]byte, 32), created.UnixMicro(), expires.UnixMicro())
	}
	exec(t, bare, "INSERT INTO sessions (user_id, session_id, refresh, created_at, expires_at) VALUES ('ann', 'old', ?, 1, 2)", make([]byte, 32))
	// The second time as if the process had ended before the next migration: it is done again.
	for _, to := range []int{4, 5} {
		if err := scylla.MigrateTo(t.Context(), o.Defaults(), to); err != nil {
			t.Fatal(err)
		}
	}
	s := cqltest.Open(t, o)
	for _, user := range []chat.UserID{"ann", "ben"} {
		all, err := s.Sessions(t.Context(), user)
		if err != nil || len(all) != n/2 {
			t.Errorf("Sessions of %s: got %d, error %v; want %d", user, len(all), err, n/2)
		}
		gone, err := s.DeleteSessions(t.Context(), user, "")
		if err != nil || len(gone) != n/2 {
			t.Errorf("DeleteSessions of %s: got %d, error %v; want %d", user, len(gone), err, n/2)
		}
	}
}

func TestTheHashOfAPasswordThatWasReplacedAndWhatADeletedPersonShowedIsNowhereInTheTables(t *testing.T) {
	t.Parallel()
	o := cqltest.Options(t)
	s, bare := cqltest.Open(t, o), cqltest.Session(t, o.Hosts[0], o.Keyspace)
	for _, u := range []store.User{
		{ID: "u1", Name: "ann", DisplayName: "Ann", Email: "ann@example.org", PasswordHash: "old", CreatedAt: chat.Now()},
		{ID: "u2", Name: "ben", DisplayName: "Ben", Email: "ben@example.org", PasswordHash: "old", CreatedAt: chat.Now()},
	} {
		if err := s.CreateUser(t.Context(), u); err != nil {
			t.Fatal(err)
		}
	}
	row := func(table, key, value string) (shown, hash string) {
		t.Helper()
		var display, email string
		if err := bare.Session.Query("SELECT display_name, email, password_hash FROM "+table+" WHERE "+key+" = ?", value).
			Scan(&display, &email, &hash); err != nil {
			t.Fatal(err)
		}
		return display + email, hash
	}
	if err := s.SetPassword(t.Context(), "u1", "old", "new"); err != nil {
		t.Fatal(err)
	}
	for table, key := range map[string][2]string{"users": {"user_id", "u1"}, "user_names": {"name", "ann"}} {
		if shown, hash := row(table, key[0], key[1]); shown != "Annann@example.org" || hash != "" {
			t.Errorf("%s after SetPassword: got %q and hash %q; want all but the hash", table, shown, hash)
		}
	}
	for _, id := range []chat.UserID{"u1", "u2"} {
		if err := s.BeginDeletion(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		if err := s.EndDeletion(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	for _, at := range [][3]string{{"users", "user_id", "u1"}, {"user_names", "name", "ann"}, {"profiles", "user_id", "u1"},
		{"users", "user_id", "u2"}, {"user_names", "name", "ben"}, {"profiles", "user_id", "u2"}} {
		if shown, hash := row(at[0], at[1], at[2]); shown+hash != "" {
			t.Errorf("%s of %s after EndDeletion: got %q and hash %q; want nothing", at[0], at[2], shown, hash)
		}
	}
	if u, err := s.UserByName(t.Context(), "ann"); err != nil || u.ID != "u1" || u.Deleted.IsZero() {
		t.Errorf("UserByName: got %+v, error %v; want who is deleted", u, err)
	}
}

func TestARegistrationThatIsRepeatedAfterAChangeChangesNothing(t *testing.T) {
	t.Parallel()
	s := cqltest.Open(t, cqltest.Options(t))
	u := store.User{ID: "u1", Name: "ann", DisplayName: "Ann", PasswordHash: "old", CreatedAt: chat.Now()}
	if err := s.CreateUser(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	if err := s.SetPassword(t.Context(), "u1", "old", "new"); err != nil {
		t.Fatal(err)
	}
	if err := s.CreateUser(t.Context(), u); err != nil {
		t.Errorf("CreateUser: got error %v; want none", err)
	}
	if got, err := s.UserByName(t.Context(), "ann"); err != nil || got.PasswordHash != "new" || got.DisplayName != "Ann" {
		t.Errorf("UserByName: got %+v, error %v; want the new password", got, err)
	}
}

package scylla_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/scylladb/gocqlx/v2"

	"github.com/chatmesh/chatmesh/pkg/meshtest/cqltest"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/store/scylla"
	schema "github.com/chatmesh/chatmesh/scylla"
)

// needs is the version of the schema that this program needs.
var needs = len(schema.Names())

// wantPing waits until Ping fails with want and says what.
func wantPing(t *testing.T, s *scylla.Store, want error, what string) {
	t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		err := s.Ping(t.Context())
		if errors.Is(err, want) && (err == nil || strings.Contains(err.Error(), what)) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("Ping: got error %v; want %v with %q", err, want, what)
		}
	}
}

func exec(t *testing.T, s gocqlx.Session, stmt string, args ...any) {
	t.Helper()
	if err := s.Session.Query(stmt, args...).Exec(); err != nil {
		t.Fatalf("%s: got error %v; want none", stmt, err)
	}
}

func tables(t *testing.T, s gocqlx.Session, keyspace string) map[string]bool {
	t.Helper()
	it := s.Session.Query("SELECT table_name FROM system_schema.tables WHERE keyspace_name = ?", keyspace).Iter()
	found := map[string]bool{}
	for name := ""; it.Scan(&name); {
		found[name] = true
	}
	if err := it.Close(); err != nil {
		t.Fatal(err)
	}
	return found
}

func TestPingNamesTheVersionThatIsThereAndCallsWaitForTheRightOne(t *testing.T) {
	t.Parallel()
	o := cqltest.Empty(t)
	s, err := scylla.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	wantPing(t, s, scylla.ErrOlder, fmt.Sprint("it is at version 0, this program needs ", needs))
	if err := scylla.MigrateTo(t.Context(), o.Defaults(), 1); err != nil {
		t.Fatal(err)
	}
	wantPing(t, s, scylla.ErrOlder, fmt.Sprint("it is at version 1, this program needs ", needs))
	if err := s.Write(t.Context(), store.Batch{Events: []store.Entry{message("chat", 1)}}); !errors.Is(err, scylla.ErrOlder) {
		t.Errorf("Write: got error %v; want ErrOlder", err)
	}
	if err := scylla.Migrate(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	wantPing(t, s, nil, "")
	bare := cqltest.Session(t, o.Hosts[0], o.Keyspace)
	exec(t, bare, fmt.Sprintf("INSERT INTO gocqlx_migrate (name, checksum, done) VALUES ('%04d_later.cql', 'x', 1)", needs+1))
	wantPing(t, s, scylla.ErrNewer, fmt.Sprintf("it is at version %d, this program has %d", needs+1, needs))
	if err := s.Write(t.Context(), store.Batch{Events: []store.Entry{message("chat", 1)}}); err != nil {
		t.Errorf("Write with a schema that has grown: got error %v; want none", err)
	}
	if err := scylla.Migrate(t.Context(), o); !errors.Is(err, scylla.ErrNewer) {
		t.Errorf("Migrate: got error %v; want ErrNewer", err)
	}
}

func TestMigrationsMayBeRunAgainAndAChangedOneIsRefused(t *testing.T) {
	t.Parallel()
	o := cqltest.Options(t)
	if err := scylla.Migrate(t.Context(), o); err != nil {
		t.Errorf("Migrate again: got error %v; want none", err)
	}
	s, bare := cqltest.Open(t, o), cqltest.Session(t, o.Hosts[0], o.Keyspace)
	exec(t, bare, "UPDATE gocqlx_migrate SET checksum = 'another' WHERE name = '0001_accounts.cql'")
	if err := scylla.Migrate(t.Context(), o); !errors.Is(err, scylla.ErrChanged) || !strings.Contains(err.Error(), "0001_accounts.cql") {
		t.Errorf("Migrate: got error %v; want ErrChanged with the file", err)
	}
	wantPing(t, s, scylla.ErrChanged, "0001_accounts.cql")
}

func TestAMigrationThatWasInterruptedGoesOnBehindItsLastStatement(t *testing.T) {
	t.Parallel()
	o := cqltest.Options(t)
	bare := cqltest.Session(t, o.Hosts[0], o.Keyspace)
	// As if the process had ended behind the second of five statements; what the first made is taken away to see it not made again.
	exec(t, bare, "UPDATE gocqlx_migrate SET done = 2 WHERE name = '0002_chats.cql'")
	for _, later := range schema.Names()[2:] {
		exec(t, bare, "DELETE FROM gocqlx_migrate WHERE name = '"+later+"'")
	}
	for _, table := range []string{"chats", "user_chats", "messages", "client_ids"} {
		exec(t, bare, "DROP TABLE "+table)
	}
	s, err := scylla.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	wantPing(t, s, scylla.ErrOlder, fmt.Sprint("it is at version 1, this program needs ", needs))
	if err := scylla.Migrate(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	got := tables(t, bare, o.Keyspace)
	if got["chats"] || !got["user_chats"] || !got["messages"] || !got["client_ids"] {
		t.Errorf("got tables %v; want those of the statements behind the second, and chats not made again", got)
	}
}

func TestOfManyWhoMigrateAtTheSameTimeAllEndWithTheSchema(t *testing.T) {
	t.Parallel()
	o := cqltest.Empty(t)
	if err := scylla.MigrateTo(t.Context(), o.Defaults(), 1); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if err := scylla.Migrate(t.Context(), o); err != nil {
				t.Errorf("Migrate: got error %v; want none", err)
			}
		})
	}
	wg.Wait()
	cqltest.Open(t, o)
}

func TestTheLockOfWhoMigratedAndDiedExpiresAndUntilThenOthersWait(t *testing.T) {
	t.Parallel()
	o := cqltest.Empty(t)
	if err := scylla.MigrateTo(t.Context(), o.Defaults(), 1); err != nil {
		t.Fatal(err)
	}
	bare := cqltest.Session(t, o.Hosts[0], o.Keyspace)
	lock := func(seconds int) {
		if _, err := bare.Session.Query("INSERT INTO migration_lock (name, owner) VALUES ('migrations', 'the dead') IF NOT EXISTS USING TTL ?",
			seconds).MapScanCAS(map[string]any{}); err != nil {
			t.Fatal(err)
		}
	}
	lock(600)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second) // to reach the server as well
	defer cancel()
	if err := scylla.Migrate(ctx, o); !errors.Is(err, scylla.ErrLocked) {
		t.Errorf("Migrate while somebody holds the lock: got error %v; want ErrLocked", err)
	}
	if tables(t, bare, o.Keyspace)["messages"] {
		t.Errorf("a table was made by who did not hold the lock")
	}
	if _, err := bare.Session.Query("DELETE FROM migration_lock WHERE name = 'migrations' IF EXISTS").MapScanCAS(map[string]any{}); err != nil {
		t.Fatal(err)
	}
	lock(2)
	if err := scylla.Migrate(t.Context(), o); err != nil {
		t.Errorf("Migrate when the lock has expired: got error %v; want none", err)
	}
	var owner string
	if err := bare.Session.Query("SELECT owner FROM migration_lock WHERE name = 'migrations'").Scan(&owner); err == nil {
		t.Errorf("the lock was left behind")
	}
}

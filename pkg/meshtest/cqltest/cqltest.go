// Package cqltest owns the CQL servers of tests: a real Apache Cassandra, started by scripts/cql. It promises that each test
// has a keyspace of its own, that what it starts is ended, and that a test which cannot have a server fails.
package cqltest

import (
	"crypto/rand"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gocql/gocql"
	"github.com/scylladb/gocqlx/v2"

	"github.com/chatmesh/chatmesh/pkg/store/scylla"
)

// Env names the variable that holds HOST:PORT of a server which is there for tests. make test sets it, so that all packages
// share one.
const Env = "CHATMESH_TEST_CQL"

// Main runs the tests of a package with a server: the one that Env names, otherwise one of its own. It is for TestMain and
// returns the code to exit with.
func Main(m *testing.M) (code int) {
	if os.Getenv(Env) != "" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "cql")
	if err != nil {
		return complain(err)
	}
	defer func() {
		if err := os.RemoveAll(dir); err != nil {
			code = complain(err)
		}
	}()
	s, err := start(dir, "CQL_JVM=-Dcassandra.unsafesystem=true", "CQL_SYNC=periodic")
	if err != nil {
		return complain(err)
	}
	defer func() {
		if err := s.stop(); err != nil {
			code = complain(err)
		}
	}()
	if err := os.Setenv(Env, s.Host); err != nil {
		return complain(err)
	}
	return m.Run()
}

func complain(err error) int {
	fmt.Fprintln(os.Stderr, "cqltest:", err)
	return 1
}

// Options are for a store in a new keyspace that has the schema; the keyspace goes when the test ends.
func Options(t testing.TB) scylla.Options {
	t.Helper()
	o := Empty(t)
	if err := scylla.Migrate(t.Context(), o); err != nil {
		t.Fatalf("Migrate: got error %v; want none", err)
	}
	return o
}

// Empty is like Options, but the keyspace is not made.
func Empty(t testing.TB) scylla.Options {
	t.Helper()
	host := os.Getenv(Env)
	if host == "" {
		t.Fatalf("no CQL server: TestMain of this package has to call cqltest.Main, or %s has to be set", Env)
	}
	o := At(host)
	t.Cleanup(func() { drop(t, o) })
	return o
}

// At are the options for a keyspace with a new name on a server. The keyspace is not made.
func At(host string) scylla.Options {
	return scylla.Options{
		Hosts: []string{host}, Keyspace: "t_" + strings.ToLower(rand.Text())[:16], Replication: 1,
		Timeout: 40 * time.Second, // the machine may be busy
		Log:     slog.New(slog.DiscardHandler),
	}
}

// Session is the bare driver on a keyspace; empty is none. It ends with the test.
func Session(t testing.TB, host, keyspace string) gocqlx.Session {
	t.Helper()
	s, err := session(host, keyspace)
	if err != nil {
		t.Fatalf("session: got error %v; want none", err)
	}
	t.Cleanup(s.Close)
	return s
}

func session(host, keyspace string) (gocqlx.Session, error) {
	c := gocql.NewCluster(host)
	c.ProtoVersion, c.Keyspace, c.Timeout, c.ConnectTimeout = 4, keyspace, time.Minute, 30*time.Second
	c.Consistency = gocql.LocalQuorum
	return gocqlx.WrapSession(gocql.NewSession(*c))
}

func drop(t testing.TB, o scylla.Options) {
	s, err := session(o.Hosts[0], "")
	if err == nil {
		err = s.ExecStmt("DROP KEYSPACE IF EXISTS " + o.Keyspace)
		s.Close()
	}
	if err != nil {
		t.Errorf("dropping the keyspace: got error %v; want none", err)
	}
}

// Open opens a store and waits until it can be used. The test's end closes it.
func Open(t testing.TB, o scylla.Options) *scylla.Store {
	t.Helper()
	s, err := scylla.Open(o)
	if err != nil {
		t.Fatalf("Open: got error %v; want none", err)
	}
	t.Cleanup(func() { _ = s.Close() })
	WaitUsable(t, s)
	return s
}

// WaitUsable waits until Ping finds nothing wrong.
func WaitUsable(t testing.TB, s *scylla.Store) {
	t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); ; time.Sleep(10 * time.Millisecond) {
		err := s.Ping(t.Context())
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("Ping after 3 minutes: got error %v; want none", err)
		}
	}
}

package scylla

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/gocql/gocql"
	"github.com/scylladb/gocqlx/v2"
	"github.com/scylladb/gocqlx/v2/migrate"

	schema "github.com/chatmesh/chatmesh/scylla"
)

// Migrate makes the keyspace where it is missing and runs the migrations that were not run yet, each statement once and its
// progress kept, so that whoever comes after a crash goes on behind the last one. Of all who call it at the same time one
// works and the others wait until it has finished, or ctx ends. It fails with ErrUnreachable, ErrNewer, ErrChanged or ErrLocked.
func Migrate(ctx context.Context, o Options) error {
	o, err := o.withDefaults()
	if err != nil {
		return fail("migrate", err)
	}
	return failMigrate(migrateTo(ctx, o, len(schema.Names())))
}

// failMigrate wraps err with the operation. Unlike elsewhere all of its text is shown: no statement of a migration has data of people.
func failMigrate(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("scylla: migrate: %w", err)
}

// listingSessions is the migration behind which the sessions that are there are listed. It is done before the next one begins, and
// again if that was not reached.
const listingSessions = 4

// migrateTo runs the first n migrations.
func migrateTo(ctx context.Context, o Options, n int) error {
	if err := o.createKeyspace(ctx); err != nil {
		return err
	}
	session, err := o.session(o.Keyspace, nil)
	if err != nil {
		return unreachable(err)
	}
	defer session.Close()
	run, err := applied(ctx, session, o.Keyspace, gocql.LocalQuorum)
	if err != nil {
		return err
	}
	if err := compare(run); err == nil || errors.Is(err, ErrNewer) || errors.Is(err, ErrChanged) {
		return err
	}
	return o.locked(ctx, session, func(ctx context.Context) error {
		run, err := applied(ctx, session, o.Keyspace, gocql.LocalQuorum) // by whoever had the lock before
		if err != nil {
			return err
		}
		if err := compare(run); !errors.Is(err, ErrOlder) {
			return err
		}
		o.Log.Info("migrations begin", "from", versionOf(run), "to", n)
		if versionOf(run) <= listingSessions && n > listingSessions {
			if err := migrate.FromFS(ctx, session, firstFiles(listingSessions)); err != nil {
				return err
			}
			if err := listAllSessions(ctx, session); err != nil {
				return err
			}
		}
		if err := migrate.FromFS(ctx, session, firstFiles(n)); err != nil {
			return err
		}
		o.Log.Info("migrations were run", "version", n)
		return nil
	})
}

// createKeyspace makes the keyspace where it is missing.
func (o Options) createKeyspace(ctx context.Context) error {
	session, err := o.session("", nil)
	if err != nil {
		return unreachable(err)
	}
	defer session.Close()
	there, err := hasKeyspace(ctx, session, o.Keyspace)
	if err != nil || there {
		return err
	}
	dc := "replication_factor" // which is every datacentre
	if o.LocalDC != "" {
		dc = o.LocalDC
	}
	stmt := fmt.Sprintf("CREATE KEYSPACE IF NOT EXISTS %s WITH replication = {'class': 'NetworkTopologyStrategy', '%s': %d}",
		o.Keyspace, dc, o.Replication)
	if scylla, err := isScyllaDB(ctx, session); err != nil {
		return err
	} else if scylla {
		// Lightweight transactions on tablets came late; a server that knows no tablets knows no such option either.
		if session.ContextQuery(ctx, stmt+" AND tablets = {'enabled': false}", nil).ExecRelease() == nil {
			return session.AwaitSchemaAgreement(ctx)
		}
	}
	if err := session.ContextQuery(ctx, stmt, nil).ExecRelease(); err != nil {
		return err
	}
	o.Log.Info("keyspace was made", "keyspace", o.Keyspace, "replication", o.Replication)
	return session.AwaitSchemaAgreement(ctx)
}

func isScyllaDB(ctx context.Context, session gocqlx.Session) (bool, error) {
	return hasTable(ctx, session, "system_schema", "scylla_keyspaces")
}

func hasTable(ctx context.Context, session gocqlx.Session, keyspace, table string) (bool, error) {
	var n int
	err := session.ContextQuery(ctx, "SELECT COUNT(*) FROM system_schema.tables WHERE keyspace_name = ? AND table_name = ?", nil).
		Bind(keyspace, table).Idempotent(true).Scan(&n)
	return n > 0, err
}

// applied lists the migrations that were run, in order; none where the keyspace is empty.
func applied(ctx context.Context, session gocqlx.Session, keyspace string, c gocql.Consistency) ([]*migrate.Info, error) {
	there, err := hasTable(ctx, session, keyspace, "gocqlx_migrate")
	if err != nil || !there {
		return nil, err // migrate.List would make the table
	}
	var run []*migrate.Info
	err = session.ContextQuery(ctx, "SELECT name, checksum, done FROM gocqlx_migrate", nil).Idempotent(true).Consistency(c).SelectRelease(&run)
	slices.SortFunc(run, func(a, b *migrate.Info) int { return strings.Compare(a.Name, b.Name) })
	return run, err
}

// compare holds what was run against the files. It fails with ErrOlder, ErrNewer or ErrChanged.
func compare(run []*migrate.Info) error {
	names := schema.Names()
	for i, r := range run {
		if i >= len(names) {
			break
		}
		sum, statements, err := digest(names[i])
		switch {
		case err != nil:
			return err
		case r.Name != names[i] || r.Checksum != sum:
			return fmt.Errorf("%w: %s", ErrChanged, names[i])
		case r.Done < statements:
			return older(i)
		}
	}
	switch found := versionOf(run); {
	case found < len(names):
		return older(found)
	case found > len(names):
		return fmt.Errorf("%w: it is at version %d, this program has %d", ErrNewer, found, len(names))
	}
	return nil
}

func older(found int) error {
	return fmt.Errorf("%w: it is at version %d, this program needs %d", ErrOlder, found, len(schema.Names()))
}

// versionOf is the number of the last migration that was begun; zero for none.
func versionOf(run []*migrate.Info) int {
	if len(run) == 0 {
		return 0
	}
	number, _, _ := strings.Cut(run[len(run)-1].Name, "_")
	n, err := strconv.Atoi(number)
	if err != nil {
		return len(run)
	}
	return n
}

// digest returns the checksum of a file, as the runner computes it, and the number of its statements.
func digest(name string) (sum string, statements int, err error) {
	b, err := schema.Files.ReadFile(name)
	if err != nil {
		return "", 0, err
	}
	d := md5.Sum(b) // against accidents, not against attackers
	return hex.EncodeToString(d[:]), strings.Count(string(b), ";"), nil
}

// firstFiles is the first n migrations.
type firstFiles int

// Open opens one of them.
func (n firstFiles) Open(name string) (fs.File, error) { return schema.Files.Open(name) }

// ReadDir lists them.
func (n firstFiles) ReadDir(name string) ([]fs.DirEntry, error) {
	all, err := schema.Files.ReadDir(name)
	all = slices.DeleteFunc(all, func(e fs.DirEntry) bool { return !slices.Contains(schema.Names()[:n], e.Name()) })
	return all, err
}

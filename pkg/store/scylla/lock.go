package scylla

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/gocql/gocql"
	"github.com/scylladb/gocqlx/v2"
)

// The lock of those who migrate: a row that expires unless its owner renews it.
const (
	lease     = 30 * time.Second
	renew     = lease / 3
	lockRow   = "migrations"
	lockTable = "CREATE TABLE IF NOT EXISTS migration_lock (name text PRIMARY KEY, owner text)"
)

// locked runs f while this process holds the lock. Whoever loses it in between, because it stood still for a whole lease, has
// its context ended; the statement that it is in may still be run, which does no harm: every statement may be run twice.
func (o Options) locked(ctx context.Context, session gocqlx.Session, f func(context.Context) error) error {
	there, err := hasTable(ctx, session, o.Keyspace, "migration_lock")
	if err == nil && !there {
		if err = session.ContextQuery(ctx, lockTable, nil).ExecRelease(); err == nil {
			err = session.AwaitSchemaAgreement(ctx)
		}
	}
	if err != nil {
		return err
	}
	owner := rand.Text()
	if err := o.lock(ctx, session, owner); err != nil {
		return err
	}
	ctx, lost := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		hold(ctx, session, owner, lost)
	}()
	err = f(ctx)
	if err != nil && context.Cause(ctx) != nil {
		err = errors.Join(context.Cause(ctx), err)
	}
	lost(nil)
	<-done
	free, cancel := context.WithTimeout(context.WithoutCancel(ctx), o.Timeout)
	defer cancel()
	_, freeErr := swap(free, session, "DELETE FROM migration_lock WHERE name = ? IF owner = ?", lockRow, owner)
	if freeErr != nil {
		o.Log.Warn("the lock of the migrations is left to expire", "after", lease, "error", freeErr)
	}
	return err
}

// lock waits until the lock is ours.
func (o Options) lock(ctx context.Context, session gocqlx.Session, owner string) error {
	for told := false; ; {
		held, err := swap(ctx, session, "INSERT INTO migration_lock (name, owner) VALUES (?, ?) IF NOT EXISTS USING TTL ?",
			lockRow, owner, int(lease.Seconds()))
		switch {
		case err == nil && (held == "" || held == owner):
			return nil
		case err == nil && !told:
			o.Log.Info("somebody else runs the migrations; waiting")
			told = true
		}
		if ended := sleep(ctx, 300*time.Millisecond); ended != nil {
			return errors.Join(ErrLocked, ended, err)
		}
	}
}

// hold renews the lock until ctx ends, and ends it where the lock is lost.
func hold(ctx context.Context, session gocqlx.Session, owner string, lost context.CancelCauseFunc) {
	tick := time.NewTicker(renew)
	defer tick.Stop()
	for last := time.Now(); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		held, err := swap(ctx, session, "UPDATE migration_lock USING TTL ? SET owner = ? WHERE name = ? IF owner = ?",
			int(lease.Seconds()), owner, lockRow, owner)
		switch {
		case err == nil && held == "":
			last = time.Now()
		case err == nil || time.Since(last) > lease-renew:
			lost(fmt.Errorf("%w: this process stood still for too long", ErrLocked))
			return
		}
	}
}

// swap runs a lightweight transaction on the lock. It returns "" where it was applied, otherwise who holds the lock.
func swap(ctx context.Context, session gocqlx.Session, stmt string, args ...any) (holder string, err error) {
	row := map[string]any{}
	applied, err := session.Session.Query(stmt, args...).WithContext(ctx).MapScanCAS(row)
	if errors.Is(err, gocql.ErrNotFound) {
		err = nil // refused, and there is no row
	}
	if applied || err != nil {
		return "", err
	}
	if holder, _ = row["owner"].(string); holder == "" {
		holder = "nobody"
	}
	return holder, nil
}

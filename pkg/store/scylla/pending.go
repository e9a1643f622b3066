package scylla

import (
	"context"
	"errors"
	"slices"

	"github.com/gocql/gocql"

	schema "github.com/chatmesh/chatmesh/scylla"
)

// Pending lists the migrations that Migrate would run, in order; all of them where the keyspace is missing. It changes nothing. It
// fails with ErrUnreachable, ErrNewer or ErrChanged.
func Pending(ctx context.Context, o Options) ([]string, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, fail("migrate", err)
	}
	names, err := o.pending(ctx)
	return names, failMigrate(err)
}

func (o Options) pending(ctx context.Context) ([]string, error) {
	session, err := o.session("", nil)
	if err != nil {
		return nil, unreachable(err)
	}
	defer session.Close()
	there, err := hasKeyspace(ctx, session, o.Keyspace)
	if err != nil {
		return nil, err
	}
	names := schema.Names()
	if !there {
		return names, nil
	}
	inside, err := o.session(o.Keyspace, nil)
	if err != nil {
		return nil, unreachable(err)
	}
	defer inside.Close()
	run, err := applied(ctx, inside, o.Keyspace, gocql.LocalQuorum)
	if err != nil {
		return nil, err
	}
	if err := compare(run); !errors.Is(err, ErrOlder) {
		return nil, err // nil: there is nothing to do
	}
	done := map[string]bool{}
	for i, r := range run { // compare found the names to be the same
		_, statements, err := digest(names[i])
		if err != nil {
			return nil, err
		}
		done[r.Name] = r.Done >= statements
	}
	return slices.DeleteFunc(names, func(name string) bool { return done[name] }), nil
}

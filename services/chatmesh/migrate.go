package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/chatmesh/chatmesh/pkg/config"
	"github.com/chatmesh/chatmesh/pkg/store/scylla"
	"github.com/chatmesh/chatmesh/services/mesh"
)

// migrateCmd is the command migrate.
type migrateCmd struct {
	DryRun bool `name:"dry-run" help:"Show which migrations are to be run, and run none."`
}

// Help tells what the command does.
func (migrateCmd) Help() string {
	return `Makes the keyspace --scylla-keyspace where it is missing, with --scylla-replication copies, and brings its tables to the version that
this program needs. Run it before an update's programs: schemas only grow, so that those of before go on. Of several that run at
the same time one works. It writes one line for each migration and a last line with their number. The exit code is 0 if the
tables are as they should be, or with --dry-run could be seen.`
}

// migrateTimeout bounds a migration; one adds tables or columns, whatever they hold.
const migrateTimeout = 10 * time.Minute

// Run migrates.
func (c migrateCmd) Run(ctx context.Context, cli *commands, out io.Writer) error {
	if len(cli.Scylla) == 0 {
		return errors.New("migrate is for an external ScyllaDB: set --scylla")
	}
	ctx, cancel := context.WithTimeout(ctx, migrateTimeout)
	defer cancel()
	o := mesh.Scylla(&cli.Settings, logger(&cli.Settings))
	names, err := scylla.Pending(ctx, o)
	if err != nil {
		return atScylla(&cli.Settings, err)
	}
	verb := "pending"
	if !c.DryRun {
		if err := scylla.Migrate(ctx, o); err != nil {
			return atScylla(&cli.Settings, err)
		}
		verb = "done"
	}
	for _, name := range names {
		if _, err := fmt.Fprintln(out, verb, name); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(out, "migrations %s %d\n", verb, len(names))
	return err
}

// atScylla says in one line where a migration failed, and which setting to look at.
func atScylla(c *config.Settings, err error) error {
	err = fmt.Errorf("keyspace %s at %s: %w", c.ScyllaKeyspace, strings.Join(c.Scylla, ", "), err)
	if errors.Is(err, scylla.ErrUnreachable) {
		return fmt.Errorf("%w; see the settings that begin with --scylla", err)
	}
	return err
}

package mesh

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/chatmesh/chatmesh/pkg/config"
	"github.com/chatmesh/chatmesh/pkg/store/scylla"
)

// Scylla is how the ScyllaDB of the settings is spoken to.
func Scylla(c *config.Settings, log *slog.Logger) scylla.Options {
	return scylla.Options{Hosts: c.Scylla, Keyspace: c.ScyllaKeyspace, Username: c.ScyllaUser, PasswordFile: c.ScyllaPasswordFile,
		CAFile: c.ScyllaTLSCA, LocalDC: c.ScyllaDC, Replication: c.ScyllaReplication, Log: log.With("service", "store")}
}

// openScylla begins to connect; it does not wait for the cluster. What binds the store to the broker becomes a part.
func (m *Mesh) openScylla() (keeper, error) {
	s, err := scylla.Open(Scylla(m.c, m.log))
	if err != nil {
		return nil, fmt.Errorf("%w; see the settings that begin with --scylla", err)
	}
	if !m.asIs {
		m.health.Set(bindingWait, errors.New("not asked for yet"))
		m.parts = append(m.parts, part{name: bindingWait, run: func(ctx context.Context) error { return m.bindShared(ctx, s) }})
	}
	m.health.Note("store", func(ctx context.Context) error {
		if err := s.Ping(ctx); errors.Is(err, scylla.ErrNewer) {
			return err
		}
		return nil
	})
	return shared{s}, nil
}

// shared is a store of a cluster, whose schema may be newer than this program: during an update it is, and calls go on.
type shared struct{ *scylla.Store }

// Ping tells whether calls can be answered.
func (s shared) Ping(ctx context.Context) error {
	err := s.Store.Ping(ctx)
	if errors.Is(err, scylla.ErrNewer) {
		return nil
	}
	return err
}

package mesh

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/config"
)

// Inspect returns a process for an operator's command on the data folder of c, which no other process may hold. It runs what is
// named on an embedded broker, on ports of their own, and takes the streams as they are: it makes none, and changes no setting
// of theirs. It serves no clients.
func Inspect(c *config.Settings, version string, log *slog.Logger, services ...Service) (*Mesh, error) {
	parts := []string{"nats"}
	if len(c.Scylla) == 0 {
		parts = append(parts, "store")
	}
	for _, part := range parts {
		if _, err := os.Stat(filepath.Join(c.Data, part)); err != nil {
			return nil, fmt.Errorf("the data folder %s holds no chats: %w; --data sets another", c.Data, cause(err))
		}
	}
	own := *c
	own.NATSURL, own.NATSListen, own.AdminListen = nil, "127.0.0.1:0", "127.0.0.1:0"
	return open(&Mesh{c: &own, services: services, version: version, log: log, asIs: true})
}

// Client makes a connection to the broker of this process for somebody beside its services. It ends with Run.
func (m *Mesh) Client(name string) (*bus.Bus, error) { return m.connect(Service(name), nil, nil) }

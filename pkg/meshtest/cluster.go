package meshtest

import (
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/meshtest/free"
)

// Cluster is three brokers of a test that keep three copies of everything.
type Cluster struct {
	t       testing.TB
	opts    []*server.Options
	servers []*server.Server
}

// clusterStart is how long a cluster may take to elect its leader.
const clusterStart = 2 * Patience

// NewCluster starts three brokers that sync always, each in a folder of the test.
func NewCluster(t testing.TB) *Cluster {
	t.Helper()
	c := &Cluster{t: t, servers: make([]*server.Server, 3)}
	var routes []*url.URL
	ports, err := free.Ports(6)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range ports[:3] {
		routes = append(routes, &url.URL{Scheme: "nats", Host: fmt.Sprintf("127.0.0.1:%d", p)})
	}
	for i := range 3 {
		c.opts = append(c.opts, &server.Options{ServerName: fmt.Sprintf("n%d", i), Host: "127.0.0.1", Port: ports[3+i],
			JetStream: true, StoreDir: t.TempDir(), SyncAlways: true, NoSigs: true, NoLog: true, Routes: routes,
			Cluster: server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: ports[i]}})
		c.Start(i)
	}
	t.Cleanup(func() {
		for i := range c.servers {
			c.Stop(i)
		}
	})
	Eventually(t, clusterStart, "the cluster has a leader", func() bool {
		for _, s := range c.servers {
			if s.JetStreamIsLeader() && s.NumRoutes() > 0 && len(s.JetStreamClusterPeers()) == 3 {
				return true
			}
		}
		return false
	})
	return c
}

// Start starts broker i, again on the same folder and ports.
func (c *Cluster) Start(i int) {
	c.t.Helper()
	s, err := server.NewServer(c.opts[i])
	if err != nil {
		c.t.Fatalf("broker %d: %v", i, err)
	}
	go s.Start() // ends with Stop
	if !s.ReadyForConnections(clusterStart) {
		c.t.Fatalf("broker %d: not ready", i)
	}
	c.servers[i] = s
}

// Stop ends broker i. It can be started again.
func (c *Cluster) Stop(i int) {
	c.servers[i].Shutdown()
	c.servers[i].WaitForShutdown()
}

// Bus connects to any of the brokers.
func (c *Cluster) Bus(t testing.TB) *bus.Bus {
	t.Helper()
	var urls []string
	for _, o := range c.opts {
		urls = append(urls, fmt.Sprintf("nats://127.0.0.1:%d", o.Port))
	}
	b, err := bus.Connect(bus.Config{Name: t.Name(), URL: strings.Join(urls, ","), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatalf("bus: %v", err)
	}
	t.Cleanup(b.Close)
	return b
}

// Connector is a Broker, a Cluster or Processes.
type Connector interface {
	Bus(t testing.TB) *bus.Bus
}

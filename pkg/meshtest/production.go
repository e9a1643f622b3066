package meshtest

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/meshtest/free"
	"github.com/chatmesh/chatmesh/pkg/pki"
	"github.com/chatmesh/chatmesh/pkg/roles"
)

// Production is a cluster of three brokers as in production: from the files of the folder nats as they are, with accounts, TLS
// and NKeys. The test may not run in parallel with others: the files read the environment.
type Production struct {
	// Keys is the folder of keys and certificates.
	Keys string
	// URL lists the brokers.
	URL     string
	opts    []*server.Options
	servers []*server.Server
	log     *complaints
}

// Teams of the committed configuration.
const (
	Reader = "audit"
	Bot    = "bot"
)

// Roles are the roles of the committed configuration.
func Roles() roles.Mesh {
	return roles.Mesh{Partitions: 16, Readers: []string{Reader}, Bots: []string{Bot}}
}

// NewProductionCluster starts three brokers. change, which may be nil, gets the options of each, as the files have them.
func NewProductionCluster(t testing.TB, change func(*server.Options)) *Production {
	t.Helper()
	p := &Production{Keys: t.TempDir(), servers: make([]*server.Server, 3), log: &complaints{}}
	hosts := []string{"localhost", "127.0.0.1"}
	var servers []pki.Server
	var names []string
	for i := range 3 {
		servers = append(servers, pki.Server{Name: fmt.Sprintf("n%d", i+1), Hosts: hosts})
	}
	for _, r := range Roles().Roles() {
		names = append(names, r.Name)
	}
	if err := pki.Write(p.Keys, servers, names, roles.Variable); err != nil {
		t.Fatalf("keys: %v", err)
	}
	env, err := os.ReadFile(filepath.Join(p.Keys, pki.Env))
	if err != nil {
		t.Fatalf("keys: %v", err)
	}
	for _, line := range strings.Fields(string(env)) {
		name, value, _ := strings.Cut(line, "=")
		t.Setenv(name, value)
	}
	ports, err := free.Ports(9)
	if err != nil {
		t.Fatal(err)
	}
	var urls, routes []string
	for i := range 3 {
		urls = append(urls, fmt.Sprintf("tls://127.0.0.1:%d", ports[i]))
		routes = append(routes, fmt.Sprintf("tls://127.0.0.1:%d", ports[3+i]))
	}
	p.URL = strings.Join(urls, ",")
	conf := filepath.Join(checkout(t), "nats", "server.conf")
	for i, s := range servers {
		file := func(name string) string { return filepath.Join(p.Keys, name) }
		for name, value := range map[string]string{
			"NATS_NAME": s.Name, "NATS_LISTEN": fmt.Sprintf("127.0.0.1:%d", ports[i]), "NATS_CLUSTER": fmt.Sprintf("127.0.0.1:%d", ports[3+i]),
			"NATS_MONITOR": fmt.Sprintf("127.0.0.1:%d", ports[6+i]), "NATS_ROUTES": "[" + strings.Join(routes, ", ") + "]",
			"NATS_STORE": t.TempDir(), "NATS_MAX_FILE": "10GB",
			"NATS_TLS_CERT": file(s.Name + ".pem"), "NATS_TLS_KEY": file(pki.Key(s.Name + ".pem")), "NATS_TLS_CA": file(pki.CA),
			"NATS_ROUTE_CERT": file(s.Name + "-route.pem"), "NATS_ROUTE_KEY": file(pki.Key(s.Name + "-route.pem")),
			"NATS_ROUTE_CA": file(pki.RoutesCA),
		} {
			t.Setenv(name, value)
		}
		opts, err := server.ProcessConfigFile(conf)
		if err != nil {
			t.Fatalf("%s: %v", conf, err)
		}
		opts.NoSigs = true
		if change != nil {
			change(opts)
		}
		p.opts = append(p.opts, opts)
		p.start(t, i)
	}
	t.Cleanup(func() {
		for _, s := range p.servers {
			s.Shutdown()
			s.WaitForShutdown()
		}
	})
	Eventually(t, clusterStart, "the cluster has a leader", func() bool {
		for _, s := range p.servers {
			if s.JetStreamIsLeader() && s.NumRoutes() > 0 && len(s.JetStreamClusterPeers()) == 3 {
				return true
			}
		}
		return false
	})
	return p
}

func (p *Production) start(t testing.TB, i int) {
	t.Helper()
	s, err := server.NewServer(p.opts[i])
	if err != nil {
		t.Fatalf("broker %d: %v", i, err)
	}
	s.SetLogger(p.log, false, false)
	go s.Start() // ends with the test
	p.servers[i] = s
	if !s.ReadyForConnections(clusterStart) {
		t.Fatalf("broker %d: not ready: %v", i, p.log.lines())
	}
}

// Restart ends a broker and starts it again.
func (p *Production) Restart(t testing.TB, i int) {
	t.Helper()
	p.servers[i].Shutdown()
	p.servers[i].WaitForShutdown()
	p.start(t, i)
}

// Options are those that the files of the folder nats give a broker.
func (p *Production) Options(i int) *server.Options { return p.opts[i] }

// Config is how a role connects. What the broker reports of the connection is added to Complaints.
func (p *Production) Config(role string) bus.Config {
	return bus.Config{Name: role, URL: p.URL, RootCA: filepath.Join(p.Keys, pki.CA), NKey: p.Keys, Role: role,
		Logger: slog.New(slog.NewTextHandler(p.log, &slog.HandlerOptions{Level: slog.LevelWarn}))}
}

// Bus connects as a role.
func (p *Production) Bus(t testing.TB, role string) *bus.Bus {
	t.Helper()
	b, err := bus.Connect(p.Config(role))
	if err != nil {
		t.Fatalf("bus of %s: %v", role, err)
	}
	t.Cleanup(b.Close)
	Eventually(t, clusterStart, role+" is connected", func() bool { return b.Check(t.Context()) == nil })
	return b
}

// Conn connects as a role by hand, with further options.
func (p *Production) Conn(t testing.TB, role string, opts ...nats.Option) *nats.Conn {
	t.Helper()
	seed, err := nats.NkeyOptionFromSeed(filepath.Join(p.Keys, role+".nk"))
	if err != nil {
		t.Fatalf("key of %s: %v", role, err)
	}
	nc, err := nats.Connect(p.URL, append([]nats.Option{seed, nats.RootCAs(filepath.Join(p.Keys, pki.CA)),
		nats.CustomInboxPrefix("_INBOX_" + role)}, opts...)...)
	if err != nil {
		t.Fatalf("connect as %s: %v", role, err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// Violations are what brokers and the connections of Config said of a right that somebody did not have.
func (p *Production) Violations() []string {
	var out []string
	for _, line := range p.log.lines() {
		if low := strings.ToLower(line); strings.Contains(low, "violation") || strings.Contains(low, "authorization") ||
			strings.Contains(low, "authentication") {
			out = append(out, line)
		}
	}
	return out
}

// Write takes a line of a log.
func (p *Production) Write(line []byte) (int, error) { return p.log.Write(line) }

// checkout is the folder of the repository: the first one upward that has the brokers' configuration.
func checkout(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "nats", "server.conf")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("there is no folder nats with server.conf on the way up")
		}
		dir = filepath.Dir(dir)
	}
}

// complaints keeps what brokers warn of.
type complaints struct {
	mu sync.Mutex // guards all
	// all that was said
	all []string
}

func (c *complaints) add(line string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = append(c.all, line)
}

func (c *complaints) lines() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.all...)
}

// Write takes a line of a client's log.
func (c *complaints) Write(line []byte) (int, error) {
	c.add(strings.TrimSpace(string(line)))
	return len(line), nil
}

// Warnf, Errorf and Fatalf keep what a server says; the others say nothing of interest.
func (c *complaints) Warnf(format string, v ...any) { c.add(fmt.Sprintf(format, v...)) }

// Errorf keeps an error.
func (c *complaints) Errorf(format string, v ...any) { c.add(fmt.Sprintf(format, v...)) }

// Fatalf keeps why a server cannot start.
func (c *complaints) Fatalf(format string, v ...any) { c.add(fmt.Sprintf(format, v...)) }

// Noticef is dropped.
func (c *complaints) Noticef(string, ...any) {}

// Debugf is dropped.
func (c *complaints) Debugf(string, ...any) {}

// Tracef is dropped.
func (c *complaints) Tracef(string, ...any) {}

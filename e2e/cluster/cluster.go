// Package cluster runs chatmesh as in production, without containers: three brokers from the files of the folder nats, with their
// accounts, keys and certificates, a CQL server, each service as processes of its own, and in front of them what a load balancer
// does. It promises that each part can be killed, paused and started again alone, that nothing it started outlives it, and that
// what a process logs that it should not does not go unseen.
package cluster

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/chatmesh/chatmesh/e2e/program"
)

// Services in the order in which they are started, unless somebody starts them otherwise.
var Services = []string{"api", "edge", "fanout", "persister", "presence"}

// Config says what a cluster is made of. Dir is required.
type Config struct {
	// Dir is where all state lies.
	Dir string
	// Each is how many processes of each service there are; zero is 2.
	Each int
	// NoRace uses a binary that was built without the race detector.
	NoRace bool
	// Brokers is the folder of the brokers' files; empty is the folder nats.
	Brokers string
	// Args are further arguments of every service.
	Args []string
}

// Cluster is a mesh of many processes.
type Cluster struct {
	Brokers []*Broker
	CQL     *CQL
	// Nodes are the processes of chatmesh, in the order of Services.
	Nodes []*Node
	// Fronts are where clients connect: one for each edge.
	Fronts []*Front
	// Admin is where operators look: the metrics are those of all nodes, the rest is that of the first.
	Admin *Front

	cfg  Config
	keys string
}

// Within is how long one step of a start may take on a busy machine.
const Within = 3 * time.Minute

// New lays a cluster out, makes its keys and builds what it runs. Nothing runs before Start or the Start of a part.
func New(cfg Config) (*Cluster, error) {
	if cfg.Each == 0 {
		cfg.Each = 2
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	cfg.Dir = dir
	c := &Cluster{cfg: cfg, keys: filepath.Join(dir, "keys")}
	if err := c.chatmesh("nats", "keys", c.keys); err != nil {
		return nil, err
	}
	if err := c.layBrokers(); err != nil {
		return nil, err
	}
	if c.CQL, err = newCQL(filepath.Join(dir, "cql")); err != nil {
		return nil, err
	}
	for _, s := range Services {
		for i := range cfg.Each {
			n, err := c.newNode(s, fmt.Sprintf("%s-%d", s, i+1))
			if err != nil {
				return nil, err
			}
			c.Nodes = append(c.Nodes, n)
		}
	}
	for _, edge := range c.Of("edge") {
		f, err := newFront(edge.client, c.clients("api"))
		if err != nil {
			return nil, err
		}
		c.Fronts = append(c.Fronts, f)
	}
	if c.Admin, err = newAdmin(c.Nodes); err != nil {
		return nil, err
	}
	return c, nil
}

// Start starts everything: brokers and database beside each other, then the streams and the schema, then the services.
func (c *Cluster) Start() error {
	if err := c.StartBelow(); err != nil {
		return err
	}
	for _, n := range c.Nodes {
		if err := n.Start(); err != nil {
			return err
		}
	}
	return c.AwaitReady(Within)
}

// StartBelow starts what the services stand on: brokers with their streams, and the database with its schema.
func (c *Cluster) StartBelow() error {
	errs := make([]error, 2)
	var wg sync.WaitGroup
	wg.Go(func() {
		for _, b := range c.Brokers {
			if err := b.Start(); err != nil {
				errs[0] = err
				return
			}
		}
		errs[0] = c.Init()
	})
	wg.Go(func() {
		if errs[1] = c.CQL.Start(); errs[1] == nil {
			errs[1] = c.Migrate()
		}
	})
	wg.Wait()
	return errors.Join(errs...)
}

// AwaitReady waits until every process that runs says that it is ready.
func (c *Cluster) AwaitReady(within time.Duration) error {
	end := time.Now().Add(within)
	for _, n := range c.Nodes {
		if n.p == nil {
			continue
		}
		if err := n.p.AwaitReadyz(time.Until(end)); err != nil {
			return fmt.Errorf("cluster: %s: %w\n%s", n.Name, err, n.p.Tail(20))
		}
	}
	return nil
}

// Init makes the streams, buckets and consumers, as an operator does. The brokers may still be electing.
func (c *Cluster) Init() error {
	var err error
	for end := time.Now().Add(Within); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		if err = c.Operator("nats", "init", "--yes"); err == nil {
			return nil
		}
	}
	return err
}

// Migrate makes the tables.
func (c *Cluster) Migrate() error { return c.chatmesh(append(c.scylla(), "migrate")...) }

// Operator runs a command of chatmesh against the brokers, with an operator's rights.
func (c *Cluster) Operator(args ...string) error {
	return c.chatmesh(append(c.broker("ops"), args...)...)
}

// chatmesh runs a command to its end.
func (c *Cluster) chatmesh(args ...string) error {
	exit, out, bad, err := program.Run(Within, args, nil)
	if err == nil && exit != 0 {
		err = fmt.Errorf("exit code %d: %s%s", exit, out, bad)
	}
	if err != nil {
		return fmt.Errorf("cluster: chatmesh %s: %w", strings.Join(args, " "), err)
	}
	return nil
}

// broker are the arguments by which a role reaches the brokers.
func (c *Cluster) broker(role string) []string {
	return []string{"--nats-url", c.URL(), "--nats-tls-ca", c.Key("ca.pem"), "--nats-nkey", c.Key(role + ".nk"), "--replicas", "3"}
}

// scylla are the arguments by which the database is reached.
func (c *Cluster) scylla() []string {
	return []string{"--scylla", c.CQL.Host, "--scylla-replication", "1"}
}

// URL lists the brokers.
func (c *Cluster) URL() string {
	var urls []string
	for _, b := range c.Brokers {
		urls = append(urls, b.url())
	}
	return strings.Join(urls, ",")
}

// Key is a file of keys.
func (c *Cluster) Key(name string) string { return filepath.Join(c.keys, name) }

// Of are the processes of a service.
func (c *Cluster) Of(service string) []*Node {
	var out []*Node
	for _, n := range c.Nodes {
		if n.Service == service {
			out = append(out, n)
		}
	}
	return out
}

func (c *Cluster) clients(service string) (out []string) {
	for _, n := range c.Of(service) {
		out = append(out, n.client)
	}
	return out
}

// Guard tells every process what must stand neither in its log nor in its metrics, also those that are started later.
func (c *Cluster) Guard(secrets ...string) {
	for _, n := range c.Nodes {
		n.guard(secrets)
	}
}

// Stop ends everything, the services first, and lists what was wrong with them.
func (c *Cluster) Stop() (problems []string) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, n := range c.Nodes {
		wg.Go(func() {
			some := n.finish()
			mu.Lock()
			defer mu.Unlock()
			for _, p := range some {
				problems = append(problems, n.Name+": "+p)
			}
		})
	}
	wg.Wait()
	slices.Sort(problems)
	for _, f := range append(c.Fronts, c.Admin) {
		f.close()
	}
	for _, b := range c.Brokers {
		b.Kill()
	}
	if c.CQL != nil {
		if err := c.CQL.Stop(); err != nil {
			problems = append(problems, err.Error())
		}
	}
	return problems
}

// Errors are what the processes logged as errors.
func (c *Cluster) Errors() (all []string) {
	for _, n := range c.Nodes {
		for _, e := range n.errors {
			all = append(all, n.Name+": "+e)
		}
	}
	return all
}

// root is the folder of the repository.
func root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Dir(filepath.Dir(filepath.Dir(file)))
}

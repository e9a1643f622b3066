package e2e

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/chatmesh/chatmesh/e2e/program"
	"github.com/chatmesh/chatmesh/pkg/meshtest/free"
)

// cqlServer is a CQL server as a process of its own, on one port for its whole life.
type cqlServer struct {
	t             *testing.T
	dir           string
	port, storage int
}

func newCQL(t *testing.T, r *rand.Rand) *cqlServer {
	t.Helper()
	c := &cqlServer{t: t, dir: t.TempDir(), port: freePort(t), storage: freePort(t)}
	t.Cleanup(func() {
		if out, err := c.script("stop", c.dir); err != nil {
			t.Errorf("the CQL server does not stop: %v\n%s", err, out)
		}
	})
	return c
}

func (c *cqlServer) script(args ...string) ([]byte, error) {
	cmd := exec.Command("../scripts/cql", args...)
	cmd.Env = append(cmd.Environ(), "CQL_HEAP=512m")
	return cmd.CombinedOutput()
}

func (c *cqlServer) host() string { return fmt.Sprintf("127.0.0.1:%d", c.port) }

// start returns when the server answers.
func (c *cqlServer) start() {
	c.t.Helper()
	began := time.Now()
	if out, err := c.script("start", c.dir, strconv.Itoa(c.port), strconv.Itoa(c.storage)); err != nil {
		c.t.Fatalf("the CQL server: %v\n%s", err, out)
	}
	c.t.Logf("the CQL server answers after %v", time.Since(began).Round(time.Millisecond))
}

// signal sends a signal to the server: SIGSTOP lets it stand still, SIGKILL ends it.
func (c *cqlServer) signal(s syscall.Signal) {
	c.t.Helper()
	file := filepath.Join(c.dir, "pid")
	text, err := os.ReadFile(file)
	if err != nil {
		c.t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		c.t.Fatal(err)
	}
	if err := syscall.Kill(pid, s); err != nil {
		c.t.Fatalf("signal %v to the CQL server: %v", s, err)
	}
	if s == syscall.SIGKILL {
		eventually(c.t, time.Minute, "the CQL server is gone", func() bool { return syscall.Kill(pid, 0) != nil })
		if err := os.Remove(file); err != nil {
			c.t.Fatal(err)
		}
	}
}

// freePort is a port that stays free while the one who listens on it is away.
func freePort(t *testing.T) int {
	t.Helper()
	port, err := free.Port()
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// freeAddress is an address with such a port.
func freeAddress(t *testing.T) string {
	t.Helper()
	return fmt.Sprintf("127.0.0.1:%d", freePort(t))
}

// processes is a mesh of which each service is a process of its own, on a broker and a CQL server apart.
type processes struct {
	t      *testing.T
	r      *rand.Rand
	broker *soakBroker
	cql    *cqlServer
	nodes  map[string]*program.Program
}

func newProcesses(t *testing.T, seed uint64) *processes {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 2))
	m := &processes{t: t, r: r, broker: newBroker(t, r), cql: newCQL(t, r), nodes: map[string]*program.Program{}}
	t.Cleanup(func() {
		for name, p := range m.nodes {
			for _, problem := range p.Finish() {
				t.Errorf("%s: %s", name, problem)
			}
			if t.Failed() {
				log := strings.Split(p.Log(), "\n")
				t.Logf("the end of the log of %s:\n%s", name, strings.Join(log[max(0, len(log)-30):], "\n"))
			}
		}
		if m.broker.cmd != nil {
			m.broker.kill()
		}
	})
	return m
}

// external are the arguments that say where broker and database are.
func (m *processes) external() []string {
	return []string{"--nats-url", m.broker.url(), "--scylla", m.cql.host(), "--scylla-replication", "1"}
}

// begin starts a service as node <service><n> and does not wait for it.
func (m *processes) begin(service string, n int) *program.Program {
	m.t.Helper()
	name := fmt.Sprint(service, n)
	p, err := program.Begin(program.Config{Data: filepath.Join(m.t.TempDir(), "none"), Listen: freeAddress(m.t), AdminListen: freeAddress(m.t),
		Args: append(m.external(), "--node", name, service)})
	if err != nil {
		m.t.Fatal(err)
	}
	p.Guard(canary)
	m.nodes[name] = p
	return p
}

// readyz is what a process says that it waits for; nothing means that it is ready.
func readyz(t *testing.T, p *program.Program) (waiting []string, ready bool) {
	t.Helper()
	status, body, err := p.AdminGet("/readyz")
	if err != nil {
		return []string{err.Error()}, false
	}
	var a struct{ Waiting []string }
	if err := json.Unmarshal([]byte(body), &a); err != nil {
		t.Fatalf("/readyz: %v in %s", err, body)
	}
	return a.Waiting, status == http.StatusOK
}

// waits waits until a process says that it waits for something, and checks that it lives.
func (m *processes) waits(name, what string) {
	m.t.Helper()
	p, last := m.nodes[name], []string(nil)
	eventually(m.t, time.Minute, fmt.Sprintf("%s waits for %q", name, what), func() bool {
		last, _ = readyz(m.t, p)
		return strings.Contains(strings.Join(last, "; "), what)
	})
	if status, _, err := p.AdminGet("/healthz"); err != nil || status != http.StatusOK {
		m.t.Errorf("%s: /healthz answers %d, %v while it waits; want 200", name, status, err)
	}
}

// allReady waits until every process is ready, and returns how long that took.
func (m *processes) allReady(within time.Duration) time.Duration {
	m.t.Helper()
	began := time.Now()
	for name, p := range m.nodes {
		var last []string
		deadline := began.Add(within)
		for {
			var ready bool
			if last, ready = readyz(m.t, p); ready {
				break
			}
			if time.Now().After(deadline) {
				m.t.Fatalf("%s is not ready within %v: %v", name, within, last)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	return time.Since(began)
}

// command runs a command of an operator and returns what it wrote.
func (m *processes) command(want int, args ...string) string {
	m.t.Helper()
	exit, stdout, stderr, err := program.Run(5*time.Minute, append(args, m.external()...), nil)
	if err != nil || exit != want {
		m.t.Fatalf("chatmesh %v: got exit code %d, %v; want %d\n%s%s", args, exit, err, want, stdout, stderr)
	}
	return stdout
}

// stored is the last event of a chat that the database has.
func (m *processes) stored(nc *nats.Conn, chat string) uint64 {
	b, err := json.Marshal(map[string]string{"chat": chat})
	if err != nil {
		m.t.Fatal(err)
	}
	a, err := nc.Request("svc.ops.verify", b, 20*time.Second)
	if err != nil {
		return 0 // nobody is there at the moment
	}
	var report struct{ Stored uint64 }
	if err := json.Unmarshal(a.Data, &report); err != nil {
		m.t.Fatalf("svc.ops.verify: %v in %s", err, a.Data)
	}
	return report.Stored
}

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chatmesh/chatmesh/e2e/stack"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/client"
)

// notRun are the services whose programs are not to be had without their images, and what stands for them.
var notRun = map[string]string{
	"keys":          "scripts/compose-secrets has run it",
	"nats-folders":  "folders of this machine belong to who runs the test",
	"scylla":        "a Cassandra of scripts/cql, without a password",
	"nats-exporter": "nothing; the names of its metrics are a list in services/mesh",
	"grafana":       "nothing; its dashboard's queries are held against the program and parsed by promtool",
}

// running are the processes of a composed story.
type running struct {
	t        *testing.T
	s        *stack.Stack
	chatmesh string
	all      map[string]*stack.Process
}

// start begins a service and ends it with the test. program and skip are those of stack.Command.
func (r *running) start(service, program string, skip int) *stack.Process {
	r.t.Helper()
	cmd, err := r.s.Command(context.Background(), service, program, skip) // Stop ends it, after what needs it
	if err != nil {
		r.t.Fatal(err)
	}
	p, err := stack.Start(service, cmd)
	if err != nil {
		r.t.Fatal(err)
	}
	r.all[service] = p
	r.t.Cleanup(func() {
		code, err := p.Stop(time.Duration(*r.s.Project.Services[service].StopGracePeriod))
		if strings.HasPrefix(r.s.Project.Services[service].Image, "chatmesh:") && (code != 0 || err != nil) {
			r.t.Errorf("%s ended with %d, %v", service, code, err)
		}
		if r.t.Failed() {
			lines := strings.Split(strings.TrimSpace(p.Log()), "\n")
			r.t.Logf("the end of the log of %s:\n%s", service, strings.Join(lines[max(0, len(lines)-6):], "\n"))
		}
	})
	return p
}

// once runs a service that ends by itself.
func (r *running) once(service string, within time.Duration) {
	r.t.Helper()
	began := time.Now()
	cmd, err := r.s.Command(r.t.Context(), service, r.chatmesh, 0)
	if err != nil {
		r.t.Fatal(err)
	}
	p, err := stack.Start(service, cmd)
	if err != nil {
		r.t.Fatal(err)
	}
	r.all[service] = p
	if code, err := p.Wait(within); code != 0 || err != nil {
		_, _ = p.Stop(0) // where it still runs
		r.t.Fatalf("%s ended with %d, %v:\n%s", service, code, err, p.Log())
	}
	r.t.Logf("%s ended after %v", service, time.Since(began).Round(time.Second/10))
}

// healthy waits until the health checks of services say so.
func (r *running) healthy(within time.Duration, services ...string) {
	r.t.Helper()
	deadline := time.Now().Add(within)
	for _, service := range services {
		for {
			err := r.s.Healthy(r.t.Context(), service, r.chatmesh)
			if err == nil {
				break
			}
			if r.all[service].Ended() || time.Now().After(deadline) {
				r.t.Fatalf("%s is not healthy: %v", service, err)
			}
			time.Sleep(200 * time.Millisecond)
		}
	}
}

// toolPath finds a program of Debian's packages, which scripts/deps brings.
func toolPath(t *testing.T, name string) string {
	t.Helper()
	for _, path := range []string{filepath.Join(rootOf(t), "bin/prometheus/usr/bin", name), "/usr/sbin/" + name} {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%v: make deps brings it", err)
	}
	return path
}

// quiet hands out addresses that nobody listens on, each once, with ports below those that connections go out from: none of them takes
// it while its service is not there yet, or is away.
type quiet map[string]bool

func (q quiet) address(t *testing.T) string {
	t.Helper()
	for range 1000 {
		address := fmt.Sprintf("127.0.0.1:%d", 20000+rand.IntN(12000))
		if q[address] {
			continue
		}
		if l, err := net.Listen("tcp", address); err == nil {
			_ = l.Close()
			q[address] = true
			return address
		}
	}
	t.Fatal("no port is free")
	return ""
}

// cassandra starts a CQL server in place of ScyllaDB and returns its address.
func cassandra(t *testing.T, q quiet) string {
	t.Helper()
	dir, script := t.TempDir(), filepath.Join(rootOf(t), "scripts", "cql")
	_, port, _ := net.SplitHostPort(q.address(t))
	_, storage, _ := net.SplitHostPort(q.address(t))
	cmd := exec.Command(script, "start", dir, port, storage)
	cmd.Env = append(cmd.Environ(), "CQL_JVM=-Dcassandra.unsafesystem=true", "CQL_HEAP=512m")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("the CQL server: %v\n%s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command(script, "stop", dir).CombinedOutput(); err != nil {
			t.Errorf("the CQL server: %v\n%s", err, out)
		}
	})
	return "127.0.0.1:" + port
}

// place gives each port that the services listen on an address of this machine.
func place(t *testing.T, s *stack.Stack, q quiet) {
	t.Helper()
	for _, image := range []struct {
		of    string
		ports []int
	}{{"nats:", []int{4222, 6222, 8222}}, {"chatmesh:", []int{8080, 8081}}, {"haproxy:", []int{8080, 8404}}, {"prom/prometheus:", []int{9090}},
		{"natsio/", []int{7777}}} {
		for _, service := range s.Services(image.of) {
			for _, port := range image.ports {
				s.Map(service, port, q.address(t))
			}
		}
	}
	for name := range s.Project.Volumes {
		s.Volume(name, t.TempDir())
	}
}

// natsServer builds the broker's own program, of the version that go.mod has.
func natsServer(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "nats-server")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", path, "github.com/nats-io/nats-server/v2").CombinedOutput(); err != nil {
		t.Fatalf("nats-server: %v\n%s", err, out)
	}
	return path
}

// Every command line of compose.yaml runs, with its environment and its files, until all that have a health check are healthy; then
// people chat through the gateway, also while one of everything is away, and Prometheus sees it.
func TestPeopleChatOverWhatComposeRuns(t *testing.T) {
	s := composed(t, "CHATMESH_URL=http://gateway:8080") // what edges say of themselves
	r := &running{t: t, s: s, chatmesh: image.program(t), all: map[string]*stack.Process{}}
	q := quiet{}
	place(t, s, q)
	s.Map("scylla", 9042, cassandra(t, q))
	for service, target := range map[string]string{"gateway": "/etc/chatmesh/haproxy.cfg", "prometheus": "/etc/prometheus"} {
		if err := s.TranslateFiles(service, target, t.TempDir()); err != nil {
			t.Fatal(err)
		}
	}
	gateway := s.Address("gateway", 8080)

	nats := s.Services("nats:2")
	server := natsServer(t)
	var brokers []string
	for _, service := range nats {
		if service != "nats-folders" {
			r.start(service, server, 1)
			brokers = append(brokers, service)
		}
	}
	r.healthy(3*time.Minute, brokers...)
	r.once("nats-init", 5*time.Minute)
	r.once("migrate", 5*time.Minute)
	var services []string
	for _, service := range s.Services("chatmesh:") {
		if notRun[service] == "" && r.all[service] == nil {
			r.start(service, r.chatmesh, 0)
			services = append(services, service)
		}
	}
	r.start("gateway", toolPath(t, "haproxy"), 1)
	r.start("prometheus", toolPath(t, "prometheus"), 0)
	r.healthy(5*time.Minute, append(services, "gateway", "prometheus")...)
	for name := range s.Project.Services {
		if r.all[name] == nil && notRun[name] == "" {
			t.Errorf("%s was not run", name)
		}
	}

	g := &secretsOf{all: []string{canary}}
	alice, bob := g.join(t, gateway, "alice"), g.join(t, gateway, "bob")
	direct, _, err := alice.Direct(t.Context(), bob.User().ID)
	if err != nil {
		t.Fatal(err)
	}
	speaks, hears := live(t, alice, direct.ID), live(t, bob, direct.ID)
	say := func(words string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		if _, err := speaks.Send(ctx, client.Outgoing{Chat: direct.ID, Text: words}); err != nil {
			t.Fatalf("%q: %v", words, err)
		}
		hear(ctx, t, hears, words)
	}
	say(text("over everything"))
	// One of everything is taken away, and they go on.
	for _, service := range []string{"edge-1", "api-1", "fanout-1", "persister-1", "presence-1", "nats-1"} {
		if _, err := r.all[service].Stop(time.Duration(*s.Project.Services[service].StopGracePeriod)); err != nil {
			t.Error(err)
		}
	}
	say(text("over what is left"))
	page, err := bob.Messages(t.Context(), direct.ID, client.Range{})
	if err != nil || len(page.Messages) != 3 {
		t.Errorf("history: %d events, %v; want the creation and two messages", len(page.Messages), err)
	}
	// Prometheus reads each process and says which are gone.
	eventually(t, 2*time.Minute, "Prometheus sees the five processes that are left, and that they are ready", func() bool {
		return query(t, s.Address("prometheus", 9090), `sum(up{job=~"edge|api|fanout|persister|presence"}) == 5 and sum(chatmesh_ready) == 5`) > 0
	})
	eventually(t, 2*time.Minute, "it waits to alert of the five that are not", func() bool {
		return query(t, s.Address("prometheus", 9090), `count(ALERTS{alertname="NodeMissing"}) == 5`) > 0
	})
	for _, p := range r.all {
		if g.in(p.Log()) {
			t.Errorf("%s: a text, a password or a token stands in its log", p.Name)
		}
	}
}

// secretsOf people must not be found in a log.
type secretsOf struct {
	mu  sync.Mutex
	all []string // guarded by mu
}

// join registers somebody.
func (g *secretsOf) join(t *testing.T, address, name string) *client.Client {
	t.Helper()
	c, err := client.Register(t.Context(), "http://"+address, client.Account{Username: name + "_" + random(6), Password: canary + random(6)},
		client.WithTokenHook(func(tokens client.Tokens) {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.all = append(g.all, tokens.Access, tokens.Refresh)
		}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// in tells whether a log holds one of them.
func (g *secretsOf) in(log string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.ContainsFunc(g.all, func(secret string) bool { return secret != "" && strings.Contains(log, secret) })
}

// live connects a device of somebody.
func live(t *testing.T, c *client.Client, id chat.ID) *client.Conn {
	t.Helper()
	conn, err := c.Connect(t.Context(), client.ConnConfig{Cursors: map[chat.ID]chat.Seq{id: 1}, PingEvery: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// hear reads what a device gets until words come.
func hear(ctx context.Context, t *testing.T, conn *client.Conn, words string) {
	t.Helper()
	for {
		u, err := conn.Next(ctx)
		if err != nil {
			t.Fatalf("nobody hears %q: %v", words, err)
		}
		if u.Event != nil && u.Event.Text == words {
			return
		}
	}
}

// query asks Prometheus and returns how many series the answer has.
func query(t *testing.T, address, expression string) int {
	t.Helper()
	res, err := http.Get("http://" + address + "/api/v1/query?query=" + url.QueryEscape(expression))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var answer struct {
		Status, Error string
		Data          struct{ Result []any }
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil || answer.Status != "success" {
		t.Fatalf("Prometheus: %v, %s %s", err, answer.Status, answer.Error)
	}
	return len(answer.Data.Result)
}

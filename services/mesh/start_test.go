package mesh

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/chatmesh/chatmesh/pkg/config"
	"github.com/chatmesh/chatmesh/pkg/meshtest"
	"github.com/chatmesh/chatmesh/pkg/meshtest/cqltest"
	"github.com/chatmesh/chatmesh/pkg/meshtest/leaks"
	"github.com/chatmesh/chatmesh/pkg/store"
)

func TestMain(m *testing.M) {
	code := cqltest.Main(m)
	if code == 0 {
		if err := leaks.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// settings are those of a process on an external broker.
func settings(t *testing.T, node, url string) *config.Settings {
	t.Helper()
	return &config.Settings{Listen: "127.0.0.1:0", AdminListen: "127.0.0.1:0", NATSListen: "127.0.0.1:0", Data: filepath.Join(t.TempDir(), "data"),
		NATSURL: config.List{url}, MaxConnections: 1000, Rebalance: config.On, RateLimits: config.Off, LogSync: config.SyncAlways, Node: node, Partitions: 2, Replicas: 1,
		LogRetention: time.Hour, PresenceTTL: 5 * time.Second, AccessTokenTTL: time.Hour, SessionTTL: 2 * time.Hour, ShutdownGrace: 2 * time.Second,
		ScyllaKeyspace: "chatmesh", ScyllaReplication: 1, LogFormat: "text", LogLevel: "info"}
}

// process is a mesh that runs.
type process struct {
	*Mesh
	t    *testing.T
	done chan error
	stop func() error
	// refused says that the end with an error is what the test wants.
	refused bool

	mu  sync.Mutex // guards log
	log bytes.Buffer
}

// Write takes what is logged.
func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.Write(b)
}

func (p *process) logged() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

func launch(t *testing.T, c *config.Settings, services ...Service) *process {
	t.Helper()
	p := &process{t: t, done: make(chan error, 1)}
	m, err := New(c, "1.0.0", slog.New(slog.NewTextHandler(p, nil)), services...)
	if err != nil {
		t.Fatal(err)
	}
	p.Mesh = m
	ctx, cancel := context.WithCancel(context.Background())
	go func() { p.done <- m.Run(ctx, io.Discard) }()
	p.stop = sync.OnceValue(func() error { cancel(); return <-p.done })
	t.Cleanup(func() {
		if err := p.stop(); err != nil && !p.refused {
			t.Errorf("%v: %v", services, err)
		}
		http.DefaultClient.CloseIdleConnections()
	})
	return p
}

// get asks the operators' address.
func (p *process) get(path string) (status int, body string) {
	p.t.Helper()
	r, err := http.Get("http://" + p.admin.Addr().String() + path)
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = r.Body.Close() }()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return r.StatusCode, string(b)
}

// waitsFor waits until /readyz names something, while /healthz says that the process lives.
func (p *process) waitsFor(what string) {
	p.t.Helper()
	meshtest.Eventually(p.t, meshtest.Patience, "/readyz names "+what, func() bool {
		if status, _ := p.get("/healthz"); status != http.StatusOK {
			p.t.Fatalf("/healthz: got %d; want 200", status)
		}
		status, body := p.get("/readyz")
		var a struct{ Waiting []string }
		if err := json.Unmarshal([]byte(body), &a); err != nil {
			p.t.Fatal(err)
		}
		return status == http.StatusServiceUnavailable && strings.Contains(strings.Join(a.Waiting, "; "), what)
	})
}

// refuses waits until the process has ended by itself, with a reason.
func (p *process) refuses(why error) {
	p.t.Helper()
	p.refused = true
	select {
	case err := <-p.done:
		if !errors.Is(err, why) {
			p.t.Errorf("got %v; want %v", err, why)
		}
		p.done <- err
	case <-time.After(meshtest.Patience):
		p.t.Errorf("it goes on; want %v", why)
	}
}

func (p *process) ready() {
	p.t.Helper()
	last := ""
	defer func() {
		if p.t.Failed() {
			p.t.Log(last)
		}
	}()
	meshtest.Eventually(p.t, meshtest.Patience, "ready", func() bool {
		var status int
		status, last = p.get("/readyz")
		return status == http.StatusOK
	})
}

// guarded is a broker that lets one user in, who may do what perms say.
func guarded(t *testing.T, port int, dir, password string, perms *server.Permissions) *server.Server {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: port, JetStream: true, StoreDir: dir, NoSigs: true, NoLog: true,
		Users: []*server.User{{Username: "chatmesh", Password: password, Permissions: perms}}})
	if err != nil {
		t.Fatal(err)
	}
	go s.Start() // ends with Shutdown
	if !s.ReadyForConnections(meshtest.Patience) {
		t.Fatal("the broker is not ready")
	}
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	return s
}

func TestServicesStartInAnyOrderAndWaitForTheBrokerAndForEachOther(t *testing.T) {
	broker := meshtest.NewBroker(t)
	url := broker.ClientURL()
	broker.Stop()
	fan := launch(t, settings(t, "f1", url), FanOut)
	edge := launch(t, settings(t, "e1", url), Edge)
	fan.waitsFor("broker for fanout")
	edge.waitsFor("broker for edge")
	broker.Start()
	fan.waitsFor("streams: ") // nobody has made them
	pres := launch(t, settings(t, "p1", url), Presence)
	pres.waitsFor("streams: ")
	api := launch(t, settings(t, "a1", url), API)
	for _, p := range []*process{api, fan, edge, pres} {
		p.ready()
	}
	broker.Stop()
	for _, p := range []*process{api, fan, edge, pres} {
		p.waitsFor("broker for ")
	}
	broker.Start()
	for _, p := range []*process{api, fan, edge, pres} {
		p.ready()
	}
	for _, p := range []*process{fan, edge, pres} {
		if _, err := os.Stat(p.c.Data); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%v: got a data folder, %v; want none", p.services, err)
		}
	}
}

func TestAProcessThatWaitsEndsWhenItIsToldTo(t *testing.T) {
	p := launch(t, settings(t, "f1", "nats://127.0.0.1:1"), FanOut)
	p.waitsFor("broker for fanout")
	began := time.Now()
	if err := p.stop(); err != nil || time.Since(began) > meshtest.Patience/2 {
		t.Errorf("got %v after %v; want it to end soon", err, time.Since(began))
	}
}

func TestAWrongPasswordIsSaidOnceAndTheProcessKeepsTrying(t *testing.T) {
	dir := t.TempDir()
	s := guarded(t, server.RANDOM_PORT, dir, "another", nil)
	port := s.Addr().(*net.TCPAddr).Port
	url := strings.Replace(s.ClientURL(), "nats://", "nats://chatmesh:secret-word@", 1)
	p := launch(t, settings(t, "a1", url), API)
	p.waitsFor("Authorization Violation")
	meshtest.Eventually(t, meshtest.Patience, "several attempts", func() bool {
		v, err := s.Varz(nil)
		return err == nil && v.TotalConnections > 8
	})
	for _, connection := range []string{"api", "persister"} {
		if n := strings.Count(p.logged(), "service="+connection+" error=\"nats: Authorization Violation"); n != 1 {
			t.Errorf("%s: the log says it %d times; want once:\n%s", connection, n, p.logged())
		}
	}
	s.Shutdown()
	s.WaitForShutdown()
	guarded(t, port, dir, "secret-word", nil)
	p.ready()
	_, waiting := p.get("/readyz")
	if strings.Contains(p.logged()+waiting, "secret-word") {
		t.Error("the password is in the log or in /readyz")
	}
}

func TestAPermissionThatIsMissingIsNamedOnceAndTheProcessKeepsTrying(t *testing.T) {
	dir := t.TempDir()
	s := guarded(t, server.RANDOM_PORT, dir, "w", &server.Permissions{Publish: &server.SubjectPermission{Deny: []string{"$JS.API.STREAM.CREATE.>"}}})
	port := s.Addr().(*net.TCPAddr).Port
	p := launch(t, settings(t, "a1", strings.Replace(s.ClientURL(), "nats://", "nats://chatmesh:w@", 1)), API)
	p.waitsFor("streams: ")
	p.waitsFor("the broker denies: ")
	_, body := p.get("/readyz")
	if !strings.Contains(body, "$JS.API.STREAM.CREATE.CHAT_0") {
		t.Errorf("got %s; want the subject named", body)
	}
	if n := strings.Count(p.logged(), "STREAM.CREATE.CHAT_0"); n != 1 {
		t.Errorf("the log says it %d times; want once:\n%s", n, p.logged())
	}
	s.Shutdown()
	s.WaitForShutdown()
	guarded(t, port, dir, "w", nil)
	p.ready()
}

func TestEveryCallOfAStoreWaitsForTheGate(t *testing.T) {
	g := &gate{opened: make(chan struct{})}
	typ := reflect.TypeFor[store.Store]()
	for i := range typ.NumMethod() {
		name := typ.Method(i).Name
		if name == "Ping" || name == "Close" {
			continue
		}
		f := reflect.ValueOf(g).MethodByName(name)
		var in []reflect.Value
		for a := range f.Type().NumIn() {
			if f.Type().IsVariadic() && a == f.Type().NumIn()-1 {
				break
			}
			in = append(in, reflect.Zero(f.Type().In(a)))
		}
		out := f.Call(in) // of what is not gated the nil store panics
		if err, _ := out[len(out)-1].Interface().(error); !errors.Is(err, errClosedGate) {
			t.Errorf("%s: got %v; want it refused", name, err)
		}
	}
}

// The broker may take minutes to read a long log, but not to say that it cannot.
func TestABrokerThatCannotStartSaysWhyAndIsNotWaitedFor(t *testing.T) {
	c := settings(t, "n", "")
	c.NATSURL = nil
	if err := os.MkdirAll(c.Data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(c.Data, "nats"), []byte("a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	if m, err := New(c, "0.0.0-test", meshtest.Logger(t), All...); err == nil || !strings.Contains(err.Error(), "the broker cannot start: ") {
		if m != nil {
			m.close()
		}
		t.Errorf("got %v; want the broker's reason", err)
	}
}

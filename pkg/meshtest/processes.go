package meshtest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/meshtest/free"
)

// Processes are three brokers, each a process of its own, that keep three copies of everything and sync always. They can be killed
// and paused. A test binary that uses them calls ServeIfChild first of all in its TestMain: the brokers are copies of it.
type Processes struct {
	children []*child
}

// child is a broker process.
type child struct {
	spec  spec
	cmd   *exec.Cmd
	stdin io.Closer
}

// spec is what a broker process is told.
type spec struct {
	Name, Dir     string
	Port, Cluster int
	Routes        []string
}

// childEnv holds the spec of a broker process.
const childEnv = "MESHTEST_BROKER"

// childReady is the line that a broker process prints once it listens.
const childReady = "broker is ready"

// ServeIfChild is a broker until it is ended, and does not return, in a process that Processes has started; elsewhere it does
// nothing.
func ServeIfChild() {
	text := os.Getenv(childEnv)
	if text == "" {
		return
	}
	if err := serve(text); err != nil {
		fmt.Fprintln(os.Stderr, "broker: "+err.Error())
		os.Exit(1)
	}
	os.Exit(0)
}

func serve(text string) error {
	var sp spec
	if err := json.Unmarshal([]byte(text), &sp); err != nil {
		return err
	}
	s, err := server.NewServer(&server.Options{ServerName: sp.Name, Host: "127.0.0.1", Port: sp.Port, JetStream: true, StoreDir: sp.Dir,
		SyncAlways: true, NoSigs: true, NoLog: true, RoutesStr: strings.Join(sp.Routes, ","), Routes: server.RoutesFromStr(strings.Join(sp.Routes, ",")),
		Cluster: server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: sp.Cluster}})
	if err != nil {
		return err
	}
	go s.Start() // ends with the process
	if !s.ReadyForConnections(clusterStart) {
		return fmt.Errorf("not ready on port %d", sp.Port)
	}
	fmt.Println(childReady)
	_, _ = io.Copy(io.Discard, os.Stdin) // it ends with whoever started it
	s.Shutdown()
	s.WaitForShutdown()
	return nil
}

// StartProcesses starts three brokers. Close ends them; their folders, and what is said, are of t.
func StartProcesses(t testing.TB) *Processes {
	t.Helper()
	p := &Processes{}
	ports, err := free.Ports(6)
	if err != nil {
		t.Fatal(err)
	}
	var routes []string
	for _, port := range ports[:3] {
		routes = append(routes, fmt.Sprintf("nats://127.0.0.1:%d", port))
	}
	for i := range 3 {
		dir, err := os.MkdirTemp("", "broker")
		if err != nil {
			t.Fatalf("broker %d: %v", i, err)
		}
		p.children = append(p.children, &child{spec: spec{Name: fmt.Sprint("n", i), Dir: dir, Port: ports[3+i], Cluster: ports[i], Routes: routes}})
		p.Start(t, i)
	}
	b := p.Bus(t)
	Eventually(t, clusterStart, "the cluster has a leader", func() bool {
		_, err := b.JetStream().AccountInfo(t.Context())
		return err == nil
	})
	return p
}

// Start starts broker i, again on the same folder and ports, and waits until it listens.
func (p *Processes) Start(t testing.TB, i int) {
	t.Helper()
	c := p.children[i]
	text, err := json.Marshal(c.spec)
	if err != nil {
		t.Fatalf("broker %d: %v", i, err)
	}
	c.cmd = exec.Command(os.Args[0])
	c.cmd.Env = append(os.Environ(), childEnv+"="+string(text))
	c.cmd.Stderr = os.Stderr
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		t.Fatalf("broker %d: %v", i, err)
	}
	out, err := c.cmd.StdoutPipe()
	if err == nil {
		err = c.cmd.Start()
	}
	if err != nil {
		t.Fatalf("broker %d: %v", i, err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); strings.TrimSpace(line) != childReady {
		t.Fatalf("broker %d: it says %q, %v", i, line, err)
	}
}

// Kill ends broker i without a chance to say anything.
func (p *Processes) Kill(i int) {
	c := p.children[i]
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait()
	_ = c.stdin.Close()
}

// Pause stops broker i as it is; Continue lets it go on.
func (p *Processes) Pause(i int) error { return p.children[i].cmd.Process.Signal(syscall.SIGSTOP) }

// Continue lets a paused broker go on.
func (p *Processes) Continue(i int) error { return p.children[i].cmd.Process.Signal(syscall.SIGCONT) }

// Close ends all brokers and removes their folders.
func (p *Processes) Close() {
	for i, c := range p.children {
		_ = p.Continue(i) // where it is paused
		p.Kill(i)
		_ = os.RemoveAll(c.spec.Dir)
	}
}

// Bus connects to any of the brokers.
func (p *Processes) Bus(t testing.TB) *bus.Bus {
	t.Helper()
	return p.bus(t, p.children)
}

// BusAt connects to broker i.
func (p *Processes) BusAt(t testing.TB, i int) *bus.Bus {
	t.Helper()
	return p.bus(t, p.children[i:i+1])
}

// Name is the name of broker i.
func (p *Processes) Name(i int) string { return p.children[i].spec.Name }

func (p *Processes) bus(t testing.TB, children []*child) *bus.Bus {
	t.Helper()
	var urls []string
	for _, c := range children {
		urls = append(urls, fmt.Sprintf("nats://127.0.0.1:%d", c.spec.Port))
	}
	b, err := bus.Connect(bus.Config{Name: t.Name(), URL: strings.Join(urls, ","), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatalf("bus: %v", err)
	}
	t.Cleanup(b.Close)
	Eventually(t, clusterStart, "a broker answers", func() bool { return b.Check(t.Context()) == nil })
	return b
}

package e2e

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chatmesh/chatmesh/e2e/cluster"
	"github.com/chatmesh/chatmesh/e2e/program"
)

// soakFault is something that goes wrong, and is put right before do returns.
type soakFault struct {
	name string
	do   func() error
}

// mesh is what a soak runs on.
type soakMesh interface {
	// faults are those that it can be put through.
	faults() []soakFault
	// edges are where clients connect at the moment; the first answers HTTP as well.
	edges() []string
	// verify has chatmesh verify all chats, and stores are the folders of the brokers' streams.
	verify() error
	stores() []soakStore
	// finish ends everything and lists what is wrong with it, and errors that were logged.
	finish() (problems, errors []string)
}

// soakStore is the folder of a broker's streams.
type soakStore struct {
	dir string
	// away says that other brokers may have gone on while this one was ended or paused.
	away bool
}

// soakProcess is a process of chatmesh that is ended and started again.
type soakProcess struct {
	cfg   program.Config
	guard func(*program.Program)
	p     *program.Program
	// problems are those of the processes before this one, errors what they logged as one.
	problems, errors []string
}

func (s *soakProcess) start() error {
	p, err := program.Launch(s.cfg)
	if err != nil {
		return err
	}
	s.p = p
	if s.guard != nil {
		s.guard(p)
	}
	return nil
}

// kill ends the process with SIGKILL and starts it again.
func (s *soakProcess) kill() error {
	s.p.Kill()
	return s.terminate()
}

// terminate ends the process with SIGTERM, if it runs, and starts it again.
func (s *soakProcess) terminate() error {
	s.finish()
	return s.start()
}

// finish ends the process, and lists what was wrong with it and those before it.
func (s *soakProcess) finish() []string {
	s.problems = append(s.problems, s.p.Finish()...)
	for line := range strings.Lines(s.p.Log()) {
		if strings.Contains(line, "level=ERROR") && len(s.errors) < errorsKept {
			s.errors = append(s.errors, strings.TrimSpace(line))
		}
	}
	return s.problems
}

// errorsKept is how many errors of a process are told when a soak fails.
const errorsKept = 50

// frozen is for how long a process is stopped: 1 to 5 s, seldom the longest.
func frozen(r *rand.Rand) time.Duration {
	return time.Second + time.Duration(r.IntN(5)*r.IntN(1000))*time.Millisecond
}

// together is everything in one process.
type together struct {
	r    *rand.Rand
	main soakProcess
}

func newTogether(t *testing.T, r *rand.Rand) *together {
	t.Helper()
	m := &together{r: r, main: soakProcess{cfg: program.Config{Data: t.TempDir(), Args: []string{"--access-token-ttl", "24h"}}}}
	if err := m.main.start(); err != nil {
		t.Fatal(err)
	}
	return m
}

func (m *together) faults() []soakFault {
	return []soakFault{
		{"kill", m.main.kill},
		{"terminate", m.main.terminate},
		{"freeze", func() error { return cluster.Freeze(m.main.p.PID(), frozen(m.r)) }},
	}
}

func (m *together) edges() []string { return []string{m.main.p.Client} }

func (m *together) finish() (problems, errors []string) { return m.main.finish(), m.main.errors }

func (m *together) verify() error { return verifyAt(m.main.p.NATS) }

func (m *together) stores() []soakStore {
	return []soakStore{{dir: filepath.Join(m.main.cfg.Data, "nats")}}
}

// apart is a broker, all services in one process, and a second edge.
type apart struct {
	r          *rand.Rand
	broker     *soakBroker
	main, edge soakProcess
}

func newApart(t *testing.T, r *rand.Rand) *apart {
	t.Helper()
	m := &apart{r: r, broker: newBroker(t, r)}
	if err := m.broker.start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.broker.kill) // does nothing where finish came first
	external := []string{"--access-token-ttl", "24h", "--nats-url", m.broker.url()}
	m.main.cfg = program.Config{Data: t.TempDir(), Args: external}
	m.edge.cfg = program.Config{Data: t.TempDir(), Args: append(external[:len(external):len(external)], "edge")}
	for _, p := range []*soakProcess{&m.main, &m.edge} {
		if err := p.start(); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

func (m *apart) faults() []soakFault {
	return []soakFault{
		{"kill the broker", m.broker.again},
		{"freeze the broker", func() error { return cluster.Freeze(m.broker.cmd.Process.Pid, frozen(m.r)) }},
		{"kill the services", m.main.kill},
		{"terminate the services", m.main.terminate},
		{"freeze the services", func() error { return cluster.Freeze(m.main.p.PID(), frozen(m.r)) }},
		{"kill an edge", m.edge.kill},
		{"freeze an edge", func() error { return cluster.Freeze(m.edge.p.PID(), frozen(m.r)) }},
	}
}

func (m *apart) edges() []string { return []string{m.main.p.Client, m.edge.p.Client} }

func (m *apart) finish() (problems, errors []string) {
	problems = append(m.edge.finish(), m.main.finish()...)
	m.broker.kill()
	return problems, append(m.edge.errors, m.main.errors...)
}

func (m *apart) verify() error { return verifyAt(m.broker.url()) }

func (m *apart) stores() []soakStore { return []soakStore{{dir: m.broker.data}} }

// soakBroker is a broker as a process of its own, on one port for its whole life.
type soakBroker struct {
	path, data string
	port       int
	cmd        *exec.Cmd
	mu         sync.Mutex // guards log
	log        bytes.Buffer
}

func newBroker(t *testing.T, r *rand.Rand) *soakBroker {
	t.Helper()
	b := &soakBroker{path: filepath.Join(t.TempDir(), "brokerd"), data: t.TempDir()}
	if out, err := exec.Command("go", "build", "-o", b.path, "./brokerd").CombinedOutput(); err != nil {
		t.Fatalf("build of the broker: %v\n%s", err, out)
	}
	b.port = freePort(t)
	return b
}

func (b *soakBroker) url() string { return fmt.Sprintf("nats://127.0.0.1:%d", b.port) }

func (b *soakBroker) start() error {
	b.cmd = exec.Command(b.path, "--port", fmt.Sprint(b.port), "--data", b.data)
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	b.cmd.Stdout, b.cmd.Stderr = b, b
	if err := b.cmd.Start(); err != nil {
		return fmt.Errorf("broker: %w", err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if c, err := net.Dial("tcp", strings.TrimPrefix(b.url(), "nats://")); err == nil {
			return c.Close()
		}
		if time.Now().After(deadline) {
			b.kill()
			b.mu.Lock()
			defer b.mu.Unlock()
			return fmt.Errorf("broker: not ready:\n%s", b.log.String())
		}
	}
}

// Write keeps what the broker says.
func (b *soakBroker) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.log.Write(p)
}

func (b *soakBroker) kill() {
	if b.cmd.ProcessState != nil {
		return
	}
	_ = b.cmd.Process.Kill() // fails where it has ended
	_ = b.cmd.Wait()         // its error is the signal
}

// again kills the broker and starts it on its data.
func (b *soakBroker) again() error {
	b.kill()
	return b.start()
}

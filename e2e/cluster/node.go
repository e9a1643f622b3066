package cluster

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/chatmesh/chatmesh/e2e/program"
	"github.com/chatmesh/chatmesh/pkg/meshtest/free"
)

// Node is a process of chatmesh, at the same addresses for its whole life. Its methods are not called at the same time.
type Node struct {
	Service, Name string

	cfg program.Config
	// client and admin are its addresses, HOST:PORT.
	client, admin string
	p             *program.Program
	problems      []string
	errors        []string

	mu      sync.Mutex // guards secrets
	secrets []string
}

func (c *Cluster) newNode(service, name string) (*Node, error) {
	n := &Node{Service: service, Name: name}
	var err error
	if n.client, err = free.Address(); err != nil {
		return nil, err
	}
	if n.admin, err = free.Address(); err != nil {
		return nil, err
	}
	args := append(c.broker(service), "--node", name)
	if service == "api" || service == "persister" {
		args = append(args, c.scylla()...)
	}
	args = append(append(args, c.cfg.Args...), service)
	n.cfg = program.Config{Data: filepath.Join(c.cfg.Dir, "none"), Listen: n.client, AdminListen: n.admin, NoRace: c.cfg.NoRace, Args: args}
	return n, nil
}

// Start starts the process; it does not wait until it is ready.
func (n *Node) Start() error {
	p, err := program.Begin(n.cfg)
	if err != nil {
		return fmt.Errorf("cluster: %s: %w", n.Name, err)
	}
	n.p = p
	n.guard(nil)
	return nil
}

// Program is the process that runs, nil for none.
func (n *Node) Program() *program.Program { return n.p }

// Kill ends the process without a word, and starts it again.
func (n *Node) Kill() error {
	n.p.Kill()
	return n.Terminate()
}

// Terminate ends the process with SIGTERM, if it runs, and starts it again.
func (n *Node) Terminate() error {
	n.finish()
	return n.Start()
}

// Ready waits until the process says that it is ready.
func (n *Node) Ready(within time.Duration) error { return n.p.AwaitReadyz(within) }

// Freeze pauses the process.
func (n *Node) Freeze(d time.Duration) error { return Freeze(n.p.PID(), d) }

func (n *Node) guard(more []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.secrets = append(n.secrets, more...)
	if n.p != nil {
		n.p.Guard(n.secrets...)
	}
}

// errorsKept is how many errors of a process are kept.
const errorsKept = 20

// finish ends the process, and lists what was wrong with it and those before it.
func (n *Node) finish() []string {
	if n.p == nil {
		return n.problems
	}
	n.problems = append(n.problems, n.p.Finish()...)
	for line := range strings.Lines(n.p.Log()) {
		if strings.Contains(line, "level=ERROR") && len(n.errors) < errorsKept {
			n.errors = append(n.errors, strings.TrimSpace(line))
		}
	}
	n.p = nil
	return n.problems
}

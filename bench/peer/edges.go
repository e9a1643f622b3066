package peer

import (
	"context"
	"errors"
	"os/exec"
	"strconv"
	"syscall"

	"github.com/chatmesh/chatmesh/bench/driver"
	"github.com/chatmesh/chatmesh/pkg/meshtest/free"
)

// Edge connects people of a chatmesh to one of its edges.
type Edge struct{ chatmeshClients }

// EdgeAt returns the edge at an address, with a loop of its own.
func EdgeAt(address string) (*Edge, error) {
	loop, err := driver.NewLoop()
	if err != nil {
		return nil, err
	}
	e := &Edge{}
	e.loop, e.address = loop, address
	return e, nil
}

// Dial connects somebody, as a Server does.
func (e *Edge) Dial(ctx context.Context, p Person, sink driver.Sink) (driver.Conn, error) {
	return e.hello(ctx, p, `{"type":"hello"}`, sink)
}

// Close closes all connections.
func (e *Edge) Close() error { return e.loop.Close() }

// Mesh is a chatmesh with several edges: one process is everything, the others are edges only.
type Mesh struct {
	Server
	// Addresses are those of the edges.
	Addresses []string

	edges []*process
}

// StartMesh starts a mesh of so many people and edges, with its state in dir.
func StartMesh(ctx context.Context, dir string, people, edges int) (_ *Mesh, err error) {
	program, err := goBuild(ctx, chatmeshProgram)
	if err != nil {
		return nil, err
	}
	broker, err := free.Address()
	if err != nil {
		return nil, err
	}
	main, err := launchChatmesh(ctx, program, dir, people, "--nats-listen", broker, "--rebalance", "off")
	if err != nil {
		return nil, err
	}
	m := &Mesh{Server: main, Addresses: []string{main.address}}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.Stop())
		}
	}()
	for len(m.Addresses) < edges {
		cmd := exec.Command(program, "edge", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--nats-url", "nats://"+broker,
			"--rate-limits", "off", "--rebalance", "off", "--log-level", "warn")
		p, err := startProcess(cmd, dir, "edge"+strconv.Itoa(len(m.Addresses)))
		if err != nil {
			return nil, err
		}
		m.edges = append(m.edges, p)
		edge := &chatmeshServer{process: p, client: main.client}
		if err := edge.ready(ctx); err != nil {
			return nil, err
		}
		m.Addresses = append(m.Addresses, edge.address)
	}
	return m, nil
}

// Stop ends the edges, then the rest.
func (m *Mesh) Stop() error {
	var errs []error
	for _, p := range m.edges {
		errs = append(errs, p.stop(syscall.SIGTERM))
	}
	return errors.Join(append(errs, m.Server.Stop())...)
}

package peer

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"

	"github.com/chatmesh/chatmesh/bench/driver"
	"github.com/chatmesh/chatmesh/pkg/meshtest/free"
)

// HubLean is a relay that writes all that waits for a connection at once: the floor.
func HubLean() System {
	return System{Name: "hub-lean", Durable: None, About: "bare gorilla relay, coalesced writes: the floor", Start: startRelay("hub")}
}

// HubPlain is a relay as it is usually written.
func HubPlain() System {
	return System{Name: "hub-plain", Durable: None, About: "bare gorilla relay as usually written", Start: startRelay("hub", "-plain")}
}

// JetStreamSingle is an edge that publishes each message by itself to a log that is synced.
func JetStreamSingle() System {
	return System{Name: "jetstream-single", Durable: Disk, About: "bare edge over JetStream R1, synced, one by one", Start: startRelay("jsedge", "-data", "DIR")}
}

// relayServer is a server that believes people who they are.
type relayServer struct {
	served
	clients chatmeshClients
	names   atomic.Uint32
}

// startRelay starts bench/servers/NAME. DIR in args is the folder of its state.
func startRelay(name string, args ...string) func(context.Context, string) (Server, error) {
	b := &build{pkg: "./bench/servers/" + name}
	return func(ctx context.Context, dir string) (Server, error) {
		program, err := b.get(ctx)
		if err != nil {
			return nil, err
		}
		address, err := free.Address()
		if err != nil {
			return nil, err
		}
		args := append([]string{"-listen", address}, args...)
		for i := range args {
			if args[i] == "DIR" {
				args[i] = filepath.Join(dir, "data")
			}
		}
		s, err := serve(ctx, exec.Command(program, args...), dir, name, address)
		if err != nil {
			return nil, err
		}
		return &relayServer{served: s, clients: chatmeshClients{loop: s.loop, address: s.address}}, nil
	}
}

// People is of Server.
func (s *relayServer) People(_ context.Context, n int) ([]Person, error) {
	people := make([]Person, n)
	for i := range people {
		people[i].Name = fmt.Sprintf("u%05d", s.names.Add(1))
	}
	return people, nil
}

// Direct is of Server: the address is the other.
func (s *relayServer) Direct(_ context.Context, a, b Person) (to, back string, err error) {
	return b.Name, a.Name, nil
}

// Group is of Server.
func (s *relayServer) Group(ctx context.Context, members []Person) (string, error) {
	name := fmt.Sprintf("g%05d", s.names.Add(1))
	names := make([]string, len(members))
	for i, m := range members {
		names[i] = m.Name
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+s.address+"/group?name="+name+"&members="+url.QueryEscape(strings.Join(names, ",")), nil)
	if err != nil {
		return "", err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", fmt.Errorf("peer: group: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return "", fmt.Errorf("peer: group: %s", res.Status)
	}
	return name, nil
}

// Dial is of Server.
func (s *relayServer) Dial(ctx context.Context, p Person, sink driver.Sink) (driver.Conn, error) {
	return s.clients.dial(ctx, "/ws?user="+p.Name, nil, "", sink)
}

package peer

import (
	"context"
	"os/exec"

	"github.com/chatmesh/chatmesh/bench/driver"
	"github.com/chatmesh/chatmesh/pkg/meshtest/free"
)

// Centrifuge is a server on the library under Centrifugo: bench/servers/centrifuge.
func Centrifuge() System {
	return System{Name: "centrifuge", Durable: Memory, About: "centrifuge v0.40.1 (the library under Centrifugo), JSON over WebSocket, 16 messages of a channel kept",
		Start: startCentrifuge}
}

type centrifuge struct {
	names
	served
}

func startCentrifuge(ctx context.Context, dir string) (Server, error) {
	program, err := goBuild(ctx, "./bench/servers/centrifuge")
	if err != nil {
		return nil, err
	}
	address, err := free.Address()
	if err != nil {
		return nil, err
	}
	s, err := serve(ctx, exec.Command(program, "--listen", address), dir, "centrifuge", address)
	if err != nil {
		return nil, err
	}
	return &centrifuge{served: s}, nil
}

func (c *centrifuge) Dial(ctx context.Context, p Person, sink driver.Sink) (driver.Conn, error) {
	return c.loop.Centrifuge(ctx, c.address, p.Name, append([]string{p.Name}, c.groupsOf(p)...), sink)
}

package peer

import (
	"context"
	"errors"
	"os/exec"
	"syscall"

	"github.com/chatmesh/chatmesh/bench/driver"
)

// Centrifuge is a server on the library under Centrifugo: bench/servers/centrifuge.
func Centrifuge() System {
	return System{Name: "centrifuge", Durable: Memory, About: "centrifuge v0.40.1 (the library under Centrifugo), JSON over WebSocket, 16 messages of a channel kept",
		Start: startCentrifuge}
}

type centrifuge struct {
	names
	address string
	server  *process
	loop    *driver.Loop
}

func startCentrifuge(ctx context.Context, dir string) (_ Server, err error) {
	program, err := goBuild(ctx, "./bench/servers/centrifuge")
	if err != nil {
		return nil, err
	}
	c := &centrifuge{}
	defer func() {
		if err != nil {
			c.Stop()
		}
	}()
	if c.loop, err = driver.NewLoop(); err != nil {
		return nil, err
	}
	if c.address, err = freeAddress(); err != nil {
		return nil, err
	}
	if c.server, err = startProcess(exec.Command(program, "--listen", c.address), dir, "centrifuge"); err != nil {
		return nil, err
	}
	return c, c.server.listens(ctx, c.address)
}

func (c *centrifuge) PIDs() []int { return c.server.pids() }

func (c *centrifuge) Dial(ctx context.Context, p Person, sink driver.Sink) (driver.Conn, error) {
	return c.loop.Centrifuge(ctx, c.address, p.Name, append([]string{p.Name}, c.groupsOf(p)...), sink)
}

func (c *centrifuge) Stop() error {
	var err error
	if c.loop != nil {
		err = c.loop.Close()
	}
	return errors.Join(err, c.server.stop(syscall.SIGTERM))
}

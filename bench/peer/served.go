package peer

import (
	"context"
	"errors"
	"os/exec"
	"syscall"

	"github.com/chatmesh/chatmesh/bench/driver"
)

// served is a program that listens, and the loop of those who connect to it.
type served struct {
	process *process
	address string
	loop    *driver.Loop
}

// serve starts a program as startProcess does, and returns when it takes connections at the address.
func serve(ctx context.Context, cmd *exec.Cmd, dir, name, address string) (served, error) {
	p, err := startProcess(cmd, dir, name)
	if err != nil {
		return served{}, err
	}
	s := served{process: p, address: address}
	if err = p.listens(ctx, address); err == nil {
		s.loop, err = driver.NewLoop()
	}
	if err != nil {
		return served{}, errors.Join(err, p.stop(syscall.SIGTERM))
	}
	return s, nil
}

// PIDs is of Server.
func (s *served) PIDs() []int { return s.process.pids() }

// Stop is of Server.
func (s *served) Stop() error { return errors.Join(s.loop.Close(), s.process.stop(syscall.SIGTERM)) }

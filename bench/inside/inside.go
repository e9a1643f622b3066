// Package inside starts a chatmesh within this process, so that its processor time, memory and allocations are those of the process. It
// promises that what it started has ended when Stop returns.
package inside

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"sync"

	"github.com/chatmesh/chatmesh/pkg/config"
	"github.com/chatmesh/chatmesh/services/mesh"
)

// Mesh is services that run, with the broker and the store.
type Mesh struct {
	// URL is where clients call the API, Admin where operators look, Broker where NATS is.
	URL, Admin, Broker string
	Partitions         int
	// Stop ends it, and returns why it ended. It may be called again.
	Stop func() error
}

// readyLine has the addresses that a mesh tells when it is ready.
var readyLine = regexp.MustCompile(`open (http://\S+)/ \(admin (http://\S+)/, (nats://[^\s)]+)`)

// Start starts services of which one is the API, with the broker and the store under dir, and returns when they are ready. args are
// settings beside those that are the same for all.
func Start(ctx context.Context, dir string, args []string, services ...mesh.Service) (*Mesh, error) {
	var cli struct{ config.Settings }
	if _, err := config.Parse(append([]string{"--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0", "--nats-listen=127.0.0.1:0", "--rate-limits=off",
		"--data=" + dir}, args...), &cli); err != nil {
		return nil, err
	}
	m, err := mesh.New(&cli.Settings, "0.0.0-bench", slog.New(slog.DiscardHandler), services...)
	if err != nil {
		return nil, err
	}
	back, cancel := context.WithCancel(context.WithoutCancel(ctx))
	said, ended := make(lines, 1), make(chan struct{})
	var endErr error
	go func() { defer close(ended); endErr = m.Run(back, said) }()
	stop := sync.OnceValue(func() error { cancel(); <-ended; return endErr })
	select {
	case line := <-said:
		found := readyLine.FindStringSubmatch(line)
		if found == nil {
			return nil, errors.Join(fmt.Errorf("a mesh said %q", line), stop())
		}
		return &Mesh{URL: found[1], Admin: found[2], Broker: found[3], Partitions: cli.Partitions, Stop: stop}, nil
	case <-ended:
		cancel()
		return nil, errors.Join(errors.New("the mesh ended"), endErr)
	case <-ctx.Done():
		return nil, errors.Join(ctx.Err(), stop())
	}
}

// lines takes what is written, as much as it holds.
type lines chan string

// Write takes a line, or drops it.
func (l lines) Write(b []byte) (int, error) {
	select {
	case l <- string(b):
	default:
	}
	return len(b), nil
}

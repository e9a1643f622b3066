package peer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"github.com/chatmesh/chatmesh/bench/driver"
	"github.com/chatmesh/chatmesh/pkg/meshtest/free"
)

// SocketIO is a server on socket.io, in one process of Node: bench/servers/socketio.
func SocketIO() System {
	return System{Name: "socketio", Durable: None, About: "socket.io 4.8 on Node, WebSocket only, rooms and callbacks, with bufferutil",
		Setup: setUpSocketIO, Start: startSocketIO}
}

func socketIOFolder() string { return filepath.Join(root(), "bench", "servers", "socketio") }

// setUpSocketIO installs what the lock file says, where that has changed.
func setUpSocketIO(ctx context.Context) error {
	npm, err := exec.LookPath("npm")
	if err != nil {
		return errors.New("peer: socketio needs Node.js 20 or later with npm, see https://nodejs.org: leave it out with --systems")
	}
	dir, err := cache()
	if err != nil {
		return err
	}
	unlock, err := lock(filepath.Join(dir, "socketio.lock"))
	if err != nil {
		return err
	}
	defer unlock()
	folder := socketIOFolder()
	wanted, err := os.Stat(filepath.Join(folder, "package-lock.json"))
	if err != nil {
		return fmt.Errorf("peer: socketio: %w", err)
	}
	if got, err := os.Stat(filepath.Join(folder, "node_modules", ".package-lock.json")); err == nil && !got.ModTime().Before(wanted.ModTime()) {
		return nil
	}
	cmd := exec.CommandContext(ctx, npm, "ci", "--ignore-scripts", "--no-fund", "--no-audit") // bufferutil comes built
	cmd.Dir = folder
	_, err = run(cmd)
	return err
}

type socketIO struct {
	names
	served
}

func startSocketIO(ctx context.Context, dir string) (Server, error) {
	port, err := free.Port()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("node", filepath.Join(socketIOFolder(), "server.js"), strconv.Itoa(port))
	cmd.Env = append(os.Environ(), "NODE_ENV=production")
	s, err := serve(ctx, cmd, dir, "socketio", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return nil, err
	}
	return &socketIO{served: s}, nil
}

func (s *socketIO) Dial(ctx context.Context, p Person, sink driver.Sink) (driver.Conn, error) {
	return s.loop.SocketIO(ctx, s.address, append([]string{p.Name}, s.groupsOf(p)...), sink)
}

package cqltest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chatmesh/chatmesh/pkg/meshtest/free"
	"github.com/chatmesh/chatmesh/pkg/store/scylla"
)

// Server is a server of one test, which may be paused, ended and started again.
type Server struct {
	// Host is HOST:PORT, the same for the whole life.
	Host         string
	dir, storage string
	env          []string
}

// StartSecure starts a server on free ports that asks for TLS and a password. The test's end ends it.
func StartSecure(t testing.TB) *Server {
	t.Helper()
	dir := t.TempDir()
	s, err := start(dir, "CQL_SECURE=1", "CQL_HEAP=512m")
	if err != nil {
		t.Fatalf("starting a CQL server: got error %v; want none", err)
	}
	t.Cleanup(func() { s.Stop(t) })
	return s
}

// Options are for a keyspace with a new name on the server, with what it asks for. The keyspace is not made.
func (s *Server) Options(t testing.TB) scylla.Options {
	t.Helper()
	o := At(s.Host)
	o.Username, o.PasswordFile, o.CAFile = "cassandra", filepath.Join(s.dir, "password"), filepath.Join(s.dir, "ca.pem")
	if err := os.WriteFile(o.PasswordFile, []byte("cassandra\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return o
}

// Again starts a server that was stopped, on its data.
func (s *Server) Again(t testing.TB) {
	t.Helper()
	if err := s.run(); err != nil {
		t.Fatalf("starting the CQL server again: got error %v; want none", err)
	}
}

// Stop ends the server in an orderly way.
func (s *Server) Stop(t testing.TB) {
	t.Helper()
	if err := s.stop(); err != nil {
		t.Errorf("stopping the CQL server: got error %v; want none", err)
	}
}

// Pause stops the process as it stands: its connections stay open, and nobody answers.
func (s *Server) Pause(t testing.TB) { t.Helper(); s.signal(t, syscall.SIGSTOP) }

// Resume lets the process go on.
func (s *Server) Resume(t testing.TB) { t.Helper(); s.signal(t, syscall.SIGCONT) }

func (s *Server) signal(t testing.TB, sig syscall.Signal) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(s.dir, "pid"))
	if err == nil {
		var pid int
		if pid, err = strconv.Atoi(strings.TrimSpace(string(b))); err == nil {
			err = syscall.Kill(pid, sig)
		}
	}
	if err != nil {
		t.Fatalf("signal: got error %v; want none", err)
	}
}

func start(dir string, env ...string) (*Server, error) {
	ports, err := free.Ports(2)
	if err != nil {
		return nil, err
	}
	s := &Server{Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[0])), dir: dir, storage: strconv.Itoa(ports[1]), env: env}
	return s, s.run()
}

func (s *Server) run() error {
	return script(s.env, "start", s.dir, s.Host, s.storage)
}

func (s *Server) stop() error { return script(nil, "stop", s.dir) }

// script runs scripts/cql. Its output goes to a file, because the server inherits it.
func script(env []string, args ...string) error {
	path, err := find("scripts/cql")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	out, err := os.CreateTemp("", "cql")
	if err != nil {
		return err
	}
	defer func() { _, _ = out.Close(), os.Remove(out.Name()) }()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		said, _ := os.ReadFile(out.Name())
		return fmt.Errorf("%w: %s", err, bytes.TrimSpace(said))
	}
	return nil
}

// find returns the path of a file of the checkout, above the folder in which the test runs.
func find(name string) (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New(name + " is in no folder above this one")
		}
		dir = filepath.Dir(dir)
	}
}

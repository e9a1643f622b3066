package cluster

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/chatmesh/chatmesh/pkg/meshtest/free"
)

// CQL is an Apache Cassandra node, started by scripts/cql, on the same folder and port for its whole life.
type CQL struct {
	// Host is where it answers, HOST:PORT.
	Host    string
	dir     string
	storage string
}

func newCQL(dir string) (*CQL, error) {
	host, err := free.Address()
	if err != nil {
		return nil, err
	}
	storage, err := free.Address()
	if err != nil {
		return nil, err
	}
	_, port, _ := strings.Cut(storage, ":")
	return &CQL{Host: host, dir: dir, storage: port}, nil
}

func (c *CQL) script(args ...string) error {
	cmd := exec.Command(filepath.Join(root(), "scripts", "cql"), args...)
	cmd.Env = append(os.Environ(), "CQL_HEAP=768m")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("cluster: cql %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// Start starts the server and waits until it answers.
func (c *CQL) Start() error { return c.script("start", c.dir, c.Host, c.storage) }

// Stop ends the server.
func (c *CQL) Stop() error { return c.script("stop", c.dir) }

func (c *CQL) pid() (int, error) {
	text, err := os.ReadFile(filepath.Join(c.dir, "pid"))
	if err != nil {
		return 0, fmt.Errorf("cluster: the CQL server does not run: %w", err)
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}

// Kill ends the server without a word.
func (c *CQL) Kill() error {
	pid, err := c.pid()
	if err != nil {
		return err
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		return fmt.Errorf("cluster: kill the CQL server: %w", err)
	}
	for end := time.Now().Add(Within); syscall.Kill(pid, 0) == nil && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
	}
	return os.Remove(filepath.Join(c.dir, "pid"))
}

// Freeze pauses the server.
func (c *CQL) Freeze(d time.Duration) error {
	pid, err := c.pid()
	if err != nil {
		return err
	}
	return Freeze(pid, d)
}

package cluster

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/chatmesh/chatmesh/pkg/meshtest/free"
)

// Broker is a nats-server as a process, on the same folder and ports for its whole life. It is not started twice at once.
type Broker struct {
	Name string
	// Store is the folder of its streams.
	Store string
	addr  string
	path  string
	conf  string
	env   []string
	cmd   *exec.Cmd
	away  bool
	mu    sync.Mutex // guards log
	log   bytes.Buffer
}

// layBrokers gives three brokers the variables of nats/server.conf.
func (c *Cluster) layBrokers() error {
	path := filepath.Join(c.cfg.Dir, "brokerd")
	build := exec.Command("go", "build", "-o", path, "./brokerd")
	build.Dir = filepath.Join(root(), "e2e")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("cluster: build of the broker: %w\n%s", err, out)
	}
	keys, err := os.ReadFile(c.Key("nkeys.env"))
	if err != nil {
		return fmt.Errorf("cluster: %w", err)
	}
	folder := c.cfg.Brokers
	if folder == "" {
		folder = filepath.Join(root(), "nats")
	}
	var routes []string
	for i := range 3 {
		name := fmt.Sprintf("n%d", i+1)
		b := &Broker{Name: name, Store: filepath.Join(c.cfg.Dir, name), path: path, conf: filepath.Join(folder, "server.conf")}
		var addrs [3]string
		for k := range addrs {
			if addrs[k], err = free.Address(); err != nil {
				return err
			}
		}
		b.addr = addrs[0]
		routes = append(routes, "tls://"+addrs[1])
		b.env = append(strings.Fields(string(keys)), "NATS_NAME="+b.Name, "NATS_LISTEN="+addrs[0], "NATS_CLUSTER="+addrs[1], "NATS_MONITOR="+addrs[2],
			"NATS_STORE="+quoted(b.Store), "NATS_MAX_FILE=10GB",
			"NATS_TLS_CERT="+quoted(c.Key(b.Name+".pem")), "NATS_TLS_KEY="+quoted(c.Key(b.Name+"-key.pem")),
			"NATS_TLS_CA="+quoted(c.Key("ca.pem")), "NATS_ROUTE_CERT="+quoted(c.Key(b.Name+"-route.pem")),
			"NATS_ROUTE_KEY="+quoted(c.Key(b.Name+"-route-key.pem")), "NATS_ROUTE_CA="+quoted(c.Key("routes-ca.pem")))
		c.Brokers = append(c.Brokers, b)
	}
	for _, b := range c.Brokers {
		b.env = append(b.env, "NATS_ROUTES=["+strings.Join(routes, ", ")+"]")
	}
	return nil
}

// quoted is a path as the server reads variables: a comma in it would begin another value.
func quoted(path string) string { return strconv.Quote(path) }

func (b *Broker) url() string { return "tls://" + b.addr }

// Start starts the broker and waits until it listens.
func (b *Broker) Start() error {
	b.cmd = exec.Command(b.path, "-c", b.conf)
	b.cmd.Env = append(os.Environ(), b.env...)
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	b.cmd.Stdout, b.cmd.Stderr = b, b
	if err := b.cmd.Start(); err != nil {
		return fmt.Errorf("cluster: broker %s: %w", b.Name, err)
	}
	for end := time.Now().Add(Within); ; time.Sleep(10 * time.Millisecond) {
		if conn, err := net.Dial("tcp", b.addr); err == nil {
			return conn.Close()
		}
		if time.Now().After(end) {
			b.Kill()
			return fmt.Errorf("cluster: broker %s does not listen:\n%s", b.Name, b.Log())
		}
	}
}

// Write keeps what the broker says.
func (b *Broker) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.log.Write(p)
}

// Log is what the broker has said.
func (b *Broker) Log() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.log.String()
}

// WasAway tells whether the broker was ended or paused since it started first, so that the others may have gone on without it.
func (b *Broker) WasAway() bool { return b.away }

// Kill ends the broker without a word.
func (b *Broker) Kill() {
	b.away = true
	if b.cmd == nil || b.cmd.ProcessState != nil {
		return
	}
	_ = b.cmd.Process.Kill() // fails where it has ended
	_ = b.cmd.Wait()         // its error is the signal
}

// Again kills the broker and starts it on its folder.
func (b *Broker) Again() error {
	b.Kill()
	return b.Start()
}

// Terminate asks the broker to end, and starts it again.
func (b *Broker) Terminate() error { return b.leave(syscall.SIGTERM) }

// Update takes the broker down as an update does, and starts it again: its leaders move away, then its clients over half a minute.
func (b *Broker) Update() error { return b.leave(syscall.SIGUSR2) }

func (b *Broker) leave(with syscall.Signal) error {
	b.away = true
	_ = b.cmd.Process.Signal(with)
	done := time.AfterFunc(Within, func() { _ = b.cmd.Process.Kill() })
	_ = b.cmd.Wait()
	done.Stop()
	return b.Start()
}

// Freeze pauses the broker.
func (b *Broker) Freeze(d time.Duration) error {
	b.away = true
	return Freeze(b.cmd.Process.Pid, d)
}

// Freeze pauses a process for a while.
func Freeze(pid int, d time.Duration) error {
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		return fmt.Errorf("cluster: SIGSTOP: %w", err)
	}
	time.Sleep(d)
	if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
		return fmt.Errorf("cluster: SIGCONT: %w", err)
	}
	return nil
}

// Complaints are the lines in which the broker says that it denied something, or that it failed: in a mesh whose roles are right there
// are none.
func (b *Broker) Complaints() (lines []string) {
	for line := range strings.Lines(b.Log()) {
		for _, bad := range []string{"Violation", "panic", "[FTL]", "DATA RACE"} {
			if strings.Contains(line, bad) {
				lines = append(lines, strings.TrimSpace(line))
				break
			}
		}
	}
	return lines
}

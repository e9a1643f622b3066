// Package meshtest gives tests a real broker: an embedded nats-server with JetStream on disk, and connections to it. It
// promises that what it started has ended when the test ends.
package meshtest

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/chatmesh/chatmesh/pkg/bus"
)

// Patience is how long a test waits for what must come before it counts as missing. It is long, and costs nothing where the program is
// right: a machine that does much else, whose disk answers late, under the race detector, must not make a test fail. Only where another,
// later thing would do the same has a test a bound of its own, and it lies between the two.
const Patience = time.Minute

// Broker is a nats-server of a test.
type Broker struct {
	t      testing.TB
	dir    string
	port   int
	always bool
	*server.Server
}

// NewBroker starts a broker that syncs always, on a free port and in a folder of the test.
func NewBroker(t testing.TB) *Broker {
	t.Helper()
	b := &Broker{t: t, dir: t.TempDir(), port: server.RANDOM_PORT, always: true}
	b.Start()
	t.Cleanup(b.Stop)
	return b
}

// Start starts the broker, again on the same folder and port.
func (b *Broker) Start() {
	b.t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: b.port, JetStream: true, StoreDir: b.dir,
		SyncAlways: b.always, NoSigs: true, NoLog: true})
	if err != nil {
		b.t.Fatalf("broker: %v", err)
	}
	go s.Start() // ends with Stop
	if !s.ReadyForConnections(Patience) {
		b.t.Fatalf("broker: not ready within %v", Patience)
	}
	b.Server = s
	if b.port == server.RANDOM_PORT {
		var port int
		if _, err := fmt.Sscanf(s.ClientURL()[strings.LastIndex(s.ClientURL(), ":")+1:], "%d", &port); err != nil {
			b.t.Fatalf("broker: %v", err)
		}
		b.port = port
	}
}

// Stop ends the broker. It can be started again.
func (b *Broker) Stop() {
	b.Server.Shutdown()
	b.Server.WaitForShutdown()
}

// Logger writes to the test's log what is at least a warning.
func Logger(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(writer{t}, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

type writer struct{ t testing.TB }

func (w writer) Write(p []byte) (int, error) {
	w.t.Helper()
	w.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

// Bus connects to the broker.
func (b *Broker) Bus(t testing.TB) *bus.Bus {
	t.Helper()
	c, err := bus.Connect(bus.Config{Name: t.Name(), URL: b.ClientURL(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatalf("bus: %v", err)
	}
	t.Cleanup(c.Close)
	return c
}

// Layout of tests.
func Layout(partitions int) bus.Layout {
	return bus.Layout{Partitions: partitions, Replicas: 1, Retention: time.Hour, PresenceTTL: 2 * time.Minute, TokenTTL: time.Hour}
}

// Ensure makes the streams of a layout.
func Ensure(t testing.TB, b *bus.Bus, l bus.Layout) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	if err := b.Ensure(ctx, l); err != nil {
		t.Fatalf("layout: %v", err)
	}
}

// Eventually polls until ok returns true, or fails the test after the given time.
func Eventually(t testing.TB, within time.Duration, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(within)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", within, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

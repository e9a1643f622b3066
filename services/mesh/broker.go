package mesh

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/chatmesh/chatmesh/pkg/config"
	"github.com/chatmesh/chatmesh/pkg/staging"
)

// brokerStart is how long the embedded broker may take to read its streams and listen. After a clean end that is about 1 s for a million
// chats; after a kill it reads all that is in the log, at the speed of the disk. stillReading is how often it is said that it does.
const (
	brokerStart  = 10 * time.Minute
	stillReading = 10 * time.Second
)

// startBroker starts the embedded nats-server.
func startBroker(c *config.Settings, log *slog.Logger) (*server.Server, error) {
	// The server itself would only log that it cannot listen.
	probe, err := net.Listen("tcp", c.NATSListen)
	if err != nil {
		return nil, fmt.Errorf("the broker cannot listen on %s: %w; --nats-listen sets another address", c.NATSListen, cause(err))
	}
	host, portText, err := net.SplitHostPort(c.NATSListen)
	if err == nil {
		err = probe.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("the broker's address %s: %w; see --nats-listen", c.NATSListen, err)
	}
	port, err := strconv.Atoi(portText)
	if err != nil {
		return nil, fmt.Errorf("the broker's address %s: %w; see --nats-listen", c.NATSListen, err)
	}
	if port == 0 {
		port = server.RANDOM_PORT
	}
	store := filepath.Join(c.Data, "nats")
	staging.Forget(store)
	s, err := server.NewServer(&server.Options{
		ServerName: "chatmesh-" + c.Node, Host: host, Port: port,
		JetStream: true, StoreDir: store,
		SyncAlways: c.LogSync == config.SyncAlways, SyncInterval: 2 * time.Minute,
		NoSigs: true, NoSystemAccount: false, DisableShortFirstPing: true,
	})
	if err != nil {
		return nil, fmt.Errorf("the broker cannot start: %w", err)
	}
	sink := &brokerLog{log: log.With("service", "nats-server")}
	s.SetLogger(sink, false, false)
	go s.Start() // ends with Shutdown
	if err := awaitBroker(s, sink, c.Data); err != nil {
		s.Shutdown()
		return nil, err
	}
	return s, nil
}

// awaitBroker returns when the broker is ready, or cannot be.
func awaitBroker(s *server.Server, sink *brokerLog, data string) error {
	began := time.Now()
	said := began
	for !s.ReadyForConnections(100 * time.Millisecond) {
		if why, _ := sink.fatal.Load().(string); why != "" {
			return errors.New("the broker cannot start: " + why)
		}
		if time.Since(began) > brokerStart {
			return fmt.Errorf("the broker was not ready within %v; its streams are under --data %s", brokerStart, data)
		}
		if time.Since(said) > stillReading {
			said = time.Now()
			sink.log.Warn("broker still reads its streams", "seconds", int(time.Since(began).Seconds()))
		}
	}
	return nil
}

// stopBroker ends the broker; all that it acknowledged is on disk.
func stopBroker(s *server.Server) {
	s.Shutdown()
	s.WaitForShutdown()
}

// brokerLog passes on what the broker has to say that an operator should know. It quotes no message and no subject of a person:
// the server logs neither at these levels.
type brokerLog struct {
	log   *slog.Logger
	fatal atomic.Value
}

// Noticef is what the broker says of its start; at debug level.
func (l *brokerLog) Noticef(format string, v ...any) { l.log.Debug(fmt.Sprintf(format, v...)) }

// Warnf passes a warning on.
func (l *brokerLog) Warnf(format string, v ...any) { l.log.Warn(fmt.Sprintf(format, v...)) }

// Errorf passes an error on.
func (l *brokerLog) Errorf(format string, v ...any) { l.log.Error(fmt.Sprintf(format, v...)) }

// Fatalf keeps the reason why the broker cannot start.
func (l *brokerLog) Fatalf(format string, v ...any) { l.fatal.Store(fmt.Sprintf(format, v...)) }

// Debugf and Tracef are switched off.
func (l *brokerLog) Debugf(string, ...any) {}

// Tracef is switched off.
func (l *brokerLog) Tracef(string, ...any) {}

// stage has an embedded broker stage in memory where it can.
func (m *Mesh) stage() {
	if m.broker == nil {
		return
	}
	f, err := staging.InMemory(staging.MemoryFiles, filepath.Join(m.c.Data, "nats"), m.c.Partitions, m.log)
	if err != nil {
		m.log.Info("batches are staged on the disk", "reason", err)
		return
	}
	m.staging.Store(f)
}

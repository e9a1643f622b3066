// Package bus owns the connection to NATS and all that chatmesh knows of JetStream's API: streams, buckets, consumers,
// direct gets, atomic batches, leases, micro endpoints. It promises to keep trying while the broker is away, to say so,
// that a read shows all that was acknowledged before it began, whichever copy of a stream answers it, and never to change a stream
// in a way that loses data.
package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/trace"
)

// Errors of this package, wrapped with the operation.
var (
	// ErrNotFound says that there is no such message, key or stream.
	ErrNotFound = errors.New("bus: not found")
	// ErrDown says that the broker cannot be reached or does not answer in time.
	ErrDown = errors.New("bus: broker away")
)

// Config says where the broker is.
type Config struct {
	// Name is shown by the broker for this connection: the service and the node.
	Name string
	// URL is a comma-separated list of servers. It is not used where InProcess is set.
	URL string
	// InProcess is an embedded server.
	InProcess nats.InProcessConnProvider
	// Credentials is a file with a NATS user's credentials; empty for none.
	Credentials string
	// RootCA is a PEM file of the authorities that the broker is believed by; empty for those of the system.
	RootCA string
	// NKey is a file with the seed of an NKey, or a folder that has one for each role as ROLE.nk; empty for none.
	NKey string
	// Role is who this connection is on a broker with accounts. It is used where NKey is set.
	Role string
	// Inbox is what the subjects begin with on which the broker answers, without the last dot. Empty is the inbox of Role where
	// NKey is set, otherwise that of everybody.
	Inbox string
	// TLSCert and TLSKey are PEM files of what the broker is shown, where it asks for a certificate; empty for none.
	TLSCert, TLSKey string
	// Logger gets changes of the connection. Required.
	Logger *slog.Logger
	// OnLost is called whenever messages of core subscriptions may have been lost: after a reconnect, and when a
	// subscription overflowed. It must not block. Nil for no call.
	OnLost func()
	// OnBroken is called when the connection breaks. It must not block. Nil for no call.
	OnBroken func()
	// Tracer traces requests to endpoints. Nil traces none.
	Tracer *trace.Tracer
}

// Bus is a connection to NATS. It may be shared.
type Bus struct {
	nc  *nats.Conn
	js  jetstream.JetStream
	log *slog.Logger
	// tracer is for requests to endpoints; nil traces none.
	tracer *trace.Tracer

	refusals refusals
	askers   askers
	leaders  leaders
	lasts    lasts
	answers  answers
}

// askers are the goroutines that ask the broker for several at once. They end with the bus.
type askers struct {
	mu      sync.Mutex // guards closed
	closed  bool
	running sync.WaitGroup
}

// errClosed is what who asks is told once the bus is closed.
var errClosed = fmt.Errorf("%w: %w", ErrDown, nats.ErrConnectionClosed)

// begin runs ask beside its caller. It is false where the bus is closed: then nobody asks.
func (a *askers) begin(ask func()) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return false
	}
	a.running.Go(ask)
	return true
}

// close lets nobody begin any more, and waits for those who run.
func (a *askers) close() {
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	a.running.Wait()
}

// requestTimeout bounds one request to the broker.
const requestTimeout = 5 * time.Second

// Connect returns a bus that connects in the background: until the broker answers, calls fail with ErrDown.
func Connect(c Config) (*Bus, error) {
	log, b := c.Logger, &Bus{log: c.Logger, tracer: c.Tracer}
	lost := func() {
		if c.OnLost != nil {
			c.OnLost()
		}
	}
	opts := []nats.Option{
		nats.Name(c.Name),
		nats.MaxReconnects(-1), // the default gives up after 60
		nats.RetryOnFailedConnect(true),
		nats.ReconnectWait(200 * time.Millisecond),
		nats.ReconnectJitter(200*time.Millisecond, 500*time.Millisecond),
		nats.PingInterval(5 * time.Second),
		nats.MaxPingsOutstanding(2),
		nats.ReconnectBufSize(-1), // fail at once while away: callers retry what they must
		nats.Timeout(2 * time.Second),
		nats.IgnoreAuthErrorAbort(), // keys may be exchanged on the broker's side first
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil { // none where we closed it
				log.Warn("broker connection lost", "error", err)
			}
			if c.OnBroken != nil {
				c.OnBroken()
			}
		}),
		nats.ConnectHandler(func(*nats.Conn) { b.refusals.connected() }),
		nats.ReconnectHandler(func(*nats.Conn) {
			b.refusals.connected()
			log.Info("broker connection back")
			lost()
		}),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			if errors.Is(err, nats.ErrSlowConsumer) {
				lost()
			}
			if b.refusals.isNew(err) {
				log.Warn("broker reported an error", "error", err)
			}
		}),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) {
			if b.refusals.isAnother(err) {
				log.Warn("broker cannot be reached", "error", err)
			}
		}),
	}
	if c.InProcess != nil {
		opts = append(opts, nats.InProcessServer(c.InProcess))
	}
	if c.RootCA != "" {
		opts = append(opts, nats.RootCAs(c.RootCA))
	}
	who, err := c.identity()
	if err != nil {
		return nil, fmt.Errorf("bus: %w", err)
	}
	nc, err := nats.Connect(c.URL, append(opts, who...)...)
	if err != nil {
		return nil, fmt.Errorf("bus: connect: %w", err)
	}
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(requestTimeout),
		// Without it, what a frozen stream never answers would count as waiting for ever, and at 4,000 publishing would stop.
		jetstream.WithPublishAsyncTimeout(requestTimeout))
	if err != nil {
		nc.Close()
		return nil, fmt.Errorf("bus: jetstream: %w", err)
	}
	b.nc, b.js = nc, js
	if err := b.answers.listen(nc); err != nil {
		nc.Close()
		return nil, fmt.Errorf("bus: answers: %w", err)
	}
	return b, nil
}

// identity is who the connection is.
func (c *Config) identity() (opts []nats.Option, err error) {
	if c.Credentials != "" {
		opts = append(opts, nats.UserCredentials(c.Credentials))
	}
	inbox := c.Inbox
	if c.NKey != "" {
		file := c.NKey
		if stat, err := os.Stat(file); err == nil && stat.IsDir() {
			file = filepath.Join(file, c.Role+".nk")
		}
		seed, err := nats.NkeyOptionFromSeed(file)
		if err != nil {
			return nil, fmt.Errorf("the NKey of %s: %w", c.Role, err)
		}
		opts = append(opts, seed)
		if inbox == "" {
			inbox = subject.Inbox(c.Role)
		}
	}
	if inbox != "" {
		opts = append(opts, nats.CustomInboxPrefix(inbox))
	}
	if c.TLSCert != "" {
		opts = append(opts, nats.ClientCert(c.TLSCert, c.TLSKey))
	}
	return opts, nil
}

// Conn is the connection itself, for core publishes and subscriptions.
func (b *Bus) Conn() *nats.Conn { return b.nc }

// JetStream is the JetStream context of the connection.
func (b *Bus) JetStream() jetstream.JetStream { return b.js }

// Close ends the connection at once. Drain what matters before.
func (b *Bus) Close() {
	b.nc.Close()
	b.askers.close()
}

// Check fails with ErrDown while the broker cannot be reached.
func (b *Bus) Check(context.Context) error {
	s := b.nc.Status()
	if s == nats.CONNECTED {
		return nil
	}
	if why := b.nc.LastError(); why != nil {
		return fmt.Errorf("%w: %s: %w", ErrDown, s, why)
	}
	return fmt.Errorf("%w: %s", ErrDown, s)
}

// Flush returns once the broker has taken what was published before.
func (b *Bus) Flush(ctx context.Context) error {
	ctx, cancel := within(ctx, requestTimeout)
	defer cancel()
	if err := b.nc.FlushWithContext(ctx); err != nil {
		return fmt.Errorf("%w: flush: %w", ErrDown, err)
	}
	return nil
}

// within bounds one request to the broker, also where its caller has more time: the answer to what was under way when a connection
// broke never comes, and who waits for it until the end cannot try again.
func within(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, d) // the earlier of the two
}

// Backoff is the wait before attempt n (from 0) at something that is away: 50 ms doubled up to 5 s, jittered.
func Backoff(n int) time.Duration {
	d := min(50*time.Millisecond<<min(n, 10), 5*time.Second)
	return d/2 + jitter(d/2)
}

// Sleep waits for d or until ctx ends, whichever comes first.
func Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

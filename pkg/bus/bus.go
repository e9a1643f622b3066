// Package bus owns the connection to NATS and all that chatmesh knows of JetStream's API: streams, buckets, consumers,
// direct gets, atomic batches, leases, micro endpoints. It promises to keep trying while the broker is away, to say so,
// and never to change a stream in a way that loses data.
package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
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
	// Logger gets changes of the connection. Required.
	Logger *slog.Logger
	// OnLost is called whenever messages of core subscriptions may have been lost: after a reconnect, and when a
	// subscription overflowed. It must not block. Nil for no call.
	OnLost func()
	// OnBroken is called when the connection breaks. It must not block. Nil for no call.
	OnBroken func()
}

// Bus is a connection to NATS. It may be shared.
type Bus struct {
	nc  *nats.Conn
	js  jetstream.JetStream
	log *slog.Logger
}

// requestTimeout bounds one request to the broker.
const requestTimeout = 5 * time.Second

// Connect returns a bus that connects in the background: until the broker answers, calls fail with ErrDown.
func Connect(c Config) (*Bus, error) {
	log := c.Logger
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
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil { // none where we closed it
				log.Warn("broker connection lost", "error", err)
			}
			if c.OnBroken != nil {
				c.OnBroken()
			}
		}),
		nats.ReconnectHandler(func(*nats.Conn) {
			log.Info("broker connection back")
			lost()
		}),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			if errors.Is(err, nats.ErrSlowConsumer) {
				lost()
			}
			log.Warn("broker reported an error", "error", err)
		}),
	}
	if c.InProcess != nil {
		opts = append(opts, nats.InProcessServer(c.InProcess))
	}
	if c.Credentials != "" {
		opts = append(opts, nats.UserCredentials(c.Credentials))
	}
	if c.RootCA != "" {
		opts = append(opts, nats.RootCAs(c.RootCA))
	}
	nc, err := nats.Connect(c.URL, opts...)
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
	return &Bus{nc: nc, js: js, log: log}, nil
}

// Conn is the connection itself, for core publishes and subscriptions.
func (b *Bus) Conn() *nats.Conn { return b.nc }

// JetStream is the JetStream context of the connection.
func (b *Bus) JetStream() jetstream.JetStream { return b.js }

// Close ends the connection at once. Drain what matters before.
func (b *Bus) Close() { b.nc.Close() }

// Check fails with ErrDown while the broker cannot be reached.
func (b *Bus) Check(context.Context) error {
	if s := b.nc.Status(); s != nats.CONNECTED {
		return fmt.Errorf("%w: %s", ErrDown, s)
	}
	return nil
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

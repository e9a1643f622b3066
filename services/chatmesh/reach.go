package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/config"
	"github.com/chatmesh/chatmesh/pkg/roles"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/services/mesh"
)

// errorOutput is where a command writes what is not its result.
type errorOutput struct{ io.Writer }

// Unwrap is where it goes.
func (e errorOutput) Unwrap() io.Writer { return e.Writer }

// running is a mesh that a command of an operator asks.
type running struct {
	*bus.Bus
	close func() error
}

// Times of reaching a mesh.
const (
	dialTimeout  = time.Second
	reachTimeout = 5 * time.Second
	startTimeout = time.Minute
	pingTimeout  = time.Second
)

// reach connects to the broker at --nats-url, otherwise to the all-in-one at --nats-listen, and where none runs, to a process of
// its own on the data folder, in which the given services run. It says on notes which it is.
func reach(ctx context.Context, c *config.Settings, notes io.Writer, services ...mesh.Service) (*running, error) {
	if r, err := reachRunning(ctx, c, notes); err == nil || len(c.NATSURL) > 0 {
		return r, err
	}
	log := slog.New(slog.NewTextHandler(notes, &slog.HandlerOptions{Level: slog.LevelWarn}))
	r, err := inspect(ctx, c, log, services)
	if err != nil {
		return nil, fmt.Errorf("no chatmesh answers at %s (--nats-listen), and %w", c.NATSListen, err)
	}
	fmt.Fprintf(notes, "no chatmesh runs at %s: asking the data folder %s itself\n", c.NATSListen, c.Data)
	return r, nil
}

// reachRunning is reach for what only a mesh that runs can do.
func reachRunning(ctx context.Context, c *config.Settings, notes io.Writer) (*running, error) {
	log := slog.New(slog.NewTextHandler(notes, &slog.HandlerOptions{Level: slog.LevelWarn}))
	if len(c.NATSURL) > 0 {
		b, err := dial(ctx, c, strings.Join(c.NATSURL, ","), log)
		if err != nil {
			return nil, fmt.Errorf("no broker at %s: %w; see --nats-url, --nats-nkey, --nats-creds and --nats-tls-ca", hosts(c.NATSURL), err)
		}
		return &running{Bus: b, close: func() error { b.Close(); return nil }}, nil
	}
	if addr, ok := dialable(c.NATSListen); ok {
		if b, err := dial(ctx, c, "nats://"+addr, slog.New(slog.DiscardHandler)); err == nil {
			if ping(ctx, b) == nil {
				fmt.Fprintf(notes, "asking the chatmesh that runs at %s\n", addr)
				return &running{Bus: b, close: func() error { b.Close(); return nil }}, nil
			}
			b.Close()
		}
	}
	return nil, fmt.Errorf("no chatmesh answers at %s (--nats-listen)", c.NATSListen)
}

// dialable is a listener's address as one connects to it; false where nobody listens there.
func dialable(listen string) (string, bool) {
	host, port, err := net.SplitHostPort(listen)
	if err != nil || port == "0" {
		return "", false
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	addr := net.JoinHostPort(host, port)
	conn, err := net.DialTimeout("tcp", addr, dialTimeout)
	if err != nil {
		return "", false
	}
	return addr, conn.Close() == nil
}

// hosts shows URLs without what is secret in them.
func hosts(urls []string) string {
	var out []string
	for _, text := range urls {
		if u, err := url.Parse(text); err == nil {
			out = append(out, u.Host)
		}
	}
	return strings.Join(out, ", ")
}

// dial connects to a broker, or tells that it does not answer.
func dial(ctx context.Context, c *config.Settings, url string, log *slog.Logger) (*bus.Bus, error) {
	b, err := bus.Connect(bus.Config{Name: "operator " + c.Node, URL: url, Credentials: c.NATSCreds, RootCA: c.NATSTLSCA,
		NKey: c.NATSNKey, Role: roles.Ops, Inbox: c.NATSInbox, TLSCert: c.NATSTLSCert, TLSKey: c.NATSTLSKey, Logger: log})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	for b.Check(ctx) != nil {
		if bus.Sleep(ctx, 10*time.Millisecond) != nil {
			why := b.Conn().LastError()
			b.Close()
			if why != nil {
				return nil, why
			}
			return nil, errors.New("it does not answer")
		}
	}
	return b, nil
}

// ping fails unless the api answers.
func ping(ctx context.Context, b *bus.Bus) error {
	subj, err := micro.ControlSubject(micro.PingVerb, subject.Service, "")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	_, err = b.Conn().RequestMsgWithContext(ctx, &nats.Msg{Subject: subj})
	return err
}

// inspect runs services on the data folder until close.
func inspect(ctx context.Context, c *config.Settings, log *slog.Logger, services []mesh.Service) (*running, error) {
	m, err := mesh.Inspect(c, buildVersion(), log, services...)
	if err != nil {
		return nil, err
	}
	b, err := m.Client("operator")
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx, io.Discard) }()
	end := func() error { cancel(); return <-done }
	if err != nil {
		return nil, errors.Join(err, end())
	}
	for until := time.Now().Add(startTimeout); ping(ctx, b) != nil; {
		select {
		case err := <-done:
			cancel()
			if err == nil {
				err = ctx.Err()
			}
			return nil, fmt.Errorf("the data folder %s: %w", c.Data, err)
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(until) {
			return nil, errors.Join(fmt.Errorf("the data folder %s does not answer within %v", c.Data, startTimeout), end())
		}
	}
	return &running{Bus: b, close: end}, nil
}

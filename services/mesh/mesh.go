// Package mesh composes services into a process: all of them on an embedded broker and store, or some of them on an external
// broker. It promises that the services are the same either way and know each other only through the broker, that what
// cannot start says so in one line that names the setting, and that what was accepted is durable when Run returns.
package mesh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/chatmesh/chatmesh/pkg/auth"
	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chatlog"
	"github.com/chatmesh/chatmesh/pkg/config"
	"github.com/chatmesh/chatmesh/pkg/limit"
	"github.com/chatmesh/chatmesh/pkg/run"
	"github.com/chatmesh/chatmesh/pkg/staging"
	"github.com/chatmesh/chatmesh/pkg/trace"
)

// Service names a part of the mesh.
type Service string

// The services.
const (
	Edge      Service = "edge"
	API       Service = "api"
	FanOut    Service = "fanout"
	Persister Service = "persister"
	Presence  Service = "presence"
)

// All services, in one process.
var All = []Service{Edge, API, FanOut, Persister, Presence}

// Mesh is a process that is ready to run.
type Mesh struct {
	c        *config.Settings
	services []Service
	version  string
	log      *slog.Logger
	// asIs says that nothing may be made or changed, and that nobody is served: see Inspect.
	asIs    bool
	health  *run.Health
	metrics *prometheus.Registry
	// tracer and exporter are nil where nothing is traced.
	tracer   *trace.Tracer
	exporter *trace.Exporter

	broker *server.Server
	// staging is where it stages batches, once it does so in memory.
	staging atomic.Pointer[staging.Folder]
	store   *gate // nil where no service needs it
	signer  *auth.Signer
	// limits count for all services of the process together; nil where nothing is limited.
	limits *limit.Table
	buses  []*bus.Bus
	// first is the connection that looks after the layout: the api's, where it runs here.
	first *bus.Bus

	listen, admin net.Listener
	parts         []part
	clients       client
	// connections tells how many the edge has; nil where there is none.
	connections func() int64
}

// part is something that runs. Front parts face clients: they end first, while the others still work for them.
type part struct {
	name  string
	front bool
	run   func(context.Context) error
}

// New opens, binds and connects what the services need, or says in one line why it can't.
func New(c *config.Settings, version string, log *slog.Logger, services ...Service) (*Mesh, error) {
	if len(c.Scylla) == 0 && slices.Contains(services, API) && !slices.Contains(services, Persister) {
		services = append(slices.Clone(services), Persister)
	}
	return open(&Mesh{c: c, services: services, version: version, log: log})
}

// open is New and Inspect.
func open(m *Mesh) (_ *Mesh, err error) {
	c := m.c
	m.log, m.health, m.metrics = m.log.With("node", c.Node), &run.Health{}, prometheus.NewRegistry()
	m.registerProcess()
	if c.RateLimits.On() {
		rules, err := c.Rules()
		if err != nil {
			return nil, err
		}
		m.limits = limit.NewTable(rules, nil)
		m.metrics.MustRegister(m.limits)
	}
	defer func() {
		if err != nil {
			m.close()
		}
	}()
	if len(c.NATSURL) > 0 && m.embedsStore() && m.has(Persister) && !m.has(API) {
		return nil, errors.New("the embedded store under --data is opened by one process, the api's, which persists as well; " +
			"a persister alone needs an external store: set --scylla")
	}
	m.health.Set(streamsWait, errors.New("not asked for yet"))
	if c.OTLPEndpoint != "" && !m.asIs {
		if m.exporter, m.tracer, err = trace.New(trace.Config{Endpoint: c.OTLPEndpoint, Ratio: c.TraceSample, Node: c.Node,
			Version: m.version, Logger: m.log.With("service", "trace"), Metrics: m.metrics}); err != nil {
			return nil, fmt.Errorf("%w; see --otlp-endpoint", err)
		}
	}
	if err := m.openStore(); err != nil {
		return nil, err
	}
	if (m.has(Edge) || m.has(API)) && !m.asIs {
		if m.listen, err = listen("--listen", c.Listen); err != nil {
			return nil, err
		}
	}
	if m.admin, err = listen("--admin-listen", c.AdminListen); err != nil {
		return nil, err
	}
	if len(c.NATSURL) == 0 {
		if m.broker, err = startBroker(c, m.log); err != nil {
			return nil, err
		}
	}
	if err := m.compose(); err != nil {
		return nil, err
	}
	return m, nil
}

func (m *Mesh) has(s Service) bool { return slices.Contains(m.services, s) }

// connect makes a connection to the broker for one service.
func (m *Mesh) connect(s Service, broken, lost func()) (*bus.Bus, error) {
	cfg := bus.Config{Name: string(s) + " " + m.c.Node, Credentials: m.c.NATSCreds, RootCA: m.c.NATSTLSCA, NKey: m.c.NATSNKey,
		Role: string(s), Inbox: m.c.NATSInbox, TLSCert: m.c.NATSTLSCert, TLSKey: m.c.NATSTLSKey,
		OnBroken: broken, OnLost: lost, Tracer: m.tracer.Named(string(s)), Logger: m.log.With("service", string(s))}
	if m.broker != nil {
		cfg.InProcess = m.broker
	} else {
		cfg.URL = strings.Join(m.c.NATSURL, ",")
	}
	b, err := bus.Connect(cfg)
	if err != nil {
		return nil, fmt.Errorf("%w; see --nats-url, --nats-nkey, --nats-creds and --nats-tls-ca", err)
	}
	m.buses = append(m.buses, b)
	if m.first == nil || s == API {
		m.first = b
	}
	m.health.Check("broker for "+string(s), b.Check)
	return b, nil
}

// log of one service, and the part that runs it.
func (m *Mesh) chatlog(s Service, b *bus.Bus, older chatlog.Older) (*chatlog.Log, error) {
	l, err := chatlog.New(chatlog.Config{Bus: b, Partitions: m.c.Partitions, Older: older, Retention: m.c.LogRetention,
		ReadOnly: s == FanOut, Room: m.room(), Logger: m.log.With("service", string(s)), Metrics: m.registerer(s),
		Health: func(name string, err error) { m.health.Set(string(s)+" "+name, err) }})
	if err == nil {
		m.parts = append(m.parts, part{name: string(s) + " log", run: l.Run})
	}
	return l, err
}

func (m *Mesh) registerer(s Service) prometheus.Registerer {
	return prometheus.WrapRegistererWith(prometheus.Labels{"service": string(s)}, m.metrics)
}

// Run runs the services until ctx ends or one fails. It writes one line to out when the process is ready.
func (m *Mesh) Run(ctx context.Context, out io.Writer) error {
	defer m.close()
	m.log.Info("starting", "listen", addressOf(m.listen), "admin_listen", addressOf(m.admin))
	back, stopBack := context.WithCancel(context.WithoutCancel(ctx))
	defer stopBack()
	export, stopExport := context.WithCancel(context.WithoutCancel(ctx)) // until nothing is left that could be traced
	defer stopExport()
	exported := make(chan struct{})
	go func() {
		defer close(exported)
		if m.exporter != nil {
			m.exporter.Run(export)
		}
	}()
	front, stopFront := context.WithCancel(back)
	defer stopFront()
	fronts, frontCtx := errgroup.WithContext(front)
	backs, backCtx := errgroup.WithContext(back)
	laid := make(chan struct{}) // closed when the streams are there; until then the services wait, and operators are answered
	backs.Go(func() error {
		err := m.layout(backCtx)
		if err == nil {
			m.stage()
			close(laid)
		}
		return err
	})
	for _, p := range m.parts {
		g, ctx := backs, backCtx
		if p.front {
			g, ctx = fronts, frontCtx
		}
		g.Go(func() error {
			select {
			case <-ctx.Done():
				return nil
			case <-laid:
			}
			if err := p.run(ctx); err != nil && ctx.Err() == nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
			return nil
		})
	}
	fronts.Go(func() error { return m.serve(frontCtx) })
	fronts.Go(func() error { m.announceReady(frontCtx, out); return nil })

	select {
	case <-ctx.Done():
	case <-frontCtx.Done():
	case <-backCtx.Done():
	}
	m.log.Info("stopping")
	stopFront()
	frontErr := fronts.Wait()
	stopBack()
	backErr := backs.Wait()
	stopExport()
	<-exported
	return errors.Join(frontErr, backErr)
}

// presenceBackstop is the age at which a person's key expires if neither its edge nor the presence service removed it.
const presenceBackstop = 10 * time.Minute

// announceReady writes the line that says where to go, once nothing is waited for.
func (m *Mesh) announceReady(ctx context.Context, out io.Writer) {
	for wait := 5 * time.Millisecond; m.health.Err(ctx) != nil; wait = min(wait*5/4, 250*time.Millisecond) {
		if bus.Sleep(ctx, wait) != nil {
			return
		}
	}
	var where []string
	if m.listen != nil {
		where = append(where, "open http://"+m.listen.Addr().String()+"/")
	}
	rest := "admin http://" + m.admin.Addr().String() + "/"
	if m.broker != nil {
		rest += ", " + m.broker.ClientURL()
	}
	where = append(where, "("+rest+")")
	fmt.Fprintf(out, "chatmesh is ready: %s\n", strings.Join(where, " "))
}

// close lets go of everything, in the order in which it is not needed any more.
func (m *Mesh) close() {
	for _, l := range []net.Listener{m.listen, m.admin} {
		if l != nil {
			_ = l.Close()
		}
	}
	for _, b := range m.buses {
		b.Close()
	}
	if m.broker != nil {
		stopBroker(m.broker)
		m.staging.Load().End()
	}
	if m.store != nil {
		if err := m.store.Close(); err != nil {
			m.log.Error("store did not close", "error", err)
		}
	}
}

// addressOf is where a listener listens, empty for none.
func addressOf(l net.Listener) string {
	if l == nil {
		return ""
	}
	return l.Addr().String()
}

func listen(flag, addr string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s: %w; %s sets another address", addr, cause(err), flag)
	}
	return l, nil
}

// cause is the system's own word for what went wrong, without the operation that the caller names already.
func cause(err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return err
}

// announce announces a service in the bucket of nodes. again asks for an announcement at once, state brings what changes up to
// date; both may be nil.
func (m *Mesh) announce(s Service, b *bus.Bus, again <-chan struct{}, state func(*bus.Node)) {
	n := bus.Node{Service: string(s), Node: m.c.Node, Version: m.version, Started: time.Now().UTC()}
	if m.listen != nil && (s == Edge || s == API) {
		n.Address = m.listen.Addr().String()
	}
	if m.listen != nil && s == Edge {
		n.URL = m.c.SocketURL(m.listen.Addr())
	}
	m.parts = append(m.parts, part{name: string(s) + " node", run: func(ctx context.Context) error {
		b.AnnounceState(ctx, n, again, state)
		return nil
	}})
}

// Package mesh composes services into a process: all of them on an embedded broker and store, or some of them on an external
// broker. It promises that the services are the same either way and know each other only through the broker, that what
// cannot start says so in one line that names the setting, and that what was accepted is durable when Run returns.
package mesh

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"

	"github.com/chatmesh/chatmesh/pkg/auth"
	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chatlog"
	"github.com/chatmesh/chatmesh/pkg/config"
	"github.com/chatmesh/chatmesh/pkg/run"
	"github.com/chatmesh/chatmesh/pkg/store/pebble"
	"github.com/chatmesh/chatmesh/pkg/subject"
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

	broker *server.Server
	store  *pebble.Store
	signer *auth.Signer
	buses  []*bus.Bus

	listen, admin net.Listener
	parts         []part
	clients       client
}

// part is something that runs. Front parts face clients: they end first, while the others still work for them.
type part struct {
	name  string
	front bool
	run   func(context.Context) error
}

// New opens, binds and connects what the services need, or says in one line why it can't.
func New(c *config.Settings, version string, log *slog.Logger, services ...Service) (*Mesh, error) {
	if slices.Contains(services, API) && !slices.Contains(services, Persister) {
		services = append(slices.Clone(services), Persister)
	}
	return open(&Mesh{c: c, services: services, version: version, log: log})
}

// open is New and Inspect.
func open(m *Mesh) (_ *Mesh, err error) {
	c := m.c
	m.log, m.health, m.metrics = m.log.With("node", c.Node), &run.Health{}, prometheus.NewRegistry()
	m.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	defer func() {
		if err != nil {
			m.close()
		}
	}()
	if len(c.Scylla) > 0 {
		return nil, errors.New("--scylla: this version has no ScyllaDB store yet; without it the embedded store under --data is used")
	}
	if len(c.NATSURL) > 0 && m.has(Persister) && !m.has(API) {
		return nil, errors.New("the embedded store under --data is opened by one process, the api's, which persists as well; " +
			"a persister alone needs an external store")
	}
	if err := m.openData(); err != nil {
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

// needsData tells whether this process keeps anything on disk.
func (m *Mesh) needsData() bool { return len(m.c.NATSURL) == 0 || m.has(API) || m.has(Persister) }

// openData makes the data folder and opens the store in it, whose lock keeps other processes out.
func (m *Mesh) openData() error {
	if !m.needsData() {
		return nil
	}
	if err := os.MkdirAll(m.c.Data, 0o700); err != nil {
		return fmt.Errorf("the data folder %s cannot be used: %w; --data sets another", m.c.Data, cause(err))
	}
	s, err := pebble.Open(filepath.Join(m.c.Data, "store"), pebble.Options{Log: m.log.With("service", "store")})
	switch {
	case errors.Is(err, pebble.ErrHeld):
		return fmt.Errorf("the data folder %s is held by another process; end that one or set another with --data", m.c.Data)
	case err != nil:
		return fmt.Errorf("the data folder %s cannot be used: %w; --data sets another", m.c.Data, cause(err))
	}
	m.store = s
	m.metrics.MustRegister(s.Collectors()...)
	m.health.Check("store", s.Ping)
	key, err := auth.LoadOrCreateKey(filepath.Join(m.c.Data, "auth.key"))
	if err != nil {
		return fmt.Errorf("the key of access tokens: %w; it lies under --data", err)
	}
	if m.signer, err = auth.NewSigner(key, m.c.AccessTokenTTL); err != nil {
		return fmt.Errorf("access tokens: %w", err)
	}
	return nil
}

// connect makes a connection to the broker for one service.
func (m *Mesh) connect(s Service, broken, lost func()) (*bus.Bus, error) {
	cfg := bus.Config{Name: string(s) + " " + m.c.Node, Credentials: m.c.NATSCreds, RootCA: m.c.NATSTLSCA, OnBroken: broken, OnLost: lost,
		Logger: m.log.With("service", string(s))}
	if m.broker != nil {
		cfg.InProcess = m.broker
	} else {
		cfg.URL = strings.Join(m.c.NATSURL, ",")
	}
	b, err := bus.Connect(cfg)
	if err != nil {
		return nil, fmt.Errorf("%w; see --nats-url, --nats-creds and --nats-tls-ca", err)
	}
	m.buses = append(m.buses, b)
	m.health.Check("broker for "+string(s), b.Check)
	return b, nil
}

// log of one service, and the part that runs it.
func (m *Mesh) chatlog(s Service, b *bus.Bus, older chatlog.Older) (*chatlog.Log, error) {
	l, err := chatlog.New(chatlog.Config{Bus: b, Partitions: m.c.Partitions, Older: older, Retention: m.c.LogRetention,
		ReadOnly: s == FanOut, Logger: m.log.With("service", string(s)), Metrics: m.registerer(s),
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
	if err := m.layout(ctx); err != nil {
		return err
	}
	back, stopBack := context.WithCancel(context.WithoutCancel(ctx))
	defer stopBack()
	front, stopFront := context.WithCancel(back)
	defer stopFront()
	fronts, frontCtx := errgroup.WithContext(front)
	backs, backCtx := errgroup.WithContext(back)
	for _, p := range m.parts {
		g, ctx := backs, backCtx
		if p.front {
			g, ctx = fronts, frontCtx
		}
		g.Go(func() error {
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
	return errors.Join(frontErr, backs.Wait())
}

// layout makes the streams where the api runs, and waits for them elsewhere.
func (m *Mesh) layout(ctx context.Context) error {
	l := bus.Layout{Partitions: m.c.Partitions, MaxBytes: m.logBytes(), Replicas: m.c.Replicas, Retention: m.c.LogRetention,
		PresenceTTL: presenceBackstop, TokenTTL: m.c.AccessTokenTTL}
	for n := 0; ; n++ {
		var err error
		if makes := m.has(API) && !m.asIs; makes {
			if err = m.buses[0].Ensure(ctx, l); err == nil {
				err = m.bindStore(ctx)
			}
		} else {
			err = m.buses[0].Expect(ctx, l)
		}
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, bus.ErrLayout), errors.Is(err, errOtherStore), m.asIs && n > 5:
			return err
		}
		if n == 10 {
			m.log.Warn("waits for the broker's streams", "error", err)
		}
		if bus.Sleep(ctx, bus.Backoff(n)) != nil {
			return nil
		}
	}
}

// logPart is the part of the embedded broker's disk limit (three quarters of what was free) that the logs may take: what is left is
// for cursors, buckets and the broker itself. A log that is full refuses; a disk that is full stops the broker.
const logPart = 0.8

// logBytes bounds the logs on an embedded broker; an external one is bounded by its operators.
func (m *Mesh) logBytes() int64 {
	if m.broker == nil {
		return 0
	}
	return int64(float64(m.broker.JetStreamConfig().MaxStore) * logPart)
}

// errOtherStore says that the history of this mesh is kept in another data folder.
var errOtherStore = errors.New("the broker's streams belong to another data folder, which holds the history")

// bindStore binds the broker to this process's store, so that no second one takes a part of the history. The id is that of the
// data folder.
func (m *Mesh) bindStore(ctx context.Context) error {
	const key = "store"
	file := filepath.Join(m.c.Data, "store.id")
	id, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		id = []byte(rand.Text())
		err = writeDurable(file, id) // before anything is bound to it
	}
	if err != nil {
		return fmt.Errorf("%w: %w; see --data", errOtherStore, cause(err))
	}
	_, err = m.buses[0].Create(ctx, subject.Leases, key, id)
	if !errors.Is(err, bus.ErrHeld) {
		return err
	}
	bound, err := m.buses[0].Key(ctx, subject.Leases, key)
	if err == nil && string(bound) != string(id) {
		return fmt.Errorf("%w; --data and --nats-url do not go together", errOtherStore)
	}
	return err
}

// writeDurable writes a small file so that it is there whole after a power cut, or not at all.
func writeDurable(file string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+"-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // gone already where all went well
	if _, err = f.Write(data); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), file); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(file))
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	return dir.Sync()
}

// presenceBackstop is the age at which a person's key expires if neither its edge nor the presence service removed it.
const presenceBackstop = 10 * time.Minute

// announceReady writes the line that says where to go, once nothing is waited for.
func (m *Mesh) announceReady(ctx context.Context, out io.Writer) {
	for m.health.Err(ctx) != nil {
		if bus.Sleep(ctx, 5*time.Millisecond) != nil {
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
	}
	if m.store != nil {
		if err := m.store.Close(); err != nil {
			m.log.Error("store did not close", "error", err)
		}
	}
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

// nodes announces the services in the bucket of nodes.
func (m *Mesh) announce(s Service, b *bus.Bus, load func() int64) {
	n := bus.Node{Service: string(s), Node: m.c.Node, Version: m.version, Started: time.Now().UTC()}
	if m.listen != nil && (s == Edge || s == API) {
		n.Address = m.listen.Addr().String()
	}
	m.parts = append(m.parts, part{name: string(s) + " node", run: func(ctx context.Context) error {
		b.Announce(ctx, n, load)
		return nil
	}})
}

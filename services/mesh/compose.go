package mesh

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/chatmesh/chatmesh/pkg/auth"
	"github.com/chatmesh/chatmesh/pkg/chatlog"
	"github.com/chatmesh/chatmesh/pkg/online"
	"github.com/chatmesh/chatmesh/pkg/run"
	"github.com/chatmesh/chatmesh/services/api"
	"github.com/chatmesh/chatmesh/services/edge"
	"github.com/chatmesh/chatmesh/services/fanout"
	"github.com/chatmesh/chatmesh/services/persister"
	"github.com/chatmesh/chatmesh/services/presence"
	"github.com/chatmesh/chatmesh/web"
)

// client is what answers on the clients' address.
type client struct {
	edge, api http.Handler
	// moved is closed when the edge has sent its clients away; nil where there is none.
	moved chan struct{}
}

// compose makes the services of this process. Each has a connection of its own, as it would have in a process of its own.
func (m *Mesh) compose() error {
	makers := map[Service]func() error{Edge: m.edge, API: m.api, FanOut: m.fanout, Persister: m.persister, Presence: m.presence}
	for _, s := range m.services {
		if err := makers[s](); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	m.parts = append(m.parts, part{name: "memory", run: run.Thrift})
	m.parts = append(m.parts, part{name: "garbage", run: func(ctx context.Context) error { return run.Pace(ctx, m.connections) }})
	return nil
}

func (m *Mesh) edge() error {
	var s atomic.Pointer[edge.Server] // the connection is there before the server
	tell := func(what func(*edge.Server)) func() {
		return func() {
			if s := s.Load(); s != nil {
				what(s)
			}
		}
	}
	b, err := m.connect(Edge, tell((*edge.Server).Shaken), tell((*edge.Server).Lost))
	if err != nil {
		return err
	}
	l, err := m.chatlog(Edge, b, chatlog.Remote{Bus: b})
	if err != nil {
		return err
	}
	proxies, err := m.c.Proxies()
	if err != nil {
		return err
	}
	reporter := online.New(b, m.c.Node, m.c.PresenceTTL, m.log.With("service", string(Edge)))
	e, err := edge.New(edge.Config{Bus: b, Log: l, Partitions: m.c.Partitions, TokenTTL: m.c.AccessTokenTTL, Online: reporter, PresenceGrace: m.c.PresenceGrace, AwayAfter: m.c.AwayAfter, Origins: m.c.Origins, Limits: m.limits, TrustedProxies: proxies,
		Node: m.c.Node, Version: m.version, MaxConnections: m.c.MaxConnections, Rebalance: m.c.Rebalance.On(), Grace: edgeGrace(m.c.ShutdownGrace), Logger: m.log.With("service", string(Edge)), Metrics: m.registerer(Edge), Health: m.health,
		Tracer: m.tracer.Named(string(Edge))})
	if err != nil {
		return err
	}
	s.Store(e)
	m.connections = e.Connections
	m.clients.edge, m.clients.moved = e.Handler(), make(chan struct{})
	m.parts = append(m.parts,
		part{name: string(Edge), front: true, run: func(ctx context.Context) error {
			defer close(m.clients.moved)
			return e.Run(ctx)
		}},
		part{name: "presence of this edge", run: reporter.Run})
	if len(m.services) == 1 { // beside others the process is worth sending to as long as it runs
		m.health.Check("room in this edge", e.Check)
	}
	m.announce(Edge, b, e.Changed(), e.Describe)
	return nil
}

func (m *Mesh) api() error {
	b, err := m.connect(API, nil, nil)
	if err != nil {
		return err
	}
	older := api.NewOlder(m.store)
	l, err := m.chatlog(API, b, older)
	if err != nil {
		return err
	}
	older.SetTail(l)
	proxies, err := m.c.Proxies()
	if err != nil {
		return err
	}
	s, err := api.New(api.Config{Bus: b, Log: l, Store: m.store, Hasher: auth.NewHasher(auth.HasherConfig{}), Signer: m.signer,
		Verifier: auth.NewVerifier(), TrustedProxies: proxies, Limits: m.limits, Settings: api.Settings{RefreshTTL: m.c.SessionTTL},
		Logger: m.log, Metrics: m.registerer(API), Version: m.version, Node: m.c.Node, Tracer: m.tracer.Named(string(API))})
	if err != nil {
		return err
	}
	m.clients.api = s.Handler()
	m.health.Check(string(API), s.Check)
	if m.has(Edge) && !m.asIs {
		m.health.Check("edges", s.KnowsAnEdge)
	}
	m.parts = append(m.parts, part{name: string(API), run: s.Run})
	m.announce(API, b, nil, nil)
	return nil
}

func (m *Mesh) fanout() error {
	b, err := m.connect(FanOut, nil, nil)
	if err != nil {
		return err
	}
	l, err := m.chatlog(FanOut, b, chatlog.Remote{Bus: b})
	if err != nil {
		return err
	}
	s, err := fanout.New(fanout.Config{Bus: b, Log: l, Partitions: m.c.Partitions, Version: m.version,
		Shares: b.NewShares(string(FanOut), m.c.Node, m.c.Partitions), Logger: m.log.With("service", string(FanOut)),
		Metrics: m.registerer(FanOut), Health: m.health, Tracer: m.tracer.Named(string(FanOut))})
	if err != nil {
		return err
	}
	m.parts = append(m.parts, part{name: string(FanOut), run: s.Run})
	m.announce(FanOut, b, nil, nil)
	return nil
}

func (m *Mesh) persister() error {
	b, err := m.connect(Persister, nil, nil)
	if err != nil {
		return err
	}
	s, err := persister.New(persister.Config{Bus: b, Store: m.store, Partitions: m.c.Partitions, Version: m.version,
		Shares: b.NewShares(string(Persister), m.c.Node, m.c.Partitions),
		Logger: m.log.With("service", string(Persister)), Metrics: m.registerer(Persister), Health: m.health,
		Tracer: m.tracer.Named(string(Persister))})
	if err != nil {
		return err
	}
	m.parts = append(m.parts, part{name: string(Persister), run: m.store.after(s.Run)})
	m.announce(Persister, b, nil, nil)
	return nil
}

func (m *Mesh) presence() error {
	b, err := m.connect(Presence, nil, nil)
	if err != nil {
		return err
	}
	s, err := presence.New(presence.Config{Bus: b, Node: m.c.Node, Version: m.version,
		Logger: m.log.With("service", string(Presence)), Metrics: m.registerer(Presence), Health: m.health})
	if err != nil {
		return err
	}
	m.parts = append(m.parts, part{name: string(Presence), run: s.Run})
	m.announce(Presence, b, nil, nil)
	return nil
}

// handler answers clients: the edge its WebSockets and who has none, the api all else under /v1, the web client the rest.
func (m *Mesh) handler() http.Handler {
	mux := http.NewServeMux()
	if m.clients.edge != nil {
		for _, path := range edge.Paths {
			mux.Handle(path, m.clients.edge)
		}
	}
	if m.clients.api != nil {
		mux.Handle("/v1/", m.clients.api)
		mux.Handle("/", web.Handler())
	}
	return mux
}

// Limits of a client's HTTP connection; a WebSocket has its own.
const (
	headerTimeout = 10 * time.Second
	bodyTimeout   = 30 * time.Second
	idleTimeout   = 2 * time.Minute
	maxHeader     = 16 << 10
)

// leastGrace is how long HTTP calls have to end, even where the edge took the whole grace.
const leastGrace = 500 * time.Millisecond

// edgeGrace is the part of the grace that the edge has to move its clients away: HTTP calls have theirs after it.
func edgeGrace(all time.Duration) time.Duration {
	return max(all-leastGrace, all/2, time.Millisecond)
}

// serve answers clients and operators until ctx ends, and finishes what was begun.
func (m *Mesh) serve(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	start := func(s *http.Server, what string, accept func() error) {
		g.Go(func() error {
			if err := accept(); !errors.Is(err, http.ErrServerClosed) {
				return fmt.Errorf("%s: %w", what, err)
			}
			return nil
		})
		g.Go(func() error {
			<-ctx.Done()
			deadline := time.Now().Add(m.c.ShutdownGrace)
			if m.clients.moved != nil { // until then whoever asks is told where to go
				select {
				case <-m.clients.moved:
				case <-time.After(m.c.ShutdownGrace):
				}
			}
			grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), max(time.Until(deadline), leastGrace))
			defer cancel()
			if err := s.Shutdown(grace); err != nil {
				return s.Close()
			}
			return nil
		})
	}
	if m.listen != nil {
		s := &http.Server{Handler: m.handler(), ReadHeaderTimeout: headerTimeout, ReadTimeout: bodyTimeout,
			IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader}
		start(s, "clients", func() error { return s.Serve(m.listen) })
	}
	s := &http.Server{Handler: run.Admin(m.health, m.metrics, m.c.Pprof), ReadHeaderTimeout: headerTimeout}
	start(s, "operators", func() error { return s.Serve(m.admin) })
	return g.Wait()
}

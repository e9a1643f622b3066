// Package edge holds the WebSockets of the people who are online and joins them to their subjects on the mesh. It promises
// that a device gets each event once and in order on a connection, or is told to sync; that what one connection does
// harms no other; and that nothing here is lost with the process but the connections themselves.
//
// A frame's way in: conn.go reads it, handle.go carries it out. A frame's way out: hub.go takes it from the broker and
// finds the person's connections, person.go puts it in order, writer.go writes it.
package edge

import (
	"context"
	"crypto/ed25519"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/chatmesh/chatmesh/pkg/auth"
	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/chatlog"
	"github.com/chatmesh/chatmesh/pkg/edges"
	"github.com/chatmesh/chatmesh/pkg/limit"
	"github.com/chatmesh/chatmesh/pkg/online"
	"github.com/chatmesh/chatmesh/pkg/run"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/trace"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// Config is what a Server needs. All fields but Metrics, Origins, PresenceGrace, MoveGrace, AwayAfter, Limits, TrustedProxies, Rebalance, ReaderEach and Tracer are required.
type Config struct {
	// Bus is this edge's own connection: its subscriptions are the people whom it hosts.
	Bus *bus.Bus
	Log *chatlog.Log
	// Partitions of the log.
	Partitions int
	Online     *online.Reporter
	// Node is the name of this edge, which is one token of a subject; Version is told to who lists the micro service.
	Node, Version string
	// MaxConnections is how many WebSockets are open at once.
	MaxConnections int
	// Rebalance has the edge send connections away when it has far more than its share.
	Rebalance bool
	// Origins are further Origins that browsers may connect from, beside the host itself.
	Origins []string
	// Limits counts what people do here; nil limits nothing.
	Limits *limit.Table
	// TrustedProxies are the networks of proxies whose X-Forwarded-For is believed.
	TrustedProxies []netip.Prefix
	// TokenTTL is how long an access token lives: so long is an ended session remembered.
	TokenTTL time.Duration
	// PresenceGrace is how long somebody whose devices vanished counts as online yet, so that one who comes back is not seen to have
	// gone. Who logs out is gone at once. Zero is not at all.
	PresenceGrace time.Duration
	// MoveGrace is how long somebody who was sent away counts as online here yet. Zero is DefaultMoveGrace.
	MoveGrace time.Duration
	// AwayAfter is after which time a device counts as idle from which nothing comes that somebody does. Zero is DefaultAwayAfter.
	AwayAfter time.Duration
	// Grace is how long clients have to go when the edge stops.
	Grace   time.Duration
	Logger  *slog.Logger
	Metrics prometheus.Registerer
	Health  *run.Health
	// ReaderEach has every connection keep a goroutine while it waits, as it does where the system has no set to wait in.
	ReaderEach bool
	// Tracer traces some of what is sent and delivered. Nil traces nothing.
	Tracer *trace.Tracer
}

// Server is an edge.
type Server struct {
	c        Config
	hub      *hub
	ready    readiness
	readers  readers
	watchers *watchers
	marks    *marks
	verifier *auth.Verifier
	upgrader websocket.Upgrader
	// typingPace is of one person in one chat, also without limits.
	typingPace *limit.Pace
	told       told
	m          *metrics

	// in gets every message of every subscription. When it is full, the broker's client drops and tells Lost.
	in chan *nats.Msg

	keysMu sync.Mutex // guards keys
	keys   map[string]ed25519.PublicKey

	revoked *revoked

	// buffers are what frames are written from, of []byte.
	buffers sync.Pool
	// libraryBuffers are the library's to write from.
	libraryBuffers sync.Pool

	mover *mover
	// edges are all that live, this one too.
	edges edges.Directory
	// changed asks for an announcement.
	changed  chan struct{}
	stopping atomic.Bool
	lost     chan struct{}
	// firmAt is when the ground was last known to be firm before it was lost, in Unix nanoseconds; zero while it is.
	firmAt  atomic.Int64
	pollers *pollers
	ends    *ends
	// repairs bounds how many holes are filled at once.
	repairs chan struct{}
	// catchUps bounds how many connections catch up at once.
	catchUps chan struct{}
	wg       sync.WaitGroup
	// work is the context of requests: it outlives Run's by the grace.
	work     context.Context
	stopWork context.CancelFunc
}

// DefaultAwayAfter is Config.AwayAfter where nobody says another.
const DefaultAwayAfter = 10 * time.Minute

// Bounds of an edge.
const (
	// inboxMessages is how many messages from the broker wait to be handed out.
	inboxMessages = 65_536
	repairsAtOnce = 64
	// requestTimeout bounds one request of a client; it stays below the patience of clients.
	requestTimeout = 15 * time.Second
)

// New validates the configuration.
func New(c Config) (*Server, error) {
	if c.Bus == nil || c.Log == nil || c.Online == nil || c.Logger == nil || c.Health == nil || c.Partitions < 1 || c.Grace <= 0 || c.TokenTTL <= 0 {
		return nil, errors.New("edge: bus, log, partitions, online, logger, health, grace and token TTL are required")
	}
	if c.Node == "" || c.Version == "" || c.MaxConnections < 1 {
		return nil, errors.New("edge: node, version and the most connections are required")
	}
	if c.MoveGrace <= 0 {
		c.MoveGrace = DefaultMoveGrace
	}
	if c.AwayAfter <= 0 {
		c.AwayAfter = DefaultAwayAfter
	}
	s := &Server{
		c: c, verifier: auth.NewVerifier(), m: newMetrics(c.Metrics),
		in: make(chan *nats.Msg, inboxMessages), keys: map[string]ed25519.PublicKey{},
		revoked: newRevoked(), lost: make(chan struct{}, 1), changed: make(chan struct{}, 1), repairs: make(chan struct{}, repairsAtOnce),
		catchUps: make(chan struct{}, catchUpsAtOnce),
	}
	s.work, s.stopWork = context.WithCancel(context.Background())
	s.hub, s.watchers, s.marks, s.mover = newHub(s), newWatchers(s), newMarks(s), newMover(s)
	s.pollers, s.ends = newPollers(), newEnds()
	s.m.capacity.Set(float64(c.MaxConnections))
	s.typingPace = limit.NewPace()
	s.upgrader = websocket.Upgrader{
		HandshakeTimeout: 5 * time.Second,
		Subprotocols:     []string{wire.Subprotocol},
		ReadBufferSize:   0, // that of the HTTP server, see hijacker
		WriteBufferSize:  4096,
		WriteBufferPool:  &sync.Pool{},
		CheckOrigin:      s.checkOrigin,
		Error: func(w http.ResponseWriter, _ *http.Request, status int, _ error) {
			code := chat.BadRequest
			if status == http.StatusForbidden {
				code = chat.Forbidden
			}
			problem(w, status, code, http.StatusText(status))
		},
	}
	c.Health.Set("token keys", errors.New("none is known yet"))
	return s, nil
}

// Shaken tells that the connection to the broker has broken: from now on messages may be lost, until Lost.
func (s *Server) Shaken() { s.firmAt.CompareAndSwap(0, time.Now().UnixNano()) }

// firm is the moment up to which nothing was lost, and ends it.
func (s *Server) firm() time.Time {
	if at := s.firmAt.Swap(0); at != 0 {
		return time.Unix(0, at)
	}
	return time.Now()
}

// Lost tells that messages from the broker may have been lost, and that it can be read again. It does not block.
func (s *Server) Lost() {
	select {
	case s.lost <- struct{}{}:
	default:
	}
}

// Paths are what Handler serves.
var Paths = []string{"/v1/ws", "/v1/events", "/v1/poll"}

// Handler serves Paths.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	for i, serve := range []http.HandlerFunc{s.connect, s.events, s.poll} {
		mux.HandleFunc("GET "+Paths[i], serve)
		mux.HandleFunc("HEAD "+Paths[i], onlyGet)
		mux.HandleFunc(Paths[i], onlyGet)
	}
	return mux
}

// onlyGet refuses all other methods.
func onlyGet(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Allow", http.MethodGet)
	problem(w, http.StatusMethodNotAllowed, chat.BadRequest, "this is asked for with GET")
}

// checkOrigin lets programs in, which send no Origin, and pages of this host or of one that is allowed.
func (s *Server) checkOrigin(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" || slices.Contains(s.c.Origins, origin) {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && strings.EqualFold(u.Host, r.Host)
}

// Connections is how many connections are open.
func (s *Server) Connections() int64 { return s.hub.connections.Load() }

// Run hands out what the broker sends until ctx ends; then it asks the clients to go, and returns when they are gone or the
// grace is over.
func (s *Server) Run(ctx context.Context) error {
	ctx, fail := context.WithCancel(ctx)
	defer fail()
	hubCtx, stopHub := context.WithCancel(context.WithoutCancel(ctx))
	defer stopHub()
	var hubDone sync.WaitGroup
	hubDone.Go(func() { s.hub.run(hubCtx) })
	hubDone.Go(func() { s.hub.tend(hubCtx) })
	hubDone.Go(func() {
		if err := s.ready.run(hubCtx); err != nil {
			s.c.Logger.Warn("connections cannot wait in a set: each has a goroutine", "error", err)
		}
	})
	hubDone.Go(func() { s.marks.run(hubCtx) })
	hubDone.Go(func() { s.mover.run(hubCtx) })
	hubDone.Go(func() { s.edges.Run(hubCtx, s.c.Bus) })
	var watch sync.WaitGroup
	watch.Go(func() { s.watchKeys(ctx) })
	watch.Go(func() { s.watchRevoked(ctx) })
	if s.c.Rebalance {
		watch.Go(func() { s.balance(ctx) })
	}
	var serving error
	watch.Go(func() {
		serving = s.c.Bus.Serve(ctx, s.c.Version, []bus.Endpoint{s.endpoint()}, nil)
		if serving != nil {
			fail()
		}
	})
	<-ctx.Done()
	s.stop()
	s.marks.flush()
	s.stopWork()
	s.wg.Wait()
	stopHub()
	hubDone.Wait()
	watch.Wait()
	return serving
}

// askKey asks the broker for a key that has not come yet.
func (s *Server) askKey(ctx context.Context, kid string) (ed25519.PublicKey, error) {
	text, err := s.c.Bus.Key(ctx, subject.Keys, kid)
	if errors.Is(err, bus.ErrNotFound) {
		return nil, nil
	}
	key, _ := auth.DecodePublicKey(kid, text)
	return key, err
}

// watchKeys keeps the keys that access tokens are verified with.
func (s *Server) watchKeys(ctx context.Context) {
	s.c.Bus.Watch(ctx, subject.Keys, nil, nil, func(k bus.KeyChange) {
		s.keysMu.Lock()
		defer s.keysMu.Unlock()
		key, ok := auth.DecodePublicKey(k.Key, k.Value)
		if ok && key.Equal(s.keys[k.Key]) {
			return // published again
		}
		if ok {
			s.keys[k.Key] = key
		} else {
			delete(s.keys, k.Key)
		}
		if err := s.verifier.SetKeys(maps.Clone(s.keys)); err != nil {
			s.c.Logger.Error("token keys are not usable", "error", err)
			return
		}
		if len(s.keys) > 0 {
			s.c.Health.Set("token keys", nil)
		}
	})
}

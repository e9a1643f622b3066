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
	"encoding/base64"
	"errors"
	"log/slog"
	"maps"
	"net/http"
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
	"github.com/chatmesh/chatmesh/pkg/limit"
	"github.com/chatmesh/chatmesh/pkg/online"
	"github.com/chatmesh/chatmesh/pkg/run"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// Config is what a Server needs. All fields but Metrics and Origins are required.
type Config struct {
	// Bus is this edge's own connection: its subscriptions are the people whom it hosts.
	Bus *bus.Bus
	Log *chatlog.Log
	// Partitions of the log.
	Partitions int
	Online     *online.Reporter
	// Origins are further Origins that browsers may connect from, beside the host itself.
	Origins []string
	// RateLimits turns the limits per person on.
	RateLimits bool
	// TokenTTL is how long an access token lives: so long is an ended session remembered.
	TokenTTL time.Duration
	// Grace is how long clients have to go when the edge stops.
	Grace   time.Duration
	Logger  *slog.Logger
	Metrics prometheus.Registerer
	Health  *run.Health
}

// Server is an edge.
type Server struct {
	c        Config
	hub      *hub
	watchers *watchers
	verifier *auth.Verifier
	upgrader websocket.Upgrader
	sends    *limit.Limiter
	typings  *limit.Limiter
	m        *metrics

	// in gets every message of every subscription. When it is full, the broker's client drops and tells Lost.
	in chan *nats.Msg

	keysMu sync.Mutex // guards keys
	keys   map[string]ed25519.PublicKey

	revoked *revoked

	draining atomic.Bool
	lost     chan struct{}
	// firmAt is when the ground was last known to be firm before it was lost, in Unix nanoseconds; zero while it is.
	firmAt atomic.Int64
	// repairs bounds how many holes are filled at once.
	repairs chan struct{}
	wg      sync.WaitGroup
	// work is the context of requests: it outlives Run's by the grace.
	work     context.Context
	stopWork context.CancelFunc
}

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
	s := &Server{
		c: c, verifier: auth.NewVerifier(), m: newMetrics(c.Metrics),
		in: make(chan *nats.Msg, inboxMessages), keys: map[string]ed25519.PublicKey{},
		revoked: newRevoked(), lost: make(chan struct{}, 1), repairs: make(chan struct{}, repairsAtOnce),
	}
	s.work, s.stopWork = context.WithCancel(context.Background())
	s.hub, s.watchers = newHub(s), newWatchers(s)
	var sends, typings limit.Config
	if c.RateLimits {
		sends = limit.Config{Rate: 20, Burst: 100, MaxKeys: 100_000}
		typings = limit.Config{Rate: 2, Burst: 10, MaxKeys: 100_000}
	}
	s.sends, s.typings = limit.New(sends), limit.New(typings)
	s.upgrader = websocket.Upgrader{
		HandshakeTimeout: 5 * time.Second,
		Subprotocols:     []string{wire.Subprotocol},
		ReadBufferSize:   512, // idle connections are many; frames are small or read in large pieces anyway
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

// Handler serves /v1/ws.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/ws", s.connect)
	mux.HandleFunc("/v1/ws", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Allow", http.MethodGet)
		problem(w, http.StatusMethodNotAllowed, chat.BadRequest, "a WebSocket begins with GET")
	})
	return mux
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
	hubCtx, stopHub := context.WithCancel(context.WithoutCancel(ctx))
	defer stopHub()
	var hubDone sync.WaitGroup
	hubDone.Go(func() { s.hub.run(hubCtx) })
	hubDone.Go(func() { s.hub.tend(hubCtx) })
	var watch sync.WaitGroup
	watch.Go(func() { s.watchKeys(ctx) })
	watch.Go(func() { s.watchRevoked(ctx) })
	<-ctx.Done()
	s.drain()
	s.stopWork()
	s.wg.Wait()
	stopHub()
	hubDone.Wait()
	watch.Wait()
	return nil
}

// reconnectSpread is the time over which clients of an edge that stops spread their return.
const reconnectSpread = 2 * time.Second

// drain tells every client to go and closes its connection once its requests are answered.
func (s *Server) drain() {
	s.draining.Store(true)
	frame := wire.Encode(wire.Draining{Type: wire.TypeDraining, ReconnectAfterMS: reconnectSpread.Milliseconds()})
	for _, c := range s.hub.all() {
		c.enqueue(frame)
		c.finishAfterWork(wire.CloseDraining, "this edge is going away")
	}
	deadline := time.Now().Add(s.c.Grace)
	for s.hub.connections.Load() > 0 && time.Now().Before(deadline) {
		_ = bus.Sleep(context.Background(), 10*time.Millisecond)
	}
	for _, c := range s.hub.all() {
		c.abort()
	}
}

// watchKeys keeps the keys that access tokens are verified with.
func (s *Server) watchKeys(ctx context.Context) {
	s.c.Bus.Watch(ctx, subject.Keys, nil, nil, func(k bus.KeyChange) {
		s.keysMu.Lock()
		defer s.keysMu.Unlock()
		if raw, err := base64.StdEncoding.DecodeString(string(k.Value)); err == nil && len(raw) == ed25519.PublicKeySize {
			s.keys[k.Key] = raw
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

// Package api owns the HTTP calls under /v1 and the endpoints of the micro service: accounts and sessions, chats and their
// members, history, read cursors, and who may ask for whose presence. It promises that bad input gets a clear error with
// a stable code, that a stranger learns nothing of a chat, not even that it exists, and that what an answer says is done is
// durable.
package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/chatmesh/chatmesh/pkg/auth"
	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/chatlog"
	"github.com/chatmesh/chatmesh/pkg/store"
)

// Log is what the api needs of the log of the chats. A *chatlog.Log is one.
type Log interface {
	Append(ctx context.Context, id chat.ID, cmd chat.Command) (chatlog.Receipt, error)
	Snapshot(ctx context.Context, id chat.ID) (chatlog.Snapshot, error)
	Snapshots(ctx context.Context, ids []chat.ID) (map[chat.ID]chatlog.Snapshot, error)
	Page(ctx context.Context, id chat.ID, r store.Range) (chatlog.Page, error)
	MarkRead(ctx context.Context, id chat.ID, user chat.UserID, seq chat.Seq) (moved bool, err error)
	Cursor(ctx context.Context, id chat.ID, user chat.UserID) (store.Cursor, error)
	Tail
}

// Settings are what an operator may change. A zero value is the default.
type Settings struct {
	// RefreshTTL is how long a session lives without a refresh; zero is 30 days.
	RefreshTTL time.Duration
	// RequestTimeout bounds one HTTP call, its body included; zero is 15 seconds.
	RequestTimeout time.Duration
}

// Config is what a Server needs. All but Limits, Settings and Metrics is required.
type Config struct {
	Bus      *bus.Bus
	Log      Log
	Store    store.Store
	Hasher   *auth.Hasher
	Signer   *auth.Signer
	Verifier *auth.Verifier
	// Limits switches on the limits of logging in, registering and calling.
	Limits   bool
	Settings Settings
	Logger   *slog.Logger
	Metrics  prometheus.Registerer
	// Version is told to who lists the micro service, Node stands in the log.
	Version, Node string
}

// Server answers the calls. It may be used by many goroutines.
type Server struct {
	bus      *bus.Bus
	log      Log
	store    store.Store
	older    *Older
	hasher   *auth.Hasher
	signer   *auth.Signer
	verifier *auth.Verifier
	limits   limits
	set      Settings
	logger   *slog.Logger
	metrics  *metrics
	version  string

	revoked  *revoked
	unstored unstored
	handler  http.Handler
	// knowsKeys and knowsRevoked say that what was published before this process began is known.
	knowsKeys, knowsRevoked atomic.Bool
	// storeAway says that the last call to the store failed.
	storeAway atomic.Bool
}

// New returns a server, or tells what is missing in c. It answers calls that need a token once Run has learned which sessions
// have ended.
func New(c Config) (*Server, error) {
	switch {
	case c.Bus == nil, c.Log == nil, c.Store == nil:
		return nil, errors.New("api: bus, log and store are required")
	case c.Hasher == nil, c.Signer == nil, c.Verifier == nil:
		return nil, errors.New("api: hasher, signer and verifier are required")
	case c.Logger == nil, c.Version == "", c.Node == "":
		return nil, errors.New("api: logger, version and node are required")
	case c.Settings.RefreshTTL < 0, c.Settings.RequestTimeout < 0:
		return nil, errors.New("api: a setting is negative")
	}
	if c.Settings.RefreshTTL == 0 {
		c.Settings.RefreshTTL = 30 * 24 * time.Hour
	}
	if c.Settings.RequestTimeout == 0 {
		c.Settings.RequestTimeout = 15 * time.Second
	}
	if c.Settings.RefreshTTL <= c.Signer.TTL() {
		return nil, fmt.Errorf("api: a session of %v ends before its first token of %v", c.Settings.RefreshTTL, c.Signer.TTL())
	}
	m, err := newMetrics(c.Metrics)
	if err != nil {
		return nil, fmt.Errorf("api: metrics: %w", err)
	}
	s := &Server{bus: c.Bus, log: c.Log, store: c.Store, hasher: c.Hasher, signer: c.Signer, verifier: c.Verifier,
		limits: newLimits(c.Limits), set: c.Settings, logger: c.Logger.With("service", "api", "node", c.Node), metrics: m,
		version: c.Version, revoked: newRevoked(c.Signer.TTL())}
	s.older = NewOlder(c.Store)
	s.older.SetTail(c.Log)
	s.handler = s.routes()
	return s, nil
}

// Handler answers everything under /v1 that is not an edge's: unknown paths too.
func (s *Server) Handler() http.Handler { return s.handler }

// Check fails until calls with a token can be answered: until then it is not known which tokens are good.
func (s *Server) Check(context.Context) error {
	if !s.knowsKeys.Load() || !s.knowsRevoked.Load() {
		return chat.Retry(chat.Unavailable, time.Second, "this node is starting")
	}
	return nil
}

// Run answers the endpoints of the micro service, publishes the key of the signer, and follows the keys of other nodes and
// the sessions that end on them, until ctx ends. What has begun by then is finished.
func (s *Server) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		s.publishKey(ctx)
		return nil
	})
	g.Go(func() error {
		s.followKeys(ctx)
		return nil
	})
	g.Go(func() error {
		s.followRevoked(ctx)
		return nil
	})
	g.Go(func() error {
		s.revoked.pruneUntil(ctx)
		return nil
	})
	g.Go(func() error {
		return s.bus.Serve(ctx, s.version, append(s.endpoints(), s.opsEndpoints()...), s.metrics.observeMicro)
	})
	return g.Wait()
}

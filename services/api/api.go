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
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/chatmesh/chatmesh/pkg/auth"
	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/chatlog"
	"github.com/chatmesh/chatmesh/pkg/edges"
	"github.com/chatmesh/chatmesh/pkg/limit"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/trace"
)

// Log is what the api needs of the log of the chats. A *chatlog.Log is one.
type Log interface {
	Append(ctx context.Context, id chat.ID, cmd chat.Command) (chatlog.Receipt, error)
	Snapshot(ctx context.Context, id chat.ID) (chatlog.Snapshot, error)
	Snapshots(ctx context.Context, ids []chat.ID) (map[chat.ID]chatlog.Snapshot, error)
	Page(ctx context.Context, id chat.ID, r store.Range) (chatlog.Page, error)
	Mark(ctx context.Context, id chat.ID, user chat.UserID, m chatlog.Move) (moved bool, err error)
	Cursor(ctx context.Context, id chat.ID, user chat.UserID) (store.Cursor, error)
	Cursors(ctx context.Context, id chat.ID) (map[chat.UserID]store.Cursor, error)
	PutStubs(ctx context.Context, id chat.ID, stubs []chat.Event) error
	Scrub(ctx context.Context, id chat.ID, seqs ...chat.Seq) error
	Tail
}

// Settings are what an operator may change. A zero value is the default.
type Settings struct {
	// RefreshTTL is how long a session lives without a refresh; zero is 30 days.
	RefreshTTL time.Duration
	// RequestTimeout bounds one HTTP call, its body included; zero is 15 seconds.
	RequestTimeout time.Duration
	// DeletionGrace is how long after its begin the deletion of an account ends at the earliest; zero is a minute. Until then what a node
	// that had not heard of it was still carrying is erased as well.
	DeletionGrace time.Duration
}

// Config is what a Server needs. All but Limits, Settings, Metrics and Tracer is required.
type Config struct {
	Bus      *bus.Bus
	Log      Log
	Store    store.Store
	Hasher   *auth.Hasher
	Signer   *auth.Signer
	Verifier *auth.Verifier
	// TrustedProxies are the networks of proxies whose X-Forwarded-For is believed.
	TrustedProxies []netip.Prefix
	// Limits counts what people and strangers do; nil limits nothing.
	Limits   *limit.Table
	Settings Settings
	Logger   *slog.Logger
	Metrics  prometheus.Registerer
	// Version is told to who lists the micro service, Node stands in the log.
	Version, Node string
	// Tracer traces some of the calls. Nil traces none.
	Tracer *trace.Tracer
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
	limits   *limit.Table
	// typingPace is of one person in one chat, also without limits.
	typingPace *limit.Pace
	proxies    []netip.Prefix
	set        Settings
	logger     *slog.Logger
	metrics    *metrics
	version    string
	node       string
	tracer     *trace.Tracer

	revoked  *revoked
	unstored unstored
	// deletions are the accounts that are being deleted.
	deletions deletions
	edges     edges.Directory
	handler   http.Handler
	// knowsKeys and knowsRevoked say that what was published before this process began is known.
	knowsKeys, knowsRevoked atomic.Bool
	// published says that others can know the key of this node's tokens.
	published atomic.Bool
	// knowsEdge says that there has been an edge.
	knowsEdge atomic.Bool
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
	case c.Settings.RefreshTTL < 0, c.Settings.RequestTimeout < 0, c.Settings.DeletionGrace < 0:
		return nil, errors.New("api: a setting is negative")
	}
	if c.Settings.RefreshTTL == 0 {
		c.Settings.RefreshTTL = 30 * 24 * time.Hour
	}
	if c.Settings.RequestTimeout == 0 {
		c.Settings.RequestTimeout = 15 * time.Second
	}
	if c.Settings.DeletionGrace == 0 {
		c.Settings.DeletionGrace = time.Minute
	}
	if c.Settings.RefreshTTL <= c.Signer.TTL() {
		return nil, fmt.Errorf("api: a session of %v ends before its first token of %v", c.Settings.RefreshTTL, c.Signer.TTL())
	}
	m, err := newMetrics(c.Metrics)
	if err != nil {
		return nil, fmt.Errorf("api: metrics: %w", err)
	}
	s := &Server{bus: c.Bus, log: c.Log, store: c.Store, hasher: c.Hasher, signer: c.Signer, verifier: c.Verifier,
		limits: c.Limits, typingPace: limit.NewPace(), proxies: c.TrustedProxies, set: c.Settings, logger: c.Logger.With("service", "api", "node", c.Node), metrics: m,
		version: c.Version, node: c.Node, deletions: newDeletions(c.Settings.DeletionGrace), tracer: c.Tracer, revoked: newRevoked(c.Signer.TTL())}
	s.older = NewOlder(c.Store)
	s.older.SetTail(c.Log)
	s.handler = s.routes()
	return s, nil
}

// Handler answers everything under /v1 that is not an edge's: unknown paths too.
func (s *Server) Handler() http.Handler { return s.handler }

// errStarting is the answer to what cannot be done yet.
var errStarting = chat.Retry(chat.Unavailable, time.Second, "this node is starting")

// Check fails until tokens can be checked, and made: until then it is not known which are good, nor does anybody know the key of those
// of this node.
func (s *Server) Check(context.Context) error {
	if !s.published.Load() {
		return errStarting
	}
	return s.knowsTokens()
}

// knowsTokens fails until calls with a token can be answered.
func (s *Server) knowsTokens() error {
	if !s.knowsKeys.Load() || !s.knowsRevoked.Load() {
		return errStarting
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
		s.edges.Run(ctx, s.bus)
		return nil
	})
	g.Go(func() error {
		s.revoked.pruneUntil(ctx)
		return nil
	})
	g.Go(func() error {
		s.eraseAccounts(ctx)
		return nil
	})
	g.Go(func() error {
		return s.bus.Serve(ctx, s.version, append(s.endpoints(), s.opsEndpoints()...), s.metrics.observeMicro)
	})
	return g.Wait()
}

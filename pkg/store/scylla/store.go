package scylla

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/gocql/gocql"
	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/scylladb/gocqlx/v2"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/store"
)

// What a Store remembers, and how much of it: 100,000 chats take about 15 MB.
const (
	rememberedHeads  = 50_000
	rememberedListed = 50_000
	rememberedLong   = 10_000
)

// Store keeps everything in a cluster. It is a store.Store, safe for concurrent use.
type Store struct {
	o       Options
	log     *slog.Logger
	metrics *metrics

	// heads says where the head of a chat is at least, so that a page needs no second request; listed holds chats that are known
	// to be in chat_index. Both are bounded, and neither has to be complete.
	heads  *lru.Cache[chat.ID, chat.Seq]
	listed *lru.Cache[chat.ID, struct{}]
	// long holds chats that have shown long bodies.
	long *lru.Cache[chat.ID, struct{}]
	// slots bounds the writes that are on their way; further ones wait.
	slots chan struct{}
	// hedge says whether a read that is slow is asked of a second host.
	hedge *hedge

	life context.Context // ends with Close
	end  context.CancelFunc
	run  sync.WaitGroup // the keeper

	mu      sync.RWMutex // guards the following fields
	session *gocqlx.Session
	why     error // why session is nil, or what Ping has to say although it is not
	closed  bool
	calls   sync.WaitGroup // added to under mu while not closed

	close sync.Once
}

var _ store.Store = (*Store)(nil)

// inFlight is how many writes one Store has on their way at once.
const inFlight = 128

// Open validates the options and begins to connect. It does not wait for the cluster: as long as it is not there calls fail
// with ErrUnreachable or ErrOlder, and Ping says which.
func Open(o Options) (*Store, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, fail("open", chat.Errorf(chat.BadRequest, "%v", err))
	}
	s := &Store{o: o, log: o.Log, metrics: newMetrics(), hedge: newHedge(o.LocalDC), slots: make(chan struct{}, inFlight),
		why: fmt.Errorf("%w yet", ErrUnreachable)}
	if s.heads, err = lru.New[chat.ID, chat.Seq](rememberedHeads); err != nil {
		return nil, fail("open", err)
	}
	if s.listed, err = lru.New[chat.ID, struct{}](rememberedListed); err != nil {
		return nil, fail("open", err)
	}
	if s.long, err = lru.New[chat.ID, struct{}](rememberedLong); err != nil {
		return nil, fail("open", err)
	}
	s.life, s.end = context.WithCancel(context.Background())
	s.run.Go(s.keep)
	return s, nil
}

// call is one call of the interface: its context, which has the call's budget, and the session that it uses.
type call struct {
	*Store
	gocqlx.Session
	ctx context.Context
}

// begin begins a call. Where it succeeds the call ends with done.
func (s *Store) begin(ctx context.Context) (c call, done func(), err error) {
	if err := ctx.Err(); err != nil {
		return call{}, nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	switch {
	case s.closed:
		return call{}, nil, ErrClosed
	case s.session == nil:
		return call{}, nil, s.why
	}
	s.calls.Add(1)
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	stop := context.AfterFunc(s.life, cancel)
	return call{s, *s.session, ctx}, func() {
		stop()
		cancel()
		s.calls.Done()
	}, nil
}

// do runs one call under the name of its operation.
func (s *Store) do(ctx context.Context, op string, f func(call) error) error {
	c, done, err := s.begin(ctx)
	if err != nil {
		return fail(op, err)
	}
	defer done()
	err = f(c)
	if err != nil && s.life.Err() != nil {
		err = ErrClosed
	} else if err != nil && ctx.Err() != nil && !errors.Is(err, ctx.Err()) {
		err = errors.Join(ctx.Err(), quiet(err))
	}
	s.metrics.count(op, err)
	return fail(op, err)
}

// Ping tells whether the cluster can be reached and has the schema that this program needs. It fails with ErrUnreachable,
// ErrOlder, ErrNewer or ErrClosed; the text names the versions.
func (s *Store) Ping(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fail("ping", err)
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return fail("ping", ErrClosed)
	}
	return fail("ping", s.why)
}

// Close ends the calls that are running, the keeper and the connections, and waits for them, for the driver a short time only. Calls that come later fail with ErrClosed; a second
// Close waits for the first.
func (s *Store) Close() error {
	s.close.Do(func() {
		s.mu.Lock()
		s.closed = true
		s.mu.Unlock()
		s.end()
		s.calls.Wait()
		waitShortly(s.run.Wait)
	})
	return nil
}

// read is a query that changes nothing: it may be repeated, and is asked of a second host when the first is slow.
func (c call) read(stmt string, names []string) *gocqlx.Queryx {
	return c.ContextQuery(c.ctx, stmt, names).Idempotent(true).SetSpeculativeExecutionPolicy(c.hedge)
}

// settled is a read at serial consistency: it sees every lightweight transaction that was confirmed, and settles those that
// are in the balance.
func (c call) settled(stmt string, names []string) *gocqlx.Queryx {
	return c.read(stmt, names).Consistency(gocql.Consistency(gocql.LocalSerial))
}

package scylla

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/gocql/gocql"
	"github.com/scylladb/gocqlx/v2"
)

// The keeper owns the session: it makes it, watches it, and makes a new one where the driver does not find back by itself.
const (
	// firstWait and lastWait bound the time between two attempts to connect; it doubles in between.
	firstWait, lastWait = 100 * time.Millisecond, 2 * time.Second
	// watchEvery is how often a session is tried, and probeTime how long the answer may take.
	watchEvery, probeTime = time.Second, 2 * time.Second
	// patience is for how long no host may answer before calls fail at once and the session is given up.
	patience = 4 * time.Second
	// closeTime is how long the driver is waited for when a session ends. It waits itself, for a minute and more, for the answers of
	// a host that stands still; what remains of it then ends when they come or time out.
	closeTime = 2 * time.Second
)

// keep makes sessions until the store is closed.
func (s *Store) keep() {
	for wait := firstWait; s.life.Err() == nil; {
		session, err := s.connect()
		if err == nil {
			wait = firstWait
			err = s.watch(session)
			s.set(nil, err)
			waitShortly(session.Close)
		}
		s.set(nil, err)
		s.pause(wait/2 + rand.N(wait))
		wait = min(2*wait, lastWait)
	}
	s.set(nil, ErrClosed)
}

// waitShortly calls f and waits until it returns, but not longer than closeTime.
func waitShortly(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	t := time.NewTimer(closeTime)
	defer t.Stop()
	select {
	case <-done:
	case <-t.C:
	}
}

// pause waits, or less where the store is closed.
func (s *Store) pause(d time.Duration) { _ = sleep(s.life, d) }

// set says what calls get from now on. A change is logged.
func (s *Store) set(session *gocqlx.Session, why error) {
	s.mu.Lock()
	before, was := s.why, s.session != nil
	s.session, s.why = session, why
	s.mu.Unlock()
	s.metrics.up(session != nil)
	if s.life.Err() != nil || was == (session != nil) && fmt.Sprint(before) == fmt.Sprint(why) {
		return
	}
	switch {
	case session == nil:
		s.log.Warn("store cannot be used", "error", why)
	case why != nil:
		s.log.Warn("store is used all the same", "error", why)
	default:
		s.log.Info("store can be used")
	}
}

// connect makes a session. It fails with ErrUnreachable or ErrOlder.
func (s *Store) connect() (gocqlx.Session, error) {
	session, err := s.o.session(s.o.Keyspace, s.hedge)
	if err == nil {
		return session, nil
	}
	// The driver does not tell a keyspace that is missing from a host that is.
	bare, bareErr := s.o.session("", nil)
	if bareErr != nil {
		return session, unreachable(bareErr)
	}
	defer bare.Close()
	ctx, cancel := context.WithTimeout(s.life, probeTime)
	defer cancel()
	there, checkErr := hasKeyspace(ctx, bare, s.o.Keyspace)
	if checkErr == nil && !there {
		return session, older(0)
	}
	return session, unreachable(err)
}

// unreachable is ErrUnreachable with what the driver says of it in one line. No data of people is in it: nothing was asked yet.
func unreachable(err error) error {
	return fmt.Errorf("%w: %s", ErrUnreachable, strings.Join(strings.Fields(err.Error()), " "))
}

// session connects to the cluster. h, if there is one, is told which hosts there are.
func (o Options) session(keyspace string, h *hedge) (gocqlx.Session, error) {
	c, err := o.cluster(keyspace)
	if err != nil {
		return gocqlx.Session{}, err
	}
	balanced := gocql.RoundRobinHostPolicy()
	if o.LocalDC != "" {
		balanced = gocql.DCAwareRoundRobinPolicy(o.LocalDC)
	}
	if h == nil {
		h = newHedge(o.LocalDC)
	}
	h.forget()
	policy := &watched{HostSelectionPolicy: gocql.TokenAwareHostPolicy(balanced), hedge: h}
	c.PoolConfig.HostSelectionPolicy = policy
	session, err := gocql.NewSession(*c)
	if err != nil && policy.session != nil {
		policy.session.Close() // the fork leaves the goroutines of a session that could not connect behind
	}
	return gocqlx.WrapSession(session, err)
}

func hasKeyspace(ctx context.Context, session gocqlx.Session, keyspace string) (bool, error) {
	var name string
	err := session.ContextQuery(ctx, "SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = ?", nil).
		Bind(keyspace).Idempotent(true).Scan(&name)
	if errors.Is(err, gocql.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// watch lends the session to calls for as long as it is good and the schema fits. It returns why it no longer is.
func (s *Store) watch(session gocqlx.Session) error {
	last := time.Now() // when a host answered
	for s.life.Err() == nil {
		err := s.probe(session)
		switch {
		case err == nil || errors.Is(err, ErrNewer):
			last = time.Now()
			s.set(&session, err)
		case errors.Is(err, ErrOlder) || errors.Is(err, ErrChanged):
			last = time.Now()
			s.set(nil, err)
		case errors.As(err, new(gocql.RequestError)): // a host answers, and the calls will see what it can do
			last = time.Now()
		case time.Since(last) > patience:
			return unreachable(err)
		}
		s.pause(watchEvery)
	}
	return ErrClosed
}

// probe asks which migrations were run.
func (s *Store) probe(session gocqlx.Session) error {
	ctx, cancel := context.WithTimeout(s.life, probeTime)
	defer cancel()
	run, err := applied(ctx, session, s.o.Keyspace, gocql.LocalOne) // so that it does not need every replica
	if err != nil {
		return err
	}
	return compare(run)
}

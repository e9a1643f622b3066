// Package persister carries the events of every chat's log, the states and the cursors into the store. It promises that an
// event is acknowledged only once the store holds it, and that what can never be written does not keep back what can.
package persister

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/run"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// Config is what a Server needs. All fields but Metrics and Version are required.
type Config struct {
	Bus        *bus.Bus
	Store      store.Sink
	Partitions int
	Logger     *slog.Logger
	Metrics    prometheus.Registerer
	Health     *run.Health
	// Version is told to who lists the micro service; empty is 0.0.0.
	Version string
}

// Server is a persister for every partition, of which it is the active one or the one that waits.
type Server struct {
	c                    Config
	persisted, deadCount prometheus.Counter
	lag                  *prometheus.GaugeVec
	deadLetters          prometheus.Gauge
}

// New validates the configuration.
func New(c Config) (*Server, error) {
	if c.Bus == nil || c.Store == nil || c.Logger == nil || c.Health == nil || c.Partitions < 1 {
		return nil, errors.New("persister: bus, store, logger, health and partitions are required")
	}
	opts := func(name, help string) prometheus.Opts {
		return prometheus.Opts{Namespace: "chatmesh", Subsystem: "persister", Name: name, Help: help}
	}
	s := &Server{
		c:         c,
		persisted: prometheus.NewCounter(prometheus.CounterOpts(opts("persisted_total", "Events, states and cursors that the store holds."))),
		deadCount: prometheus.NewCounter(prometheus.CounterOpts(opts("dead_letters_total", "Events that can never be written."))),
		lag:       prometheus.NewGaugeVec(prometheus.GaugeOpts(opts("lag_messages", "Events that wait, by stream.")), []string{"stream"}),
		deadLetters: prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "chatmesh", Name: "deadletters",
			Help: "Dead letters of the worker that wait for an operator."}),
	}
	if c.Metrics != nil {
		c.Metrics.MustRegister(s.persisted, s.deadCount, s.lag, s.deadLetters)
	}
	if s.c.Version == "" {
		s.c.Version = "0.0.0"
	}
	return s, nil
}

// Run works until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		return s.c.Bus.LookAfter(ctx, bus.Undertaker{Worker: subject.Persister, Endpoint: subject.PersisterRetryEndpoint,
			Version: s.c.Version, Handle: s.again, Count: s.deadLetters.Set})
	})
	for p := range s.c.Partitions {
		for _, stream := range []string{subject.ChatStream(p), subject.CursorStream(p)} {
			g.Go(func() error {
				return s.c.Bus.Work(ctx, bus.Worker{
					Stream: stream, Consumer: subject.Persister,
					Handle:  func(ctx context.Context, batch []bus.Delivery) error { return s.write(ctx, p, stream, batch) },
					OnState: func(err error) { s.c.Health.Set("persister "+stream, err) },
				})
			})
		}
	}
	return g.Wait()
}

// write keeps a batch of a stream.
func (s *Server) write(ctx context.Context, partition int, stream string, batch []bus.Delivery) error {
	var b store.Batch
	var good []bus.Delivery
	for _, d := range batch {
		if err := add(&b, d); err != nil {
			if err := s.putAside(ctx, partition, d, err); err != nil {
				return err
			}
			continue
		}
		good = append(good, d)
	}
	err := s.c.Store.Write(ctx, b)
	if chat.Is(err, chat.BadRequest) {
		err = s.writeEach(ctx, partition, good)
	}
	if err != nil {
		return err
	}
	s.persisted.Add(float64(len(b.Events) + len(b.States) + len(b.Cursors)))
	s.lag.WithLabelValues(stream).Set(float64(batch[len(batch)-1].Pending))
	return nil
}

// writeEach keeps the deliveries of a batch that the store refuses one by one, and puts aside those that it will never take.
func (s *Server) writeEach(ctx context.Context, partition int, batch []bus.Delivery) error {
	for _, d := range batch {
		var b store.Batch
		err := add(&b, d)
		if err == nil {
			err = s.c.Store.Write(ctx, b)
		}
		if chat.Is(err, chat.BadRequest) {
			err = s.putAside(ctx, partition, d, err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// putAside makes a dead letter of what can never be written.
func (s *Server) putAside(ctx context.Context, partition int, d bus.Delivery, why error) error {
	s.c.Logger.Error("event is a dead letter", "partition", partition, "stream_seq", d.Stream, "error", why)
	if err := s.c.Bus.DeadLetter(ctx, subject.Persister, partition, d, why.Error()); err != nil {
		return err
	}
	s.deadCount.Inc()
	return nil
}

// again writes a dead letter.
func (s *Server) again(ctx context.Context, _ int, d bus.Delivery) error {
	var b store.Batch
	if err := add(&b, d); err != nil {
		return &bus.Poison{Reason: err.Error()}
	}
	err := s.c.Store.Write(ctx, b)
	if chat.Is(err, chat.BadRequest) {
		return &bus.Poison{Reason: err.Error()}
	}
	if err == nil {
		s.persisted.Inc()
	}
	return err
}

// errForeign says that a body does not belong to the subject on which it stands. The reasons of dead letters hold no user text.
var errForeign = errors.New("the body is not of this chat")

// add puts a delivery into the part of the batch where it belongs.
func add(b *store.Batch, d bus.Delivery) error {
	id := subject.ChatOf(d.Subject())
	switch {
	case strings.HasPrefix(d.Subject(), "cursor."):
		r, err := wire.DecodeRead(d.Data())
		if err != nil {
			return err
		}
		if r.Chat != id {
			return errForeign
		}
		b.Cursors = append(b.Cursors, store.Cursor{Chat: r.Chat, User: r.User, Seq: r.Seq, N: r.N})
	case strings.HasSuffix(d.Subject(), ".state"):
		st, err := wire.DecodeState(d.Data())
		if err != nil {
			return err
		}
		if st.Chat != id {
			return errForeign
		}
		b.States = append(b.States, st)
	default:
		e, err := wire.DecodeEvent(d.Data())
		if err != nil {
			return err
		}
		if e.Chat != id || d.Headers().Get(subject.HeaderSeq) != strconv.FormatUint(uint64(e.Seq), 10) {
			return errForeign
		}
		b.Events = append(b.Events, store.Entry{Event: e, Body: d.Data(), Stream: d.Stream})
	}
	return nil
}

// Package persister carries the events of every chat's log, the states and the cursors into the store. It promises that an
// event is acknowledged only once the store holds it, and that what can never be written does not keep back what can.
package persister

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/run"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/trace"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// Config is what a Server needs. All fields but Metrics, Shares, Tracer and Version are required.
type Config struct {
	Bus        *bus.Bus
	Store      store.Sink
	Partitions int
	Logger     *slog.Logger
	Metrics    prometheus.Registerer
	Health     *run.Health
	// Shares say which partitions are this node's. Nil works on all that nobody else works on.
	Shares *bus.Shares
	// Version is told to who lists the micro service; empty is 0.0.0.
	Version string
	// Tracer traces the events that are traced already. Nil traces none.
	Tracer *trace.Tracer
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
	if c.Metrics != nil && c.Shares != nil {
		c.Metrics.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts(opts("partitions", "Partitions that are this node's share.")),
			func() float64 { return float64(c.Shares.Mine()) }))
	}
	if s.c.Version == "" {
		s.c.Version = "0.0.0"
	}
	return s, nil
}

// Run works until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	if s.c.Shares != nil {
		g.Go(func() error { s.c.Shares.Run(ctx); return nil })
	}
	g.Go(func() error {
		return s.c.Bus.LookAfter(ctx, bus.Undertaker{Worker: subject.Persister, Endpoint: subject.PersisterRetryEndpoint,
			Version: s.c.Version, Handle: s.again, Count: s.deadLetters.Set})
	})
	for p := range s.c.Partitions {
		for _, stream := range []string{subject.ChatStream(p), subject.CursorStream(p)} {
			g.Go(func() error {
				lag := lag{s: s, stream: stream}
				left := &leftover{}
				return s.c.Bus.Work(ctx, bus.Worker{
					Stream: stream, Consumer: subject.Persister, Shares: s.c.Shares, Partition: p, OnActive: left.note, Linger: linger,
					Handle: func(ctx context.Context, batch []bus.Delivery) error {
						err := s.takeOver(ctx, p, stream, left)
						if err == nil {
							err = s.write(ctx, p, batch)
						}
						lag.tell(ctx, batch, err)
						return err
					},
					OnIdle:  func() { s.lag.DeleteLabelValues(stream) }, // who goes on tells it
					OnState: func(err error) { s.c.Health.Set("persister "+stream, err) },
				})
			})
		}
	}
	return g.Wait()
}

// linger is how long an event waits for company on its way into the store: each write costs a sync, and nobody waits for it, because who
// reads history reads the log as well.
const linger = 25 * time.Millisecond

// write keeps a batch of a stream.
func (s *Server) write(ctx context.Context, partition int, batch []bus.Delivery) (err error) {
	var b store.Batch
	var good []bus.Delivery
	for _, d := range batch {
		if err := add(&b, arrived(d)); err != nil {
			if err := s.putAside(ctx, partition, d, err); err != nil {
				return err
			}
			continue
		}
		good = append(good, d)
	}
	ctx, t := s.begin(ctx, b.Events, good)
	defer func() { t.end(err) }()
	err = s.keep(ctx, partition, b)
	if chat.Is(err, chat.BadRequest) {
		err = s.writeEach(ctx, partition, good)
	}
	if err != nil {
		return err
	}
	s.persisted.Add(float64(len(b.Events) + len(b.Erased) + len(b.States) + len(b.Cursors)))
	return nil
}

// keep writes a batch to the store, and takes what it erases out of the log.
func (s *Server) keep(ctx context.Context, partition int, b store.Batch) error {
	if err := s.c.Store.Write(ctx, b); err != nil {
		return err
	}
	return s.scrub(ctx, partition, b.Erased)
}

// writeEach keeps the deliveries of a batch that the store refuses one by one, and puts aside those that it will never take.
func (s *Server) writeEach(ctx context.Context, partition int, batch []bus.Delivery) error {
	for _, d := range batch {
		var b store.Batch
		err := add(&b, arrived(d))
		if err == nil {
			err = s.keep(ctx, partition, b)
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
func (s *Server) again(ctx context.Context, partition int, d bus.Delivery) error {
	var b store.Batch
	if err := add(&b, arrived(d)); err != nil {
		return &bus.Poison{Reason: err.Error()}
	}
	err := s.keep(ctx, partition, b)
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

// add puts a record into the part of the batch where it belongs.
func add(b *store.Batch, d record) error {
	id := subject.ChatOf(d.subject)
	switch {
	case strings.HasPrefix(d.subject, "cursor."):
		r, err := wire.DecodeCursor(d.body)
		if err != nil {
			return err
		}
		if r.Chat != id {
			return errForeign
		}
		c := store.Cursor{Chat: r.Chat, User: r.User, Seq: r.Seq, N: r.N}
		if r.Type == wire.TypeDelivered {
			c.Seq, c.N, c.Delivered = 0, 0, r.Seq
		}
		b.Cursors = append(b.Cursors, c)
	case subject.IsErased(d.subject):
		e, err := wire.DecodeEvent(d.body)
		if err != nil {
			return err
		}
		if e.Deleted == nil || e.Text != "" || subject.Erased(partitionOf(d.subject), id, e.Seq) != d.subject || e.Chat != id {
			return errForeign
		}
		b.Erased = append(b.Erased, store.Entry{Event: e, Body: d.body})
	case strings.HasSuffix(d.subject, ".state"):
		st, err := wire.DecodeState(d.body)
		if err != nil {
			return err
		}
		if st.Chat != id {
			return errForeign
		}
		b.States = append(b.States, st)
	default:
		e, err := wire.DecodeEvent(d.body)
		if err != nil {
			return err
		}
		if e.Chat != id || d.header.Get(subject.HeaderSeq) != strconv.FormatUint(uint64(e.Seq), 10) {
			return errForeign
		}
		b.Events = append(b.Events, store.Entry{Event: e, Body: d.body, Stream: d.stream})
	}
	return nil
}

// Package fanout carries the events of every chat's log to the subjects of those who receive them. It promises that an event
// is acknowledged only after it was published to every member of its moment, and that a person's subject gets the events of a
// chat in order, also after a redelivery or a takeover; what was published twice is told apart by seq.
package fanout

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/chatlog"
	"github.com/chatmesh/chatmesh/pkg/run"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/trace"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// Config is what a Server needs. All fields but Metrics, Shares, Tracer and Version are required.
type Config struct {
	Bus        *bus.Bus
	Log        *chatlog.Log
	Partitions int
	Logger     *slog.Logger
	Metrics    prometheus.Registerer
	Health     *run.Health
	// Shares say which partitions are this node's. Nil works on all that nobody else works on.
	Shares *bus.Shares
	// Version is told to who lists the micro service; empty is 0.0.0.
	Version string
	// Tracer traces the events that are traced already. Nil passes them on as they are.
	Tracer *trace.Tracer
}

// Server is a fan-out worker for every partition, of which it is the active one or the one that waits.
type Server struct {
	c Config
	// published has the last seq of a chat that this worker published, and in which reign.
	published *lru.Cache[chat.ID, mark]
	// reigns counts, by partition, how often this worker became the active one. What it published in an earlier reign is not where
	// the chat is: others have gone on meanwhile.
	reigns []atomic.Uint64
	// stuck has since when events of a chat could not be read from the log.
	stuck *lru.Cache[chat.ID, time.Time]
	heads heads
	m     *metrics
}

type mark struct {
	seq   chat.Seq
	reign uint64
}

// rememberedChats bounds how many chats' last seq is remembered. For a forgotten one the next event is taken as it comes.
const rememberedChats = 100_000

type metrics struct {
	events, deliveries, filled, skipped prometheus.Counter
	lag                                 *prometheus.GaugeVec
	deadLetters                         prometheus.Gauge
}

// New validates the configuration.
func New(c Config) (*Server, error) {
	if c.Bus == nil || c.Log == nil || c.Logger == nil || c.Health == nil || c.Partitions < 1 {
		return nil, errors.New("fanout: bus, log, logger, health and partitions are required")
	}
	published, err := lru.New[chat.ID, mark](rememberedChats)
	if err != nil {
		return nil, fmt.Errorf("fanout: %w", err)
	}
	stuck, err := lru.New[chat.ID, time.Time](1024)
	if err != nil {
		return nil, fmt.Errorf("fanout: %w", err)
	}
	opts := func(name, help string) prometheus.Opts {
		return prometheus.Opts{Namespace: "chatmesh", Subsystem: "fanout", Name: name, Help: help}
	}
	s := &Server{c: c, published: published, reigns: make([]atomic.Uint64, c.Partitions), stuck: stuck, heads: heads{last: map[chat.ID]heard{}}, m: &metrics{
		events:     prometheus.NewCounter(prometheus.CounterOpts(opts("events_total", "Events taken from the logs."))),
		deliveries: prometheus.NewCounter(prometheus.CounterOpts(opts("published_total", "Frames published to people's subjects."))),
		filled:     prometheus.NewCounter(prometheus.CounterOpts(opts("filled_total", "Events read from the log because they came out of order."))),
		skipped:    prometheus.NewCounter(prometheus.CounterOpts(opts("skipped_total", "Events that should be in the log and are not."))),
		lag:        prometheus.NewGaugeVec(prometheus.GaugeOpts(opts("lag_messages", "Events that wait, by stream.")), []string{"stream"}),
		deadLetters: prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "chatmesh", Name: "deadletters",
			Help: "Dead letters of the worker that wait for an operator."}),
	}}
	if c.Metrics != nil {
		c.Metrics.MustRegister(s.m.events, s.m.deliveries, s.m.filled, s.m.skipped, s.m.lag, s.m.deadLetters)
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
	g.Go(func() error { return s.tellHeads(ctx) })
	g.Go(func() error {
		return s.c.Bus.LookAfter(ctx, bus.Undertaker{Worker: subject.FanOut, Endpoint: subject.FanOutRetryEndpoint,
			Version: s.c.Version, Handle: s.again, Count: s.m.deadLetters.Set})
	})
	for p := range s.c.Partitions {
		g.Go(func() error { return s.work(ctx, p, subject.ChatStream(p), s.events, s.takeOver) })
		g.Go(func() error { return s.work(ctx, p, subject.CursorStream(p), s.cursors, nil) })
	}
	return g.Wait()
}

type (
	handler  func(ctx context.Context, partition int, batch []bus.Delivery) error
	takeOver func(ctx context.Context, partition int, first, last uint64) error
)

func (s *Server) work(ctx context.Context, p int, stream string, h handler, t takeOver) error {
	name := "fanout " + stream
	var active func(context.Context, uint64, uint64) error
	if t != nil {
		active = func(ctx context.Context, first, last uint64) error { return t(ctx, p, first, last) }
	}
	return s.c.Bus.Work(ctx, bus.Worker{
		Stream: stream, Consumer: subject.FanOut, OnActive: active, Shares: s.c.Shares, Partition: p,
		Handle: func(ctx context.Context, batch []bus.Delivery) error {
			s.m.lag.WithLabelValues(stream).Set(float64(batch[len(batch)-1].Pending))
			return h(ctx, p, batch)
		},
		OnIdle:  func() { s.m.lag.DeleteLabelValues(stream) }, // who goes on tells it
		OnState: func(err error) { s.c.Health.Set(name, err) },
	})
}

// takeOver publishes what the worker before may have taken and not published, from the log itself: the broker will deliver it
// again later, and what comes now would overtake it.
func (s *Server) takeOver(ctx context.Context, p int, first, last uint64) error {
	s.reigns[p].Add(1)
	done := make(map[chat.ID]chat.Seq)
	for first <= last {
		msgs, err := s.c.Bus.From(ctx, subject.ChatStream(p), subject.Logs(p), first, 500, 8<<20)
		if err != nil {
			return err
		}
		if len(msgs) == 0 {
			break
		}
		for _, m := range msgs {
			if first = m.Sequence + 1; m.Sequence > last {
				break
			}
			h, err := wire.Peek(m.Data)
			if err != nil || !isEvent(h, m.Subject, m.Header) {
				continue // put aside when it is delivered
			}
			if err := s.inOrder(ctx, p, done, origin{h, m.Sequence, m.Header}, m.Data); err != nil {
				return err
			}
		}
	}
	return s.flush(ctx, p, done)
}

// events publishes a batch of the log.
func (s *Server) events(ctx context.Context, p int, batch []bus.Delivery) error {
	done := make(map[chat.ID]chat.Seq) // by this batch, not yet flushed
	heads, errs := make([]wire.Head, len(batch)), make([]error, len(batch))
	came := make([]chatlog.Observed, 0, len(batch))
	for i, d := range batch {
		h, err := wire.Peek(d.Data())
		if err == nil && !isEvent(h, d.Subject(), d.Headers()) {
			err = errForeign
		}
		if heads[i], errs[i] = h, err; err == nil {
			came = append(came, chatlog.Observed{Chat: h.Chat, Type: chat.EventType(h.Type), Seq: h.Seq, Stream: d.Stream, Body: d.Data()})
		}
	}
	s.c.Log.WarmBehind(ctx, came)
	for i, d := range batch {
		h, err := heads[i], errs[i]
		if err != nil {
			s.c.Logger.Error("event is a dead letter", "partition", p, "stream_seq", d.Stream, "error", err)
			if err := s.c.Bus.DeadLetter(ctx, subject.FanOut, p, d, err.Error()); err != nil {
				return err
			}
			continue
		}
		if err := s.inOrder(ctx, p, done, origin{h, d.Stream, d.Headers()}, d.Data()); err != nil {
			return err
		}
	}
	if err := s.flush(ctx, p, done); err != nil {
		return err
	}
	s.m.events.Add(float64(len(batch)))
	return nil
}

// errForeign says that somebody else than a chat's log published a message. Reasons of dead letters hold no user text.
var errForeign = errors.New("the message is no event of this chat")

// isEvent tells whether what was read is an event of the chat on whose subject it stands.
func isEvent(h wire.Head, subj string, header nats.Header) bool {
	return chat.EventType(h.Type).Known() && h.Seq > 0 && h.Chat == subject.ChatOf(subj) &&
		header.Get(subject.HeaderSeq) == strconv.FormatUint(uint64(h.Seq), 10)
}

// inOrder publishes an event unless it was published before, and what is missing before it first. done has what is not
// flushed yet.
func (s *Server) inOrder(ctx context.Context, p int, done map[chat.ID]chat.Seq, o origin, body []byte) error {
	h := o.head
	last, known := done[h.Chat]
	if !known {
		var m mark
		m, known = s.published.Peek(h.Chat)
		last, known = m.seq, known && m.reign == s.reigns[p].Load()
	}
	if known && h.Seq <= last {
		return nil // a redelivery
	}
	if known && h.Seq > last+1 {
		if err := s.fill(ctx, h.Chat, last, h.Seq); err != nil {
			return err
		}
	}
	done[h.Chat] = h.Seq
	return s.publish(ctx, o, body)
}

// flush returns once the broker has all that was published.
func (s *Server) flush(ctx context.Context, p int, done map[chat.ID]chat.Seq) error {
	if err := s.c.Bus.Flush(ctx); err != nil {
		return err
	}
	for id, seq := range done {
		s.published.Add(id, mark{seq: seq, reign: s.reigns[p].Load()})
	}
	s.heads.note(done)
	return nil
}

// fill publishes the events between last and next, which the broker will deliver later.
func (s *Server) fill(ctx context.Context, id chat.ID, last, next chat.Seq) error {
	for last+1 < next {
		items, err := s.between(ctx, id, last, next)
		if err != nil {
			return s.skip(id, last, next, err)
		}
		s.stuck.Remove(id)
		for _, it := range items {
			h, err := wire.Peek(it.Body)
			if err != nil {
				return err
			}
			if err := s.publish(ctx, origin{head: h}, it.Body); err != nil {
				return err
			}
			last = it.Seq
			s.m.filled.Inc()
		}
	}
	return nil
}

// origin is where an event comes from: its stream sequence and its header there, zero and nil where they are not known.
type origin struct {
	head   wire.Head
	stream uint64
	header nats.Header
}

// publish sends an event to everyone who is to receive it.
func (s *Server) publish(ctx context.Context, o origin, body []byte) (err error) {
	h, stream, id, parent := o.head, o.stream, o.header.Get(jetstream.MsgIDHeader), trace.Parent(o.header)
	ctx, span := s.c.Tracer.From(ctx, "fanout publish", parent, h.Chat)
	defer func() { span.End(err) }()
	state, err := s.stateAt(ctx, h, stream, id, body)
	if err != nil {
		return err
	}
	to := state.ReceiversAt(h.Seq)
	if span.On() {
		parent = span.Place()
		span.Set(trace.Seq(h.Seq), trace.Stream(stream), trace.Size(len(body)), trace.Count(len(to)))
	}
	m := &nats.Msg{Data: body} // the client keeps nothing of it
	if stream > 0 {
		m.Reply = subject.Event(stream, id)
	}
	if parent != "" {
		m.Header = nats.Header{}
		trace.Mark(m.Header, parent)
	}
	for _, u := range to {
		m.Subject = subject.User(u)
		if err := s.c.Bus.Conn().PublishMsg(m); err != nil {
			return fmt.Errorf("fanout: publish: %w", err)
		}
	}
	s.m.deliveries.Add(float64(len(to)))
	return nil
}

// stateAt returns a state of the chat that knows who received the event: one that is not older than it.
func (s *Server) stateAt(ctx context.Context, h wire.Head, stream uint64, id string, body []byte) (*chat.State, error) {
	snap, err := s.c.Log.Known(ctx, h.Chat)
	for attempt := 0; err == nil && snap.Head.Seq < h.Seq; attempt++ {
		var known bool
		if stream > 0 {
			snap, known = s.c.Log.Observe(chatlog.Observed{Chat: h.Chat, Type: chat.EventType(h.Type), Seq: h.Seq,
				Stream: stream, ID: id, Body: body})
		}
		if !known {
			if err = bus.Sleep(ctx, time.Duration(attempt)*20*time.Millisecond); err == nil {
				snap, err = s.c.Log.Snapshot(ctx, h.Chat)
			}
		}
		if attempt > 50 {
			return nil, fmt.Errorf("fanout: the broker does not show event %d of a chat that it delivered", h.Seq)
		}
	}
	return snap.State, err
}

// cursors publishes a batch of cursors.
func (s *Server) cursors(ctx context.Context, p int, batch []bus.Delivery) error {
	for _, d := range batch {
		r, err := wire.DecodeCursor(d.Data())
		if err != nil {
			s.c.Logger.Error("cursor is a dead letter", "partition", p, "stream_seq", d.Stream, "error", err)
			if err := s.c.Bus.DeadLetter(ctx, subject.FanOut, p, d, err.Error()); err != nil {
				return err
			}
			continue
		}
		if err := s.cursor(ctx, r, d.Data()); err != nil {
			return err
		}
	}
	return s.c.Bus.Flush(ctx)
}

// cursor tells the members of a chat how far somebody has read, or has it; of a private one only whose it is. Edges tell of the latter
// only whom asked.
func (s *Server) cursor(ctx context.Context, r wire.Read, body []byte) error {
	// Of now: this worker may not see the log of this partition, and so not who was removed.
	snap, err := s.c.Log.Snapshot(ctx, r.Chat)
	if chat.Is(err, chat.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, m := range snap.State.Members {
		if r.Private && m.UserID != r.User {
			continue
		}
		if err := s.c.Bus.Conn().Publish(subject.User(m.UserID), body); err != nil {
			return fmt.Errorf("fanout: publish: %w", err)
		}
		s.m.deliveries.Inc()
	}
	return nil
}

// stuckTime is how long a partition waits for events of one chat that should be in its log and cannot be read.
const stuckTime = 10 * time.Second

// skip gives up, after a while, on events that the log does not have: somebody published by hand, or erased. One chat must not keep
// back the others of its partition; its devices see the hole and sync.
func (s *Server) skip(id chat.ID, last, next chat.Seq, why error) error {
	since, known := s.stuck.Get(id)
	if !known {
		since = time.Now()
		s.stuck.Add(id, since)
	}
	if s.c.Bus.Check(context.Background()) != nil || time.Since(since) < stuckTime {
		return why
	}
	s.stuck.Remove(id)
	s.m.skipped.Add(float64(next - last - 1))
	s.c.Logger.Error("events are missing in the log of a chat", "chat", string(id), "after", uint64(last), "before", uint64(next), "error", why)
	return nil
}

// between reads the events after last and before next from the log.
func (s *Server) between(ctx context.Context, id chat.ID, last, next chat.Seq) ([]store.Item, error) {
	page, err := s.c.Log.Page(ctx, id, store.Range{After: last, Forward: true, Limit: int(min(next-last-1, chat.MaxPage))})
	if err != nil {
		return nil, err
	}
	if len(page.Items) == 0 {
		return nil, fmt.Errorf("fanout: events after %d are not in the log", last)
	}
	return page.Items, nil
}

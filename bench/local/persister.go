package local

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/chatmesh/chatmesh/bench/report"
	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/run"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/store/pebble"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/services/persister"
)

const (
	// partitions are as many as a mesh has by default; batch is how many events a persister takes at once.
	partitions = 2
	batchSize  = 500
	// liveRate is how many messages a second come while a backlog is caught up with.
	liveRate = 2000
	// backlogChats is in how many chats the messages of a backlog are.
	backlogChats = 2000
)

// broker is one within this process, with the streams of a mesh, which syncs as chatmesh's own does by default.
type broker struct {
	*server.Server
	bus *bus.Bus
}

func startBroker(ctx context.Context, dir string, presence time.Duration) (*broker, error) {
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: dir, SyncAlways: true,
		SyncInterval: 2 * time.Minute, NoSigs: true, NoLog: true})
	if err != nil {
		return nil, err
	}
	go s.Start() // ends with stop
	if !s.ReadyForConnections(time.Minute) {
		s.Shutdown()
		return nil, errors.New("the broker is not ready")
	}
	b := &broker{Server: s}
	if b.bus, err = b.connect(); err == nil {
		err = b.bus.Ensure(ctx, bus.Layout{Partitions: partitions, Replicas: 1, Retention: time.Hour, PresenceTTL: presence, TokenTTL: time.Hour})
	}
	if err != nil {
		b.stop()
		return nil, err
	}
	return b, nil
}

// connect makes a connection within the process, as chatmesh has them.
func (b *broker) connect() (*bus.Bus, error) {
	return bus.Connect(bus.Config{Name: "bench", InProcess: b.Server, Logger: slog.New(slog.DiscardHandler)})
}

func (b *broker) stop() {
	if b.bus != nil {
		b.bus.Close()
	}
	b.Shutdown()
	b.WaitForShutdown()
}

// append appends messages to the logs, in order, as chatlog does: batches of 100, each one atomic.
func (b *broker) append(ctx context.Context, events []store.Entry) error {
	var g errgroup.Group
	by := make([][]*nats.Msg, partitions)
	for i := range events {
		e := &events[i].Event
		p := subject.Partition(e.Chat, partitions)
		by[p] = append(by[p], &nats.Msg{Subject: subject.Log(p, e.Chat), Data: events[i].Body, Header: nats.Header{
			subject.HeaderSeq: {strconv.FormatUint(uint64(e.Seq), 10)}, jetstream.MsgIDHeader: {string(e.Chat) + string(e.ClientID)}}})
	}
	for _, msgs := range by {
		g.Go(func() error {
			for len(msgs) > 0 {
				some := msgs[:min(len(msgs), 100)]
				msgs = msgs[len(some):]
				if _, err := b.bus.PublishAtomic(ctx, some); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// counted is a store that counts the events that it has.
type counted struct {
	store.Sink
	events atomic.Int64
}

// Write counts when all is kept.
func (c *counted) Write(ctx context.Context, b store.Batch) error {
	err := c.Sink.Write(ctx, b)
	if err == nil {
		c.events.Add(int64(len(b.Events)))
	}
	return err
}

// persist runs a persister until it has carried n events from the broker into a store, and tells how many a second, and how much CPU each
// took, the broker's within this process included.
func persist(ctx context.Context, b *broker, sink store.Sink, n int, during func(context.Context) error) (perSecond, cpu float64, err error) {
	c := &counted{Sink: sink}
	conn, err := b.connect()
	if err != nil {
		return 0, 0, err
	}
	defer conn.Close()
	s, err := persister.New(persister.Config{Bus: conn, Store: c, Partitions: partitions, Logger: slog.New(slog.DiscardHandler), Health: &run.Health{}})
	if err != nil {
		return 0, 0, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g, work := errgroup.WithContext(ctx)
	began, before := time.Now(), spent()
	g.Go(func() error { return s.Run(work) })
	if during != nil {
		g.Go(func() error { return during(work) })
	}
	g.Go(func() error {
		defer cancel()
		for c.events.Load() < int64(n) {
			if err := bus.Sleep(work, 2*time.Millisecond); err != nil {
				return fmt.Errorf("%d of %d events are in the store: %w", c.events.Load(), n, context.Cause(work))
			}
		}
		took := time.Since(began)
		done := float64(c.events.Load())
		perSecond, cpu = done/took.Seconds(), float64((spent()-before).Microseconds())/done
		return nil
	})
	if err := g.Wait(); err != nil {
		return 0, 0, err
	}
	return perSecond, cpu, nil
}

// sinks are what a persister is measured with.
type sinks struct {
	system, bare string
	// open opens a new store of that name; batches makes what writes the same rows without chatmesh.
	open    func(name string) (store.Store, error)
	batches func(name string) (write func(context.Context, []store.Entry) error, done func() error, err error)
}

// backlog measures how fast a persister brings a backlog into a store, how fast the store takes the same batches from memory, and how fast
// bare batches of the same rows are, in turns; then how fast the persister catches up while messages come.
func backlog(ctx context.Context, o Options, s sinks, n, rounds int) ([]report.Figure, error) {
	var persisted, cpu, written, bare []float64
	var catch, live float64
	for round := -1; round < rounds; round++ { // the first warms everything up, and does not count
		n := n
		if round < 0 {
			if n = n / 10; o.Quick {
				continue
			}
		}
		b, err := startBroker(ctx, filepath.Join(o.Dir, s.system+"-broker", strconv.Itoa(round)), time.Hour)
		if err != nil {
			return nil, err
		}
		r := backlogRound{o: o, s: s, b: b, name: strconv.Itoa(round + 1), n: n}
		err = r.run(ctx)
		if err == nil && round == rounds-1 {
			o.say("%s: catching up while messages come", s.system)
			catch, live, err = r.catchUp(ctx)
		}
		b.stop()
		if err != nil {
			return nil, err
		}
		o.say("%s: %.0f events/s persisted for %.1f µs of CPU each, %.0f written, %.0f bare", s.system, r.persisted, r.cpu, r.written, r.bare)
		if round >= 0 {
			persisted, cpu, written, bare = append(persisted, r.persisted), append(cpu, r.cpu), append(written, r.written), append(bare, r.bare)
		}
	}
	return []report.Figure{
		measured("persister_per_s", s.system, "events/s", onDisk, persisted),
		measured("persister_per_s", s.bare, "events/s", onDisk, bare),
		measured("persister_write_per_s", s.system, "events/s", onDisk, written),
		measured("persister_cpu_us_per_event", s.system, "µs", onDisk, cpu),
		measured("persister_catchup_per_s", s.system, "events/s", onDisk, []float64{catch}),
		measured("persister_live_per_s", s.system, "events/s", onDisk, []float64{live}),
	}, nil
}

// backlogRound is one round of a backlog, with a broker of its own.
type backlogRound struct {
	o    Options
	s    sinks
	b    *broker
	name string
	n    int
	// What was measured: events a second, and µs.
	persisted, cpu, written, bare float64
}

func (r *backlogRound) run(ctx context.Context) error {
	chats := r.o.of(backlogChats, 50)
	if err := r.b.append(ctx, newCrowd("p"+r.name, chats).messages(r.n)); err != nil {
		return err
	}
	err := r.in("p", func(db store.Store) (err error) {
		r.persisted, r.cpu, err = persist(ctx, r.b, db, r.n, nil)
		return err
	})
	if err != nil {
		return err
	}
	err = r.in("w", func(db store.Store) (err error) {
		r.written, err = together(ctx, newCrowd("w"+r.name, chats).messages(r.n), func(ctx context.Context, some []store.Entry) error {
			return db.Write(ctx, store.Batch{Events: some})
		})
		return err
	})
	if err != nil {
		return err
	}
	write, done, err := r.s.batches("b" + r.name)
	if err != nil {
		return err
	}
	r.bare, err = together(ctx, newCrowd("b"+r.name, chats).messages(r.n), write)
	return errors.Join(err, done())
}

// in calls f with a new store.
func (r *backlogRound) in(kind string, f func(store.Store) error) error {
	db, err := r.s.open(kind + r.name)
	if err != nil {
		return err
	}
	return errors.Join(f(db), db.Close())
}

// catchUp lets a backlog pile up, as if the store were away, and measures how fast the persister works it off while messages come at
// liveRate; live is how many really came a second.
func (r *backlogRound) catchUp(ctx context.Context) (perSecond, live float64, err error) {
	crowd := newCrowd("l"+r.name, r.o.of(backlogChats, 50))
	if err := r.b.append(ctx, crowd.messages(r.n)); err != nil {
		return 0, 0, err
	}
	var sent atomic.Int64
	var began time.Time
	err = r.in("l", func(db store.Store) (err error) {
		began = time.Now()
		perSecond, _, err = persist(ctx, r.b, db, r.n, func(ctx context.Context) error {
			for ctx.Err() == nil {
				due := int(time.Since(began).Seconds()*liveRate) - int(sent.Load())
				if due > 0 {
					if err := r.b.append(ctx, crowd.messages(due)); err != nil && ctx.Err() == nil {
						return err
					}
					sent.Add(int64(due))
				}
				_ = bus.Sleep(ctx, 5*time.Millisecond)
			}
			return nil
		})
		live = float64(sent.Load()) / time.Since(began).Seconds()
		return err
	})
	return perSecond, live, err
}

// together writes events as the workers of a persister do: each partition for itself, batch after batch.
func together(ctx context.Context, events []store.Entry, write func(context.Context, []store.Entry) error) (perSecond float64, err error) {
	by := make([][]store.Entry, partitions)
	for _, e := range events {
		p := subject.Partition(e.Event.Chat, partitions)
		e.Stream = uint64(len(by[p]) + 1)
		by[p] = append(by[p], e)
	}
	began := time.Now()
	g, ctx := errgroup.WithContext(ctx)
	for _, mine := range by {
		g.Go(func() error {
			for len(mine) > 0 {
				some := mine[:min(len(mine), batchSize)]
				mine = mine[len(some):]
				if err := write(ctx, some); err != nil {
					return err
				}
			}
			return nil
		})
	}
	err = g.Wait()
	return float64(len(events)) / time.Since(began).Seconds(), err
}

// persisterPebble measures the way into the embedded store.
func persisterPebble(ctx context.Context, o Options) ([]report.Figure, error) {
	return backlog(ctx, o, sinks{
		system: "chatmesh", bare: "pebble-bare",
		open: func(name string) (store.Store, error) {
			return pebble.Open(filepath.Join(o.Dir, name), pebble.Options{Log: slog.New(slog.DiscardHandler)})
		},
		batches: func(name string) (func(context.Context, []store.Entry) error, func() error, error) {
			dir := filepath.Join(o.Dir, name)
			if err := os.MkdirAll(dir, 0o700); err != nil {
				return nil, nil, err
			}
			return barePebble(dir)
		},
	}, o.of(100_000, 1000), o.of(3, 1))
}

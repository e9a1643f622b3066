package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"github.com/chatmesh/chatmesh/bench/report"
	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/online"
	"github.com/chatmesh/chatmesh/pkg/run"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/wire"
	"github.com/chatmesh/chatmesh/services/presence"
)

const (
	presencePeople = 100_000
	// comeTime is how long all may take to come: the broker syncs each key.
	comeTime      = 2 * time.Minute
	presenceEdges = 5
	// presenceChanges is how many people go in a round, one every 10 ms.
	presenceChanges = 800
	// presenceAge is how long a person's key lives in a mesh, and a lease lives presenceLease. A key is put again after five eighths of its age:
	// 100,000 people cause 267 such heartbeats a second.
	presenceAge, presenceLease = 10 * time.Minute, 15 * time.Second
)

// presenceOfMany has 100,000 people online on five edges, whose leases beat, and 267 heartbeats a second: the keys of people are put again, as
// the edges do when keys grow old. It counts the CPU of this process, the broker's included. Then, beside that, people go, and it counts how
// long it takes until that is told on presence.<user>.
func presenceOfMany(ctx context.Context, o Options) (_ []report.Figure, err error) {
	b, err := startBroker(ctx, filepath.Join(o.Dir, "broker"), presenceAge)
	if err != nil {
		return nil, err
	}
	defer b.stop()
	ctx, cancel := context.WithCancel(ctx)
	g, work := errgroup.WithContext(ctx)
	defer func() {
		cancel()
		err = errors.Join(err, g.Wait())
	}()
	conn, err := b.connect()
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	health := &run.Health{}
	s, err := presence.New(presence.Config{Bus: conn, Node: "bench", Version: "0.0.0", Logger: slog.New(slog.DiscardHandler), Health: health})
	if err != nil {
		return nil, err
	}
	g.Go(func() error { return s.Run(work) })
	ear, err := listen(b.bus)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, ear.close()) }()
	var edges []*online.Reporter
	for i := range presenceEdges {
		conn, err := b.connect()
		if err != nil {
			return nil, err
		}
		defer conn.Close()
		r := online.New(conn, fmt.Sprint("edge", i), presenceLease, slog.New(slog.DiscardHandler))
		g.Go(func() error { return r.Run(work) })
		edges = append(edges, r)
	}
	n := o.of(presencePeople, 1000)
	person := func(i int) (chat.UserID, *online.Reporter) {
		return chat.UserID(userName(i)), edges[i%len(edges)]
	}
	o.say("%d people come", n)
	for i := range n {
		u, e := person(i)
		e.Come(u)
	}
	for began := time.Now(); ear.told.Load() < int64(n); {
		err := bus.Sleep(work, 20*time.Millisecond)
		if time.Since(began) > comeTime {
			err = errors.New("it takes too long")
		}
		if err != nil {
			return nil, fmt.Errorf("%d of %d people are online: %w", ear.told.Load(), n, err)
		}
	}
	if err := ear.settled(work, edges[0]); err != nil {
		return nil, err
	}
	beats := heart{b: b.bus, edges: len(edges), people: n / 2, perSecond: o.of(int(presencePeople/(presenceAge*5/8).Seconds()), 100)}
	if beats.values, err = keysOf(work, b.bus, person, len(edges)); err != nil {
		return nil, err
	}
	g.Go(func() error { return beats.run(work) })
	rounds, long := o.of(3, 1), time.Duration(o.of(6000, 500))*time.Millisecond
	var core, p50, p99 []float64
	for round := range rounds {
		o.say("heartbeats, round %d", round+1)
		began, before := time.Now(), spent()
		if err := bus.Sleep(work, long); err != nil {
			return nil, err
		}
		core = append(core, 100*(spent()-before).Seconds()/time.Since(began).Seconds())
	}
	next := n // those who go have no heartbeats
	for round := range rounds {
		o.say("changes, round %d", round+1)
		gone := o.of(presenceChanges, 50)
		for i, began := 0, time.Now(); i < gone; i++ {
			next--
			u, e := person(next)
			ear.expect(u)
			e.Go(u)
			if err := bus.Sleep(work, time.Until(began.Add(time.Duration(i+1)*10*time.Millisecond))); err != nil {
				return nil, err
			}
		}
		times, err := ear.times(work, gone)
		if err != nil {
			return nil, err
		}
		p50, p99 = append(p50, quantile(times, 0.5)), append(p99, quantile(times, 0.99))
	}
	return []report.Figure{
		measured("presence_core_percent", "chatmesh", "%", onDisk, core),
		measured("presence_change_p50_ms", "chatmesh", "ms", onDisk, p50),
		measured("presence_change_p99_ms", "chatmesh", "ms", onDisk, p99),
	}, nil
}

// heart puts keys of people again, as the reporters of edges do.
type heart struct {
	b                        *bus.Bus
	values                   [][]byte // what a key of each edge holds
	edges, people, perSecond int
}

// keysOf reads what the keys of each edge hold: the same for all who are at a device.
func keysOf(ctx context.Context, b *bus.Bus, person func(int) (chat.UserID, *online.Reporter), edges int) ([][]byte, error) {
	values := make([][]byte, edges)
	for i := range values {
		u, _ := person(i)
		v, err := b.Key(ctx, subject.Presence, subject.PresenceKey(u, fmt.Sprint("edge", i)))
		if err != nil {
			return nil, err
		}
		values[i] = v
	}
	return values, nil
}

func (h heart) run(ctx context.Context) error {
	const every = 100 * time.Millisecond
	began := time.Now()
	for done := 0; ; {
		for due := int(time.Since(began).Seconds() * float64(h.perSecond)); done < due; done++ {
			i := done % h.people
			key := subject.PresenceKey(chat.UserID(userName(i)), fmt.Sprint("edge", i%h.edges))
			if _, err := h.b.JetStream().PublishMsgAsync(&nats.Msg{Subject: subject.KV(subject.Presence, key), Data: h.values[i%h.edges]}); err != nil {
				return err
			}
		}
		if bus.Sleep(ctx, every) != nil {
			return nil
		}
	}
}

// userName is the id of the nth person.
func userName(i int) string { return fmt.Sprintf("06h0j8lm5pd2s0fk%08d", i) }

// ear hears what is told of presence.
type ear struct {
	sub  *nats.Subscription
	told atomic.Int64 // how often somebody was said to be online
	// probed is that the probe was.
	probed atomic.Bool

	mu   sync.Mutex // guards the following fields
	asks map[chat.UserID]time.Time
	took []time.Duration
}

func listen(b *bus.Bus) (*ear, error) {
	e := &ear{asks: map[chat.UserID]time.Time{}}
	sub, err := b.Conn().Subscribe(subject.PresenceOf("*"), e.hear)
	if err != nil {
		return nil, err
	}
	e.sub = sub
	return e, sub.SetPendingLimits(-1, -1)
}

func (e *ear) close() error { return e.sub.Unsubscribe() }

func (e *ear) hear(m *nats.Msg) {
	now := time.Now()
	var p wire.Presence
	if json.Unmarshal(m.Data, &p) != nil {
		return // whoever waits for it says so
	}
	if p.Online {
		e.told.Add(1)
		if p.User == probe {
			e.probed.Store(true)
		}
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if began, ok := e.asks[p.User]; ok {
		delete(e.asks, p.User)
		e.took = append(e.took, now.Sub(began))
	}
}

// probe is somebody whose coming and going shows that everything works.
const probe = "06h0j8lm5pd2s0fk9probe"

// settled waits until somebody who goes is told to have gone: for a while after a start nobody is.
func (e *ear) settled(ctx context.Context, r *online.Reporter) error {
	for r.Come(probe); !e.probed.Load(); {
		if err := bus.Sleep(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
	e.expect(probe)
	r.Go(probe)
	_, err := e.times(ctx, 1)
	return err
}

// expect says that a person goes now.
func (e *ear) expect(u chat.UserID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.asks[u] = time.Now()
}

// times waits until n changes were heard of, and returns how long each took, ascending; it forgets them.
func (e *ear) times(ctx context.Context, n int) ([]time.Duration, error) {
	deadline := time.Now().Add(30 * time.Second)
	for {
		e.mu.Lock()
		took, missing := e.took, len(e.asks)
		if len(took) >= n {
			e.took = nil
			e.mu.Unlock()
			return sortTimes(took), nil
		}
		e.mu.Unlock()
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("%d changes of presence were never told", missing)
		}
		if err := bus.Sleep(ctx, 5*time.Millisecond); err != nil {
			return nil, err
		}
	}
}

package growth

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/chatlog"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// retention is how long the log of a mesh keeps an event by default.
const retention = 720 * time.Hour

// edge is what an edge is to the rest of a mesh: it appends through a log of its own, whose past it asks the api for, and gets what
// is published to people, of which it tells its log.
type edge struct {
	log       *chatlog.Log
	bus       *bus.Bus
	registry  *prometheus.Registry
	delivered atomic.Int64
	stop      func()
}

func newEdge(m *system) (*edge, error) {
	b, err := bus.Connect(bus.Config{Name: "growth", URL: m.Broker, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	e := &edge{bus: b, registry: prometheus.NewRegistry()}
	if e.log, err = chatlog.New(chatlog.Config{Bus: b, Partitions: m.Partitions, Older: chatlog.Remote{Bus: b}, Retention: retention,
		Logger: slog.New(slog.DiscardHandler), Metrics: e.registry}); err != nil {
		b.Close()
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = e.log.Run(ctx) })
	e.stop = sync.OnceFunc(func() { cancel(); running.Wait(); b.Close() })
	if _, err := b.Conn().Subscribe(subject.User("*"), e.deliver); err != nil {
		e.stop()
		return nil, err
	}
	return e, b.Flush(ctx)
}

// deliver takes an event as an edge does.
func (e *edge) deliver(m *nats.Msg) {
	h, err := wire.Peek(m.Data)
	if err != nil || !chat.EventType(h.Type).Known() {
		return
	}
	stream, id, _ := subject.EventOf(m.Reply)
	e.log.Observe(chatlog.Observed{Chat: h.Chat, Type: chat.EventType(h.Type), Seq: h.Seq, Stream: stream, ID: id, Body: m.Data})
	if chat.EventType(h.Type) == chat.Message {
		e.delivered.Add(1)
	}
}

// hits is the share of look-ups of a chat that the edge answered by itself, since before; its counters are returned.
func (e *edge) counts() (hits, misses, loads float64) {
	families, _ := e.registry.Gather() // what can be had of it
	for _, f := range families {
		v := f.GetMetric()[0].GetCounter().GetValue()
		switch f.GetName() {
		case "chatmesh_log_cache_hits_total":
			hits = v
		case "chatmesh_log_cache_misses_total":
			misses = v
		case "chatmesh_log_sent_loads_total":
			loads = v
		}
	}
	return hits, misses, loads
}

// Names of chats and people as long as those that the server makes.

var ids = base32.HexEncoding.WithPadding(base32.NoPadding)

func id(kind byte, n int) string {
	sum := sha256.Sum256(binary.AppendUvarint([]byte{kind}, uint64(n)))
	return strings.ToLower(ids.EncodeToString(sum[:16]))
}

func chatOf(n int) chat.ID { return chat.ID("g" + id('c', n)) }

// membersOf are the two people of a chat, of so many people as there are chats for.
func membersOf(n int) [2]chat.UserID {
	// Chats are made in blocks of 1,000, whose 100 people are in 20 of them each.
	block, at := n/1000, n%1000
	a := at % 100
	b := (a + 1 + at/100) % 100
	return [2]chat.UserID{chat.UserID(id('u', block*100+a)), chat.UserID(id('u', block*100+b))}
}

// unborn is the past of chats that are made now: there is none.
type unborn struct{ chatlog.Older }

// Record knows no chat.
func (unborn) Record(context.Context, chat.ID) (store.Record, error) {
	return store.Record{}, store.ErrNotFound
}

// patience is how often something is tried again that was unavailable, as clients do.
const patience = 10

func appendTo(ctx context.Context, l *chatlog.Log, id chat.ID, cmd chat.Command) error {
	for tries := 0; ; tries++ {
		_, err := l.Append(ctx, id, cmd)
		if !chat.Is(err, chat.Unavailable) || tries == patience || bus.Sleep(ctx, bus.Backoff(tries)) != nil {
			return err
		}
	}
}

// makers is how many chats are made at the same time.
const makers = 1024

// makeChats makes the chats from up to, but without, to.
func makeChats(ctx context.Context, m *system, from, to int) error {
	b, err := bus.Connect(bus.Config{Name: "growth", URL: m.Broker, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	defer b.Close()
	l, err := chatlog.New(chatlog.Config{Bus: b, Partitions: m.Partitions, Older: unborn{}, Retention: retention, CacheChats: 4 * makers,
		Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var running, making sync.WaitGroup
	runCtx, stop := context.WithCancel(context.WithoutCancel(ctx))
	running.Go(func() { _ = l.Run(runCtx) })
	defer func() { stop(); running.Wait() }()
	var next atomic.Int64
	next.Store(int64(from))
	for range makers {
		making.Go(func() {
			for n := int(next.Add(1)) - 1; n < to && ctx.Err() == nil; n = int(next.Add(1)) - 1 {
				who := membersOf(n)
				create := chat.Create{By: who[0], Kind: chat.Group, Title: "Tea time", Members: who[1:]}
				err := appendTo(ctx, l, chatOf(n), create)
				if err != nil && !chat.Is(err, chat.Conflict) { // of one that was made all the same
					cancel(fmt.Errorf("make a chat: %w", err))
				}
			}
		})
	}
	making.Wait()
	if err := context.Cause(ctx); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return ctx.Err()
}

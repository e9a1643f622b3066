package chatlog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/trace"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// Config is what a Log needs.
type Config struct {
	Bus        *bus.Bus
	Partitions int
	Older      Older
	// Retention is how long the broker keeps an event: a state that nears that age is written again with the next event.
	Retention time.Duration
	// CacheBytes is how many bytes the chats may take that are remembered, message ids not counted (24 bytes each); zero is 64 MiB: some
	// 100,000 direct chats or 6,000 groups of 100. CacheChats is how many they are at most; zero is 1,048,576. The one used longest ago is
	// forgotten first and costs a direct get when it is used again, and an edge a question to the api.
	CacheBytes int64
	CacheChats int
	// Single turns group commit off: every append is a publish of its own. For comparison in benchmarks.
	Single bool
	// ReadOnly says that no message is appended here, so that nothing is remembered for that.
	ReadOnly bool
	Logger   *slog.Logger
	Metrics  prometheus.Registerer
	// Room, if set, is asked several times a second; while it fails nothing is appended. It says whether the disk of an embedded broker
	// has room: what ends at a full disk stays frozen.
	Room func() error
	// Health, if set, is told when appends to a partition are refused, and with nil when they are not any more.
	Health func(name string, err error)
}

// Log is every chat's log, as seen from one process. It may be used by many goroutines.
type Log struct {
	bus       *bus.Bus
	parts     int
	older     Older
	retention time.Duration
	log       *slog.Logger
	health    func(string, error)
	room      func() error
	// noRoom says that room has failed.
	noRoom atomic.Bool
	cache  chats
	loads  []*loader // by partition
	asks   *asks     // nil where older answers one question at a time
	// ids counts the message ids in the cache; nil where none are held.
	ids     *atomic.Int64
	commits []*committer
	m       *metrics
}

// New returns a log. Nothing can be appended before Run.
func New(c Config) (*Log, error) {
	if c.Bus == nil || c.Older == nil || c.Logger == nil || c.Partitions < 1 || c.Retention <= 0 {
		return nil, errors.New("chatlog: bus, older, logger, partitions and retention are required")
	}
	cache, err := newChats(cmp.Or(c.CacheBytes, defaultCache), cmp.Or(c.CacheChats, mostChats))
	if err != nil {
		return nil, fmt.Errorf("chatlog: cache: %w", err)
	}
	l := &Log{bus: c.Bus, parts: c.Partitions, older: c.Older, retention: c.Retention, log: c.Logger, health: c.Health, room: c.Room, cache: cache,
		m: newMetrics(c.Metrics)}
	if !c.ReadOnly {
		l.ids = new(atomic.Int64)
	}
	if many, ok := c.Older.(together); ok {
		l.asks = newAsks(many)
	}
	for p := range c.Partitions {
		l.commits = append(l.commits, newCommitter(l, p, c.Single))
		l.loads = append(l.loads, newLoader())
	}
	return l, nil
}

// Run appends what is given to Append until ctx ends; then it refuses what waits and returns.
func (l *Log) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for _, c := range l.commits {
		wg.Go(func() { c.run(ctx) })
	}
	if l.ids != nil {
		wg.Go(func() { l.guard(ctx) })
		if l.room != nil {
			wg.Go(func() { l.guardRoom(ctx) })
		}
	}
	wg.Wait()
	for _, d := range l.loads {
		d.wait()
	}
	if l.asks != nil {
		l.asks.wait()
	}
	return nil
}

// Partition of a chat.
func (l *Log) Partition(id chat.ID) int { return subject.Partition(id, l.parts) }

// byPartition are chats by their partitions.
func (l *Log) byPartition(ids []chat.ID) map[int][]chat.ID {
	out := make(map[int][]chat.ID)
	for _, id := range ids {
		p := l.Partition(id)
		out[p] = append(out[p], id)
	}
	return out
}

// maxAttempts bounds how often one append tries again after others came first.
const maxAttempts = 100

// Append decides cmd on the state at exactly the chat's last event and appends what it decides. It returns once that is
// durable. It fails with the refusal of cmd, or with Unavailable: then it is not known whether the command stands, and
// a message may be sent again with the same client id until it is known.
func (l *Log) Append(ctx context.Context, id chat.ID, cmd chat.Command) (Receipt, error) {
	ctx, span := trace.Child(ctx, "chatlog append", trace.Internal)
	r, err := l.append(ctx, span, id, cmd)
	if span.On() {
		span.Set(trace.Chat(id), trace.Partition(l.Partition(id)), trace.Seq(r.Seq), trace.Duplicate(r.Duplicate))
		span.End(err)
	}
	return r, err
}

// append is Append within a span.
func (l *Log) append(ctx context.Context, span trace.Span, id chat.ID, cmd chat.Command) (Receipt, error) {
	it := &item{ctx: ctx, span: span, id: id, cmd: cmd, at: chat.Now()}
	if r, done, err := l.prepare(it); done {
		return r, err
	}
	return l.settle(it, nil)
}

// prepare sees whether an item has to be appended at all, and what it takes.
func (l *Log) prepare(it *item) (r Receipt, done bool, err error) {
	ctx, id := it.ctx, it.id
	it.msgs = 3 // two events and the state
	switch cmd := it.cmd.(type) {
	case chat.Send:
		it.msgs = 2
	case chat.Edit:
		it.size = len(cmd.Text)
	case chat.Delete:
		it.msgs = 2 + len(cmd.Events)
	}
	send, isSend := it.cmd.(chat.Send)
	if isSend {
		it.key, it.size = messageID(id, send.Sender, send.ClientID), len(send.Text)
		if _, _, err := l.known(ctx, id); err != nil {
			return Receipt{}, true, l.unavailable(err)
		}
		if !l.isNew(ctx, id, send.Sender, it.key) {
			found, err := l.older.Find(ctx, id, send.Sender, send.ClientID)
			switch {
			case err == nil:
				if err := l.mayAsk(ctx, id, send.Sender); err != nil {
					return Receipt{}, true, err
				}
				l.m.duplicates.Inc()
				return Receipt{Chat: id, Seq: found.Seq, SentAt: found.SentAt, Duplicate: true}, true, nil
			case !errors.Is(err, store.ErrNotFound):
				return Receipt{}, true, l.unavailable(err)
			}
		}
	} else {
		it.key = randomID()
	}
	return Receipt{}, false, nil
}

// tried is an attempt to append an item: on what it was tried, whether that was just read, and what came of it.
type tried struct {
	snap  Snapshot
	fresh bool
	out   outcome
}

// look readies an item for its attempt.
func (l *Log) look(it *item, w *waits) (t tried, err error) {
	t.snap, t.fresh, err = l.known(it.ctx, it.id)
	it.snap, it.waits = t.snap, w
	return t, err
}

// try tries to append what an item says. Each attempt has an item of its own: a commit may still look at the one before.
func (l *Log) try(of *item) (tried, error) {
	it := &item{ctx: of.ctx, span: of.span, id: of.id, cmd: of.cmd, key: of.key, at: of.at, size: of.size, msgs: of.msgs}
	t, err := l.look(it, newWaits(1))
	if err != nil {
		return t, err
	}
	l.commits[l.Partition(it.id)].submit(it.ctx, []*item{it})
	it.waits.wait(it.ctx)
	t.out = it.outcome()
	return t, nil
}

// settle tries an item until it stands or is refused; first is an attempt that was made already, if any.
func (l *Log) settle(it *item, first *tried) (Receipt, error) {
	ctx, id, span := it.ctx, it.id, it.span
	for attempt := 0; attempt < maxAttempts; attempt++ {
		var t tried
		if first != nil {
			t, first = *first, nil
		} else {
			var err error
			if t, err = l.try(it); err != nil {
				return Receipt{}, l.unavailable(err)
			}
		}
		snap, fresh, out := t.snap, t.fresh, t.out
		switch {
		case out.err == nil && out.duplicateAt > 0:
			return l.duplicate(ctx, it, out.duplicateAt)
		case out.err == nil && out.receipt.Seq > 0:
			return out.receipt, nil
		case out.err == nil, isRefusal(out.err):
			// A refusal, or that nothing is to be done, is believed only where it was decided on the newest state.
			if fresh && out.base.Seq == snap.Head.Seq {
				return out.receipt, out.err
			}
			moved, err := l.follow(ctx, id, out.base, func(*bus.Msg) {})
			if err != nil {
				return Receipt{}, l.unavailable(err)
			}
			if !moved {
				return out.receipt, out.err
			}
			if span.On() {
				span.Event("decided again", trace.Attempt(attempt))
			}
		case errors.Is(out.err, errBefore):
			continue
		case errors.Is(out.err, errStopped):
			return Receipt{}, Unavailable("this node is stopping, or the log did not answer in time")
		case errors.Is(out.err, errBehind):
			return Receipt{}, chat.Retry(chat.Unavailable, fullPause, "the history cannot be written at the moment")
		case errors.Is(out.err, errNoRoom):
			l.m.full.Inc()
			return Receipt{}, chat.Retry(chat.Unavailable, fullPause, "the log is full")
		case errors.Is(out.err, errFull):
			return Receipt{}, chat.Retry(chat.Unavailable, time.Second, "too much is waiting to be written")
		case errors.Is(out.err, errDoubt):
			l.m.conflicts.Inc()
			if span.On() {
				span.Event("in doubt", trace.Attempt(attempt))
			}
			r, stands, err := l.resolve(ctx, it, snap.Head)
			if stands {
				return r, nil
			}
			if isFull(out.err) && err == nil {
				l.m.full.Inc()
				return Receipt{}, chat.Retry(chat.Unavailable, fullPause, "the log is full")
			}
			if err != nil {
				l.log.Debug("append in doubt", "partition", l.Partition(id), "error", err)
			}
			if bus.Sleep(ctx, conflictPause(attempt, err != nil)) != nil {
				return Receipt{}, Unavailable("the log does not answer")
			}
		default:
			return Receipt{}, l.unavailable(out.err)
		}
	}
	return Receipt{}, Unavailable("too many others write to this chat")
}

// conflictPause is short where somebody else came first, longer where that goes on, and where the broker did not answer.
func conflictPause(attempt int, away bool) time.Duration {
	if away {
		return bus.Backoff(attempt)
	}
	if attempt < quickAttempts {
		return bus.Backoff(min(attempt, 4)) / 50
	}
	return bus.Backoff(min(attempt/quickAttempts, 4)) / 4
}

// quickAttempts is after how many attempts it is not a race any more: with three copies the broker refuses for as long as another's
// append is in flight, which on slow disks is seconds. The attempts that are left take about ten.
const quickAttempts = 16

// mayAsk keeps from a stranger, and from a removed member, whether a message of theirs stands in a chat.
func (l *Log) mayAsk(ctx context.Context, id chat.ID, user chat.UserID) error {
	_, err := l.Membership(ctx, id, user)
	return err
}

// Membership returns the state of a chat if the person is a member of it now. It fails with NotFound. A refusal is
// checked against the broker; a consent may be as old as what has flowed past.
func (l *Log) Membership(ctx context.Context, id chat.ID, user chat.UserID) (*chat.State, error) {
	snap, fresh, err := l.known(ctx, id)
	if err != nil {
		return nil, l.unavailable(err)
	}
	if _, ok := snap.State.Member(user); !ok && !fresh {
		if snap, err = l.refresh(ctx, id); err != nil {
			return nil, l.unavailable(err)
		}
	}
	if _, ok := snap.State.Member(user); !ok {
		return nil, chat.Errorf(chat.NotFound, "no such chat")
	}
	return snap.State, nil
}

// duplicate returns the receipt of the message that the broker says is there already.
func (l *Log) duplicate(ctx context.Context, it *item, stream uint64) (Receipt, error) {
	m, err := l.bus.At(ctx, subject.ChatStream(l.Partition(it.id)), stream)
	if send, ok := it.cmd.(chat.Send); ok && errors.Is(err, bus.ErrNotFound) { // its text was erased since
		found, err := l.older.Find(ctx, it.id, send.Sender, send.ClientID)
		if err != nil {
			return Receipt{}, l.unavailable(err)
		}
		l.m.duplicates.Inc()
		return Receipt{Chat: it.id, Seq: found.Seq, SentAt: found.SentAt, Duplicate: true}, nil
	}
	if err != nil {
		return Receipt{}, l.unavailable(err)
	}
	return l.receiptOf(it, m)
}

func (l *Log) receiptOf(it *item, m *bus.Msg) (Receipt, error) {
	e, err := wire.DecodeEvent(m.Data)
	if err != nil {
		return Receipt{}, err
	}
	r := Receipt{Chat: it.id, Seq: e.Seq, SentAt: e.Time()}
	// The time is taken once for all attempts of a call: the same time is this call's own message.
	if r.Duplicate = !e.Time().Equal(it.at.Time); r.Duplicate {
		l.m.duplicates.Inc()
	}
	return r, nil
}

// resolve finds out whether an append whose outcome is in doubt stands: it reads the log behind the event that was the last
// one when the append was tried. If it does not stand, it never will: the sequence that it expected has passed, or the
// next attempt expects the same one and only one of both can land.
func (l *Log) resolve(ctx context.Context, it *item, since Head) (Receipt, bool, error) {
	var own *bus.Msg
	_, err := l.follow(ctx, it.id, since, func(m *bus.Msg) {
		if m.Header.Get(jetstream.MsgIDHeader) == it.key {
			own = m
		}
	})
	if err != nil || own == nil {
		return Receipt{}, false, err
	}
	r, err := l.receiptOf(it, own)
	if err == nil {
		var now Snapshot
		now, _, err = l.known(ctx, it.id)
		r.State = now.State
	}
	return r, err == nil, err
}

// followLimit is how many events are read at once when a chat has moved on.
const followLimit = 200

// follow reads the events of a chat behind since, calls fn for each, and brings what is known of the chat up to them. It tells
// whether there were any.
func (l *Log) follow(ctx context.Context, id chat.ID, since Head, fn func(*bus.Msg)) (moved bool, err error) {
	p := l.Partition(id)
	from := since.Stream + 1
	for {
		msgs, err := l.bus.From(ctx, subject.ChatStream(p), subject.Log(p, id), from, followLimit, 0)
		if err != nil {
			return moved, err
		}
		for _, m := range msgs {
			from, moved = m.Sequence+1, true
			seq, err := seqOf(m)
			if err != nil { // no event, but it counts in the expectation
				l.cache.Remove(id)
				continue
			}
			h, err := wire.Peek(m.Data)
			if err != nil {
				return moved, err
			}
			l.Observe(Observed{Chat: id, Type: chat.EventType(h.Type), Seq: seq, Stream: m.Sequence,
				ID: m.Header.Get(jetstream.MsgIDHeader), Body: m.Data})
			fn(m)
		}
		if len(msgs) < followLimit {
			break
		}
	}
	if !moved {
		// Nothing came behind it; perhaps what was known is not what is.
		_, err := l.refresh(ctx, id)
		return false, err
	}
	return true, nil
}

// fullPause is how long who cannot write because of a limit is asked to wait.
const fullPause = 5 * time.Second

func isRefusal(err error) bool {
	var refused *chat.Error
	return errors.As(err, &refused)
}

// unavailable turns what failed below into the refusal that clients get.
func (l *Log) unavailable(err error) error {
	if isRefusal(err) {
		return err
	}
	if !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		l.log.Warn("log cannot be used", "error", err)
	}
	return Unavailable("the log cannot be used at the moment")
}

// seqOf is the seq of an event in the log, as its header and its body say.
func seqOf(m *bus.Msg) (chat.Seq, error) {
	n, err := strconv.ParseUint(m.Header.Get(subject.HeaderSeq), 10, 64)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("chatlog: message %d is no event", m.Sequence)
	}
	return chat.Seq(n), nil
}

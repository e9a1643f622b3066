package verify

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/chatlog"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// walk is how far the events were gone through.
type walk struct {
	// seq is the last event, logged the last that the log has, begin the first that it has.
	seq, logged, begin chat.Seq
	// stream is where logged stands.
	stream uint64
	// settled is the last event that the store must have, stored the last of those that it has.
	settled, stored chat.Seq
	// The oldest message of the stream, as it was when it was asked for.
	first   uint64
	firstAt time.Time
	asked   time.Time
}

// side is the log or the store.
type side struct {
	more  func() ([]Entry, error)
	items []Entry
	done  bool
}

// peek returns the next entry without taking it, or nil at the end.
func (s *side) peek() (*Entry, error) {
	if len(s.items) == 0 && !s.done {
		var err error
		if s.items, err = s.more(); err != nil {
			return nil, err
		}
		s.done = len(s.items) == 0
	}
	if len(s.items) == 0 {
		return nil, nil
	}
	return &s.items[0], nil
}

func (s *side) take() { s.items = s.items[1:] }

// inStore reads the events of the store.
func (c *checker) inStore(ctx context.Context) *side {
	var after chat.Seq
	return &side{more: func() ([]Entry, error) {
		page, err := c.store.Page(ctx, c.Report.Chat, store.Range{After: after, Forward: true, Limit: pageEvents, MaxBytes: pageBytes})
		if err != nil {
			return nil, fmt.Errorf("verify: store: %w", err)
		}
		out := make([]Entry, 0, len(page))
		for _, it := range page {
			if it.Seq <= after {
				return nil, fmt.Errorf("verify: store: event %d comes behind %d", it.Seq, after)
			}
			after = it.Seq
			out = append(out, Entry{Seq: it.Seq, Body: it.Body})
		}
		return out, nil
	}}
}

// inLog reads the events of the log up to that which was the last at the beginning, with the stubs of those that were erased.
func (c *checker) inLog(ctx context.Context) *side {
	from, last := uint64(1), chat.Seq(0)
	return &side{more: func() ([]Entry, error) {
		if from > c.ends.Stream {
			return nil, nil
		}
		out, err := c.log.Events(ctx, c.Report.Chat, from)
		if err != nil {
			return nil, fmt.Errorf("verify: log: %w", err)
		}
		for len(out) > 0 && out[len(out)-1].Stream > c.ends.Stream {
			out = out[:len(out)-1]
			from = c.ends.Stream
		}
		if len(out) > 0 {
			from = max(from, out[len(out)-1].Stream) + 1
		}
		out, last, err = c.fill(ctx, out, last)
		return out, err
	}}
}

// events walks through log and store side by side.
func (c *checker) events(ctx context.Context) error {
	inStore, inLog := c.inStore(ctx), c.inLog(ctx)
	for {
		l, err := inLog.peek()
		if err != nil {
			return err
		}
		if l != nil && l.Seq <= c.walk.seq {
			c.late(l)
			inLog.take()
			continue
		}
		s, err := inStore.peek()
		if err != nil {
			return err
		}
		if l == nil && s != nil && s.Seq > max(c.walk.logged, c.rec.Seq) {
			s = nil // appended since
		}
		switch {
		case l == nil && s == nil:
			return nil
		case l != nil && s != nil && s.Seq < l.Seq:
			l = nil
		case l != nil && s != nil && s.Seq > l.Seq:
			s = nil
		}
		if err := c.event(ctx, l, s); err != nil {
			return err
		}
		if l != nil {
			inLog.take()
		}
		if s != nil {
			inStore.take()
		}
	}
}

// late looks at an entry of the log whose place was passed already.
func (c *checker) late(l *Entry) {
	if i, ok := c.lost[l.Seq]; ok {
		c.Problems[i].Kind, c.Problems[i].What = Disordered, fmt.Sprintf("stands behind %d in the log", c.walk.logged)
		delete(c.lost, l.Seq)
		return
	}
	if l.Seq < c.walk.begin {
		c.wrong(Disordered, l.Seq, "stands behind %d in the log", c.walk.logged)
		return
	}
	c.wrong(Double, l.Seq, "stands in the log again, at %d of the stream", l.Stream)
}

// event checks the next event, of which the log or the store may have nothing.
func (c *checker) event(ctx context.Context, l, s *Entry) error {
	seq, body := chat.Seq(0), []byte(nil)
	if s != nil {
		seq, body = s.Seq, s.Body
	}
	if l != nil {
		seq, body = l.Seq, l.Body
	}
	if err := c.gap(ctx, seq); err != nil {
		return err
	}
	e, bad := wire.DecodeEvent(body)
	switch same, err := c.same(ctx, seq, l, s); {
	case err != nil:
		return err
	case !same:
		c.wrong(Altered, seq, "log and store differ")
		if bad != nil {
			e, bad = wire.DecodeEvent(s.Body)
		}
	case bad != nil:
		c.wrong(Altered, seq, "cannot be read")
	}
	if bad != nil {
		e = chat.Event{}
	}
	settled := l == nil || l.Stream <= c.acked
	if err := c.sides(ctx, seq, e.Time().Time, l, s, settled); err != nil {
		return err
	}
	c.kept(&e, seq, s, settled)
	c.walk.seq = seq
	c.Events++
	p, asked := c.at[seq]
	if l != nil && !l.Stub {
		p.stream = l.Stream
	}
	if bad == nil && c.isOf(&e, seq) {
		c.content(&e)
		p.known, p.n = true, e.N
		if c.state.Seq == seq {
			p.state = c.state
		}
		if err := c.found(ctx, &e, s != nil && settled); err != nil {
			return err
		}
		if err := c.erasure(ctx, &e, settled); err != nil {
			return err
		}
	} else {
		c.blind = true
		c.n.unknown++
	}
	if asked {
		c.at[seq] = p
	}
	return nil
}

// gap notes events that neither side has. Of those that were erased before the store had them there are stubs.
func (c *checker) gap(ctx context.Context, seq chat.Seq) error {
	for c.walk.seq+1 < seq {
		stubs, err := c.stubs(ctx, c.walk.seq+1, seq-1)
		if err != nil {
			return err
		}
		if len(stubs) == 0 {
			break
		}
		if err := c.event(ctx, &stubs[0], nil); err != nil {
			return err
		}
	}
	c.lack(seq)
	return nil
}

// lack notes that there is nothing between the last event and that at seq.
func (c *checker) lack(seq chat.Seq) {
	n := uint64(seq - c.walk.seq - 1)
	if n == 0 {
		return
	}
	first := c.walk.seq + 1
	if n == 1 {
		c.wrong(Missing, first, "neither in the log nor in the store")
		c.lose(first)
	} else {
		c.wrong(Missing, first, "neither in the log nor in the store, nor are the %d events behind it", n-1)
	}
	c.blind = true
	c.n.unknown += n
}

// lose remembers that the problem noted last is of what is missing in the log.
func (c *checker) lose(seq chat.Seq) {
	if c.Wrong == len(c.Problems) {
		c.lost[seq] = len(c.Problems) - 1
	}
}

// sides checks that an event is where it must be. at is its time, zero where it cannot be read.
func (c *checker) sides(ctx context.Context, seq chat.Seq, at time.Time, l, s *Entry, settled bool) error {
	if l == nil {
		aged, err := c.mayBeAged(ctx, at)
		if err == nil && !aged { // or erased since it was read, or as the first of the log
			aged, err = c.isErased(ctx, seq)
		}
		if err != nil {
			return err
		}
		if !aged {
			c.wrong(Missing, seq, "not in the log")
			c.lose(seq)
		}
	} else {
		c.walk.logged = seq
		if !l.Stub {
			c.walk.stream = l.Stream
		}
		if c.walk.begin == 0 {
			c.walk.begin = seq
		}
	}
	if !settled {
		return nil
	}
	c.walk.settled = seq
	if s == nil {
		c.wrong(Missing, seq, "not in the store")
	} else {
		c.walk.stored = seq
	}
	return nil
}

// skew is how far the clock of a node may be ahead of the broker's.
const skew = 10 * time.Minute

// mayBeAged tells whether an event of a time, whose place is right behind that which the log has last, can have aged out of the
// log: where the stream begins behind that place, and not with what is older than the event.
func (c *checker) mayBeAged(ctx context.Context, at time.Time) (bool, error) {
	for asked := false; ; asked = true {
		w := &c.walk
		if asked || w.asked.IsZero() {
			var err error
			if w.first, w.firstAt, err = c.log.First(ctx, c.Report.Chat); err != nil {
				return false, fmt.Errorf("verify: log: %w", err)
			}
			w.asked = time.Now()
		}
		aged := w.first > w.stream && (w.firstAt.IsZero() || !at.After(w.firstAt.Add(skew)))
		if aged || asked || time.Since(w.asked) < time.Second {
			return aged, nil
		}
	}
}

// isOf tells whether an event belongs where it stands.
func (c *checker) isOf(e *chat.Event, seq chat.Seq) bool {
	switch {
	case e.Chat != c.Report.Chat:
		c.wrong(Altered, seq, "is of another chat")
	case e.Seq != seq:
		c.wrong(Disordered, seq, "says that it is event %d", e.Seq)
	default:
		return true
	}
	return false
}

// content checks an event against those before it.
func (c *checker) content(e *chat.Event) {
	if want, ok := c.n.next(e); !ok {
		c.wrong(Count, e.Seq, "says that there are %d messages; there are %d", e.N, want)
	}
	if e.Type == chat.Message {
		c.Messages++
		key := chatlog.IDOf(e.Chat, e.Sender, e.ClientID)
		if at, twice := c.seen[key]; twice {
			c.wrong(Double, e.Seq, "the same message stands at %d", at)
		} else {
			c.seen[key] = e.Seq
		}
		if _, member := c.state.Member(e.Sender); !member && !c.blind {
			c.wrong(Disordered, e.Seq, "its sender is no member at that moment")
		}
		return
	}
	next, err := c.state.Apply(e)
	switch {
	case err == nil:
		c.state = next
	case !c.blind:
		c.wrong(Disordered, e.Seq, "a change that cannot follow those before it")
		c.blind = true
	}
}

// found checks that the store finds a message that it holds.
func (c *checker) found(ctx context.Context, e *chat.Event, stored bool) error {
	if !stored || e.Type != chat.Message {
		return nil
	}
	c.own[e.Sender] = e.Seq
	first := c.seen[chatlog.IDOf(e.Chat, e.Sender, e.ClientID)]
	if first != e.Seq {
		return nil // a double
	}
	f, err := c.store.Find(ctx, e.Chat, e.Sender, e.ClientID)
	switch {
	case errors.Is(err, store.ErrNotFound):
		c.wrong(Index, e.Seq, "the store does not find it by its client id")
	case err != nil:
		return fmt.Errorf("verify: store: %w", err)
	case f.Seq != e.Seq:
		c.wrong(Index, e.Seq, "the store finds it at %d", f.Seq)
	}
	return nil
}

// counter follows the running number of messages.
type counter struct {
	n uint64
	// unknown is how many events before the next one are not known: each may be a message.
	unknown uint64
	// claimed is what the event before says if that is not n, and off says so.
	claimed uint64
	off     bool
}

// next tells whether an event says the right number, and which that is. A number that is wrong is told once: the numbers behind it
// may go on from it, or from what is right.
func (c *counter) next(e *chat.Event) (want uint64, ok bool) {
	var one uint64
	if e.Type == chat.Message {
		one = 1
	}
	want = c.n + one
	switch {
	case e.N >= want && e.N <= want+c.unknown:
	case c.off && e.N == c.claimed+one:
	default:
		*c = counter{n: want, claimed: e.N, off: true}
		return want, false
	}
	*c = counter{n: e.N}
	return want, true
}

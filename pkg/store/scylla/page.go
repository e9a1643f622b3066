package scylla

import (
	"context"
	"math"
	"slices"

	"github.com/scylladb/gocqlx/v2/qb"
	"golang.org/x/sync/errgroup"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/store"
)

// The statements of Page: within one partition, newest first or oldest first.
var (
	inBucket  = []qb.Cmp{qb.Eq("chat_id"), qb.Eq("bucket"), qb.GtOrEqNamed("seq", "low"), qb.LtOrEqNamed("seq", "high")}
	getNewest = cql(qb.Select("messages").Columns("seq", "body").Where(inBucket...).LimitNamed("limit").ToCql())
	getOldest = cql(qb.Select("messages").Columns("seq", "body").Where(inBucket...).OrderBy("seq", qb.ASC).
			LimitNamed("limit").ToCql())
)

// Bodies are read a few rows at a time, so that a page of long messages never is in memory as a whole when its bytes are bounded:
// of a chat that has shown long bodies fewer.
const (
	rowsAtOnce, longRowsAtOnce = 50, 8
	longBody                   = 16 << 10
)

// maxSpan is how many events are looked for in one step where there is a hole, in seqs.
const maxSpan = 16 * bucketSize

// atLeast remembers that a chat has an event at seq: its head is there or higher, for heads never move back.
func (s *Store) atLeast(id chat.ID, seq chat.Seq) {
	if before, ok := s.heads.Get(id); !ok || before < seq {
		s.heads.Add(id, seq)
	}
}

// Page returns events of a chat. It reads the partitions that the range names, as seqs have no holes; where the newest are, it
// guesses while it asks for the head.
func (s *Store) Page(ctx context.Context, id chat.ID, r store.Range) (items []store.Item, err error) {
	err = s.do(ctx, "page", func(c call) error {
		if err := checkIDs("chat", id); err != nil {
			return err
		}
		if r.After >= maxPlace-1 || r.Before > 0 && r.Before <= r.After+1 {
			return nil
		}
		p := pager{call: c, id: id, r: r, low: r.After + 1, high: maxPlace - 1}
		if r.Before > 0 {
			p.high = min(p.high, r.Before-1)
		}
		if err := p.read(); err != nil {
			return err
		}
		items = p.items
		return nil
	})
	if err != nil {
		return nil, err
	}
	return items, nil
}

// pager reads one page.
type pager struct {
	call
	id        chat.ID
	r         store.Range
	low, high chat.Seq // what is still to be looked for
	items     []store.Item
	size      int
	full      bool
}

// up tells whether the lowest of the range are kept.
func (p *pager) up() bool { return p.r.After > 0 || p.r.Forward }

// left is how many events still fit in.
func (p *pager) left() int {
	if p.r.Limit <= 0 {
		return math.MaxInt32
	}
	return p.r.Limit - len(p.items)
}

// first is the first step, during which the head is asked for: a guess of where to look, for a range that has no upper bound.
func (p *pager) first() (low, high chat.Seq) {
	span := chat.Seq(min(p.left(), bucketSize))
	switch {
	case p.up():
		return p.low, min(p.high, p.low+span-1)
	case p.r.Before > 0:
		return p.below(p.high, span), p.high
	}
	known, _ := p.heads.Get(p.id) // zero, where nothing is known: most chats have one bucket
	begin := known / bucketSize * bucketSize
	return max(p.low, begin), min(p.high, begin+bucketSize-1)
}

// below is the lowest of span seqs up to high, within the range.
func (p *pager) below(high, span chat.Seq) chat.Seq {
	if high < p.low+span {
		return p.low
	}
	return high - span + 1
}

func (p *pager) read() error {
	low, high := p.first()
	known, _ := p.heads.Get(p.id)
	newest := !p.up() && p.r.Before == 0
	ask := newest || p.up() && high > known // otherwise the step fills the page, unless there are holes
	var step []store.Item
	var head chat.Seq
	g, ctx := errgroup.WithContext(p.ctx)
	g.Go(func() (err error) { step, err = p.window(ctx, low, high); return err })
	if ask {
		g.Go(func() (err error) { head, err = p.head(ctx, p.id); return err })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if newest && bucketOf(head) != bucketOf(high) {
		step, high, low = nil, head, head+1 // the guess was wrong
	}
	if p.take(step); !p.full && !ask {
		var err error
		if head, err = p.head(p.ctx, p.id); err != nil {
			return err
		}
	}
	if head > 0 {
		p.atLeast(p.id, head)
	}
	if p.full {
		return p.finish()
	}
	p.high = min(p.high, head)
	return p.walk(low, high)
}

// walk goes on behind a first step from low to high, until the page is full or the range ends.
func (p *pager) walk(low, high chat.Seq) error {
	span := chat.Seq(min(p.left(), bucketSize))
	for !p.full {
		if p.up() {
			low = high + 1
			high = min(p.high, low+span-1)
		} else {
			high = min(low-1, p.high)
			low = p.below(high, span)
		}
		if low > high || high < p.low {
			break
		}
		step, err := p.window(p.ctx, low, high)
		if err != nil {
			return err
		}
		p.take(step)
		if len(step) == 0 { // a hole
			span = min(2*span, maxSpan)
		}
	}
	return p.finish()
}

// finish puts the page in order.
func (p *pager) finish() error {
	if !p.up() {
		slices.Reverse(p.items)
	}
	return nil
}

// take adds the events of a step, as many as fit in.
func (p *pager) take(step []store.Item) {
	for _, it := range step {
		p.size += len(it.Body)
		if p.r.MaxBytes > 0 && p.size > p.r.MaxBytes && len(p.items) > 0 {
			p.full = true
			return
		}
		p.items = append(p.items, it)
		if p.left() <= 0 {
			p.full = true
			return
		}
	}
}

// window reads the events from low to high, in the direction of the page, as many as fit in by number and by bytes.
func (p *pager) window(ctx context.Context, low, high chat.Seq) ([]store.Item, error) {
	first, last := bucketOf(low), bucketOf(high)
	parts := make([][]store.Item, last-first+1)
	if len(parts) == 1 {
		return p.bucket(ctx, first, low, high)
	}
	g, ctx := errgroup.WithContext(ctx)
	for i := range parts {
		g.Go(func() (err error) {
			parts[i], err = p.bucket(ctx, first+int64(i), low, high)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	if !p.up() {
		slices.Reverse(parts)
	}
	return slices.Concat(parts...), nil
}

// bucket reads the events from low to high of one partition.
func (p *pager) bucket(ctx context.Context, bucket int64, low, high chat.Seq) ([]store.Item, error) {
	stmt, rows := getNewest, rowsAtOnce
	if p.up() {
		stmt = getOldest
	}
	if p.long.Contains(p.id) {
		rows = longRowsAtOnce
	}
	it := p.query(ctx, stmt, string(p.id), bucket, int64(low), int64(high), min(p.left(), bucketSize)).
		PageSize(rows).Prefetch(0).Iter()
	var items []store.Item
	var seq int64
	var body []byte
	for size := p.size; it.Scan(&seq, &body); {
		if body == nil {
			body = []byte{}
		}
		items = append(items, store.Item{Seq: chat.Seq(seq), Body: body})
		if len(body) > longBody {
			p.long.Add(p.id, struct{}{})
		}
		if size += len(body); p.r.MaxBytes > 0 && size > p.r.MaxBytes && len(p.items)+len(items) > 1 {
			break // take sees that it does not fit in
		}
		body = nil // the next one gets memory of its own
	}
	return items, it.Close()
}

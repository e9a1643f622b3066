package api

import (
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/chatlog"
	"github.com/chatmesh/chatmesh/pkg/store"
)

// Tail is the end of the logs of the chats. A *chatlog.Log is one.
type Tail interface {
	// After returns events of a chat with seq > after, ascending and without holes, at most limit and, but for the first, at
	// most maxBytes of them (zero is no bound). It reads from behind stream, the sequence of an event at or before after; zero
	// reads from the beginning of what the log retains.
	After(ctx context.Context, id chat.ID, after chat.Seq, stream uint64, limit, maxBytes int) ([]store.Item, error)
}

// Older is the whole history of the chats: what the store has, and for what it does not have yet, or cannot be asked for at
// the moment, the tail of the log. It is the chatlog.Older of whoever has a store.
type Older struct {
	history store.History
	tail    Tail
}

var _ chatlog.Older = (*Older)(nil)

// NewOlder returns the history in h. SetTail must be called before it is used.
func NewOlder(h store.History) *Older { return &Older{history: h} }

// SetTail tells where the tail is. It is apart from NewOlder because a *chatlog.Log is made with its Older.
func (o *Older) SetTail(t Tail) { o.tail = t }

// storeTime is how long the store may take when the tail can answer in its place.
const storeTime = 3 * time.Second

// errHole says that events are missing which the store has or will have in a moment: it is being written.
var errHole = errors.New("api: the history has a hole")

// Record returns what the store knows of a chat. It fails with store.ErrNotFound or Unavailable.
func (o *Older) Record(ctx context.Context, id chat.ID) (store.Record, error) {
	r, err := o.history.Record(ctx, id)
	return r, away(err)
}

// Cursor returns the cursor in the store; the zero Seq where there is none. It fails with Unavailable.
func (o *Older) Cursor(ctx context.Context, id chat.ID, user chat.UserID) (store.Cursor, error) {
	c, err := o.history.Cursor(ctx, id, user)
	return c, away(err)
}

// away makes Unavailable of whatever is no answer of the store.
func away(err error) error {
	var known *chat.Error
	if err == nil || errors.Is(err, store.ErrNotFound) || errors.As(err, &known) {
		return err
	}
	return unavailable("the store cannot be used at the moment", err)
}

// record is what the store has of a chat, without its state, within storeTime.
func (o *Older) record(ctx context.Context, id chat.ID) (store.Record, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	seq, stream, err := o.history.Head(ctx, id)
	return store.Record{Seq: seq, Stream: stream}, err
}

// page is history.Page within storeTime.
func (o *Older) page(ctx context.Context, id chat.ID, r store.Range) ([]store.Item, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	return o.history.Page(ctx, id, r)
}

// walk calls fn for the events above after until it returns false. stream is the sequence of an event at or before after; n is
// about how many events are wanted.
func (o *Older) walk(ctx context.Context, id chat.ID, after chat.Seq, stream uint64, n int, fn func(store.Item) bool) error {
	for {
		items, err := o.tail.After(ctx, id, after, stream, min(max(n, 1), tailPage), tailBytes)
		if err != nil || len(items) == 0 {
			return err
		}
		for _, it := range items {
			if !fn(it) {
				return nil
			}
			after = it.Seq
		}
	}
}

// Page returns events from store and tail together, without holes: where one is, because the store is being written, the
// page ends at it. It fails with Unavailable where it cannot tell.
func (o *Older) Page(ctx context.Context, id chat.ID, r store.Range) (chatlog.Page, error) {
	if r.Limit <= 0 {
		r.Limit = chat.MaxPage
	}
	if r.MaxBytes <= 0 {
		r.MaxBytes = math.MaxInt
	}
	read := o.backward
	if r.After > 0 || r.Forward {
		read = o.forward
	}
	if r.After >= math.MaxInt64 || r.Before == 1 || r.Before > 0 && r.Before <= r.After+1 {
		return chatlog.Page{}, nil
	}
	var err error
	for n := range 3 {
		if n > 0 && bus.Sleep(ctx, bus.Backoff(n-1)) != nil {
			break
		}
		var p chatlog.Page
		if p, err = o.once(ctx, id, r, read); err == nil {
			return p, nil
		}
		if !errors.Is(err, errHole) {
			break
		}
	}
	var known *chat.Error
	if errors.As(err, &known) { // the tail: there is nothing else
		return chatlog.Page{}, err
	}
	// The store is away, or does not get over its hole: the whole tail may do without it.
	p, alone := read(ctx, id, r, nil)
	if alone != nil {
		return chatlog.Page{}, unavailable("this part of the history cannot be read at the moment", errors.Join(err, alone))
	}
	return p, nil
}

// reader reads a page in one direction. Without a record it uses the tail only. It fails with errHole where it cannot make
// a page that borders on what was asked for.
type reader func(ctx context.Context, id chat.ID, r store.Range, rec *store.Record) (chatlog.Page, error)

func (o *Older) once(ctx context.Context, id chat.ID, r store.Range, read reader) (chatlog.Page, error) {
	rec, err := o.record(ctx, id)
	if err != nil {
		return chatlog.Page{}, err
	}
	return read(ctx, id, r, &rec)
}

// forward reads the lowest events above r.After.
func (o *Older) forward(ctx context.Context, id chat.ID, r store.Range, rec *store.Record) (chatlog.Page, error) {
	var p chatlog.Page
	size, next := 0, r.After+1
	end := r.Before
	if end == 0 {
		end = math.MaxUint64
	}
	hole := false
	// add takes the next event, and tells whether there is room for more.
	add := func(it store.Item) bool {
		switch {
		case it.Seq < next:
			return true
		case next >= end:
			return false
		case it.Seq > next:
			hole = true
			return false
		case len(p.Items) == r.Limit, len(p.Items) > 0 && len(it.Body) > r.MaxBytes-size:
			p.More = true
			return false
		}
		p.Items, size, next = append(p.Items, it), size+len(it.Body), next+1
		return true
	}
	finish := func() (chatlog.Page, error) {
		if n := len(p.Items); n > 0 {
			p.From, p.To = p.Items[0].Seq, p.Items[n-1].Seq
			p.More = p.More || hole
			return p, nil
		}
		if hole {
			return p, errHole
		}
		return p, nil
	}
	var stored chat.Seq
	var stream uint64
	if rec != nil {
		stored, stream = rec.Seq, rec.Stream
	}
	if next <= stored {
		items, err := o.page(ctx, id, store.Range{After: r.After, Before: r.Before, Forward: true, Limit: r.Limit + 1,
			MaxBytes: saturate(r.MaxBytes)})
		if err != nil {
			return p, err
		}
		for _, it := range items {
			if !add(it) {
				return finish()
			}
		}
		if next <= min(stored, end-1) { // cut by bytes, or a hole
			hole = true
			return finish()
		}
	}
	if next >= end {
		return finish()
	}
	if err := o.walk(ctx, id, next-1, stream, r.Limit-len(p.Items)+1, add); err != nil {
		return p, err
	}
	if rec == nil && len(p.Items) == 0 && !hole {
		// Nothing follows in the log. That is the end of the chat if the log has anything of it: then it has the head.
		hole = true
		if err := o.walk(ctx, id, 0, 0, 1, func(store.Item) bool { hole = false; return false }); err != nil {
			return p, err
		}
	}
	return finish()
}

// saturate is a bound for the store, for which zero is none.
func saturate(n int) int {
	if n == math.MaxInt {
		return 0
	}
	return n
}

// backward reads the highest events below r.Before, or of all.
func (o *Older) backward(ctx context.Context, id chat.ID, r store.Range, rec *store.Record) (chatlog.Page, error) {
	var stored chat.Seq
	var stream uint64
	if rec != nil {
		stored, stream = rec.Seq, rec.Stream
	}
	var items []store.Item
	size := 0
	full := false
	top := r.Before // what is read from the store lies below
	if r.Before == 0 || r.Before > stored+1 {
		top = stored + 1
		hole := false
		err := o.walk(ctx, id, stored, stream, tailPage, func(it store.Item) bool {
			if r.Before > 0 && it.Seq >= r.Before {
				return false
			}
			hole = hole || rec != nil && len(items) == 0 && !full && it.Seq != stored+1
			items, size = append(items, it), size+len(it.Body)
			for len(items) > r.Limit || len(items) > 1 && size > r.MaxBytes {
				size -= len(items[0].Body)
				items, full = slices.Delete(items, 0, 1), true
			}
			return true
		})
		if err != nil {
			return chatlog.Page{}, err
		}
		if hole {
			return chatlog.Page{}, errHole
		}
	}
	if rec == nil {
		if len(items) == 0 {
			return chatlog.Page{}, errHole // nothing proves that there is nothing
		}
		return pageOf(items), nil
	}
	if need := r.Limit - len(items); !full && need > 0 && top > 1 {
		older, err := o.page(ctx, id, store.Range{Before: top, Limit: need, MaxBytes: saturate(max(r.MaxBytes-size, 1))})
		if err != nil {
			return chatlog.Page{}, err
		}
		keep := len(older)
		for keep > 0 && older[keep-1].Seq == top-1 && (len(items) == 0 && keep == len(older) || len(older[keep-1].Body) <= r.MaxBytes-size) {
			keep--
			top--
			size += len(older[keep].Body)
		}
		if keep == len(older) && len(items) == 0 {
			return chatlog.Page{}, errHole
		}
		items = append(older[keep:], items...)
	}
	return pageOf(items), nil
}

// pageOf is the page of items that were read backward.
func pageOf(items []store.Item) chatlog.Page {
	if len(items) == 0 {
		return chatlog.Page{}
	}
	from := items[0].Seq
	return chatlog.Page{Items: items, From: from, To: items[len(items)-1].Seq, More: from > 1}
}

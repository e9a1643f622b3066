package api

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/chatlog"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// Bounds of looking at what became of messages.
const (
	// tailEvents and tailSize bound what is read of the log behind what the store has. What lies behind is not folded, and the page
	// says so.
	tailEvents = 5000
	tailSize   = 64 << 20
	// textsAtOnce is how many events, each with a text, are read at once.
	textsAtOnce = 16
)

// fates are what became of the messages of a chat, up to a moment: the marks in the store and, behind those, the events in the log. While
// the store is away the log answers alone, as far as it goes.
type fates struct {
	s    *Server
	snap chatlog.Snapshot
	rec  store.Record
	// away says that the store cannot be asked.
	away bool
	// low is the lowest message that is of interest: while the store is away nothing is known of those below.
	low  chat.Seq
	fold chat.Fold
	// to is the event up to which all is in fold, once the marks of a message are.
	to chat.Seq
	// told are the messages whose marks are in fold, items those of them that were read already.
	told  span
	items []event
}

// span is a part of a chat, both ends included; zeroes are none.
type span struct{ from, to chat.Seq }

func (s span) has(seq chat.Seq) bool { return s.from <= seq && seq <= s.to }

// fates looks at a chat up to the head of snap. low is the lowest message that is of interest; the events of known are in f already.
func (s *Server) fates(ctx context.Context, snap chatlog.Snapshot, low chat.Seq, f chat.Fold, known span) (*fates, error) {
	p := newFates(s, snap, low, f)
	var err error
	for n := range 3 {
		if n > 0 && bus.Sleep(ctx, bus.Backoff(n-1)) != nil {
			break
		}
		// The record first: what the store gets after it is found in the log, what it had before it is found in the store.
		rec, unstored := s.older.record(ctx, snap.State.Chat)
		from, stream := rec.Seq, rec.Stream
		if unstored != nil {
			_ = s.stored(unstored) // is logged
			rec, from, stream = store.Record{}, p.low-1, 0
		} else if e, err := s.lastErasure(ctx, snap, rec); err != nil {
			return nil, err
		} else if e != nil {
			p.fold.Add(e)
		}
		p.rec, p.away = rec, unstored != nil
		if known.from <= from+1 && from < known.to {
			from = known.to
		}
		if err = p.scan(ctx, from, stream); !errors.Is(err, errHole) {
			return p, err
		}
	}
	return nil, unavailable("this part of the history cannot be read at the moment", err)
}

// newFates knows what f knows, and whose account is gone.
func newFates(s *Server, snap chatlog.Snapshot, low chat.Seq, f chat.Fold) *fates {
	p := &fates{s: s, snap: snap, low: max(low, 1), fold: f, to: snap.Head.Seq}
	for _, g := range snap.State.Gone {
		p.fold.Add(&chat.Event{Type: chat.Changed, Chat: snap.State.Chat, Seq: g.Seq, Change: chat.Erased, User: g.UserID, By: g.UserID, At: &g.At})
	}
	return p
}

// scan takes the events of the log behind after. stream is the sequence of an event at or before it; zero where that is not known.
func (p *fates) scan(ctx context.Context, after chat.Seq, stream uint64) error {
	head, size := p.snap.Head.Seq, 0
	for p.to = after; p.to < head && p.to-after < tailEvents && size < tailSize; {
		items, err := p.tail(ctx, p.to, stream, int(min(head, after+tailEvents)-p.to))
		if err != nil {
			return err
		}
		if len(items) == 0 || items[0].Seq != p.to+1 {
			return errHole // the store has it by now
		}
		for _, it := range items {
			size += len(it.Body)
			p.to = it.Seq
			if bytes.HasPrefix(it.Body, messageBegins) {
				continue
			}
			e, err := wire.DecodeEvent(it.Body)
			if err != nil {
				return err
			}
			if p.fold.Add(&e); size > pageBytes {
				p.fold.Forget(e.Target) // a text is read again where it is wanted
			}
		}
	}
	p.to = min(head, max(p.to, p.rec.Seq))
	return nil
}

// lastErasure returns the last event that the store has where it is a deletion, of which the stubs, which stand behind it, may be missing
// there; nil where it is none, or where the log has forgotten it.
func (s *Server) lastErasure(ctx context.Context, snap chatlog.Snapshot, rec store.Record) (*chat.Event, error) {
	if rec.Seq == 0 || rec.Seq != snap.State.LastErasure || rec.Stream == 0 {
		return nil, nil
	}
	items, err := s.log.After(ctx, snap.State.Chat, rec.Seq-1, rec.Stream-1, 1, 0)
	if err != nil || len(items) == 0 || items[0].Seq != rec.Seq {
		return nil, err
	}
	e, err := wire.DecodeEvent(items[0].Body)
	return &e, err
}

// messageBegins is how a message begins: it says nothing of others.
var messageBegins = []byte(`{"type":"message",`)

func (p *fates) tail(ctx context.Context, after chat.Seq, stream uint64, n int) ([]store.Item, error) {
	if !p.away {
		return p.s.log.After(ctx, p.snap.State.Chat, after, stream, min(n, tailPage), tailBytes)
	}
	page, err := p.s.log.Page(ctx, p.snap.State.Chat, store.Range{After: after, Before: p.snap.Head.Seq + 1, Forward: true, Limit: min(n, tailPage),
		MaxBytes: tailBytes})
	return page.Items, err
}

// marks takes what the store has of the messages of each span.
func (p *fates) marks(ctx context.Context, spans ...span) error {
	if p.away {
		return nil // the log has it all
	}
	all := make([][]store.Mark, len(spans))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(textsAtOnce)
	for i, sp := range spans {
		g.Go(func() (err error) {
			all[i], err = p.s.store.Marks(ctx, p.snap.State.Chat, sp.from, sp.to)
			return p.s.stored(err)
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for _, m := range slices.Concat(all...) {
		p.fold.Add(&chat.Event{Type: m.Type, Chat: p.snap.State.Chat, Seq: m.Seq, Target: m.Target, By: m.By, Emoji: m.Emoji, Removed: m.Removed, At: &m.At})
	}
	return nil
}

// event reads an event. It fails with errNoMessage where there is none.
func (p *fates) event(ctx context.Context, seq chat.Seq) (chat.Event, error) {
	if seq == 0 || seq > p.snap.Head.Seq {
		return chat.Event{}, errNoMessage
	}
	at, ok := slices.BinarySearchFunc(p.items, seq, func(e event, seq chat.Seq) int { return cmp.Compare(e.Seq, seq) })
	if ok {
		return p.items[at].Event, nil
	}
	only := store.Range{After: seq - 1, Before: seq + 1, Forward: true, Limit: 1}
	if !p.away && seq <= p.rec.Seq {
		items, err := p.s.older.page(ctx, p.snap.State.Chat, only)
		if err == nil && len(items) == 1 && items[0].Seq == seq {
			return wire.DecodeEvent(items[0].Body)
		}
	}
	page, err := p.s.log.Page(ctx, p.snap.State.Chat, only)
	if err != nil {
		return chat.Event{}, err
	}
	if len(page.Items) != 1 || page.Items[0].Seq != seq {
		return chat.Event{}, errHole
	}
	return wire.DecodeEvent(page.Items[0].Body)
}

// events reads several events, a few at once. What cannot be read is left out where may says so.
func (p *fates) events(ctx context.Context, seqs []chat.Seq, may bool) ([]chat.Event, error) {
	all := make([]chat.Event, len(seqs))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(textsAtOnce)
	for i, seq := range seqs {
		g.Go(func() (err error) {
			if all[i], err = p.event(ctx, seq); err != nil && may {
				all[i], err = chat.Event{}, nil
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	out := all[:0]
	for _, e := range all {
		if e.Seq > 0 {
			out = append(out, e)
		}
	}
	return out, nil
}

// texts reads the texts of the last edits of messages, where they are missing.
func (p *fates) texts(ctx context.Context, messages []chat.Event, may bool) error {
	var untold []chat.Seq
	for i := range messages {
		if seq := p.fold.Untold(messages[i].Seq); seq > 0 && messages[i].Deleted == nil {
			untold = append(untold, seq)
		}
	}
	if len(untold) == 0 {
		return nil
	}
	edits, err := p.events(ctx, untold, may)
	for i := range edits {
		p.fold.Add(&edits[i])
	}
	return err
}

// folded is messages as they stand, whose marks are known; with replies each shows what it answers.
func (p *fates) folded(ctx context.Context, messages []chat.Event, replies bool) ([]chat.Folded, error) {
	if err := p.texts(ctx, messages, false); err != nil {
		return nil, err
	}
	out := make([]chat.Folded, len(messages))
	for i := range messages {
		out[i] = p.fold.Message(messages[i])
	}
	if !replies {
		return out, nil
	}
	shown := p.replies(ctx, out)
	for i := range out {
		if r, ok := shown[out[i].ReplyTo]; ok {
			out[i].Reply = r
		}
	}
	return out, nil
}

// replies shows the messages that others answer. What cannot be read now is not shown: who reads the page can ask for it.
func (p *fates) replies(ctx context.Context, messages []chat.Folded) map[chat.Seq]*chat.Reply {
	shown := map[chat.Seq]*chat.Reply{}
	var wanted []chat.Seq
	for i := range messages {
		if seq := messages[i].ReplyTo; seq > 0 && (!p.away || seq >= p.low) {
			if _, twice := shown[seq]; !twice {
				shown[seq], wanted = nil, append(wanted, seq)
			}
		}
	}
	answered, _ := p.events(ctx, wanted, true)
	var spans []span
	for _, e := range answered {
		if !p.told.has(e.Seq) {
			spans = append(spans, span{e.Seq, e.Seq})
		}
	}
	if err := p.marks(ctx, spans...); err != nil {
		return nil
	}
	if err := p.texts(ctx, answered, true); err != nil {
		return nil
	}
	for _, e := range answered {
		if e.Type == chat.Message && (e.Deleted != nil || p.fold.Untold(e.Seq) == 0) { // of what was deleted, edits have no texts
			m := p.fold.Message(e)
			shown[e.Seq] = m.Shown()
		}
	}
	return shown
}

// message is one message as it stands. It fails with errNoMessage.
func (p *fates) message(ctx context.Context, seq chat.Seq) (chat.Folded, error) {
	e, err := p.event(ctx, seq)
	switch {
	case err != nil:
		return chat.Folded{}, err
	case e.Type != chat.Message:
		return chat.Folded{}, errNoMessage
	}
	if err := p.marks(ctx, span{seq, seq}); err != nil {
		return chat.Folded{}, err
	}
	out, err := p.folded(ctx, []chat.Event{e}, true)
	if err != nil {
		return chat.Folded{}, err
	}
	return out[0], nil
}

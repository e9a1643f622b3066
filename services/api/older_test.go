package api

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/chatlog"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// past is one chat in a store and in a log, as far as Older looks at them: the store has some of the events, the log retains
// the latest.
type past struct {
	store.History
	events  []store.Item // event n at n-1; its stream sequence is 10n
	stored  map[chat.Seq]bool
	record  chat.Seq
	retains chat.Seq // the first event that the log still has
	down    bool
	// heal writes what is missing at the second look.
	heal  bool
	looks int
}

func (p *past) Head(context.Context, chat.ID) (chat.Seq, uint64, error) {
	if p.looks++; p.heal && p.looks > 1 {
		for seq := range p.record {
			p.stored[seq+1] = true
		}
	}
	switch {
	case p.down:
		return 0, 0, errFault
	case p.record == 0:
		return 0, 0, nil
	}
	return p.record, 10 * uint64(p.record), nil
}

func (p *past) Find(_ context.Context, _ chat.ID, sender chat.UserID, client chat.ClientID) (store.Found, error) {
	if p.down {
		return store.Found{}, errFault
	}
	for _, it := range p.events {
		if e, _ := wire.DecodeEvent(it.Body); p.stored[it.Seq] && e.Sender == sender && e.ClientID == client {
			return store.Found{Seq: e.Seq, SentAt: e.Time()}, nil
		}
	}
	return store.Found{}, store.ErrNotFound
}

func (p *past) Sent(_ context.Context, _ chat.ID, sender chat.UserID, limit int) (out []chat.ClientID, err error) {
	if p.down {
		return nil, errFault
	}
	for _, it := range p.events {
		if e, _ := wire.DecodeEvent(it.Body); p.stored[it.Seq] && e.Sender == sender && len(out) < limit {
			out = append(out, e.ClientID)
		}
	}
	return out, nil
}

func (p *past) Page(_ context.Context, _ chat.ID, r store.Range) ([]store.Item, error) {
	if p.down {
		return nil, errFault
	}
	var in []store.Item
	for _, it := range p.events {
		if p.stored[it.Seq] && it.Seq > r.After && (r.Before == 0 || it.Seq < r.Before) {
			in = append(in, it)
		}
	}
	backward := r.After == 0 && !r.Forward
	if backward {
		slices.Reverse(in)
	}
	n, size := 0, 0
	for n < len(in) && n < r.Limit {
		if size += len(in[n].Body); n > 0 && r.MaxBytes > 0 && size > r.MaxBytes {
			break
		}
		n++
	}
	in = in[:n]
	if backward {
		slices.Reverse(in)
	}
	return in, nil
}

func (p *past) After(_ context.Context, _ chat.ID, after chat.Seq, stream uint64, limit, maxBytes int) ([]store.Item, error) {
	var out []store.Item
	size := 0
	for _, it := range p.events {
		if it.Seq < p.retains || 10*uint64(it.Seq) <= stream || it.Seq <= after {
			continue
		}
		if size += len(it.Body); len(out) == limit || len(out) > 0 && maxBytes > 0 && size > maxBytes {
			break
		}
		out = append(out, it)
	}
	return out, nil
}

func newPast(n int) *past {
	p := &past{stored: map[chat.Seq]bool{}, retains: 1}
	now := chat.Now()
	for i := range n {
		e := chat.Event{Type: chat.Message, Chat: "c", Seq: chat.Seq(i + 1), N: uint64(i + 1), Sender: "ann", SentAt: &now,
			ClientID: chat.ClientID(fmt.Sprintf("m%d", i+1)), Text: fmt.Sprintf("%0*d", i%7*10+1, i)}
		p.events = append(p.events, store.Item{Seq: e.Seq, Body: wire.Encode(e)})
	}
	return p
}

func (p *past) older() *Older {
	o := NewOlder(p)
	o.SetTail(p)
	return o
}

// expect is the page that a store with everything in it would give.
func (p *past) expect(r store.Range) []store.Item {
	all := newPast(0)
	all.events = p.events
	for _, it := range p.events {
		all.stored[it.Seq] = true
	}
	items, _ := all.Page(context.Background(), "c", r)
	return items
}

func drawRange(rt *rapid.T, n int) store.Range {
	r := store.Range{Limit: rapid.IntRange(1, n+2).Draw(rt, "limit"), Before: chat.Seq(rapid.IntRange(0, n+2).Draw(rt, "before"))}
	if rapid.Bool().Draw(rt, "forward") {
		r.Forward = true
		r.After = chat.Seq(rapid.IntRange(0, n+2).Draw(rt, "after"))
	}
	if rapid.Bool().Draw(rt, "bytes bound") {
		r.MaxBytes = rapid.IntRange(1, 900).Draw(rt, "bytes")
	}
	return r
}

func TestStoreAndTailTogetherAreTheWholeHistory(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(0, 30).Draw(rt, "events")
		p := newPast(n)
		p.record = chat.Seq(rapid.IntRange(0, n).Draw(rt, "stored"))
		for seq := range p.record {
			p.stored[seq+1] = true
		}
		p.retains = chat.Seq(rapid.IntRange(1, int(p.record)+1).Draw(rt, "retains"))
		r := drawRange(rt, n)
		got, err := p.older().Page(t.Context(), "c", r)
		want := p.expect(r)
		if err != nil || !sameItems(got.Items, want) {
			rt.Fatalf("range %+v: got %v, %v; want %v", r, seqs(got.Items), err, seqs(want))
		}
		if len(want) == 0 {
			if got.From != 0 || got.To != 0 || got.More {
				rt.Fatalf("range %+v: got %+v; want an empty page", r, got)
			}
			return
		}
		more := want[0].Seq > 1
		if r.Forward {
			end := chat.Seq(n)
			if r.Before > 0 {
				end = min(end, r.Before-1)
			}
			more = want[len(want)-1].Seq < end
		}
		if got.From != want[0].Seq || got.To != want[len(want)-1].Seq || got.More != more {
			rt.Fatalf("range %+v: got %d..%d more %t; want %v more %t", r, got.From, got.To, got.More, seqs(want), more)
		}
	})
}

func TestAHoleOrALostStoreNeverMakesAWrongPage(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(1, 20).Draw(rt, "events")
		p := newPast(n)
		p.record = chat.Seq(rapid.IntRange(0, n).Draw(rt, "stored"))
		for seq := range p.record {
			p.stored[seq+1] = rapid.IntRange(0, 3).Draw(rt, "there") > 0
		}
		p.down = rapid.Bool().Draw(rt, "down")
		p.retains = chat.Seq(rapid.IntRange(1, n+1).Draw(rt, "retains"))
		if !p.down {
			p.retains = min(p.retains, p.record+1)
		}
		p.heal = rapid.Bool().Draw(rt, "heal")
		r := drawRange(rt, n)
		got, err := p.older().Page(t.Context(), "c", r)
		want := p.expect(r)
		if err != nil {
			if !chat.Is(err, chat.Unavailable) {
				rt.Fatalf("got %v; want unavailable", err)
			}
			if p.retains == 1 || p.heal && !p.down {
				rt.Fatalf("range %+v: got %v, though it could be told", r, err)
			}
			return
		}
		// What is told is right, borders on what was asked for, and says that there is more.
		if len(got.Items) > len(want) || len(got.Items) == 0 && len(want) > 0 {
			rt.Fatalf("range %+v: got %v; want %v", r, seqs(got.Items), seqs(want))
		}
		part := want[len(want)-len(got.Items):]
		if r.Forward {
			part = want[:len(got.Items)]
		}
		if !sameItems(got.Items, part) {
			rt.Fatalf("range %+v: got %v; want %v", r, seqs(got.Items), seqs(part))
		}
		if len(got.Items) < len(want) && !got.More {
			rt.Fatalf("range %+v: got %v and no more; want %v", r, seqs(got.Items), seqs(want))
		}
	})
}

func sameItems(a, b []store.Item) bool {
	return slices.EqualFunc(a, b, func(x, y store.Item) bool { return x.Seq == y.Seq && string(x.Body) == string(y.Body) })
}

func seqs(items []store.Item) (out []chat.Seq) {
	for _, it := range items {
		out = append(out, it.Seq)
	}
	return out
}

func TestAMessageIsFoundInStoreAndTail(t *testing.T) {
	fresh, err := uuid.NewV7()
	check(t, err)
	old := uuid.MustParse("01890a5d-ac96-774b-bcce-b302099a8057") // of 2023
	for _, c := range []struct {
		name            string
		record, retains chat.Seq
		down            bool
		client          chat.ClientID
		want            chat.Seq
		err             error
		code            chat.Code
	}{
		{name: "in the store", record: 5, retains: 6, client: "m3", want: 3},
		{name: "in the tail", record: 5, retains: 1, client: "m8", want: 8},
		{name: "nowhere", record: 5, retains: 3, client: "m80", err: store.ErrNotFound},
		{name: "in a chat that the store does not know", retains: 1, client: "m8", want: 8},
		{name: "in the tail, the store away", down: true, retains: 4, client: "m8", want: 8},
		{name: "nowhere, the store away, the log whole", down: true, retains: 1, client: "m80", err: store.ErrNotFound},
		{name: "perhaps in the store, which is away", down: true, retains: 4, client: "m3", code: chat.Unavailable},
		{name: "perhaps in the store, all aged out", down: true, retains: 11, client: "m3", code: chat.Unavailable},
		{name: "too new for the store", down: true, retains: 4, client: chat.ClientID(fresh.String()), err: store.ErrNotFound},
		{name: "old enough for the store", down: true, retains: 4, client: chat.ClientID(old.String()), code: chat.Unavailable},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPast(10)
			p.record, p.retains, p.down = c.record, c.retains, c.down
			for seq := range p.record {
				p.stored[seq+1] = true
			}
			f, err := p.older().Find(t.Context(), "c", "ann", c.client)
			switch {
			case c.code != "":
				if !chat.Is(err, c.code) || !errors.Is(err, errFault) {
					t.Errorf("got %v; want %s and its cause", err, c.code)
				}
			case !errors.Is(err, c.err) || f.Seq != c.want:
				t.Errorf("got %d, %v; want %d, %v", f.Seq, err, c.want, c.err)
			}
			if _, err := p.older().Find(t.Context(), "c", "ben", "m8"); err == nil {
				t.Error("found the message of somebody else")
			}
		})
	}
}

func TestSentListsAllOfAPersonOrSaysThatItIsNotComplete(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(1, 20).Draw(rt, "events")
		p := newPast(n)
		p.record = chat.Seq(rapid.IntRange(0, n).Draw(rt, "stored"))
		for seq := range p.record {
			p.stored[seq+1] = true
		}
		p.down = rapid.Bool().Draw(rt, "down")
		p.retains = chat.Seq(rapid.IntRange(1, int(p.record)+1).Draw(rt, "retains"))
		since := chat.Seq(rapid.IntRange(0, n).Draw(rt, "since"))
		got, err := p.older().Sent(t.Context(), "c", "ann", since)
		check(t, err)
		if want := !p.down || p.retains == 1; got.Complete != want {
			rt.Fatalf("got complete %t; want %t", got.Complete, want)
		}
		if !got.Complete {
			return
		}
		var want []chatlog.ID
		for _, it := range p.events {
			e, err := wire.DecodeEvent(it.Body)
			check(t, err)
			want = append(want, chatlog.IDOf("c", "ann", e.ClientID))
		}
		upTo := chat.Seq(n)
		if !p.down && since > 0 && p.record >= since { // the rest is known to who asks
			upTo = p.record
		}
		if !slices.Equal(got.IDs, want[:upTo]) || got.UpTo != upTo {
			rt.Fatalf("got %d ids up to %d; want those up to %d", len(got.IDs), got.UpTo, upTo)
		}
	})
}

func TestOnlyAUUIDv7OfTheLastHourIsNew(t *testing.T) {
	now := time.Now()
	made := func(at time.Time, version byte) chat.ClientID {
		u := uuid.New()
		ms := uint64(at.UnixMilli())
		for i := range 6 {
			u[i] = byte(ms >> (8 * (5 - i)))
		}
		u[6] = version<<4 | u[6]&0xf
		return chat.ClientID(u.String())
	}
	for _, c := range []struct {
		id   chat.ClientID
		want bool
	}{
		{made(now, 7), true},
		{made(now.Add(-59*time.Minute), 7), true},
		{made(now.Add(-61*time.Minute), 7), false},
		{made(now.Add(4*time.Minute), 7), true},
		{made(now.Add(6*time.Minute), 7), false},
		{made(now, 4), false},
		{"c1", false},
		{"", false},
	} {
		if got := isNew(c.id, now); got != c.want {
			t.Errorf("%s: got %t; want %t", c.id, got, c.want)
		}
	}
}

package api

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/chatlog"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// command appends one, on the message as it is now, past the api.
func (w *world) command(id chat.ID, make func(chat.Target) chat.Command, seq chat.Seq, sender chat.UserID) chatlog.Receipt {
	w.t.Helper()
	snap, err := w.log.Snapshot(w.t.Context(), id)
	check(w.t, err)
	r, err := w.log.Append(w.t.Context(), id, make(chat.Target{Seq: seq, Sender: sender, Head: snap.Head.Seq}))
	check(w.t, err)
	return r
}

// wholeLog is all events of a chat, as they stand in the log.
func (w *world) wholeLog(id chat.ID) []chat.Event {
	w.t.Helper()
	items, err := w.log.After(w.t.Context(), id, 0, 0, 100_000, 0)
	check(w.t, err)
	out := make([]chat.Event, len(items))
	for i, it := range items {
		out[i], err = wire.DecodeEvent(it.Body)
		check(w.t, err)
	}
	return out
}

// folds are the items of a chat as a fold of all its events has them.
func (w *world) folds(id chat.ID) (all []chat.Folded) {
	w.t.Helper()
	var f chat.Fold
	events := w.wholeLog(id)
	for i := range events {
		f.Add(&events[i])
	}
	for _, e := range events {
		switch e.Type {
		case chat.Changed:
			all = append(all, chat.Folded{Event: e})
		case chat.Message:
			m := f.Message(e)
			if m.ReplyTo > 0 {
				answered := f.Message(events[m.ReplyTo-1])
				m.Reply = answered.Shown()
			}
			all = append(all, m)
		}
	}
	return all
}

// walk reads a chat page by page in one direction.
func (p *person) walk(id chat.ID, forward bool, limit int) (all []chat.Folded) {
	p.w.t.Helper()
	query := fmt.Sprintf("?limit=%d", limit)
	if forward {
		query += "&after=0"
	}
	for pages := 0; ; pages++ {
		page := p.page(id, query)
		if len(page.Messages) > limit || pages > 1000 {
			p.w.t.Fatalf("page %d has %d items; want at most %d", pages, len(page.Messages), limit)
		}
		if forward {
			all = append(all, page.Messages...)
			query = fmt.Sprintf("?limit=%d&after=%d", limit, page.To)
		} else {
			all = append(page.Messages, all...)
			query = fmt.Sprintf("?limit=%d&before=%d", limit, page.From)
		}
		if !page.HasMore {
			return all
		}
	}
}

func TestEveryPageIsWhatAFoldOfAllEventsHas(t *testing.T) {
	w := newWorld(t)
	p := w.people("ann", "ben", "cat")
	checks(t, 15) // each is a chat with some dozen synced events
	rapid.Check(t, func(rt *rapid.T) {
		id := p[0].group(p[1], p[2])
		var alive []sent
		by := map[chat.Seq]*person{}
		stored := chat.Seq(0)
		for range rapid.IntRange(1, 30).Draw(rt, "steps") {
			who := rapid.SampledFrom(p).Draw(rt, "who")
			what := rapid.SampledFrom([]string{"send", "reply", "edit", "react", "react", "unreact", "delete", "title", "persist"}).Draw(rt, "what")
			if len(alive) == 0 && what != "persist" && what != "title" {
				what = "send"
			}
			var m sent
			if len(alive) > 0 {
				m = rapid.SampledFrom(alive).Draw(rt, "message")
			}
			emoji := rapid.SampledFrom([]string{"👍", "🎉"}).Draw(rt, "emoji")
			switch what {
			case "send":
				m = who.send(id, fmt.Sprint("text ", len(alive)))
				alive, by[m.Seq] = append(alive, m), who
			case "reply":
				m = who.post(id, map[string]any{"text": "reply", "reply_to": m.Seq})
				alive, by[m.Seq] = append(alive, m), who
			case "edit":
				by[m.Seq].edit(id, m.Seq, fmt.Sprint("edit ", rapid.IntRange(0, 9).Draw(rt, "text")))
			case "react":
				who.react(id, m.Seq, emoji)
			case "unreact":
				who.unreact(id, m.Seq, emoji)
			case "delete":
				by[m.Seq].deleteAll(id, m.Seq)
				var left []sent
				for _, x := range alive {
					if x.Seq != m.Seq {
						left = append(left, x)
					}
				}
				alive = left
			case "title":
				p[0].call("PATCH", chatPath(id), map[string]string{"title": fmt.Sprint("title ", len(alive))}).want(t, 200, "")
			case "persist":
				snap, err := w.log.Snapshot(t.Context(), id)
				check(t, err)
				stored = max(stored, chat.Seq(rapid.IntRange(1, int(snap.Head.Seq)).Draw(rt, "up to")))
				w.persist(id, stored)
			}
		}
		want := w.folds(id)
		for _, forward := range []bool{true, false} {
			limit := rapid.SampledFrom([]int{1, 2, 5, 50}).Draw(rt, "limit")
			if got := p[1].walk(id, forward, limit); !reflect.DeepEqual(got, want) {
				rt.Fatalf("forward %t by %d: got %+v; want %+v", forward, limit, got, want)
			}
		}
		for _, m := range want {
			if m.Type == chat.Message {
				if got := p[2].message(id, m.Seq); !reflect.DeepEqual(got, m) {
					rt.Fatalf("message %d: got %+v; want %+v", m.Seq, got, m)
				}
			}
		}
		w.store.down.Store(true) // the log answers alone, but for what a message answers on another page
		got := p[1].walk(id, true, 3)
		w.store.down.Store(false)
		for i := range got {
			got[i].Reply, want[i].Reply = nil, nil
		}
		if !reflect.DeepEqual(got, want) {
			rt.Fatalf("without the store: got %+v; want %+v", got, want)
		}
	})
}

func TestAPageOfNothingButReactionsHasMessagesAllTheSame(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.people("ann", "ben")
	ann, ben := p[0], p[1]
	id := ann.group(ben)
	m := ann.send(id, "much loved")
	for n := range 300 {
		w.command(id, func(at chat.Target) chat.Command {
			return chat.React{By: ben.id, Target: at, Emoji: "👍", Removed: n%2 == 1}
		}, m.Seq, ann.id)
	}
	last := ann.send(id, "at last")
	for _, persisted := range []chat.Seq{0, 150} {
		w.persist(id, persisted)
		for query, want := range map[string][]chat.Seq{
			"?limit=2":                           {m.Seq, last.Seq},
			"?limit=1":                           {last.Seq},
			"?limit=2&after=1":                   {m.Seq, last.Seq},
			fmt.Sprint("?before=", last.Seq):     {1, m.Seq},
			"?after=100":                         {last.Seq},
			fmt.Sprint("?limit=1&after=", m.Seq): {last.Seq},
			"?after=1&before=200":                {m.Seq},
		} {
			page := ben.page(id, query)
			var got []chat.Seq
			for _, e := range page.Messages {
				got = append(got, e.Seq)
			}
			if !reflect.DeepEqual(got, want) || page.FoldedTo != last.Seq {
				t.Errorf("%s: got %v, folded to %d; want %v", query, got, page.FoldedTo, want)
			}
			if page.HasMore != (query == "?limit=1" || query == "?limit=2") {
				t.Errorf("%s: got has_more %t, from %d to %d", query, page.HasMore, page.From, page.To)
			}
		}
	}
	if got := ben.message(id, m.Seq); len(got.Reactions) != 0 {
		t.Errorf("got %+v; want none that stands", got.Reactions)
	}
}

func TestAPageThatEditsMakeTooLargeEndsEarly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.people("ann", "ben")
	id := p[0].group(p[1])
	long := strings.Repeat("\U0001F600", chat.MaxText) // 400 KB
	for range 14 {
		m := p[0].send(id, "short")
		p[0].edit(id, m.Seq, long)
	}
	for range 20 {
		p[0].send(id, "later")
	}
	w.persist(id, 0)
	first := p[1].page(id, "?after=0&before=29")
	if !first.HasMore || len(first.Messages) < 5 || len(first.Messages) > 12 {
		t.Fatalf("got %d items, has_more %t; want what has room in %d bytes", len(first.Messages), first.HasMore, pageBytes)
	}
	for _, forward := range []bool{true, false} {
		got := p[1].walk(id, forward, 200)
		if len(got) != 35 {
			t.Fatalf("forward %t: got %d items; want 35", forward, len(got))
		}
		for i, m := range got[1:15] {
			if m.Text != long || m.Edits != 1 {
				t.Errorf("forward %t: item %d has %d bytes and %d edits", forward, i, len(m.Text), m.Edits)
			}
		}
	}
}

// longTail is a log with n events more than there are, all behind from: a real one would take long to fill.
type longTail struct {
	Log
	from chat.Seq
	n    int
	make func(chat.Seq) chat.Event
}

func (l *longTail) Snapshot(ctx context.Context, id chat.ID) (chatlog.Snapshot, error) {
	s, err := l.Log.Snapshot(ctx, id)
	s.Head.Seq, s.Head.Body = l.from+chat.Seq(l.n), nil
	return s, err
}

func (l *longTail) After(_ context.Context, _ chat.ID, after chat.Seq, _ uint64, limit, _ int) (out []store.Item, err error) {
	for seq := after + 1; seq <= l.from+chat.Seq(l.n) && len(out) < limit; seq++ {
		out = append(out, store.Item{Seq: seq, Body: wire.Encode(l.make(seq))})
	}
	return out, nil
}

func TestAPageSaysHowFarItIsFoldedWhereTheStoreIsFarBehind(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.people("ann", "ben")
	ann, ben := p[0], p[1]
	id := ann.group(ben)
	m := ann.send(id, "first")
	w.persist(id, 0)
	at := chat.Now()
	tail := &longTail{Log: w.log, from: m.Seq, n: tailEvents + 10, make: func(seq chat.Seq) chat.Event {
		return chat.Event{Type: chat.Reacted, Chat: id, Seq: seq, N: 1, Target: m.Seq, By: ben.id, Emoji: "👍", Removed: seq%2 == 0, At: &at}
	}}
	api, err := New(Config{Bus: w.bus, Log: tail, Store: w.store, Hasher: w.hasher, Signer: w.signer, Verifier: w.api.verifier, Limits: w.api.limits,
		Logger: w.api.logger, Version: "1.2.3", Node: "n2"})
	check(t, err)
	snap, err := tail.Snapshot(t.Context(), id)
	check(t, err)
	win, err := api.window(t.Context(), ben.id, snap, store.Range{After: 1, Before: m.Seq + 1, Limit: 10}, isItem, pageEvents)
	check(t, err)
	page, err := api.foldedPage(t.Context(), snap, win)
	if err != nil || page.FoldedTo != m.Seq+tailEvents || len(page.Messages) != 1 {
		t.Errorf("got %+v, %v; want it folded up to %d", page, err, m.Seq+tailEvents)
	}
}

func TestADeletedTextIsNotServedWhereTheStoreHasTheDeletionAndNotYetTheStubs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.people("ann", "ben")
	ann, ben := p[0], p[1]
	id := ann.group(ben)
	m := ann.post(id, map[string]any{"text": "a secret", "mentions": ids(ben)})
	e := ann.edit(id, m.Seq, "an edited secret")
	w.persist(id, 0)
	w.store.down.Store(true) // so that the api cannot erase there
	deleted := ann.deleteAll(id, m.Seq)
	w.store.down.Store(false)
	// The persister gets as far as the deletion.
	part := w.log.Partition(id)
	last, err := w.bus.LastFor(t.Context(), subject.ChatStream(part), subject.Log(part, id))
	check(t, err)
	event, err := wire.DecodeEvent(last[0].Data)
	check(t, err)
	check(t, w.store.Write(t.Context(), store.Batch{Events: []store.Entry{{Event: event, Body: last[0].Data, Stream: last[0].Sequence}}}))
	if items, err := w.store.Page(t.Context(), id, store.Range{After: m.Seq - 1, Before: m.Seq + 1, Limit: 1}); err != nil ||
		!strings.Contains(string(items[0].Body), "a secret") {
		t.Fatalf("got %v, %v; want a store that still has the text, or this test proves nothing", items, err)
	}
	for _, query := range []string{"", "?before=3", "?after=1&limit=1"} {
		page := ben.page(id, query)
		if got := page.Messages[len(page.Messages)-1]; got.Seq != m.Seq || got.Text != "" || got.Deleted == nil || got.Deleted.Seq != deleted.Seq {
			t.Errorf("%q: got %+v; want it deleted", query, got)
		}
	}
	ben.call("GET", at(id, m.Seq, "edits"), nil).want(t, 404, chat.NotFound)
	if chats, _ := ben.list(""); chats[0].UnreadMentions != 0 || strings.Contains(string(chats[0].LastMessage), "secret") {
		t.Errorf("got %+v, %s; want no mention and no text", chats[0], chats[0].LastMessage)
	}
	if strings.Contains(w.logged.String(), "secret") {
		t.Error("a text was logged")
	}
	w.persist(id, 0)
	for _, seq := range []chat.Seq{m.Seq, e.Seq} {
		if items, err := w.store.Page(t.Context(), id, store.Range{After: seq - 1, Before: seq + 1, Limit: 1}); err != nil || strings.Contains(string(items[0].Body), "secret") {
			t.Errorf("got %v, %v; want a stub at %d", items, err, seq)
		}
	}
}

func TestADeletedTextIsGoneFromTheStoreWhenTheAnswerComes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.people("ann", "ben")
	id := p[0].group(p[1])
	m := p[0].send(id, "a secret")
	p[0].edit(id, m.Seq, "an edited secret")
	w.persist(id, 0)
	rec, err := w.store.Record(t.Context(), id)
	check(t, err)
	p[0].deleteAll(id, m.Seq)
	items, err := w.store.Page(t.Context(), id, store.Range{Forward: true, Limit: 100})
	check(t, err)
	for _, it := range items {
		if strings.Contains(string(it.Body), "secret") {
			t.Errorf("got %s; want a stub", it.Body)
		}
	}
	if now, err := w.store.Record(t.Context(), id); err != nil || now.Seq != rec.Seq || now.Stream != rec.Stream || now.N != rec.N {
		t.Errorf("got %+v, %v; want the record as it was, %+v: the persister goes on from there", now, err, rec)
	}
}

package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/chatmesh/chatmesh/bench/report"
	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/store/pebble"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/services/mesh"
)

const (
	pageOf50   = 50
	smallChat  = 10
	largeChat  = 1_000_000
	quickChat  = 2_000
	pageRounds = 3
)

// history measures pages over HTTP and from the embedded store, of a chat of 1,000,000 events and of one of 10. The large one is written
// into the store in bulk, as if the log had let go of it long ago; its last event comes over HTTP.
func history(ctx context.Context, o Options) (figures []report.Figure, err error) {
	m, err := startOurs(ctx, o.Dir, mesh.API)
	if err != nil {
		return nil, err
	}
	stop := func() error { return m.Stop() }
	defer func() { err = errors.Join(err, stop()) }()
	ann, token, err := m.person(ctx, "ann")
	if err != nil {
		return nil, err
	}
	ben, _, err := m.person(ctx, "ben")
	if err != nil {
		return nil, err
	}
	large, err := newGroup(ctx, m, token, ben, 0)
	if err != nil {
		return nil, err
	}
	small, err := newGroup(ctx, m, token, ben, smallChat-1)
	if err != nil {
		return nil, err
	}
	n := o.of(largeChat, quickChat)
	o.say("%d events are written into a chat", n)
	if err := forget(ctx, m, large); err != nil {
		return nil, err
	}
	if err := m.Stop(); err != nil {
		return nil, err
	}
	folder := filepath.Join(o.Dir, "store")
	if err := fillPebble(ctx, folder, large, n, chat.UserID(ann), chat.UserID(ben)); err != nil {
		return nil, err
	}
	db, err := pebble.Open(folder, pebble.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	o.say("pages of the store")
	pages, err := storePages(ctx, o, db, "chatmesh", large, small, n)
	if err := errors.Join(err, db.Close()); err != nil {
		return nil, err
	}
	if m, err = startOurs(ctx, o.Dir, mesh.API); err != nil {
		return nil, err
	}
	if err := m.call(ctx, http.MethodPost, "/v1/chats/"+string(large)+"/messages", token, map[string]string{"client_id": "last", "text": "the last one"}, nil); err != nil {
		return nil, err
	}
	debug.FreeOSMemory() // what was filled is not the server's
	o.say("pages over HTTP")
	over, err := httpPages(ctx, o, m, token, large, small, n+1)
	return append(pages, over...), err
}

// newGroup makes a group of two with some messages.
func newGroup(ctx context.Context, m *ours, token, other string, messages int) (chat.ID, error) {
	var a struct {
		ID string `json:"id"`
	}
	err := m.call(ctx, http.MethodPost, "/v1/chats", token, map[string]any{"kind": "group", "title": "bench", "members": []string{other}}, &a)
	s := newSpeech(2)
	for i := 0; i < messages && err == nil; i++ {
		err = m.call(ctx, http.MethodPost, "/v1/chats/"+a.ID+"/messages", token, map[string]string{"client_id": fmt.Sprint("m", i), "text": s.text()}, nil)
	}
	return chat.ID(a.ID), err
}

// forget waits until the store has all that was said, and lets the log forget a chat, as it does after its retention.
func forget(ctx context.Context, m *ours, id chat.ID) error {
	b, err := bus.Connect(bus.Config{Name: "bench", URL: m.Broker, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	defer b.Close()
	for p := range m.Partitions {
		for {
			waiting, err := b.Waiting(ctx, subject.ChatStream(p), subject.Persister)
			if err != nil {
				return err
			}
			if waiting == 0 {
				break
			}
			if err := bus.Sleep(ctx, 10*time.Millisecond); err != nil {
				return err
			}
		}
	}
	p := subject.Partition(id, m.Partitions)
	s, err := b.JetStream().Stream(ctx, subject.ChatStream(p))
	if err != nil {
		return err
	}
	return s.Purge(ctx, jetstream.WithPurgeSubject(subject.LogAndState(p, id)))
}

// fillPebble writes the events from 2 to n of a chat.
func fillPebble(ctx context.Context, folder string, id chat.ID, n int, users ...chat.UserID) error {
	db, err := pebble.Open(folder, pebble.Options{NoSync: true, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	s := newSpeech(3)
	for from := 2; from <= n && err == nil; from += 1000 {
		var b store.Batch
		for seq := from; seq < from+1000 && seq <= n; seq++ {
			b.Events = append(b.Events, s.message(id, chat.Seq(seq), users[seq%len(users)], 1))
		}
		err = db.Write(ctx, b)
	}
	return errors.Join(err, db.Close())
}

// anywhere is a place of which at least 50 events lie below.
func anywhere(r *rand.Rand, n int) chat.Seq {
	return chat.Seq(pageOf50 + 1 + r.IntN(max(n-pageOf50, 1)))
}

// storePages measures pages of 50 anywhere in a large chat, and pages of 10 in it and in a small one.
func storePages(ctx context.Context, o Options, db store.History, system string, large, small chat.ID, n int) ([]report.Figure, error) {
	count := o.of(4000, 50)
	var p50, p99, of10Large, of10Small []float64
	for round := range o.of(pageRounds, 1) {
		r := rand.New(rand.NewPCG(uint64(round), 1))
		runtime.GC()
		var took, inLarge, inSmall []time.Duration
		for range count {
			place := anywhere(r, n)
			d, err := timedPage(ctx, db, large, store.Range{Limit: pageOf50, Before: place}, pageOf50)
			if err != nil {
				return nil, err
			}
			took = append(took, d)
		}
		for range count { // in turns, the newest of each
			d, err := timedPage(ctx, db, large, store.Range{Limit: smallChat, Before: chat.Seq(n + 1)}, smallChat)
			if err != nil {
				return nil, err
			}
			inLarge = append(inLarge, d)
			if d, err = timedPage(ctx, db, small, store.Range{Limit: smallChat, Before: smallChat + 1}, smallChat); err != nil {
				return nil, err
			}
			inSmall = append(inSmall, d)
		}
		sortTimes(took)
		p50, p99 = append(p50, quantile(took, 0.5)), append(p99, quantile(took, 0.99))
		of10Large = append(of10Large, quantile(sortTimes(inLarge), 0.5))
		of10Small = append(of10Small, quantile(sortTimes(inSmall), 0.5))
	}
	return []report.Figure{
		measured("history_page_store_p99_ms", system, "ms", onDisk, p99),
		measured("history_page_store_p50_ms", system, "ms", onDisk, p50),
		measured("history_page10_large_p50_ms", system, "ms", onDisk, of10Large),
		measured("history_page10_small_p50_ms", system, "ms", onDisk, of10Small),
	}, nil
}

// timedPage reads a page and tells how long that took. It fails where not as many events come as there must be, in order.
func timedPage(ctx context.Context, db store.History, id chat.ID, r store.Range, want int) (time.Duration, error) {
	began := time.Now()
	items, err := db.Page(ctx, id, r)
	took := time.Since(began)
	if err == nil && (len(items) != want || items[want-1].Seq != r.Before-1 || items[0].Seq != r.Before-chat.Seq(want)) {
		err = fmt.Errorf("a page below %d has %d events; want %d", r.Before, len(items), want)
	}
	return took, err
}

// httpPages measures pages over one connection that is kept.
func httpPages(ctx context.Context, o Options, m *ours, token string, large, small chat.ID, n int) ([]report.Figure, error) {
	count := o.of(2000, 30)
	var p50, p99, ofSmall []float64
	one := func(id chat.ID, before chat.Seq, want int) (time.Duration, error) {
		var a struct {
			Messages []struct {
				Seq chat.Seq `json:"seq"`
			} `json:"messages"`
		}
		began := time.Now()
		var raw []byte
		if err := m.call(ctx, http.MethodGet, fmt.Sprintf("/v1/chats/%s/messages?limit=%d&before=%d", id, pageOf50, before), token, nil, &raw); err != nil {
			return 0, err
		}
		took := time.Since(began)
		if err := json.Unmarshal(raw, &a); err != nil {
			return 0, err
		}
		if len(a.Messages) != want || a.Messages[want-1].Seq != before-1 {
			return 0, fmt.Errorf("a page below %d has %d items; want %d", before, len(a.Messages), want)
		}
		return took, nil
	}
	for round := range o.of(pageRounds, 1) {
		r := rand.New(rand.NewPCG(uint64(round), 2))
		var took, inSmall []time.Duration
		for range count {
			d, err := one(large, anywhere(r, n), pageOf50)
			if err != nil {
				return nil, err
			}
			took = append(took, d)
			if d, err = one(small, smallChat+1, smallChat); err != nil {
				return nil, err
			}
			inSmall = append(inSmall, d)
		}
		sortTimes(took)
		p50, p99 = append(p50, quantile(took, 0.5)), append(p99, quantile(took, 0.99))
		ofSmall = append(ofSmall, quantile(sortTimes(inSmall), 0.99))
	}
	return []report.Figure{
		measured("history_page_p50_ms", "chatmesh", "ms", onDisk, p50),
		measured("history_page_p99_ms", "chatmesh", "ms", onDisk, p99),
		measured("history_page_small_p99_ms", "chatmesh", "ms", onDisk, ofSmall),
	}, nil
}

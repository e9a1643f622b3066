package verify_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/chatlog"
	"github.com/chatmesh/chatmesh/pkg/meshtest"
	"github.com/chatmesh/chatmesh/pkg/meshtest/leaks"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/store/pebble"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/verify"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(leaks.Patient(m)) }

const id chat.ID = "c1"

// world is a chat on a real broker and in a real store, and what a test does to it.
type world struct {
	t     *testing.T
	bus   *bus.Bus
	log   *chatlog.Log
	db    *pebble.Store
	store faultyStore
	seen  faultyLog
	// forged is how many events were put into the log by hand.
	forged int
}

// faultyStore lies where a function is set.
type faultyStore struct {
	store.Store
	page    func([]store.Item) []store.Item
	find    func(store.Found, error) (store.Found, error)
	record  func(*store.Record)
	cursor  func(*store.Cursor)
	chatsOf func([]store.UserChat) []store.UserChat
}

func (f *faultyStore) Page(ctx context.Context, id chat.ID, r store.Range) ([]store.Item, error) {
	items, err := f.Store.Page(ctx, id, r)
	if f.page != nil {
		items = f.page(items)
	}
	return items, err
}

func (f *faultyStore) Find(ctx context.Context, id chat.ID, u chat.UserID, c chat.ClientID) (store.Found, error) {
	found, err := f.Store.Find(ctx, id, u, c)
	if f.find != nil {
		return f.find(found, err)
	}
	return found, err
}

func (f *faultyStore) Record(ctx context.Context, id chat.ID) (store.Record, error) {
	r, err := f.Store.Record(ctx, id)
	if f.record != nil {
		f.record(&r)
	}
	return r, err
}

func (f *faultyStore) Cursor(ctx context.Context, id chat.ID, u chat.UserID) (store.Cursor, error) {
	c, err := f.Store.Cursor(ctx, id, u)
	if f.cursor != nil {
		f.cursor(&c)
	}
	return c, err
}

func (f *faultyStore) ChatsOf(ctx context.Context, u chat.UserID) ([]store.UserChat, error) {
	chats, err := f.Store.ChatsOf(ctx, u)
	if f.chatsOf != nil {
		chats = f.chatsOf(chats)
	}
	return chats, err
}

// faultyLog lies where something is set.
type faultyLog struct {
	verify.Log
	events func([]verify.Entry) []verify.Entry
	// acked is what is confirmed without a persister.
	acked uint64
	// older makes the stream begin earlier.
	older time.Duration
	// ended is called when the end was read.
	ended func()
}

func (f *faultyLog) Events(ctx context.Context, id chat.ID, from uint64) ([]verify.Entry, error) {
	e, err := f.Log.Events(ctx, id, from)
	if f.events != nil {
		e = f.events(e)
	}
	return e, err
}

func (f *faultyLog) Acked(ctx context.Context, id chat.ID) (uint64, error) {
	n, err := f.Log.Acked(ctx, id)
	return max(n, f.acked), err
}

func (f *faultyLog) First(ctx context.Context, id chat.ID) (uint64, time.Time, error) {
	seq, at, err := f.Log.First(ctx, id)
	return seq, at.Add(-f.older), err
}

func (f *faultyLog) Ends(ctx context.Context, id chat.ID) (verify.Ends, error) {
	e, err := f.Log.Ends(ctx, id)
	if f.ended != nil {
		f.ended()
	}
	return e, err
}

// noOlder is for a log that still has all.
type noOlder struct{ chatlog.Older }

func (noOlder) Record(context.Context, chat.ID) (store.Record, error) {
	return store.Record{}, store.ErrNotFound
}

func (noOlder) Sent(context.Context, chat.ID, chat.UserID, chat.Seq) (chatlog.Sent, error) {
	return chatlog.Sent{Complete: true}, nil
}

func (noOlder) Find(context.Context, chat.ID, chat.UserID, chat.ClientID) (store.Found, error) {
	return store.Found{}, store.ErrNotFound
}

// empty is a world without a chat.
func empty(t *testing.T) *world {
	t.Helper()
	t.Parallel()
	w := &world{t: t, bus: meshtest.NewBroker(t).Bus(t)}
	meshtest.Ensure(t, w.bus, meshtest.Layout(1))
	var err error
	if w.db, err = pebble.Open(t.TempDir(), pebble.Options{Log: slog.New(slog.DiscardHandler)}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.db.Close() })
	w.store = faultyStore{Store: w.db}
	w.seen = faultyLog{Log: verify.NewStream(w.bus, 1)}
	w.log, err = chatlog.New(chatlog.Config{Bus: w.bus, Partitions: 1, Older: noOlder{}, Retention: time.Hour, Logger: meshtest.Logger(t)})
	if err != nil {
		t.Fatal(err)
	}
	w.start(w.log.Run)
	return w
}

// lived is a world with a chat in which something has happened: 26 events, of which 20 are messages.
func lived(t *testing.T) *world {
	t.Helper()
	w := empty(t)
	w.do(chat.Create{By: "ann", Kind: chat.Group, Title: "first", Members: []chat.UserID{"ben", "eve"}})
	w.say("ann", 0, 5)
	w.do(chat.SetTitle{By: "ann", Title: "second"})
	w.say("eve", 5, 10)
	w.do(chat.RemoveMember{By: "ann", User: "eve"})
	w.do(chat.PutMember{By: "ann", User: "dan"})
	w.say("dan", 10, 15)
	w.do(chat.PutMember{By: "ann", User: "eve"})
	w.say("ben", 15, 20)
	w.do(chat.PutMember{By: "ann", User: "ben", Role: chat.Admin})
	for user, seq := range map[chat.UserID]chat.Seq{"ann": 12, "dan": 25, "eve": 26} {
		if _, err := w.log.MarkRead(t.Context(), id, user, seq); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// kept is a lived world whose store has everything.
func kept(t *testing.T) *world {
	t.Helper()
	w := lived(t)
	w.persist()
	return w
}

// start runs something until the test ends.
func (w *world) start(run func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = run(ctx) }()
	w.t.Cleanup(func() { cancel(); <-done })
}

func (w *world) do(cmd chat.Command) {
	w.t.Helper()
	if _, err := w.log.Append(w.t.Context(), id, cmd); err != nil {
		w.t.Fatal(err)
	}
}

// say sends messages at the same time, which costs less than one after the other.
func (w *world) say(user chat.UserID, from, to int) {
	w.t.Helper()
	var wg sync.WaitGroup
	for n := from; n < to; n++ {
		wg.Go(func() {
			cmd := chat.Send{Sender: user, ClientID: chat.ClientID(fmt.Sprint("m", n)), Text: "secret"}
			if _, err := w.log.Append(w.t.Context(), id, cmd); err != nil {
				w.t.Error(err)
			}
		})
	}
	wg.Wait()
}

// add puts what stands in the log into a batch. What cannot be read is put aside.
func add(b *store.Batch, body []byte, stream uint64) {
	if e, err := wire.DecodeEvent(body); err == nil {
		b.Events = append(b.Events, store.Entry{Event: e, Body: body, Stream: stream})
	} else if st, err := wire.DecodeState(body); err == nil {
		b.States = append(b.States, st)
	}
}

// persister carries the log into the store, as the service does.
func (w *world) persister() {
	w.start(func(ctx context.Context) error {
		return w.bus.Work(ctx, bus.Worker{Stream: subject.ChatStream(0), Consumer: subject.Persister,
			Handle: func(ctx context.Context, batch []bus.Delivery) error {
				var b store.Batch
				for _, d := range batch {
					add(&b, d.Data(), d.Stream)
				}
				return w.db.Write(ctx, b)
			}})
	})
}

// persist brings everything into the store, as if a persister had confirmed it.
func (w *world) persist() {
	w.t.Helper()
	last := w.last()
	msgs, err := w.bus.From(w.t.Context(), subject.ChatStream(0), subject.AllOf(0), 1, 10_000, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	var b store.Batch
	for _, m := range msgs {
		add(&b, m.Data, m.Sequence)
	}
	if err := w.db.Write(w.t.Context(), b); err != nil {
		w.t.Fatal(err)
	}
	w.seen.acked = last
}

// last is the last sequence of the stream.
func (w *world) last() uint64 {
	w.t.Helper()
	s, err := w.bus.JetStream().Stream(w.t.Context(), subject.ChatStream(0))
	if err != nil {
		w.t.Fatal(err)
	}
	return s.CachedInfo().State.LastSeq
}

// forge puts an event into the log by hand.
func (w *world) forge(e chat.Event) {
	w.t.Helper()
	w.forged++
	e.Chat = id
	at := chat.Now()
	if e.Type == "" {
		e.Type, e.Sender, e.Text = chat.Message, "ann", "secret"
	}
	if e.Type == chat.Message && e.ClientID == "" {
		e.ClientID = chat.ClientID(fmt.Sprint("forged", w.forged))
	}
	if e.Type == chat.Message {
		e.SentAt = &at
	} else {
		e.At = &at
	}
	w.put(subject.Log(0, id), e.Seq, wire.Encode(e))
}

func (w *world) put(subj string, seq chat.Seq, body []byte) {
	w.t.Helper()
	m := &nats.Msg{Subject: subj, Data: body, Header: nats.Header{}}
	if seq > 0 {
		m.Header.Set(subject.HeaderSeq, strconv.FormatUint(uint64(seq), 10))
	}
	if subj == subject.State(0, id) {
		m.Header.Set(jetstream.MsgRollup, jetstream.MsgRollupSubject)
	}
	if _, err := w.bus.Publish(w.t.Context(), m); err != nil {
		w.t.Fatal(err)
	}
}

// streamOf is where an event stands in the stream.
func (w *world) streamOf(seq chat.Seq) uint64 {
	w.t.Helper()
	all, err := verify.NewStream(w.bus, 1).Events(w.t.Context(), id, 1)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, e := range all {
		if e.Seq == seq {
			return e.Stream
		}
	}
	w.t.Fatalf("event %d is not in the log", seq)
	return 0
}

// erase deletes an event from the stream.
func (w *world) erase(seq chat.Seq) {
	w.t.Helper()
	s, err := w.bus.JetStream().Stream(w.t.Context(), subject.ChatStream(0))
	if err == nil {
		err = s.DeleteMsg(w.t.Context(), w.streamOf(seq))
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// age lets everything before a stream sequence age out.
func (w *world) age(before uint64) {
	w.t.Helper()
	s, err := w.bus.JetStream().Stream(w.t.Context(), subject.ChatStream(0))
	if err == nil {
		err = s.Purge(w.t.Context(), jetstream.WithPurgeSequence(before))
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// verify verifies the chat.
func (w *world) verify() verify.Report {
	w.t.Helper()
	r, err := verify.Chat(w.t.Context(), &w.seen, &w.store, id)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// right fails the test unless nothing is wrong.
func (w *world) right(events, messages uint64) {
	w.t.Helper()
	r := w.verify()
	if r.Wrong > 0 || len(r.Problems) > 0 {
		w.t.Fatalf("got %d problems, %+v; want none", r.Wrong, r.Problems)
	}
	if r.Chat != id || r.Events != events || r.Messages != messages {
		w.t.Fatalf("got %d events and %d messages; want %d and %d", r.Events, r.Messages, events, messages)
	}
}

var errFault = errors.New("fault")

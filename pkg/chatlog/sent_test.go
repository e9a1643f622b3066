package chatlog_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/chatlog"
	"github.com/chatmesh/chatmesh/pkg/meshtest"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// archive is an Older that holds all that was ever sent, and counts what it is asked.
type archive struct {
	empty
	all         []chat.Event
	finds, sent atomic.Int64
	tooMany     bool
}

func (a *archive) Find(_ context.Context, id chat.ID, u chat.UserID, c chat.ClientID) (store.Found, error) {
	a.finds.Add(1)
	for _, e := range a.all {
		if e.Chat == id && e.Sender == u && e.ClientID == c {
			return store.Found{Seq: e.Seq, SentAt: e.Time()}, nil
		}
	}
	return store.Found{}, store.ErrNotFound
}

func (a *archive) Sent(_ context.Context, id chat.ID, u chat.UserID, _ chat.Seq) (chatlog.Sent, error) {
	a.sent.Add(1)
	s := chatlog.Sent{Complete: !a.tooMany}
	for _, e := range a.all {
		s.UpTo = e.Seq
		if e.Chat == id && e.Sender == u {
			s.IDs = append(s.IDs, chatlog.IDOf(id, u, e.ClientID))
		}
	}
	return s, nil
}

// withoutWindow takes from the broker its own memory of message ids, as if minutes had passed.
func withoutWindow(t *testing.T, b *meshtest.Broker) {
	t.Helper()
	js := b.Bus(t).JetStream()
	s, err := js.Stream(t.Context(), subject.ChatStream(0))
	if err != nil {
		t.Fatal(err)
	}
	cfg := s.CachedInfo().Config
	cfg.Duplicates = 100 * time.Millisecond
	if _, err := js.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second) // more than the window itself
}

func archiveOf(t *testing.T, l *chatlog.Log, id chat.ID) *archive {
	t.Helper()
	items, err := l.After(t.Context(), id, 0, 0, 10_000, 0)
	if err != nil {
		t.Fatal(err)
	}
	a := &archive{}
	for _, it := range items {
		e, err := wire.DecodeEvent(it.Body)
		if err != nil {
			t.Fatal(err)
		}
		a.all = append(a.all, e)
	}
	return a
}

func runLog(t *testing.T, b *meshtest.Broker, older chatlog.Older) *chatlog.Log {
	t.Helper()
	l, err := chatlog.New(chatlog.Config{Bus: b.Bus(t), Partitions: 1, Older: older, Retention: time.Hour, Logger: meshtest.Logger(t)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = l.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return l
}

func TestARetryAfterTheBrokersWindowGetsTheFirstSeq(t *testing.T) {
	b := newBroker(t, 1)
	first := newLog(t, b, 1)
	create(t, first, "c1", "ann", "ben")
	seqs := map[int]chat.Seq{}
	for n := range 20 {
		r, err := first.Append(t.Context(), "c1", send("ann", fmt.Sprint("m", n)))
		if err != nil {
			t.Fatal(err)
		}
		seqs[n] = r.Seq
	}
	a := archiveOf(t, first, "c1")
	withoutWindow(t, b)
	for _, tooMany := range []bool{false, true} {
		a.tooMany = tooMany
		l := runLog(t, b, a)
		for n := range 20 {
			r, err := l.Append(t.Context(), "c1", send("ann", fmt.Sprint("m", n)))
			if err != nil || !r.Duplicate || r.Seq != seqs[n] {
				t.Fatalf("retry of m%d, too many %v: got %+v, %v; want a duplicate at %d", n, tooMany, r, err, seqs[n])
			}
		}
	}
	if snap, err := first.Snapshot(t.Context(), "c1"); err != nil || snap.Head.Seq != 21 {
		t.Fatalf("the chat has %d events, %v; want 21", snap.Head.Seq, err)
	}
}

func TestOrdinaryMessagesAreNotLookedUp(t *testing.T) {
	b := newBroker(t, 1)
	first := newLog(t, b, 1)
	create(t, first, "c1", "ann", "ben")
	for n := range 2 { // a chat with a past
		if _, err := first.Append(t.Context(), "c1", send("ben", fmt.Sprint("old", n))); err != nil {
			t.Fatal(err)
		}
	}
	a := archiveOf(t, first, "c1")
	l := runLog(t, b, a)
	for n := range 50 {
		if _, err := l.Append(t.Context(), "c1", send("ann", fmt.Sprint("m", n))); err != nil {
			t.Fatal(err)
		}
		if n%5 == 0 { // others write too, from elsewhere
			if _, err := first.Append(t.Context(), "c1", send("ben", fmt.Sprint("b", n))); err != nil {
				t.Fatal(err)
			}
		}
	}
	if f, s := a.finds.Load(), a.sent.Load(); f != 0 || s != 1 {
		t.Errorf("50 messages made %d look-ups and %d lists; want 0 and 1", f, s)
	}
	withoutWindow(t, b)
	// What this log itself has sent it recognizes too, though the archive does not hold it yet: it asks for exactly that.
	a.all = archiveOf(t, first, "c1").all
	r, err := l.Append(t.Context(), "c1", send("ann", "m7"))
	if err != nil || !r.Duplicate || a.finds.Load() != 1 {
		t.Errorf("a retry: got %+v, %v, %d look-ups; want a duplicate by one", r, err, a.finds.Load())
	}
}

func TestNobodyIsAskedWhatWasSentToAChatOfAtMostOneMessage(t *testing.T) {
	b := newBroker(t, 1)
	first := newLog(t, b, 1)
	for n := range 3 {
		id := chat.ID(fmt.Sprint("c", n))
		create(t, first, id, "ann", "ben")
		for k := range n {
			if _, err := first.Append(t.Context(), id, send("ann", fmt.Sprint("m", k))); err != nil {
				t.Fatal(err)
			}
		}
		a := archiveOf(t, first, id)
		withoutWindow(t, b)
		l := runLog(t, b, a)
		for k := range n + 1 { // those that are there are found, and a new one lands
			r, err := l.Append(t.Context(), id, send("ann", fmt.Sprint("m", k)))
			if err != nil || r.Duplicate != (k < n) || r.Seq != chat.Seq(k+2) {
				t.Fatalf("m%d to a chat of %d messages: got %+v, %v; want it at %d", k, n, r, err, k+2)
			}
		}
		if r, err := l.Append(t.Context(), id, send("ben", "m0")); err != nil || r.Duplicate || r.Seq != chat.Seq(n+3) {
			t.Fatalf("the same client id of another: got %+v, %v; want it at %d", r, err, n+3)
		}
		if asked := a.sent.Load() > 0; asked != (n > 1) {
			t.Errorf("a chat of %d messages: asked %t", n, asked)
		}
	}
}

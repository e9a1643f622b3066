package pebble

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	lsm "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"
	"pgregory.net/rapid"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/store"
)

func TestASecondOpenOfAFolderSaysThatItIsHeld(t *testing.T) {
	dir := t.TempDir()
	s := openAt(t, dir, Options{})
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{dir, dir + "/.", link} {
		if _, err := Open(d, Options{}); !errors.Is(err, ErrHeld) {
			t.Errorf("Open: got error %v; want ErrHeld", err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	openAt(t, link, Options{})
}

func TestAFolderThatCannotBeMadeIsNotTakenForAHeldOne(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Open(file, Options{})
	if err == nil || errors.Is(err, ErrHeld) || !strings.Contains(err.Error(), file) {
		t.Errorf("Open of a file: got error %v; want one that names the file", err)
	}
}

func TestAFolderOfAnotherLayoutIsRefused(t *testing.T) {
	dir := t.TempDir()
	s := openAt(t, dir, Options{})
	if err := s.db.Set(newKey(versionTable), binary.AppendUvarint(nil, layout+1), lsm.Sync); err != nil {
		t.Fatal(err)
	}
	if err := s.Ping(t.Context()); !errors.Is(err, ErrVersion) {
		t.Errorf("Ping: got error %v; want ErrVersion", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time shows that the first let go of the folder
		if _, err := Open(dir, Options{}); !errors.Is(err, ErrVersion) {
			t.Errorf("Open: got error %v; want ErrVersion", err)
		}
	}
}

func TestWritesAreRefusedAndReadsGoOnWhenTheDiskIsNearlyFull(t *testing.T) {
	dir := t.TempDir()
	s := openAt(t, dir, Options{})
	b := nextBatch("chat", 0)
	if err := s.Write(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	s.reserve = math.MaxInt64
	if err := s.Write(t.Context(), nextBatch("chat", victimBatch)); !errors.Is(err, ErrFull) {
		t.Errorf("Write: got error %v; want ErrFull", err)
	}
	wantConfirmed(t, s, map[chat.ID]chat.Seq{"chat": victimBatch})
	s.reserve = 0
	if err := s.Write(t.Context(), nextBatch("chat", victimBatch)); err != nil {
		t.Errorf("Write when there is room again: got error %v; want none", err)
	}
}

func TestAClientIDThatStandsTwiceIsFoundAtItsFirstPlace(t *testing.T) {
	s := openAt(t, t.TempDir(), Options{NoSync: true})
	entry := func(id chat.ID, seq chat.Seq) store.Entry {
		return store.Entry{Event: chat.Event{Type: chat.Message, Chat: id, Seq: seq, Sender: "u", ClientID: "c"}}
	}
	for i, order := range [][]chat.Seq{{2, 3}, {3, 2}} {
		id := victimChat(i)
		for _, seq := range order {
			if err := s.Write(t.Context(), store.Batch{Events: []store.Entry{entry(id, seq)}}); err != nil {
				t.Fatal(err)
			}
		}
		if f, err := s.Find(t.Context(), id, "u", "c"); err != nil || f.Seq != 2 {
			t.Errorf("Find: got %v, error %v; want seq 2", f, err)
		}
	}
}

func TestAnEntryWithoutAPlaceIsRefusedAsABadRequest(t *testing.T) {
	s := openAt(t, t.TempDir(), Options{NoSync: true})
	long := strings.Repeat("x", chat.MaxID+1)
	ok := nextBatch("chat", 0).Events[0]
	with := func(change func(*chat.Event)) store.Batch {
		e := ok
		change(&e.Event)
		return store.Batch{Events: []store.Entry{ok, e}}
	}
	for name, b := range map[string]store.Batch{
		"no seq":        with(func(e *chat.Event) { e.Seq = 0 }),
		"no chat":       with(func(e *chat.Event) { e.Chat = "" }),
		"long chat":     with(func(e *chat.Event) { e.Chat = chat.ID(long) }),
		"no sender":     with(func(e *chat.Event) { e.Sender = "" }),
		"long client":   with(func(e *chat.Event) { e.ClientID = chat.ClientID(long) }),
		"no user":       with(func(e *chat.Event) { e.Type, e.Change = chat.Changed, chat.MemberAdded }),
		"no state":      {States: []*chat.State{nil}},
		"zero state":    {States: []*chat.State{{Chat: "chat"}}},
		"cursor's user": {Cursors: []store.Cursor{{Chat: "chat", Seq: 1}}},
		"cursor's chat": {Cursors: []store.Cursor{{User: "user", Seq: 1}}},
		"no member": with(func(e *chat.Event) {
			e.Type, e.Change, e.Members = chat.Changed, chat.Created, []chat.Member{{}}
		}),
	} {
		if err := s.Write(t.Context(), b); !chat.Is(err, chat.BadRequest) || strings.Contains(err.Error(), long) {
			t.Errorf("%s: got error %v; want BadRequest without the id", name, err)
		}
	}
	if _, err := s.Record(t.Context(), "chat"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Record: got error %v; want ErrNotFound: a batch is written whole or not at all", err)
	}
}

func TestWhatIsReadAndReplacedIsUnderTheLockOfItsChat(t *testing.T) {
	s := openAt(t, t.TempDir(), Options{NoSync: true})
	advance := func(seq chat.Seq) store.Batch {
		return store.Batch{Cursors: []store.Cursor{{Chat: "chat", User: "user", Seq: seq}}}
	}
	done := make(chan error, 1)
	var set lockSet
	s.stripes.add(&set, "chat")
	err := s.update(set, func(x *tx) error {
		if _, err := x.get(membershipKey("user", "chat")); err != nil {
			return err
		}
		// Between reading and replacing, somebody else comes.
		go func() { done <- s.Write(t.Context(), advance(10)) }()
		select {
		case err := <-done:
			t.Error("Write: it did not wait for the lock of the chat")
			done <- err
		case <-time.After(50 * time.Millisecond):
		}
		return x.advance(store.Cursor{Chat: "chat", User: "user", Seq: 5})
	})
	if err = errors.Join(err, <-done); err != nil {
		t.Fatal(err)
	}
	if c, err := s.Cursor(t.Context(), "chat", "user"); err != nil || c.Seq != 10 {
		t.Errorf("Cursor: got %v, error %v; want seq 10", c, err)
	}
}

func TestReadersSeeWholeBatchesOnly(t *testing.T) {
	s := openAt(t, t.TempDir(), Options{NoSync: true})
	var wg sync.WaitGroup
	stop := make(chan struct{})
	wg.Go(func() {
		for seq := chat.Seq(1); ; seq++ {
			e := nextBatch("chat", seq-1).Events[0]
			st := &chat.State{Chat: "chat", Seq: seq, Kind: chat.Group}
			if err := s.Write(t.Context(), store.Batch{Events: []store.Entry{e}, States: []*chat.State{st}}); err != nil {
				t.Errorf("Write: got error %v; want none", err)
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	for range 2000 {
		rec, err := s.Record(t.Context(), "chat")
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			t.Errorf("Record: got error %v; want none", err)
		}
		if err == nil && (rec.State == nil || rec.State.Seq != rec.Seq) {
			t.Errorf("Record: got head %d with state %+v; want those of one batch", rec.Seq, rec.State)
			break
		}
	}
	close(stop)
	wg.Wait()
}

func TestExpiredSessionsAreRemovedAndOthersStay(t *testing.T) {
	s := openAt(t, t.TempDir(), Options{NoSync: true, SweepEvery: 5 * time.Millisecond})
	const n = sweepBatch + 50 // more than one pass
	soon, late := chat.TimeOf(time.Now().Add(-time.Hour)), chat.TimeOf(time.Now().Add(time.Hour))
	for i := range n {
		stays := store.Session{User: chat.UserID(fmt.Sprintf("user-%d", i%7)), ID: fmt.Sprintf("stays-%d", i), ExpiresAt: late}
		goes := stays
		goes.ID, goes.ExpiresAt = fmt.Sprintf("goes-%d", i), soon
		for _, v := range []store.Session{stays, goes} {
			if err := s.CreateSession(t.Context(), v); err != nil {
				t.Fatal(err)
			}
		}
	}
	count := func(table byte) (rows int) {
		err := s.view(&lsm.IterOptions{LowerBound: newKey(table), UpperBound: newKey(table + 1)}, func(it *lsm.Iterator) error {
			for ok := it.First(); ok; ok = it.Next() {
				rows++
			}
			return it.Error()
		})
		if err != nil {
			t.Fatal(err)
		}
		return rows
	}
	for deadline := time.Now().Add(time.Minute); count(sessionTable) != n || count(expiryTable) != n; {
		if time.Now().After(deadline) {
			t.Fatalf("got %d sessions with %d expiries after a minute; want %d", count(sessionTable), count(expiryTable), n)
		}
		time.Sleep(5 * time.Millisecond)
	}
	for i := range n {
		if _, err := s.Session(t.Context(), chat.UserID(fmt.Sprintf("user-%d", i%7)), fmt.Sprintf("stays-%d", i)); err != nil {
			t.Fatalf("Session that has not expired: got error %v; want none", err)
		}
	}
}

func TestASessionThatWasRotatedWhileTheSweeperLookedStays(t *testing.T) {
	s := openAt(t, t.TempDir(), Options{NoSync: true})
	n := store.Session{User: "user", ID: "session", ExpiresAt: chat.TimeOf(time.Now().Add(time.Hour))}
	if err := s.CreateSession(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	// What the sweeper saw before the rotation: an expiry in the past.
	if err := s.db.Set(expiryKey(time.Now().Add(-time.Hour), n.User, n.ID), nil, lsm.NoSync); err != nil {
		t.Fatal(err)
	}
	for _, want := range []int{1, 0} {
		if got, err := s.sweep(time.Now()); err != nil || got != want {
			t.Errorf("sweep: got %d, error %v; want %d", got, err, want)
		}
	}
	if _, err := s.Session(t.Context(), n.User, n.ID); err != nil {
		t.Errorf("Session: got error %v; want none", err)
	}
}

func TestKeysOfDifferentIDsAreDifferentAndSortBySeq(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := rapid.StringMatching(`[a\x00\x01-]{1,4}`)
		a := []string{id.Draw(t, "a0"), id.Draw(t, "a1"), id.Draw(t, "a2")}
		b := []string{id.Draw(t, "b0"), id.Draw(t, "b1"), id.Draw(t, "b2")}
		key := func(p []string) []byte { return foundKey(chat.ID(p[0]), chat.UserID(p[1]), chat.ClientID(p[2])) }
		if same := strings.Join(a, "|") == strings.Join(b, "|"); same != bytes.Equal(key(a), key(b)) {
			t.Fatalf("%q and %q: got one key; want two", a, b)
		}
		x, y := rapid.Uint64().Draw(t, "x"), rapid.Uint64().Draw(t, "y")
		kx, ky := eventKey(chat.ID(a[0]), chat.Seq(x)), eventKey(chat.ID(a[0]), chat.Seq(y))
		if (x < y) != (bytes.Compare(kx, ky) < 0) {
			t.Fatalf("events %d and %d: got keys in another order", x, y)
		}
		prefix := eventPrefix(chat.ID(a[0]))
		inside := bytes.Compare(eventKey(chat.ID(b[0]), chat.Seq(y)), prefix) >= 0 &&
			bytes.Compare(eventKey(chat.ID(b[0]), chat.Seq(y)), after(prefix)) < 0
		if inside != (a[0] == b[0]) {
			t.Fatalf("chat %q: got its events mixed with those of %q", a[0], b[0])
		}
	})
}

func TestTheLogShowsNoKeysAndTheEngineIsQuiet(t *testing.T) {
	var out bytes.Buffer
	var mu sync.Mutex
	log := slog.New(slog.NewTextHandler(lockedWriter{&mu, &out}, nil))
	s := openAt(t, t.TempDir(), Options{Log: log})
	if err := s.Write(t.Context(), nextBatch("chat", 0)); err != nil {
		t.Fatal(err)
	}
	if err := s.db.Flush(); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	if out.Len() > 0 {
		t.Errorf("daily work: got log %q; want none", out.String())
	}
	mu.Unlock()
	engineLog{log}.Errorf("a row: %s", []byte("secret"))
	s.events().BackgroundError(fmt.Errorf("a row: %s", "secret"))
	if err := fail("page", fmt.Errorf("a row: %s", "secret")); strings.Contains(err.Error(), "secret") {
		t.Errorf("got error %q; want one without keys", err)
	}
	mu.Lock()
	defer mu.Unlock()
	if got := out.String(); strings.Contains(got, "secret") || strings.Count(got, "\n") != 2 {
		t.Errorf("failures: got log %q; want two lines without keys", got)
	}
}

type lockedWriter struct {
	mu *sync.Mutex
	b  *bytes.Buffer
}

func (w lockedWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.Write(p)
}

func TestCollectorsTellOfTheStoreAndOutliveIt(t *testing.T) {
	s := openAt(t, "data", Options{fs: vfs.NewMem()})
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(s.Collectors()...)
	if err := s.Write(t.Context(), nextBatch("chat", 0)); err != nil {
		t.Fatal(err)
	}
	got, err := reg.Gather()
	if err != nil || len(got) != 8 {
		t.Errorf("Gather: got %d families, error %v; want 8", len(got), err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := reg.Gather(); err != nil || len(got) != 3 {
		t.Errorf("Gather after Close: got %d families, error %v; want 3", len(got), err)
	}
}

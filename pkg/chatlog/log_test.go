package chatlog_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/chatlog"
	"github.com/chatmesh/chatmesh/pkg/meshtest"
	"github.com/chatmesh/chatmesh/pkg/meshtest/leaks"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

func TestMain(m *testing.M) {
	meshtest.ServeIfChild()
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "rapid.checks" })
	if !given { // each one runs against a real broker, and waits for connections to come back
		if err := flag.Set("rapid.checks", "15"); err != nil {
			panic(err)
		}
	}
	goleak.VerifyTestMain(leaks.Patient(m), goleak.Cleanup(func(code int) { three.stop(); os.Exit(code) }))
}

// three are three broker processes that keep three copies, started by the first test that asks for them.
var three shared

type shared struct {
	once sync.Once
	*meshtest.Processes
}

func (s *shared) stop() {
	if s.Processes != nil {
		s.Close()
	}
}

// onEveryBroker runs a test on one embedded broker, and on three processes that keep three copies.
func onEveryBroker(t *testing.T, partitions int, test func(t *testing.T, b meshtest.Connector)) {
	t.Run("one", func(t *testing.T) { test(t, newBroker(t, partitions)) })
	t.Run("three", func(t *testing.T) {
		three.once.Do(func() { three.Processes = meshtest.StartProcesses(t) })
		lay(t, three.Processes, partitions)
		test(t, three.Processes)
	})
}

// lay makes new streams, with three copies, on brokers that may have some of an earlier test.
func lay(t *testing.T, c meshtest.Connector, partitions int) {
	t.Helper()
	b := c.Bus(t)
	layout := meshtest.Layout(partitions)
	layout.Replicas = 3
	meshtest.Eventually(t, meshtest.Patience, "the streams are there", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		for name := range b.JetStream().StreamNames(ctx).Name() {
			if err := b.JetStream().DeleteStream(ctx, name); err != nil {
				return false
			}
		}
		return b.Ensure(ctx, layout) == nil
	})
}

// empty is a store that holds nothing: what is not in the log is nowhere.
type empty struct{}

func (empty) Record(context.Context, chat.ID) (store.Record, error) {
	return store.Record{}, store.ErrNotFound
}

func (empty) Find(context.Context, chat.ID, chat.UserID, chat.ClientID) (store.Found, error) {
	return store.Found{}, store.ErrNotFound
}

func (empty) Sent(context.Context, chat.ID, chat.UserID, chat.Seq) (chatlog.Sent, error) {
	return chatlog.Sent{}, nil
}

func (empty) Cursor(_ context.Context, id chat.ID, u chat.UserID) (store.Cursor, error) {
	return store.Cursor{Chat: id, User: u}, nil
}

func (empty) Page(context.Context, chat.ID, store.Range) (chatlog.Page, error) {
	return chatlog.Page{}, nil
}

// newLog runs a log on a broker until the test ends.
func newLog(t testing.TB, b meshtest.Connector, partitions int) *chatlog.Log {
	t.Helper()
	l, err := chatlog.New(chatlog.Config{Bus: b.Bus(t), Partitions: partitions, Older: empty{}, Retention: time.Hour,
		Logger: meshtest.Logger(t)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = l.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return l
}

func newBroker(t testing.TB, partitions int) *meshtest.Broker {
	t.Helper()
	b := meshtest.NewBroker(t)
	meshtest.Ensure(t, b.Bus(t), meshtest.Layout(partitions))
	return b
}

func create(t testing.TB, l *chatlog.Log, id chat.ID, by chat.UserID, others ...chat.UserID) {
	t.Helper()
	if _, err := l.Append(t.Context(), id, chat.Create{By: by, Kind: chat.Group, Title: "t", Members: others}); err != nil {
		t.Fatalf("create: %v", err)
	}
}

func send(by chat.UserID, client string) chat.Send {
	return chat.Send{Sender: by, ClientID: chat.ClientID(client), Text: "hello " + client}
}

func TestRacingWritersGetSeqsWithoutHoles(t *testing.T) {
	onEveryBroker(t, 2, func(t *testing.T, b meshtest.Connector) {
		logs := []*chatlog.Log{newLog(t, b, 2), newLog(t, b, 2), newLog(t, b, 2)}
		create(t, logs[0], "c1", "ann", "ben")
		const each, writers = 60, 4
		var mu sync.Mutex
		seqs := map[chat.Seq]string{}
		var wg sync.WaitGroup
		for i, l := range logs {
			for w := range writers {
				wg.Go(func() {
					for n := range each {
						id := fmt.Sprintf("m-%d-%d-%d", i, w, n)
						r, err := l.Append(t.Context(), "c1", send("ann", id))
						if err != nil || r.Duplicate {
							t.Errorf("append: %+v, %v", r, err)
							return
						}
						mu.Lock()
						if other, taken := seqs[r.Seq]; taken {
							t.Errorf("seq %d given to %s and %s", r.Seq, other, id)
						}
						seqs[r.Seq] = id
						mu.Unlock()
					}
				})
			}
		}
		wg.Wait()
		items, err := logs[1].After(t.Context(), "c1", 0, 0, 10_000, 0)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := len(items), 1+each*writers*len(logs); got != want {
			t.Fatalf("got %d events; want %d", got, want)
		}
		for i, it := range items {
			e, err := wire.DecodeEvent(it.Body)
			if err != nil || e.Seq != chat.Seq(i+1) || e.N != uint64(i) {
				t.Fatalf("event %d: seq %d, n %d, %v", i, e.Seq, e.N, err)
			}
			if i > 0 && seqs[e.Seq] != string(e.ClientID) {
				t.Fatalf("seq %d holds %s; its sender was told %s", e.Seq, e.ClientID, seqs[e.Seq])
			}
		}
	})
}

func TestTheSameClientIDStandsOnceWhoeverSendsItAgain(t *testing.T) {
	onEveryBroker(t, 1, func(t *testing.T, b meshtest.Connector) {
		logs := []*chatlog.Log{newLog(t, b, 1), newLog(t, b, 1)}
		create(t, logs[0], "c1", "ann", "ben")
		create(t, logs[0], "c2", "ann", "ben")
		var wg sync.WaitGroup
		var mu sync.Mutex
		first := map[string]chat.Seq{}
		fresh := map[string]int{}
		for _, l := range logs {
			for range 3 {
				wg.Go(func() {
					for n := range 30 {
						id := fmt.Sprintf("m%d", n)
						r, err := l.Append(t.Context(), "c1", send("ann", id))
						if err != nil {
							t.Errorf("append: %v", err)
							return
						}
						mu.Lock()
						if s, ok := first[id]; ok && s != r.Seq {
							t.Errorf("%s stands at %d and %d", id, s, r.Seq)
						}
						first[id] = r.Seq
						if !r.Duplicate {
							fresh[id]++
						}
						mu.Unlock()
					}
				})
			}
		}
		wg.Wait()
		for id, n := range fresh {
			if n != 1 {
				t.Errorf("%s was reported as new %d times", id, n)
			}
		}
		for _, c := range []struct {
			chat   chat.ID
			sender chat.UserID
		}{{"c1", "ben"}, {"c2", "ann"}} {
			if r, err := logs[1].Append(t.Context(), c.chat, send(c.sender, "m1")); err != nil || r.Duplicate {
				t.Errorf("the same client id of %s in %s: %+v, %v; want a new message", c.sender, c.chat, r, err)
			}
		}
	})
}

func TestOfTwoAddsThatWouldMakeAHundredAndOneOnlyOneLands(t *testing.T) {
	onEveryBroker(t, 1, func(t *testing.T, b meshtest.Connector) {
		logs := []*chatlog.Log{newLog(t, b, 1), newLog(t, b, 1)}
		var others []chat.UserID
		for i := range chat.MaxMembers - 2 {
			others = append(others, chat.UserID(fmt.Sprintf("u%d", i)))
		}
		create(t, logs[0], "c1", "ann", others...)
		errs := make([]error, 2)
		var wg sync.WaitGroup
		for i, l := range logs {
			wg.Go(func() {
				_, errs[i] = l.Append(t.Context(), "c1", chat.PutMember{By: "ann", User: chat.UserID(fmt.Sprintf("late%d", i))})
			})
		}
		wg.Wait()
		if (errs[0] == nil) == (errs[1] == nil) || !chat.Is(errs[0], chat.TooManyMembers) && !chat.Is(errs[1], chat.TooManyMembers) {
			t.Fatalf("got %v and %v; want one to land and one too_many_members", errs[0], errs[1])
		}
		snap, err := logs[0].Snapshot(t.Context(), "c1")
		if err != nil || len(snap.State.Members) != chat.MaxMembers {
			t.Fatalf("got %d members, %v", len(snap.State.Members), err)
		}
	})
}

func TestARemovedMemberCannotWriteFromANodeThatHasNotHeardOfIt(t *testing.T) {
	onEveryBroker(t, 1, func(t *testing.T, b meshtest.Connector) {
		here, there := newLog(t, b, 1), newLog(t, b, 1)
		create(t, here, "c1", "ann", "ben")
		if _, err := there.Append(t.Context(), "c1", send("ben", "m1")); err != nil { // there knows ben as a member
			t.Fatal(err)
		}
		if _, err := here.Append(t.Context(), "c1", chat.RemoveMember{By: "ann", User: "ben"}); err != nil {
			t.Fatal(err)
		}
		if _, err := there.Append(t.Context(), "c1", send("ben", "m2")); !chat.Is(err, chat.NotFound) {
			t.Fatalf("got %v; want not_found", err)
		}
		if _, err := here.Append(t.Context(), "c1", chat.PutMember{By: "ann", User: "ben"}); err != nil {
			t.Fatal(err)
		}
		if _, err := there.Append(t.Context(), "c1", send("ben", "m3")); err != nil {
			t.Fatalf("after being added again: %v", err)
		}
	})
}

func TestOfManyWhoCreateADirectChatOneDoes(t *testing.T) {
	onEveryBroker(t, 1, func(t *testing.T, b meshtest.Connector) {
		logs := []*chatlog.Log{newLog(t, b, 1), newLog(t, b, 1)}
		var wg sync.WaitGroup
		var mu sync.Mutex
		made := 0
		for _, l := range logs {
			for range 10 {
				wg.Go(func() {
					_, err := l.Append(t.Context(), "d1", chat.Create{By: "ann", Kind: chat.Direct, Members: []chat.UserID{"ben"}})
					mu.Lock()
					defer mu.Unlock()
					if err == nil {
						made++
					} else if !chat.Is(err, chat.Conflict) {
						t.Errorf("got %v; want conflict", err)
					}
				})
			}
		}
		wg.Wait()
		if made != 1 {
			t.Errorf("made %d times; want 1", made)
		}
	})
}

func TestAnyPageOfTheTailIsFound(t *testing.T) {
	onEveryBroker(t, 1, func(t *testing.T, b meshtest.Connector) {
		l := newLog(t, b, 1)
		for c := range 3 {
			create(t, l, chat.ID(fmt.Sprintf("c%d", c)), "ann")
		}
		const n = 300
		for i := range n { // uneven, so that the place of an event cannot be guessed
			c := i * i % 7 % 3
			if _, err := l.Append(t.Context(), chat.ID(fmt.Sprintf("c%d", c)), send("ann", fmt.Sprint(i))); err != nil {
				t.Fatal(err)
			}
		}
		for c := range 3 {
			id := chat.ID(fmt.Sprintf("c%d", c))
			snap, err := l.Snapshot(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			for after := chat.Seq(0); after <= snap.Head.Seq; after += 3 {
				page, err := l.Page(t.Context(), id, store.Range{After: after, Forward: true, Limit: 5})
				if err != nil {
					t.Fatal(err)
				}
				want := min(5, int(snap.Head.Seq-after))
				if len(page.Items) != want || page.More != (after+5 < snap.Head.Seq) {
					t.Fatalf("after %d of %d: got %d, more %v; want %d", after, snap.Head.Seq, len(page.Items), page.More, want)
				}
				for i, it := range page.Items {
					if it.Seq != after+chat.Seq(i)+1 {
						t.Fatalf("after %d: got %d at %d", after, it.Seq, i)
					}
				}
			}
		}
	})
}

func TestACursorNeverMovesBack(t *testing.T) {
	onEveryBroker(t, 1, func(t *testing.T, b meshtest.Connector) {
		l := newLog(t, b, 1)
		create(t, l, "c1", "ann", "ben", "cid")
		for i := range 10 {
			if _, err := l.Append(t.Context(), "c1", send("ann", fmt.Sprint(i))); err != nil {
				t.Fatal(err)
			}
		}
		var wg sync.WaitGroup
		for seq := chat.Seq(1); seq <= 9; seq++ {
			wg.Go(func() {
				if _, err := l.MarkRead(t.Context(), "c1", "ben", seq); err != nil {
					t.Errorf("read %d: %v", seq, err)
				}
			})
		}
		wg.Wait()
		if c, err := l.Cursor(t.Context(), "c1", "ben"); err != nil || c.Seq != 9 || c.N != 8 {
			t.Errorf("got %+v, %v; want seq 9, n 8", c, err)
		}
		second := newLog(t, b, 1)
		for seq := chat.Seq(1); seq <= 10; seq++ { // both together, from two nodes
			for _, other := range []*chatlog.Log{l, second} {
				wg.Go(func() {
					if _, err := other.Mark(t.Context(), "c1", "cid", chatlog.Move{Read: seq / 2, Delivered: seq}); err != nil {
						t.Errorf("mark %d: %v", seq, err)
					}
				})
			}
		}
		wg.Wait()
		if c, err := l.Cursor(t.Context(), "c1", "cid"); err != nil || c.Seq != 5 || c.N != 4 || c.Delivered != 10 {
			t.Errorf("got %+v, %v; want 5 read and 10 delivered", c, err)
		}
		for _, m := range []chatlog.Move{{Delivered: 10}, {Read: 5}, {Read: 3, Delivered: 9}, {}} {
			if moved, err := l.Mark(t.Context(), "c1", "cid", m); moved || err != nil {
				t.Errorf("%+v: got %t, %v; want that nothing moves", m, moved, err)
			}
			if err := l.CheckMark(t.Context(), "c1", "cid", m); err != nil {
				t.Errorf("%+v: got %v; want it allowed", m, err)
			}
		}
		if err := l.CheckMark(t.Context(), "c1", "ben", chatlog.Move{Delivered: 12}); !chat.Is(err, chat.BadRequest) {
			t.Errorf("delivered beyond the head: got %v; want bad_request", err)
		}
		if err := l.CheckMark(t.Context(), "c1", "eve", chatlog.Move{Read: 1}); !chat.Is(err, chat.NotFound) {
			t.Errorf("a stranger: got %v; want not_found", err)
		}
		if _, err := l.MarkRead(t.Context(), "c1", "ben", 12); !chat.Is(err, chat.BadRequest) {
			t.Errorf("beyond the head: got %v; want bad_request", err)
		}
		if _, err := l.MarkRead(t.Context(), "c1", "eve", 1); !chat.Is(err, chat.NotFound) {
			t.Errorf("a stranger: got %v; want not_found", err)
		}
	})
}

func TestAppendsGoOnWhenTheBrokerIsBack(t *testing.T) {
	b := newBroker(t, 1)
	l := newLog(t, b, 1)
	create(t, l, "c1", "ann")
	stop := make(chan struct{})
	acked := map[chat.Seq]string{}
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			id := fmt.Sprint(n)
			for t.Context().Err() == nil {
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
				r, err := l.Append(ctx, "c1", send("ann", id))
				cancel()
				if err == nil {
					acked[r.Seq] = id
					break
				}
			}
		}
	})
	for range 3 {
		time.Sleep(100 * time.Millisecond) // some load before each fault
		b.Stop()
		b.Start()
	}
	time.Sleep(200 * time.Millisecond)
	close(stop)
	wg.Wait()
	items, err := l.After(t.Context(), "c1", 0, 0, 100_000, 0)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[chat.ClientID]bool{}
	for i, it := range items {
		e, err := wire.DecodeEvent(it.Body)
		if err != nil || e.Seq != chat.Seq(i+1) {
			t.Fatalf("event %d: %v", i, err)
		}
		if e.Type == chat.Message && seen[e.ClientID] {
			t.Fatalf("%s stands twice", e.ClientID)
		}
		seen[e.ClientID] = true
		if want, ok := acked[e.Seq]; ok && want != string(e.ClientID) {
			t.Fatalf("seq %d: got %s; want %s", e.Seq, e.ClientID, want)
		}
	}
	for seq, id := range acked {
		if !seen[chat.ClientID(id)] {
			t.Fatalf("%s was acked at %d and is lost", id, seq)
		}
	}
	if len(acked) < 10 {
		t.Fatalf("only %d acked", len(acked))
	}
}

func TestWhatIsNoEventInALogStopsNobody(t *testing.T) {
	onEveryBroker(t, 1, func(t *testing.T, b meshtest.Connector) {
		l, other := newLog(t, b, 1), newLog(t, b, 1)
		create(t, l, "c1", "ann", "ben")
		if _, err := l.Append(t.Context(), "c1", send("ann", "m1")); err != nil {
			t.Fatal(err)
		}
		nc := b.Bus(t)
		for _, body := range []string{"garbage", `{"type":"x","chat":"c1","seq":3}`, `{"type":"message","chat":"c1","seq":9}`} {
			if _, err := nc.Publish(t.Context(), &nats.Msg{Subject: subject.Log(0, "c1"), Data: []byte(body)}); err != nil {
				t.Fatal(err)
			}
		}
		for i, x := range []*chatlog.Log{l, other} {
			r, err := x.Append(t.Context(), "c1", send("ben", fmt.Sprint("b", i)))
			if err != nil || r.Seq != chat.Seq(3+i) {
				t.Fatalf("append behind it: got %+v, %v; want seq %d", r, err, 3+i)
			}
		}
		items, err := l.After(t.Context(), "c1", 0, 0, 100, 0)
		if err != nil || len(items) != 4 {
			t.Fatalf("got %d events, %v; want 4", len(items), err)
		}
		snaps, err := other.Snapshots(t.Context(), []chat.ID{"c1"})
		if err != nil || snaps["c1"].Head.Seq != 4 {
			t.Fatalf("got head %d, %v; want 4", snaps["c1"].Head.Seq, err)
		}
	})
}

func TestAPageKnowsWhatOthersHaveWritten(t *testing.T) {
	onEveryBroker(t, 1, func(t *testing.T, b meshtest.Connector) {
		here, there := newLog(t, b, 1), newLog(t, b, 1)
		create(t, here, "c1", "ann", "ben")
		if _, err := there.Append(t.Context(), "c1", send("ben", "m0")); err != nil { // there knows the chat from now on
			t.Fatal(err)
		}
		for n := 1; n <= 20; n++ {
			if _, err := here.Append(t.Context(), "c1", send("ann", fmt.Sprint("m", n))); err != nil {
				t.Fatal(err)
			}
		}
		for _, before := range []chat.Seq{0, 23, 1000} {
			page, err := there.Page(t.Context(), "c1", store.Range{Forward: true, Before: before, Limit: 10})
			if err != nil || len(page.Items) != 10 || !page.More {
				t.Fatalf("before %d: got %d events, more %v, %v; want 10 and more", before, len(page.Items), page.More, err)
			}
			page, err = there.Page(t.Context(), "c1", store.Range{After: 20, Before: before, Limit: 10})
			if err != nil || len(page.Items) != 2 || page.More {
				t.Fatalf("before %d: got %d events, more %v, %v; want the last 2 and no more", before, len(page.Items), page.More, err)
			}
		}
	})
}

func TestThatNothingIsToBeDoneIsBelievedOnTheNewestStateOnly(t *testing.T) {
	onEveryBroker(t, 1, func(t *testing.T, b meshtest.Connector) {
		here, there := newLog(t, b, 1), newLog(t, b, 1)
		create(t, here, "c1", "ann", "ben")
		if _, err := there.Append(t.Context(), "c1", send("ben", "m1")); err != nil { // there knows ben as a member
			t.Fatal(err)
		}
		if _, err := here.Append(t.Context(), "c1", chat.RemoveMember{By: "ann", User: "ben"}); err != nil {
			t.Fatal(err)
		}
		if r, err := there.Append(t.Context(), "c1", chat.PutMember{By: "ann", User: "ben"}); err != nil || r.Seq != 4 {
			t.Fatalf("got %+v, %v; want ben added at 4", r, err)
		}
	})
}

// kept is a store that has a chat as it was some events ago.
type kept struct {
	empty
	record store.Record
}

func (k *kept) Record(context.Context, chat.ID) (store.Record, error) {
	if k.record.Seq == 0 {
		return k.record, store.ErrNotFound
	}
	return k.record, nil
}

// What was lost with all copies of the log is lost, and an operator is told. But the chat goes on from what the store has, without a
// restart of who knew more.
func TestAChatGoesOnWhereTheLogWasLostWithAllItsCopies(t *testing.T) {
	b := newBroker(t, 1)
	older := &kept{}
	l, err := chatlog.New(chatlog.Config{Bus: b.Bus(t), Partitions: 1, Older: older, Retention: time.Hour, Logger: meshtest.Logger(t)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = l.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	create(t, l, "c1", "ann")
	for n := range 5 {
		r, err := l.Append(t.Context(), "c1", send("ann", fmt.Sprint("m", n)))
		if err != nil {
			t.Fatal(err)
		}
		if n == 2 {
			older.record = store.Record{Seq: r.Seq, N: 3, At: r.SentAt, Stream: 5, State: r.State}
		}
	}
	if err := b.Bus(t).JetStream().DeleteStream(t.Context(), subject.ChatStream(0)); err != nil {
		t.Fatal(err)
	}
	meshtest.Ensure(t, b.Bus(t), meshtest.Layout(1))
	r, err := l.Append(t.Context(), "c1", send("ann", "after"))
	if err != nil || r.Seq != older.record.Seq+1 {
		t.Fatalf("got %+v, %v; want it at %d, behind what the store has", r, err, older.record.Seq+1)
	}
}

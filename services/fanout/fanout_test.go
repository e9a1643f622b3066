package fanout_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/chatlog"
	"github.com/chatmesh/chatmesh/pkg/meshtest"
	"github.com/chatmesh/chatmesh/pkg/meshtest/leaks"
	"github.com/chatmesh/chatmesh/pkg/run"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/wire"
	"github.com/chatmesh/chatmesh/services/fanout"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(leaks.Patient(m)) }

type noStore struct{ chatlog.Older }

func (noStore) Record(context.Context, chat.ID) (store.Record, error) {
	return store.Record{}, store.ErrNotFound
}

func (noStore) Sent(context.Context, chat.ID, chat.UserID, chat.Seq) (chatlog.Sent, error) {
	return chatlog.Sent{}, nil
}

func (noStore) Find(context.Context, chat.ID, chat.UserID, chat.ClientID) (store.Found, error) {
	return store.Found{}, store.ErrNotFound
}

func newLog(t *testing.T, b *bus.Bus) *chatlog.Log {
	t.Helper()
	l, err := chatlog.New(chatlog.Config{Bus: b, Partitions: 1, Older: noStore{}, Retention: time.Hour, Logger: meshtest.Logger(t)})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// worker starts a fan-out worker on a connection of its own.
func worker(t *testing.T, broker *meshtest.Broker) (stop func()) {
	t.Helper()
	b := broker.Bus(t)
	s, err := fanout.New(fanout.Config{Bus: b, Log: newLog(t, b), Partitions: 1, Logger: meshtest.Logger(t), Health: &run.Health{}})
	if err != nil {
		t.Fatal(err)
	}
	return meshtest.Run(t, s.Run)
}

// inbox is what came on the subject of a person.
type inbox struct {
	mu    sync.Mutex // guards the following fields
	seqs  []chat.Seq
	read  []chat.Seq
	has   []chat.Seq
	heads []wire.Heads
}

func listen(t *testing.T, b *bus.Bus, u chat.UserID) *inbox {
	t.Helper()
	in := &inbox{}
	sub, err := b.Conn().Subscribe(subject.User(u), func(m *nats.Msg) {
		h, err := wire.Peek(m.Data)
		if err != nil {
			t.Errorf("frame: %v", err)
		}
		in.mu.Lock()
		defer in.mu.Unlock()
		if h.Type == wire.TypeHeads {
			var f wire.Heads
			if err := json.Unmarshal(m.Data, &f); err != nil {
				t.Errorf("heads: %v", err)
			}
			in.heads = append(in.heads, f)
			return
		}
		if h.Type == wire.TypeRead {
			in.read = append(in.read, h.Seq)
			return
		}
		if h.Type == wire.TypeDelivered {
			in.has = append(in.has, h.Seq)
			return
		}
		in.seqs = append(in.seqs, h.Seq)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sub.Unsubscribe() })
	if err := b.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	return in
}

// firsts are the seqs in the order in which each first came.
func (in *inbox) firsts() []chat.Seq {
	in.mu.Lock()
	defer in.mu.Unlock()
	var out []chat.Seq
	for _, s := range in.seqs {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

func seqs(from, to chat.Seq) (out []chat.Seq) {
	for s := from; s <= to; s++ {
		out = append(out, s)
	}
	return out
}

func setup(t *testing.T) (*meshtest.Broker, *bus.Bus, *chatlog.Log) {
	t.Helper()
	broker := meshtest.NewBroker(t)
	b := broker.Bus(t)
	meshtest.Ensure(t, b, meshtest.Layout(1))
	l := newLog(t, b)
	meshtest.Run(t, l.Run)
	return broker, b, l
}

func do(t *testing.T, l *chatlog.Log, cmd chat.Command) {
	t.Helper()
	if _, err := l.Append(t.Context(), "c1", cmd); err != nil {
		t.Fatal(err)
	}
}

func say(n int) chat.Send {
	return chat.Send{Sender: "ann", ClientID: chat.ClientID(fmt.Sprint("m", n)), Text: "t"}
}

func TestEachMemberGetsTheEventsOfTheirTimeInOrder(t *testing.T) {
	broker, b, l := setup(t)
	ann, ben, eve := listen(t, b, "ann"), listen(t, b, "ben"), listen(t, b, "eve")
	// All before any worker runs: it must know of each event who was a member then, not who is now.
	do(t, l, chat.Create{By: "ann", Kind: chat.Group, Title: "t", Members: []chat.UserID{"ben"}})
	do(t, l, say(1))
	do(t, l, chat.PutMember{By: "ann", User: "eve"})
	do(t, l, say(2))
	do(t, l, chat.RemoveMember{By: "ann", User: "ben"})
	do(t, l, say(3))
	do(t, l, chat.PutMember{By: "ann", User: "ben"})
	do(t, l, say(4))
	worker(t, broker)
	meshtest.Eventually(t, meshtest.Patience, "all events", func() bool { return len(ann.firsts()) == 8 && len(ben.firsts()) == 7 && len(eve.firsts()) == 6 })
	for _, c := range []struct {
		who  string
		in   *inbox
		want []chat.Seq
	}{{"ann", ann, seqs(1, 8)}, {"ben", ben, []chat.Seq{1, 2, 3, 4, 5, 7, 8}}, {"eve", eve, seqs(3, 8)}} {
		if got := c.in.firsts(); !slices.Equal(got, c.want) {
			t.Errorf("%s got %v; want %v", c.who, got, c.want)
		}
	}
}

func TestOrderAndCompletenessSurviveATakeover(t *testing.T) {
	broker, b, l := setup(t)
	ben := listen(t, b, "ben")
	do(t, l, chat.Create{By: "ann", Kind: chat.Group, Title: "t", Members: []chat.UserID{"ben"}})
	stopFirst := worker(t, broker)
	worker(t, broker)
	const n = 150
	for i := range n {
		if i == n/2 {
			stopFirst()
		}
		do(t, l, say(i))
	}
	begun := time.Now()
	meshtest.Eventually(t, meshtest.Patience, "all events", func() bool { return len(ben.firsts()) == n+1 })
	t.Logf("complete %v after the last append", time.Since(begun).Round(time.Millisecond))
	if got := ben.firsts(); !slices.Equal(got, seqs(1, n+1)) {
		t.Errorf("got %v", got)
	}
}

func TestAPoisonEventIsPutAsideAndTheRestGoesOn(t *testing.T) {
	broker, b, l := setup(t)
	ben := listen(t, b, "ben")
	do(t, l, chat.Create{By: "ann", Kind: chat.Group, Title: "t", Members: []chat.UserID{"ben"}})
	poison := &nats.Msg{Subject: subject.Log(0, "c9"), Data: []byte(`{"type":`), Header: nats.Header{}}
	if _, err := b.Publish(t.Context(), poison); err != nil {
		t.Fatal(err)
	}
	do(t, l, say(1))
	worker(t, broker)
	meshtest.Eventually(t, meshtest.Patience, "the events behind it", func() bool { return len(ben.firsts()) == 2 })
	var dead []*bus.Msg
	meshtest.Eventually(t, meshtest.Patience, "the dead letter", func() bool {
		var err error
		dead, err = b.LastFor(t.Context(), subject.DeadLetters, subject.Dead(subject.FanOut, 0))
		return err == nil && len(dead) == 1
	})
	if dead[0].Header.Get(subject.HeaderReason) == "" || string(dead[0].Data) != string(poison.Data) {
		t.Errorf("got %v %s; want the reason and the original", dead[0].Header, dead[0].Data)
	}
}

func TestACursorIsToldToAllMembers(t *testing.T) {
	broker, b, l := setup(t)
	ann, ben := listen(t, b, "ann"), listen(t, b, "ben")
	do(t, l, chat.Create{By: "ann", Kind: chat.Group, Title: "t", Members: []chat.UserID{"ben"}})
	do(t, l, say(1))
	if _, err := l.MarkRead(t.Context(), "c1", "ben", 2); err != nil {
		t.Fatal(err)
	}
	worker(t, broker)
	for _, in := range []*inbox{ann, ben} {
		meshtest.Eventually(t, meshtest.Patience, "the cursor", func() bool {
			in.mu.Lock()
			defer in.mu.Unlock()
			return slices.Equal(in.read, []chat.Seq{2})
		})
	}
}

func TestAPrivateCursorIsToldToTheOwnDevicesOnly(t *testing.T) {
	broker, b, l := setup(t)
	ann, ben := listen(t, b, "ann"), listen(t, b, "ben")
	do(t, l, chat.Create{By: "ann", Kind: chat.Group, Title: "t", Members: []chat.UserID{"ben"}})
	do(t, l, say(1))
	do(t, l, say(2))
	if _, err := l.Mark(t.Context(), "c1", "ben", chatlog.Move{Read: 2, Delivered: 3, Private: true}); err != nil {
		t.Fatal(err)
	}
	worker(t, broker)
	meshtest.Eventually(t, meshtest.Patience, "ben is told", func() bool {
		ben.mu.Lock()
		defer ben.mu.Unlock()
		return slices.Equal(ben.read, []chat.Seq{2}) && slices.Equal(ben.has, []chat.Seq{3})
	})
	if _, err := l.Mark(t.Context(), "c1", "ben", chatlog.Move{Read: 3}); err != nil { // behind it
		t.Fatal(err)
	}
	meshtest.Eventually(t, meshtest.Patience, "ann is told what is not private", func() bool {
		ann.mu.Lock()
		defer ann.mu.Unlock()
		return len(ann.read) > 0
	})
	ann.mu.Lock()
	defer ann.mu.Unlock()
	if !slices.Equal(ann.read, []chat.Seq{3}) || len(ann.has) > 0 {
		t.Errorf("ann is told %v read and %v delivered; want 3 and nothing", ann.read, ann.has)
	}
}

func TestWhatWasDeliveredIsToldToAllMembersOnce(t *testing.T) {
	broker, b, l := setup(t)
	ann, ben := listen(t, b, "ann"), listen(t, b, "ben")
	do(t, l, chat.Create{By: "ann", Kind: chat.Group, Title: "t", Members: []chat.UserID{"ben"}})
	do(t, l, say(1))
	do(t, l, say(2))
	for _, m := range []chatlog.Move{{Delivered: 1}, {Read: 2, Delivered: 3}, {Delivered: 2}} {
		if _, err := l.Mark(t.Context(), "c1", "ben", m); err != nil {
			t.Fatal(err)
		}
	}
	worker(t, broker)
	for _, in := range []*inbox{ann, ben} {
		meshtest.Eventually(t, meshtest.Patience, "both cursors", func() bool {
			in.mu.Lock()
			defer in.mu.Unlock()
			return slices.Equal(in.read, []chat.Seq{2}) && slices.Equal(in.has, []chat.Seq{3})
		})
	}
}

func TestTheHeadOfAChatThatFellQuietIsToldOnce(t *testing.T) {
	broker, b, l := setup(t)
	ben := listen(t, b, "ben")
	do(t, l, chat.Create{By: "ann", Kind: chat.Group, Title: "t", Members: []chat.UserID{"ben"}})
	worker(t, broker)
	for n := range 5 {
		do(t, l, say(n))
	}
	heads := func() []wire.Heads {
		ben.mu.Lock()
		defer ben.mu.Unlock()
		return slices.Clone(ben.heads)
	}
	// An earlier head is told as well where the machine paused for so long between two messages.
	last := func() (at chat.Seq) {
		for _, h := range heads() {
			at = h.Heads["c1"]
		}
		return at
	}
	meshtest.Eventually(t, meshtest.Patience, "the head", func() bool { return last() == 6 })
	for i, h := range heads() {
		if i > 0 && h.Heads["c1"] <= heads()[i-1].Heads["c1"] {
			t.Errorf("got %v; want each head once", heads())
		}
	}
}

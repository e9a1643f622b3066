package bus_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/meshtest"
	"github.com/chatmesh/chatmesh/pkg/subject"
)

// inventory is everything that the broker holds: streams with their settings and contents, consumers with theirs.
func inventory(t *testing.T, b *bus.Bus) map[string]string {
	t.Helper()
	out := map[string]string{}
	put := func(name string, v any) {
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		out[name] = string(data)
	}
	streams := b.JetStream().ListStreams(t.Context())
	for info := range streams.Info() {
		put(info.Config.Name, []any{info.Config, info.Created, info.State.LastSeq, info.State.Msgs})
		s, err := b.JetStream().Stream(t.Context(), info.Config.Name)
		if err != nil {
			t.Fatal(err)
		}
		consumers := s.ListConsumers(t.Context())
		for c := range consumers.Info() {
			put(info.Config.Name+" "+c.Name, []any{c.Config, c.Created, c.Delivered.Stream, c.AckFloor.Stream})
		}
		if err := consumers.Err(); err != nil {
			t.Fatal(err)
		}
	}
	if err := streams.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

func checkSame(t *testing.T, before, after map[string]string) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(before)) {
		if after[name] != before[name] {
			t.Errorf("%s: got  %s\nwant %s", name, after[name], before[name])
		}
	}
	if len(after) != len(before) {
		t.Errorf("got %d streams and consumers; want %d", len(after), len(before))
	}
}

func TestEnsuringALayoutTwiceChangesNothing(t *testing.T) {
	m, b := laid(t, 3)
	publish(t, b, subject.Log(1, "c1"), "x")
	publish(t, b, subject.State(1, "c1"), "s")
	publish(t, b, subject.Cursor(2, "c1", "ann"), "7")
	if err := b.Keep(t.Context(), subject.LastSeen, "ann", []byte("now")); err != nil {
		t.Fatal(err)
	}
	before := inventory(t, b)
	for _, name := range []string{"CHAT_0", "CHAT_2", "CURSOR_1", "DEADLETTERS", "KV_presence", "KV_nodes", "CHAT_1 fanout", "CURSOR_2 persister"} {
		if before[name] == "" {
			t.Errorf("there is no %s", name)
		}
	}
	start := time.Now()
	meshtest.Ensure(t, b, meshtest.Layout(3))
	took := time.Since(start)
	t.Logf("the second time took %v", took)
	checkSame(t, before, inventory(t, b))
	m.Stop()
	m.Start()
	meshtest.Eventually(t, patience, "the connection is back", func() bool { return b.Check(t.Context()) == nil })
	meshtest.Ensure(t, b, meshtest.Layout(3))
	checkSame(t, before, inventory(t, b))
}

func TestAnotherNumberOfPartitionsIsRefusedAndChangesNothing(t *testing.T) {
	_, b := laid(t, 2)
	publish(t, b, subject.Log(1, "c1"), "x")
	before := inventory(t, b)
	for _, n := range []int{1, 3, 4} {
		for name, do := range map[string]func() error{
			"ensure": func() error { return b.Ensure(t.Context(), meshtest.Layout(n)) },
			"expect": func() error { return b.Expect(t.Context(), meshtest.Layout(n)) },
		} {
			if err := do(); !errors.Is(err, bus.ErrLayout) || !strings.Contains(err.Error(), "made for 2") {
				t.Errorf("%s %d: got %v; want %v, and the number there is", name, n, err, bus.ErrLayout)
			}
		}
	}
	checkSame(t, before, inventory(t, b))
}

func TestExpectingALayoutFailsUntilItIsThereAndMakesNothing(t *testing.T) {
	_, b := broker(t)
	l := meshtest.Layout(2)
	if err := b.Expect(t.Context(), l); err == nil {
		t.Fatal("an empty broker was taken for one with streams")
	}
	if got := inventory(t, b); len(got) != 0 {
		t.Fatalf("got %v; want nothing made", got)
	}
	meshtest.Ensure(t, b, l)
	if err := b.Expect(t.Context(), l); err != nil {
		t.Fatalf("got %v; want all that is expected to be there", err)
	}
	if err := b.JetStream().DeleteStream(t.Context(), subject.CursorStream(1)); err != nil {
		t.Fatal(err)
	}
	if err := b.Expect(t.Context(), l); err == nil || !strings.Contains(err.Error(), "CURSOR_1") {
		t.Fatalf("got %v; want it to miss CURSOR_1", err)
	}
}

// The first process dies while it makes the streams: the next one makes the others.
func TestLayoutThatIsHalfMadeIsCompleted(t *testing.T) {
	_, b := laid(t, 2)
	publish(t, b, subject.Log(0, "c1"), "x")
	want := inventory(t, b)
	for _, name := range []string{subject.CursorStream(0), subject.ChatStream(1), subject.KVStream(subject.Keys)} {
		if err := b.JetStream().DeleteStream(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.JetStream().DeleteConsumer(t.Context(), subject.ChatStream(0), subject.Persister); err != nil {
		t.Fatal(err)
	}
	meshtest.Ensure(t, b, meshtest.Layout(2))
	got := inventory(t, b)
	if g, w := slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)); !slices.Equal(g, w) {
		t.Fatalf("got %v; want %v", g, w)
	}
	if got["CHAT_0"] != want["CHAT_0"] {
		t.Fatalf("got %s; want %s", got["CHAT_0"], want["CHAT_0"])
	}
}

func TestSettingsThatMayChangeAreChangedAndKeepTheData(t *testing.T) {
	_, b := laid(t, 1)
	at := publish(t, b, subject.Log(0, "c1"), "x")
	l := meshtest.Layout(1)
	l.Retention, l.PresenceTTL, l.TokenTTL = 48*time.Hour, 5*time.Minute, 2*time.Hour
	meshtest.Ensure(t, b, l)
	age := func(name string) time.Duration {
		s, err := b.JetStream().Stream(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		return s.CachedInfo().Config.MaxAge
	}
	for name, want := range map[string]time.Duration{"CHAT_0": l.Retention, "CURSOR_0": l.Retention, "KV_presence": l.PresenceTTL,
		"KV_revoked": l.TokenTTL + time.Minute, "KV_keys": 0, "DEADLETTERS": 0} {
		if got := age(name); got != want {
			t.Errorf("%s: got the age %v; want %v", name, got, want)
		}
	}
	if m, err := b.At(t.Context(), subject.ChatStream(0), at); err != nil || string(m.Data) != "x" {
		t.Fatalf("got %v, %v; want the event that was there", m, err)
	}
}

// What the promises rest on: nothing is dropped to make room, nothing is forgotten before it was handled, a batch is possible.
func TestStreamsOfChatsRefuseRatherThanDrop(t *testing.T) {
	_, b := laid(t, 1)
	s, err := b.JetStream().Stream(t.Context(), subject.ChatStream(0))
	if err != nil {
		t.Fatal(err)
	}
	c := s.CachedInfo().Config
	if c.Discard != jetstream.DiscardNew || c.Retention != jetstream.LimitsPolicy || c.Storage != jetstream.FileStorage ||
		c.MaxMsgs != -1 || c.MaxMsgsPerSubject != -1 || !c.AllowDirect || !c.AllowAtomicPublish || !c.AllowRollup || c.PersistMode != 0 {
		t.Errorf("got %+v", c)
	}
	for _, name := range []string{subject.ChatStream(0), subject.CursorStream(0)} {
		for _, consumer := range []string{subject.FanOut, subject.Persister} {
			k, err := b.JetStream().Consumer(t.Context(), name, consumer)
			if err != nil {
				t.Fatal(err)
			}
			c := k.CachedInfo().Config
			if c.MaxDeliver != -1 || c.AckPolicy != jetstream.AckExplicitPolicy || c.DeliverPolicy != jetstream.DeliverAllPolicy ||
				c.PriorityPolicy != jetstream.PriorityPolicyPinned || !slices.Equal(c.PriorityGroups, []string{subject.PinGroup}) ||
				c.InactiveThreshold != 0 {
				t.Errorf("%s of %s: got %+v", consumer, name, c)
			}
		}
	}
	// The states of chats are no events: fan-out does not get them, the persister does.
	publish(t, b, subject.Log(0, "c1"), "x")
	publish(t, b, subject.State(0, "c1"), "s")
	for name, want := range map[string]uint64{subject.FanOut: 1, subject.Persister: 2} {
		meshtest.Eventually(t, patience, fmt.Sprintf("%d wait for %s", want, name), func() bool {
			k, err := b.JetStream().Consumer(t.Context(), subject.ChatStream(0), name)
			return err == nil && k.CachedInfo().NumPending == want
		})
	}
}

func TestABucketWhoseKeysDidNotExpireLearnsTo(t *testing.T) {
	_, b := broker(t)
	if _, err := b.JetStream().CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: subject.Keys, History: 1}); err != nil {
		t.Fatal(err)
	}
	if err := b.Keep(t.Context(), subject.Keys, "old", []byte("x")); err != nil {
		t.Fatal(err)
	}
	meshtest.Ensure(t, b, meshtest.Layout(1))
	if err := b.PutFor(t.Context(), subject.Keys, "new", []byte("y"), time.Second); err != nil {
		t.Fatal(err)
	}
	meshtest.Eventually(t, patience, "the new key expires", func() bool {
		_, err := b.Key(t.Context(), subject.Keys, "new")
		return errors.Is(err, bus.ErrNotFound)
	})
	if v, err := b.Key(t.Context(), subject.Keys, "old"); err != nil || string(v) != "x" {
		t.Errorf("the old key: got %s, %v; want it kept", v, err)
	}
}

package bus_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/meshtest"
	"github.com/chatmesh/chatmesh/pkg/subject"
)

func plan(t *testing.T, b *bus.Bus, l bus.Layout) bus.Plan {
	t.Helper()
	p, err := b.Plan(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// differs is a plan as one line for each setting.
func differs(p bus.Plan) string {
	var out []string
	for _, c := range p {
		switch {
		case c.Create:
			out = append(out, "create "+c.What)
		case c.Refused != "":
			out = append(out, c.What+" refused: "+c.Refused)
		default:
			for _, f := range c.Fields {
				out = append(out, fmt.Sprintf("%s %s: %s → %s", c.What, f.Name, f.Old, f.New))
			}
		}
		if c.Stops != "" {
			out = append(out, c.What+" stops: "+c.Stops)
		}
		if c.Later != "" {
			out = append(out, c.What+" later: "+c.Later)
		}
	}
	return strings.Join(out, "\n")
}

func TestAPlanForWhatIsRightIsEmptyAndForNothingIsEverything(t *testing.T) {
	_, b := broker(t)
	l := meshtest.Layout(2)
	p := plan(t, b, l)
	for _, what := range []string{"stream CHAT_0", "stream CURSOR_1", "stream DEADLETTERS", "bucket presence", "consumer fanout of CHAT_0", "consumer persister of CURSOR_1"} {
		if !strings.Contains(differs(p), "create "+what) {
			t.Errorf("got\n%s\nwant %s created", differs(p), what)
		}
	}
	if got := inventory(t, b); len(got) != 0 {
		t.Fatalf("a plan made %v", got)
	}
	if err := b.Apply(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if got := differs(plan(t, b, l)); got != "" {
		t.Errorf("got\n%s\nwant nothing to do", got)
	}
	made := inventory(t, b)
	if len(made) != p.Todo() {
		t.Errorf("got %d made; want the %d that were planned", len(made), p.Todo())
	}
}

// What the code says of the stream behind a bucket is what the client makes of it.
func TestBucketsThatTheClientMadeAreRight(t *testing.T) {
	_, b := threeBrokers(t) // with one there is none for places
	for _, name := range subject.Buckets {
		if _, err := b.JetStream().KeyValue(t.Context(), name); err != nil {
			t.Errorf("bucket %s: %v", name, err)
		}
	}
	if got := differs(plan(t, b, threeCopies())); got != "" {
		t.Errorf("got\n%s\nwant nothing to do", got)
	}
}

// The broker cannot change where a consumer is, and one that is made anew begins anew: so its place must be kept before.
func TestAConsumerOnDiskIsMadeAnewInMemoryOnceItsPlaceIsKept(t *testing.T) {
	_, b := threeBrokers(t)
	old := persister(t, b).Config
	old.MemoryStorage = false
	if err := b.JetStream().DeleteConsumer(t.Context(), subject.ChatStream(0), subject.Persister); err != nil {
		t.Fatal(err)
	}
	meshtest.Eventually(t, patience, "the consumer is as an older version made it", func() bool {
		_, err := b.JetStream().CreateOrUpdateConsumer(t.Context(), subject.ChatStream(0), old)
		return err == nil && persister(t, b) != nil
	})
	ensure := func() {
		meshtest.Eventually(t, patience, "it is done", func() bool { return b.Ensure(t.Context(), threeCopies()) == nil })
	}
	last := store(t, b, 20)
	c, err := b.JetStream().Consumer(t.Context(), subject.ChatStream(0), subject.Persister)
	if err != nil {
		t.Fatal(err)
	}
	meshtest.Eventually(t, patience, "all is acknowledged", func() bool {
		batch, err := c.Fetch(20, jetstream.FetchPriorityGroup(subject.PinGroup), jetstream.FetchMaxWait(time.Second))
		if err != nil {
			return false
		}
		for m := range batch.Messages() {
			_ = m.Ack()
		}
		i := persister(t, b)
		return i != nil && i.AckFloor.Stream == last
	})
	if got := differs(plan(t, b, threeCopies())); !strings.Contains(got, "consumer persister of CHAT_0 later: mem_storage stays false until its worker keeps its place") {
		t.Errorf("got\n%s\nwant it left", got)
	}
	if ensure(); persister(t, b).Config.MemoryStorage {
		t.Fatal("a consumer was made anew whose place nobody keeps")
	}
	w, _ := start(t, b, subject.ChatStream(0), subject.Persister, 10, nil)
	meshtest.Eventually(t, patience, "its place is kept, though nothing comes", func() bool { return kept(t, b) == fmt.Sprint(last) })
	if got := differs(plan(t, b, threeCopies())); !strings.Contains(got, "mem_storage: false → true") {
		t.Errorf("got\n%s\nwant it shown", got)
	}
	ensure()
	meshtest.Eventually(t, patience, "the consumer is in memory", func() bool { i := persister(t, b); return i != nil && i.Config.MemoryStorage })
	next := store(t, b, 5)
	meshtest.Eventually(t, patience, "what comes then is handled", func() bool { return w.has(next) })
	if got := w.handled(); slices.Min(got) <= last {
		t.Errorf("got %v; want nothing up to %d again", got, last)
	}
	if got := differs(plan(t, b, threeCopies())); got != "" {
		t.Errorf("got\n%s\nwant nothing to do", got)
	}
}

func TestAPlanShowsEachSettingThatDiffersAndChangesOnlyThese(t *testing.T) {
	_, b := laid(t, 1)
	js := b.JetStream()
	s, err := js.Stream(t.Context(), "CHAT_0")
	if err != nil {
		t.Fatal(err)
	}
	c := s.CachedInfo().Config
	c.Description, c.MaxMsgSize, c.Duplicates, c.Compression = "mine", 1<<20, time.Minute, jetstream.S2Compression
	c.Metadata["mine"] = "x"
	if _, err := js.UpdateStream(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	k, err := js.Consumer(t.Context(), "CHAT_0", subject.FanOut)
	if err != nil {
		t.Fatal(err)
	}
	kc := k.CachedInfo().Config
	kc.AckWait, kc.MaxAckPending = time.Minute, 10
	if _, err := js.UpdateConsumer(t.Context(), "CHAT_0", kc); err != nil {
		t.Fatal(err)
	}
	l := meshtest.Layout(1)
	l.Retention, l.MaxBytes = 2*time.Hour, 1<<30
	const want = `stream CHAT_0 description: mine → every event of the chats of partition 0, and their states
stream CHAT_0 max_age: 1h0m0s → 2h0m0s
stream CHAT_0 max_bytes: unlimited → 1073741824
stream CHAT_0 max_msg_size: 1048576 → unlimited
stream CHAT_0 duplicate_window: 1m0s → 2m0s
consumer fanout of CHAT_0 ack_wait: 1m0s → 12s
consumer fanout of CHAT_0 max_ack_pending: 10 → 2000
stream CURSOR_0 max_age: 1h0m0s → 2h0m0s`
	p := plan(t, b, l)
	if got := differs(p); got != want {
		t.Fatalf("got\n%s\nwant\n%s", got, want)
	}
	if err := b.Apply(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if got := differs(plan(t, b, l)); got != "" {
		t.Errorf("got\n%s\nwant nothing left", got)
	}
	if s, err = js.Stream(t.Context(), "CHAT_0"); err != nil {
		t.Fatal(err)
	}
	if c := s.CachedInfo().Config; c.Compression != jetstream.S2Compression || c.Metadata["mine"] != "x" {
		t.Errorf("got %+v; want what the layout says nothing about as it was", c)
	}
}

func TestWhatWouldLoseDataIsRefusedWithTheReasonAndChangesNothing(t *testing.T) {
	for name, c := range map[string]struct {
		stream string
		make   func(*jetstream.StreamConfig)
		want   string
	}{
		"storage":  {"CHAT_0", func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage }, "storage cannot be changed from Memory to File"},
		"subjects": {"CHAT_0", func(c *jetstream.StreamConfig) { c.Subjects = []string{"chat.0.*.log"} }, "subjects cannot be changed"},
		"retention": {"CURSOR_0", func(c *jetstream.StreamConfig) { c.Retention = jetstream.InterestPolicy },
			"retention cannot be changed"},
		"deny delete": {"CHAT_0", func(c *jetstream.StreamConfig) { c.DenyDelete = true }, "deny_delete cannot be changed"},
		"a limit of messages": {"KV_lastseen", func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 5 },
			"max_msgs_per_subject may not get smaller while something is stored"},
	} {
		t.Run(name, func(t *testing.T) {
			_, b := laid(t, 1)
			js := b.JetStream()
			s, err := js.Stream(t.Context(), c.stream)
			if err != nil {
				t.Fatal(err)
			}
			cfg := s.CachedInfo().Config
			c.make(&cfg)
			if err := js.DeleteStream(t.Context(), c.stream); err != nil {
				t.Fatal(err)
			}
			if _, err := js.CreateStream(t.Context(), cfg); err != nil {
				t.Fatal(err)
			}
			subj := map[string]string{"CHAT_0": "chat.0.c1.log", "CURSOR_0": "cursor.0.c1.u1", "KV_lastseen": "$KV.lastseen.u1"}[c.stream]
			publish(t, b, subj, "x")
			before := inventory(t, b)
			p := plan(t, b, meshtest.Layout(1))
			if got := differs(p); !strings.Contains(got, c.want) {
				t.Errorf("got\n%s\nwant %q", got, c.want)
			}
			if err := b.Ensure(t.Context(), meshtest.Layout(1)); !errors.Is(err, bus.ErrLayout) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v; want %v with the reason", err, bus.ErrLayout)
			}
			checkSame(t, before, inventory(t, b))
		})
	}
}

func TestFewerCopiesAreRefused(t *testing.T) {
	c := meshtest.NewCluster(t)
	b := c.Bus(t)
	l := meshtest.Layout(1)
	l.Replicas = 3
	meshtest.Eventually(t, patience, "the broker answers", func() bool { return b.Ensure(t.Context(), l) == nil })
	l.Replicas = 1
	if err := b.Ensure(t.Context(), l); !errors.Is(err, bus.ErrLayout) || !strings.Contains(err.Error(), "replicas cannot be changed from 3 to 1") {
		t.Errorf("got %v; want it refused", err)
	}
}

// A shorter retention is refused as long as it would drop what the store does not have.
func TestAShorterRetentionWaitsForTheWorkers(t *testing.T) {
	_, b := laid(t, 1)
	publish(t, b, subject.Log(0, "c1"), "x")
	l := meshtest.Layout(1)
	l.Retention = time.Second
	meshtest.Eventually(t, patience, "the event is older than that", func() bool {
		p := plan(t, b, l)
		return strings.Contains(differs(p), "would drop events that the consumer persister has not worked off") &&
			strings.Contains(differs(p), "would drop events that the consumer fanout has not worked off")
	})
	if err := b.Ensure(t.Context(), l); !errors.Is(err, bus.ErrLayout) {
		t.Fatalf("got %v; want it refused", err)
	}
	for _, name := range []string{subject.FanOut, subject.Persister} {
		c, err := b.JetStream().Consumer(t.Context(), "CHAT_0", name)
		if err != nil {
			t.Fatal(err)
		}
		batch, err := c.Fetch(1, jetstream.FetchPriorityGroup(subject.PinGroup), jetstream.FetchMaxWait(patience))
		if err != nil {
			t.Fatal(err)
		}
		for m := range batch.Messages() {
			if err := m.DoubleAck(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := b.Ensure(t.Context(), l); err != nil {
		t.Fatalf("got %v; want it done, now that both have worked it off", err)
	}
}

func TestABoundUnderWhatIsStoredIsToldButLosesNothing(t *testing.T) {
	_, b := laid(t, 1)
	at := publish(t, b, subject.Log(0, "c1"), strings.Repeat("x", 10_000))
	l := meshtest.Layout(1)
	l.MaxBytes = 5000
	if got := differs(plan(t, b, l)); !strings.Contains(got, "stops: it holds 10") {
		t.Errorf("got\n%s\nwant it told", got)
	}
	meshtest.Ensure(t, b, l)
	if m, err := b.At(t.Context(), "CHAT_0", at); err != nil || len(m.Data) != 10_000 {
		t.Errorf("got %v; want the event kept", err)
	}
}

// Ended sessions are remembered for as long as a token that was made before may be good.
func TestABucketThatIsToForgetSoonerKeepsWhatItHas(t *testing.T) {
	_, b := laid(t, 1)
	if err := b.Keep(t.Context(), subject.LastSeen, "u1", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := b.Keep(t.Context(), subject.Revoked, "s1", []byte("x")); err != nil {
		t.Fatal(err)
	}
	l := meshtest.Layout(1)
	l.TokenTTL = time.Second - time.Minute // a minute is added
	meshtest.Eventually(t, patience, "the entry is older", func() bool {
		return strings.Contains(differs(plan(t, b, l)), "bucket revoked later: max_age stays 1h1m0s until no key is older than 1s")
	})
	meshtest.Ensure(t, b, l)
	if v, err := b.Key(t.Context(), subject.Revoked, "s1"); err != nil || string(v) != "x" {
		t.Errorf("got %q, %v; want the entry", v, err)
	}
}

func TestSeveralMayMakeTheLayoutAtOnce(t *testing.T) {
	m, _ := broker(t)
	var wg sync.WaitGroup
	errs := make([]error, 4)
	for i := range errs {
		b := m.Bus(t)
		wg.Go(func() { errs[i] = b.Ensure(t.Context(), meshtest.Layout(3)) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	if got := differs(plan(t, m.Bus(t), meshtest.Layout(3))); got != "" {
		t.Errorf("got\n%s\nwant nothing to do", got)
	}
}

func TestATeamsConsumersBeginWhereItIsSaidAndStayWhereTheyAre(t *testing.T) {
	_, b := laid(t, 2)
	for i := range 3 {
		publish(t, b, subject.Log(1, "c1"), fmt.Sprint(i))
		publish(t, b, subject.State(1, "c1"), "s")
	}
	apply := func(role, replay string) bus.Plan {
		t.Helper()
		s, err := bus.ParseStart(replay)
		if err != nil {
			t.Fatal(err)
		}
		p, err := b.PlanTeam(t.Context(), role, &s)
		if err == nil && p.Refused() == nil {
			err = b.Apply(t.Context(), p)
		}
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	for replay, want := range map[string]uint64{"all": 3, "new": 0, "4": 1, "2000-01-01T00:00:00Z": 3, "2100-01-01T00:00:00Z": 0} {
		role := "team-" + strings.NewReplacer(":", "", "-", "").Replace(strings.ToLower(replay))
		if p := apply(role, replay); p.Todo() != 2 {
			t.Errorf("%s: got\n%s\nwant a consumer for each partition", replay, differs(p))
		}
		c, err := b.JetStream().Consumer(t.Context(), "CHAT_1", role)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.CachedInfo().NumPending; got != want { // events only, no states
			t.Errorf("%s: got %d events; want %d", replay, got, want)
		}
		if p := apply(role, replay); len(p) != 0 {
			t.Errorf("%s again: got\n%s\nwant nothing to do", replay, differs(p))
		}
		if p, err := b.PlanTeam(t.Context(), role, nil); err != nil || len(p) != 0 {
			t.Errorf("%s looked at: got %v\n%s\nwant nothing to do", replay, err, differs(p))
		}
	}
	if p := apply("team-all", "new"); p.Refused() == nil || !strings.Contains(differs(p), "deliver cannot be changed from all to new") {
		t.Errorf("got\n%s\nwant it refused", differs(p))
	}
	if _, err := b.PlanTeam(t.Context(), "team-none", nil); !errors.Is(err, bus.ErrNotFound) {
		t.Errorf("got %v; want %v", err, bus.ErrNotFound)
	}
	for _, bad := range []string{"", "0", "-1", "ALL", "yesterday", "2026-11-01"} {
		if _, err := bus.ParseStart(bad); err == nil {
			t.Errorf("%q was taken for a beginning", bad)
		}
	}
}

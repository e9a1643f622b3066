package bus_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/meshtest"
	"github.com/chatmesh/chatmesh/pkg/subject"
)

// work is what a worker was given and told.
type work struct {
	mu      sync.Mutex // guards the following fields
	batches [][]uint64
	states  []string
	first   map[uint64]time.Time // when each event was handled first
	actives []string
}

func (w *work) do(fn func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	fn()
}

// handled lists what was handled, in order.
func (w *work) handled() (out []uint64) {
	w.do(func() { out = slices.Concat(w.batches...) })
	return out
}

func (w *work) has(seq uint64) bool { return slices.Contains(w.handled(), seq) }

func (w *work) told() (out []string) {
	w.do(func() { out = slices.Clone(w.states) })
	return out
}

// start runs a worker of a consumer. handle, if given, is asked before a batch counts as handled. stop ends it and waits.
func start(t *testing.T, b *bus.Bus, stream, consumer string, batch int, handle func(ctx context.Context, d []bus.Delivery) error) (w *work, stop func()) {
	t.Helper()
	w = &work{first: map[uint64]time.Time{}}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- b.Work(ctx, bus.Worker{Stream: stream, Consumer: consumer, Batch: batch,
			Handle: func(ctx context.Context, d []bus.Delivery) error {
				if handle != nil {
					if err := handle(ctx, d); err != nil {
						return err
					}
				}
				w.do(func() {
					var seqs []uint64
					for _, x := range d {
						seqs = append(seqs, x.Stream)
						if _, ok := w.first[x.Stream]; !ok {
							w.first[x.Stream] = time.Now()
						}
					}
					w.batches = append(w.batches, seqs)
				})
				return nil
			},
			OnState: func(err error) { w.do(func() { w.states = append(w.states, fmt.Sprint(err)) }) },
			OnActive: func(_ context.Context, first, last uint64) error {
				w.do(func() { w.actives = append(w.actives, fmt.Sprintf("%d-%d", first, last)) })
				return nil
			},
		})
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("a worker that is stopped: got %v; want no error", err)
			}
		case <-time.After(patience):
			t.Error("a worker that is stopped does not end")
		}
	})
	t.Cleanup(stop)
	return w, stop
}

// consumer makes a consumer WORK of the stream TEST, like those of the layout but for its patience.
func consumer(t *testing.T, b *bus.Bus, ackWait time.Duration) {
	t.Helper()
	stream(t, b, nil)
	if _, err := b.JetStream().CreateConsumer(t.Context(), "TEST", jetstream.ConsumerConfig{Durable: "WORK", AckPolicy: jetstream.AckExplicitPolicy,
		AckWait: ackWait, MaxDeliver: -1, MaxAckPending: bus.MaxPending, PriorityPolicy: jetstream.PriorityPolicyPinned,
		PriorityGroups: []string{subject.PinGroup}, PinnedTTL: 4 * time.Second}); err != nil {
		t.Fatal(err)
	}
}

// neverAgain sets a consumer of the layout to deliver nothing again for longer than a test takes, and to leave a worker pinned for a while
// though the machine keeps it from asking: what another worker gets then, it gets because the first has given it up or fell silent.
func neverAgain(t *testing.T, b *bus.Bus, stream, name string) {
	t.Helper()
	c, err := b.JetStream().Consumer(t.Context(), stream, name)
	if err != nil {
		t.Fatal(err)
	}
	cfg := c.CachedInfo().Config
	cfg.AckWait, cfg.PinnedTTL = time.Hour, 8*time.Second
	if _, err := b.JetStream().UpdateConsumer(t.Context(), stream, cfg); err != nil {
		t.Fatal(err)
	}
}

// fill publishes n events.
func fill(t *testing.T, b *bus.Bus, subj string, n int) {
	t.Helper()
	for n > 0 {
		batch := make([]*nats.Msg, min(n, 500))
		for i := range batch {
			batch[i] = msg(subj, "x")
		}
		if _, err := b.PublishAtomic(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
		n -= len(batch)
	}
}

func upTo(first, last int) (out []uint64) {
	for i := first; i <= last; i++ {
		out = append(out, uint64(i))
	}
	return out
}

// open is how many events of a consumer are not acknowledged.
func open(t *testing.T, b *bus.Bus, stream, consumer string) int {
	t.Helper()
	c, err := b.JetStream().Consumer(t.Context(), stream, consumer)
	if err != nil {
		t.Fatal(err)
	}
	i := c.CachedInfo()
	return i.NumAckPending + int(i.NumPending)
}

func TestEventsAreHandledInOrderInBatchesAndAcknowledged(t *testing.T) {
	_, b := broker(t)
	consumer(t, b, 30*time.Second)
	fill(t, b, "test.a", 2500)
	w, _ := start(t, b, "TEST", "WORK", 100, nil)
	meshtest.Eventually(t, patience, "2,500 events are handled", func() bool { return len(w.handled()) >= 2500 })
	fill(t, b, "test.a", 500)
	meshtest.Eventually(t, patience, "500 more are handled and all acknowledged", func() bool {
		return len(w.handled()) >= 3000 && open(t, b, "TEST", "WORK") == 0
	})
	if got := w.handled(); !slices.Equal(got, upTo(1, 3000)) {
		t.Fatalf("got %d events, %v…; want 1 to 3000, each once", len(got), got[:10])
	}
	w.do(func() {
		for _, batch := range w.batches {
			if len(batch) == 0 || len(batch) > 100 {
				t.Errorf("got a batch of %d; want 1 to 100", len(batch))
			}
		}
	})
	if got := w.told(); len(got) != 0 {
		t.Errorf("got the states %v; want none", got)
	}
}

func TestBatchThatFailsIsHandledAgainAfterGrowingPausesBeforeAnyOther(t *testing.T) {
	_, b := broker(t)
	consumer(t, b, 30*time.Second)
	fill(t, b, "test.a", 25)
	var at []time.Time
	var tried [][]uint64
	w, stop := start(t, b, "TEST", "WORK", 10, func(_ context.Context, d []bus.Delivery) error {
		if len(at) == 5 {
			return nil
		}
		at = append(at, time.Now())
		var seqs []uint64
		for _, x := range d {
			seqs = append(seqs, x.Stream)
		}
		if tried = append(tried, seqs); len(at) < 5 {
			return fmt.Errorf("store away %d", len(at))
		}
		return nil
	})
	meshtest.Eventually(t, patience, "all are handled", func() bool { return len(w.handled()) >= 25 && open(t, b, "TEST", "WORK") == 0 })
	stop()
	for i, seqs := range tried {
		if !slices.Equal(seqs, tried[0]) || seqs[0] != 1 {
			t.Errorf("attempt %d: got %v; want the first batch again, %v", i, seqs, tried[0])
		}
	}
	for i := 1; i < len(at); i++ {
		if pause, least := at[i].Sub(at[i-1]), 25*time.Millisecond<<(i-1); pause < least {
			t.Errorf("pause %d: got %v; want at least %v", i, pause, least)
		}
	}
	if got := w.handled(); !slices.Equal(got, upTo(1, 25)) {
		t.Errorf("got %v; want 1 to 25 in order, each once", got)
	}
	if got, want := w.told(), []string{"store away 1", "store away 2", "store away 3", "store away 4", "<nil>"}; !slices.Equal(got, want) {
		t.Errorf("got the states %q; want %q", got, want)
	}
}

// stuck is a handler that begins and does not end before its context or its release.
func stuck() (handle func(context.Context, []bus.Delivery) error, begun chan struct{}) {
	begun = make(chan struct{})
	once := sync.OnceFunc(func() { close(begun) })
	return func(ctx context.Context, _ []bus.Delivery) error {
		once()
		<-ctx.Done()
		return ctx.Err()
	}, begun
}

func waitFor(t *testing.T, what string, ch <-chan struct{}) {
	t.Helper()
	select {
	case <-ch:
	case <-time.After(patience):
		t.Fatalf("not within %v: %s", patience, what)
	}
}

// At a restart of a service another worker goes on at once, also with what the first had in its hands.
func TestWorkerThatIsStoppedGivesBackWhatItHasNotHandled(t *testing.T) {
	m, b := laid(t, 1)
	neverAgain(t, b, subject.ChatStream(0), subject.Persister)
	fill(t, b, subject.Log(0, "c1"), 1500)
	handle, begun := stuck()
	first, stop := start(t, m.Bus(t), subject.ChatStream(0), subject.Persister, 500, handle)
	waitFor(t, "the first has a batch", begun)
	second, _ := start(t, m.Bus(t), subject.ChatStream(0), subject.Persister, 500, nil)
	stop()
	at := time.Now()
	meshtest.Eventually(t, patience, "the second handles all", func() bool {
		return len(second.handled()) >= 1500 && open(t, b, subject.ChatStream(0), subject.Persister) == 0
	})
	t.Logf("the second had handled all %v after the first was stopped", time.Since(at))
	got := second.handled()
	slices.Sort(got)
	if got = slices.Compact(got); !slices.Equal(got, upTo(1, 1500)) || len(first.handled()) > 0 {
		t.Errorf("got %d events handled by the second, %d by the first; want all 1,500 by the second", len(got), len(first.handled()))
	}
}

func TestOfTwoWorkersOneIsActiveAndTheOtherTakesOverWhenItDies(t *testing.T) {
	m, b := laid(t, 1)
	dying, living := m.Bus(t), m.Bus(t)
	stream, subj := subject.ChatStream(0), subject.Log(0, "c1")
	neverAgain(t, b, stream, subject.Persister)
	first, _ := start(t, dying, stream, subject.Persister, 0, nil)
	publish(t, b, subj, "x")
	meshtest.Eventually(t, patience, "the first is active", func() bool { return first.has(1) })
	second, _ := start(t, living, stream, subject.Persister, 0, nil)
	for range 200 {
		publish(t, b, subj, "x")
	}
	meshtest.Eventually(t, patience, "200 events are handled", func() bool { return len(first.handled()) == 201 && open(t, b, stream, subject.Persister) == 0 })
	if got := second.handled(); len(got) > 0 {
		t.Fatalf("got %v handled by the worker that waits", got)
	}
	connected := m.NumClients()
	dying.Close()
	died := time.Now()
	meshtest.Eventually(t, patience, "the broker knows", func() bool { return m.NumClients() < connected }) // else it may still give it the next
	last := publish(t, b, subj, "y")
	meshtest.Eventually(t, patience, "the other takes over", func() bool { return second.has(last) })
	t.Logf("taken over in %v", time.Since(died))
	if got := second.handled(); !slices.Equal(got, []uint64{last}) {
		t.Errorf("got %v; want only what the first had not acknowledged", got)
	}
}

func TestWorkerThatTakesOverLearnsWhatItsPredecessorHadInHand(t *testing.T) {
	m, b := broker(t)
	consumer(t, b, 2*time.Second)
	dying, living := m.Bus(t), m.Bus(t)
	handle, begun := stuck()
	fill(t, b, "test.a", 10)
	_, stop := start(t, dying, "TEST", "WORK", 0, handle)
	waitFor(t, "the first has a batch", begun)
	second, _ := start(t, living, "TEST", "WORK", 0, nil)
	dying.Close()
	died := time.Now()
	go stop()
	fill(t, b, "test.a", 10)
	meshtest.Eventually(t, patience, "the second handles what was in hand, too", func() bool {
		return open(t, b, "TEST", "WORK") == 0
	})
	t.Logf("all handled %v after the first died; delivered again after 2 s", time.Since(died))
	got := second.handled()
	slices.Sort(got)
	if got = slices.Compact(got); !slices.Equal(got, upTo(1, 20)) {
		t.Errorf("got %v; want 1 to 20", got)
	}
	second.do(func() {
		// The first event that comes may be one of those in hand, or the first new one. It is told again only where it lost its pin.
		if len(second.actives) == 0 || second.actives[0][:2] != "1-" {
			t.Errorf("got %v; want to be told of the events from 1 on", second.actives)
		}
	})
}

func TestWorkGoesOnAfterTheBrokerWasAwayAndNothingIsLostOrSkipped(t *testing.T) {
	m, b := broker(t)
	consumer(t, b, 2*time.Second)
	w, _ := start(t, m.Bus(t), "TEST", "WORK", 50, nil)
	var last uint64
	put := func(n int) {
		for range n {
			meshtest.Eventually(t, patience, "an event is stored", func() bool {
				a, err := b.Publish(within(t, time.Second), msg("test.a", "x"))
				last = a.Sequence
				return err == nil
			})
		}
	}
	for i := range 3 {
		put(100)
		m.Stop()
		back := time.Now()
		m.Start()
		put(1)
		meshtest.Eventually(t, patience, "the worker is back", func() bool { return w.has(last) })
		t.Logf("restart %d: at work again after %v", i+1, time.Since(back))
	}
	put(100)
	meshtest.Eventually(t, patience, "all are handled and acknowledged", func() bool { return w.has(last) && open(t, b, "TEST", "WORK") == 0 })
	seen := map[uint64]bool{}
	next := uint64(1)
	for _, seq := range w.handled() {
		if seq > next {
			t.Errorf("event %d was handled before %d", seq, next)
			break
		}
		seen[seq] = true
		for seen[next] {
			next++
		}
	}
	if next <= last {
		t.Errorf("got the events up to %d; want %d", next-1, last)
	}
}

func TestWhatIsInHandWhenTheBrokerGoesIsNeitherLostNorSilentlyPassedOver(t *testing.T) {
	m, b := broker(t)
	consumer(t, b, 2*time.Second)
	fill(t, b, "test.a", 10)
	begun, release := make(chan struct{}), make(chan struct{})
	once := sync.OnceFunc(func() { close(begun) })
	works := m.Bus(t)
	w, _ := start(t, works, "TEST", "WORK", 4, func(context.Context, []bus.Delivery) error {
		once()
		<-release
		return nil
	})
	waitFor(t, "a batch is in hand", begun)
	m.Stop()
	meshtest.Eventually(t, patience, "its connection is broken", func() bool { return works.Check(t.Context()) != nil })
	close(release) // it is handled, and cannot be acknowledged
	released := time.Now()
	meshtest.Eventually(t, patience, "the failure is told", func() bool { return len(w.told()) > 0 })
	if took := time.Since(released); took > 9*time.Second { // an answer to what it would give back comes never, and is waited for 10 s
		t.Errorf("the worker was busy for %v with what it cannot give back", took)
	}
	m.Start()
	back := time.Now()
	meshtest.Eventually(t, patience, "more is stored", func() bool {
		_, err := b.Publish(within(t, time.Second), msg("test.a", "x"))
		return err == nil
	})
	meshtest.Eventually(t, patience, "all are handled and acknowledged", func() bool { return w.has(11) && open(t, b, "TEST", "WORK") == 0 })
	got := w.handled()
	var actives []string
	w.do(func() { actives = w.actives })
	t.Logf("handled %v, all %v after the broker was back; told of %v", got, time.Since(back), actives)
	slices.Sort(got)
	if got = slices.Compact(got); !slices.Equal(got, upTo(1, 11)) {
		t.Errorf("got %v; want 1 to 11", got)
	}
	if told := w.told(); told[len(told)-1] != "<nil>" {
		t.Errorf("got the states %q; want it told that all is well again", told)
	}
	if n := len(actives); n == 0 || actives[n-1] != "1-10" && actives[n-1] != "1-11" {
		t.Errorf("got %v; want to be told that what was in hand may come late", actives)
	}
}

func TestWorkerOfAConsumerThatIsNotThereYetSaysSoAndWaits(t *testing.T) {
	_, b := broker(t)
	w, _ := start(t, b, "TEST", "WORK", 0, nil)
	meshtest.Eventually(t, patience, "the failure is told", func() bool { return len(w.told()) > 0 })
	consumer(t, b, 30*time.Second)
	meshtest.Eventually(t, patience, "it is told that all is well, before there is an event", func() bool {
		told := w.told()
		return told[len(told)-1] == "<nil>"
	})
	publish(t, b, "test.a", "x")
	meshtest.Eventually(t, patience, "it works", func() bool { return w.has(1) })
	// And one that somebody removes under its hands.
	if err := b.JetStream().DeleteConsumer(t.Context(), "TEST", "WORK"); err != nil {
		t.Fatal(err)
	}
	told := len(w.told())
	meshtest.Eventually(t, patience, "the failure is told again", func() bool { return len(w.told()) > told })
}

func TestPoisonIsPutAsideWithItsReasonAndOriginAndBlocksNobody(t *testing.T) {
	_, b := laid(t, 1)
	subj := subject.Log(0, "c1")
	for i := range 5 {
		if _, err := b.Publish(t.Context(), msg(subj, fmt.Sprintf("event %d", i+1), subject.HeaderSeq, fmt.Sprint(i+1), "X-Other", "no")); err != nil {
			t.Fatal(err)
		}
	}
	tries := 0
	w, _ := start(t, b, subject.ChatStream(0), subject.Persister, 0, func(ctx context.Context, d []bus.Delivery) error {
		tries++
		for _, x := range d {
			if x.Stream != 3 {
				continue
			}
			if err := b.DeadLetter(ctx, subject.Persister, 0, x, "no JSON"); err != nil {
				return err
			}
		}
		if tries == 1 {
			return errors.New("the store is away") // so that the same one is put aside twice
		}
		return nil
	})
	meshtest.Eventually(t, patience, "all are handled", func() bool { return len(w.handled()) >= 5 && open(t, b, subject.ChatStream(0), subject.Persister) == 0 })
	msgs, err := b.From(t.Context(), subject.DeadLetters, "dead.>", 1, 10, 0)
	if err != nil || len(msgs) != 1 {
		t.Fatalf("got %v, %v; want the one", bodies(msgs), err)
	}
	m := msgs[0]
	if m.Subject != "dead.persister.0" || string(m.Data) != "event 3" || m.Header.Get(subject.HeaderReason) != "no JSON" ||
		m.Header.Get(subject.HeaderOrigin) != subj+" 3" || m.Header.Get(subject.HeaderSeq) != "3" || m.Header.Get("X-Other") != "" {
		t.Fatalf("got %s %s with %v; want event 3 with its reason, origin and seq", m.Subject, m.Data, m.Header)
	}
}

func TestAWorkerThatLingersHandsOverFullBatches(t *testing.T) { lingers(t, time.Hour, 5, true) }

func TestAWorkerThatLingersHandsOverWhatCameInTime(t *testing.T) {
	lingers(t, 10*time.Millisecond, 500, false)
}

// lingers has a worker handle 5 events that come one by one.
func lingers(t *testing.T, linger time.Duration, batch int, atOnce bool) {
	_, b := broker(t)
	consumer(t, b, time.Minute)
	batches := make(chan int, 10)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- b.Work(ctx, bus.Worker{Stream: "TEST", Consumer: "WORK", Batch: batch, Linger: linger,
			Handle: func(_ context.Context, d []bus.Delivery) error { batches <- len(d); return nil }})
	}()
	for range 5 {
		fill(t, b, "test.a", 1)
	}
	for total := 0; total < 5; {
		select {
		case n := <-batches:
			if total += n; atOnce && n != 5 {
				t.Errorf("got a batch of %d; want all 5 at once", n)
			}
		case <-time.After(patience):
			t.Fatalf("only %d were handled", total)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

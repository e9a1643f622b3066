package bus_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/meshtest"
	"github.com/chatmesh/chatmesh/pkg/subject"
)

// threeBrokers are three broker processes with the streams of one partition, whose workers' consumers are in memory.
func threeBrokers(t *testing.T) (*meshtest.Processes, *bus.Bus) {
	t.Helper()
	t.Parallel()
	p := meshtest.StartProcesses(t)
	t.Cleanup(p.Close)
	b := p.Bus(t)
	meshtest.Eventually(t, patience, "the streams are made", func() bool { return b.Ensure(t.Context(), threeCopies()) == nil })
	for _, stream := range []string{subject.ChatStream(0), subject.KVStream(subject.Places)} {
		meshtest.Eventually(t, patience, "the leader of "+stream+" answers", func() bool {
			_, err := b.End(t.Context(), stream)
			return err == nil
		})
	}
	meshtest.Eventually(t, patience, "the consumer has a leader", func() bool { return persister(t, b) != nil })
	return p, b
}

// threeCopies is the layout of threeBrokers.
func threeCopies() bus.Layout {
	l := meshtest.Layout(1)
	l.Replicas = 3
	return l
}

// persister is how the persister's consumer is; nil while it does not answer.
func persister(t *testing.T, b *bus.Bus) *jetstream.ConsumerInfo {
	t.Helper()
	c, err := b.JetStream().Consumer(t.Context(), subject.ChatStream(0), subject.Persister)
	if err != nil {
		return nil
	}
	return c.CachedInfo()
}

// kept is what the bucket has for the persister, without the stream's life; "" while it has nothing or does not answer.
func kept(t *testing.T, b *bus.Bus) string {
	t.Helper()
	m, err := b.Last(t.Context(), subject.KVStream(subject.Places), subject.KV(subject.Places, subject.PlaceKey(subject.Persister, subject.ChatStream(0))))
	if err != nil || m == nil {
		return ""
	}
	seq, _, _ := strings.Cut(string(m.Data), " ")
	return seq
}

// orderFrom is what operators do to have the persister work again.
func orderFrom(t *testing.T, b *bus.Bus, seq int) {
	t.Helper()
	publish(t, b, subject.KV(subject.Places, subject.PlaceKey(subject.Persister, subject.ChatStream(0))), fmt.Sprint("from ", seq))
}

// store publishes n events, each again until it is stored, and returns the last one's sequence.
func store(t *testing.T, b *bus.Bus, n int) (last uint64) {
	t.Helper()
	for range n {
		meshtest.Eventually(t, patience, "an event is stored", func() bool {
			a, err := b.Publish(t.Context(), msg(subject.Log(0, "c1"), "x"))
			last = a.Sequence
			return err == nil
		})
	}
	return last
}

// load publishes events until it is stopped; then it returns the sequence of the last that was acknowledged.
func load(t *testing.T, b *bus.Bus) (stop func() uint64) {
	ctx, cancel := context.WithCancel(t.Context())
	var last uint64
	var running sync.WaitGroup
	running.Go(func() {
		for ctx.Err() == nil {
			if a, err := b.Publish(ctx, msg(subject.Log(0, "c1"), "x")); err == nil {
				last = a.Sequence
			}
			_ = bus.Sleep(ctx, 5*time.Millisecond)
		}
	})
	stop = func() uint64 { cancel(); running.Wait(); return last }
	t.Cleanup(func() { stop() })
	return stop
}

// killAll ends all brokers at once, as a power cut does, and starts them again.
func killAll(t *testing.T, p *meshtest.Processes) {
	t.Helper()
	var killed sync.WaitGroup
	for i := range 3 {
		killed.Go(func() { p.Kill(i) })
	}
	killed.Wait()
	for i := range 3 {
		p.Start(t, i)
	}
}

// onceEach fails where an event up to last was not handled, or one up to place more than once.
func onceEach(t *testing.T, handled []uint64, place, last uint64) {
	t.Helper()
	times := map[uint64]int{}
	for _, seq := range handled {
		times[seq]++
	}
	for seq := uint64(1); seq <= last; seq++ {
		if times[seq] == 0 || seq <= place && times[seq] > 1 {
			t.Fatalf("event %d of %d was handled %d times; want at least once, and once up to %d, which was kept", seq, last, times[seq], place)
		}
	}
	t.Logf("%d events of %d were handled again, all behind %d", len(handled)-len(times), last, place)
}

func number(t *testing.T, text string) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("got the place %q; want a number", text)
	}
	return n
}

func TestWhenAllBrokersEndAtOnceAWorkerGoesOnAtItsPlaceAndTheGuardKnowsIt(t *testing.T) {
	p, b := threeBrokers(t)
	fill(t, b, subject.Log(0, "c1"), 3000)
	w, stop := start(t, b, subject.ChatStream(0), subject.Persister, 100, nil)
	end := load(t, b)
	meshtest.Eventually(t, patience, "a place behind 3,000 is kept", func() bool { n, _ := strconv.Atoi(kept(t, b)); return n > 3000 })
	place := number(t, kept(t, b))
	killAll(t, p)
	before := slices.Max(w.handled())
	meshtest.Eventually(t, 2*patience, "new events are stored and handled", func() bool { return slices.Max(w.handled()) > before+50 })
	last := end()
	meshtest.Eventually(t, patience, "the last event is handled", func() bool { return w.has(last) })
	// An event may be stored whose answer nobody waited for.
	meshtest.Eventually(t, patience, "all is kept", func() bool {
		stored, err := b.End(t.Context(), subject.ChatStream(0))
		last = max(last, stored)
		return err == nil && kept(t, b) == fmt.Sprint(last)
	})
	stop()
	onceEach(t, w.handled(), place, last)

	killAll(t, p)
	meshtest.Eventually(t, patience, "the consumer answers", func() bool { return persister(t, b) != nil })
	if at := persister(t, b).AckFloor.Stream; at >= last {
		t.Fatalf("the consumer says %d; want it to have forgotten %d, or this test shows nothing", at, last)
	}
	meshtest.Eventually(t, patience, "the oldest event that waits is known", func() bool {
		age, err := b.OldestPending(t.Context(), subject.ChatStream(0), subject.Persister)
		if err == nil && age != 0 {
			t.Fatalf("an event of %v ago waits; want none, for the place covers all", age)
		}
		return err == nil
	})
	if at, err := b.Acked(t.Context(), subject.ChatStream(0), subject.Persister); err != nil || at != last {
		t.Errorf("got %d, %v acknowledged; want %d", at, err, last)
	}
	again, _ := start(t, b, subject.ChatStream(0), subject.Persister, 100, nil)
	next := store(t, b, 1)
	meshtest.Eventually(t, patience, "a new event is handled", func() bool { return again.has(next) })
	if got := again.handled(); got[0] <= last {
		t.Errorf("a worker that starts later is given %d; want none up to %d", got[0], last)
	}
}

func TestOneBrokerAfterTheOtherIsRestartedAndNoConsumerForgets(t *testing.T) {
	p, b := threeBrokers(t)
	w, _ := start(t, b, subject.ChatStream(0), subject.Persister, 100, nil)
	last := store(t, b, 50)
	meshtest.Eventually(t, patience, "all is acknowledged and kept", func() bool { return kept(t, b) == fmt.Sprint(last) })
	for i := range 3 {
		p.Kill(i)
		p.Start(t, i)
		meshtest.Eventually(t, 2*patience, "all copies of the consumer are there again", func() bool {
			c := persister(t, b)
			return c != nil && c.Cluster != nil && c.Cluster.Leader != "" && len(c.Cluster.Replicas) == 2 &&
				!slices.ContainsFunc(c.Cluster.Replicas, func(r *jetstream.PeerInfo) bool { return !r.Current || r.Offline })
		})
		if at := persister(t, b).AckFloor.Stream; at < last {
			t.Fatalf("after broker %d the consumer says %d; want %d", i, at, last)
		}
		last = store(t, b, 5)
		meshtest.Eventually(t, patience, "what is new is acknowledged", func() bool { i := persister(t, b); return i != nil && i.AckFloor.Stream == last })
	}
	onceEach(t, w.handled(), 50, last)
}

func TestNoPlaceIsAheadOfWhatWasAcknowledgedWhenAWorkerFailsOrIsStopped(t *testing.T) {
	_, b := threeBrokers(t)
	last := store(t, b, 40)
	failing := make(chan struct{})
	w, stop := start(t, b, subject.ChatStream(0), subject.Persister, 10, func(_ context.Context, d []bus.Delivery) error {
		if d[0].Stream <= 10 {
			return nil
		}
		select {
		case failing <- struct{}{}:
		default:
		}
		return errors.New("the store is away")
	})
	waitFor(t, "a batch fails", failing)
	waitFor(t, "it fails again", failing)
	meshtest.Eventually(t, patience, "what was handled is kept", func() bool { return kept(t, b) == fmt.Sprint(slices.Max(w.handled())) })
	stop()
	place := number(t, kept(t, b))
	if got := w.handled(); !slices.Equal(got, upTo(1, int(place))) {
		t.Errorf("got %v handled; want 1 to %d, which is kept", got, place)
	}
	w, _ = start(t, b, subject.ChatStream(0), subject.Persister, 10, nil)
	meshtest.Eventually(t, patience, "the rest is handled", func() bool { return w.has(last) && w.has(place+1) })
	if w.has(place) {
		t.Errorf("%d is handled again, up to which all was acknowledged", place)
	}
}

func TestAnOperatorsReplayIsDoneByAWorkerThatRunsAndByOneThatStartsLater(t *testing.T) {
	_, b := threeBrokers(t)
	w, stop := start(t, b, subject.ChatStream(0), subject.Persister, 10, nil)
	last := store(t, b, 30)
	meshtest.Eventually(t, patience, "all is kept", func() bool { return kept(t, b) == fmt.Sprint(last) })
	orderFrom(t, b, 11)
	again := func(w *work, from uint64) func() bool {
		return func() bool {
			h := w.handled()
			at := slices.Index(h[min(len(h), int(last)):], from)
			return at >= 0 && slices.Contains(h[int(last)+at:], last) && kept(t, b) == fmt.Sprint(last)
		}
	}
	meshtest.Eventually(t, patience, "the worker that runs begins again at 11, though nothing new comes", again(w, 11))
	if h := w.handled(); slices.Contains(h[last:], 10) {
		t.Errorf("got %v; want nothing before 11 again", h[last:])
	}
	stop()
	orderFrom(t, b, 21)
	later, _ := start(t, b, subject.ChatStream(0), subject.Persister, 10, nil)
	meshtest.Eventually(t, patience, "a worker that starts later begins at 21", func() bool { return later.has(21) && later.has(last) && kept(t, b) == fmt.Sprint(last) })
	if got := later.handled(); slices.Min(got) != 21 {
		t.Errorf("got %v; want 21 to %d", got, last)
	}
	orderFrom(t, b, 1000)
	meshtest.Eventually(t, patience, "an order to skip something is done away with", func() bool { return kept(t, b) == fmt.Sprint(last) })
	next := store(t, b, 1)
	meshtest.Eventually(t, patience, "nothing is skipped", func() bool { return later.has(next) })
}

func TestWhenTwoOfThreeBrokersForgetAWorkerThatRunsGoesOnAtItsPlace(t *testing.T) {
	p, b := threeBrokers(t)
	w, _ := start(t, b, subject.ChatStream(0), subject.Persister, 100, nil)
	end := load(t, b)
	meshtest.Eventually(t, patience, "a place is kept", func() bool { n, _ := strconv.Atoi(kept(t, b)); return n > 50 })
	for i := range 3 {
		place := number(t, kept(t, b))
		var killed sync.WaitGroup
		for _, j := range []int{i, (i + 1) % 3} {
			killed.Go(func() { p.Kill(j) })
		}
		killed.Wait()
		before := w.handled()
		for _, j := range []int{i, (i + 1) % 3} {
			p.Start(t, j)
		}
		meshtest.Eventually(t, 2*patience, "new events are handled and kept", func() bool {
			n, _ := strconv.ParseUint(kept(t, b), 10, 64)
			return n > slices.Max(before)+20
		})
		for _, seq := range w.handled()[len(before):] {
			if seq <= place {
				t.Fatalf("%d is handled again, though %d was kept", seq, place)
			}
		}
	}
	last := end()
	meshtest.Eventually(t, patience, "the last event is handled", func() bool { return w.has(last) })
	onceEach(t, w.handled(), 0, last)
}

func TestThePlaceInAnotherStreamOrBehindTheEndIsNotBelieved(t *testing.T) {
	_, b := threeBrokers(t)
	last := store(t, b, 30)
	s, err := b.JetStream().Stream(t.Context(), subject.ChatStream(0))
	if err != nil {
		t.Fatal(err)
	}
	life := s.CachedInfo().Created.UTC().Format(time.RFC3339Nano)
	for worker, place := range map[string]string{subject.Persister: "25 2001-02-03T04:05:06Z", subject.FanOut: "31 " + life} {
		publish(t, b, subject.KV(subject.Places, subject.PlaceKey(worker, subject.ChatStream(0))), place)
		w, _ := start(t, b, subject.ChatStream(0), worker, 10, nil)
		meshtest.Eventually(t, patience, "all is handled, from the beginning", func() bool { return w.has(1) && w.has(last) })
	}
	meshtest.Eventually(t, patience, "the right place stands there", func() bool { return kept(t, b) == fmt.Sprint(last) })
}

package bus_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/meshtest"
	"github.com/chatmesh/chatmesh/pkg/subject"
)

// parts counts how many partitions each node has.
func parts(owners []string) map[string]int {
	n := map[string]int{}
	for _, o := range owners {
		n[o]++
	}
	return n
}

func TestEveryNodeGetsAsManyPartitionsAsAnyOtherOrOneMore(t *testing.T) {
	t.Parallel()
	if got := bus.Divide(nil, 4); got != nil {
		t.Errorf("without nodes: got %v; want nothing", got)
	}
	for nodes := 1; nodes <= 20; nodes++ {
		var names []string
		for i := range nodes {
			names = append(names, fmt.Sprintf("node-%02d", i))
		}
		for _, partitions := range []int{1, 2, 3, 4, 7, 8, 64, 100, 1024} {
			got := bus.Divide(names, partitions)
			n := parts(got)
			for _, name := range names {
				if n[name] != partitions/nodes && n[name] != (partitions+nodes-1)/nodes {
					t.Errorf("%d nodes, %d partitions: %s has %d", nodes, partitions, name, n[name])
				}
			}
			if len(got) != partitions || !slices.Equal(got, bus.Divide(names, partitions)) {
				t.Errorf("%d nodes, %d partitions: got %d owners, or others the second time", nodes, partitions, len(got))
			}
		}
	}
}

func TestANodeThatGoesMovesLittleMoreThanItsOwnPartitions(t *testing.T) {
	t.Parallel()
	names := []string{"a", "b", "c", "d", "e", "f", "g", "h"}
	before := bus.Divide(names, 1024)
	for i, gone := range names {
		after := bus.Divide(slices.Delete(slices.Clone(names), i, i+1), 1024)
		moved := 0
		for p := range before {
			if before[p] != gone && before[p] != after[p] {
				moved++
			}
		}
		t.Logf("without %s, %d of the others' 896 partitions move", gone, moved)
		if moved > 256 {
			t.Errorf("without %s, %d of the others' 896 partitions move; want most to stay", gone, moved)
		}
	}
}

// handling is who handled which event, in order, of all replicas.
type handling struct {
	mu   sync.Mutex // guards the following fields
	by   map[int]string
	seqs map[int][]uint64
	at   map[int]time.Time
}

func newHandling() *handling {
	return &handling{by: map[int]string{}, seqs: map[int][]uint64{}, at: map[int]time.Time{}}
}

func (h *handling) note(partition int, node string, batch []bus.Delivery) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.by[partition], h.at[partition] = node, time.Now()
	for _, d := range batch {
		h.seqs[partition] = append(h.seqs[partition], d.Stream)
	}
}

// owners lists by whom the last event of each partition was handled.
func (h *handling) owners(partitions int) (out []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for p := range partitions {
		out = append(out, h.by[p])
	}
	return out
}

// replica runs the workers of all partitions as a node of the persister. die ends their connection without a farewell, stop ends it
// in order. The node is announced over another connection, so that it counts as there until stop.
type replica struct {
	bus       *bus.Bus
	stop, die func()
}

func startReplica(t *testing.T, m *meshtest.Broker, h *handling, node string, partitions int) *replica {
	t.Helper()
	r := &replica{bus: m.Bus(t)}
	shares := r.bus.NewShares("persister", node, partitions)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	voice := m.Bus(t)
	wg.Go(func() { voice.Announce(ctx, bus.Node{Service: "persister", Node: node}, nil) })
	wg.Go(func() { shares.Run(ctx) })
	for p := range partitions {
		wg.Go(func() {
			err := r.bus.Work(ctx, bus.Worker{Stream: subject.ChatStream(p), Consumer: subject.Persister, Shares: shares, Partition: p,
				Handle: func(_ context.Context, batch []bus.Delivery) error { h.note(p, node, batch); return nil }})
			if err != nil {
				t.Errorf("%s, partition %d: %v", node, p, err)
			}
		})
	}
	r.stop = sync.OnceFunc(func() { cancel(); wg.Wait() })
	r.die = r.bus.Close
	t.Cleanup(r.stop)
	return r
}

// traffic publishes an event to each partition, again and again, until the test ends. It returns how many each has.
func traffic(t *testing.T, m *meshtest.Broker, partitions int) (stop func() []uint64) {
	t.Helper()
	b := m.Bus(t)
	ctx, cancel := context.WithCancel(context.Background())
	last, done := make([]uint64, partitions), make(chan struct{})
	go func() {
		defer close(done)
		for bus.Sleep(ctx, 20*time.Millisecond) == nil {
			for p := range partitions {
				a, err := b.Publish(context.Background(), msg(subject.Log(p, "c1"), "x"))
				if err != nil {
					t.Errorf("publish: %v", err)
					return
				}
				last[p] = a.Sequence
			}
		}
	}()
	end := sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(end)
	return func() []uint64 { end(); return last }
}

// settle waits until the given nodes share the partitions fairly, and returns how long that took.
func settle(t *testing.T, h *handling, partitions int, nodes ...string) time.Duration {
	t.Helper()
	began := time.Now()
	want := bus.Divide(nodes, partitions)
	meshtest.Eventually(t, 2*patience, fmt.Sprintf("%v share %d partitions as %v", nodes, partitions, want), func() bool {
		return slices.Equal(h.owners(partitions), want)
	})
	return time.Since(began)
}

// each checks that every event was handled, the first time in order.
func (h *handling) each(t *testing.T, last []uint64) {
	t.Helper()
	meshtest.Eventually(t, 2*patience, "the last events are handled", func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		for p, seq := range last {
			if !slices.Contains(h.seqs[p], seq) {
				return false
			}
		}
		return true
	})
	h.mu.Lock()
	defer h.mu.Unlock()
	for p, seqs := range h.seqs {
		next, doubles := uint64(1), 0
		for _, s := range seqs {
			switch {
			case s == next:
				next++
			case s < next:
				doubles++
			}
		}
		if next != last[p]+1 {
			t.Errorf("partition %d: after %d comes none in order; want all up to %d", p, next-1, last[p])
		}
		t.Logf("partition %d: %d events, %d of them handled twice", p, last[p], doubles)
	}
}

func TestReplicasShareThePartitionsAndDivideThemAnewWhenOneGoesOrComes(t *testing.T) {
	const partitions = 8
	m, _ := laid(t, partitions)
	h := newHandling()
	stopTraffic := traffic(t, m, partitions)
	startReplica(t, m, h, "a", partitions)
	t.Logf("one has all after %v", settle(t, h, partitions, "a"))
	b := startReplica(t, m, h, "b", partitions)
	startReplica(t, m, h, "c", partitions)
	t.Logf("three share after %v", settle(t, h, partitions, "a", "b", "c"))

	var all []time.Duration
	for range 10 {
		b.stop()
		took := settle(t, h, partitions, "a", "c")
		b = startReplica(t, m, h, "b", partitions)
		t.Logf("one has stopped in order: its part is taken over in %v; it is back, and has it again after %v", took,
			settle(t, h, partitions, "a", "b", "c"))
		all = append(all, took)
	}
	// Who does not say goodbye is missed after 4 s.
	if slices.Sort(all); all[len(all)/2] > 3*time.Second {
		t.Errorf("it took %v; want it at once", all)
	}
	h.each(t, stopTraffic())
}

// Its silence is noticed, seconds before the node is missed: here the node stays.
func TestThePartOfAReplicaThatDiesIsTakenOverBeforeItsNodeIsMissed(t *testing.T) {
	const partitions = 8
	m, _ := laid(t, partitions)
	h := newHandling()
	stopTraffic := traffic(t, m, partitions)
	startReplica(t, m, h, "a", partitions)
	b := startReplica(t, m, h, "b", partitions)
	startReplica(t, m, h, "c", partitions)
	settle(t, h, partitions, "a", "b", "c")

	died := time.Now()
	b.die()
	worst := time.Duration(0)
	for p, owner := range bus.Divide([]string{"a", "b", "c"}, partitions) {
		if owner != "b" {
			continue
		}
		meshtest.Eventually(t, 2*patience, "somebody else handles its partition", func() bool { return h.owners(partitions)[p] != "b" })
		worst = max(worst, time.Since(died))
	}
	t.Logf("its part is taken over in %v", worst)
	b.stop()
	t.Logf("and divided anew after %v", settle(t, h, partitions, "a", "c")+worst)
	startReplica(t, m, h, "b", partitions)
	t.Logf("back, it has its part again after %v", settle(t, h, partitions, "a", "b", "c"))
	h.each(t, stopTraffic())
}

// A node that is there and does not work, for whatever reason, must not keep its partitions from those that do.
func TestThePartOfAReplicaThatLivesAndDoesNotWorkIsDoneByAnother(t *testing.T) {
	const partitions = 4
	m, b := laid(t, partitions)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { b.Announce(ctx, bus.Node{Service: "persister", Node: "idle"}, nil) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	h := newHandling()
	startReplica(t, m, h, "a", partitions)
	stopTraffic := traffic(t, m, partitions)
	began := time.Now()
	meshtest.Eventually(t, patience, "one node works on all partitions", func() bool {
		return slices.Equal(h.owners(partitions), []string{"a", "a", "a", "a"})
	})
	t.Logf("after %v", time.Since(began))
	h.each(t, stopTraffic())
}

func TestWhereTheNodesCannotBeReadAnybodyWorks(t *testing.T) {
	const partitions = 4
	m, b := laid(t, partitions)
	if err := b.JetStream().DeleteKeyValue(t.Context(), subject.Nodes); err != nil {
		t.Fatal(err)
	}
	h := newHandling()
	startReplica(t, m, h, "a", partitions)
	startReplica(t, m, h, "b", partitions)
	stopTraffic := traffic(t, m, partitions)
	began := time.Now()
	meshtest.Eventually(t, patience, "all partitions are worked on", func() bool { return !slices.Contains(h.owners(partitions), "") })
	t.Logf("after %v", time.Since(began))
	h.each(t, stopTraffic())
}

package bus

import (
	"context"
	"errors"
	"hash/fnv"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/chatmesh/chatmesh/pkg/subject"
)

// Shares divides the partitions among the nodes of a service that live, as the bucket of nodes has them: each gets as many as any
// other, or one more, and all nodes that see the same nodes come to the same division. It is a preference, not a lock: of the
// workers of a consumer the broker lets one work at a time whatever Shares says, and where the bucket cannot be read anybody works.
type Shares struct {
	b             *Bus
	service, node string
	partitions    int

	mu      sync.Mutex // guards the following fields
	nodes   map[string]beat
	loading map[string]beat // what a watch that begins anew has told so far; nil otherwise
	live    []string        // whom owners was made for
	owners  []string        // by partition; nil while it is not known
	changed chan struct{}   // closed when owners changes
}

// beat is when a node was heard of last, and at which revision of its key.
type beat struct {
	at       time.Time
	revision uint64
}

// Times of Shares.
const (
	// firstView is how long a worker that is about to begin waits for the nodes to be known; then it works in any case.
	firstView = 3 * time.Second
	// staleView is after which silence of this node's own key, which it sets every nodeBeat, the view is believed no more.
	staleView = NodeTTL + nodeBeat
	// leastTerm is how long a worker that stands in for another works at least before it makes room; each time that the other
	// does not do the work it is doubled, up to mostTerm.
	leastTerm = nodeBeat
	mostTerm  = time.Minute
)

// NewShares makes the shares of a service, of which node is one. The service and the node announce themselves (Announce).
func (b *Bus) NewShares(service, node string, partitions int) *Shares {
	return &Shares{b: b, service: service, node: node, partitions: partitions, nodes: map[string]beat{}, changed: make(chan struct{})}
}

// Run follows the nodes until ctx ends.
func (s *Shares) Run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() { s.b.Watch(ctx, subject.Nodes, s.begin, s.ready, s.change) })
	for Sleep(ctx, time.Second) == nil {
		s.mu.Lock()
		s.divide() // some may have fallen silent
		s.mu.Unlock()
	}
	wg.Wait()
}

// Mine is how many partitions are this node's share; zero while it is not known.
func (s *Shares) Mine() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range s.owners {
		if o == s.node {
			n++
		}
	}
	return n
}

func (s *Shares) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loading = map[string]beat{}
}

func (s *Shares) ready() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.loading != nil {
		s.nodes, s.loading = s.loading, nil
	}
	s.divide()
}

func (s *Shares) change(k KeyChange) {
	service, node, ok := subject.NodeOf(k.Key)
	if !ok || service != s.service {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	into := s.nodes
	if s.loading != nil {
		into = s.loading
	}
	switch known := s.nodes[node]; {
	case k.Value == nil:
		delete(into, node)
	case known.revision == k.Revision: // told again, by a watch that begins anew
		into[node] = known
	default:
		into[node] = beat{at: time.Now(), revision: k.Revision}
	}
	if s.loading == nil {
		s.divide()
	}
}

// divide works out the shares anew. It needs mu.
func (s *Shares) divide() {
	now := time.Now()
	maps.DeleteFunc(s.nodes, func(_ string, b beat) bool { return now.Sub(b.at) > staleView })
	var live []string
	if _, ok := s.nodes[s.node]; ok { // without this node's own beats the view is too old, or not there yet
		live = slices.Sorted(maps.Keys(s.nodes))
	}
	if slices.Equal(live, s.live) {
		return
	}
	s.live, s.owners = live, Divide(live, s.partitions)
	close(s.changed)
	s.changed = make(chan struct{})
	mine := 0
	for _, o := range s.owners {
		if o == s.node {
			mine++
		}
	}
	s.b.log.Info("shares of the partitions", "nodes", len(live), "partitions", s.partitions, "mine", mine)
}

// owner is whose partition p is, when that node was heard of last, and what is closed when this changes; "" while it is not known.
func (s *Shares) owner(p int) (node string, heard time.Time, changed <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.owners == nil {
		return "", time.Time{}, s.changed
	}
	node = s.owners[p]
	return node, s.nodes[node].at, s.changed
}

// Divide gives each partition to one of the nodes, which are sorted: to that with the highest hash of both (rendezvous hashing) among
// those that have not got their part yet. The parts differ by one at most. Without nodes it returns nil.
func Divide(nodes []string, partitions int) []string {
	if len(nodes) == 0 {
		return nil
	}
	least, more := partitions/len(nodes), partitions%len(nodes) // so many get one more
	owners, got := make([]string, partitions), make([]int, len(nodes))
	for p := range owners {
		best, score := -1, uint64(0)
		for i, n := range nodes {
			if got[i] > least || got[i] == least && more == 0 {
				continue
			}
			if h := rank(n, p); best < 0 || h > score {
				best, score = i, h
			}
		}
		if got[best] == least {
			more--
		}
		got[best]++
		owners[p] = nodes[best]
	}
	return owners
}

// rank is the weight of a node for a partition.
func rank(node string, partition int) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(node + " " + strconv.Itoa(partition)))
	// FNV's last bytes reach its high bits hardly: mix (the end of SplitMix64).
	x := h.Sum64()
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// errYield says that the partition is another node's share now.
var errYield = errors.New("bus: another node's share")

// turn is a worker's part in Shares. Its zero value, without Shares, is always to work.
type turn struct {
	shares    *Shares
	partition int
	// standsIn tells that the worker works although the partition is owner's, who does not; for term at least.
	standsIn bool
	owner    string
	term     time.Duration
}

// pollEvery is how often a worker that holds back looks whether somebody works. It asks less often where there are many partitions.
func (t *turn) pollEvery() time.Duration {
	d := min(max(time.Second, time.Duration(t.shares.partitions)*15*time.Millisecond), 5*time.Second)
	return d*3/4 + jitter(d/4)
}

// await returns when this worker is to work: the partition is its node's, nobody knows whose it is, or its owner does not do the
// work. It returns an error only when ctx has ended.
func (t *turn) await(ctx context.Context, b *Bus, w Worker) error {
	if t.shares == nil {
		return nil
	}
	t.standsIn = false
	var connected time.Time
	for idle := 0; ; {
		owner, _, changed := t.shares.owner(t.partition)
		wait := t.pollEvery()
		switch {
		case owner == t.shares.node:
			t.owner, t.term = owner, 0
			return nil
		case owner == "" && b.Check(ctx) != nil:
			connected, wait = time.Time{}, statusPoll
			w.OnState(b.Check(ctx))
		case owner == "" && connected.IsZero():
			connected, wait = time.Now(), firstView
		case owner == "":
			if wait = firstView - time.Since(connected); wait <= 0 {
				return nil
			}
		case idle == 2:
			if owner != t.owner {
				t.owner, t.term = owner, leastTerm
			}
			t.standsIn = true
			return nil
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-changed:
			timer.Stop()
			idle = 0
			continue
		case <-timer.C:
		}
		if owner == "" {
			continue
		}
		switch some, err := b.pulled(ctx, w); {
		case err != nil && b.Check(ctx) != nil: // nobody works without the broker
			w.OnState(err)
		case err != nil || !some:
			idle++
		default:
			idle = 0
			w.OnState(nil)
		}
	}
}

// pulled tells whether some worker asks for what the consumer has.
func (b *Bus) pulled(ctx context.Context, w Worker) (bool, error) {
	i, err := b.consumer(ctx, w.Stream, w.Consumer)
	if err != nil {
		return false, err
	}
	return i.NumWaiting > 0, nil
}

// watch returns a channel that is closed when this worker is to make room for another node that lives. It ends with ctx; wait returns
// when it has.
func (t *turn) watch(ctx context.Context) (yield chan struct{}, wait func()) {
	if t.shares == nil {
		return nil, func() {} // never
	}
	yield, began := make(chan struct{}), time.Now()
	term := time.Duration(0)
	if t.standsIn {
		term = t.term
		t.term = min(2*t.term, mostTerm)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			owner, heard, changed := t.shares.owner(t.partition)
			// Who fell silent before this worker began is in the bucket for a while yet.
			if owner != "" && owner != t.shares.node && heard.After(began) && time.Since(began) >= term {
				close(yield)
				return
			}
			timer := time.NewTimer(500 * time.Millisecond)
			select {
			case <-ctx.Done():
				timer.Stop()
				return
			case <-changed:
				timer.Stop()
			case <-timer.C:
			}
		}
	})
	return yield, wg.Wait
}

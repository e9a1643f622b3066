// Package online tells the mesh which people an edge hosts, and how they are, with a key for each of them in the bucket of presence
// and one lease for the edge. It promises that Be and Go never wait, that only the last wish of a person counts, and that the
// bucket comes to hold what is so after whatever happened to the broker in between.
//
//	Be, Go ────► queue (each person once) ──► writer ──► $KV.presence.<user>.<edge>     written on coming, changing and going,
//	                                           ▲                                          renewed before the bucket's age
//	                       lease (re)born, or  │
//	                       keys may be lost ───┤
//	                                          beat ────► $KV.presence.edge.<edge>       written every ttl/3
//
// The lease and all keys carry the life of the reporter. A key counts while the lease of its edge stands with the same
// life: when the edge dies, its people go offline with one expired key, and what a former process of the same name left
// behind counts for nothing.
package online

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chat"
)

// Reporter keeps the keys of one edge. A hosted person costs 52 bytes beside the id, which it shares with the caller
// (BenchmarkBytesPerPerson), and 100,000 cost 1 % of a core while nobody comes or goes, the broker's work for them included,
// 2 % where it syncs every key to the disk (BenchmarkHundredThousandPeople).
type Reporter struct {
	bus  *bus.Bus
	edge string
	ttl  time.Duration
	log  *slog.Logger
	// value is what the lease holds, values what the key of a person does, by the wish.
	value   []byte
	values  [wishes][]byte
	started time.Time
	wake    chan struct{} // there is something to write

	mu     sync.Mutex // guards the following fields
	people map[chat.UserID]hosted
	queue  []chat.UserID // whose key may differ from the wish; each person once
	leased bool          // keys may be written
	again  int           // how often all keys had to be put again: what was under way then does not count as stored
	ended  bool
}

// hosted is what a reporter knows of a person.
type hosted struct {
	// revision of the key, zero when it is not known.
	revision uint64
	// put is when the key was last stored, in ticks since the reporter was made.
	put uint32
	// want is the last wish; stored the one whose key the broker has acknowledged last, gone where that is not known.
	want, stored wish
	// queued is that the person stands in the queue; maybe that the key can be there.
	queued, maybe bool
}

// New returns a reporter for the edge of that name, which is one token of a subject and belongs to no other live process.
// ttl, in whole seconds, is how long the lease outlives its last beat: after it a dead edge's people are offline.
func New(b *bus.Bus, edge string, ttl time.Duration, log *slog.Logger) *Reporter {
	life := rand.Text()[:12]
	return &Reporter{bus: b, edge: edge, ttl: max(ttl, time.Second).Round(time.Second), log: log.With("edge", edge),
		value: []byte(lifePrefix + life), values: valuesOf(life), started: time.Now(), wake: make(chan struct{}, 1),
		people: map[chat.UserID]hosted{}}
}

// Come tells that a person is here, visible and at a device.
func (r *Reporter) Come(user chat.UserID) { r.Be(user, State{}) }

// Be tells that a person has a connection here, and how they are. It does not wait. Saying it again does nothing.
func (r *Reporter) Be(user chat.UserID, s State) { r.wish(user, s.wish()) }

// Go tells that the last connection of a person has closed. It does not wait. Saying it again does nothing.
func (r *Reporter) Go(user chat.UserID) { r.wish(user, gone) }

func (r *Reporter) wish(user chat.UserID, want wish) {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := r.people[user]
	if r.ended || h.want == want {
		return
	}
	h.want = want
	r.people[user] = r.enqueue(user, h)
	r.ring()
}

// enqueue puts a person into the queue. The lock is held.
func (r *Reporter) enqueue(user chat.UserID, h hosted) hosted {
	if !h.queued {
		h.queued = true
		r.queue = append(r.queue, user)
	}
	return h
}

func (r *Reporter) ring() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Run writes until ctx ends. Then it takes the lease back, so that everybody here is offline at once, and as many keys as
// it can in a second. It fails at once where the edge's name cannot be part of a key. It is called once.
func (r *Reporter) Run(ctx context.Context) error {
	if _, err := chat.ParseID(r.edge); err != nil {
		return fmt.Errorf("online: name of the edge: %w", err)
	}
	var beating sync.WaitGroup
	l := &lease{Reporter: r}
	beating.Go(func() { l.beat(ctx) })
	r.write(ctx)
	beating.Wait()
	r.mu.Lock()
	people := r.people
	r.ended, r.people, r.queue = true, nil, nil
	r.mu.Unlock()
	bye, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if l.end(bye) {
		r.removeAll(bye, people)
	}
	return nil
}

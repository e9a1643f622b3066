package presence

import (
	"hash/maphash"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/online"
)

// table knows who is on which edge. It is fed by one goroutine, the watch, in the order of the bucket, and by the clock;
// it may be asked by all.
//
// A person takes 88 bytes: 24 in the map (the id's header and a place), the map's slack, and 32 for an id of 26 letters. A
// dead edge costs one walk over everybody, 0.4 s for a million people who were all on it; BenchmarkBytesPerPerson shows both.
type table struct {
	// changed is told of each transition, with the lock held. It must not block.
	changed func(user chat.UserID, was, is standing, at time.Time)
	seed    maphash.Seed

	mu     sync.RWMutex // guards the following fields
	shards [shards]map[chat.UserID]place
	crowd  map[chat.UserID][]uint32 // the hosts of people who are on more than fit into a place
	hosts  []host                   // by number; the first is none
	free   []uint32                 // numbers without a host
	number map[hostName]uint32
	leases map[string]string // of the edges, with their life
	online int
	// revision of the last change that was fed.
	revision uint64
	phase    phase
	settleAt time.Time // when it is enough of settling
	// first is that no phase has been live yet.
	first bool
	// fresh holds who changed, in the first rebuild, after since: whether that was told is not known.
	fresh map[chat.UserID]time.Time
	since time.Time
}

// phase is how far the table can be believed.
type phase int

const (
	// rebuilding: the bucket is being read; nothing is told, nobody gets an answer.
	rebuilding phase = iota
	// settling: all is read, but edges may still be finding their way back to the broker: nobody goes offline yet.
	settling
	// live: every change is told.
	live
)

// shards is into how many maps people are divided, so that a walk over all gives way to those who ask.
const shards = 64

type hostName struct {
	edge, life string
	state      online.State
}

// host is one life of an edge, as far as it has people who are in one state: so a person's state takes no room of its own.
type host struct {
	hostName
	people int
	alive  bool
	// dead is since when it is not alive.
	dead time.Time
}

// place says on which hosts a person is, 20 bits each, and what was told last of how they are.
type place uint64

const (
	hostBits       = 20
	hostMask       = 1<<hostBits - 1
	inline         = 3
	toldAt         = 60
	told     place = 7 << toldAt // a standing
	crowded  place = 1 << 63     // the hosts are in table.crowd
)

func newTable(changed func(chat.UserID, standing, standing, time.Time)) *table {
	t := &table{changed: changed, seed: maphash.MakeSeed(), first: true}
	t.reset()
	for i := range t.shards {
		t.shards[i] = map[chat.UserID]place{}
	}
	return t
}

func (t *table) reset() {
	t.crowd, t.hosts, t.free = map[chat.UserID][]uint32{}, make([]host, 1), nil
	t.number, t.leases, t.fresh = map[hostName]uint32{}, map[string]string{}, map[chat.UserID]time.Time{}
	t.revision, t.phase = 0, rebuilding
}

func (t *table) shard(user chat.UserID) map[chat.UserID]place {
	return t.shards[maphash.String(t.seed, string(user))%shards]
}

// begin forgets who is where, but not what was told. In the first rebuild, changes later than since count as not told.
func (t *table) begin(since time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.reset()
	t.since = since
	for _, people := range t.shards {
		for user, p := range people {
			if p &= told; p == 0 {
				delete(people, user)
			} else {
				people[user] = p
			}
		}
	}
}

// ready ends a rebuild: who came online meanwhile is told; who went offline is told by settled, from settleAt on.
func (t *table) ready(now, settleAt time.Time) {
	t.mu.Lock()
	t.phase, t.settleAt = settling, settleAt
	for i := range t.hosts {
		if h := &t.hosts[i]; h.people > 0 && !h.alive {
			h.dead = now
		}
	}
	fresh := t.fresh
	t.fresh = nil
	t.mu.Unlock()
	t.walk(func(user chat.UserID, p place) place {
		_, isFresh := fresh[user]
		if is := t.standing(user, p); t.first && p&told == 0 && !isFresh && is != offline {
			t.online++
			return p.telling(is) // as somebody has told already
		}
		return t.settle(user, p, now)
	})
	if !t.first {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for user, at := range fresh {
		if t.shard(user)[user] == 0 {
			t.changed(user, unknown, offline, at)
		}
	}
}

// settled ends the time of settling if it is over. What is missing then has gone.
func (t *table) settled(now time.Time) {
	t.mu.Lock()
	if t.phase != settling || now.Before(t.settleAt) {
		t.mu.Unlock()
		return
	}
	t.phase = live
	first := t.first
	t.first = false
	t.mu.Unlock()
	t.walk(func(user chat.UserID, p place) place {
		if first && t.phase == live && p&told == 0 && p != 0 && t.standing(user, p) == offline {
			// A dead edge's key: they were online, and nobody was there to tell.
			t.changed(user, t.standingOn(t.hostsOf(user, p), false), offline, now)
		}
		return t.settle(user, p, now)
	})
}

// walk replaces the place of everybody by what fn makes of it. The lock is given up between shards.
func (t *table) walk(fn func(chat.UserID, place) place) {
	for _, people := range t.shards {
		t.mu.Lock()
		for user, p := range people {
			if next := fn(user, p); next == 0 {
				delete(people, user)
			} else if next != p {
				people[user] = next
			}
		}
		t.mu.Unlock()
	}
}

// settle makes what was told of a person what is so, and tells it. The lock is held.
func (t *table) settle(user chat.UserID, p place, at time.Time) place {
	was, is := p.told(), t.standing(user, p)
	switch {
	case is == was, t.phase == rebuilding, t.phase == settling && is.lessThan(was):
		return p
	case was == offline:
		t.online++
	case is == offline:
		t.online--
	}
	t.changed(user, was, is, at)
	return p.telling(is)
}

// standing is how a person is by the living hosts they are on. The lock is held.
func (t *table) standing(user chat.UserID, p place) standing {
	if p&crowded != 0 {
		return t.standingOn(t.crowd[user], true)
	}
	var hosts [inline]uint32
	n := 0
	for p &^= told; p != 0; p >>= hostBits {
		hosts[n] = uint32(p & hostMask)
		n++
	}
	return t.standingOn(hosts[:n], true)
}

// standingOn is how somebody is who is on hosts, or on the living ones of them. The lock is held.
func (t *table) standingOn(hosts []uint32, living bool) standing {
	var s standings
	for _, n := range hosts {
		if h := &t.hosts[n]; h.alive || !living {
			s.add(h.state)
		}
	}
	return s.all()
}

// hostsOf lists the hosts of a person. The lock is held.
func (t *table) hostsOf(user chat.UserID, p place) []uint32 {
	if p&crowded != 0 {
		return t.crowd[user]
	}
	out := make([]uint32, 0, inline+1)
	for p &^= told; p != 0; p >>= hostBits {
		out = append(out, uint32(p&hostMask))
	}
	return out
}

// withHosts puts a person on hosts. The lock is held.
func (t *table) withHosts(user chat.UserID, p place, hosts []uint32) place {
	p &= told
	if len(hosts) > inline {
		t.crowd[user] = hosts
		return p | crowded
	}
	delete(t.crowd, user)
	for i, h := range hosts {
		p |= place(h) << (i * hostBits)
	}
	return p
}

// put says that a person's key on an edge, in a life of it, was stored, and how they are there.
func (t *table) put(user chat.UserID, edge, life string, state online.State, at time.Time, revision uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.revision = revision
	n, ok := t.hostNumber(hostName{edge, life, state})
	if ok {
		t.move(user, edge, n, at)
	}
}

// remove says that a person's key on an edge has gone.
func (t *table) remove(user chat.UserID, edge string, at time.Time, revision uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.revision = revision
	t.move(user, edge, 0, at)
}

// move puts a person on host n of an edge in place of any other of the same edge; 0 is none. The lock is held.
func (t *table) move(user chat.UserID, edge string, n uint32, at time.Time) {
	people := t.shard(user)
	p, known := people[user]
	if t.fresh != nil && t.first && !at.Before(t.since) {
		t.fresh[chat.UserID(strings.Clone(string(user)))] = at
	}
	hosts := t.hostsOf(user, p)
	i := slices.IndexFunc(hosts, func(h uint32) bool { return t.hosts[h].edge == edge })
	switch {
	case i >= 0 && hosts[i] == n, i < 0 && n == 0:
		return
	case i < 0:
		hosts = append(hosts, n)
	case n == 0:
		t.leave(hosts[i])
		hosts = slices.Delete(hosts, i, i+1)
	default:
		t.leave(hosts[i])
		hosts[i] = n
	}
	if n > 0 {
		t.hosts[n].people++
	}
	p = t.settle(user, t.withHosts(user, p, hosts), at)
	switch {
	case p == 0:
		delete(people, user)
	case known:
		people[user] = p
	default:
		people[chat.UserID(strings.Clone(string(user)))] = p // user is a part of the key, which need not be kept
	}
}

// ask answers how people are. It is false while the table is being rebuilt.
func (t *table) ask(users []chat.UserID) ([]standing, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if t.phase == rebuilding {
		return nil, false
	}
	out := make([]standing, len(users))
	for i, user := range users {
		p := t.shard(user)[user]
		if out[i] = t.standing(user, p); t.phase == settling && out[i].lessThan(p.told()) {
			out[i] = p.told()
		}
	}
	return out, true
}

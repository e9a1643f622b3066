package presence

import (
	"time"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

// hostNumber returns the number of a host, a new one where it has none. It is false when there are too many. The lock is
// held.
func (t *table) hostNumber(name hostName) (uint32, bool) {
	if n, ok := t.number[name]; ok {
		return n, true
	}
	h := host{hostName: name}
	h.alive = t.fits(h)
	h.dead = time.Now()
	var n uint32
	if last := len(t.free) - 1; last >= 0 {
		n, t.free = t.free[last], t.free[:last]
		t.hosts[n] = h
	} else if n = uint32(len(t.hosts)); n <= hostMask {
		t.hosts = append(t.hosts, h)
	} else {
		return 0, false
	}
	t.number[name] = n
	return n, true
}

// fits tells whether the lease of the host's edge stands, and for this life of it. The lock is held.
func (t *table) fits(h host) bool {
	life, ok := t.leases[h.edge]
	return ok && (life == h.life || life == "" || h.life == "")
}

// leave takes a person off a host. The lock is held.
func (t *table) leave(n uint32) {
	h := &t.hosts[n]
	if h.people--; h.people == 0 {
		delete(t.number, h.hostName)
		*h = host{}
		t.free = append(t.free, n)
	}
}

// leased says that the lease of an edge was beaten, by that life.
func (t *table) leased(edge, life string, at time.Time, revision uint64) {
	t.mu.Lock()
	t.revision = revision
	had, ok := t.leases[edge]
	if ok && had == life {
		t.mu.Unlock()
		return
	}
	t.leases[edge] = life
	t.mu.Unlock()
	t.revive(edge, at)
}

// unleased says that the lease of an edge has gone.
func (t *table) unleased(edge string, at time.Time, revision uint64) {
	t.mu.Lock()
	t.revision = revision
	_, ok := t.leases[edge]
	delete(t.leases, edge)
	t.mu.Unlock()
	if ok {
		t.revive(edge, at)
	}
}

// revive finds out which hosts of an edge live after its lease has changed, and tells what that changes for people.
func (t *table) revive(edge string, at time.Time) {
	t.mu.Lock()
	changed := false
	for i := range t.hosts {
		h := &t.hosts[i]
		if h.people == 0 || h.edge != edge {
			continue
		}
		if alive := t.fits(*h); alive != h.alive {
			h.alive, h.dead, changed = alive, time.Now(), true
		}
	}
	quiet := t.phase == rebuilding
	t.mu.Unlock()
	if changed && !quiet {
		t.walk(func(user chat.UserID, p place) place { return t.settle(user, p, at) })
	}
}

// staleKey is a key that a dead edge left behind.
type staleKey struct {
	user chat.UserID
	host hostName
}

// stale lists up to limit keys of hosts that have been dead since before, and the revision up to which that is known.
func (t *table) stale(limit int, before time.Time) ([]staleKey, uint64) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if t.phase == rebuilding {
		return nil, 0
	}
	left := 0
	for i := range t.hosts {
		if t.isStale(uint32(i), before) {
			left += t.hosts[i].people
		}
	}
	left = min(left, limit)
	var out []staleKey
	for i := 0; i < shards && len(out) < left; i++ {
		for user, p := range t.shards[i] {
			for _, n := range t.hostsOf(user, p) {
				if t.isStale(n, before) {
					out = append(out, staleKey{user, t.hosts[n].hostName})
				}
			}
			if len(out) >= left {
				break
			}
		}
	}
	return out, t.revision
}

func (t *table) isStale(n uint32, before time.Time) bool {
	h := &t.hosts[n]
	return h.people > 0 && !h.alive && h.dead.Before(before)
}

// dead tells whether a host is known and not alive.
func (t *table) dead(name hostName) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	n, ok := t.number[name]
	return ok && !t.hosts[n].alive
}

// counts returns how many people are online, on how many living edges.
func (t *table) counts() (people, edges int) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.online, len(t.leases)
}

package history

import (
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// mutant is a fault that is seeded into a clean record. seed tells whether it found a place for it.
type mutant struct {
	name string
	kind Kind
	seed func(m *mutation) bool
}

// mutation is a clean record to seed a fault into.
type mutation struct {
	*sim
	rand *rand.Rand
	c    *checker // of the clean record, for looking things up
}

func newMutation(script []byte, seed uint64) *mutation {
	s := newSim(script)
	m := &mutation{sim: s, rand: rand.New(rand.NewPCG(seed, 0))}
	h := s.run()
	m.c = &checker{h: h, r: &Report{Count: map[Kind]int{}}, chats: map[string]*past{}}
	m.c.build()
	return m
}

// any returns one of the items that will do.
func anyOf[T any](m *mutation, items []T, will func(T) bool) (T, bool) {
	for _, i := range m.rand.Perm(len(items)) {
		if will(items[i]) {
			return items[i], true
		}
	}
	var none T
	return none, false
}

// place is an entry of a connection.
type place struct {
	conn *Conn
	i    int
}

func (p place) entry() *entry { return &p.conn.entries[p.i] }

// deliveries are the places of events on connections that saw no resync and nothing from outside their membership.
func (m *mutation) deliveries() (out []place) {
	for _, conn := range m.h.conns {
		plain := !slices.ContainsFunc(conn.entries, func(e entry) bool {
			return e.note != nil && (e.note.page != nil || e.note.user == "") ||
				e.event != nil && !m.c.chats[e.event.Chat].receives(conn.user, e.event.Seq)
		})
		for i, e := range conn.entries {
			if plain && e.event != nil {
				out = append(out, place{conn, i})
			}
		}
	}
	return out
}

// next is the place of the next event of the same chat.
func (p place) next() (place, bool) {
	for i := p.i + 1; i < len(p.conn.entries); i++ {
		if e := p.conn.entries[i].event; e != nil && e.Chat == p.entry().event.Chat {
			return place{p.conn, i}, true
		}
	}
	return place{}, false
}

// appended puts an event at the end of a history, and delivers it to all whom it is for.
func (m *mutation) appended(e Event) {
	p := m.c.chats[e.Chat]
	e.Seq, e.N = p.last+1, p.at(p.last).N
	if e.isMessage() {
		e.N++
	}
	m.h.finals[e.Chat] = append(m.h.finals[e.Chat], m.h.event(e))
	for _, c := range m.h.conns {
		if c.ended < 0 && c.welcome >= 0 && p.receives(c.user, e.Seq) {
			c.Delivered(m.now, e)
		}
	}
}

// acked returns a message that was acked, to which nobody did anything, and will do.
func (m *mutation) acked(will func(s *Send, seq uint64, p *past) bool) (*Send, uint64, *past, bool) {
	s, ok := anyOf(m, m.h.sends, func(s *Send) bool {
		return len(s.acks) > 0 && m.c.chats[s.chat].targets[s.acks[0].seq] == nil && will(s, s.acks[0].seq, m.c.chats[s.chat])
	})
	if !ok {
		return nil, 0, nil, false
	}
	return s, s.acks[0].seq, m.c.chats[s.chat], true
}

func always(*Send, uint64, *past) bool { return true }

// removed returns somebody who was removed from a chat for good and a later event of it.
func (m *mutation) removed() (user string, e *Event, ok bool) {
	for _, p := range m.c.chats {
		for user, spans := range p.spans {
			if to := spans[len(spans)-1].to; to < p.last {
				return user, p.at(to + 1), true
			}
		}
	}
	return "", nil, false
}

// unfolded forgets what was told of messages with all that became of them folded in: a fault of a message would be told there as well.
func (m *mutation) unfolded() { m.h.folds, m.h.shown, m.h.pins = nil, nil, nil }

// end is the end of the record.
func (m *mutation) end() Time { return m.now + 10 }

func (m *mutation) fresh(user string) *Conn {
	c := m.h.Open(m.end(), user, nil)
	c.Welcomed(m.now)
	return c
}

// drop takes an event out of a history.
func (m *mutation) drop(chat string, seq uint64) {
	m.h.finals[chat] = slices.DeleteFunc(slices.Clone(m.h.finals[chat]), func(e *Event) bool { return e.Seq == seq })
}

// versionOf is an event with another content.
func (m *mutation) versionOf(e *Event, change func(e *Event)) *Event {
	f := *e
	change(&f)
	return m.h.event(f)
}

func TestEveryMutantIsCaughtAsWhatItIs(t *testing.T) {
	seen := map[string]bool{}
	for _, mu := range slices.Concat(mutants, actMutants) {
		if seen[mu.name] {
			t.Errorf("two mutants are named %q", mu.name)
		}
		seen[mu.name] = true
		t.Run(mu.name, func(t *testing.T) {
			t.Parallel()
			seeded := 0
			check := func(t *rapid.T) {
				m := newMutation(scripts.Draw(t, "script"), rapid.Uint64().Draw(t, "seed"))
				if !mu.seed(m) {
					return
				}
				seeded++
				r := Check(m.h)
				if r.Count[mu.kind] == 0 || r.Faults() != r.Count[mu.kind] {
					t.Fatalf("got %s\n%swant only: %s", r, r.Details(), mu.kind)
				}
			}
			for round := 0; round < 20 && seeded < cases/10; round++ { // some faults fit into few histories only
				rapid.Check(t, check)
			}
			if seeded < cases/10 {
				t.Errorf("seeded %d times only", seeded)
			}
			t.Logf("seeded and caught %d times", seeded)
		})
	}
}

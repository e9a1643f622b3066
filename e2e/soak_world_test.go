package e2e

import (
	"context"
	"encoding/json"
	"flag"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chatmesh/chatmesh/e2e/history"
	"github.com/chatmesh/chatmesh/e2e/program"
	"github.com/chatmesh/chatmesh/e2e/raw"
)

// The load of a soak.
const (
	soakPeople = 12
	soakDirect = 6
	soakGroups = 3
	// inGroup is how many a group has room for here, of which the first few always stay.
	inGroup, staying = 8, 3
	// soakPatience is how long a request is waited for before it is tried again.
	soakPatience = 6 * time.Second
)

// stallAtMost is what a fault costs at most. The promise is 20 s, and make soak asks for them; here it is that it heals, on a machine that
// may be slow.
var stallAtMost = flag.Duration("stall", time.Minute, "the most that a fault may delay anything")

// soak is a run: people with devices on a mesh that fails, and the record of what they saw.
type soak struct {
	t       *testing.T
	h       *history.History
	people  []*person
	devices []*soakDevice
	chats   []*soakChat
	// stall is the most that anything may be delayed.
	stall time.Duration

	background sync.WaitGroup // readers of connections
	ended      atomic.Bool
	// draining counts how often a device was told that its edge goes away, unanswered the messages that nobody answered in the end.
	draining, unanswered atomic.Int64

	mu    sync.Mutex // guards the following fields
	edges []string
	rand  *rand.Rand
	// trying are the sends that have no answer yet.
	trying map[*tries]bool
	// recent are the last messages of each chat that anybody saw, texts what was written in each message.
	recent map[string][]raw.Frame
	texts  map[written][]string
	// erased are the messages whose deletion was acked.
	erased map[written]bool
	// odd are refusals that nobody expects, by request and code.
	odd map[string]int
}

// soakChat is a chat and those who are, or may become, its members.
type soakChat struct {
	id    string
	group bool
	pool  []*person
}

// over tells whether the run has ended: connections that are closed now were open until its end.
func (s *soak) over() bool { return s.ended.Load() }

// healed tells whether every send that was begun before a moment has its answer.
func (s *soak) healed(before history.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for t := range s.trying {
		if t.begin < before {
			return false
		}
	}
	return true
}

// setEdges says where clients connect; the first answers HTTP as well.
func (s *soak) setEdges(edges ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.edges = edges
}

func (s *soak) edgeFor(n int) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.edges[n%len(s.edges)]
}

// intN is a random number below n.
func (s *soak) intN(n int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rand.IntN(n)
}

// pause waits for a random time between the two, or until ctx ends.
func (s *soak) pause(ctx context.Context, least, most time.Duration) {
	wait := time.NewTimer(least + time.Duration(s.intN(int(most-least))))
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-ctx.Done():
	}
}

// refused remembers refusals that are neither for want of membership, or of a message, nor because something is away, nor because of
// others.
func (s *soak) refused(request, code string) {
	if code == "not_found" || code == "unavailable" || code == "conflict" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.odd[request+": "+code]++
}

// seen is an event as it is recorded.
func seen(f raw.Frame) history.Event {
	e := history.Event{Chat: f.Chat, Seq: f.Seq, N: f.N, Type: f.Type, Sender: f.Sender, ClientID: f.ClientID, Text: f.Text,
		Change: f.Change, User: f.User(), By: f.By, Role: f.Role, Title: f.Title, At: f.SentAt.UnixMicro(),
		ReplyTo: f.ReplyTo, Mentions: strings.Join(f.Mentions, ","), Target: f.Target, Emoji: f.Emoji, Removed: f.Removed}
	if f.Type != "message" {
		e.At = f.At.UnixMicro()
	}
	if d := f.Deleted; d != nil {
		e.Erased, e.ErasedBy, e.ErasedAt = d.Seq, d.By, d.At.UnixMicro()
	}
	if f.Change == "created" {
		var c struct {
			Members []struct {
				UserID string `json:"user_id"`
				Role   string `json:"role"`
			} `json:"members"`
		}
		_ = json.Unmarshal(f.Raw, &c) // without members everything that follows is a leak
		ids := make([]string, len(c.Members))
		for i, m := range c.Members {
			ids[i] = m.UserID + "=" + m.Role
		}
		e.Members = strings.Join(ids, ",")
	}
	return e
}

// newSoak registers the people and makes their chats, on a program that is whole.
func newSoak(t *testing.T, srv *program.Program, seed uint64) *soak {
	t.Helper()
	s := &soak{t: t, h: history.New(), stall: *stallAtMost, rand: rand.New(rand.NewPCG(seed, 1)), odd: map[string]int{}, trying: map[*tries]bool{},
		recent: map[string][]raw.Frame{}, texts: map[written][]string{}, erased: map[written]bool{}}
	s.people = newPeople(t, srv, "soak", soakPeople)
	for i := range soakDirect {
		one, two := s.people[i], s.people[(i+5)%soakPeople]
		s.chats = append(s.chats, &soakChat{id: one.direct(two), pool: []*person{one, two}})
	}
	for i := range soakGroups {
		var pool []*person
		for k := range inGroup {
			pool = append(pool, s.people[(4*i+k)%soakPeople])
		}
		// Some join later.
		s.chats = append(s.chats, &soakChat{id: pool[0].group("soak", pool[1:inGroup-2]...), group: true, pool: pool})
	}
	for i, p := range s.people {
		for k := range 2 {
			d := &soakDevice{s: s, p: p, edge: k, rand: rand.New(rand.NewPCG(seed, uint64(10+2*i+k))), cursors: map[string]uint64{},
				changed: make(chan struct{})}
			for _, c := range s.chatsOf(p) {
				d.cursors[c.id] = 1 // the creation, which they were told of
			}
			s.devices = append(s.devices, d)
		}
	}
	return s
}

// chatsOf are the chats that somebody may be a member of.
func (s *soak) chatsOf(p *person) (out []*soakChat) {
	for _, c := range s.chats {
		for _, m := range c.pool {
			if m == p {
				out = append(out, c)
			}
		}
	}
	return out
}

// guard tells a program that was started again what must not stand in its log.
func (s *soak) guard(srv *program.Program) {
	for _, p := range s.people {
		srv.Guard(canary, p.password, p.access, p.refresh)
	}
}

package e2e

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chatmesh/chatmesh/e2e/history"
)

// rounds is how many faults the mesh is put through: two fifths in one process, the others, of which there are more kinds, with the
// broker apart; and as many again where everything is apart.
var rounds = flag.Int("rounds", 0, "rounds of the soak; 0 is CHATMESH_SOAK_ROUNDS, or 20")

func soakRounds(t *testing.T) int {
	t.Helper()
	if *rounds > 0 {
		return *rounds
	}
	return int(soakNumber(t, "CHATMESH_SOAK_ROUNDS", 20))
}

// soakNumber is a number of the environment.
func soakNumber(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// TestSoakLosesNothingWhateverFails has people chat while processes are killed, stopped and frozen, one after the other, and gives all
// that they saw to the checker. A run is repeated, as far as time lets it, with CHATMESH_SOAK_SEED.
func TestSoakLosesNothingWhateverFails(t *testing.T) {
	seed := soakNumber(t, "CHATMESH_SOAK_SEED", uint64(time.Now().UnixNano()))
	n := soakRounds(t)
	t.Logf("CHATMESH_SOAK_SEED=%d", seed)
	t.Run("everything in one process", func(t *testing.T) {
		r := rand.New(rand.NewPCG(seed, 2))
		m := newTogether(t, r)
		s := newSoak(t, m.main.p, seed)
		m.main.guard = s.guard
		s.run(m, r, n-n*3/5)
	})
	t.Run("the broker apart and two edges", func(t *testing.T) {
		r := rand.New(rand.NewPCG(seed, 3))
		m := newApart(t, r)
		s := newSoak(t, m.main.p, seed)
		m.main.guard, m.edge.guard = s.guard, s.guard
		s.run(m, r, n*3/5)
	})
	t.Run("every service apart, three brokers and a database", func(t *testing.T) {
		r := rand.New(rand.NewPCG(seed, 4))
		m := newSpread(t, r, false)
		s := newSoak(t, m.p, seed)
		for _, p := range s.people {
			m.c.Guard(canary, p.password, p.access, p.refresh)
		}
		s.run(m, r, n)
	})
}

// run plays the rounds, lets everything heal, reads the histories back and checks.
func (s *soak) run(m soakMesh, r *rand.Rand, rounds int) {
	t := s.t
	t.Helper()
	began := time.Now()
	s.setEdges(m.edges()...)
	ctx, cancel := context.WithCancel(context.Background())
	tries, stopTries := context.WithCancel(ctx)
	load, stopLoad := context.WithCancel(tries)
	var loads, devices sync.WaitGroup
	defer func() { // whatever happens, nothing is left behind
		stopLoad()
		stopTries()
		cancel()
		loads.Wait()
		devices.Wait()
		s.background.Wait()
		problems, errors := m.finish()
		for _, problem := range problems {
			t.Error(problem)
		}
		if t.Failed() && len(errors) > 0 {
			t.Logf("errors that were logged:\n%s", strings.Join(errors, "\n"))
		}
	}()
	for _, d := range s.devices {
		devices.Go(func() { d.run(ctx) })
		loads.Go(func() { d.talk(load, tries) })
	}
	for range 3 {
		loads.Go(func() { s.browse(load, tries) })
	}
	for _, c := range s.chats {
		if c.group {
			loads.Go(func() { s.shuffle(load, c) })
		}
	}

	done := map[string]int{}
	var deck []soakFault // shuffled, so that each comes as often as any other
	for range rounds {
		s.pause(ctx, 200*time.Millisecond, time.Second)
		if len(deck) == 0 {
			deck = m.faults()
			r.Shuffle(len(deck), func(i, j int) { deck[i], deck[j] = deck[j], deck[i] })
		}
		f := deck[0]
		deck = deck[1:]
		began := s.h.Now()
		if err := f.do(); err != nil {
			t.Fatalf("%s: %v", f.name, err)
		}
		s.setEdges(m.edges()...)
		ended := s.h.Now()
		done[f.name]++
		if s.intN(4) == 0 { // seldom the next one comes before this one has healed
			t.Logf("at %v: %s for %v", began.Round(time.Millisecond), f.name, (ended - began).Round(time.Millisecond))
			continue
		}
		for !s.healed(ended) && s.h.Now() < ended+s.stall {
			s.pause(ctx, 10*time.Millisecond, 20*time.Millisecond)
		}
		t.Logf("at %v: %s for %v, healed %v later", began.Round(time.Millisecond), f.name, (ended - began).Round(time.Millisecond),
			(s.h.Now() - ended).Round(time.Millisecond))
	}
	s.pause(ctx, 500*time.Millisecond, time.Second)
	stopLoad()
	late := time.AfterFunc(s.stall+5*time.Second, stopTries)
	loads.Wait() // what was begun is tried until it is answered
	late.Stop()
	s.settle(ctx)
	s.verified(ctx, m)
	s.forgotten(ctx, m)
	s.ended.Store(true)
	cancel()
	devices.Wait()
	s.background.Wait()
	s.judge(history.Check(s.h), rounds, done, time.Since(began))
}

// settle waits until every device has what it should, and reads what the mesh says in the end.
func (s *soak) settle(ctx context.Context) {
	t := s.t
	t.Helper()
	behind := ""
	for deadline := time.Now().Add(s.stall + 5*time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if behind = s.behind(ctx); behind == "" {
			break
		}
	}
	if behind != "" {
		t.Errorf("in the end: %s", behind)
	}
	for _, p := range s.people {
		if !s.standings(ctx, p) {
			t.Errorf("in the end: %s cannot list their chats", p.name)
		}
	}
	for _, c := range s.chats {
		if c.group && !s.roster(ctx, c) {
			t.Errorf("in the end: nobody can look into chat %s", c.id)
		}
		err := s.readBack(ctx, c)
		for deadline := time.Now().Add(s.stall); err != nil && time.Now().Before(deadline); err = s.readBack(ctx, c) {
			t.Errorf("in the end: %v", err)
			s.pause(ctx, time.Second, 2*time.Second)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// behind tells which device does not have the last event of a chat yet, or nothing.
func (s *soak) behind(ctx context.Context) string {
	for _, c := range s.chats {
		var info chatInfo
		if asked(s.call(ctx, c.pool[0], "GET", "/v1/chats/"+c.id, nil, &info)) != history.Done {
			return "chat " + c.id + " cannot be read"
		}
		for _, d := range s.devices {
			if info.role(d.p.id) == "" {
				continue
			}
			d.mu.Lock()
			cursor, known := d.cursors[c.id]
			up := d.link != nil
			d.mu.Unlock()
			if !up || known && cursor < info.LastSeq {
				return fmt.Sprintf("a device of %s has %d of the %d events of chat %s (connected: %v)", d.p.id, cursor, info.LastSeq, c.id, up)
			}
		}
	}
	return ""
}

// judge prints the closing line and fails the test for every fault.
func (s *soak) judge(r *history.Report, rounds int, done map[string]int, took time.Duration) {
	t := s.t
	t.Helper()
	var faults []string
	for name, n := range done {
		faults = append(faults, fmt.Sprintf("%s %d", name, n))
	}
	slices.Sort(faults)
	t.Logf("soak: %d rounds in %v (%s): %s (to the ack %v at %v, to a device %v at %v), told to drain %d times", rounds, took.Round(time.Second),
		strings.Join(faults, ", "), r, r.ToAck.For.Round(time.Millisecond), r.ToAck.At.Round(time.Second),
		r.ToDevice.For.Round(time.Millisecond), r.ToDevice.At.Round(time.Second), s.draining.Load())
	if r.Faults() > 0 {
		t.Errorf("what should not be:\n%s", r.Details())
	}
	if r.LongestStall() > s.stall {
		t.Errorf("a stall of %v to the ack (%s), of %v to a device (%s); want at most %v", r.ToAck.For, r.ToAck.What, r.ToDevice.For, r.ToDevice.What, s.stall)
	}
	if r.Acts == 0 || r.Deletions == 0 {
		t.Error("nobody did anything to a message: that proves nothing")
	}
	if n := s.unanswered.Load(); n > 0 {
		t.Errorf("%d messages had no answer long after the last fault", n)
	}
	if len(s.odd) > 0 {
		t.Errorf("refusals that nobody expects: %v", s.odd)
	}
}

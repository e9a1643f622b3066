package presence

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/meshtest"
	"github.com/chatmesh/chatmesh/pkg/run"
	"github.com/chatmesh/chatmesh/pkg/subject"
)

func TestPersonOnTwoEdgesIsOnePerson(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.serve("p1").leading()
	a, b := f.edge("a"), f.edge("b")
	start := time.Now()
	a.Come("ann")
	meshtest.Eventually(t, meshtest.Patience, "ann is online", func() bool { return f.isOnline("ann") && f.heard("ann") == "+" })
	a.Come("ann") // another device
	b.Come("ann") // on another edge
	b.Come("bob")
	meshtest.Eventually(t, meshtest.Patience, "bob is online", func() bool { return f.isOnline("ann", "bob") })
	a.Go("ann")
	a.Come("cid")
	meshtest.Eventually(t, meshtest.Patience, "cid is online", func() bool { return f.isOnline("ann", "bob", "cid") })
	b.Go("ann")
	b.Go("ann")
	meshtest.Eventually(t, meshtest.Patience, "ann is offline", func() bool { return f.isOffline(start, "ann") })
	a.Come("ann")
	meshtest.Eventually(t, meshtest.Patience, "ann is back", func() bool { return f.isOnline("ann") && f.heard("ann") == "+-+" })
	if got := f.heard("bob") + f.heard("cid"); got != "++" {
		t.Errorf("got %s of bob and cid; want one coming of each", got)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if p := f.told["ann"][1]; p.LastSeen == nil || p.LastSeen.Before(start.Add(-time.Second)) {
		t.Errorf("got last seen %v with the going; want the time of it", p.LastSeen)
	}
}

func TestKilledEdgeTakesItsPeopleOfflineAndItsKeysAreRemoved(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.serve("p1").leading()
	a, b := f.edge("a"), f.edge("b")
	for _, u := range []chat.UserID{"ann", "bob"} {
		a.Come(u)
	}
	b.Come("bob")
	meshtest.Eventually(t, meshtest.Patience, "both are online", func() bool { return f.isOnline("ann", "bob") })
	meshtest.Eventually(t, meshtest.Patience, "bob is on two edges", func() bool {
		_, err := f.bus.Key(t.Context(), subject.Presence, "bob.b")
		return err == nil
	})
	killed := time.Now()
	a.kill()
	meshtest.Eventually(t, meshtest.Patience, "ann is offline", func() bool { return f.isOffline(killed, "ann") })
	t.Logf("offline %v after the kill, with a lease of %v", time.Since(killed), leaseTTL)
	meshtest.Eventually(t, meshtest.Patience, "the dead edge's keys are removed", func() bool {
		_, ann := f.bus.Key(t.Context(), subject.Presence, "ann.a")
		_, bob := f.bus.Key(t.Context(), subject.Presence, "bob.a")
		return ann != nil && bob != nil
	})
	if _, err := f.bus.Key(t.Context(), subject.Presence, "bob.b"); err != nil {
		t.Errorf("got %v; want bob's key on the living edge untouched", err)
	}
	if got := f.heard("bob"); got != "+" || !f.isOnline("bob") {
		t.Errorf("got %q of bob; want him online all the time", got)
	}
	if got := f.heard("ann"); got != "+-" {
		t.Errorf("got %q of ann; want +-", got)
	}
}

func TestEdgeOfTheSameNameAfterACrashCountsOnlyWhomItHosts(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.serve("p1").leading()
	before := f.edge("a")
	before.Come("ann")
	before.Come("bob")
	meshtest.Eventually(t, meshtest.Patience, "both are online", func() bool { return f.isOnline("ann", "bob") })
	killed := time.Now()
	before.kill()
	after := f.edge("a") // at once: the lease of the dead one has not expired
	after.Come("bob")
	meshtest.Eventually(t, meshtest.Patience, "ann is offline and bob online", func() bool { return f.isOffline(killed, "ann") && f.isOnline("bob") })
	stays(t, leaseTTL, "bob is online, ann is not", func() bool { return f.isOnline("bob") && !f.isOnline("ann") })
}

func TestRestartedServiceKnowsWhoIsOnlineAndTellsOnlyWhatNobodyTold(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := f.serve("p1").leading()
	a, b := f.edge("a"), f.edge("b")
	for _, u := range []chat.UserID{"ann", "bob", "cid"} {
		a.Come(u)
	}
	b.Come("dan")
	b.Come("bob")
	meshtest.Eventually(t, meshtest.Patience, "all are online", func() bool { return f.isOnline("ann", "bob", "cid", "dan") && f.count(true) == 4 })
	all := time.Now()
	meshtest.Eventually(t, meshtest.Patience, "that was surely told", func() bool { return time.Since(all) > slack+500*time.Millisecond })
	s.stop()
	f.forget()
	// What happens while no service is there: cid goes, eve comes, an edge dies.
	down := time.Now()
	a.Go("cid")
	a.Come("eve")
	b.kill()
	meshtest.Eventually(t, meshtest.Patience, "the keys say so", func() bool {
		_, cid := f.bus.Key(t.Context(), subject.Presence, "cid.a")
		_, eve := f.bus.Key(t.Context(), subject.Presence, "eve.a")
		return cid != nil && eve == nil
	})
	f.serve("p1").leading()
	if !f.isOnline("ann", "bob", "eve") {
		t.Error("a service that is ready does not know who is online")
	}
	meshtest.Eventually(t, meshtest.Patience, "what happened meanwhile is told", func() bool {
		return f.heard("cid") == "-" && f.heard("eve") == "+" && f.heard("dan") == "-"
	})
	if !f.isOffline(down, "cid", "dan") {
		t.Error("cid and dan have no last seen")
	}
	if got := f.heard("ann") + f.heard("bob"); got != "" {
		t.Errorf("got %q of ann and bob; want nothing told of what did not change", got)
	}
}

func TestEverythingHealsAfterTheBrokerRestarts(t *testing.T) {
	for name, mode := range map[string]jetstream.PersistModeType{"synced": jetstream.DefaultPersistMode, "async": jetstream.AsyncPersistMode} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			healsAfterRestart(t, newFixtureOf(t, mode))
		})
	}
}

func healsAfterRestart(t *testing.T, f *fixture) {
	f.serve("p1").leading()
	a, b := f.edge("a"), f.edge("b")
	for _, u := range []chat.UserID{"ann", "bob", "cid"} {
		a.Come(u)
	}
	b.Come("dan")
	meshtest.Eventually(t, meshtest.Patience, "all are online", func() bool { return f.isOnline("ann", "bob", "cid", "dan") && f.count(true) == 4 })
	f.broker.Stop()
	a.Go("bob")
	a.Come("eve")
	b.kill()
	away := time.Now()
	meshtest.Eventually(t, meshtest.Patience, "the leases grow too old", func() bool { return time.Since(away) > leaseTTL+200*time.Millisecond })
	f.broker.Start()
	back := time.Now()
	meshtest.Eventually(t, meshtest.Patience, "everything is as it should be", func() bool {
		return f.isOnline("ann", "cid", "eve") && f.isOffline(away, "bob", "dan")
	})
	t.Logf("healed %v after the broker was back", time.Since(back))
	meshtest.Eventually(t, meshtest.Patience, "the changes are told", func() bool {
		return f.last("bob") == "-" && f.last("dan") == "-" && f.last("eve") == "+"
	})
	if got := f.heard("ann") + f.heard("cid"); strings.Contains(got, "-") { // that they are online may be told again
		t.Errorf("got %q of ann and cid; want them online all the time", got)
	}
}

func TestServiceAndEdgeMayStartBeforeTheBroker(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.broker.Stop()
	a := f.edge("a")
	a.Come("ann")
	b, health := f.broker.Bus(t), &run.Health{}
	s, err := New(Config{Bus: b, Node: "p1", Version: "1.0.0", Logger: discard(), Health: health})
	if err != nil {
		t.Fatal(err)
	}
	f.process(s.Run, b)
	stays(t, 200*time.Millisecond, "the service waits", func() bool { return health.Err(t.Context()) != nil })
	f.broker.Start()
	meshtest.Eventually(t, meshtest.Patience, "ann is online", func() bool { return f.isOnline("ann") })
}

func TestOneOfTwoServicesTellsAndTheOtherTakesOver(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	one := f.serve("p1").leading()
	two := f.serve("p2")
	a := f.edge("a")
	users := people(200)
	for _, u := range users[:100] {
		a.Come(u)
	}
	meshtest.Eventually(t, meshtest.Patience, "all are told", func() bool { return f.count(true) == 100 })
	for _, u := range users[:100] {
		if got := f.heard(u); got != "+" {
			t.Fatalf("got %q; want one process to tell", got)
		}
	}
	if two.lead.leads() {
		t.Fatal("two processes lead")
	}
	killed := time.Now()
	one.kill()
	a.Go(users[0]) // while nobody leads
	for _, u := range users[100:] {
		a.Come(u)
	}
	meshtest.Eventually(t, meshtest.Patience, "the other tells what happened", func() bool { return f.count(true) == 199 && f.count(false) == 1 })
	t.Logf("told %v after the leader's death, with a lease of %v", time.Since(killed), two.times.leader)
	if !two.lead.leads() || !f.isOnline(users[1:]...) || !f.isOffline(killed, users[0]) {
		t.Error("the new leader does not know what is")
	}
	three := f.serve("p3")
	two.stop() // says goodbye: the next takes over sooner than a lease expires
	three.leading()
	f.forget()
	a.Come(users[0])
	meshtest.Eventually(t, meshtest.Patience, "the third tells", func() bool { return f.last(users[0]) == "+" })
}

func TestTwentyThousandGoOfflineWithTheirEdge(t *testing.T) {
	t.Parallel()
	f := newFixtureOf(t, jetstream.AsyncPersistMode)
	s := f.serve("p1").leading()
	a := f.edge("a")
	users := people(20_000)
	if underRace {
		users = users[:2000]
	}
	began := time.Now()
	for _, u := range users {
		a.Come(u)
	}
	meshtest.Eventually(t, meshtest.Patience, "all are online", func() bool { return f.count(true) == len(users) })
	t.Logf("online within %v", time.Since(began))
	killed := time.Now()
	a.kill()
	meshtest.Eventually(t, meshtest.Patience, "all are told to be offline", func() bool { return f.count(false) == len(users) })
	t.Logf("offline %v after the kill, with a lease of %v", time.Since(killed), leaseTTL)
	if n, _ := s.table.counts(); n != 0 {
		t.Errorf("got %d online; want none", n)
	}
	meshtest.Eventually(t, meshtest.Patience, "they have a last seen", func() bool { return f.isOffline(killed, users[:1000]...) })
}

func TestFloodOfFlipsEndsInTheRightState(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.serve("p1").leading()
	a, b := f.edge("a"), f.edge("b")
	users := people(30)
	start := time.Now()
	for range 300 {
		for _, u := range users {
			a.Come(u)
			b.Come(u)
			a.Go(u)
			b.Go(u)
		}
	}
	for i, u := range users {
		if i%3 == 0 {
			a.Come(u)
		}
		if i%3 == 1 {
			b.Come(u)
		}
	}
	right := func() bool {
		for i, u := range users {
			if i%3 == 2 && f.heard(u) != "" && !f.isOffline(start, u) || i%3 < 2 && !f.isOnline(u) {
				return false
			}
		}
		return true
	}
	meshtest.Eventually(t, meshtest.Patience, "everybody is where they should be", right)
	stays(t, 300*time.Millisecond, "everybody is where they should be", right)
	for _, u := range users {
		told := f.heard(u)
		for i := 1; i < len(told); i++ {
			if told[i] == told[i-1] {
				t.Fatalf("got %s; want transitions between none and some only", told)
			}
		}
	}
}

func TestPersonOnManyEdgesIsOnlineUntilTheLastIsLeft(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.serve("p1").leading()
	edges := make([]*hostProcess, 6)
	for i := range edges {
		edges[i] = f.edge(fmt.Sprintf("e%d", i))
		edges[i].Come("ann")
		meshtest.Eventually(t, meshtest.Patience, "ann is on that edge", func() bool {
			_, err := f.bus.Key(t.Context(), subject.Presence, fmt.Sprintf("ann.e%d", i))
			return err == nil
		})
	}
	start := time.Now()
	for i, e := range edges {
		if !f.isOnline("ann") {
			t.Fatalf("ann is offline with %d edges", len(edges)-i)
		}
		e.Go("ann")
	}
	meshtest.Eventually(t, meshtest.Patience, "ann is offline", func() bool { return f.isOffline(start, "ann") && f.heard("ann") == "+-" })
}

func TestKeysThatOthersWriteCountAsWell(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.serve("p1").leading()
	put := func(key string) {
		if err := f.bus.Keep(t.Context(), subject.Presence, key, []byte("1")); err != nil {
			t.Fatal(err)
		}
	}
	put("ann.x") // no lease yet
	put("odd")
	put("a.b.c")
	stays(t, 100*time.Millisecond, "ann is not online without a lease", func() bool { return !f.isOnline("ann") })
	if err := f.bus.PutFor(t.Context(), subject.Presence, "edge.x", nil, time.Minute); err != nil {
		t.Fatal(err)
	}
	meshtest.Eventually(t, meshtest.Patience, "ann is online", func() bool { return f.isOnline("ann") })
}

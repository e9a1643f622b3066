package presence

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/online"
)

// bucket is what the table should know, in the simplest form.
type bucket struct {
	leases map[string]string   // edge → life
	keys   map[[2]string]value // user, edge → value
}

type value struct {
	life  string
	state online.State
}

func (b *bucket) people() map[chat.UserID]standing {
	all := map[chat.UserID]standings{}
	for key, v := range b.keys {
		if l, ok := b.leases[key[1]]; ok && (l == v.life || l == "" || v.life == "") {
			s := all[chat.UserID(key[0])]
			s.add(v.state)
			all[chat.UserID(key[0])] = s
		}
	}
	out := map[chat.UserID]standing{}
	for user, s := range all {
		out[user] = s.all()
	}
	return out
}

func TestTableKnowsWhatTheBucketHoldsWhateverHappened(t *testing.T) {
	t.Parallel()
	var users, edges, lives = []string{"u1", "u2", "u3"}, []string{"e1", "e2", "e3", "e4", "e5"}, []string{"", "l1", "l2"}
	rapid.Check(t, func(t *rapid.T) {
		b := bucket{map[string]string{}, map[[2]string]value{}}
		told := map[chat.UserID]standing{}
		tab := newTable(func(user chat.UserID, was, is standing, _ time.Time) {
			if told[user] != was || was == is {
				t.Fatalf("%s, told to be %d, was told to go from %d to %d", user, told[user], was, is)
			}
			if told[user] = is; is == offline {
				delete(told, user)
			}
		})
		now := time.Unix(1000, 0)
		read := func() {
			tab.begin(now)
			for key, v := range b.keys { // leases are younger than keys, as they are beaten
				tab.put(chat.UserID(key[0]), key[1], v.life, v.state, now.Add(-time.Minute), 1)
			}
			for edge, life := range b.leases {
				tab.leased(edge, life, now.Add(-time.Minute), 1)
			}
			if _, ok := tab.ask(nil); ok {
				t.Fatal("a table that is being rebuilt answers")
			}
			tab.ready(now, now)
		}
		// change makes one change of the bucket; feed says whether the table is told of it.
		change := func(feed bool) {
			user, edge := rapid.SampledFrom(users).Draw(t, "user"), rapid.SampledFrom(edges).Draw(t, "edge")
			life := rapid.SampledFrom(lives).Draw(t, "life")
			state := online.State{Away: rapid.Bool().Draw(t, "away"), Invisible: rapid.IntRange(0, 3).Draw(t, "invisible") == 0}
			switch rapid.IntRange(0, 5).Draw(t, "what") {
			case 0, 1:
				if b.keys[[2]string{user, edge}] = (value{life, state}); feed {
					tab.put(chat.UserID(user), edge, life, state, now, 2)
				}
			case 2:
				if delete(b.keys, [2]string{user, edge}); feed {
					tab.remove(chat.UserID(user), edge, now, 2)
				}
			case 3, 4:
				if b.leases[edge] = life; feed {
					tab.leased(edge, life, now, 2)
				}
			default:
				if delete(b.leases, edge); feed {
					tab.unleased(edge, now, 2)
				}
			}
		}
		check := func() {
			want := b.people()
			if diff := cmp.Diff(want, told); diff != "" {
				t.Fatalf("what was told differs (-want +got):\n%s", diff)
			}
			ids := []chat.UserID{"u1", "u2", "u3", "stranger"}
			got, ok := tab.ask(ids)
			for i, u := range ids {
				if !ok || got[i] != want[u] {
					t.Fatalf("%s: got %v; want %v", u, got, want[u])
				}
			}
			hosts := map[hostName]bool{}
			for key, v := range b.keys {
				hosts[hostName{key[1], v.life, v.state}] = true
			}
			if n, e := tab.counts(); n != len(want) || e != len(b.leases) || len(tab.number) != len(hosts) {
				t.Fatalf("got %d people, %d edges, %d hosts; want %d, %d, %d", n, e, len(tab.number), len(want), len(b.leases), len(hosts))
			}
			keys, _ := tab.stale(100, time.Now().Add(time.Hour))
			stale := 0
			for key, v := range b.keys {
				if l, ok := b.leases[key[1]]; !ok || l != v.life && l != "" && v.life != "" {
					stale++
				}
			}
			if len(keys) != stale {
				t.Fatalf("got %d stale keys; want %d", len(keys), stale)
			}
		}
		read()
		tab.settled(now)
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			if rapid.IntRange(0, 9).Draw(t, "rebuild") > 0 {
				change(true)
				check()
				continue
			}
			for range rapid.IntRange(0, 6).Draw(t, "unseen") {
				change(false)
			}
			before := len(told)
			read()
			if len(told) < before {
				t.Fatal("somebody was told to be offline before it is sure")
			}
			if rapid.Bool().Draw(t, "again") {
				read()
			}
			for range rapid.IntRange(0, 3).Draw(t, "settling") {
				change(true)
			}
			tab.settled(now)
			check()
		}
	})
}

func TestFirstRebuildTellsOnlyWhatNobodyCanHaveTold(t *testing.T) {
	t.Parallel()
	told := map[chat.UserID]bool{}
	tab := newTable(func(user chat.UserID, _, is standing, _ time.Time) { told[user] = is != offline })
	since := time.Unix(1000, 0)
	before, after := since.Add(-time.Second), since.Add(time.Second)
	tab.begin(since)
	tab.put("old", "a", "1", online.State{}, before, 1)
	tab.put("new", "a", "1", online.State{}, after, 2)
	tab.remove("left", "a", before, 3)
	tab.remove("leaves", "a", after, 4)
	tab.put("dead", "b", "1", online.State{}, before, 5)
	tab.put("lost", "c", "1", online.State{}, after, 6)
	tab.put("back", "c", "1", online.State{}, after, 7)
	tab.leased("a", "1", after, 8)
	tab.ready(after, after.Add(time.Second))
	if diff := cmp.Diff(map[chat.UserID]bool{"new": true, "leaves": false}, told); diff != "" {
		t.Errorf("told when it was ready (-want +got):\n%s", diff)
	}
	tab.put("back", "a", "1", online.State{}, after, 9)
	tab.settled(after) // too early
	if got, _ := tab.ask([]chat.UserID{"old", "new", "left", "leaves", "dead", "lost", "back"}); fmt.Sprint(got) != "[1 1 0 0 0 0 1]" {
		t.Errorf("got %v of old, new, left, leaves, dead, lost, back", got)
	}
	tab.settled(after.Add(time.Second))
	want := map[chat.UserID]bool{"new": true, "leaves": false, "dead": false, "lost": false, "back": true}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Errorf("told when it had settled (-want +got):\n%s", diff)
	}
}

func TestChangeThatIsUndoneBeforeItIsToldIsNotTold(t *testing.T) {
	t.Parallel()
	c := newChanges()
	c.lead(true)
	c.add("ann", offline, present, time.Now())
	c.add("ann", present, offline, time.Now())
	c.add("bob", away, offline, time.Now())
	c.add("bob", offline, present, time.Now())
	c.add("bob", present, offline, time.Now())
	got := c.take(10)
	if len(got) != 1 || got["bob"].is != offline {
		t.Errorf("got %v; want bob's going alone", got)
	}
	c.add("bob", offline, present, time.Now())
	c.giveBack(got) // could not be told: whether bob is known to be online is not sure now
	if got := c.take(10); len(got) != 1 || got["bob"].is != present {
		t.Errorf("got %v; want that bob is online", got)
	}
	c.again()
	if got := c.take(10); len(got) != 2 || got["ann"].is != offline || got["bob"].is != present {
		t.Errorf("got %v; want the last of both once more", got)
	}
	c.age()
	c.age()
	if c.again(); c.take(10) != nil {
		t.Error("what is old is told again")
	}
}

// BenchmarkBytesPerPerson shows what one online person takes in memory, ids of 26 letters included.
func BenchmarkBytesPerPerson(b *testing.B) {
	const n = 1_000_000
	for b.Loop() {
		var before, after runtime.MemStats
		tab := newTable(func(chat.UserID, standing, standing, time.Time) {})
		tab.begin(time.Time{})
		tab.ready(time.Now(), time.Now())
		tab.settled(time.Now())
		runtime.GC()
		runtime.ReadMemStats(&before)
		tab.leased("edge", "life", time.Now(), 1)
		for i := range n {
			tab.put(chat.UserID(fmt.Sprintf("01J9Z3K5T7W8X2Y4B6D8%06X", i)), "edge", "life", online.State{}, time.Now(), 2)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/n, "B/person")
		began := time.Now()
		tab.unleased("edge", time.Now(), 3)
		b.ReportMetric(float64(time.Since(began).Milliseconds()), "ms/dead-edge")
		runtime.KeepAlive(tab)
	}
}

func TestWhatSomebodyInvisibleDoesIsNeverTold(t *testing.T) {
	t.Parallel()
	c := newChanges()
	c.lead(true)
	start := time.Now()
	took := func(what string, others, own bool, at time.Time) {
		t.Helper()
		ch, ok := c.take(10)["ann"]
		if !ok || ch.tellsOthers() != others || ch.tellsOwn() != own || others && !ch.at.Equal(at) {
			t.Errorf("%s: got %+v, %v; want others told %v, of %v, and the own devices %v", what, ch, ok, others, at, own)
		}
	}
	c.add("ann", offline, hidden, start)
	took("she comes", false, true, start)
	c.again()
	took("it is told again", false, true, start)
	c.add("ann", hidden, present, start.Add(time.Second))
	took("she shows herself", true, true, start.Add(time.Second))
	c.add("ann", present, hidden, start.Add(2*time.Second))
	c.add("ann", hidden, hiddenAway, start.Add(3*time.Second))
	c.add("ann", hiddenAway, offline, start.Add(4*time.Second))
	took("she hides and goes before it is told", true, false, start.Add(2*time.Second))
	c.again()
	took("it is told again", true, false, start.Add(2*time.Second))
}

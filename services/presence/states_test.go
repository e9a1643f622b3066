package presence

import (
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/meshtest"
	"github.com/chatmesh/chatmesh/pkg/online"
	"github.com/chatmesh/chatmesh/pkg/prefs"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// states are the states that were told of a person, in order.
func (f *fixture) states(user chat.UserID) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []string
	for _, p := range f.told[user] {
		out = append(out, p.State)
		if p.Invisible {
			out = append(out, "and that they are invisible")
		}
	}
	return strings.Join(out, " ")
}

// truth is what the endpoint says of somebody to themselves.
func (f *fixture) truth(user chat.UserID) (wire.Presence, error) {
	var a Answer
	err := f.bus.Call(f.t.Context(), subject.PresenceEndpoint, Query{Users: []string{string(user)}, For: string(user)}, &a)
	if err != nil || len(a.Presence) != 1 {
		return wire.Presence{}, err
	}
	return a.Presence[0], nil
}

// own listens to what the own devices of a person are told.
func (f *fixture) own(user chat.UserID) func() string {
	f.t.Helper()
	var mu sync.Mutex
	var told []string
	sub, err := f.bus.Conn().Subscribe(subject.PresenceOwn(user), func(m *nats.Msg) {
		var p wire.Presence
		if err := json.Unmarshal(m.Data, &p); err != nil || p.User != user {
			f.t.Errorf("got %s", m.Data)
		}
		mu.Lock()
		defer mu.Unlock()
		told = append(told, p.State)
		if p.Invisible {
			told[len(told)-1] += "*"
		}
	})
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = sub.Unsubscribe() })
	return func() string {
		mu.Lock()
		defer mu.Unlock()
		return strings.Join(told, " ")
	}
}

func TestSomebodyIsAwayWhenAllDevicesOnAllEdgesAreIdle(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.serve("p1").leading()
	a, b := f.edge("a"), f.edge("b")
	told := func(want string) {
		t.Helper()
		meshtest.Eventually(t, meshtest.Patience, "ann is told to be "+want, func() bool { return f.states("ann") == want })
	}
	stored := func(key string, want online.State) {
		t.Helper()
		meshtest.Eventually(t, meshtest.Patience, key+" says so", func() bool {
			v, err := f.bus.Key(t.Context(), subject.Presence, key)
			return err == nil && online.StateOf(v) == want
		})
	}
	a.Come("ann")
	told("online")
	b.Be("ann", online.State{Away: true})
	stored("ann.b", online.State{Away: true})
	a.Be("ann", online.State{Away: true})
	told("online away")
	if answer, err := f.ask("ann"); err != nil || !answer[0].Online || answer[0].State != wire.Away || answer[0].LastSeen != nil {
		t.Errorf("got %+v, %v; want ann online and away", answer, err)
	}
	b.Come("ann")
	told("online away online")
	killed := time.Now()
	b.kill() // the edge where she was at a device
	told("online away online away")
	a.Go("ann")
	told("online away online away offline")
	if !f.isOffline(killed, "ann") {
		t.Error("ann has no last seen")
	}
}

func TestOthersSeeSomebodyInvisibleOfflineAsTheyWereWhenTheyHid(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.serve("p1").leading()
	own := f.own("ann")
	a, b := f.edge("a"), f.edge("b")
	a.Come("ann")
	b.Come("ann")
	meshtest.Eventually(t, meshtest.Patience, "ann is online", func() bool { return f.isOnline("ann") && f.states("ann") == "online" })
	hide := online.State{Invisible: true}
	before := time.Now()
	b.Be("ann", hide) // the other edge has not heard of it yet
	meshtest.Eventually(t, meshtest.Patience, "ann is offline", func() bool { return f.states("ann") == "online offline" && f.isOffline(before, "ann") })
	answer, err := f.ask("ann")
	if err != nil || answer[0].LastSeen == nil || answer[0].Invisible {
		t.Fatalf("got %+v, %v; want a last seen, and no word of why", answer, err)
	}
	seen := *answer[0].LastSeen
	a.Be("ann", hide)
	for _, s := range []online.State{{Away: true, Invisible: true}, hide, {Away: true, Invisible: true}} {
		a.Be("ann", s)
		b.Be("ann", s)
		want := map[bool]string{true: wire.Away, false: wire.Online}[s.Away]
		meshtest.Eventually(t, meshtest.Patience, "ann herself is told that she is "+want, func() bool {
			p, err := f.truth("ann")
			return err == nil && p.Online && p.Invisible && p.State == want
		})
	}
	meshtest.Eventually(t, meshtest.Patience, "her devices are told", func() bool { return own() == "online* away* online* away*" })
	a.Go("ann")
	b.Go("ann")
	meshtest.Eventually(t, meshtest.Patience, "ann is gone", func() bool { p, err := f.truth("ann"); return err == nil && !p.Online })
	a.Be("ann", hide)
	meshtest.Eventually(t, meshtest.Patience, "ann is back", func() bool { p, err := f.truth("ann"); return err == nil && p.Online })
	if answer, err := f.ask("ann"); err != nil || answer[0].Online || answer[0].LastSeen == nil || !answer[0].LastSeen.Equal(seen.Time) {
		t.Errorf("got %+v, %v; want ann offline, last seen at %v", answer, err, seen)
	}
	if got := f.states("ann"); got != "online offline" {
		t.Errorf("others were told %q; want nothing since she hid", got)
	}
	a.Come("ann")
	meshtest.Eventually(t, meshtest.Patience, "ann shows herself", func() bool { return f.states("ann") == "online offline online" && f.isOnline("ann") })
}

func TestARestartedServiceTellsNothingOfWhoIsInvisible(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := f.serve("p1").leading()
	a, b := f.edge("a"), f.edge("b")
	for _, user := range []chat.UserID{"ann", "ben", "cid"} {
		if _, err := prefs.Change(t.Context(), f.bus, user, func(p *prefs.Preferences) { p.Invisible = true }); err != nil {
			t.Fatal(err)
		}
	}
	hide := online.State{Invisible: true}
	a.Be("ann", hide)
	a.Be("ben", hide)
	b.Be("cid", hide)
	a.Come("dan")
	meshtest.Eventually(t, meshtest.Patience, "all are known", func() bool {
		for _, u := range []chat.UserID{"ann", "ben", "cid", "dan"} {
			if p, err := f.truth(u); err != nil || !p.Online {
				return false
			}
		}
		return f.states("dan") == "online"
	})
	s.stop()
	a.Go("ann") // without a service; what stood in her key is not in the bucket any more
	a.Go("dan")
	b.kill()
	meshtest.Eventually(t, meshtest.Patience, "the keys are gone", func() bool {
		_, ann := f.bus.Key(t.Context(), subject.Presence, "ann.a")
		_, dan := f.bus.Key(t.Context(), subject.Presence, "dan.a")
		return ann != nil && dan != nil
	})
	f.serve("p2").leading()
	meshtest.Eventually(t, meshtest.Patience, "dan's going is told", func() bool { return f.last("dan") == "-" })
	meshtest.Eventually(t, meshtest.Patience, "cid is known to be gone", func() bool {
		cid, err := f.truth("cid")
		ben, err2 := f.truth("ben")
		return err == nil && err2 == nil && !cid.Online && ben.Online && ben.Invisible
	})
	answer, err := f.ask("ann", "ben", "cid")
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range answer {
		if p.Online || p.LastSeen != nil || p.Invisible {
			t.Errorf("got %+v; want offline and never seen", p)
		}
		if got := f.states(p.User); got != "" {
			t.Errorf("person %d: others were told %q; want nothing", i, got)
		}
	}
}

package e2e

import (
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/chatmesh/chatmesh/e2e/program"
	"github.com/chatmesh/chatmesh/e2e/raw"
)

func standingIn(f raw.Frame) (s standing) {
	_ = json.Unmarshal(f.Raw, &s)
	return s
}

// standingOf asks over HTTP until what is answered is as it should be: of several presence services any answers, and it may not have seen yet
// what the one that leads has told.
func (p *person) standingOf(other *person, want string, is func(standing) bool) {
	p.t.Helper()
	eventually(p.t, raw.Patience, p.name+" is answered: "+want, func() bool {
		s, told := p.presenceOf(other)
		return told && is(s)
	})
}

// watching is a device that watches somebody.
func (p *person) watching(other *person) *raw.Socket {
	p.t.Helper()
	s := p.device(nil)
	if err := s.Send(raw.Object{"type": "watch", "id": "w", "users": []string{other.id}}); err != nil {
		p.t.Fatal(err)
	}
	if _, err := s.Await(raw.Patience, func(f raw.Frame) bool { return f.Type == "presence" && f.User() == other.id }); err != nil {
		p.t.Fatal(err)
	}
	return s
}

// told waits until the last that a socket was told of somebody is a state, and returns it.
func told(t *testing.T, s *raw.Socket, of *person, state string) standing {
	t.Helper()
	last := standingIn(toldThat(t, s, of, state, func(f raw.Frame) bool { return standingIn(f).State == state }))
	if last.Online != (state != "offline") {
		t.Errorf("got %+v; want online of who is away too", last)
	}
	return last
}

// prefer changes preferences and waits until the devices have heard of it.
func (p *person) prefer(body raw.Object, devices ...*raw.Socket) {
	p.t.Helper()
	heard := func(s *raw.Socket) int {
		return len(s.Frames(func(f raw.Frame) bool { return f.Type == "preferences" }))
	}
	var before []int
	for _, s := range devices {
		before = append(before, heard(s))
	}
	p.must(http.StatusOK, http.MethodPut, "/v1/users/me/preferences", body, nil)
	for i, s := range devices {
		eventually(p.t, raw.Patience, "a device of "+p.name+" is told", func() bool { return heard(s) > before[i] })
	}
}

func ack(t *testing.T, s *raw.Socket, o raw.Object) {
	t.Helper()
	if f, err := s.Ask(o); err != nil || f.Type != "ack" {
		t.Fatalf("%v: got %s, %v; want an ack", o["type"], f.Raw, err)
	}
}

func TestSomebodyWithIdleDevicesIsAway(t *testing.T) {
	t.Parallel()
	srv := server(t)
	people := newPeople(t, srv, "idle", 2)
	alice, bob := people[0], people[1]
	alice.direct(bob)
	s := alice.watching(bob)
	phone, laptop := bob.device(nil), bob.device(nil)
	told(t, s, bob, "online")
	ack(t, phone, raw.Object{"type": "idle", "idle": true})
	ack(t, laptop, raw.Object{"type": "idle", "idle": true})
	told(t, s, bob, "away")
	alice.standingOf(bob, "bob is away, which is online", func(s standing) bool { return s.State == "away" && s.Online && s.LastSeen.IsZero() })
	ack(t, phone, raw.Object{"type": "idle", "idle": false})
	told(t, s, bob, "online")
	phone.Leave()
	told(t, s, bob, "away") // the laptop is idle yet
	laptop.Leave()
	told(t, s, bob, "offline")
}

func TestADeviceThatFlapsIsNotSeenAndALogoutIsAtOnce(t *testing.T) {
	t.Parallel()
	srv := program.Start(t, program.Config{Data: t.TempDir(), Args: []string{"--presence-grace", "1m", "--away-after", "1s"}})
	alice, bob := newPerson(t, srv, "alice"), newPerson(t, srv, "bob")
	alice.direct(bob)
	s := alice.watching(bob)
	phone, laptop := bob.device(nil), bob.device(nil)
	told(t, s, bob, "online")
	before := len(presenceFrames(s, bob))
	laptop.Close()
	for range 5 {
		phone.Close()
		phone = bob.device(nil)
	}
	told(t, s, bob, "away") // all the time nobody did anything
	for _, f := range presenceFrames(s, bob)[before:] {
		if got := standingIn(f); !got.Online {
			t.Errorf("a phone that flaps is told: %s", f.Raw)
		}
	}
	began := time.Now()
	bob.must(http.StatusNoContent, http.MethodDelete, "/v1/sessions/current", nil, nil)
	told(t, s, bob, "offline")
	if took := time.Since(began); took > 50*time.Second {
		t.Errorf("offline %v after the logout; want no grace", took)
	}
}

func TestWhoHidesIsOfflineForOthersWhateverTheyDo(t *testing.T) {
	t.Parallel()
	srv := server(t)
	people := newPeople(t, srv, "hidden", 2)
	alice, bob := people[0], people[1]
	chat := alice.direct(bob)
	s := alice.watching(bob)
	phone := bob.device(nil)
	told(t, s, bob, "online")
	bob.prefer(raw.Object{"presence": "invisible"}, phone)
	seen := told(t, s, bob, "offline").LastSeen
	if seen.IsZero() || time.Since(seen) > time.Minute {
		t.Errorf("last seen at %v; want the moment when bob hid", seen)
	}
	before := len(presenceFrames(s, bob))
	own := bob.watching(bob)
	eventually(t, raw.Patience, "bob himself is told the truth", func() bool { // asked again: one presence service may be behind another
		frames := presenceFrames(own, bob)
		if got := standingIn(frames[len(frames)-1]); got.Online && got.State == "online" && got.Invisible {
			return true
		}
		if err := own.Send(raw.Object{"type": "watch", "id": "w", "users": []string{bob.id}}); err != nil {
			t.Fatal(err)
		}
		return false
	})
	ack(t, phone, raw.Object{"type": "idle", "idle": true})
	ack(t, own, raw.Object{"type": "idle", "idle": true})
	if got := told(t, own, bob, "away"); !got.Invisible {
		t.Errorf("bob himself is told %+v; want that he is invisible", got)
	}
	bob.standingOf(bob, "he is away and invisible", func(s standing) bool { return s.State == "away" && s.Online && s.Invisible })
	bob.post(chat, text("nobody sees me"))
	phone.Leave()
	own.Leave()
	laptop := bob.device(nil) // which was away when he hid
	ack(t, laptop, raw.Object{"type": "idle", "idle": false})
	awaitSeq(t, "alice", s, chat, 2)
	alice.standingOf(bob, "bob is offline, last seen when he hid", func(s standing) bool {
		return !s.Online && s.State == "offline" && s.LastSeen.Equal(seen) && !s.Invisible
	})
	if got := presenceFrames(s, bob); len(got) != before {
		t.Errorf("alice is told %s of somebody invisible", got[len(got)-1].Raw)
	}
	bob.prefer(raw.Object{"presence": "visible"}, laptop)
	told(t, s, bob, "online")
}

func TestSomebodyOnTwoEdgesIsOnePersonAlsoWhenOneIsKilled(t *testing.T) {
	t.Parallel()
	broker := newBroker(t, rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 11)))
	if err := broker.start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.kill)
	args := []string{"--nats-url", broker.url(), "--presence-ttl", "3s", "--presence-grace", "2s"}
	one := program.Start(t, program.Config{Args: append(slices.Clone(args), "--node", "one")})
	two := program.Start(t, program.Config{Data: t.TempDir(), Args: append(slices.Clone(args), "--node", "two", "edge")})
	alice, bob := newPerson(t, one, "alice"), newPerson(t, one, "bob")
	alice.direct(bob)
	s := alice.watching(bob)
	laptop := bob.device(nil)
	ack(t, laptop, raw.Object{"type": "idle", "idle": true})
	told(t, s, bob, "away")
	there := *bob // the same person, by the other edge
	there.srv = two
	phone := there.device(nil)
	told(t, s, bob, "online")
	// What is switched on one edge holds on the other.
	bob.prefer(raw.Object{"presence": "invisible"}, laptop, phone)
	told(t, s, bob, "offline")
	bob.prefer(raw.Object{"presence": "visible"}, laptop, phone)
	told(t, s, bob, "online")
	before := len(presenceFrames(s, bob))
	two.Kill()
	told(t, s, bob, "away")
	for _, f := range presenceFrames(s, bob)[before:] {
		if !standingIn(f).Online {
			t.Errorf("an edge of two was killed: alice is told %s", f.Raw)
		}
	}
	alice.standingOf(bob, "bob is away", func(s standing) bool { return s.State == "away" && s.Online })
	laptop.Leave()
	told(t, s, bob, "offline")
}

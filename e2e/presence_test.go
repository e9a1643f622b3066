package e2e

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/chatmesh/chatmesh/e2e/program"
	"github.com/chatmesh/chatmesh/e2e/raw"
)

// standing is how somebody is told to be.
type standing struct {
	UserID    string    `json:"user_id"`
	Online    bool      `json:"online"`
	State     string    `json:"state"`
	LastSeen  time.Time `json:"last_seen"`
	Invisible bool      `json:"invisible"`
}

// presenceOf asks over HTTP for the presence of somebody, and returns whether there was an answer.
func (p *person) presenceOf(other *person) (standing, bool) {
	p.t.Helper()
	var a struct {
		Presence []standing `json:"presence"`
	}
	p.must(http.StatusOK, http.MethodGet, "/v1/presence?"+url.Values{"user": {other.id}}.Encode(), nil, &a)
	for _, e := range a.Presence {
		if e.UserID == other.id {
			return e, true
		}
	}
	if len(a.Presence) > 0 {
		p.t.Errorf("asked for %s: got %+v", other.id, a.Presence)
	}
	return standing{}, false
}

// presenceFrames are what a socket was told of somebody.
func presenceFrames(s *raw.Socket, of *person) []raw.Frame {
	return s.Frames(func(f raw.Frame) bool { return f.Type == "presence" && f.User() == of.id })
}

// toldThat waits until the last that a socket was told of somebody is as it should be, and returns it.
func toldThat(t *testing.T, s *raw.Socket, of *person, want string, is func(raw.Frame) bool) raw.Frame {
	t.Helper()
	var last raw.Frame
	eventually(t, 2*raw.Patience, of.name+" is told to be "+want, func() bool {
		frames := presenceFrames(s, of)
		if len(frames) == 0 {
			return false
		}
		last = frames[len(frames)-1]
		return is(last)
	})
	return last
}

// toldOnline waits until the last that a socket was told of somebody is that they are online, or that they are not.
func toldOnline(t *testing.T, s *raw.Socket, of *person, online bool) raw.Frame {
	t.Helper()
	what := map[bool]string{true: "online", false: "offline"}[online]
	return toldThat(t, s, of, what, func(f raw.Frame) bool { return f.Online != nil && *f.Online == online })
}

func TestPresenceFollowsTheConnectionsOfAPerson(t *testing.T) {
	t.Parallel()
	srv := server(t)
	alice, bob := newPerson(t, srv, "alice"), newPerson(t, srv, "bob")
	alice.direct(bob)
	s := alice.device(nil)
	if err := s.Send(raw.Object{"type": "watch", "id": "w1", "users": []string{bob.id}}); err != nil {
		t.Fatal(err)
	}
	toldOnline(t, s, bob, false)
	if a, ok := alice.presenceOf(bob); !ok || a.Online {
		t.Errorf("over HTTP before bob connects: got %+v, %v; want offline", a, ok)
	}
	began := time.Now()
	phone := bob.device(nil)
	toldOnline(t, s, bob, true)
	t.Logf("online was told after %v", time.Since(began).Round(time.Millisecond))
	eventually(t, raw.Patience, "bob online over HTTP", func() bool { a, _ := alice.presenceOf(bob); return a.Online })
	if a, ok := bob.presenceOf(alice); !ok || !a.Online {
		t.Errorf("bob asks for alice: got %+v, %v; want online", a, ok)
	}

	laptop := bob.device(nil)
	phone.Leave()
	told := len(presenceFrames(s, bob))
	steadily(t, time.Second, "bob offline while one of his devices is there", func() bool {
		a, _ := alice.presenceOf(bob)
		return !a.Online
	})
	for _, f := range presenceFrames(s, bob)[told:] {
		if f.Online == nil || !*f.Online {
			t.Errorf("one of two devices left: got %s", f.Raw)
		}
	}
	left := time.Now()
	laptop.Close() // without a goodbye
	f := toldOnline(t, s, bob, false)
	t.Logf("offline was told after %v", time.Since(left).Round(time.Millisecond))
	if f.LastSeen.Before(left.Add(-5*time.Second)) || f.LastSeen.After(time.Now().Add(5*time.Second)) {
		t.Errorf("last_seen is %v; want about %v", f.LastSeen, left)
	}
	eventually(t, raw.Patience, "bob offline with last_seen over HTTP", func() bool {
		a, ok := alice.presenceOf(bob)
		return ok && !a.Online && !a.LastSeen.IsZero()
	})
}

func TestAStrangerLearnsNothingOfPresence(t *testing.T) {
	t.Parallel()
	srv := server(t)
	people := newPeople(t, srv, "watched", 3)
	alice, bob, eve := people[0], people[1], people[2]
	chat := alice.group("us", bob)
	s, friend := eve.device(nil), bob.device(nil)
	watch := raw.Object{"type": "watch", "id": "w1", "users": []string{alice.id, "nobody"}}
	for _, w := range []*raw.Socket{s, friend} {
		if err := w.Send(watch); err != nil {
			t.Fatal(err)
		}
	}
	toldOnline(t, friend, alice, false)
	device := alice.device(nil)
	toldOnline(t, friend, alice, true)
	if a, ok := eve.presenceOf(alice); ok {
		t.Errorf("over HTTP a stranger is told %+v; want nothing", a)
	}
	device.Leave()
	toldOnline(t, friend, alice, false)
	if a, ok := eve.presenceOf(alice); ok {
		t.Errorf("over HTTP a stranger is told %+v; want nothing", a)
	}
	if _, err := s.Ask(raw.Object{"type": "ping"}); err != nil {
		t.Fatal(err)
	}
	if got := presenceFrames(s, alice); len(got) != 0 {
		t.Errorf("a stranger who watches is told %s; want nothing", got[0].Raw)
	}
	// Who is removed from the only common chat is a stranger from then on.
	alice.must(http.StatusOK, http.MethodDelete, "/v1/chats/"+chat+"/members/"+bob.id, nil, nil)
	eventually(t, raw.Patience, "bob, who shares no chat any more, is told nothing over HTTP", func() bool {
		_, ok := bob.presenceOf(alice)
		return !ok
	})
}

func TestThePeopleOfAKilledProcessAreOfflineAfterARestart(t *testing.T) {
	t.Parallel()
	cfg := program.Config{Data: t.TempDir()}
	srv := program.Start(t, cfg)
	alice, bob := newPerson(t, srv, "alice"), newPerson(t, srv, "bob")
	alice.direct(bob)
	bob.device(nil)
	eventually(t, raw.Patience, "bob online", func() bool { a, _ := alice.presenceOf(bob); return a.Online })
	srv.Kill()
	again(t, cfg, alice, bob)
	restarted := time.Now()
	*alice = *alice.login()
	s := alice.device(nil)
	if err := s.Send(raw.Object{"type": "watch", "id": "w1", "users": []string{bob.id}}); err != nil {
		t.Fatal(err)
	}
	toldOnline(t, s, bob, false)
	eventually(t, 2*raw.Patience, "bob offline", func() bool { a, ok := alice.presenceOf(bob); return ok && !a.Online })
	// Some 10 s are usual: the lease of the edge that was killed has to end. The bound is that of waiting, since a crowded
	// machine takes longer.
	t.Logf("offline was told %v after the restart", time.Since(restarted).Round(time.Millisecond))
}

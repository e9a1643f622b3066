package client

import (
	"testing"
	"time"
)

func TestHowPeopleAreIsToldByNext(t *testing.T) {
	f := newFake(t)
	conn, s := f.connect(f.login(), ConnConfig{})
	s.write(`{"type":"preferences","read_receipts":false,"typing":true,"presence":"invisible","revision":7}`)
	s.write(`{"type":"preferences","read_receipts":true,"typing":true,"presence":"visible","revision":6}`) // late
	s.write(`{"type":"typing","chat":"c","user":"you","expires_in_ms":6000}`)
	s.write(`{"type":"typing","chat":"d","user":"you","stopped":true}`)
	s.write(`{"type":"presence","user":"you","online":true,"state":"away"}`)
	s.write(`{"type":"presence","user":"me","online":true,"state":"online","invisible":true}`)
	var prefs []Preferences
	var typing []Typing
	var presence []Presence
	for len(presence) < 2 {
		u, err := conn.Next(t.Context())
		switch {
		case err != nil:
			t.Fatal(err)
		case u.Preferences != nil:
			prefs = append(prefs, *u.Preferences)
		case u.Typing != nil:
			typing = append(typing, *u.Typing)
		case u.Presence != nil:
			presence = append(presence, *u.Presence)
		}
	}
	if len(prefs) != 1 || prefs[0] != (Preferences{Typing: true, Presence: Invisible}) {
		t.Errorf("got %+v; want the later preferences once", prefs)
	}
	if len(typing) != 2 || typing[0] != (Typing{Chat: "c", User: "you", Expires: 6 * time.Second}) || typing[1] != (Typing{Chat: "d", User: "you", Stopped: true}) {
		t.Errorf("got %+v; want that somebody writes for 6 s, and has stopped elsewhere", typing)
	}
	if presence[0] != (Presence{User: "you", Online: true, State: Away}) || presence[1] != (Presence{User: "me", Online: true, State: Online, Invisible: true}) {
		t.Errorf("got %+v", presence)
	}
}

func TestADeviceThatIsIdleIsSoOnANewConnection(t *testing.T) {
	f := newFake(t)
	conn, s := f.connect(f.login(), ConnConfig{})
	if err := conn.StopTyping(t.Context(), "c"); err != nil {
		t.Fatal(err)
	}
	if r := s.read("typing"); !r.Stopped || r.Chat != "c" {
		t.Errorf("got %+v; want that it is over", r)
	}
	if err := conn.Idle(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if r := s.read("idle"); r.Idle == nil || !*r.Idle {
		t.Errorf("got %+v; want idle", r)
	}
	s.close(CloseTooSlow)
	s = f.accept()
	s.write(`{"type":"welcome"}`)
	if r := s.read("idle"); r.Idle == nil || !*r.Idle {
		t.Errorf("got %+v; want idle again", r)
	}
	if err := conn.Idle(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	if r := s.read("idle"); r.Idle == nil || *r.Idle {
		t.Errorf("got %+v; want somebody there", r)
	}
}

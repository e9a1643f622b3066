package e2e

import (
	"bytes"
	"net/http"
	"testing"
	"time"

	"github.com/chatmesh/chatmesh/e2e/raw"
)

// rotate uses a refresh token, wants a new pair and takes it over.
func (p *person) rotate() {
	p.t.Helper()
	var a signedIn
	p.must(http.StatusOK, http.MethodPost, "/v1/sessions/refresh", raw.Object{"refresh_token": p.refresh}, &a)
	if a.AccessToken == "" || a.RefreshToken == "" || a.RefreshToken == p.refresh || a.ExpiresIn <= 0 {
		p.t.Errorf("refresh answers tokens %v, expires_in %v; want a new pair", a.RefreshToken != p.refresh, a.ExpiresIn)
	}
	p.access, p.refresh = a.AccessToken, a.RefreshToken
	p.srv.Guard(p.access, p.refresh)
}

// tokensEnd waits until neither of the session's tokens works any more.
func (p *person) tokensEnd() {
	p.t.Helper()
	eventually(p.t, raw.Patience, "the access token stops working", func() bool {
		return p.call(http.MethodGet, "/v1/users/me", nil).Status == http.StatusUnauthorized
	})
	p.refused("unauthorized|invalid_token", http.MethodGet, "/v1/users/me", nil)
	p.refused("unauthorized|invalid_token", http.MethodGet, "/v1/chats", nil)
	p.refused("invalid_token", http.MethodPost, "/v1/sessions/refresh", raw.Object{"refresh_token": p.refresh})
	s, _, err := raw.Dial(p.t.Context(), p.srv.Client, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	defer s.Close()
	if err := s.Send(raw.Object{"type": "hello", "token": p.access}); err != nil {
		p.t.Fatal(err)
	}
	closedAs(p.t, "a hello with the ended token", s, raw.Patience, 3500, 3501)
	if got := s.Frames(func(f raw.Frame) bool { return f.Type == "welcome" }); len(got) > 0 {
		p.t.Errorf("an ended token is welcome: %s", got[0].Raw)
	}
}

func TestARefreshTokenWorksOnceAndASecondUseEndsItsSession(t *testing.T) {
	t.Parallel()
	srv := server(t)
	victim := newPerson(t, srv, "victim")
	elsewhere := victim.login()
	old := victim.refresh
	victim.rotate()
	victim.rotate()
	if a := victim.call(http.MethodGet, "/v1/users/me", nil); a.Status != http.StatusOK {
		t.Fatalf("a rotated token gets %d", a.Status)
	}
	s, other := victim.device(nil), elsewhere.device(nil)
	victim.refused("invalid_token", http.MethodPost, "/v1/sessions/refresh", raw.Object{"refresh_token": old})
	victim.tokensEnd()
	closedAs(t, "the session's open connection", s, raw.Patience, 3501)
	elsewhere.must(http.StatusOK, http.MethodGet, "/v1/users/me", nil, nil)
	if _, err := other.Ask(raw.Object{"type": "ping"}); err != nil {
		t.Errorf("another session of the same person: %v", err)
	}
}

func TestALogoutEndsItsSessionAndNoOther(t *testing.T) {
	t.Parallel()
	srv := server(t)
	alice, bob := newPerson(t, srv, "alice"), newPerson(t, srv, "bob")
	chat := alice.direct(bob)
	elsewhere := alice.login()
	devices := []*raw.Socket{alice.device(nil), alice.device(nil)}
	other := elsewhere.device(nil)
	began := time.Now()
	if a := alice.call(http.MethodDelete, "/v1/sessions/current", nil); a.Status != http.StatusOK && a.Status != http.StatusNoContent {
		t.Fatalf("logout: got %d %.200s", a.Status, a.Body)
	}
	for _, s := range devices {
		closedAs(t, "a connection of the session", s, raw.Patience, 3501)
	}
	t.Logf("the connections closed after %v", time.Since(began).Round(time.Millisecond))
	alice.tokensEnd()
	seq := bob.post(chat, text("after the logout"))
	awaitSeq(t, "the other session", other, chat, seq)
	for _, s := range devices {
		if got := s.Events(chat); len(got) != 0 {
			t.Errorf("a connection of the ended session got %v", seqs(got))
		}
	}
	elsewhere.rotate()
}

func TestAWrongPasswordAndAnUnknownNameAreToldAlike(t *testing.T) {
	t.Parallel()
	srv := server(t)
	alice := newPerson(t, srv, "alice")
	try := func(name, password string) raw.Answer {
		t.Helper()
		srv.Guard(password)
		hashing <- struct{}{}
		defer func() { <-hashing }()
		a, err := raw.Call(t.Context(), srv.Client, "", http.MethodPost, "/v1/sessions", raw.Object{"username": name, "password": password})
		if err != nil {
			t.Fatal(err)
		}
		if why := refusedWith(a, "invalid_credentials"); why != "" {
			t.Error(why)
		}
		return a
	}
	wrong := try(alice.name, canary+"-wrong")
	unknown := try("nobody_"+random(6), canary+"-wrong")
	if !bytes.Equal(wrong.Body, unknown.Body) || wrong.Status != unknown.Status {
		t.Errorf("a wrong password gets %d %s, an unknown name %d %s; want the same", wrong.Status, wrong.Body, unknown.Status, unknown.Body)
	}
	for name := range wrong.Header {
		if _, there := unknown.Header[name]; !there {
			t.Errorf("header %s comes with a wrong password only", name)
		}
	}
	if a := alice.login(); a.access == "" || a.access == alice.access {
		t.Error("after wrong attempts the right password begins no session of its own")
	}
}

func TestTheTokenMayComeInTheHeader(t *testing.T) {
	t.Parallel()
	srv := server(t)
	alice := newPerson(t, srv, "alice")
	s, _, err := raw.Dial(t.Context(), srv.Client, http.Header{"Authorization": {"Bearer " + alice.access}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	if err := s.Send(raw.Object{"type": "hello"}); err != nil {
		t.Fatal(err)
	}
	f, err := s.Await(raw.Patience, func(f raw.Frame) bool { return f.Type == "welcome" })
	if err != nil || f.User() != alice.id || f.Session == "" || f.ServerTime.IsZero() {
		t.Errorf("got %s, %v; want a welcome with user, session and server_time", f.Raw, err)
	}
}

func TestAPersonIsFoundByName(t *testing.T) {
	t.Parallel()
	srv := server(t)
	alice, bob := newPerson(t, srv, "alice"), newPerson(t, srv, "bob")
	type user struct {
		ID          string `json:"id"`
		Username    string `json:"username"`
		DisplayName string `json:"display_name"`
		Email       string `json:"email"`
	}
	var me, found user
	alice.must(http.StatusOK, http.MethodGet, "/v1/users/me", nil, &me)
	if me.ID != alice.id || me.Username != alice.name || me.DisplayName != "The alice" {
		t.Errorf("me: got %+v", me)
	}
	alice.must(http.StatusOK, http.MethodGet, "/v1/users?username="+bob.name, nil, &found)
	if found.ID != bob.id || found.Username != bob.name || found.Email != "" {
		t.Errorf("bob: got %+v; want his id and name, and no address", found)
	}
	alice.refused("not_found", http.MethodGet, "/v1/users?username=nobody_"+random(6), nil)
}

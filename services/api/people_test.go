package api

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/chatmesh/chatmesh/pkg/auth"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/meshtest"
	"github.com/chatmesh/chatmesh/pkg/subject"
)

// register makes an account with a password.
func (w *world) register(name, password, device string) grant {
	w.t.Helper()
	var g grant
	w.call("", "POST", "/v1/users", map[string]string{"username": name, "password": password, "device": device}).want(w.t, 201, "").into(w.t, &g)
	return g
}

func (w *world) login(name, password, device string) grant {
	w.t.Helper()
	var g grant
	w.call("", "POST", "/v1/sessions", map[string]string{"username": name, "password": password, "device": device}).want(w.t, 201, "").into(w.t, &g)
	return g
}

// ended fails unless neither token of a session works.
func (w *world) ended(g grant) {
	w.t.Helper()
	w.call(g.AccessToken, "GET", "/v1/users/me", nil).want(w.t, 401, chat.Unauthorized)
	w.call("", "POST", "/v1/sessions/refresh", map[string]string{"refresh_token": g.RefreshToken}).want(w.t, 401, chat.InvalidToken)
}

func TestAProfileIsChangedFieldByFieldAndSeenByOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.people("ann", "ben", "eve")
	ann, ben, eve := p[0], p[1], p[2]
	ann.direct(ben)
	own, err := w.bus.Conn().SubscribeSync(subject.User(ann.id))
	check(t, err)
	check(t, w.bus.Conn().Flush())
	change := func(body string) userView {
		t.Helper()
		var u userView
		ann.call("PATCH", "/v1/users/me", body).want(t, 200, "").into(t, &u)
		return u
	}
	const picture = "https://pictures.example/a.png?size=1"
	change(`{"display_name":"Ann"}`)
	change(`{"status":"at tea"}`)
	want := userView{ID: ann.id, Username: ann.name, DisplayName: "Ann", Status: "at tea", Picture: picture}
	if got := change(`{"picture":"` + picture + `","status":null}`); got != want {
		t.Errorf("got %+v; want %+v", got, want)
	}
	var seen struct{ Users []userView }
	ben.call("GET", "/v1/users?id="+string(ann.id), nil).want(t, 200, "").into(t, &seen)
	if len(seen.Users) != 1 || seen.Users[0] != want {
		t.Errorf("ben sees %+v; want %+v", seen.Users, want)
	}
	var found userView
	eve.call("GET", "/v1/users?username="+ann.name, nil).want(t, 200, "").into(t, &found)
	if found != want {
		t.Errorf("eve finds %+v; want %+v", found, want)
	}
	for range 3 {
		m, err := own.NextMsg(5 * time.Second)
		check(t, err)
		if !bytes.Contains(m.Data, []byte(`{"type":"profile","user":{"id":"`+string(ann.id)+`"`)) {
			t.Errorf("got %s; want own devices to be told", m.Data)
		}
	}
	if got := change(`{"display_name":"","status":"","picture":""}`); got != (userView{ID: ann.id, Username: ann.name, DisplayName: ann.name}) {
		t.Errorf("got %+v; want all to be taken back", got)
	}
	for body, code := range map[string]chat.Code{
		`{"display_name":"` + strings.Repeat("x", 65) + `"}`: chat.BadRequest, `{"display_name":"a\u0007"}`: chat.BadRequest,
		`{"status":"` + strings.Repeat("x", 141) + `"}`: chat.BadRequest, `{"status":"a\nb"}`: chat.BadRequest, `{"status":5}`: chat.BadRequest,
		`{"picture":"http://pictures.example/a.png"}`: chat.BadRequest, `{"picture":"javascript:alert(1)"}`: chat.BadRequest,
		`{"picture":"https://user:word@pictures.example/"}`: chat.BadRequest, `{"picture":"https:///a.png"}`: chat.BadRequest,
		`{"picture":"https://pictures.example/` + strings.Repeat("x", 2048) + `"}`: chat.TooLong, `[]`: chat.BadRequest,
	} {
		ann.call("PATCH", "/v1/users/me", body).want(t, statuses[code], code)
	}
}

func TestSessionsAreListedWithTheirDevicesAndEndedOneByOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.register("ann", "correct horse", "Phone")
	second := w.login("ann", "correct horse", "")
	var refreshed grant
	w.call("", "POST", "/v1/sessions/refresh", map[string]string{"refresh_token": first.RefreshToken}).want(t, 200, "").into(t, &refreshed)
	other := w.person("ben")
	list := func(token string) []sessionView {
		t.Helper()
		var v struct{ Sessions []sessionView }
		w.call(token, "GET", "/v1/sessions", nil).want(t, 200, "").into(t, &v)
		return v.Sessions
	}
	got := list(second.AccessToken)
	if len(got) != 2 || got[0].Device != "Phone" || got[0].Current || !got[0].LastUsedAt.After(got[0].CreatedAt.Time) ||
		got[1].Device != "" || !got[1].Current || got[1].LastUsedAt != got[1].CreatedAt || got[1].ID != w.keyOf(t, second.AccessToken) {
		t.Fatalf("got %+v; want the phone, refreshed last, and the session of the call", got)
	}
	// Nobody ends another's session, nor learns of it.
	none := other.call("DELETE", "/v1/sessions/nothing", nil).want(t, 404, chat.NotFound)
	if r := other.call("DELETE", "/v1/sessions/"+got[0].ID, nil).want(t, 404, chat.NotFound); !bytes.Equal(r.body, none.body) {
		t.Errorf("got %s for another's session, %s for none; want the same", r.body, none.body)
	}
	other.call("DELETE", "/v1/sessions/a.b", nil).want(t, 404, chat.NotFound)
	w.call(second.AccessToken, "DELETE", "/v1/sessions/"+got[0].ID, nil).want(t, 204, "")
	w.ended(refreshed)
	w.call(second.AccessToken, "DELETE", "/v1/sessions/"+got[0].ID, nil).want(t, 404, chat.NotFound)
	if got := list(second.AccessToken); len(got) != 1 || !got[0].Current {
		t.Errorf("got %+v; want the own session only", got)
	}
	for _, device := range []string{strings.Repeat("ä", 101), "a\tb"} {
		w.call("", "POST", "/v1/sessions", map[string]string{"username": "ann", "password": "correct horse", "device": device}).want(t, 400, chat.BadRequest)
	}
}

func TestANewPasswordEndsAllOtherSessions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	own := w.register("ann", "correct horse", "")
	others := []grant{w.login("ann", "correct horse", ""), w.login("ann", "correct horse", "")}
	change := func(old, next string) reply {
		return w.call(own.AccessToken, "PUT", "/v1/users/me/password", map[string]string{"old_password": old, "new_password": next})
	}
	wrong := w.call("", "POST", "/v1/sessions", credentials("ann", "wrong horse")).want(t, 401, chat.InvalidCredentials)
	for _, old := range []string{"wrong horse", "x", strings.Repeat("x", 5000)} {
		before := w.hasher.Stats().Computed
		if r := change(old, "battery staple").want(t, 401, chat.InvalidCredentials); !bytes.Equal(r.body, wrong.body) {
			t.Errorf("got %s; want %s, as at a log-in", r.body, wrong.body)
		}
		if got := w.hasher.Stats().Computed - before; got != 2 {
			t.Errorf("got %d hashes for a wrong password; want two, as for the right one", got)
		}
	}
	change("correct horse", "short").want(t, 400, chat.BadRequest)
	change("", "battery staple").want(t, 400, chat.BadRequest)
	w.call(others[0].AccessToken, "GET", "/v1/users/me", nil).want(t, 200, "")
	change("correct horse", "battery staple").want(t, 204, "")
	for _, g := range others {
		w.ended(g)
	}
	w.call(own.AccessToken, "GET", "/v1/users/me", nil).want(t, 200, "")
	w.call("", "POST", "/v1/sessions", credentials("ann", "correct horse")).want(t, 401, chat.InvalidCredentials)
	late := w.login("ann", "battery staple", "")
	change("correct horse", "battery staple").want(t, 204, "") // the answer was lost, and the call is made again
	w.ended(late)
	change("correct horse", "another one").want(t, 401, chat.InvalidCredentials)
	w.call("", "POST", "/v1/sessions/refresh", map[string]string{"refresh_token": own.RefreshToken}).want(t, 200, "")
}

func TestALogInThatANewPasswordOvertakesBeginsNoSession(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.person("ann")
	before := mustUser(t, w, p)
	check(t, w.store.SetPassword(t.Context(), p.id, before.PasswordHash, "another"))
	if _, err := w.api.begin(t.Context(), before, ""); !chat.Is(err, chat.InvalidCredentials) {
		t.Errorf("got %v; want the password to be wrong by now", err)
	}
	check(t, w.store.BeginDeletion(t.Context(), p.id))
	if _, err := w.api.begin(t.Context(), mustUser(t, w, p), ""); !chat.Is(err, chat.InvalidCredentials) {
		t.Errorf("got %v; want nobody to log in to an account that is being deleted", err)
	}
	if left, err := w.store.Sessions(t.Context(), p.id); err != nil || len(left) > 0 {
		t.Errorf("got %d sessions, %v; want none", len(left), err)
	}
}

func TestNoPasswordOrProfileIsEverLogged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const old, next = "canary_old", "canary_new"
	g := w.register("ann", old, "canary_device")
	all := func() {
		w.call(g.AccessToken, "PATCH", "/v1/users/me", `{"display_name":"canary","status":"canary","picture":"https://canary.example/"}`)
		w.call(g.AccessToken, "PUT", "/v1/users/me/password", `{"old_password":"canary_no","new_password":"`+next+`"}`)
		w.call(g.AccessToken, "PUT", "/v1/users/me/password", `{"old_password":"`+old+`","new_password":"`+next+`"}`)
		w.call(g.AccessToken, "DELETE", "/v1/users/me", `{"password":"canary_no"}`)
		w.call(g.AccessToken, "GET", "/v1/sessions", nil)
	}
	all()
	w.store.down.Store(true)
	all()
	w.store.down.Store(false)
	w.call(g.AccessToken, "DELETE", "/v1/users/me", `{"password":"`+next+`"}`).want(t, 204, "")
	meshtest.Eventually(t, meshtest.Patience, "the session ends", func() bool {
		return w.call(g.AccessToken, "GET", "/v1/users/me", nil).status == 401
	})
	s := w.logged.String()
	_, _, secret, err := auth.ParseRefresh(g.RefreshToken)
	check(t, err)
	for _, secret := range []string{"canary", g.AccessToken, g.RefreshToken, string(secret[:])} {
		if strings.Contains(s, secret) {
			t.Errorf("%.12s… is in the log: %s", secret, s)
		}
	}
}

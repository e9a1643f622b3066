package api

import (
	"strings"
	"testing"
	"time"

	"github.com/chatmesh/chatmesh/pkg/meshtest"
)

func TestNoTextTokenPasswordOrNameIsEverLogged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const password, text, name, title = "canary_password", "canary_text", "canary_name", "canary_title"
	var g grant
	w.call("", "POST", "/v1/users", map[string]string{"username": name, "password": password, "email": "canary@email"}).want(t, 201, "").into(t, &g)
	p := &person{w: w, id: g.User.ID, token: g.AccessToken}
	id := p.group()
	all := func() {
		w.call("", "POST", "/v1/users", `{"username":"`+name+`2","password":"`+password+`"`)
		w.call("", "POST", "/v1/sessions", credentials(name, password+"x"))
		w.call("", "POST", "/v1/sessions/refresh", `{"refresh_token":"`+g.RefreshToken[:len(g.RefreshToken)-1]+`A"}`)
		p.call("GET", "/v1/users?username="+name, nil)
		p.call("PATCH", chatPath(id), `{"title":"`+title+`"}`)
		p.call("POST", chatPath(id, "messages"), `{"client_id":"c","text":"`+text+`"}`)
		p.call("GET", chatPath(id, "messages"), nil)
		p.call("GET", "/v1/chats", nil)
		w.call(p.token+"x", "GET", "/v1/users/me", nil)
	}
	all()
	w.store.down.Store(true)
	all()
	w.broker.Stop()
	all()
	w.broker.Start()
	w.store.down.Store(false)
	all()
	meshtest.Eventually(t, 10*time.Second, "the store is told to answer again", func() bool {
		w.call("", "POST", "/v1/sessions", credentials(name, password))
		return strings.Contains(w.logged.String(), "store answers again")
	})
	s := w.logged.String()
	for _, secret := range []string{"canary", g.AccessToken, g.RefreshToken, g.RefreshToken[len(g.RefreshToken)-43:]} {
		if strings.Contains(s, secret) {
			t.Errorf("%.12s… is in the log: %s", secret, s)
		}
	}
	if got := strings.Count(s, "store does not answer"); got != 1 {
		t.Errorf("got %d lines of one outage; want one: %s", got, s)
	}
}

package api

import (
	"slices"
	"strings"
	"testing"

	"github.com/chatmesh/chatmesh/pkg/meshtest"
	"github.com/chatmesh/chatmesh/pkg/trace/tracetest"
)

func TestNoTextTokenPasswordOrNameIsEverLoggedOrTraced(t *testing.T) {
	t.Parallel()
	spans := tracetest.New(t)
	w := newWorld(t, func(c *Config) { c.Tracer = meshtest.Tracer(t, spans.URL, 1) })
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
	meshtest.Eventually(t, meshtest.Patience, "the store is told to answer again", func() bool {
		w.call("", "POST", "/v1/sessions", credentials(name, password))
		return strings.Contains(w.logged.String(), "store answers again")
	})
	meshtest.Eventually(t, meshtest.Patience, "the last call is exported", func() bool {
		return slices.ContainsFunc(spans.Named("POST /v1/sessions", ""), func(s tracetest.Span) bool { return s.Attrs["http.response.status_code"] == "201" })
	})
	if n := len(spans.Named("chatlog append", "")); n == 0 {
		t.Error("no append is exported; want what could hold a text to be there")
	}
	s := w.logged.String()
	for _, secret := range []string{"canary", g.AccessToken, g.RefreshToken, g.RefreshToken[len(g.RefreshToken)-43:]} {
		if strings.Contains(s, secret) {
			t.Errorf("%.12s… is in the log: %s", secret, s)
		}
		if spans.Holds(secret) {
			t.Errorf("%.12s… is in a span", secret)
		}
	}
	if got := strings.Count(s, "store does not answer"); got != 1 {
		t.Errorf("got %d lines of one outage; want one: %s", got, s)
	}
}

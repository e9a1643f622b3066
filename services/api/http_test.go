package api

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

func TestEveryErrorOfEveryRoute(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.people("ann", "ben", "cat")
	ann, ben, cat := p[0], p[1], p[2]
	nobody := &person{w: w}
	group, direct := ann.group(ben), ann.direct(ben)
	ann.send(group, "one")
	crowd := make([]string, 100)
	for i := range crowd {
		crowd[i] = fmt.Sprintf("u%d", i)
	}
	many := func(key string) string {
		var b strings.Builder
		for range 101 {
			fmt.Fprintf(&b, "%s=x&", key)
		}
		return b.String()
	}
	long := strings.Repeat("é", chat.MaxText+1)
	huge := `{"text":"` + strings.Repeat("x", wire.MaxFrame) + `"}`
	register := func(field, value string) map[string]string {
		m := map[string]string{"username": "dora", "password": "long enough"}
		m[field] = value
		return m
	}
	for _, c := range []struct {
		who          *person
		method, path string
		body         any
		status       int
		code         chat.Code
	}{
		{nobody, "POST", "/v1/users", "", 400, chat.BadRequest},
		{nobody, "POST", "/v1/users", "null", 400, chat.BadRequest},
		{nobody, "POST", "/v1/users", "[]", 400, chat.BadRequest},
		{nobody, "POST", "/v1/users", `{"username":"dora","password":"long enough"} x`, 400, chat.BadRequest},
		{nobody, "POST", "/v1/users", `{"username":"dora","password":"long enough"`, 400, chat.BadRequest},
		{nobody, "POST", "/v1/users", "{\"username\":\"do\xffra\",\"password\":\"long enough\"}", 400, chat.BadRequest},
		{nobody, "POST", "/v1/users", `{"username":7,"password":"long enough"}`, 400, chat.BadRequest},
		{nobody, "POST", "/v1/users", huge, 413, chat.TooLarge},
		{nobody, "POST", "/v1/users", register("username", "do"), 400, chat.BadRequest},
		{nobody, "POST", "/v1/users", register("username", "Dora"), 400, chat.BadRequest},
		{nobody, "POST", "/v1/users", register("username", strings.Repeat("x", 33)), 400, chat.BadRequest},
		{nobody, "POST", "/v1/users", register("password", "1234567"), 400, chat.BadRequest},
		{nobody, "POST", "/v1/users", register("password", strings.Repeat("é", 257)), 400, chat.BadRequest},
		{nobody, "POST", "/v1/users", register("email", "dora"), 400, chat.BadRequest},
		{nobody, "POST", "/v1/users", register("email", "dora@\n"), 400, chat.BadRequest},
		{nobody, "POST", "/v1/users", register("email", "@"+strings.Repeat("x", 254)), 400, chat.BadRequest},
		{nobody, "POST", "/v1/users", register("display_name", "a\x00b"), 400, chat.BadRequest},
		{nobody, "POST", "/v1/users", register("display_name", strings.Repeat("é", 65)), 400, chat.BadRequest},
		{nobody, "POST", "/v1/users", register("username", ann.name), 409, chat.UsernameTaken},

		{nobody, "POST", "/v1/sessions", `{}`, 400, chat.BadRequest},
		{nobody, "POST", "/v1/sessions", credentials(ann.name, ""), 400, chat.BadRequest},
		{nobody, "POST", "/v1/sessions", huge, 413, chat.TooLarge},
		{nobody, "POST", "/v1/sessions", credentials("nobody", "long enough"), 401, chat.InvalidCredentials},
		{nobody, "POST", "/v1/sessions/refresh", `{}`, 400, chat.BadRequest},
		{nobody, "POST", "/v1/sessions/refresh", `{"refresh_token":["x"]}`, 400, chat.BadRequest},
		{nobody, "POST", "/v1/sessions/refresh", huge, 413, chat.TooLarge},
		{nobody, "POST", "/v1/sessions/refresh", `{"refresh_token":"x"}`, 401, chat.InvalidToken},
		{nobody, "POST", "/v1/sessions/refresh", `{"refresh_token":"r1.` + string(ann.id) + `.s.` + strings.Repeat("A", 43) + `"}`, 401, chat.InvalidToken},

		{ann, "GET", "/v1/users", nil, 400, chat.BadRequest},
		{ann, "GET", "/v1/users?username=" + ben.name + "&id=" + string(ben.id), nil, 400, chat.BadRequest},
		{ann, "GET", "/v1/users?username=nobody", nil, 404, chat.NotFound},
		{ann, "GET", "/v1/users?username=", nil, 404, chat.NotFound},
		{ann, "GET", "/v1/users?username=no%20such%20name", nil, 404, chat.NotFound},
		{ann, "GET", "/v1/users?id=a.b", nil, 400, chat.BadRequest},
		{ann, "GET", "/v1/users?" + many("id"), nil, 400, chat.BadRequest},
		{ann, "GET", "/v1/users?id=%zz", nil, 400, chat.BadRequest},

		{ann, "POST", "/v1/chats", `{}`, 400, chat.BadRequest},
		{ann, "POST", "/v1/chats", huge, 413, chat.TooLarge},
		{ann, "POST", "/v1/chats", `{"kind":"channel","members":[]}`, 400, chat.BadRequest},
		{ann, "POST", "/v1/chats", `{"kind":"direct","members":[]}`, 400, chat.BadRequest},
		{ann, "POST", "/v1/chats", `{"kind":"direct","members":"` + string(ben.id) + `"}`, 400, chat.BadRequest},
		{ann, "POST", "/v1/chats", map[string]any{"kind": "direct", "members": ids(ann)}, 400, chat.BadRequest},
		{ann, "POST", "/v1/chats", map[string]any{"kind": "direct", "members": ids(ben, cat)}, 400, chat.BadRequest},
		{ann, "POST", "/v1/chats", map[string]any{"kind": "direct", "members": []string{"a.b"}}, 400, chat.BadRequest},
		{ann, "POST", "/v1/chats", map[string]any{"kind": "direct", "members": []string{"nobody"}}, 404, chat.NotFound},
		{ann, "POST", "/v1/chats", map[string]any{"kind": "group", "members": ids(ben)}, 400, chat.BadRequest},
		{ann, "POST", "/v1/chats", map[string]any{"kind": "group", "title": strings.Repeat("é", 201), "members": ids(ben)}, 422, chat.TooLong},
		{ann, "POST", "/v1/chats", map[string]any{"kind": "group", "title": "t", "members": []string{string(ben.id), "nobody"}}, 404, chat.NotFound},
		{ann, "POST", "/v1/chats", map[string]any{"kind": "group", "title": "t", "members": []string{"> "}}, 400, chat.BadRequest},
		{ann, "POST", "/v1/chats", map[string]any{"kind": "group", "title": "t", "members": crowd}, 422, chat.TooManyMembers},

		{ann, "GET", "/v1/chats?limit=0", nil, 400, chat.BadRequest},
		{ann, "GET", "/v1/chats?limit=-1", nil, 400, chat.BadRequest},
		{ann, "GET", "/v1/chats?limit=ten", nil, 400, chat.BadRequest},
		{ann, "GET", "/v1/chats?limit=", nil, 400, chat.BadRequest},
		{ann, "GET", "/v1/chats?cursor=", nil, 400, chat.BadRequest},
		{ann, "GET", "/v1/chats?cursor=AAAA", nil, 400, chat.BadRequest},
		{ann, "GET", "/v1/chats?cursor=%3E%3E", nil, 400, chat.BadRequest},

		{ann, "GET", "/v1/chats/nope", nil, 404, chat.NotFound},
		{ann, "GET", "/v1/chats/a.b", nil, 404, chat.NotFound},
		{ann, "GET", "/v1/chats/%3E", nil, 404, chat.NotFound},
		{ann, "GET", "/v1/chats/a%2Fb", nil, 404, chat.NotFound},
		{ann, "GET", "/v1/chats/" + strings.Repeat("x", 65), nil, 404, chat.NotFound},

		{ann, "PATCH", chatPath(group), `{}`, 400, chat.BadRequest},
		{ann, "PATCH", chatPath(group), `{"title":7}`, 400, chat.BadRequest},
		{ann, "PATCH", chatPath(group), huge, 413, chat.TooLarge},
		{ann, "PATCH", chatPath(group), map[string]string{"title": strings.Repeat("x", 201)}, 422, chat.TooLong},
		{ann, "PATCH", chatPath(direct), `{"title":"t"}`, 403, chat.Forbidden},
		{ann, "PATCH", chatPath("*"), `{"title":"t"}`, 404, chat.NotFound},
		{ann, "PATCH", chatPath("nope"), `{"title":"t"}`, 404, chat.NotFound},

		{ann, "PUT", chatPath(group, "members", "a.b"), nil, 404, chat.NotFound},
		{ann, "PUT", chatPath(group, "members", "nobody"), nil, 404, chat.NotFound},
		{ann, "PUT", chatPath(group, "members", string(cat.id)), `{"role":"king"}`, 400, chat.BadRequest},
		{ann, "PUT", chatPath(group, "members", string(cat.id)), `{"role":1}`, 400, chat.BadRequest},
		{ann, "PUT", chatPath(group, "members", string(cat.id)), huge, 413, chat.TooLarge},
		{ann, "PUT", chatPath(group, "members", string(ann.id)), `{"role":"admin"}`, 403, chat.Forbidden},
		{ann, "PUT", chatPath(direct, "members", string(cat.id)), nil, 403, chat.Forbidden},
		{ann, "PUT", chatPath("nope", "members", string(cat.id)), nil, 404, chat.NotFound},
		{ann, "DELETE", chatPath(group, "members", string(cat.id)), nil, 404, chat.NotFound},
		{ann, "DELETE", chatPath(group, "members", "a.b"), nil, 404, chat.NotFound},
		{ann, "DELETE", chatPath(direct, "members", string(ben.id)), nil, 403, chat.Forbidden},
		{ann, "DELETE", chatPath(direct, "members", string(ann.id)), nil, 403, chat.Forbidden},
		{ann, "DELETE", chatPath("nope", "members", string(ann.id)), nil, 404, chat.NotFound},

		{ann, "GET", chatPath("nope", "messages"), nil, 404, chat.NotFound},
		{ann, "GET", chatPath("a.b", "messages"), nil, 404, chat.NotFound},
		{ann, "GET", chatPath(group, "messages?limit=0"), nil, 400, chat.BadRequest},
		{ann, "GET", chatPath(group, "messages?limit=1.5"), nil, 400, chat.BadRequest},
		{ann, "GET", chatPath(group, "messages?before=-1"), nil, 400, chat.BadRequest},
		{ann, "GET", chatPath(group, "messages?before=x"), nil, 400, chat.BadRequest},
		{ann, "GET", chatPath(group, "messages?after="), nil, 400, chat.BadRequest},

		{ann, "POST", chatPath("nope", "messages"), `{"client_id":"c","text":"t"}`, 404, chat.NotFound},
		{ann, "POST", chatPath("a.b", "messages"), `{"client_id":"c","text":"t"}`, 404, chat.NotFound},
		{ann, "POST", chatPath(group, "messages"), `{"text":"t"}`, 400, chat.BadRequest},
		{ann, "POST", chatPath(group, "messages"), `{"client_id":"a.b","text":"t"}`, 400, chat.BadRequest},
		{ann, "POST", chatPath(group, "messages"), `{"client_id":"c"}`, 400, chat.BadRequest},
		{ann, "POST", chatPath(group, "messages"), `{"client_id":"c","text":""}`, 400, chat.BadRequest},
		{ann, "POST", chatPath(group, "messages"), "{\"client_id\":\"c\",\"text\":\"\xc3\"}", 400, chat.BadRequest},
		{ann, "POST", chatPath(group, "messages"), map[string]string{"client_id": "c", "text": long}, 422, chat.TooLong},
		{ann, "POST", chatPath(group, "messages"), huge, 413, chat.TooLarge},

		{ann, "PUT", chatPath(group, "read"), `{}`, 400, chat.BadRequest},
		{ann, "PUT", chatPath(group, "read"), `{"seq":-1}`, 400, chat.BadRequest},
		{ann, "PUT", chatPath(group, "read"), `{"seq":"1"}`, 400, chat.BadRequest},
		{ann, "PUT", chatPath(group, "read"), `{"seq":1.5}`, 400, chat.BadRequest},
		{ann, "PUT", chatPath(group, "read"), `{"seq":3}`, 400, chat.BadRequest},
		{ann, "PUT", chatPath(group, "read"), `{"seq":18446744073709551616}`, 400, chat.BadRequest},
		{ann, "PUT", chatPath(group, "read"), `{"seq":18446744073709551615}`, 400, chat.BadRequest},
		{ann, "PUT", chatPath(group, "read"), huge, 413, chat.TooLarge},
		{ann, "PUT", chatPath("nope", "read"), `{"seq":1}`, 404, chat.NotFound},
		{ann, "PUT", chatPath("a.b", "read"), `{"seq":1}`, 404, chat.NotFound},

		{ann, "GET", "/v1/presence?user=a.b", nil, 400, chat.BadRequest},
		{ann, "GET", "/v1/presence?" + many("user"), nil, 400, chat.BadRequest},
		{ann, "GET", "/v1/presence?user=%zz", nil, 400, chat.BadRequest},
		{ann, "GET", "/v1/presence?user=" + string(ben.id), nil, 503, chat.Unavailable}, // there is no presence service
	} {
		body := fmt.Sprint(c.body)
		t.Run(c.method+" "+c.path[:min(len(c.path), 60)]+" "+body[:min(len(body), 40)], func(t *testing.T) {
			r := c.who.call(c.method, c.path, c.body).want(t, c.status, c.code)
			if r.header.Get("X-Content-Type-Options") != "nosniff" || r.header.Get("Cache-Control") != "no-store" {
				t.Errorf("got headers %v", r.header)
			}
			if (c.status == 401) != (r.header.Get("WWW-Authenticate") != "") {
				t.Errorf("got status %d and WWW-Authenticate %q", c.status, r.header.Get("WWW-Authenticate"))
			}
			if c.status == 503 && r.header.Get("Retry-After") != "1" {
				t.Errorf("got Retry-After %q; want 1", r.header.Get("Retry-After"))
			}
		})
	}
	if s := w.logged.String(); strings.Contains(s, "level=ERROR") {
		t.Errorf("a mistake of a client was logged as an error: %s", s)
	}
}

func TestUnknownPathsAndWrongMethodsAreProblems(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.person("ann")
	for _, path := range []string{"/", "/v1", "/v1/", "/v1/nope", "/v1/users/", "/v1/users/you", "/v1//users", "/v1/./users", "/v1/chats/../users",
		"/v1/chats/x/", "/v1/chats//messages", "/v1/ws", "/v1/events", "/v1/poll", "/v1/chats/x/y", "/v2/users", "/V1/users"} {
		p.call("GET", path, nil).want(t, 404, chat.NotFound)
		p.call("POST", path, "{}").want(t, 404, chat.NotFound)
	}
	for path, allow := range map[string]string{
		"/v1/users":             "GET, HEAD, POST",
		"/v1/users/me":          "DELETE, GET, HEAD, PATCH",
		"/v1/sessions":          "GET, HEAD, POST",
		"/v1/sessions/x":        "DELETE",
		"/v1/blocks/x":          "DELETE, PUT",
		"/v1/sessions/refresh":  "POST",
		"/v1/sessions/current":  "DELETE",
		"/v1/chats":             "GET, HEAD, POST",
		"/v1/chats/x":           "GET, HEAD, PATCH",
		"/v1/chats/x/members/y": "DELETE, PUT",
		"/v1/chats/x/messages":  "GET, HEAD, POST",
		"/v1/chats/x/read":      "PUT",
		"/v1/chats/x/delivered": "PUT",
		"/v1/chats/x/receipts":  "GET, HEAD",
		"/v1/presence":          "GET, HEAD",
	} {
		for _, method := range []string{"OPTIONS", "BREW"} {
			r := w.call("", method, path, nil).want(t, 405, chat.BadRequest)
			if got := r.header.Get("Allow"); got != allow {
				t.Errorf("%s: got Allow %q; want %q", path, got, allow)
			}
			if got := r.header.Get("Access-Control-Allow-Origin"); got != "" {
				t.Errorf("%s: got CORS for %q; want none", path, got)
			}
		}
	}
	if r := p.call("HEAD", "/v1/users/me", nil).want(t, 200, ""); len(r.body) > 0 {
		t.Errorf("got body %s for HEAD", r.body)
	}
}

func TestATokenIsTakenInOneFormOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.person("ann")
	for _, c := range []struct {
		headers []string
		status  int
	}{
		{[]string{"Bearer " + p.token}, 200},
		{[]string{"bearer  " + p.token}, 200},
		{nil, 401},
		{[]string{""}, 401},
		{[]string{"Bearer"}, 401},
		{[]string{"Bearer "}, 401},
		{[]string{p.token}, 401},
		{[]string{"Basic " + p.token}, 401},
		{[]string{"Bearer " + p.token[:len(p.token)-2]}, 401},
		{[]string{"Bearer " + p.token + " x"}, 401},
		{[]string{"Bearer " + strings.Repeat("x", 10_000)}, 401},
		{[]string{"Bearer " + p.token, "Bearer " + p.token}, 401},
	} {
		req, err := http.NewRequest("GET", w.url+"/v1/users/me", nil)
		check(t, err)
		req.Header["Authorization"] = c.headers
		r := w.do(req)
		if c.status == 200 {
			r.want(t, 200, "")
			continue
		}
		if got := r.want(t, 401, chat.Unauthorized).header.Get("WWW-Authenticate"); !strings.HasPrefix(got, "Bearer") {
			t.Errorf("got WWW-Authenticate %q; want a Bearer challenge", got)
		}
	}
}

func TestAPanicIsAnInternalErrorThatSaysNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	panics := w.api.serve("GET /v1/panic", true, func(_ *Server, c *call) (answer, error) {
		panic("canary " + c.r.URL.RawQuery)
	})
	rec := httptest.NewRecorder()
	panics.ServeHTTP(rec, httptest.NewRequest("GET", "/v1/panic?canary", nil))
	reply{rec.Code, rec.Header(), rec.Body.Bytes()}.want(t, 500, chat.Internal)
	s := w.logged.String()
	if !strings.Contains(s, "msg=panic") || !strings.Contains(s, `route="GET /v1/panic"`) || strings.Contains(s, "canary") {
		t.Errorf("got log %s; want the panic with its route and nothing of the request", s)
	}
	if strings.Contains(rec.Body.String(), "canary") {
		t.Errorf("got %s; want nothing of the request", rec.Body)
	}
}

func TestASlowBodyIsGivenUpAndTheConnectionServesOthers(t *testing.T) {
	t.Parallel()
	const limit = 5 * time.Second // registering costs a hash, which takes its time on a busy machine
	w := newWorld(t, func(c *Config) { c.Settings.RequestTimeout = limit })
	conn, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
	check(t, err)
	defer conn.Close()
	start := time.Now()
	_, err = fmt.Fprintf(conn, "POST /v1/sessions HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{\"user")
	check(t, err)
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	check(t, err)
	defer res.Body.Close()
	if took := time.Since(start); res.StatusCode != 400 || took < limit/2 || took > time.Minute {
		t.Errorf("got %d after %v; want 400 after %v", res.StatusCode, took, limit)
	}
	p := w.person("ann") // connections that are used again after the deadline of an earlier call
	for range 3 {
		p.call("GET", "/v1/users/me", nil).want(t, 200, "")
		time.Sleep(limit + limit/10)
	}
}

func TestAnswersAreWrittenWithoutHTMLEscaping(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.person("ann")
	id := p.group()
	text := "<b>&\u2028 \U0001F600 \x00 é"
	p.send(id, text)
	r := p.call("GET", chatPath(id, "messages"), nil).want(t, 200, "")
	if s := string(r.body); strings.Contains(s, `\u003c`) || !strings.Contains(s, "<b>&") {
		t.Errorf("got %s; want it as it was sent", s)
	}
	var page struct{ Messages []chat.Event }
	r.into(t, &page)
	if got := page.Messages[1].Text; got != text {
		t.Errorf("got %q; want %q", got, text)
	}
}

func TestCallsAreCountedByRouteWithoutIDs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.person("ann")
	id := p.group()
	p.call("GET", chatPath(id), nil).want(t, 200, "")
	p.call("GET", chatPath("nope"), nil).want(t, 404, chat.NotFound)
	p.call("GET", "/v1/"+string(id), nil).want(t, 404, chat.NotFound)
	families, err := w.registry.Gather()
	check(t, err)
	var all strings.Builder
	for _, f := range families {
		fmt.Fprintln(&all, f)
	}
	s := all.String()
	if strings.Contains(s, string(id)) || strings.Contains(s, string(p.id)) {
		t.Error("an id is in the metrics")
	}
	for _, want := range []string{"chatmesh_api_http_requests_total", "GET /v1/chats/{chat}", "2xx", "4xx", "not_found", "other"} {
		if !strings.Contains(s, want) {
			t.Errorf("%q is not in the metrics", want)
		}
	}
}

package e2e

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/chatmesh/chatmesh/e2e/program"
	"github.com/chatmesh/chatmesh/e2e/raw"
)

func TestEveryRefusalOverHTTPHasItsStatusAndCode(t *testing.T) {
	t.Parallel()
	srv := server(t)
	people := newPeople(t, srv, "http", 3)
	alice, bob, eve := people[0], people[1], people[2]
	nobody := &person{t: t, srv: srv}
	forged := &person{t: t, srv: srv, access: "x." + random(20) + ".y"}
	group, direct := alice.group("refusals", bob), alice.direct(bob)
	g, d := "/v1/chats/"+group, "/v1/chats/"+direct
	account := func(name, password string) raw.Object { return raw.Object{"username": name, "password": password} }
	message := func(id, text any) raw.Object { return raw.Object{"client_id": id, "text": text} }
	good := func() string { return "h_" + random(6) }
	const get, post, put, patch, del = http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete

	for _, c := range []struct {
		who          *person
		method, path string
		body         any
		codes        string
	}{
		{nobody, post, "/v1/users", account(alice.name, canary), "username_taken"},
		{nobody, post, "/v1/users", raw.Object{}, "bad_request"},
		{nobody, post, "/v1/users", raw.Body("{"), "bad_request"},
		{nobody, post, "/v1/users", raw.Body("[]"), "bad_request"},
		{nobody, post, "/v1/users", raw.Body(""), "bad_request"},
		{nobody, post, "/v1/users", raw.Body(`{"username":5,"password":"` + canary + `"}`), "bad_request"},
		{nobody, post, "/v1/users", account("ab", canary), "bad_request"},
		{nobody, post, "/v1/users", account(strings.Repeat("a", 33), canary), "bad_request"},
		{nobody, post, "/v1/users", account("UPPER", canary), "bad_request"},
		{nobody, post, "/v1/users", account("a b c", canary), "bad_request"},
		{nobody, post, "/v1/users", account("a.b.>", canary), "bad_request"},
		{nobody, post, "/v1/users", account("üblich", canary), "bad_request"},
		{nobody, post, "/v1/users", account(good(), "seven77"), "bad_request"},
		{nobody, post, "/v1/users", account(good(), strings.Repeat("p", 257)), "bad_request|too_long"},
		{nobody, post, "/v1/sessions", account(alice.name, "wrong"+canary), "invalid_credentials"},
		{nobody, post, "/v1/sessions", account("nobody_"+random(5), "wrong"+canary), "invalid_credentials"},
		{nobody, post, "/v1/sessions", raw.Body("no"), "bad_request"},
		{nobody, post, "/v1/sessions/refresh", raw.Object{"refresh_token": canary}, "invalid_token"},
		{nobody, post, "/v1/sessions/refresh", raw.Object{"refresh_token": alice.access}, "invalid_token"},
		{nobody, post, "/v1/sessions/refresh", raw.Body("no"), "bad_request"},

		{alice, get, "/v1/users?username=nobody_" + random(5), nil, "not_found"},
		{alice, get, "/v1/users", nil, "bad_request"},
		{alice, post, "/v1/chats", raw.Object{"kind": "circle", "members": []string{bob.id}}, "bad_request"},
		{alice, post, "/v1/chats", raw.Object{"kind": "direct", "members": []string{}}, "bad_request"},
		{alice, post, "/v1/chats", raw.Object{"kind": "direct", "members": []string{bob.id, eve.id}}, "bad_request"},
		{alice, post, "/v1/chats", raw.Object{"kind": "direct", "members": []string{alice.id}}, "bad_request"},
		{alice, post, "/v1/chats", raw.Object{"kind": "direct", "members": []string{"nobody"}}, "not_found|bad_request"},
		{alice, post, "/v1/chats", raw.Object{"kind": "group", "title": "x", "members": []string{"nobody"}}, "not_found|bad_request"},
		{alice, post, "/v1/chats", raw.Object{"kind": "group", "title": "x", "members": bob.id}, "bad_request"},
		{alice, post, "/v1/chats", raw.Object{"kind": "group", "members": []string{bob.id}}, "bad_request"},
		{alice, post, "/v1/chats", raw.Object{"kind": "group", "title": strings.Repeat("t", 100_000), "members": []string{}}, "too_long|bad_request"},
		{alice, post, "/v1/chats", raw.Body("no"), "bad_request"},
		{alice, get, "/v1/chats?limit=x", nil, "bad_request"},
		{alice, get, "/v1/chats?limit=-1", nil, "bad_request"},
		{alice, get, "/v1/chats?cursor=" + strings.Repeat("x", 300), nil, "bad_request"},

		{bob, patch, g, raw.Object{"title": "x"}, "forbidden"},
		{bob, put, g + "/members/" + eve.id, nil, "forbidden"},
		{bob, del, g + "/members/" + alice.id, nil, "forbidden"},
		{alice, patch, g, raw.Object{"title": ""}, "bad_request"},
		{alice, patch, g, raw.Object{"title": 1}, "bad_request"},
		{alice, patch, g, raw.Body("no"), "bad_request"},
		{alice, put, g + "/members/" + eve.id, raw.Object{"role": "king"}, "bad_request"},
		{alice, put, g + "/members/" + eve.id, raw.Body("no"), "bad_request"},
		{alice, put, g + "/members/nobody", nil, "not_found|bad_request"},
		{alice, del, g + "/members/" + eve.id, nil, "not_found"},
		{alice, patch, d, raw.Object{"title": "x"}, "forbidden"},
		{alice, put, d + "/members/" + eve.id, nil, "forbidden"},

		{alice, get, g + "/messages?limit=x", nil, "bad_request"},
		{alice, get, g + "/messages?limit=-1", nil, "bad_request"},
		{alice, get, g + "/messages?before=x", nil, "bad_request"},
		{alice, get, g + "/messages?after=-1", nil, "bad_request"},
		{alice, post, g + "/messages", message("", "x"), "bad_request"},
		{alice, post, g + "/messages", raw.Object{"text": "x"}, "bad_request"},
		{alice, post, g + "/messages", message("a.b", "x"), "bad_request"},
		{alice, post, g + "/messages", message(strings.Repeat("i", 65), "x"), "bad_request"},
		{alice, post, g + "/messages", message(7, "x"), "bad_request"},
		{alice, post, g + "/messages", message(newClientID(), ""), "bad_request"},
		{alice, post, g + "/messages", message(newClientID(), nil), "bad_request"},
		{alice, post, g + "/messages", message(newClientID(), 5), "bad_request"},
		{alice, post, g + "/messages", raw.Body("{\"client_id\":\"" + newClientID() + "\",\"text\":\"\xff\xfe\"}"), "bad_request"},
		{alice, post, g + "/messages", message(newClientID(), strings.Repeat("x", 100_000)), "too_long"},
		{alice, post, g + "/messages", message(newClientID(), strings.Repeat("x", 4<<20)), "too_large"},
		{alice, post, g + "/messages", raw.Body("no"), "bad_request"},
		{alice, put, g + "/read", raw.Object{"seq": 1000}, "bad_request"},
		{alice, put, g + "/read", raw.Object{"seq": -1}, "bad_request"},
		{alice, put, g + "/read", raw.Object{"seq": "1"}, "bad_request"},
		{alice, put, g + "/read", raw.Object{"seq": 1.5}, "bad_request"},
		{alice, get, "/v1/nothing", nil, "not_found"},
		{alice, get, g + "/nothing", nil, "not_found"},
	} {
		if a := c.who.refused(c.codes, c.method, c.path, c.body); strings.Contains(string(a.Body), canary) {
			t.Errorf("%s %s: the refusal repeats what was sent: %.200s", c.method, c.path, a.Body)
		}
	}
	for _, c := range []struct{ method, path string }{
		{del, "/v1/sessions/current"}, {get, "/v1/users/me"}, {get, "/v1/users?username=" + bob.name}, {post, "/v1/chats"},
		{get, "/v1/chats"}, {get, g}, {patch, g}, {put, g + "/members/" + bob.id}, {del, g + "/members/" + bob.id},
		{get, g + "/messages"}, {post, g + "/messages"}, {put, g + "/read"}, {get, "/v1/presence?user=" + bob.id},
	} {
		nobody.refused("unauthorized", c.method, c.path, nil)
		forged.refused("unauthorized|invalid_token", c.method, c.path, nil)
	}
	everywhereNotFound(t, eve, group, bob.id)
	everywhereNotFound(t, eve, direct, bob.id)
	if a := alice.call(http.MethodDelete, "/v1/chats", nil); a.Status < 400 || a.Status >= 500 {
		t.Errorf("DELETE /v1/chats: got %d; want a refusal", a.Status)
	}
	if h := alice.history(group); len(h) != 1 {
		t.Errorf("after all refusals the group has %d events; want 1", len(h))
	}
	if n := len(alice.list(100)); n != 2 {
		t.Errorf("after all refusals alice has %d chats; want 2", n)
	}
}

func TestEveryRefusalOverASocketHasItsCodeAndLeavesItOpen(t *testing.T) {
	t.Parallel()
	srv := server(t)
	people := newPeople(t, srv, "socket", 3)
	alice, bob, eve := people[0], people[1], people[2]
	chat := alice.group("refusals", bob)
	s, stranger := alice.device(nil), eve.device(nil)
	message := func(chat, id, text any) raw.Object {
		return raw.Object{"type": "send", "chat": chat, "client_id": id, "text": text}
	}
	for _, c := range []struct {
		what    string
		codes   string
		request raw.Object
	}{
		{"no text", "bad_request", raw.Object{"type": "send", "chat": chat, "client_id": newClientID()}},
		{"an empty text", "bad_request", message(chat, newClientID(), "")},
		{"a text that is a number", "bad_request", message(chat, newClientID(), 5)},
		{"a text that is null", "bad_request", message(chat, newClientID(), nil)},
		{"a text that is too long", "too_long", message(chat, newClientID(), strings.Repeat("x", 100_000))},
		{"no client_id", "bad_request", raw.Object{"type": "send", "chat": chat, "text": "x"}},
		{"a client_id that is none", "bad_request", message(chat, "a b", "x")},
		{"a client_id that is too long", "bad_request", message(chat, strings.Repeat("i", 65), "x")},
		{"no chat", "bad_request|not_found", raw.Object{"type": "send", "client_id": newClientID(), "text": "x"}},
		{"a chat that is a list", "bad_request", message([]string{chat}, newClientID(), "x")},
		{"an unknown chat", "not_found", message("nochat", newClientID(), "x")},
		{"a sync of an unknown chat", "not_found", raw.Object{"type": "sync", "chat": "nochat", "after": 0}},
		{"a sync after a word", "bad_request", raw.Object{"type": "sync", "chat": chat, "after": "x"}},
		{"a sync after less than nothing", "bad_request", raw.Object{"type": "sync", "chat": chat, "after": -1}},
		{"a read beyond the last", "bad_request", raw.Object{"type": "read", "chat": chat, "seq": 1000}},
		{"a read of a word", "bad_request", raw.Object{"type": "read", "chat": chat, "seq": "x"}},
		{"a watch of a number", "bad_request", raw.Object{"type": "watch", "users": 5}},
		{"a watch of no id", "bad_request", raw.Object{"type": "watch", "users": []string{"a.b"}}},
		{"an unknown type", "bad_request", raw.Object{"type": "dance"}},
		{"a type that is a server's", "bad_request", raw.Object{"type": "message", "chat": chat, "seq": 9, "text": "x"}},
		{"a missing type", "bad_request", raw.Object{"chat": chat}},
	} {
		askRefused(t, s, c.what, c.codes, c.request)
	}
	for what, q := range map[string]raw.Object{
		"send": message(chat, newClientID(), text("by a stranger")),
		"sync": {"type": "sync", "chat": chat, "after": 0},
		"read": {"type": "read", "chat": chat, "seq": 1},
	} {
		askRefused(t, stranger, "a stranger's "+what, "not_found", q)
	}
	if h := alice.history(chat); len(h) != 1 {
		t.Errorf("after all refusals the chat has %d events; want 1", len(h))
	}
}

func TestWhatIsNotTheProtocolClosesTheSocket(t *testing.T) {
	t.Parallel()
	srv := server(t)
	alice := newPerson(t, srv, "alice")
	chat := alice.group("alone")
	dial := func() *raw.Socket {
		s, _, err := raw.Dial(t.Context(), srv.Client, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
		return s
	}
	// These say nothing, or nothing whole, and are closed after 10 s. They wait while the rest is tried.
	began := time.Now()
	silent, pinging := dial(), dial()
	if _, err := pinging.Ping(); err != nil {
		t.Fatal(err)
	}
	for what, token := range map[string]string{"no": "", "a forged": "x.y.z", "a hostile": strings.Repeat("../", 2000)} {
		s := dial()
		if err := s.Send(raw.Object{"type": "hello", "token": token}); err != nil {
			t.Fatal(err)
		}
		closedAs(t, "hello with "+what+" token", s, raw.Patience, 3500)
	}
	early := dial()
	if err := early.Send(raw.Object{"type": "send", "id": "1", "chat": chat, "client_id": newClientID(), "text": text("before hello")}); err != nil {
		t.Fatal(err)
	}
	closedAs(t, "a send before hello", early, raw.Patience, 3502)
	for _, c := range []struct {
		what  string
		kind  int
		bytes string
		codes []int
	}{
		{"no JSON", websocket.TextMessage, "hello?", []int{3502}},
		{"half a JSON", websocket.TextMessage, `{"type":"ping"`, []int{3502}},
		{"an empty frame", websocket.TextMessage, "", []int{3502}},
		{"two JSONs", websocket.TextMessage, `{"type":"ping","id":"1"} {"type":"ping","id":"2"}`, []int{3502}},
		{"no UTF-8", websocket.TextMessage, "{\"type\":\"ping\",\"id\":\"\xff\"}", []int{1007}},
		{"half a code point", websocket.TextMessage, "{\"type\":\"ping\",\"id\":\"\xe2\x82\"}", []int{1007}},
		{"an encoded surrogate", websocket.TextMessage, "{\"type\":\"ping\",\"id\":\"\xed\xa0\x80\"}", []int{1007}},
		{"binary", websocket.BinaryMessage, "{\"type\":\"ping\"}", []int{3502, 1003}},
		{"too much", websocket.TextMessage, `{"type":"ping","id":"` + strings.Repeat("x", 2<<20) + `"}`, []int{1009}},
	} {
		for _, welcome := range []bool{true, false} {
			s := dial()
			what := c.what + " before hello"
			if welcome {
				s, what = alice.device(nil), c.what
			}
			s.SendRaw(c.kind, []byte(c.bytes)) // may fail half way: the server does not read it all
			closedAs(t, what, s, raw.Patience, c.codes...)
		}
	}
	for what, s := range map[string]*raw.Socket{"silence": silent, "pings only": pinging} {
		closedAs(t, what, s, raw.Patience, 3502)
	}
	if took := time.Since(began); took < 9*time.Second {
		t.Errorf("a socket without hello was closed after %v already; want 10 s", took)
	}
	if h := alice.history(chat); len(h) != 1 {
		t.Errorf("the chat has %d events; want 1", len(h))
	}
}

func TestRateLimitsSayWhenToComeBack(t *testing.T) {
	t.Parallel()
	srv := program.Start(t, program.Config{RateLimits: true})
	alice := newPerson(t, srv, "alice")
	chat := alice.group("flood")
	// One device alone is held back by the answers that it waits for; ten of the same person are not.
	const devices, most = 10, 400
	refusals := make(chan raw.Frame, devices)
	inParallel(devices, func(i int) {
		s := alice.device(nil)
		for range most {
			f, err := s.Ask(raw.Object{"type": "send", "chat": chat, "client_id": newClientID(), "text": text("flood")})
			if err != nil {
				t.Errorf("device %d: %v; want an answer on a connection that stays open", i, err)
				return
			}
			if f.Type == "error" {
				refusals <- f
				return
			}
		}
	})
	close(refusals)
	n := 0
	for f := range refusals {
		n++
		if f.Code != "rate_limited" || f.RetryAfterMS <= 0 {
			t.Errorf("got %s; want rate_limited with retry_after_ms", f.Raw)
		}
	}
	if n == 0 {
		t.Errorf("%d devices sent %d messages each, and none was limited", devices, most)
	}
	for n := range 200 {
		a, err := raw.Call(t.Context(), srv.Client, "", http.MethodPost, "/v1/sessions", raw.Object{"username": alice.name, "password": canary + "-guess"})
		if err != nil {
			t.Fatal(err)
		}
		if why := refusedWith(a, "invalid_credentials|rate_limited"); why != "" {
			t.Fatal(why)
		}
		if a.Status == http.StatusTooManyRequests {
			t.Logf("the guess %d is limited; Retry-After %q", n+1, a.Header.Get("Retry-After"))
			if a.Header.Get("Retry-After") == "" {
				t.Error("a rate_limited answer without Retry-After")
			}
			return
		}
	}
	t.Error("200 guesses of a password and no limit")
}

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/chatmesh/chatmesh/e2e/raw"
)

// hostileIDs are strings that are no ids; each has hurt some system.
var hostileIDs = []string{
	"../", "..", ".", "a.b", "*", ">", "a.>", "$SYS", "_INBOX.x", "$JS.API.>", "a b", " ", "\t", "\n", "\r\nPUB x 0\r\n\r\n", "\x00", "a\x00b",
	"😀", "é", "\u202e", strings.Repeat("a", 65), strings.Repeat("a", 5000), strings.Repeat("a.", 2500), "%2e%2e%2f", "%00", "null", "-", "'", `"`, `\`,
	"';DROP TABLE users;--", "<script>", "{{.}}", "${x}", "0", "-1", "edge", "edge.1",
}

// bystander is a conversation that must not notice what goes on elsewhere.
type bystander struct {
	from, to *person
	chat     string
	s        *raw.Socket
	done     chan struct{}
	stop     context.CancelFunc
	last     atomic.Uint64
}

// startBystander begins a conversation with a message every 50 ms.
func startBystander(t *testing.T) *bystander {
	srv := server(t)
	b := &bystander{from: newPerson(t, srv, "talker"), to: newPerson(t, srv, "listener"), done: make(chan struct{})}
	b.chat = b.from.direct(b.to)
	b.s = b.to.device(nil)
	talk := b.from.device(nil)
	ctx, stop := context.WithCancel(t.Context())
	b.stop = stop
	go func() {
		defer close(b.done)
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			f, err := talk.Ask(raw.Object{"type": "send", "chat": b.chat, "client_id": newClientID(), "text": text("nothing happens")})
			if err != nil || f.Type != "ack" {
				t.Errorf("a bystander's send: got %s, %v", f.Raw, err)
				return
			}
			b.last.Store(f.Seq)
		}
	}()
	t.Cleanup(func() { stop(); <-b.done })
	return b
}

// end checks that the conversation went on throughout.
func (b *bystander) end(t *testing.T) {
	t.Helper()
	eventually(t, raw.Patience, "the bystander goes on talking", func() bool { return b.last.Load() > 20 })
	b.stop()
	<-b.done
	awaitSeq(t, "the bystander", b.s, b.chat, b.last.Load())
	contiguous(t, "the bystander", since(2, b.s.Events(b.chat)), 2)
	if !b.s.IsOpen() {
		t.Error("the bystander's connection was closed")
	}
	frames, times := b.s.Arrivals()
	var longest time.Duration
	for i := 1; i < len(times); i++ {
		longest = max(longest, times[i].Sub(times[i-1]))
	}
	t.Logf("the bystander got %d frames; the longest pause was %v", len(frames), longest.Round(time.Millisecond))
	if longest > raw.Patience/2 {
		t.Errorf("the bystander waited %v for a message", longest)
	}
}

func TestHostileIDsHarmNobody(t *testing.T) {
	t.Parallel()
	srv := server(t)
	b := startBystander(t)
	people := newPeople(t, srv, "hostile", 2)
	eve, mallory := people[0], people[1]
	chat := eve.group("hostile", mallory)
	s := eve.device(nil)
	gentle := func(what string, a raw.Answer) {
		t.Helper()
		if a.Status >= 500 || a.Status < 200 {
			t.Errorf("%s: got %d %.200s; want no failure of the server", what, a.Status, a.Body)
		}
	}
	for _, id := range hostileIDs {
		esc := url.PathEscape(id)
		for _, c := range []struct {
			method, path string
			body         any
		}{
			{http.MethodGet, "/v1/chats/" + esc, nil},
			{http.MethodPatch, "/v1/chats/" + esc, raw.Object{"title": "x"}},
			{http.MethodGet, "/v1/chats/" + esc + "/messages", nil},
			{http.MethodPost, "/v1/chats/" + esc + "/messages", raw.Object{"client_id": newClientID(), "text": "x"}},
			{http.MethodPut, "/v1/chats/" + esc + "/read", raw.Object{"seq": 1}},
			{http.MethodPut, "/v1/chats/" + esc + "/members/" + mallory.id, nil},
			{http.MethodPut, "/v1/chats/" + chat + "/members/" + esc, nil},
			{http.MethodDelete, "/v1/chats/" + chat + "/members/" + esc, nil},
		} {
			a := eve.call(c.method, c.path, c.body)
			gentle(c.method+" "+c.path, a)
			if a.Status < 300 && id != "." && id != ".." && id != "../" {
				t.Errorf("%s %.100q: got %d %.200s; want a refusal", c.method, c.path, a.Status, a.Body)
			}
		}
		for _, c := range []struct {
			path string
			body any
		}{
			{"/v1/chats", raw.Object{"kind": "direct", "members": []string{id}}},
			{"/v1/chats", raw.Object{"kind": "group", "title": "x", "members": []string{mallory.id, id}}},
			{"/v1/chats", raw.Object{"kind": id, "title": "x", "members": []string{mallory.id}}},
			{"/v1/sessions/refresh", raw.Object{"refresh_token": id}},
		} {
			a := eve.call(http.MethodPost, c.path, c.body)
			gentle("POST "+c.path, a)
			if a.Status < 300 {
				t.Errorf("POST %s with %.50q: got %d; want a refusal", c.path, id, a.Status)
			}
		}
		q := url.QueryEscape(id)
		gentle("a user's name", eve.call(http.MethodGet, "/v1/users?username="+q, nil))
		gentle("presence", eve.call(http.MethodGet, "/v1/presence?user="+q+"&user="+mallory.id, nil))
		gentle("a cursor", eve.call(http.MethodGet, "/v1/chats?cursor="+q, nil))
		gentle("a poll", eve.call(http.MethodGet, "/v1/poll?wait=0s&cursor="+q, nil))
		if a := eve.call(http.MethodPost, "/v1/chats/"+chat+"/messages", raw.Object{"client_id": id, "text": text("x")}); validID(id) != (a.Status == 201) {
			t.Errorf("client_id %.50q over HTTP: got %d", id, a.Status)
		}
		hostileFrames(t, s, chat, id)
		hostileHello(t, eve, id)
	}
	if pong, err := s.Ask(raw.Object{"type": "ping"}); err != nil || pong.Type != "pong" {
		t.Errorf("the hostile connection itself: got %s, %v; want it open", pong.Raw, err)
	}
	if c := eve.info(chat); len(c.Members) != 2 || c.Title != "hostile" {
		t.Errorf("the chat has become %+v", c)
	}
	b.end(t)
}

// validID tells whether a client may choose the id.
func validID(id string) bool {
	return id != "" && len(id) <= 64 && strings.Trim(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-") == ""
}

// hostileFrames sends an id in every field of every request of an open connection.
func hostileFrames(t *testing.T, s *raw.Socket, chat, id string) {
	t.Helper()
	for _, q := range []raw.Object{
		{"type": "send", "chat": id, "client_id": newClientID(), "text": "x"},
		{"type": "send", "chat": chat, "client_id": id, "text": text("x")},
		{"type": "sync", "chat": id, "after": 0},
		{"type": "read", "chat": id, "seq": 1},
		{"type": "typing", "chat": id},
		{"type": id},
	} {
		f, err := s.Ask(q)
		if err != nil {
			t.Fatalf("%.100v: %v", q, err)
		}
		if f.Type != "error" && !(q["client_id"] == id && validID(id)) {
			t.Errorf("%.100v: got %.200s; want an error", q, f.Raw)
		}
		if f.Code == "internal" || f.Code == "unavailable" {
			t.Errorf("%.100v: got %.200s; want a refusal that blames the client", q, f.Raw)
		}
	}
	for _, q := range []raw.Object{
		{"type": "watch", "id": "w", "users": []string{id}},
		{"type": "typing", "chat": id},
		{"type": "ping", "id": id}, // an id of a request is the client's own
	} {
		if err := s.Send(q); err != nil {
			t.Fatalf("%.100v: %v", q, err)
		}
	}
	if f, err := s.Ask(raw.Object{"type": "ping"}); err != nil || f.Type != "pong" {
		t.Fatalf("after %.50q: a ping gets %.200s, %v", id, f.Raw, err)
	}
}

// hostileHello says hello with an id as cursor, and as token.
func hostileHello(t *testing.T, eve *person, id string) {
	t.Helper()
	for what, hello := range map[string]raw.Object{
		"a cursor": {"type": "hello", "token": eve.access, "cursors": map[string]uint64{id: 1}},
		"a token":  {"type": "hello", "token": id},
	} {
		s, _, err := raw.Dial(t.Context(), eve.srv.Client, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Send(hello); err != nil {
			t.Fatal(err)
		}
		_, err = s.Await(raw.Patience, func(f raw.Frame) bool { return f.Type == "welcome" || f.Type == "error" })
		var ce *websocket.CloseError
		if err != nil && (!errors.As(err, &ce) || ce.Code < 3500) {
			t.Errorf("hello with %s of %.50q: %v; want a welcome or a refusal", what, id, err)
		}
		s.Close()
	}
}

func TestHostileNumbersAndShapesHarmNobody(t *testing.T) {
	t.Parallel()
	srv := server(t)
	b := startBystander(t)
	eve := newPerson(t, srv, "shapes")
	chat := eve.group("shapes")
	s := eve.device(nil)
	deep := strings.Repeat(`{"a":`, 5000) + "1" + strings.Repeat("}", 5000)
	for _, frame := range []string{
		`{"type":"sync","id":"%d","chat":"` + chat + `","after":18446744073709551615}`,
		`{"type":"sync","id":"%d","chat":"` + chat + `","after":9223372036854775808}`,
		`{"type":"sync","id":"%d","chat":"` + chat + `","after":1e400}`,
		`{"type":"sync","id":"%d","chat":"` + chat + `","after":0.5}`,
		`{"type":"sync","id":"%d","chat":"` + chat + `","after":0,"limit":-5}`,
		`{"type":"sync","id":"%d","chat":"` + chat + `","after":0,"limit":1000000000}`,
		`{"type":"read","id":"%d","chat":"` + chat + `","seq":18446744073709551615}`,
		`{"type":"read","id":"%d","chat":"` + chat + `","seq":0}`,
		`{"type":"watch","id":"%d","users":[` + strings.Repeat(`"u",`, 20000) + `"u"]}`,
		`{"type":"ping","id":"%d","x":` + deep + `}`,
		`{"type":"ping","id":"%d","type":"send","type":"ping"}`,
		`{"type":["ping"],"id":"%d"}`,
		`{"type":null,"id":"%d"}`,
		`{"type":"ping","id":{"a":%d}}`,
		`{"type":"hello","id":"%d"}`,
		`{"type":"hello","id":"%d","cursors":{"` + chat + `":18446744073709551615}}`,
	} {
		b := fmt.Appendf(nil, strings.Replace(frame, "%d", "%[1]d", 1), 77)
		if err := s.SendRaw(websocket.TextMessage, b); err != nil {
			t.Logf("%.80s: the connection was closed", frame)
			s = eve.device(nil)
			continue
		}
		pong, err := s.Ask(raw.Object{"type": "ping"})
		if err != nil {
			code, _ := s.Closed(raw.Patience)
			t.Logf("%.80s: closed with %d", frame, code)
			if code != 3502 {
				t.Errorf("%.80s: closed with %d; want 3502 if at all", frame, code)
			}
			s = eve.device(nil)
		} else if pong.Type != "pong" {
			t.Errorf("%.80s: a ping afterwards gets %.200s", frame, pong.Raw)
		}
	}
	for _, path := range []string{
		"/v1/chats?limit=99999999999999999999", "/v1/chats?limit=0", "/v1/chats/" + chat + "/messages?limit=0",
		"/v1/chats/" + chat + "/messages?before=18446744073709551615", "/v1/chats/" + chat + "/messages?before=0",
		"/v1/chats/" + chat + "/messages?after=18446744073709551615", "/v1/chats/" + chat + "/messages?after=99999999999999999999999", "/v1/chats/" + chat + "/messages?before=5&after=1",
		"/v1/chats/" + chat + "/messages?%zz", "/v1/poll?wait=-1s", "/v1/poll?wait=forever", "/v1//chats", "/v1/chats/" + chat + "/",
		"/v1/chats/" + chat + "/../" + chat, "/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/v1/presence?" + strings.Repeat("user=u&", 2000),
	} {
		if a := eve.call(http.MethodGet, path, nil); a.Status >= 500 || strings.Contains(string(a.Body), "root:") {
			t.Errorf("GET %.100s: got %d %.200s", path, a.Status, a.Body)
		}
	}
	if h := eve.history(chat); len(h) != 1 {
		t.Errorf("the chat has %d events; want 1", len(h))
	}
	b.end(t)
}

package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

func TestSendIsRepeatedWithTheSameIDUntilItIsAcked(t *testing.T) {
	f := newFake(t)
	conn, s := f.connect(f.login(), ConnConfig{AnswerWithin: 200 * time.Millisecond})
	type done struct {
		r   Receipt
		err error
	}
	got := make(chan done, 1)
	go func() {
		r, err := conn.Send(t.Context(), Outgoing{Chat: "c", Text: "hello <&>\u2028"})
		got <- done{r, err}
	}()
	first := s.read("send")
	again := s.read("send") // no answer in time
	s.write(fmt.Sprintf(`{"type":"error","id":%q,"code":"unavailable","message":"later","retry_after_ms":1}`, again.ID))
	s.read("send")
	s.close(CloseDraining) // no answer at all
	s = f.accept()
	s.write(`{"type":"welcome"}`)
	last := s.read("send")
	s.write(fmt.Sprintf(`{"type":"ack","id":%q,"chat":"c","client_id":%q,"seq":7,"sent_at":"2026-01-02T03:04:05Z",`+
		`"duplicate":true}`, last.ID, last.ClientID))
	d := <-got
	if d.err != nil || d.r.Seq != 7 || !d.r.Duplicate || d.r.ClientID != first.ClientID {
		t.Errorf("got %+v, %v; want seq 7 of %s", d.r, d.err, first.ClientID)
	}
	if first.ClientID == "" || again.ClientID != first.ClientID || last.ClientID != first.ClientID {
		t.Errorf("got client ids %q, %q, %q; want the same", first.ClientID, again.ClientID, last.ClientID)
	}
	if first.Text != "hello <&>\u2028" {
		t.Errorf("got text %q", first.Text)
	}
}

func TestARefusedSendIsNotRepeated(t *testing.T) {
	f := newFake(t)
	conn, s := f.connect(f.login(), ConnConfig{})
	got := make(chan error, 1)
	go func() {
		_, err := conn.Send(t.Context(), Outgoing{Chat: "c", Text: "x"})
		got <- err
	}()
	s.write(fmt.Sprintf(`{"type":"error","id":%q,"code":"not_found","message":"no such chat"}`, s.read("send").ID))
	if err := <-got; !chat.Is(err, chat.NotFound) {
		t.Errorf("got %v; want not_found", err)
	}
	for text, want := range map[string]chat.Code{"": chat.BadRequest, "\xff": chat.BadRequest} {
		if _, err := conn.Send(t.Context(), Outgoing{Chat: "c", Text: text}); !chat.Is(err, want) {
			t.Errorf("text %q: got %v; want %s", text, err, want)
		}
	}
}

func TestSendEndsWithItsContextWhileOffline(t *testing.T) {
	f := newFake(t)
	conn, s := f.connect(f.login(), ConnConfig{})
	s.close(1001)
	f.accept() // and no welcome
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := conn.Send(ctx, Outgoing{Chat: "c", Text: "x"}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v; want %v", err, context.DeadlineExceeded)
	}
	if err := conn.Typing(t.Context(), "c"); !errors.Is(err, ErrOffline) {
		t.Errorf("typing: got %v; want %v", err, ErrOffline)
	}
}

func TestEventsComeInOrderOverHolesAndReconnects(t *testing.T) {
	f := newFake(t)
	conn, s := f.connect(f.login(), ConnConfig{Cursors: map[chat.ID]chat.Seq{"c": 1}})
	if s.hello.Type != "hello" || s.hello.Token != "access-1" || s.hello.Cursors["c"] != 1 {
		t.Errorf("got hello %+v", s.hello)
	}
	r := s.read("sync") // c is not in the list of chats: we may have been removed
	s.write(fmt.Sprintf(`{"type":"page","id":%q,"chat":"c","messages":[],"has_more":false}`, r.ID))
	s.event("c", 2)
	s.event("c", 4)
	r = s.read("sync")
	if r.Chat != "c" || r.After == nil || *r.After != 2 {
		t.Fatalf("got %+v; want a sync after 2", r)
	}
	s.event("c", 5)
	s.write(fmt.Sprintf(`{"type":"page","id":%q,"chat":"c","messages":[{"type":"message","chat":"c","seq":3}],`+
		`"has_more":false}`, r.ID))
	wantSeqs(t, nextEvents(t, conn, 4), 2, 3, 4, 5)
	f.mu.Lock()
	f.chats = []Chat{{ID: "c", LastSeq: 7}}
	f.mu.Unlock()
	s.ws.Close() // without a goodbye: 1006
	s = f.accept()
	if s.hello.Cursors["c"] != 5 {
		t.Errorf("got cursor %d in the second hello; want 5", s.hello.Cursors["c"])
	}
	s.write(`{"type":"welcome"}`)
	s.event("c", 6)
	s.event("c", 7)
	wantSeqs(t, nextEvents(t, conn, 2), 6, 7)
	if got := conn.Cursors()["c"]; got != 7 {
		t.Errorf("got cursor %d; want 7", got)
	}
}

func TestASlowCallerGetsEverythingAndHoldsUpNoAck(t *testing.T) {
	f := newFake(t)
	f.chats = []Chat{{ID: "c"}}
	conn, s := f.connect(f.login(), ConnConfig{Queue: 8})
	const n = 100
	go func() {
		for i := range chat.Seq(n) {
			s.event("c", i+1)
		}
		for {
			var r request
			if s.ws.ReadJSON(&r) != nil {
				return
			}
			switch r.Type {
			case "send":
				s.write(fmt.Sprintf(`{"type":"ack","id":%q,"seq":1000}`, r.ID))
			case "sync":
				p := ""
				last := min(*r.After+chat.Seq(r.Limit), n)
				for i := *r.After + 1; i <= last; i++ {
					p += fmt.Sprintf(`,{"type":"message","chat":"c","seq":%d}`, i)
				}
				s.write(fmt.Sprintf(`{"type":"page","id":%q,"messages":[%s],"has_more":%v}`, r.ID, p[min(1, len(p)):], last < n))
			}
		}
	}()
	if _, err := conn.Send(t.Context(), Outgoing{Chat: "c", Text: "x"}); err != nil {
		t.Fatal(err)
	}
	for i, seq := range nextEvents(t, conn, n) {
		if seq != chat.Seq(i+1) {
			t.Fatalf("got seq %d as number %d", seq, i+1)
		}
	}
}

func TestAnEndForGoodIsNotFollowedByAConnection(t *testing.T) {
	f := newFake(t)
	conn, s := f.connect(f.login(), ConnConfig{})
	s.close(CloseSessionEnded)
	var err error
	for err == nil {
		_, err = conn.Next(t.Context())
	}
	var ce *CloseError
	if !errors.As(err, &ce) || ce.Code != CloseSessionEnded || ce.Reason != "why" {
		t.Errorf("got %v; want close code %d", err, CloseSessionEnded)
	}
	if _, err := conn.Send(t.Context(), Outgoing{Chat: "c", Text: "x"}); !errors.As(err, &ce) {
		t.Errorf("send: got %v; want %v", err, ce)
	}
	if n := len(f.sockets); n != 0 {
		t.Errorf("got %d more connections; want none", n)
	}
}

func TestARefusedTokenFailsConnect(t *testing.T) {
	f := newFake(t)
	c := f.login()
	go func() {
		s := f.accept()
		s.close(CloseBadToken)
	}()
	var ce *CloseError
	if _, err := c.Connect(t.Context(), ConnConfig{}); !errors.As(err, &ce) || ce.Code != CloseBadToken {
		t.Errorf("got %v; want close code %d", err, CloseBadToken)
	}
}

func TestADrainingEdgeIsLeftWithinTheGivenTime(t *testing.T) {
	f := newFake(t)
	conn, s := f.connect(f.login(), ConnConfig{})
	s.write(`{"type":"draining","reconnect_after_ms":100}`)
	next := f.accept()
	next.write(`{"type":"welcome"}`)
	s.ws.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, _, err := s.ws.ReadMessage(); err == nil {
		t.Error("the old socket is still used")
	}
	next.write(`{"type":"typing","chat":"c","user":"you"}`)
	for {
		u, err := conn.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if u.Typing != nil {
			break
		}
	}
}

func TestWatchesAreRenewedOnANewConnection(t *testing.T) {
	f := newFake(t)
	conn, s := f.connect(f.login(), ConnConfig{})
	if err := conn.Watch(t.Context(), "a", "b"); err != nil {
		t.Fatal(err)
	}
	if r := s.read("watch"); len(r.Users) != 2 {
		t.Errorf("got %+v; want two users", r)
	}
	s.write(`{"type":"presence","user":"a","online":true}`)
	s.close(CloseTooSlow)
	s = f.accept()
	s.write(`{"type":"welcome"}`)
	if r := s.read("watch"); len(r.Users) != 2 {
		t.Errorf("got %+v; want two users again", r)
	}
	s.write(`{"type":"presence","user":"b","online":false,"last_seen":"2026-01-02T03:04:05.678Z"}`)
	seen := map[chat.UserID]bool{}
	for len(seen) < 2 {
		u, err := conn.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if u.Presence != nil {
			seen[u.Presence.User] = u.Presence.Online
		}
	}
	if !seen["a"] || seen["b"] {
		t.Errorf("got %v; want a online and b not", seen)
	}
}

func TestCloseEndsWhatWaits(t *testing.T) {
	f := newFake(t)
	conn, s := f.connect(f.login(), ConnConfig{})
	got := make(chan error, 2)
	go func() {
		_, err := conn.Send(t.Context(), Outgoing{Chat: "c", Text: "x"})
		got <- err
	}()
	s.read("send")
	go func() {
		for {
			if _, err := conn.Next(t.Context()); err != nil {
				got <- err
				return
			}
		}
	}()
	conn.Close()
	for range 2 {
		if err := <-got; !errors.Is(err, ErrClosed) {
			t.Errorf("got %v; want %v", err, ErrClosed)
		}
	}
}

func TestTokensAreRenewedWhenTheyEnd(t *testing.T) {
	f := newFake(t)
	f.expires = 1 // as good as ended
	var pairs []string
	c, err := Login(t.Context(), f.http.URL, "me", "password", WithTokenHook(func(t Tokens) { pairs = append(pairs, t.Access) }))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	f.mu.Lock()
	f.expires = 3600
	f.dead["access-2"] = true
	f.mu.Unlock()
	if u, err := c.Me(t.Context()); err != nil || u.DisplayName != "Me" {
		t.Errorf("got %+v, %v", u, err)
	}
	if len(pairs) != 3 || c.Tokens().Access != "access-3" { // 1 was near its end, 2 was refused
		t.Errorf("got pairs %v; want three", pairs)
	}
	f.mu.Lock()
	f.dead["access-3"], f.dead["access-4"] = true, true
	f.mu.Unlock()
	_, err = c.Me(t.Context())
	if e := chat.AsError(err); e.Code != chat.InvalidToken || e.Message != "the token has ended" || e.RetryAfter != 1500*time.Millisecond {
		t.Errorf("got %v; want the refusal of the server", err)
	}
}

func TestAnAnswerWithoutACodeIsNamedByItsStatus(t *testing.T) {
	for status, want := range map[int]chat.Code{
		400: chat.BadRequest, 401: chat.Unauthorized, 403: chat.Forbidden, 404: chat.NotFound, 409: chat.Conflict,
		413: chat.TooLarge, 429: chat.RateLimited, 500: chat.Internal, 502: chat.Unavailable, 503: chat.Unavailable,
	} {
		res := &http.Response{StatusCode: status, Header: http.Header{"Retry-After": {"2"}}}
		err := refusal(res, []byte("<html>"))
		if e := chat.AsError(err); e.Code != want || e.RetryAfter != 2*time.Second {
			t.Errorf("status %d: got %v; want %s", status, err, want)
		}
	}
}

package e2e

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chatmesh/chatmesh/e2e/program"
	"github.com/chatmesh/chatmesh/e2e/raw"
)

// asTold waits as long as a refusal asks for.
func asTold(t *testing.T, what string, retryAfterMS int64) {
	t.Helper()
	if retryAfterMS <= 0 || retryAfterMS > raw.Patience.Milliseconds() {
		t.Fatalf("%s: told to wait %d ms; want some seconds", what, retryAfterMS)
	}
	<-time.After(time.Duration(retryAfterMS) * time.Millisecond)
}

// Alice floods a group from three devices. What was acked stands, what was refused does not; Bob and Carol, who was away, notice nothing
// but the messages; and who waits as told is let through.
func TestSomebodyFloodsAndNobodyElseIsHarmed(t *testing.T) {
	t.Parallel()
	srv := program.Start(t, program.Config{RateLimits: true, Args: []string{"--limits", "send=12/m:10,react=off"}})
	alice, bob, carol := newPerson(t, srv, "alice"), newPerson(t, srv, "bob"), newPerson(t, srv, "carol")
	chat := alice.group("flood", bob, carol)
	carol.must(http.StatusOK, http.MethodGet, "/v1/chats", nil, nil)
	away := carol.device(nil)
	head := awaitSeq(t, "carol", away, chat, send(t, bob.device(nil), chat, newClientID(), text("before")).Seq)
	away.Leave()

	var mu sync.Mutex
	acked, refused := map[string]bool{}, map[string]bool{}
	const devices, each = 3, 15
	flood := make(chan struct{})
	go func() {
		defer close(flood)
		inParallel(devices, func(i int) {
			s := alice.device(nil)
			for range each {
				id := newClientID()
				f, err := s.Ask(raw.Object{"type": "send", "chat": chat, "client_id": id, "text": text("flood")})
				if err != nil {
					t.Errorf("device %d: %v; want an answer on a connection that stays open", i, err)
					return
				}
				mu.Lock()
				switch {
				case f.Type == "ack":
					acked[id] = true
				case f.Code == "rate_limited" && f.RetryAfterMS > 0:
					refused[id] = true
				default:
					t.Errorf("got %s; want an ack, or rate_limited with retry_after_ms", f.Raw)
				}
				mu.Unlock()
			}
		})
	}()
	// Bob is let through at once, to the group and to others.
	phone, laptop := bob.device(nil), bob.device(nil)
	direct := bob.direct(carol)
	for range 4 {
		f := send(t, phone, chat, newClientID(), text("in between"))
		awaitSeq(t, "bob's laptop", laptop, chat, f.Seq)
		mu.Lock()
		acked[f.ClientID] = true
		mu.Unlock()
	}
	bob.post(direct, text("elsewhere"))
	<-flood
	if len(acked) < 10 || len(refused) == 0 {
		t.Errorf("%d were acked and %d refused; want ten and then most refused", len(acked), len(refused))
	}

	// Over HTTP it is the same bucket.
	post := func(id string) raw.Answer {
		return alice.call(http.MethodPost, "/v1/chats/"+chat+"/messages", raw.Object{"client_id": id, "text": text("patient")})
	}
	id := newClientID()
	a := post(id)
	for range 20 { // a bucket that has filled up a little meanwhile
		if a.Status == http.StatusTooManyRequests {
			break
		}
		acked[id] = true
		id = newClientID()
		a = post(id)
	}
	if why := refusedWith(a, "rate_limited"); why != "" {
		t.Fatal(why)
	}
	problem, err := a.Problem()
	if err != nil {
		t.Fatal(err)
	}
	if seconds, err := strconv.ParseInt(a.Header.Get("Retry-After"), 10, 64); err != nil || seconds != (problem.RetryAfterMS+999)/1000 {
		t.Errorf("got Retry-After %q for %d ms", a.Header.Get("Retry-After"), problem.RetryAfterMS)
	}
	alice.page(chat, "") // reading goes on
	asTold(t, "over HTTP", problem.RetryAfterMS)
	alice.expect(post(id), "POST", "messages", http.StatusCreated, nil)
	acked[id] = true
	s := alice.device(nil)
	var again raw.Object
	var f raw.Frame
	for range 20 {
		again = raw.Object{"type": "send", "chat": chat, "client_id": newClientID(), "text": text("patient")}
		if f, err = s.Ask(again); err != nil || f.Type != "ack" {
			break
		}
		acked[f.ClientID] = true
	}
	if err != nil || f.Code != "rate_limited" {
		t.Fatalf("got %s, %v; want rate_limited", f.Raw, err)
	}
	asTold(t, "over the WebSocket", f.RetryAfterMS)
	if f, err = s.Ask(again); err != nil || f.Type != "ack" || f.Duplicate {
		t.Fatalf("after the time told: got %s, %v; want an ack", f.Raw, err)
	}
	acked[f.ClientID] = true

	// Carol comes back.
	back := carol.device(map[string]uint64{chat: head.Seq})
	awaitSeq(t, "carol", back, chat, f.Seq)
	var got []string
	for _, e := range carol.history(chat) {
		if e.Type == "message" && e.Seq > head.Seq {
			got = append(got, e.ClientID)
		}
	}
	contiguous(t, "carol's device", since(head.Seq+1, back.Events(chat)), head.Seq+1)
	if len(got) != len(acked) || slices.ContainsFunc(got, func(id string) bool { return !acked[id] || refused[id] }) {
		t.Errorf("the chat has %d messages; want exactly the %d that were acked", len(got), len(acked))
	}
	_, metrics, err := srv.AdminGet("/metrics")
	if err != nil || !regexp.MustCompile(`(?m)^chatmesh_limit_refused_total\{kind="send",per="person"\} [1-9]`).MatchString(metrics) {
		t.Errorf("the metrics do not count what was refused, %v", err)
	}
	if strings.Contains(metrics, alice.id) || strings.Contains(metrics, alice.name) {
		t.Error("the metrics name who was refused")
	}
}

func TestAPersonHasSoManyConnectionsAndTheNewestIsRefused(t *testing.T) {
	t.Parallel()
	srv := program.Start(t, program.Config{RateLimits: true, Env: []string{"CHATMESH_LIMITS=connections=3"}})
	alice, bob := newPerson(t, srv, "alice"), newPerson(t, srv, "bob")
	var devices []*raw.Socket
	for range 3 {
		devices = append(devices, alice.device(nil))
	}
	s, _, err := raw.Dial(t.Context(), srv.Client, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	if f, err := s.Ask(raw.Object{"type": "hello", "token": alice.access}); err != nil || f.Code != "rate_limited" || f.RetryAfterMS <= 0 {
		t.Errorf("got %s, %v; want rate_limited with retry_after_ms", f.Raw, err)
	}
	closedAs(t, "the fourth", s, raw.Patience, 3003)
	chat := alice.direct(bob)
	f := send(t, bob.device(nil), chat, newClientID(), text("to all"))
	for i, d := range devices {
		awaitSeq(t, fmt.Sprintf("device %d", i), d, chat, f.Seq)
	}
	devices[0].Leave()
	eventually(t, raw.Patience, "there is room for another", func() bool {
		s, err := raw.Connect(t.Context(), srv.Client, alice.access, nil)
		if err == nil {
			t.Cleanup(s.Close)
		}
		return err == nil
	})
}

func TestWithoutRateLimitsAPersonIsNotBounded(t *testing.T) {
	t.Parallel()
	srv := server(t)
	alice := newPerson(t, srv, "alice")
	chat := alice.group("busy")
	s := alice.device(nil)
	for range 40 {
		alice.device(nil)
	}
	for n := range 150 {
		send(t, s, chat, newClientID(), text("message %d", n))
	}
}

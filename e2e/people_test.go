package e2e

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/chatmesh/chatmesh/e2e/program"
	"github.com/chatmesh/chatmesh/e2e/raw"
)

// canary is in every password and in the texts of messages. It must not be found in a log or in the metrics.
var canary = "kanari" + random(8)

func random(bytes int) string {
	b := make([]byte, bytes)
	rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// text makes a text that is recognizable and like no other.
func text(format string, args ...any) string {
	return fmt.Sprintf(format, args...) + " " + canary + random(3)
}

func newClientID() string { return uuid.Must(uuid.NewV7()).String() }

// person is somebody with an account and a session.
type person struct {
	t               *testing.T
	srv             *program.Program
	name, id        string
	password        string
	access, refresh string
}

type signedIn struct {
	User struct {
		ID          string `json:"id"`
		Username    string `json:"username"`
		DisplayName string `json:"display_name"`
	} `json:"user"`
	AccessToken  string  `json:"access_token"`
	RefreshToken string  `json:"refresh_token"`
	ExpiresIn    float64 `json:"expires_in"`
}

// hashing bounds how many passwords are hashed for the stories at the same time: it is what costs the server most.
var hashing = make(chan struct{}, 3)

// newPerson registers somebody whose name begins with prefix.
func newPerson(t *testing.T, srv *program.Program, prefix string) *person {
	t.Helper()
	p := &person{t: t, srv: srv, name: prefix + "_" + random(6), password: canary + "-" + random(6)}
	srv.Guard(canary, p.password)
	var a signedIn
	p.busy(http.MethodPost, "/v1/users", raw.Object{"username": p.name, "password": p.password, "display_name": "The " + prefix},
		http.StatusCreated, &a)
	p.id, p.access, p.refresh = a.User.ID, a.AccessToken, a.RefreshToken
	srv.Guard(p.access, p.refresh)
	if p.id == "" || p.access == "" || p.refresh == "" || a.ExpiresIn <= 0 || a.User.Username != p.name {
		t.Fatalf("registration answers %+v; want user, tokens and expires_in", a)
	}
	return p
}

// newPeople registers several people at the same time.
func newPeople(t *testing.T, srv *program.Program, prefix string, n int) []*person {
	t.Helper()
	out := make([]*person, n)
	inParallel(n, func(i int) { out[i] = newPerson(t, srv, fmt.Sprintf("%s%d", prefix, i)) })
	for _, p := range out {
		if p == nil {
			t.FailNow()
		}
	}
	return out
}

// login begins a further session of the same person.
func (p *person) login() *person {
	p.t.Helper()
	var a signedIn
	p.busy(http.MethodPost, "/v1/sessions", raw.Object{"username": p.name, "password": p.password}, http.StatusCreated, &a)
	q := *p
	q.access, q.refresh = a.AccessToken, a.RefreshToken
	p.srv.Guard(q.access, q.refresh)
	return &q
}

// busy is a call without a token that costs a hash, repeated while the server says that it is busy with others.
func (p *person) busy(method, path string, body any, want int, into any) {
	p.t.Helper()
	hashing <- struct{}{}
	defer func() { <-hashing }()
	deadline := time.Now().Add(raw.Patience)
	for {
		a, err := raw.Call(p.t.Context(), p.srv.Client, "", method, path, body)
		if err != nil {
			p.t.Fatalf("%s %s: %v", method, path, err)
		}
		if a.Status == http.StatusServiceUnavailable && time.Now().Before(deadline) {
			time.Sleep(50 * time.Millisecond)
			continue
		}
		p.expect(a, method, path, want, into)
		return
	}
}

// call makes a call with the person's token.
func (p *person) call(method, path string, body any) raw.Answer {
	p.t.Helper()
	a, err := raw.Call(p.t.Context(), p.srv.Client, p.access, method, path, body)
	if err != nil {
		p.t.Fatalf("%s %s: %v", method, path, err)
	}
	return a
}

// must is call with the status that is wanted; the answer is decoded into into unless that is nil.
func (p *person) must(want int, method, path string, body, into any) raw.Answer {
	p.t.Helper()
	a := p.call(method, path, body)
	p.expect(a, method, path, want, into)
	return a
}

func (p *person) expect(a raw.Answer, method, path string, want int, into any) {
	p.t.Helper()
	if a.Status != want {
		p.t.Fatalf("%s %s: got %d %.300s; want %d", method, path, a.Status, a.Body, want)
	}
	if into == nil {
		return
	}
	if kind := a.Header.Get("Content-Type"); !strings.HasPrefix(kind, "application/json") {
		p.t.Errorf("%s %s: content type %q; want application/json", method, path, kind)
	}
	if err := a.Into(into); err != nil {
		p.t.Fatalf("%s %s: %v", method, path, err)
	}
}

// refused checks that a call is refused with one of the statuses that code may have.
func (p *person) refused(code, method, path string, body any) raw.Answer {
	p.t.Helper()
	a := p.call(method, path, body)
	if why := refusedWith(a, code); why != "" {
		p.t.Errorf("%s %s: %s", method, path, why)
	}
	return a
}

// statuses are the HTTP statuses of the codes. The contract leaves that of too_long open.
var statuses = map[string][]int{
	"bad_request": {400}, "unauthorized": {401}, "forbidden": {403}, "not_found": {404}, "too_long": {400, 413, 422},
	"too_large": {413}, "rate_limited": {429}, "unavailable": {503}, "conflict": {409}, "too_many_members": {422},
	"username_taken": {409}, "invalid_credentials": {401}, "invalid_token": {401}, "internal": {500},
}

// refusedWith says what is wrong with a refusal that should have one of the codes, which are separated by "|".
func refusedWith(a raw.Answer, codes string) string {
	problem, err := a.Problem()
	if err != nil {
		return err.Error()
	}
	for code := range strings.SplitSeq(codes, "|") {
		for _, status := range statuses[code] {
			if code == problem.Code && status == a.Status {
				return ""
			}
		}
	}
	return fmt.Sprintf("got %d %s (%.200s); want %s", a.Status, problem.Code, a.Body, codes)
}

// device connects a device of the person; it is closed at the end of the test.
func (p *person) device(cursors map[string]uint64) *raw.Socket {
	p.t.Helper()
	s, err := raw.Connect(p.t.Context(), p.srv.Client, p.access, cursors)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(s.Close)
	return s
}

// inParallel calls f for 0 to n-1 at the same time and waits for all. f must not call FailNow except through a person of
// the test, which ends only that call.
func inParallel(n int, f func(i int)) {
	done := make(chan struct{})
	for i := range n {
		go func() {
			defer func() { done <- struct{}{} }()
			f(i)
		}()
	}
	for range n {
		<-done
	}
}

// eventually polls until what holds, and fails the test when it does not in time.
func eventually(t *testing.T, d time.Duration, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(d); !holds(); {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", d, what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// steadily checks for a while that what does not come about.
func steadily(t *testing.T, d time.Duration, what string, happens func() bool) {
	t.Helper()
	for deadline := time.Now().Add(d); time.Now().Before(deadline); {
		if happens() {
			t.Fatalf("it came about: %s", what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// oneOf tells whether s is one of the words, which are separated by "|".
func oneOf(s, words string) bool {
	for w := range strings.SplitSeq(words, "|") {
		if w == s {
			return true
		}
	}
	return false
}

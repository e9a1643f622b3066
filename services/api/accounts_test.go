package api

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chatmesh/chatmesh/pkg/auth"
	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/limit"
	"github.com/chatmesh/chatmesh/pkg/meshtest"
	"github.com/chatmesh/chatmesh/pkg/subject"
)

func credentials(name, password string) map[string]string {
	return map[string]string{"username": name, "password": password}
}

func TestWhoRegistersIsLoggedInAndCanLogInAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var g grant
	w.call("", "POST", "/v1/users", map[string]string{"username": "ann", "password": "correct horse", "email": "ann@example.org"}).
		want(t, 201, "").into(t, &g)
	if g.User.Username != "ann" || g.User.DisplayName != "ann" || g.ExpiresIn < 590 || g.ExpiresIn > 600 {
		t.Fatalf("got %+v", g)
	}
	if id := string(g.User.ID); len(id) != 26 || strings.ToLower(id) != id {
		t.Fatalf("got id %q; want 26 lower-case characters", id)
	}
	var me userView
	w.call(g.AccessToken, "GET", "/v1/users/me", nil).want(t, 200, "").into(t, &me)
	if me != g.User {
		t.Fatalf("got %+v; want %+v", me, g.User)
	}
	var again grant
	w.call("", "POST", "/v1/sessions", credentials("ann", "correct horse")).want(t, 201, "").into(t, &again)
	if again.User != g.User || again.RefreshToken == g.RefreshToken {
		t.Fatalf("got %+v; want another session of %+v", again, g.User)
	}
	u, err := w.store.UserByName(t.Context(), "ann")
	check(t, err)
	if u.Email != "ann@example.org" || u.PasswordHash == "" || strings.Contains(u.PasswordHash, "horse") {
		t.Fatalf("got %+v", u)
	}
	w.call("", "POST", "/v1/users", credentials("ann", "another one")).want(t, 409, chat.UsernameTaken)
}

func TestOfConcurrentRegistrationsOfANameOneSucceeds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var wg sync.WaitGroup
	var mu sync.Mutex
	count := map[int]int{}
	for range 4 {
		wg.Go(func() {
			r := w.call("", "POST", "/v1/users", credentials("highlander", "there can be one"))
			mu.Lock()
			defer mu.Unlock()
			count[r.status]++
		})
	}
	wg.Wait()
	if count[201] != 1 || count[409] != 3 {
		t.Fatalf("got %v; want one 201 and three 409", count)
	}
}

func TestAWrongPasswordAndAnUnknownNameGetTheSameAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.call("", "POST", "/v1/users", credentials("ann", "correct horse")).want(t, 201, "")
	before := w.hasher.Stats().Computed
	wrong := w.call("", "POST", "/v1/sessions", credentials("ann", "wrong horse")).want(t, 401, chat.InvalidCredentials)
	for _, c := range []map[string]string{credentials("nobody", "wrong horse"), credentials("NO SUCH name", "wrong horse"),
		credentials("ann", "short"), credentials("ann", strings.Repeat("x", 5000))} {
		if r := w.call("", "POST", "/v1/sessions", c).want(t, 401, chat.InvalidCredentials); !bytes.Equal(r.body, wrong.body) {
			t.Errorf("got %s; want %s", r.body, wrong.body)
		}
	}
	if got := w.hasher.Stats().Computed - before; got != 5 {
		t.Errorf("got %d hashes for 5 tries; want each to cost one", got)
	}
}

func TestLoginIsLimitedByNameAndAddressBeforeHashing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) { c.Limits = limit.NewTable(limit.DefaultRules(), nil) })
	try := func(name, forwarded string) reply {
		req, err := http.NewRequest("POST", w.url+"/v1/sessions", strings.NewReader(`{"username":"`+name+`","password":"wrong horse"}`))
		check(t, err)
		req.Header.Set("X-Forwarded-For", forwarded)
		return w.do(req)
	}
	before := w.hasher.Stats().Computed
	refused := func(name, forwarded string) {
		t.Helper()
		r := try(name, forwarded).want(t, 429, chat.RateLimited)
		if r.header.Get("Retry-After") == "" || !strings.Contains(string(r.body), "retry_after_ms") {
			t.Errorf("got %v %s; want to be told when to come back", r.header, r.body)
		}
		if got := w.hasher.Stats().Computed; got != before {
			t.Errorf("got %d hashes for a refused try; want none", got-before)
		}
	}
	for w.api.limits.Allow(forLogin("ann", "192.0.2.1"), limit.Login) == nil {
	}
	refused("ann", "10.0.0.2")
	try("ben", "10.0.0.2").want(t, 401, chat.InvalidCredentials)
	before++
	for i := 0; w.api.limits.Allow(forLogin("name_"+strconv.Itoa(i), "127.0.0.1"), limit.Login) == nil; i++ {
	}
	refused("cat", "10.0.0.3")
	refused("cat", "10.0.0.4")
}

func TestARefreshedPairReplacesTheOldOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var first, second grant
	w.call("", "POST", "/v1/users", credentials("ann", "correct horse")).want(t, 201, "").into(t, &first)
	refresh := func(token string) reply {
		return w.call("", "POST", "/v1/sessions/refresh", map[string]string{"refresh_token": token})
	}
	refresh(first.RefreshToken).want(t, 200, "").into(t, &second)
	if second.User != first.User || second.RefreshToken == first.RefreshToken {
		t.Fatalf("got %+v", second)
	}
	w.call(second.AccessToken, "GET", "/v1/users/me", nil).want(t, 200, "")
	// The first token comes again: one of two who hold it is a thief, and both are out.
	refresh(first.RefreshToken).want(t, 401, chat.InvalidToken)
	refresh(second.RefreshToken).want(t, 401, chat.InvalidToken)
	for _, g := range []grant{first, second} {
		w.call(g.AccessToken, "GET", "/v1/users/me", nil).want(t, 401, chat.Unauthorized)
	}
	// Another session of the same person goes on.
	var other grant
	w.call("", "POST", "/v1/sessions", credentials("ann", "correct horse")).want(t, 201, "").into(t, &other)
	refresh(other.RefreshToken).want(t, 200, "")
}

func TestOfRacingRefreshesAtMostOneSucceedsAndTheSessionEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for round := range 5 {
		p := w.person("racer")
		a, err := w.api.begin(t.Context(), mustUser(t, w, p), "")
		check(t, err)
		g := a.body.(grant)
		var wg sync.WaitGroup
		var mu sync.Mutex
		var won []grant
		for range 8 {
			wg.Go(func() {
				r := w.call("", "POST", "/v1/sessions/refresh", map[string]string{"refresh_token": g.RefreshToken})
				if r.status == 200 {
					var next grant
					r.into(t, &next)
					mu.Lock()
					defer mu.Unlock()
					won = append(won, next)
				} else if r.status != 401 {
					t.Errorf("round %d: got %d %s", round, r.status, r.body)
				}
			})
		}
		wg.Wait()
		if len(won) > 1 {
			t.Fatalf("round %d: %d refreshes of one token succeeded", round, len(won))
		}
		for _, next := range append(won, g) {
			w.call(next.AccessToken, "GET", "/v1/users/me", nil).want(t, 401, chat.Unauthorized)
			w.call("", "POST", "/v1/sessions/refresh", map[string]string{"refresh_token": next.RefreshToken}).want(t, 401, chat.InvalidToken)
		}
	}
}

func TestLoggingOutEndsTheSessionEverywhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	// Another node, with a key of its own.
	key, err := auth.LoadOrCreateKey(t.TempDir() + "/other")
	check(t, err)
	signer, err := auth.NewSigner(key, 10*time.Minute)
	check(t, err)
	other, err := New(Config{Bus: w.bus, Log: w.log, Store: w.store, Hasher: w.hasher, Signer: signer, Verifier: auth.NewVerifier(),
		Logger: meshtest.Logger(t), Version: "1.0.0", Node: "n2"})
	check(t, err)
	w.run(other.Run)
	p := w.person("ann")
	a, err := w.api.begin(t.Context(), mustUser(t, w, p), "")
	check(t, err)
	g := a.body.(grant)
	there := func() error {
		req, err := http.NewRequest("GET", "/v1/users/me", nil)
		check(t, err)
		req.Header.Set("Authorization", "bearer "+g.AccessToken)
		_, err = other.authenticate(req)
		return err
	}
	meshtest.Eventually(t, meshtest.Patience, "the other node takes tokens of this one", func() bool { return there() == nil })
	if r := w.call(g.AccessToken, "DELETE", "/v1/sessions/current", nil).want(t, 204, ""); len(r.body) > 0 {
		t.Errorf("got body %s; want none", r.body)
	}
	w.call(g.AccessToken, "GET", "/v1/users/me", nil).want(t, 401, chat.Unauthorized)
	w.call("", "POST", "/v1/sessions/refresh", map[string]string{"refresh_token": g.RefreshToken}).want(t, 401, chat.InvalidToken)
	meshtest.Eventually(t, meshtest.Patience, "the other node refuses the token", func() bool { return chat.Is(there(), chat.Unauthorized) })
	session := w.keyOf(t, g.AccessToken)
	value, err := w.bus.Key(t.Context(), subject.Revoked, session)
	if err != nil || !strings.Contains(string(value), string(p.id)) {
		t.Errorf("got %s, %v; want the end of the session in the bucket", value, err)
	}
	// A node that starts now knows it from the start.
	third, err := New(Config{Bus: w.bus, Log: w.log, Store: w.store, Hasher: w.hasher, Signer: w.signer, Verifier: auth.NewVerifier(),
		Logger: meshtest.Logger(t), Version: "1.0.0", Node: "n3"})
	check(t, err)
	req, err := http.NewRequest("GET", "/v1/users/me", nil)
	check(t, err)
	req.Header.Set("Authorization", "Bearer "+g.AccessToken)
	if _, err := third.authenticate(req); !chat.Is(err, chat.Unavailable) {
		t.Errorf("got %v before it runs; want unavailable", err)
	}
	w.run(third.Run)
	meshtest.Eventually(t, meshtest.Patience, "the third node answers", func() bool {
		_, err = third.authenticate(req)
		return !chat.Is(err, chat.Unavailable)
	})
	if !chat.Is(err, chat.Unauthorized) {
		t.Errorf("got %v; want unauthorized", err)
	}
}

func TestALogoutThatFailedHalfwayCanBeTriedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.person("ann")
	w.broker.Stop()
	p.call("DELETE", "/v1/sessions/current", nil).want(t, 503, chat.Unavailable)
	w.broker.Start()
	meshtest.Eventually(t, meshtest.Patience, "the logout succeeds", func() bool {
		return p.call("DELETE", "/v1/sessions/current", nil).status == 204
	})
	p.call("GET", "/v1/users/me", nil).want(t, 401, chat.Unauthorized)
}

func TestASessionRevokedButNotDeletedEndsWithItsNextRefresh(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, err := w.api.begin(t.Context(), mustUser(t, w, w.person("ann")), "")
	check(t, err)
	g := a.body.(grant)
	var next grant
	refresh := func(token string) reply {
		return w.call("", "POST", "/v1/sessions/refresh", map[string]string{"refresh_token": token})
	}
	refresh(g.RefreshToken).want(t, 200, "").into(t, &next)
	w.store.noDeletes.Store(true)
	refresh(g.RefreshToken).want(t, 503, chat.Unavailable)
	w.call(next.AccessToken, "GET", "/v1/users/me", nil).want(t, 401, chat.Unauthorized)
	w.store.noDeletes.Store(false)
	refresh(next.RefreshToken).want(t, 401, chat.InvalidToken)
	user, session, _, err := auth.ParseRefresh(g.RefreshToken)
	check(t, err)
	if _, err := w.store.Session(t.Context(), user, session); err == nil {
		t.Error("the session is still there")
	}
}

func TestEndedSessionsAreForgottenWhenTheirTokensHaveExpired(t *testing.T) {
	r := newRevoked(10 * time.Minute)
	now := time.Now()
	r.add("a", now)
	r.add("b", now.Add(-20*time.Minute))
	r.prune(now)
	if !r.has("a") || r.has("b") || len(r.until) != 1 {
		t.Errorf("got %v; want a only", r.until)
	}
}

func TestTheKeyOfTheSignerIsPublishedAndPutBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	kid := w.signer.KeyID()
	published := func() bool {
		v, err := w.bus.Key(t.Context(), subject.Keys, kid)
		return err == nil && len(v) == 44
	}
	meshtest.Eventually(t, meshtest.Patience, "the key is published", published)
	// What is no key does no harm.
	for _, v := range []string{"", "no base64!", "AAAA"} {
		check(t, w.bus.Keep(t.Context(), subject.Keys, "bad", []byte(v)))
	}
	check(t, w.bus.DeleteKey(t.Context(), subject.Keys, kid))
	p := w.person("ann")
	for range 20 {
		p.call("GET", "/v1/users/me", nil).want(t, 200, "")
		check(t, bus.Sleep(t.Context(), 5*time.Millisecond))
	}
}

func TestPeopleAreFoundByNameByAllAndByIDByThoseWhoShareAChat(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.people("ann", "ben", "cat", "dan", "eve")
	ann, ben, cat, dan, eve := p[0], p[1], p[2], p[3], p[4]
	var u userView
	ann.call("GET", "/v1/users?username="+eve.name, nil).want(t, 200, "").into(t, &u)
	if u.ID != eve.id || u.DisplayName != strings.ToUpper(eve.name) {
		t.Errorf("got %+v; want eve", u)
	}
	ann.direct(ben)
	g := cat.group(ann, dan)
	ann.group()
	byID := func() []chat.UserID {
		q := "?id=" + string(ann.id)
		for _, x := range p {
			q += "&id=" + string(x.id)
		}
		var a struct{ Users []userView }
		ann.call("GET", "/v1/users"+q+"&id=nobody", nil).want(t, 200, "").into(t, &a)
		var out []chat.UserID
		for _, x := range a.Users {
			out = append(out, x.ID)
		}
		return out
	}
	sameIDs(t, byID(), ids(ann, ben, cat, dan))
	cat.call("DELETE", chatPath(g, "members", string(dan.id)), nil).want(t, 200, "")
	sameIDs(t, byID(), ids(ann, ben, cat))
	ann.call("DELETE", chatPath(g, "members", string(ann.id)), nil).want(t, 200, "")
	sameIDs(t, byID(), ids(ann, ben))
}

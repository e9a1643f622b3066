package api

import (
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/limit"
	"github.com/chatmesh/chatmesh/pkg/subject"
)

// limitsClock is the time of limits, which the test moves.
type limitsClock struct{ ns atomic.Int64 }

func (l *limitsClock) now() time.Time { return time.Unix(1_800_000_000, l.ns.Load()) }

// advance lets as much time pass as a refusal asks for.
func (l *limitsClock) advance(t testing.TB, r reply) {
	t.Helper()
	var p problem
	r.want(t, 429, chat.RateLimited).into(t, &p)
	seconds, err := strconv.ParseInt(r.header.Get("Retry-After"), 10, 64)
	if p.RetryAfterMS <= 0 || err != nil || seconds != (p.RetryAfterMS+999)/1000 {
		t.Fatalf("got %s with Retry-After %q; want both to say when to come back", r.body, r.header.Get("Retry-After"))
	}
	l.ns.Add(p.RetryAfterMS * int64(time.Millisecond))
}

func newLimitedWorld(t *testing.T, entries ...string) (*world, *limitsClock) {
	t.Helper()
	rules, err := limit.ParseRules(entries)
	check(t, err)
	l := &limitsClock{}
	return newWorld(t, func(c *Config) { c.Limits = limit.NewTable(rules, l.now) }), l
}

func TestEveryRouteIsOfALimitedKind(t *testing.T) {
	known := limit.Kinds()
	for _, rt := range table {
		name := rt.method + " " + rt.path
		if !slices.Contains(known, kinds[name]) {
			t.Errorf("%s is of kind %q; want one of %v", name, kinds[name], known)
		}
	}
	rules := limit.DefaultRules()
	for name, kind := range kinds {
		_, byPerson := rules.Rates[kind][limit.Person]
		open := slices.ContainsFunc(table, func(rt route) bool { return rt.open && rt.method+" "+rt.path == name })
		if byPerson == open && kind != limit.Login {
			t.Errorf("%s of kind %s: open %v, but counted by person %v", name, kind, open, byPerson)
		}
	}
}

func TestEveryCallOfWhoIsLoggedInIsRefusedWhereItsKindIsUsedUp(t *testing.T) {
	t.Parallel()
	entries := []string{"call=off", "open.address=off"}
	for kind, rates := range limit.DefaultRules().Rates {
		if _, ok := rates[limit.Person]; ok && kind != limit.Call {
			entries = append(entries, string(kind)+"=1/d:1")
		}
		if _, ok := rates[limit.Address]; ok && kind != limit.Open {
			entries = append(entries, string(kind)+".address=off")
		}
	}
	w, _ := newLimitedWorld(t, entries...)
	segment := regexp.MustCompile(`\{[a-z]+\}`)
	for _, rt := range table {
		if rt.open {
			continue
		}
		p, path := w.person("ann"), segment.ReplaceAllString(rt.path, "1")
		check(t, w.api.limits.Allow(limit.Who{Person: string(p.id)}, kinds[rt.method+" "+rt.path]))
		r := p.call(rt.method, path, nil)
		if r.status != http.StatusTooManyRequests || r.header.Get("Retry-After") == "" {
			t.Errorf("%s %s: got %d %s; want it refused", rt.method, rt.path, r.status, r.body)
		}
	}
}

func TestWhoCallsTooOftenIsRefusedUntilTheTimeToldAndHarmsNobody(t *testing.T) {
	t.Parallel()
	w, clock := newLimitedWorld(t, "send=1/m:3")
	ann, ben := w.person("ann"), w.person("ben")
	id := ann.group(ben)
	say := func(p *person, n int) reply {
		return p.call("POST", chatPath(id, "messages"), map[string]any{"client_id": p.name + strconv.Itoa(n), "text": "x"})
	}
	for n := range 3 {
		say(ann, n).want(t, 201, "")
	}
	refused := say(ann, 3).want(t, 429, chat.RateLimited)
	say(ben, 0).want(t, 201, "")
	ann.call("GET", chatPath(id, "messages"), nil).want(t, 200, "")
	clock.advance(t, refused)
	say(ann, 3).want(t, 201, "")
	say(ann, 4).want(t, 429, chat.RateLimited)
}

func TestAllCallsOfAPersonAreCountedTogether(t *testing.T) {
	t.Parallel()
	w, clock := newLimitedWorld(t, "call=1/m:4")
	ann, ben := w.person("ann"), w.person("ben")
	for _, path := range []string{"/v1/users/me", "/v1/chats", "/v1/presence", "/v1/users?username=nobody"} {
		if r := ann.call("GET", path, nil); r.status == http.StatusTooManyRequests {
			t.Errorf("%s was refused", path)
		}
	}
	refused := ann.call("GET", "/v1/chats", nil).want(t, 429, chat.RateLimited)
	ben.call("GET", "/v1/chats", nil).want(t, 200, "")
	clock.advance(t, refused)
	ann.call("GET", "/v1/chats", nil).want(t, 200, "")
}

func TestNewChatsOfAPersonAreCountedAndThoseThatAreThereAreNot(t *testing.T) {
	t.Parallel()
	w, clock := newLimitedWorld(t, "chats=2/d:2")
	ann, ben, cat := w.person("ann"), w.person("ben"), w.person("cat")
	ann.direct(ben)
	ann.group(ben)
	for range 5 {
		ann.direct(ben) // the one that is there
	}
	direct := map[string]any{"kind": "direct", "members": ids(cat)}
	refused := ann.call("POST", "/v1/chats", direct).want(t, 429, chat.RateLimited)
	ann.call("POST", "/v1/chats", map[string]any{"kind": "group", "title": "x", "members": ids(ben)}).want(t, 429, chat.RateLimited)
	if chats, _ := ann.list(""); len(chats) != 2 {
		t.Errorf("ann has %d chats; want 2", len(chats))
	}
	ben.group(ann)
	clock.advance(t, refused)
	ann.call("POST", "/v1/chats", direct).want(t, 201, "")
}

func TestPeopleWhoAreAddedToGroupsAreCounted(t *testing.T) {
	t.Parallel()
	w, clock := newLimitedWorld(t, "invitations=1/h:5")
	ann := w.person("ann")
	people := w.people("b", "c", "d", "e", "f", "g")
	id := ann.group(people[:3]...)
	ann.call("POST", "/v1/chats", map[string]any{"kind": "group", "title": "x", "members": ids(people[:3]...)}).want(t, 429, chat.RateLimited)
	put := func(p *person, role string) reply {
		return ann.call("PUT", chatPath(id, "members", string(p.id)), map[string]string{"role": role})
	}
	put(people[3], "member").want(t, 200, "")
	put(people[4], "member").want(t, 200, "")
	put(people[0], "admin").want(t, 200, "") // is in already
	refused := put(people[5], "member").want(t, 429, chat.RateLimited)
	// Whom the person may not add costs nothing, and a direct chat invites nobody.
	people[0].call("PUT", "/v1/chats/none/members/"+string(people[5].id), nil).want(t, 404, chat.NotFound)
	ann.direct(people[5])
	clock.advance(t, refused)
	put(people[5], "member").want(t, 200, "")
}

func TestWhoHasNoTokenIsCountedByAddress(t *testing.T) {
	t.Parallel()
	w, clock := newLimitedWorld(t, "open.address=1/m:4")
	ann := w.person("ann")
	w.call("", "GET", "/v1/chats", nil).want(t, 401, chat.Unauthorized)
	w.call("nonsense", "GET", "/v1/chats", nil).want(t, 401, chat.Unauthorized)
	w.call("", "GET", "/v1/nothing", nil).want(t, 404, chat.NotFound)
	w.call("", "POST", "/v1/sessions", "{}").want(t, 400, chat.BadRequest)
	refused := w.call("nonsense", "GET", "/v1/chats", nil).want(t, 429, chat.RateLimited)
	w.call("", "POST", "/v1/users", credentials("dora", "correct horse")).want(t, 429, chat.RateLimited)
	for range 10 {
		ann.call("GET", "/v1/chats", nil).want(t, 200, "")
	}
	clock.advance(t, refused)
	w.call("", "POST", "/v1/users", credentials("dora", "correct horse")).want(t, 201, "")
}

func TestBackendTeamsAreNotLimited(t *testing.T) {
	t.Parallel()
	w, _ := newLimitedWorld(t, "send=1/d:1", "call=1/d:3")
	ann, ben := w.person("ann"), w.person("ben")
	id := ann.group(ben)
	for n := range 20 {
		var a SendAnswer
		check(t, w.bus.Call(t.Context(), subject.SendEndpoint,
			SendRequest{Chat: string(id), Sender: string(ann.id), ClientID: "m" + strconv.Itoa(n), Text: "x"}, &a))
	}
}

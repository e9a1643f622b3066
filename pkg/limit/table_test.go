package limit

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"pgregory.net/rapid"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

func tableOf(t testing.TB, c *clock, entries ...string) *Table {
	t.Helper()
	r, err := ParseRules(entries)
	if err != nil {
		t.Fatal(err)
	}
	return NewTable(r, c.now)
}

// refused is how long an error asks to wait; zero where there is none.
func refused(t testing.TB, err error) time.Duration {
	t.Helper()
	var e *chat.Error
	if err == nil {
		return 0
	}
	if !errors.As(err, &e) || e.Code != chat.RateLimited || e.RetryAfter <= 0 {
		t.Fatalf("got %v; want rate_limited with a time to wait", err)
	}
	return e.RetryAfter
}

func TestNoTableLimitsNothing(t *testing.T) {
	var none *Table
	for range 10_000 {
		if err := none.Allow(Who{Person: "a"}, Login); err != nil {
			t.Fatal(err)
		}
	}
	none.Crowded()
	none.Greedy()
	if none.Connections() < 1e9 || none.Watched() < 1e9 {
		t.Errorf("got %d, %d; want no bound", none.Connections(), none.Watched())
	}
}

func TestKindsAndPeopleHaveBucketsOfTheirOwn(t *testing.T) {
	var c clock
	tab := tableOf(t, &c, "send=1/s:2", "edit=1/s:1")
	ann, ben := Who{Person: "ann", Session: "s", Address: "x"}, Who{Person: "ben", Session: "s", Address: "x"}
	for range 2 {
		if err := tab.Allow(ann, Send); err != nil {
			t.Fatal(err)
		}
	}
	wait := refused(t, tab.Allow(ann, Send))
	if wait == 0 || wait > time.Second+time.Millisecond {
		t.Errorf("got %v; want to be told about a second", wait)
	}
	if tab.Allow(ann, Edit) != nil || tab.Allow(ben, Send) != nil {
		t.Error("another kind or another person was refused")
	}
	c.advance(wait)
	if err := tab.Allow(ann, Send); err != nil {
		t.Errorf("after %v: got %v; want it allowed", wait, err)
	}
}

func TestAPersonASessionAndAnAddressAreEachCounted(t *testing.T) {
	var c clock
	tab := tableOf(t, &c, "send=1/m:6", "send.session=1/m:2", "send.address=1/m:4")
	allowed := func(w Who) int {
		n := 0
		for n < 100 && tab.Allow(w, Send) == nil {
			n++
		}
		return n
	}
	if got := allowed(Who{"ann", "s1", "x"}); got != 2 {
		t.Errorf("the session got %d; want 2", got)
	}
	if got := allowed(Who{"ann", "s2", "x"}); got != 2 {
		t.Errorf("the second session got %d; want 2", got)
	}
	if got := allowed(Who{"ben", "s3", "x"}); got != 0 {
		t.Errorf("somebody else at the same address got %d; want 0", got)
	}
	if got := allowed(Who{"ann", "s4", "y"}); got != 2 {
		t.Errorf("the third session elsewhere got %d; want 2", got)
	}
	if got := allowed(Who{"ann", "s5", "z"}); got != 0 {
		t.Errorf("the person got %d more; want 0", got)
	}
	if got := allowed(Who{Person: "cat"}); got != 6 {
		t.Errorf("somebody of whom only the person is known got %d; want 6", got)
	}
}

// Whatever is counted together: who waits as long as they are told is let through, and what was refused cost nothing.
func TestWhoWaitsAsToldIsAllowedByAllThatCount(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var c clock
		r := DefaultRules()
		rate := func(name string) Rate {
			return Rate{Count: rapid.IntRange(1, 50).Draw(t, name), Per: rapid.SampledFrom([]time.Duration{second, minute, hour}).Draw(t, name+" unit"),
				Burst: rapid.IntRange(1, 10).Draw(t, name+" burst")}
		}
		r.Rates[Call] = map[Scope]Rate{Person: rate("call")}
		r.Rates[Send] = map[Scope]Rate{Person: rate("send"), Session: rate("session"), Address: rate("address")}
		tab := NewTable(r, c.now)
		w := Who{"ann", "s", "x"}
		for range 30 {
			actions := []Action{{Call, 1}, {Send, rapid.IntRange(1, 12).Draw(t, "n")}}
			err := tab.AllowAll(w, actions...)
			if err == nil {
				c.advance(time.Duration(rapid.IntRange(0, 2000).Draw(t, "ms")) * time.Millisecond)
				continue
			}
			var e *chat.Error
			if !errors.As(err, &e) || e.RetryAfter <= 0 {
				t.Fatalf("got %v; want a time to wait", err)
			}
			c.advance(e.RetryAfter)
			if err := tab.AllowAll(w, actions...); err != nil {
				t.Fatalf("told to wait %v, then %v", e.RetryAfter, err)
			}
		}
	})
}

func TestSeveralAtOnceAreAllCountedOrNone(t *testing.T) {
	var c clock
	tab := tableOf(t, &c, "chats=1/h:5", "invitations=1/h:10")
	ann := Who{Person: "ann"}
	if err := tab.AllowAll(ann, Action{Chats, 1}, Action{Invitations, 9}); err != nil {
		t.Fatal(err)
	}
	for range 20 { // each would need two invitations
		if refused(t, tab.AllowAll(ann, Action{Chats, 1}, Action{Invitations, 2})) == 0 {
			t.Fatal("it was allowed; want one invitation to be left")
		}
	}
	for range 4 {
		if err := tab.AllowAll(ann, Action{Chats, 1}, Action{Invitations, 0}); err != nil {
			t.Fatalf("got %v; want what was refused to have cost no chat", err)
		}
	}
	if err := tab.Allow(ann, Invitations); err != nil {
		t.Errorf("got %v; want the last invitation", err)
	}
	// More than there ever are at once need all of them.
	ben := Who{Person: "ben"}
	if tab.AllowAll(ben, Action{Invitations, 99}) != nil || refused(t, tab.Allow(ben, Invitations)) == 0 {
		t.Error("99 of 10 at once: want them allowed once, for all there are")
	}
}

func TestWhatIsOffIsNotLimitedAndNothingIsRemembered(t *testing.T) {
	var c clock
	tab := tableOf(t, &c, "send=off", "connections=off", "watched=off")
	for range 10_000 {
		if err := tab.Allow(Who{Person: "ann"}, Send); err != nil {
			t.Fatal(err)
		}
	}
	if tab.Connections() < 1e9 || tab.Watched() < 1e9 {
		t.Errorf("got %d, %d; want no bound", tab.Connections(), tab.Watched())
	}
	if err := tab.Allow(Who{Person: "ann"}, "no such kind"); err != nil {
		t.Errorf("got %v; want what is not in the table not limited", err)
	}
}

func TestMetricsCountRefusalsByKindAndNameNobody(t *testing.T) {
	var c clock
	tab := tableOf(t, &c, "send=1/h:1", "send.address=1/h:1", "keys=1000")
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(tab)
	w := Who{Person: "canary-person", Session: "canary-session", Address: "192.0.2.99"}
	for range 4 {
		_ = tab.Allow(w, Send)
	}
	tab.Crowded()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		if strings.Contains(f.String(), "canary") || strings.Contains(f.String(), "192.0.2") {
			t.Errorf("%s names somebody", f.GetName())
		}
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			got[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	for name, want := range map[string]float64{
		"chatmesh_limit_refused_total send person": 3, "chatmesh_limit_refused_total send address": 3,
		"chatmesh_limit_refused_total connections person": 1, "chatmesh_limit_refused_total edit person": 0,
		"chatmesh_limit_keys person": 1, "chatmesh_limit_keys address": 1, "chatmesh_limit_keys session": 0,
		"chatmesh_limit_forgotten_total person": 0,
	} {
		if v, ok := got[name]; !ok || v != want {
			t.Errorf("%s: got %v, %v; want %v", name, v, ok, want)
		}
	}
}

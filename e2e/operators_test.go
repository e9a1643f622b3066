package e2e

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/chatmesh/chatmesh/e2e/raw"
)

func TestOperatorsSeeHealthAndNumbers(t *testing.T) {
	t.Parallel()
	srv := server(t)
	alice, bob := newPerson(t, srv, "alice"), newPerson(t, srv, "bob")
	chat := alice.direct(bob)
	s, other := alice.device(nil), bob.device(nil)
	awaitSeq(t, "bob", other, chat, send(t, s, chat, newClientID(), text("counted")).Seq)
	askRefused(t, s, "an unknown chat", "not_found", raw.Object{"type": "sync", "chat": "nochat", "after": 0})

	for _, path := range []string{"/healthz", "/readyz"} {
		if status, body, err := srv.AdminGet(path); err != nil || status != http.StatusOK {
			t.Errorf("%s: got %d %.100q, %v; want 200", path, status, body, err)
		}
		if a := alice.call(http.MethodGet, path, nil); a.Status == http.StatusOK && !strings.Contains(a.Header.Get("Content-Type"), "html") {
			t.Errorf("%s is answered where clients connect", path)
		}
	}
	if a := alice.call(http.MethodGet, "/metrics", nil); strings.Contains(string(a.Body), "# TYPE") {
		t.Error("/metrics is answered where clients connect")
	}
	for _, path := range []string{"/debug/pprof/", "/debug/pprof/heap", "/debug/vars"} {
		if status, _, err := srv.AdminGet(path); err != nil || status != http.StatusNotFound {
			t.Errorf("%s: got %d, %v; want 404 unless it is switched on", path, status, err)
		}
	}
	var metrics string
	for _, m := range []struct{ what, pattern string }{
		{"connections", `(?m)^chatmesh_\S*connections\S* [1-9]`},
		{"appended events", `(?m)^chatmesh_\S*append\S* [1-9]`},
		{"deliveries", `(?m)^chatmesh_\S*deliver\S* [1-9]`},
		{"persisted events", `(?m)^chatmesh_\S*persist\S* [1-9]`},
		{"lag", `(?m)^chatmesh_\S*(lag|behind|pending)\S* \d`},
		{"errors by code", `(?m)^chatmesh_\S*error\S*code="not_found"\S* [1-9]`},
		{"the Go runtime", `(?m)^go_goroutines \d`},
	} {
		eventually(t, raw.Patience, "a metric of "+m.what+" ("+m.pattern+")", func() bool {
			_, body, err := srv.AdminGet("/metrics")
			metrics = body
			return err == nil && regexp.MustCompile(m.pattern).MatchString(body)
		})
	}
	for _, id := range []string{alice.id, chat, alice.name} { // unbounded label values are the end of a Prometheus
		if strings.Contains(metrics, id) {
			t.Errorf("the metrics name %s", id)
		}
	}
}

func TestTheWebPageComesWithAContentSecurityPolicy(t *testing.T) {
	t.Parallel()
	srv := server(t)
	nobody := &person{t: t, srv: srv}
	a := nobody.call(http.MethodGet, "/", nil)
	if a.Status != http.StatusOK || !strings.HasPrefix(a.Header.Get("Content-Type"), "text/html") || !strings.Contains(strings.ToLower(string(a.Body)), "<!doctype html") {
		t.Fatalf("/: got %d, %s, %.100q; want an HTML page", a.Status, a.Header.Get("Content-Type"), a.Body)
	}
	csp := a.Header.Get("Content-Security-Policy")
	if csp == "" || !strings.Contains(csp, "default-src") && !strings.Contains(csp, "script-src") || strings.Contains(csp, "unsafe-eval") {
		t.Errorf("the policy is %q; want one that names the sources of scripts", csp)
	}
	if strings.Contains(csp, "script-src") && strings.Contains(strings.SplitN(csp[strings.Index(csp, "script-src"):], ";", 2)[0], "unsafe-inline") {
		t.Errorf("the policy %q allows inline scripts", csp)
	}
	if got := a.Header.Get("X-Content-Type-Options"); got != "nosniff" {
		t.Errorf("X-Content-Type-Options is %q; want nosniff", got)
	}
	for _, m := range regexp.MustCompile(`(?:src|href)="(/[^"]+)"`).FindAllStringSubmatch(string(a.Body), -1) {
		if f := nobody.call(http.MethodGet, m[1], nil); f.Status != http.StatusOK || len(f.Body) == 0 {
			t.Errorf("%s, which the page needs: got %d", m[1], f.Status)
		}
	}
}

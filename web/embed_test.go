package web

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"path"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
)

// ask returns the answer of the embedded page's handler.
func ask(t *testing.T, method, target string, header http.Header) *http.Response {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, target, nil)
	for name, values := range header {
		r.Header[name] = values
	}
	w := httptest.NewRecorder()
	Handler().ServeHTTP(w, r)
	return w.Result()
}

func bodyOf(t *testing.T, r *http.Response) string {
	t.Helper()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatalf("body: got %v; want none", err)
	}
	return string(body)
}

// assets lists the files that the page names.
func assets(t *testing.T) []string {
	t.Helper()
	found := regexp.MustCompile(`(?:src|href)="(/[^"]+)"`).FindAllStringSubmatch(bodyOf(t, ask(t, "GET", "/", nil)), -1)
	var out []string
	for _, m := range found {
		out = append(out, m[1])
	}
	return out
}

func TestThePageIsServedAtTheRootAndAskedForEachTime(t *testing.T) {
	for _, target := range []string{"/", "/index.html", "/?from=mail"} {
		r := ask(t, "GET", target, nil)
		if r.StatusCode != http.StatusOK || !strings.Contains(bodyOf(t, r), `<div id="app">`) {
			t.Errorf("%s: got status %d; want the page", target, r.StatusCode)
		}
		if got, want := r.Header.Get("Content-Type"), "text/html; charset=utf-8"; got != want {
			t.Errorf("%s: got content type %q; want %q", target, got, want)
		}
		if got, want := r.Header.Get("Cache-Control"), "no-cache"; got != want {
			t.Errorf("%s: got cache control %q; want %q", target, got, want)
		}
	}
}

func TestEveryFileThatThePageNamesIsServedForEver(t *testing.T) {
	named := assets(t)
	if len(named) < 3 {
		t.Fatalf("the page names %v; want script, style and icon", named)
	}
	for _, target := range named {
		r := ask(t, "GET", target, nil)
		if r.StatusCode != http.StatusOK {
			t.Errorf("%s: got status %d; want 200", target, r.StatusCode)
		}
		if got, want := r.Header.Get("Cache-Control"), "public, max-age=31536000, immutable"; got != want {
			t.Errorf("%s: got cache control %q; want %q", target, got, want)
		}
		if got, want := r.Header.Get("Content-Type"), types[path.Ext(target)]; got != want {
			t.Errorf("%s: got content type %q; want %q", target, got, want)
		}
	}
}

func TestThePageHasNoInlineCodeAndNoForeignAddress(t *testing.T) {
	page := bodyOf(t, ask(t, "GET", "/", nil))
	inline := regexp.MustCompile(`(?i)<script(?:\s[^>]*)?>\s*[^<\s]|<style|\sstyle=|\son[a-z]+=|https?://`)
	if got := inline.FindString(page); got != "" {
		t.Errorf("the page has %q; want nothing that the policy forbids", got)
	}
}

func TestEveryAnswerCarriesTheSecurityHeaders(t *testing.T) {
	for _, target := range append(assets(t), "/", "/nowhere") {
		h := ask(t, "GET", target, nil).Header
		for _, part := range []string{"default-src 'self'", "script-src 'self'", "base-uri 'none'", "frame-ancestors 'none'"} {
			if got := h.Get("Content-Security-Policy"); !strings.Contains(got, part) || strings.Contains(got, "unsafe") {
				t.Errorf("%s: got policy %q; want %s in it and nothing unsafe", target, got, part)
			}
		}
		if got, want := h.Get("X-Content-Type-Options"), "nosniff"; got != want {
			t.Errorf("%s: got %q; want %q", target, got, want)
		}
		if got, want := h.Get("Referrer-Policy"), "no-referrer"; got != want {
			t.Errorf("%s: got %q; want %q", target, got, want)
		}
	}
}

func TestWhatIsNotPartOfTheBuildIsNotFound(t *testing.T) {
	targets := []string{"/nowhere", "/assets/", "/assets", "/assets/x.js", "/v1/users", "/c/abc", "/../embed.go", "/dist/index.html", "//"}
	for _, target := range targets {
		r := httptest.NewRequestWithContext(t.Context(), "GET", "/", nil)
		r.URL.Path = target
		w := httptest.NewRecorder()
		Handler().ServeHTTP(w, r)
		if w.Code != http.StatusNotFound {
			t.Errorf("%s: got status %d; want 404", target, w.Code)
		}
	}
}

func TestOnlyReadingIsAllowed(t *testing.T) {
	for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS"} {
		r := ask(t, method, "/", nil)
		if r.StatusCode != http.StatusMethodNotAllowed || r.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: got status %d, allow %q; want 405 with GET, HEAD", method, r.StatusCode, r.Header.Get("Allow"))
		}
	}
}

func TestHeadTellsTheLengthAndSendsNoBody(t *testing.T) {
	get, head := ask(t, "GET", "/", nil), ask(t, "HEAD", "/", nil)
	if got := bodyOf(t, head); got != "" {
		t.Errorf("got a body of %d bytes; want none", len(got))
	}
	if got, want := head.Header.Get("Content-Length"), get.Header.Get("Content-Length"); got != want || got == "" {
		t.Errorf("got length %q; want %q", got, want)
	}
}

func TestAFileThatTheBrowserHasIsNotSentAgain(t *testing.T) {
	plain := ask(t, "GET", "/", nil).Header.Get("ETag")
	packed := ask(t, "GET", "/", http.Header{"Accept-Encoding": {"gzip"}}).Header.Get("ETag")
	if plain == packed {
		t.Errorf("both codings have the tag %s; want two", plain)
	}
	for _, tag := range []string{plain, packed, "W/" + packed, `"other", ` + plain, "*"} {
		r := ask(t, "GET", "/", http.Header{"If-None-Match": {tag}})
		if r.StatusCode != http.StatusNotModified || bodyOf(t, r) != "" {
			t.Errorf("%s: got status %d; want 304 without a body", tag, r.StatusCode)
		}
	}
	if r := ask(t, "GET", "/", http.Header{"If-None-Match": {`"other"`}}); r.StatusCode != http.StatusOK {
		t.Errorf("another tag: got status %d; want 200", r.StatusCode)
	}
}

func TestGzipIsSentToThoseWhoAcceptItAndHoldsTheSame(t *testing.T) {
	script := ""
	for _, target := range assets(t) {
		if path.Ext(target) == ".js" {
			script = target
		}
	}
	plain := bodyOf(t, ask(t, "GET", script, nil))
	r := ask(t, "GET", script, http.Header{"Accept-Encoding": {"br, gzip;q=0.8"}})
	if got := r.Header.Get("Content-Encoding"); got != "gzip" {
		t.Fatalf("got coding %q; want gzip", got)
	}
	z, err := gzip.NewReader(r.Body)
	if err != nil {
		t.Fatalf("gzip: %v", err)
	}
	unpacked, err := io.ReadAll(z)
	if err != nil || string(unpacked) != plain {
		t.Errorf("unpacked %d bytes, error %v; want the %d plain ones", len(unpacked), err, len(plain))
	}
	for _, header := range []string{"", "br", "gzip;q=0", "identity"} {
		r := ask(t, "GET", script, http.Header{"Accept-Encoding": {header}})
		if got := r.Header.Get("Content-Encoding"); got != "" {
			t.Errorf("accepting %q: got coding %q; want none", header, got)
		}
	}
}

func TestTheScriptIsSmallEnoughForAPhone(t *testing.T) {
	total := 0
	for _, target := range assets(t) {
		total += len(bodyOf(t, ask(t, "GET", target, http.Header{"Accept-Encoding": {"gzip"}})))
	}
	if limit := 60 << 10; total > limit {
		t.Errorf("script, style and icon are %d bytes; want at most %d", total, limit)
	}
}

func TestABuildThatCannotBeServedIsRefused(t *testing.T) {
	builds := map[string]fstest.MapFS{
		"no page":         {"assets/a.js": {Data: []byte("x")}},
		"an unknown kind": {"index.html": {Data: []byte("x")}, "assets/a.exe": {Data: []byte("x")}},
	}
	for name, build := range builds {
		if files, err := read(build); err == nil {
			t.Errorf("%s: got %d files; want an error", name, len(files))
		}
	}
}

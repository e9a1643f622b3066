package api

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/chatmesh/chatmesh/docs"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/doctest"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// ofTheEdge are the calls that the edge answers.
var ofTheEdge = []string{"GET /v1/events", "GET /v1/poll", "GET /v1/ws"}

func TestTheOpenAPIDocumentListsExactlyTheRoutes(t *testing.T) {
	d := doctest.ParseHTTP(t, docs.OpenAPI())
	listed := d.Calls()
	for _, rt := range table {
		name := rt.method + " " + rt.path
		at := slices.Index(listed, name)
		if at < 0 {
			t.Errorf("openapi.yaml does not have %s", name)
			continue
		}
		listed = slices.Delete(listed, at, at+1)
		if d.Open(name) != rt.open {
			t.Errorf("%s: got open %v in openapi.yaml; want %v", name, d.Open(name), rt.open)
		}
		// What can happen to every call must stand at each, except at documents, which need nothing that can fail.
		var always []chat.Code
		if _, isDocument := strings.CutSuffix(rt.path, ".yaml"); !isDocument {
			always = append(always, chat.Internal, chat.Unavailable, chat.RateLimited)
		}
		if !rt.open {
			always = append(always, chat.Unauthorized)
		}
		for _, code := range always {
			if status := strconv.Itoa(statuses[code]); d.At("paths", rt.path, strings.ToLower(rt.method), "responses", status) == nil {
				t.Errorf("%s: openapi.yaml has no answer with status %s", name, status)
			}
		}
	}
	slices.Sort(listed)
	if !slices.Equal(listed, ofTheEdge) {
		t.Errorf("openapi.yaml has %q beside the routes of the api; want %q", listed, ofTheEdge)
	}
}

// refusals returns status and codes of each kind of problem in the document.
func refusals(t *testing.T, d *doctest.HTTP) map[chat.Code]int {
	t.Helper()
	out := map[chat.Code]int{}
	for _, name := range d.Keys("components", "responses") {
		properties := d.At("components", "responses", name, "content", "application/problem+json", "schema", "properties")
		if properties == nil || name == "MethodNotAllowed" { // a status of its own, with the code of another
			continue
		}
		status, err := strconv.Atoi(fmt.Sprint(d.At("components", "schemas", name, "properties", "status")["const"]))
		if err != nil {
			t.Errorf("%s: no status: %v", name, err)
		}
		code := d.At("components", "schemas", name, "properties", "code")
		codes, _ := code["enum"].([]any)
		if one, ok := code["const"]; ok {
			codes = append(codes, one)
		}
		for _, c := range codes {
			out[chat.Code(fmt.Sprint(c))] = status
		}
	}
	return out
}

func TestTheOpenAPIDocumentListsExactlyTheErrorCodes(t *testing.T) {
	got := refusals(t, doctest.ParseHTTP(t, docs.OpenAPI()))
	for _, code := range chat.Codes {
		if got[code] != statuses[code] {
			t.Errorf("%s: got status %d in openapi.yaml; want %d", code, got[code], statuses[code])
		}
		delete(got, code)
	}
	for code := range got {
		t.Errorf("openapi.yaml has %s, which is no code", code)
	}
}

func TestTheOpenAPIDocumentTellsTheLimits(t *testing.T) {
	text := string(docs.OpenAPI())
	grouped := func(n int) string { return fmt.Sprintf("%d,%03d,%03d", n/1_000_000, n/1000%1000, n%1000) }
	for _, want := range []string{
		"at most " + grouped(wire.MaxFrame) + " bytes", "more than " + strconv.Itoa(maxChats) + " counts as",
		"more than " + strconv.Itoa(chat.MaxPage) + " counts as", "maxLength: " + strconv.Itoa(chat.MaxText),
		"maxLength: " + strconv.Itoa(chat.MaxTitle), "maxItems: " + strconv.Itoa(chat.MaxMembers),
		"maxItems: " + strconv.Itoa(maxAsked), "At most " + strconv.Itoa(pageBytes>>20) + " MiB of events",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("openapi.yaml does not say %q", want)
		}
	}
}

func TestTheServerServesItsOwnDocuments(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for path, want := range map[string][]byte{"/v1/openapi.yaml": docs.OpenAPI(), "/v1/asyncapi.yaml": docs.AsyncAPI()} {
		r := w.call("", "GET", path, nil).want(t, 200, "")
		if !bytes.Equal(r.body, want) || r.header.Get("Content-Type") != "application/yaml" {
			t.Errorf("%s: got %d bytes of %s; want the document of this program", path, len(r.body), r.header.Get("Content-Type"))
		}
	}
}

// A check that cannot fail would prove nothing: these are answers that the document does not allow.
func TestAnAnswerThatTheDocumentDoesNotHaveIsFound(t *testing.T) {
	d := doctest.ParseHTTP(t, docs.OpenAPI())
	asJSON := http.Header{"Content-Type": {"application/json"}}
	me := `{"id":"a","username":"ada","display_name":"Ada"}`
	for _, c := range []struct {
		why, method, path string
		status            int
		header            http.Header
		body              string
		ok                bool
	}{
		{"as it should be", "GET", "/v1/users/me", 200, asJSON, me, true},
		{"a field that is not listed", "GET", "/v1/users/me", 200, asJSON, `{"id":"a","username":"ada","display_name":"Ada","email":"a@b"}`, false},
		{"a field that is missing", "GET", "/v1/users/me", 200, asJSON, `{"id":"a","username":"ada"}`, false},
		{"an id that is none", "GET", "/v1/users/me", 200, asJSON, `{"id":"a.b","username":"ada","display_name":"Ada"}`, false},
		{"a status that is not listed", "GET", "/v1/users/me", 418, asJSON, me, false},
		{"another content type", "GET", "/v1/users/me", 200, http.Header{"Content-Type": {"text/plain"}}, me, false},
		{"a body where there is none", "DELETE", "/v1/sessions/current", 204, asJSON, `{}`, false},
		{"a path that is not listed", "GET", "/v1/nothing", 200, asJSON, `{}`, false},
		{"a refusal without its header", "GET", "/v1/users/me", 401, http.Header{"Content-Type": {"application/problem+json"}},
			`{"type":"about:blank","title":"Unauthorized","status":401,"detail":"x","code":"unauthorized"}`, false},
		{"a refusal with the code of another", "GET", "/v1/chats/c", 404, http.Header{"Content-Type": {"application/problem+json"}},
			`{"type":"about:blank","title":"Not Found","status":404,"detail":"x","code":"forbidden"}`, false},
		{"a change that there is not", "GET", "/v1/chats/c/messages", 200, asJSON,
			`{"messages":[{"type":"chat","chat":"c","seq":2,"n":0,"change":"colour","by":"a","at":"2026-11-23T18:20:08.297858Z"}],"has_more":false,"from_seq":2,"to_seq":2}`, false},
	} {
		r, err := http.NewRequestWithContext(t.Context(), c.method, "http://x"+c.path, nil)
		check(t, err)
		if err := d.CheckAnswer(r, c.status, c.header, []byte(c.body)); (err == nil) != c.ok {
			t.Errorf("%s: got %v", c.why, err)
		}
	}
}

package doctest

import (
	"fmt"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// HTTP is an OpenAPI document.
type HTTP struct {
	*Document
	mux *http.ServeMux
}

// methods of OpenAPI, in its spelling.
var methods = []string{"get", "put", "post", "delete", "options", "head", "patch", "trace"}

// ParseHTTP reads an OpenAPI document.
func ParseHTTP(t testing.TB, text []byte) *HTTP {
	t.Helper()
	h := &HTTP{Document: Parse(t, text), mux: http.NewServeMux()}
	for _, call := range h.Calls() {
		h.mux.Handle(call, http.NotFoundHandler())
	}
	return h
}

// Calls lists the operations as "GET /v1/chats/{chat}", sorted.
func (h *HTTP) Calls() []string {
	var out []string
	for _, p := range h.Keys("paths") {
		for _, key := range h.Keys("paths", p) {
			if slices.Contains(methods, key) {
				out = append(out, strings.ToUpper(key)+" "+p)
			}
		}
	}
	slices.Sort(out)
	return out
}

// Open tells whether a call needs no token.
func (h *HTTP) Open(call string) bool {
	security, said := h.operation(call)["security"].([]any)
	return said && len(security) == 0
}

func (h *HTTP) operation(call string) map[string]any {
	return h.At(operationKeys(call)...)
}

func operationKeys(call string) []string {
	method, p, _ := strings.Cut(call, " ")
	return []string{"paths", p, strings.ToLower(method)}
}

// CheckAnswer tells whether the document allows an answer to a request: its status, its content type, the headers that it
// must have, its body.
func (h *HTTP) CheckAnswer(r *http.Request, status int, header http.Header, body []byte) error {
	at, err := h.responseKeys(r, status)
	if err != nil {
		return err
	}
	for _, k := range h.Keys(append(at, "headers")...) {
		if h.At(append(at, "headers", k)...)["required"] == true && header.Get(k) == "" {
			return fmt.Errorf("doctest: the header %s is missing", k)
		}
	}
	kinds := h.Keys(append(at, "content")...)
	kind := header.Get("Content-Type")
	switch {
	case len(kinds) == 0 && (kind != "" || len(body) > 0):
		return fmt.Errorf("doctest: got a body of type %q; want none", kind)
	case len(kinds) == 0:
		return nil
	case !slices.Contains(kinds, kind):
		return fmt.Errorf("doctest: got content type %q; want one of %q", kind, kinds)
	case r.Method == http.MethodHead || !strings.HasSuffix(kind, "json"):
		return nil
	}
	return h.Check(body, append(at, "content", kind, "schema")...)
}

// responseKeys is where the answer to a request stands in the document. A path or a method that there is not has one for all.
func (h *HTTP) responseKeys(r *http.Request, status int) ([]string, error) {
	asked := r
	if r.Method == http.MethodHead {
		asked = r.Clone(r.Context())
		asked.Method = http.MethodGet
	}
	_, call := h.mux.Handler(asked)
	if p := r.URL.EscapedPath(); path.Clean(p) != p { // the mux of the standard library would redirect; the api does not
		call = ""
	}
	if call != "" {
		at := append(operationKeys(call), "responses", strconv.Itoa(status))
		if h.At(at...) == nil {
			return nil, fmt.Errorf("doctest: %s has no answer with status %d", call, status)
		}
		return at, nil
	}
	switch status {
	case http.StatusMethodNotAllowed:
		return []string{"components", "responses", "MethodNotAllowed"}, nil
	case http.StatusNotFound:
		return []string{"components", "responses", "NotFound"}, nil
	}
	return nil, fmt.Errorf("doctest: got status %d for %s %s, which the document does not have", status, r.Method, r.URL.Path)
}

// BodyExamples checks every example of a body against the schema beside it, and that every body in JSON has one.
func (h *HTTP) BodyExamples(t testing.TB) {
	t.Helper()
	n := 0
	var walk func(at []string)
	walk = func(at []string) {
		for _, key := range h.Keys(at...) {
			next := append(slices.Clone(at), key)
			if key == "content" {
				for _, kind := range h.Keys(next...) {
					if strings.HasSuffix(kind, "json") {
						n += h.examplesAt(t, append(slices.Clone(next), kind))
					}
				}
				continue
			}
			walk(next)
		}
	}
	walk([]string{"paths"})
	walk([]string{"components", "responses"})
	if n == 0 {
		t.Error("the document has no examples")
	}
}

func (h *HTTP) examplesAt(t testing.TB, at []string) int {
	t.Helper()
	named := h.Keys(append(at, "examples")...)
	if len(named) == 0 {
		t.Errorf("%s has no example", strings.Join(at, " "))
	}
	for _, name := range named {
		example := h.At(append(at, "examples", name)...)
		if err := h.CheckValue(example["value"], append(at, "schema")...); err != nil {
			t.Errorf("%s, example %s: %v", strings.Join(at, " "), name, err)
		}
	}
	return len(named)
}

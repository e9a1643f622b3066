package edge

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/chatmesh/chatmesh/docs"
	"github.com/chatmesh/chatmesh/pkg/doctest"
)

// live is docs/asyncapi.yaml: every frame that a device of any test reads is held against it.
var live = sync.OnceValue(func() *doctest.Document { return doctest.Parse(parsing{}, docs.AsyncAPI()) })

// parsing stands for the test that happens to be the first to need a document.
type parsing struct{ testing.TB }

func (parsing) Helper()                   {}
func (parsing) Fatal(args ...any)         { panic(args) }
func (parsing) Fatalf(f string, a ...any) { panic(f) }

func TestWhoIsRefusedAWebSocketGetsWhatTheOpenAPIDocumentSays(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	full := r.another("e2", func(c *Config) { c.MaxConnections = 1 })
	full.connect("ann", nil)
	contract := doctest.ParseHTTP(t, docs.OpenAPI())
	client := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(client.CloseIdleConnections)
	handshake := http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"},
		"Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="}}
	foreign := handshake.Clone()
	foreign.Set("Origin", "https://elsewhere.example")
	for what, c := range map[string]struct {
		url, method string
		header      http.Header
		status      int
	}{
		"no handshake":     {r.url, "GET", nil, 400},
		"a foreign origin": {r.url, "GET", foreign, 403},
		"another method":   {r.url, "POST", nil, 405},
		"a full edge":      {full.url, "GET", handshake, 503},
	} {
		req, err := http.NewRequestWithContext(t.Context(), c.method, "http"+strings.TrimPrefix(c.url, "ws"), nil)
		if err != nil {
			t.Fatal(err)
		}
		if c.header != nil {
			req.Header = c.header
		}
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil || res.StatusCode != c.status {
			t.Errorf("%s: got %d %s, %v; want %d", what, res.StatusCode, body, err, c.status)
		}
		if err := contract.CheckAnswer(req, res.StatusCode, res.Header, body); err != nil {
			t.Errorf("%s: %s: %v", what, body, err)
		}
	}
}

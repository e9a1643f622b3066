package run_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/chatmesh/chatmesh/pkg/run"
)

func get(t *testing.T, h http.Handler, method, path string) (status int, contentType, body string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, path, nil))
	r := w.Result()
	defer func() { _ = r.Body.Close() }()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, r.Header.Get("Content-Type"), string(b)
}

func ready(t *testing.T, h http.Handler) (status int, isReady bool, waiting []string) {
	t.Helper()
	status, contentType, body := get(t, h, "GET", "/readyz")
	var a struct {
		Ready   *bool     `json:"ready"`
		Waiting *[]string `json:"waiting"`
	}
	if err := json.Unmarshal([]byte(body), &a); err != nil || a.Ready == nil || a.Waiting == nil || *a.Waiting == nil ||
		contentType != "application/json" {
		t.Fatalf("got %s %s, %v; want ready and a list", contentType, body, err)
	}
	return status, *a.Ready, *a.Waiting
}

func TestReadyzListsWhatIsWaitedForUntilNothingIs(t *testing.T) {
	var h run.Health
	broker := errors.New("broker away")
	h.Check("broker", func(context.Context) error { return broker })
	h.Check("store", func(context.Context) error { return nil })
	admin := run.Admin(&h, prometheus.NewRegistry(), false)
	want := func(status int, waiting ...string) {
		t.Helper()
		gotStatus, isReady, got := ready(t, admin)
		if gotStatus != status || isReady != (status == http.StatusOK) || !slices.Equal(got, waiting) {
			t.Fatalf("got %d, %v, %q; want %d, %q", gotStatus, isReady, got, status, waiting)
		}
	}
	want(503, "broker: broker away")
	h.Set("persister CHAT_0", errors.New("store: timeout"))
	h.Set("api", errors.New("no keys yet"))
	want(503, "api: no keys yet", "broker: broker away", "persister CHAT_0: store: timeout")
	h.Set("persister CHAT_0", errors.New("store: away")) // the last word counts
	want(503, "api: no keys yet", "broker: broker away", "persister CHAT_0: store: away")
	broker = nil
	h.Set("api", nil)
	want(503, "persister CHAT_0: store: away")
	h.Set("persister CHAT_0", nil)
	want(200)
	h.Set("never waited", nil)
	want(200)
}

func TestProcessThatWaitsForNothingIsReady(t *testing.T) {
	var h run.Health
	if w := h.Waiting(t.Context()); len(w) != 0 {
		t.Fatalf("got %q; want nothing", w)
	}
	if err := h.Err(t.Context()); err != nil {
		t.Fatalf("got %v; want none", err)
	}
	h.Set("b", errors.New("two"))
	h.Set("a", errors.New("one"))
	if err := h.Err(t.Context()); err == nil || err.Error() != "waits for a: one; b: two" {
		t.Fatalf("got %v; want both", err)
	}
}

func TestCheckIsToldToEndWithTheRequest(t *testing.T) {
	var h run.Health
	h.Check("slow", func(ctx context.Context) error {
		if _, ok := ctx.Deadline(); !ok {
			return errors.New("no deadline")
		}
		<-ctx.Done()
		return ctx.Err()
	})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := h.Waiting(ctx); !slices.Equal(got, []string{"slow: context canceled"}) {
		t.Fatalf("got %q; want the check ended with its context, and with a deadline", got)
	}
}

func TestHealthMayBeToldAndAskedAtTheSameTime(t *testing.T) {
	var h run.Health
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			name := fmt.Sprint(i)
			for range 50 {
				h.Set(name, errors.New("x"))
				h.Check(name, func(context.Context) error { return nil })
				h.Waiting(t.Context())
				h.Set(name, nil)
			}
		})
	}
	wg.Wait()
	if w := h.Waiting(t.Context()); len(w) != 0 {
		t.Fatalf("got %q; want nothing", w)
	}
}

func TestPagesOfOperators(t *testing.T) {
	metrics := prometheus.NewRegistry()
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: "chatmesh_test_total", Help: "For this test."})
	metrics.MustRegister(c)
	c.Add(3)
	var waits run.Health
	waits.Set("broker", errors.New("away"))
	for _, profiles := range []bool{false, true} {
		admin := run.Admin(&waits, metrics, profiles)
		pprof := http.StatusNotFound
		if profiles {
			pprof = http.StatusOK
		}
		for _, c := range []struct {
			method, path string
			status       int
			has          string
		}{
			{"GET", "/healthz", 200, "alive"}, // also while it waits: a restart would not help
			{"HEAD", "/healthz", 200, ""},
			{"POST", "/healthz", 405, ""},
			{"GET", "/readyz", 503, "broker: away"},
			{"POST", "/readyz", 405, ""},
			{"GET", "/metrics", 200, "chatmesh_test_total 3"},
			{"POST", "/metrics", 405, ""},
			{"GET", "/", 404, ""},
			{"GET", "/debug", 404, ""},
			{"GET", "/debug/vars", 404, ""},
			{"GET", "/debug/pprof/", pprof, ""},
			{"GET", "/debug/pprof/goroutine?debug=1", pprof, ""},
			{"GET", "/debug/pprof/cmdline", pprof, ""},
			{"GET", "/debug/pprof/symbol", pprof, ""},
		} {
			status, _, body := get(t, admin, c.method, c.path)
			if status != c.status || !strings.Contains(body, c.has) {
				t.Errorf("profiles %v, %s %s: got %d, %.200q; want %d with %q", profiles, c.method, c.path, status, body, c.status, c.has)
			}
		}
	}
}

func TestReadyzNotesWhatIsToBeKnownThoughNothingWaits(t *testing.T) {
	var h run.Health
	newer := errors.New("the schema is newer")
	h.Note("store", func(context.Context) error { return newer })
	admin := run.Admin(&h, prometheus.NewRegistry(), false)
	if status, _, body := get(t, admin, "GET", "/readyz"); status != http.StatusOK || !strings.Contains(body, `"notes":["store: the schema is newer"]`) {
		t.Errorf("got %d %s; want 200 and the note", status, body)
	}
	newer = nil
	if _, _, body := get(t, admin, "GET", "/readyz"); strings.Contains(body, "notes") {
		t.Errorf("got %s; want no notes", body)
	}
}

package main

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/chatmesh/chatmesh/pkg/run"
)

func TestAHealthCheckSaysWhatAProcessWaitsFor(t *testing.T) {
	health := &run.Health{}
	admin := httptest.NewServer(run.Admin(health, prometheus.NewRegistry(), false))
	defer admin.Close()
	check := func(args ...string) (string, error) {
		var out, errs bytes.Buffer
		err := chatmesh(t.Context(), append([]string{"healthcheck"}, args...), &out, &errs)
		return out.String(), err
	}
	listen := strings.TrimPrefix(admin.URL, "http://")
	_, port, _ := strings.Cut(listen, ":")
	for _, args := range [][]string{{"--admin-listen", listen}, {"--admin-listen", "0.0.0.0:" + port}, {"--admin-listen", ":" + port},
		{"--url", admin.URL + "/healthz"}} {
		if out, err := check(args...); err != nil || out != "healthy\n" {
			t.Errorf("%q: got %q, %v; want it healthy", args, out, err)
		}
	}
	health.Set("store", errors.New("no hosts"))
	if _, err := check("--admin-listen", listen); err == nil || !strings.Contains(err.Error(), "store: no hosts") {
		t.Errorf("got %v; want what it waits for", err)
	}
	if _, err := check("--url", admin.URL+"/nothing"); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("got %v; want the status", err)
	}
	admin.Close()
	if _, err := check("--admin-listen", listen); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("got %v; want that nobody is there", err)
	}
}

func TestAHealthCheckDoesNotWaitForEver(t *testing.T) {
	release := make(chan struct{})
	hangs := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer hangs.Close()
	defer close(release)
	var out, errs bytes.Buffer
	began := time.Now()
	err := chatmesh(context.Background(), []string{"healthcheck", "--url", hangs.URL, "--timeout", "50ms"}, &out, &errs)
	if took := time.Since(began); err == nil || took > time.Minute {
		t.Errorf("got %v after %v; want an error soon", err, took)
	}
}

func TestAListenerIsAskedOnItsOwnMachine(t *testing.T) {
	for listen, want := range map[string]string{"0.0.0.0:1": "127.0.0.1:1", ":1": "127.0.0.1:1", "[::]:1": "[::1]:1", "10.0.0.1:1": "10.0.0.1:1",
		"api.example:1": "api.example:1"} {
		if got := local(listen); got != want {
			t.Errorf("%s: got %s; want %s", listen, got, want)
		}
	}
}

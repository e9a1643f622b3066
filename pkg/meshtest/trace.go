package meshtest

import (
	"context"
	"log/slog"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/chatmesh/chatmesh/pkg/trace"
)

// Tracer returns a tracer that records as much as ratio says and exports it to a receiver until the test ends.
func Tracer(t testing.TB, url string, ratio float64) *trace.Tracer {
	t.Helper()
	e, tracer, err := trace.New(trace.Config{Endpoint: url, Ratio: ratio, Node: "n1", Version: "0.0.1", Logger: slog.New(slog.DiscardHandler),
		Metrics: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); e.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return tracer
}

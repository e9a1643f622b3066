package trace

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
)

// Config says where spans go. All fields are required.
type Config struct {
	// Endpoint is the URL of an OTLP receiver over HTTP, such as http://127.0.0.1:4318; without a path it is /v1/traces.
	Endpoint string
	// Ratio is how many of the traces that begin here are recorded, from 0 to 1.
	Ratio float64
	// Node and Version say which process it is.
	Node, Version string
	Logger        *slog.Logger
	Metrics       prometheus.Registerer
}

// Bounds of the exporter.
const (
	// queueSpans is how many ended spans wait to be exported, about 1 KB each; further ones are dropped and counted.
	queueSpans = 4096
	// batchSpans is how many are exported at once, and batchWait how long one waits for company.
	batchSpans = 512
	batchWait  = time.Second
	// exportTimeout bounds one export; what fails is tried exportTries times, and then dropped and counted.
	exportTimeout = 5 * time.Second
	exportTries   = 5
	// flushTime is what a process that ends has to get rid of the last spans.
	flushTime = 500 * time.Millisecond
)

// Exporter sends the spans of a process. It is off where it is nil.
type Exporter struct {
	c        Config
	provider *sdk.TracerProvider
	otlp     sdk.SpanExporter
	http     *http.Client
	queue    chan sdk.ReadOnlySpan
	// firstPause is the pause after a failed export; it doubles with each.
	firstPause time.Duration
	// lastTime is what is left for the last spans: flushTime, but in tests.
	lastTime time.Duration
	failing  bool

	exported prometheus.Counter
	dropped  *prometheus.CounterVec
}

// New returns an exporter, and the tracer whose spans it sends. It does not look for the receiver. Besides what c says, the headers of
// the standard variable OTEL_EXPORTER_OTLP_HEADERS are sent, for receivers that want a key.
func New(c Config) (*Exporter, *Tracer, error) {
	u, err := url.Parse(c.Endpoint)
	if err != nil || u.Host == "" || c.Logger == nil || c.Metrics == nil || c.Node == "" || c.Ratio < 0 || c.Ratio > 1 {
		return nil, nil, errors.New("trace: endpoint, ratio, node, logger and metrics are required")
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/v1/traces"
	}
	e := &Exporter{c: c, queue: make(chan sdk.ReadOnlySpan, queueSpans), firstPause: time.Second, lastTime: flushTime,
		// A transport of its own, whose connections end with Run.
		http: &http.Client{Timeout: exportTimeout, Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConns: 1, IdleConnTimeout: time.Minute}},
		exported: prometheus.NewCounter(prometheus.CounterOpts{Namespace: "chatmesh", Subsystem: "trace", Name: "exported_total",
			Help: "Spans that the receiver took."}),
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "chatmesh", Subsystem: "trace", Name: "dropped_total",
			Help: "Spans that were dropped: because too many waited (queue), or because the receiver did not take them (export)."}, []string{"why"}),
	}
	e.otlp, err = otlptracehttp.New(context.Background(), otlptracehttp.WithEndpointURL(u.String()), otlptracehttp.WithHTTPClient(e.http),
		otlptracehttp.WithCompression(otlptracehttp.GzipCompression), otlptracehttp.WithRetry(otlptracehttp.RetryConfig{}))
	if err != nil {
		return nil, nil, fmt.Errorf("trace: %w", err)
	}
	c.Metrics.MustRegister(e.exported, e.dropped)
	e.dropped.WithLabelValues(whyQueue)
	e.dropped.WithLabelValues(whyExport)
	e.provider = sdk.NewTracerProvider(
		sdk.WithSampler(sdk.AlwaysSample()), // who begins a span has decided that
		sdk.WithSpanProcessor(queue{e}),
		sdk.WithResource(resource.NewSchemaless(attribute.String("service.name", "chatmesh"),
			attribute.String("service.instance.id", c.Node), attribute.String("service.version", c.Version))))
	return e, newTracer(e.provider, c.Ratio), nil
}

// Why spans are dropped.
const (
	whyQueue  = "queue"
	whyExport = "export"
)

// queue takes the spans that end.
type queue struct{ e *Exporter }

// OnStart does nothing.
func (queue) OnStart(context.Context, sdk.ReadWriteSpan) {}

// OnEnd takes a span, or drops it where too many wait. It never blocks.
func (q queue) OnEnd(s sdk.ReadOnlySpan) {
	select {
	case q.e.queue <- s:
	default:
		q.e.dropped.WithLabelValues(whyQueue).Inc()
	}
}

// Shutdown does nothing: Run has ended by then.
func (queue) Shutdown(context.Context) error { return nil }

// ForceFlush does nothing: spans leave within batchWait.
func (queue) ForceFlush(context.Context) error { return nil }

// Run exports what ends until ctx does, and then, for half a second at most, what is left.
func (e *Exporter) Run(ctx context.Context) {
	defer e.http.CloseIdleConnections()
	tick := time.NewTicker(batchWait)
	defer tick.Stop()
	batch := make([]sdk.ReadOnlySpan, 0, batchSpans)
	for {
		select {
		case <-ctx.Done():
			e.flush(batch)
			return
		case s := <-e.queue:
			if batch = append(batch, s); len(batch) < batchSpans {
				continue
			}
		case <-tick.C:
		}
		if !e.push(ctx, batch) {
			e.flush(batch)
			return
		}
		clear(batch)
		batch = batch[:0]
	}
}

// push exports a batch, or drops it after some tries. It returns false where ctx ended before.
func (e *Exporter) push(ctx context.Context, batch []sdk.ReadOnlySpan) bool {
	for n := range exportTries {
		if e.export(ctx, batch) {
			return true
		}
		t := time.NewTimer(e.firstPause << n)
		select {
		case <-ctx.Done():
			t.Stop()
			return false
		case <-t.C:
		}
	}
	e.dropped.WithLabelValues(whyExport).Add(float64(len(batch)))
	return true
}

// flush exports the batch and what waits, as far as lastTime goes.
func (e *Exporter) flush(batch []sdk.ReadOnlySpan) {
	ctx, cancel := context.WithTimeout(context.Background(), e.lastTime)
	defer cancel()
	for {
		for more := true; more && len(batch) < batchSpans; {
			select {
			case s := <-e.queue:
				batch = append(batch, s)
			default:
				more = false
			}
		}
		if len(batch) == 0 {
			return
		}
		if !e.export(ctx, batch) {
			e.dropped.WithLabelValues(whyExport).Add(float64(len(batch) + len(e.queue)))
			return
		}
		batch = batch[:0]
	}
}

// export sends a batch once. A change is logged, not each failure.
func (e *Exporter) export(ctx context.Context, batch []sdk.ReadOnlySpan) bool {
	if len(batch) == 0 {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, exportTimeout)
	defer cancel()
	err := e.otlp.ExportSpans(ctx, batch)
	switch {
	case err == nil && e.failing:
		e.c.Logger.Info("traces are exported again")
	case err != nil && !e.failing && ctx.Err() == nil:
		e.c.Logger.Warn("traces cannot be exported", "error", err)
	}
	if e.failing = err != nil; e.failing {
		return false
	}
	e.exported.Add(float64(len(batch)))
	return true
}

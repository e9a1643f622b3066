package trace

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/meshtest/leaks"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/trace/tracetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(leaks.Patient(m)) }

const (
	traced   = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	untraced = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
)

// exporting returns an exporter that is not running yet, and its tracer.
func exporting(t testing.TB, url string, ratio float64) (*Exporter, *Tracer) {
	t.Helper()
	e, tr, err := New(Config{Endpoint: url, Ratio: ratio, Node: "n1", Version: "1.2.3", Logger: slog.New(slog.DiscardHandler),
		Metrics: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	e.firstPause = time.Millisecond
	e.lastTime = time.Minute // a busy machine takes longer to export what is left than a process that ends has
	return e, tr
}

// running runs an exporter until the function that it returns is called.
func running(t testing.TB, e *Exporter) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { e.Run(ctx) })
	stop = sync.OnceFunc(func() { cancel(); wg.Wait() })
	t.Cleanup(stop)
	return stop
}

func TestSpansOfOneTraceArriveWithTheirParents(t *testing.T) {
	r := tracetest.New(t)
	e, tr := exporting(t, r.URL, 1)
	stop := running(t, e)
	ctx, root := tr.Named("edge").Root(t.Context(), "root", Server)
	root.Set(Chat("c1"), Seq(7))
	ctx, child := Child(ctx, "child", Internal)
	header := map[string][]string{}
	Mark(header, Current(ctx))
	_, remote := tr.Named("fanout").From(context.Background(), "remote", Parent(header), "c1")
	remote.Event("took", Count(3))
	remote.End(chat.Errorf(chat.NotFound, "what somebody wrote"))
	child.End(nil)
	root.End(nil)
	stop()
	spans := map[string]tracetest.Span{}
	for _, s := range r.Spans() {
		spans[s.Name] = s
	}
	a, b, c := spans["root"], spans["child"], spans["remote"]
	if len(spans) != 3 || a.Trace != b.Trace || b.Trace != c.Trace || a.Parent != "" || b.Parent != a.ID || c.Parent != b.ID {
		t.Fatalf("got %+v; want three below each other", spans)
	}
	if a.Kind != "server" || c.Kind != "consumer" || a.Scope != "chatmesh/edge" || b.Scope != "chatmesh/edge" || c.Scope != "chatmesh/fanout" {
		t.Errorf("got %+v; want kinds and scopes", spans)
	}
	if a.Attrs["chatmesh.seq"] != "7" || c.Attrs["chatmesh.chat"] != "c1" || !slices.Equal(c.Events, []string{"took"}) {
		t.Errorf("got %+v; want what was said", spans)
	}
	if !c.Failed || c.Attrs["chatmesh.error"] != "not_found" || a.Failed || r.Holds("somebody wrote") {
		t.Errorf("got %+v; want the code of the error and not its text", c)
	}
	if a.Resource["service.name"] != "chatmesh" || a.Resource["service.instance.id"] != "n1" || a.Resource["service.version"] != "1.2.3" {
		t.Errorf("got resource %v", a.Resource)
	}
	if got := testutil.ToFloat64(e.exported); got != 3 {
		t.Errorf("got %v exported; want 3", got)
	}
}

func TestAPlaceInATraceTravelsInAHeaderOnlyWhereItIsRecorded(t *testing.T) {
	_, tr := exporting(t, "http://127.0.0.1:1", 0)
	header := map[string][]string{}
	ctx, span := tr.Root(t.Context(), "root", Server)
	Mark(header, Current(ctx))
	if span.On() || len(header) != 0 || ctx != t.Context() {
		t.Errorf("got %v, %v; want nothing where nothing is sampled", span, header)
	}
	ctx, span = tr.From(t.Context(), "from", traced, "c")
	Mark(header, Current(ctx))
	got := Parent(header)
	if !span.On() || got != span.Place() || !strings.HasPrefix(got, traced[:36]) || got == traced || !strings.HasSuffix(got, "-01") {
		t.Errorf("got %q; want the trace of %q and a span of its own", got, traced)
	}
	if n := len(subject.HeaderTrace) + len(": \r\n") + len(got); n != 70 {
		t.Errorf("the header takes %d bytes; want the 70 that subjects.md tells", n)
	}
	for _, text := range []string{"", untraced, "garbage", traced + "x", strings.ToUpper(traced), "00-" + strings.Repeat("0", 32) + "-b7ad6b7169203331-01"} {
		if _, span := tr.From(t.Context(), "from", text, "c"); span.On() {
			t.Errorf("%q begins a span; want none", text)
		}
	}
}

func TestWhoAsksFromInsideIsRecordedAndAStrangerAFewTimesASecond(t *testing.T) {
	_, tr := exporting(t, "http://127.0.0.1:1", 0)
	for range 100 {
		if _, span := tr.Asked(t.Context(), "asked", map[string][]string{subject.HeaderTrace: {traced}}); !span.On() {
			t.Fatal("a request from inside is not recorded; want it to be")
		}
	}
	n := 0
	for range 1000 {
		if _, span := tr.Heard(t.Context(), "heard", traced); span.On() {
			n++
		}
	}
	if n < strangersAtOnce || n > 10*strangersAtOnce {
		t.Errorf("%d of 1000 requests of strangers are recorded; want about %d", n, strangersAtOnce)
	}
	_, all := exporting(t, "http://127.0.0.1:1", 1)
	for _, parent := range []string{"", "garbage", traced} {
		if _, span := all.Heard(t.Context(), "heard", parent); !span.On() {
			t.Errorf("%q is not recorded; want it to be where everything is", parent)
		}
	}
	if _, span := all.Heard(t.Context(), "heard", untraced); span.On() {
		t.Error("what others decided not to record is recorded")
	}
}

func TestWorkForSeveralTracesHasASpanInEach(t *testing.T) {
	r := tracetest.New(t)
	e, tr := exporting(t, r.URL, 1)
	stop := running(t, e)
	var events Span
	var parents []string
	for _, id := range []chat.ID{"a", "b"} {
		ctx, root := tr.Root(t.Context(), "root "+string(id), Server)
		root.End(nil)
		_, s := tr.From(t.Context(), "event", Current(ctx), id)
		events, parents = events.And(s), append(parents, Current(ctx))
	}
	_, batch := tr.Batch(t.Context(), "batch", append(parents, untraced))
	events.Link(batch)
	ctx, _ := With(t.Context(), events)
	ctx, write := Child(ctx, "write", Client)
	ChildOf(ctx, "b", "row", Client).End(nil)
	if ChildOf(ctx, "c", "row", Client).On() {
		t.Error("a span for a chat that is not traced")
	}
	write.End(nil)
	events.End(nil)
	batch.End(nil)
	stop()
	one := func(name, trace string) tracetest.Span {
		t.Helper()
		got := r.Named(name, trace)
		if len(got) != 1 {
			t.Fatalf("%s: got %d spans; want 1", name, len(got))
		}
		return got[0]
	}
	b := one("batch", "")
	for _, id := range []string{"a", "b"} {
		root := one("root "+id, "")
		event := one("event", root.Trace)
		if event.Parent != root.ID || one("write", root.Trace).Parent != event.ID {
			t.Errorf("chat %s: got %+v; want event and write below each other", id, event)
		}
		if !slices.Contains(b.Links, root.Place()) || !slices.Contains(event.Links, b.Place()) {
			t.Errorf("got links %v, %v; want batch and event linked", b.Links, event.Links)
		}
	}
	if row := one("row", ""); row.Trace != one("root b", "").Trace || row.Parent != one("write", row.Trace).ID {
		t.Errorf("got %+v; want it in the trace of its chat alone", row)
	}
	if len(b.Links) != 2 || b.Trace == one("root a", "").Trace {
		t.Errorf("got %+v; want a trace of its own with two links", b)
	}
}

// What runs for each message and is not traced allocates nothing, whether tracing is off or this message is not sampled.
func TestNothingIsAllocatedForWhatIsNotTraced(t *testing.T) {
	_, unsampled := exporting(t, "http://127.0.0.1:1", 0)
	header := map[string][]string{subject.HeaderSeq: {"1"}}
	with := map[string][]string{subject.HeaderTrace: {traced}}
	var off *Tracer
	for name, tr := range map[string]*Tracer{"off": off, "not sampled": unsampled} {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		if n := testing.AllocsPerRun(1000, func() {
			ctx, span := tr.Root(ctx, "root", Server)
			ctx, child := Child(ctx, "child", Internal)
			_, asked := tr.Asked(ctx, "asked", header)
			_, heard := tr.Heard(ctx, "heard", "")
			_, from := tr.From(ctx, "from", Parent(header), "c")
			row := ChildOf(ctx, "c", "row", Client)
			Mark(header, child.Place())
			Mark(header, Current(ctx))
			if span.On() || child.On() || asked.On() || heard.On() || from.On() || row.On() {
				t.Error("something is on")
			}
			span.End(nil)
			child.End(nil)
			from.End(nil)
		}); n != 0 {
			t.Errorf("%s: %v allocations; want none", name, n)
		}
	}
	if n := testing.AllocsPerRun(1000, func() {
		if _, span := off.From(context.Background(), "from", Parent(with), "c"); span.On() {
			t.Error("off is on")
		}
	}); n != 0 {
		t.Errorf("a traced message where tracing is off: %v allocations; want none", n)
	}
}

func TestSpansThatTooManyWaitBeforeAreDroppedAndCounted(t *testing.T) {
	e, tr := exporting(t, "http://127.0.0.1:1", 1) // not running: nobody empties the queue
	began := time.Now()
	for range queueSpans + 10 {
		_, s := tr.Root(t.Context(), "root", Server)
		s.End(nil)
	}
	if took := time.Since(began); took > time.Minute {
		t.Errorf("it took %v; want nobody to wait", took)
	}
	if got := testutil.ToFloat64(e.dropped.WithLabelValues(whyQueue)); got != 10 {
		t.Errorf("got %v dropped; want 10", got)
	}
	if len(e.queue) != queueSpans {
		t.Errorf("got %d that wait; want %d", len(e.queue), queueSpans)
	}
}

func TestWithoutAReceiverSpansAreDroppedCountedAndTheProcessStops(t *testing.T) {
	e, tr := exporting(t, "http://127.0.0.1:1", 1)
	stop := running(t, e)
	for range 5 {
		_, s := tr.Root(t.Context(), "root", Server)
		s.End(nil)
	}
	dropped := e.dropped.WithLabelValues(whyExport)
	eventually(t, "given up", func() bool { return testutil.ToFloat64(dropped) == 5 })
	_, s := tr.Root(t.Context(), "root", Server)
	s.End(nil)
	began := time.Now()
	stop()
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("stopping took %v; want about %v at most", took, flushTime)
	}
	if got := testutil.ToFloat64(dropped); got != 6 {
		t.Errorf("got %v dropped; want 6", got)
	}
}

func TestAReceiverThatComesBackGetsWhatWaited(t *testing.T) {
	r := tracetest.New(t)
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-key=secret-key")
	e, tr := exporting(t, r.URL+"/", 1)
	e.firstPause = 100 * time.Millisecond
	r.Answer(http.StatusServiceUnavailable)
	stop := running(t, e)
	_, s := tr.Root(t.Context(), "root", Server)
	s.End(nil)
	eventually(t, "an export that is refused", func() bool { return r.Header() != nil })
	r.Answer(http.StatusOK)
	eventually(t, "the span", func() bool { return len(r.Spans()) == 1 })
	stop()
	if got := r.Header().Get("X-Key"); got != "secret-key" {
		t.Errorf("got key %q; want that of the standard variable", got)
	}
	if got := testutil.ToFloat64(e.dropped.WithLabelValues(whyExport)); got != 0 {
		t.Errorf("got %v dropped; want none", got)
	}
}

func TestWhatIsEndedLastIsExportedBeforeTheProcessEnds(t *testing.T) {
	r := tracetest.New(t)
	e, tr := exporting(t, r.URL, 1)
	stop := running(t, e)
	const n = 2*batchSpans + 1
	for range n {
		_, s := tr.Root(t.Context(), "root", Server)
		s.End(nil)
	}
	stop()
	if got := len(r.Spans()); got != n {
		t.Errorf("got %d spans; want %d", got, n)
	}
}

func TestAnExporterWithoutWhatItNeedsIsRefused(t *testing.T) {
	good := Config{Endpoint: "http://h", Ratio: 1, Node: "n", Logger: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()}
	for name, change := range map[string]func(*Config){
		"endpoint": func(c *Config) { c.Endpoint = "" }, "ratio": func(c *Config) { c.Ratio = 2 }, "node": func(c *Config) { c.Node = "" },
		"logger": func(c *Config) { c.Logger = nil }, "metrics": func(c *Config) { c.Metrics = nil },
	} {
		c := good
		change(&c)
		if _, _, err := New(c); err == nil {
			t.Errorf("without %s: got no error; want one", name)
		}
	}
}

func TestOnlyTheCodeOfAnErrorIsSaid(t *testing.T) {
	r := tracetest.New(t)
	e, tr := exporting(t, r.URL, 1)
	stop := running(t, e)
	_, s := tr.Root(t.Context(), "root", Server)
	s.End(errors.New("canary text"))
	stop()
	if got := r.Spans(); len(got) != 1 || got[0].Attrs["chatmesh.error"] != "internal" || r.Holds("canary") {
		t.Errorf("got %+v; want the code alone", got)
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

// BenchmarkUntraced is what an append and a delivery pay for tracing that is on but does not record them.
func BenchmarkUntraced(b *testing.B) {
	_, tr := exporting(b, "http://127.0.0.1:1", 0)
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	header := map[string][]string{subject.HeaderSeq: {"1"}}
	b.ReportAllocs()
	for b.Loop() {
		ctx, span := tr.Root(ctx, "root", Server)
		_, child := Child(ctx, "child", Internal)
		_, from := tr.From(ctx, "from", Parent(header), "c")
		from.End(nil)
		child.End(nil)
		span.End(nil)
	}
}

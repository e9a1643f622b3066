// Package tracetest owns an OTLP receiver for tests, which speaks HTTP and protobuf as a real one does. It promises that what it shows
// is what was on the wire.
package tracetest

import (
	"bytes"
	"compress/gzip"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// Span is a span as it arrived.
type Span struct {
	Name, Scope, Trace, ID, Parent string
	Kind                           string
	Resource, Attrs                map[string]string
	Events                         []string
	// Links are the traces and ids of linked spans, "trace/id".
	Links      []string
	Start, End time.Time
	Failed     bool
}

// Place is how a link names the span.
func (s Span) Place() string { return s.Trace + "/" + s.ID }

// Receiver is an OTLP receiver.
type Receiver struct {
	// URL is where it listens.
	URL string

	mu     sync.Mutex // guards the following fields
	spans  []Span
	bodies []byte
	header http.Header
	status int
}

// New starts a receiver; the test's end ends it.
func New(t testing.TB) *Receiver {
	t.Helper()
	r := &Receiver{status: http.StatusOK}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/traces", r.take)
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	r.URL = s.URL
	return r
}

func (r *Receiver) take(w http.ResponseWriter, q *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.header = q.Header.Clone()
	if r.status != http.StatusOK {
		w.WriteHeader(r.status)
		return
	}
	body, spans, err := read(q)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	r.bodies, r.spans = append(r.bodies, body...), append(r.spans, spans...)
	answer, _ := proto.Marshal(&collector.ExportTraceServiceResponse{})
	w.Header().Set("Content-Type", "application/x-protobuf")
	_, _ = w.Write(answer)
}

func read(q *http.Request) (body []byte, spans []Span, err error) {
	var in io.Reader = q.Body
	if q.Header.Get("Content-Encoding") == "gzip" {
		if in, err = gzip.NewReader(q.Body); err != nil {
			return nil, nil, err
		}
	}
	if body, err = io.ReadAll(in); err != nil {
		return nil, nil, err
	}
	if got := q.Header.Get("Content-Type"); got != "application/x-protobuf" {
		return nil, nil, fmt.Errorf("content type %q is not protobuf", got)
	}
	var m collector.ExportTraceServiceRequest
	if err := proto.Unmarshal(body, &m); err != nil {
		return nil, nil, err
	}
	for _, rs := range m.GetResourceSpans() {
		for _, ss := range rs.GetScopeSpans() {
			for _, s := range ss.GetSpans() {
				one := spanOf(s)
				one.Scope, one.Resource = ss.GetScope().GetName(), attrs(rs.GetResource().GetAttributes())
				spans = append(spans, one)
			}
		}
	}
	return body, spans, nil
}

func spanOf(s *otlp.Span) Span {
	out := Span{Name: s.GetName(), Trace: hex.EncodeToString(s.GetTraceId()), ID: hex.EncodeToString(s.GetSpanId()),
		Parent: hex.EncodeToString(s.GetParentSpanId()), Kind: strings.ToLower(strings.TrimPrefix(s.GetKind().String(), "SPAN_KIND_")),
		Attrs: attrs(s.GetAttributes()), Failed: s.GetStatus().GetCode() == otlp.Status_STATUS_CODE_ERROR,
		Start: time.Unix(0, int64(s.GetStartTimeUnixNano())), End: time.Unix(0, int64(s.GetEndTimeUnixNano()))}
	for _, e := range s.GetEvents() {
		out.Events = append(out.Events, e.GetName())
	}
	for _, l := range s.GetLinks() {
		out.Links = append(out.Links, hex.EncodeToString(l.GetTraceId())+"/"+hex.EncodeToString(l.GetSpanId()))
	}
	return out
}

func attrs(all []*common.KeyValue) map[string]string {
	out := map[string]string{}
	for _, a := range all {
		switch v := a.GetValue().GetValue().(type) {
		case *common.AnyValue_StringValue:
			out[a.GetKey()] = v.StringValue
		case *common.AnyValue_IntValue:
			out[a.GetKey()] = fmt.Sprint(v.IntValue)
		case *common.AnyValue_BoolValue:
			out[a.GetKey()] = fmt.Sprint(v.BoolValue)
		default:
			out[a.GetKey()] = fmt.Sprint(v)
		}
	}
	return out
}

// Spans are those that have arrived, in any order.
func (r *Receiver) Spans() []Span {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.spans)
}

// Named are the spans of a name; of one trace if trace is not empty.
func (r *Receiver) Named(name, trace string) []Span {
	return slices.DeleteFunc(r.Spans(), func(s Span) bool { return s.Name != name || trace != "" && s.Trace != trace })
}

// Holds tells whether some bytes were in anything that arrived.
func (r *Receiver) Holds(text string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return bytes.Contains(r.bodies, []byte(text))
}

// Header is that of the last request.
func (r *Receiver) Header() http.Header {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.header
}

// Answer lets the receiver answer with a status; what it refuses it does not keep.
func (r *Receiver) Answer(status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status = status
}

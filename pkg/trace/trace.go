// Package trace owns the spans of a message's way: who begins one, what it may say, how its place in a trace travels in headers,
// and how spans leave the process over OTLP. It promises that a span never holds what a person wrote, their names, tokens or
// passwords (there is no way to attach any), that a process which exports nothing pays nothing, and that a receiver which is slow
// or away costs spans and never a message.
package trace

import (
	"context"
	"math/rand/v2"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	otel "go.opentelemetry.io/otel/trace"
	"golang.org/x/time/rate"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/subject"
)

// Kind says on which side of an exchange a span is.
type Kind = otel.SpanKind

// The kinds of spans.
const (
	Internal Kind = otel.SpanKindInternal
	Server   Kind = otel.SpanKindServer
	Client   Kind = otel.SpanKindClient
	Consumer Kind = otel.SpanKindConsumer
)

// Tracer begins the spans of one service. Nil begins none. It may be used by many goroutines.
type Tracer struct {
	provider *sdk.TracerProvider
	tracer   otel.Tracer
	ratio    float64
	// strangers bounds how many traces a second are recorded because a client asked for it.
	strangers *rate.Limiter
}

// strangersAtOnce is how many traces a second, in a process, are recorded because a client's header asks for it. Beyond that the ratio
// decides, or one client could have everything recorded.
const strangersAtOnce = 10

func newTracer(p *sdk.TracerProvider, ratio float64) *Tracer {
	return &Tracer{provider: p, tracer: p.Tracer(scope), ratio: ratio, strangers: rate.NewLimiter(strangersAtOnce, strangersAtOnce)}
}

// scope is what the spans of this program are found under; the service stands behind it.
const scope = "chatmesh"

// Named is the tracer of a service.
func (t *Tracer) Named(service string) *Tracer {
	if t == nil {
		return nil
	}
	named := *t
	named.tracer = t.provider.Tracer(scope + "/" + service)
	return &named
}

// Root begins a trace, for as many of all calls as are sampled. For the others the span is off and ctx is returned as it is.
func (t *Tracer) Root(ctx context.Context, name string, kind Kind) (context.Context, Span) {
	if t == nil || rand.Float64() >= t.ratio {
		return ctx, Span{}
	}
	return t.begin(ctx, context.Background(), name, kind, "")
}

// Asked is Root for a request from inside the mesh, or from a backend team, that may carry its place in a trace: then it is recorded if
// that is.
func (t *Tracer) Asked(ctx context.Context, name string, header map[string][]string) (context.Context, Span) {
	if t == nil {
		return ctx, Span{}
	}
	parent := Parent(header)
	if parent == "" {
		return t.Root(ctx, name, Server)
	}
	remote, sampled := remote(parent)
	switch {
	case remote == nil: // what is no place is as none
		return t.Root(ctx, name, Server)
	case !sampled:
		return ctx, Span{}
	}
	return t.begin(ctx, remote, name, Server, "")
}

// Heard is Asked for a client. Of those that ask to be recorded a few a second are; for the others the ratio decides.
func (t *Tracer) Heard(ctx context.Context, name, parent string) (context.Context, Span) {
	if t == nil {
		return ctx, Span{}
	}
	if parent == "" {
		return t.Root(ctx, name, Server)
	}
	remote, sampled := remote(parent)
	switch {
	case remote == nil: // what is no place is as none
		return t.Root(ctx, name, Server)
	case sampled && (rand.Float64() < t.ratio || t.strangers.Allow()):
		return t.begin(ctx, remote, name, Server, "")
	}
	return ctx, Span{}
}

// From begins the span of who works on an event of a chat that came with its place in a trace; it is off where parent is empty, or not
// recorded.
func (t *Tracer) From(ctx context.Context, name, parent string, id chat.ID) (context.Context, Span) {
	if t == nil || parent == "" {
		return ctx, Span{}
	}
	remote, sampled := remote(parent)
	if !sampled {
		return ctx, Span{}
	}
	return t.begin(ctx, remote, name, Consumer, id)
}

// Batch begins a trace for work on many events at once, those that parents are the places of; it is off where there is none.
func (t *Tracer) Batch(ctx context.Context, name string, parents []string) (context.Context, Span) {
	if t == nil || len(parents) == 0 {
		return ctx, Span{}
	}
	var links []otel.Link
	for _, p := range parents {
		if remote, sampled := remote(p); sampled {
			links = append(links, otel.Link{SpanContext: otel.SpanContextFromContext(remote)})
		}
	}
	if len(links) == 0 {
		return ctx, Span{}
	}
	return t.begin(ctx, context.Background(), name, Consumer, "", otel.WithLinks(links...))
}

func (t *Tracer) begin(ctx, parent context.Context, name string, kind Kind, id chat.ID, more ...otel.SpanStartOption) (context.Context, Span) {
	one := started{tracer: t.tracer, chat: id}
	_, one.span = t.tracer.Start(parent, name, append(more, otel.WithSpanKind(kind))...)
	if id != "" {
		one.span.SetAttributes(Chat(id))
	}
	return With(ctx, Span{[]started{one}})
}

// Parent is the place in a trace that a header carries, as W3C Trace Context has it; empty for none.
func Parent(header map[string][]string) string {
	if v := header[subject.HeaderTrace]; len(v) == 1 {
		return v[0]
	}
	return ""
}

// Mark writes a place into a header, unless it is empty.
func Mark(header map[string][]string, parent string) {
	if parent != "" {
		header[subject.HeaderTrace] = []string{parent}
	}
}

// carrier is one traceparent for the propagator. The vendors' tracestate is not passed on: nobody here reads it, and anything may be in it.
type carrier struct{ text string }

// Get returns the traceparent.
func (c *carrier) Get(key string) string {
	if key == subject.HeaderTrace {
		return c.text
	}
	return ""
}

// Set takes the traceparent.
func (c *carrier) Set(key, value string) {
	if key == subject.HeaderTrace {
		c.text = value
	}
}

// Keys is the one that there is.
func (c *carrier) Keys() []string { return []string{subject.HeaderTrace} }

// remote reads a traceparent. The context is nil where it is none; sampled tells whether it is recorded.
func remote(parent string) (ctx context.Context, sampled bool) {
	ctx = propagation.TraceContext{}.Extract(context.Background(), &carrier{parent})
	sc := otel.SpanContextFromContext(ctx)
	if !sc.IsValid() {
		return nil, false
	}
	return ctx, sc.IsSampled()
}

// Attr is something that a span says. Only this package makes them.
type Attr = attribute.KeyValue

// Chat is the id of a chat.
func Chat(id chat.ID) Attr { return attribute.String("chatmesh.chat", string(id)) }

// Seq is the seq of an event in its chat.
func Seq(seq chat.Seq) Attr { return attribute.Int64("chatmesh.seq", int64(seq)) }

// Stream is the sequence of an event in the stream of its partition.
func Stream(sequence uint64) Attr { return attribute.Int64("chatmesh.stream_seq", int64(sequence)) }

// Partition is that of a chat.
func Partition(p int) Attr { return attribute.Int("chatmesh.partition", p) }

// Size is how many bytes a body has.
func Size(bytes int) Attr { return attribute.Int("chatmesh.size", bytes) }

// Count is how many of something there were: appends of a commit, members, devices, rows.
func Count(n int) Attr { return attribute.Int("chatmesh.count", n) }

// Attempt is how often something was tried before.
func Attempt(n int) Attr { return attribute.Int("chatmesh.attempt", n) }

// Duplicate says that a message stood there before.
func Duplicate(d bool) Attr { return attribute.Bool("chatmesh.duplicate", d) }

// Status is that of an HTTP answer.
func Status(code int) Attr { return attribute.Int("http.response.status_code", code) }

package trace

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	otel "go.opentelemetry.io/otel/trace"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

// Span is a span, or several that are alike where work is done for several traces at once. The zero value is off: it records nothing.
// What costs something to say belongs behind On.
type Span struct{ all []started }

type started struct {
	span   otel.Span
	tracer otel.Tracer
	// chat is that of the event it is for; empty where it is for no event alone.
	chat chat.ID
}

// On tells whether anything is recorded.
func (s Span) On() bool { return len(s.all) > 0 }

// And is the spans of both.
func (s Span) And(o Span) Span { return Span{append(s.all[:len(s.all):len(s.all)], o.all...)} }

// key is that of the span in a context.
type key struct{}

// With returns a context in which s is the current span, and s. If s is off it is ctx.
func With(ctx context.Context, s Span) (context.Context, Span) {
	if !s.On() {
		return ctx, s
	}
	return context.WithValue(ctx, key{}, s), s
}

// of is the current span.
func of(ctx context.Context) Span {
	s, _ := ctx.Value(key{}).(Span)
	return s
}

// Current is the place in its trace of the current span, for a header; empty where nothing is recorded. Where there are several it is
// that of the first.
func Current(ctx context.Context) string { return of(ctx).Place() }

// Place is Current of a span.
func (s Span) Place() string {
	if !s.On() {
		return ""
	}
	var c carrier
	propagation.TraceContext{}.Inject(otel.ContextWithSpan(context.Background(), s.all[0].span), &c)
	return c.text
}

// Child begins a span below the current one. It is off where nothing is recorded, and then ctx is returned as it is.
func Child(ctx context.Context, name string, kind Kind) (context.Context, Span) {
	parent := of(ctx)
	if !parent.On() {
		return ctx, Span{}
	}
	return With(ctx, parent.Child(name, kind))
}

// ChildOf is Child of those current spans alone that are for events of one chat.
func ChildOf(ctx context.Context, id, name string, kind Kind) Span {
	parent := of(ctx)
	if !parent.On() {
		return Span{}
	}
	return parent.children(name, kind, func(s started) bool { return string(s.chat) == id })
}

// Child begins a span below this one; it is off where this one is.
func (s Span) Child(name string, kind Kind) Span {
	return s.children(name, kind, func(started) bool { return true })
}

func (s Span) children(name string, kind Kind, which func(started) bool) Span {
	var out Span
	for _, p := range s.all {
		if which(p) {
			_, child := p.tracer.Start(otel.ContextWithSpan(context.Background(), p.span), name, otel.WithSpanKind(kind))
			out.all = append(out.all, started{child, p.tracer, p.chat})
		}
	}
	return out
}

// Set says more.
func (s Span) Set(attrs ...Attr) {
	for _, x := range s.all {
		x.span.SetAttributes(attrs...)
	}
}

// Event says that something happened now.
func (s Span) Event(name string, attrs ...Attr) {
	for _, x := range s.all {
		x.span.AddEvent(name, otel.WithAttributes(attrs...))
	}
}

// Link says that two spans belong to each other without being in one trace.
func (s Span) Link(o Span) {
	for _, x := range s.all {
		for _, y := range o.all {
			x.span.AddLink(otel.Link{SpanContext: y.span.SpanContext()})
		}
	}
}

// End ends the span. Of an error it says the code alone: the text may quote what somebody wrote.
func (s Span) End(err error) {
	for _, x := range s.all {
		if err != nil {
			x.span.SetAttributes(attribute.String("chatmesh.error", string(chat.AsError(err).Code)))
			x.span.SetStatus(codes.Error, "")
		}
		x.span.End()
	}
}

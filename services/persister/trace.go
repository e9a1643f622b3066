package persister

import (
	"context"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/trace"
)

// traced are the spans of a batch: one for the batch, in a trace of its own, and one for each event of it that is traced, below the
// append of that event. They are off where none is.
type traced struct{ batch, events trace.Span }

// begin begins the spans of a batch. In the context that it returns those of the events are the current ones, so that the write is
// below each of them.
func (s *Server) begin(ctx context.Context, events []store.Entry, batch []bus.Delivery) (context.Context, traced) {
	if s.c.Tracer == nil {
		return ctx, traced{}
	}
	var t traced
	var parents []string
	for _, d := range batch {
		parent := trace.Parent(d.Headers())
		if parent == "" {
			continue
		}
		_, span := s.c.Tracer.From(ctx, "persister write", parent, subject.ChatOf(d.Subject()))
		if !span.On() {
			continue
		}
		span.Set(trace.Stream(d.Stream), trace.Size(len(d.Data())))
		t.events, parents = t.events.And(span), append(parents, parent)
	}
	if _, t.batch = s.c.Tracer.Batch(ctx, "persister batch", parents); t.batch.On() {
		t.batch.Set(trace.Count(len(events)))
		t.events.Link(t.batch)
	}
	ctx, _ = trace.With(ctx, t.events)
	return ctx, t
}

func (t traced) end(err error) {
	t.events.End(err)
	t.batch.End(err)
}

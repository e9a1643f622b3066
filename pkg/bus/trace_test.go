package bus_test

import (
	"context"
	"log/slog"
	"testing"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/meshtest"
	"github.com/chatmesh/chatmesh/pkg/trace"
	"github.com/chatmesh/chatmesh/pkg/trace/tracetest"
)

func TestACallCarriesItsTraceToWhoAnswers(t *testing.T) {
	m, asking := broker(t)
	r := tracetest.New(t)
	sampled := meshtest.Tracer(t, r.URL, 1)
	answering, err := bus.Connect(bus.Config{Name: "answering", URL: m.ClientURL(), Logger: slog.New(slog.DiscardHandler),
		Tracer: meshtest.Tracer(t, r.URL, 0)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(answering.Close)
	places := make(chan string, 2)
	serve(t, answering, nil, bus.Endpoint{Subject: "svc.test.place", Doc: "Tells.", Handle: func(ctx context.Context, _ []byte) (any, error) {
		places <- trace.Current(ctx)
		return nil, chat.Errorf(chat.NotFound, "nothing")
	}})
	if err := asking.Call(t.Context(), "svc.test.place", struct{}{}, nil); !chat.Is(err, chat.NotFound) {
		t.Fatal(err)
	}
	if got := <-places; got != "" {
		t.Errorf("got place %q of a call that is not traced; want none", got)
	}
	ctx, root := sampled.Root(t.Context(), "root", trace.Server)
	if err := asking.Call(ctx, "svc.test.place", struct{}{}, nil); !chat.Is(err, chat.NotFound) {
		t.Fatal(err)
	}
	root.End(nil)
	place := <-places
	meshtest.Eventually(t, patience, "both sides", func() bool { return len(r.Named("svc.test.place", "")) == 2 && len(r.Named("root", "")) == 1 })
	sides := map[string]tracetest.Span{}
	for _, s := range r.Named("svc.test.place", r.Named("root", "")[0].Trace) {
		sides[s.Kind] = s
	}
	client, server := sides["client"], sides["server"]
	if client.Parent != r.Named("root", "")[0].ID || server.Parent != client.ID || place != "00-"+server.Trace+"-"+server.ID+"-01" {
		t.Errorf("got %+v, %+v; want who answers below who asks", client, server)
	}
	if !server.Failed || server.Attrs["chatmesh.error"] != "not_found" || client.Failed {
		t.Errorf("got %+v, %+v; want the refusal where it was made", client, server)
	}
}

package fanout_test

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/meshtest"
	"github.com/chatmesh/chatmesh/pkg/run"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/trace"
	"github.com/chatmesh/chatmesh/pkg/trace/tracetest"
	"github.com/chatmesh/chatmesh/services/fanout"
)

// Whether this worker traces or not, the trace goes on behind it.
func TestThePlaceInATraceIsPassedOnToThePeople(t *testing.T) {
	for name, traces := range map[string]bool{"by a worker that traces": true, "by one that does not": false} {
		t.Run(name, func(t *testing.T) {
			r := tracetest.New(t)
			tracer := meshtest.Tracer(t, r.URL, 1)
			broker, b, l := setup(t)
			msgs := make(chan *nats.Msg, 10)
			sub, err := b.Conn().ChanSubscribe(subject.User("ann"), msgs)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = sub.Unsubscribe() }()
			own := broker.Bus(t)
			c := fanout.Config{Bus: own, Log: newLog(t, own), Partitions: 1, Logger: meshtest.Logger(t), Health: &run.Health{}}
			if traces {
				c.Tracer = tracer
			}
			s, err := fanout.New(c)
			if err != nil {
				t.Fatal(err)
			}
			meshtest.Run(t, s.Run)
			do(t, l, chat.Create{Kind: chat.Group, Title: "t", By: "ann"})
			ctx, root := tracer.Root(t.Context(), "root", trace.Server)
			if _, err := l.Append(ctx, "c1", say(1)); err != nil {
				t.Fatal(err)
			}
			root.End(nil)
			next := func() *nats.Msg {
				t.Helper()
				select {
				case m := <-msgs:
					return m
				case <-time.After(time.Minute):
					t.Fatal("nothing came within a minute")
					return nil
				}
			}
			if m := next(); trace.Parent(m.Header) != "" {
				t.Errorf("got %q on what is not traced; want nothing", trace.Parent(m.Header))
			}
			got := trace.Parent(next().Header)
			var appended tracetest.Span
			meshtest.Eventually(t, meshtest.Patience, "the append", func() bool {
				all := r.Named("chatlog append", "")
				if len(all) == 1 {
					appended = all[0]
				}
				return len(all) == 1
			})
			if !traces {
				if want := "00-" + appended.Trace + "-" + appended.ID + "-01"; got != want {
					t.Errorf("got %q; want it as it came, %q", got, want)
				}
				return
			}
			meshtest.Eventually(t, meshtest.Patience, "the fan-out", func() bool { return len(r.Named("fanout publish", appended.Trace)) == 1 })
			s1 := r.Named("fanout publish", appended.Trace)[0]
			if want := "00-" + appended.Trace + "-" + s1.ID + "-01"; got != want || s1.Parent != appended.ID || s1.Attrs["chatmesh.count"] != "1" {
				t.Errorf("got %q and %+v; want %q, below the append, to one member", got, s1, want)
			}
		})
	}
}

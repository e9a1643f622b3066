package chatlog_test

import (
	"slices"
	"testing"

	"github.com/chatmesh/chatmesh/pkg/meshtest"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/trace"
	"github.com/chatmesh/chatmesh/pkg/trace/tracetest"
)

func TestATracedAppendSaysWhatBecameOfItAndMarksItsEventAlone(t *testing.T) {
	r := tracetest.New(t)
	tracer := meshtest.Tracer(t, r.URL, 1)
	broker := newBroker(t, 1)
	mine, other := newLog(t, broker, 1), newLog(t, broker, 1)
	create(t, mine, "c", "ada")
	if _, err := other.Append(t.Context(), "c", send("ada", "m1")); err != nil {
		t.Fatal(err)
	}
	ctx, root := tracer.Root(t.Context(), "root", trace.Server)
	if _, err := mine.Append(ctx, "c", send("ada", "m2")); err != nil { // on knowledge that is stale by now
		t.Fatal(err)
	}
	if _, err := mine.Append(ctx, "c", send("ada", "m2")); err != nil { // again
		t.Fatal(err)
	}
	root.End(nil)
	var appends []tracetest.Span
	meshtest.Eventually(t, meshtest.Patience, "both appends", func() bool {
		appends = r.Named("chatlog append", "")
		return len(appends) == 2
	})
	slices.SortFunc(appends, func(a, b tracetest.Span) int { return a.Start.Compare(b.Start) })
	first, again := appends[0], appends[1]
	if want := []string{"commit", "in doubt", "commit", "stored"}; !slices.Equal(first.Events, want) {
		t.Errorf("got events %q; want %q", first.Events, want)
	}
	if first.Attrs["chatmesh.seq"] != "3" || first.Attrs["chatmesh.duplicate"] != "false" || first.Attrs["chatmesh.chat"] != "c" {
		t.Errorf("got %v; want where it stands", first.Attrs)
	}
	if again.Attrs["chatmesh.seq"] != "3" || again.Attrs["chatmesh.duplicate"] != "true" {
		t.Errorf("got %v; want the first place, and that it stood there", again.Attrs)
	}
	msgs, err := broker.Bus(t).From(t.Context(), subject.ChatStream(0), subject.AllOf(0), 1, 100, 0)
	if err != nil {
		t.Fatal(err)
	}
	marked := 0
	for _, m := range msgs {
		place := trace.Parent(m.Header)
		if place == "" {
			continue
		}
		marked++
		if m.Header.Get(subject.HeaderSeq) != "3" || place != "00-"+first.Trace+"-"+first.ID+"-01" {
			t.Errorf("%s at %d: got %q; want the place of the append on its event alone", m.Subject, m.Sequence, place)
		}
	}
	if marked != 1 {
		t.Errorf("got %d marked messages of %d; want 1", marked, len(msgs))
	}
}

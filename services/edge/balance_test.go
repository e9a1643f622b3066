package edge

import (
	"fmt"
	"testing"
	"time"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/meshtest"
)

func TestBalancingIsSlowAndGivesUpOnClientsWhoComeBack(t *testing.T) {
	at := time.Now()
	for _, c := range []struct {
		load  int64
		share float64
		want  int
	}{
		{1000, 1000, 0}, {1290, 1000, 0}, {100, 60, 0}, {130, 79, 51}, {1400, 1000, 300}, {200_000, 100_000, 12_000},
	} {
		var b balancer
		n, over := b.next(at, c.load, c.share)
		if n != c.want {
			t.Errorf("%d where %v is the share: got %d; want %d", c.load, c.share, n, c.want)
		}
		if n > 0 && (over > roundTime || float64(n)/over.Seconds() > max(slowly, slowPart*float64(c.load))+0.01) {
			t.Errorf("%d where %v is the share: %d over %v; want it slower", c.load, c.share, n, over)
		}
	}
	var b balancer
	var pauses []time.Duration
	for range 12 { // whoever is sent away comes back
		n, over := b.next(at, 300, 150)
		if n != 150 {
			t.Fatalf("got %d; want 150", n)
		}
		began := at
		for {
			at = at.Add(balanceEvery)
			if again := b; true {
				if n, _ := again.next(at, 300, 150); n > 0 {
					break
				}
			}
		}
		pauses = append(pauses, at.Sub(began)-over)
	}
	if pauses[0] > pauseLeast+balanceEvery || pauses[len(pauses)-1] < pauseMost {
		t.Errorf("got pauses %v; want them to grow from %v to %v", pauses, pauseLeast, pauseMost)
	}
	at = at.Add(balanceEvery)
	if n, _ := b.next(at, 220, 150); n != 70 || b.pause != pauseLeast {
		t.Errorf("after a round that helped: got %d, pause %v; want 70 and the least pause", n, b.pause)
	}
}

func TestAnEdgeSendsItsSurplusAwayWhenToldTo(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	second := r.another("e2", func(*Config) {})
	third := r.another("e3", func(*Config) {})
	for i := range 30 {
		r.connect(chat.UserID(fmt.Sprintf("u%d", i)), nil)
	}
	for i := range 3 {
		second.connect(chat.UserID(fmt.Sprintf("v%d", i)), nil)
	}
	meshtest.Eventually(t, meshtest.Patience, "the others' load is known", func() bool {
		share, ok := r.edge.edges.Share("e1", 30)
		return ok && share == 11
	})
	if a := r.ask(ActionShare, 500*time.Millisecond); a.Draining || a.Leaving > 19 {
		t.Errorf("got %+v; want at most 19 to leave, and the edge open", a)
	}
	meshtest.Eventually(t, meshtest.Patience, "19 have gone", func() bool { return r.edge.Connections() == 11 })
	r.connect("new", nil)
	meshtest.Eventually(t, meshtest.Patience, "its load is known", func() bool {
		share, ok := second.edge.edges.Share("e2", 3)
		return ok && share == 5
	})
	if a := second.ask(ActionShare, time.Second); a.Leaving != 0 || a.Connections != 3 {
		t.Errorf("with less than its share: got %+v; want nobody to leave", a)
	}
	if a := third.ask(ActionShare, time.Second); a.Leaving != 0 || a.Connections != 0 {
		t.Errorf("below its share: got %+v; want nobody to leave", a)
	}
}

func TestAnEdgeWithFarTooManySendsThemAwayByItself(t *testing.T) {
	t.Parallel()
	other := newRig(t)
	r := other.another("many", func(c *Config) { c.Rebalance = true })
	// connect adds people while there is no edge that would take some, so that it looks only when all are there.
	connect := func(n int, share float64) {
		other.ask(ActionDrain, time.Millisecond)
		meshtest.Eventually(t, meshtest.Patience, "it is alone", func() bool { _, ok := r.edge.edges.Share("many", 0); return !ok })
		for i := range n {
			r.connect(chat.UserID(fmt.Sprintf("u%d", i%30)), nil)
		}
		other.ask(ActionUndo, 0)
		meshtest.Eventually(t, meshtest.Patience, "the other is known", func() bool {
			got, ok := r.edge.edges.Share("many", r.edge.Connections())
			return ok && got <= share
		})
	}
	connect(90, 45) // beside an empty one it has 45 too many, which is too few to be worth it
	began := time.Now()
	meshtest.Eventually(t, meshtest.Patience, "it has looked", func() bool { return time.Since(began) > balanceEvery+balanceEvery/2 })
	if n := r.edge.Connections(); n != 90 {
		t.Fatalf("got %d; want all 90 to stay", n)
	}
	began = time.Now()
	connect(30, 60)
	meshtest.Eventually(t, meshtest.Patience, "the first have gone", func() bool { return r.edge.Connections() <= 110 })
	meshtest.Eventually(t, meshtest.Patience, "its share is left", func() bool { return r.edge.Connections() <= 60 })
	took := time.Since(began)
	t.Logf("60 of 120 gone after %v", took)
	if got := r.edge.Connections(); got != 60 || took < 5*time.Second {
		t.Errorf("got %d after %v; want 60, a few per second", got, took)
	}
}

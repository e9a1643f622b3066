package api

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"sync"
	"testing"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/limit"
	"github.com/chatmesh/chatmesh/pkg/meshtest"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// edgesAnswer is what GET /v1/edges answers.
type edgesAnswer struct {
	Edges []edgeView `json:"edges"`
	Best  string     `json:"best"`
}

// beat has an edge announce itself once, for a while.
func (w *world) beat(node string, load, capacity int64, draining bool) {
	w.t.Helper()
	n := bus.Node{Service: "edge", Node: node, URL: "ws://" + node + ".test/v1/ws", Load: load, Capacity: capacity, Draining: draining}
	check(w.t, w.bus.PutFor(context.Background(), subject.Nodes, subject.NodeKey("edge", node), wire.Encode(n), bus.NodeTTL))
}

// edgesOf asks until the answer is as it should be.
func (w *world) edgesOf(what string, ok func(edgesAnswer) bool) edgesAnswer {
	w.t.Helper()
	var a edgesAnswer
	meshtest.Eventually(w.t, meshtest.Patience, what, func() bool {
		r := w.call("", "GET", "/v1/edges", nil)
		a = edgesAnswer{}
		if r.status == http.StatusOK {
			r.into(w.t, &a)
		}
		return ok(a)
	})
	return a
}

func TestTheBestEdgeIsTheEmptiestThatTakesConnections(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.call("", "GET", "/v1/edges", nil).want(t, 503, chat.Unavailable)
	if r.header.Get("Retry-After") != "2" {
		t.Errorf("without an edge: got Retry-After %q; want 2", r.header.Get("Retry-After"))
	}
	w.beat("e1", 90, 100, false)
	w.beat("e2", 500, 1000, false) // emptier, although it has more
	w.beat("e3", 0, 1000, true)
	w.beat("e4", 50, 50, false)
	check(t, w.bus.PutFor(t.Context(), subject.Nodes, "edge.e5", []byte("no JSON"), bus.NodeTTL))
	check(t, w.bus.PutFor(t.Context(), subject.Nodes, "api.n1", wire.Encode(bus.Node{Service: "api", URL: "ws://api.test"}), bus.NodeTTL))
	a := w.edgesOf("all edges are known", func(a edgesAnswer) bool { return len(a.Edges) == 4 })
	want := []edgeView{{"ws://e1.test/v1/ws", 90, 100, false}, {"ws://e2.test/v1/ws", 500, 1000, false}, {"ws://e3.test/v1/ws", 0, 1000, true},
		{"ws://e4.test/v1/ws", 50, 50, false}}
	if !slices.Equal(a.Edges, want) {
		t.Errorf("got %+v; want %+v", a.Edges, want)
	}
	for range 100 {
		w.call("", "GET", "/v1/edges", nil).want(t, 200, "").into(t, &a)
		if a.Best != "ws://e2.test/v1/ws" {
			t.Fatalf("got best %s; want e2", a.Best)
		}
	}
	w.beat("e2", 600, 1000, true)
	w.edgesOf("the one that drains is not named any more", func(a edgesAnswer) bool { return a.Best == "ws://e1.test/v1/ws" })
	check(t, w.bus.DeleteKey(t.Context(), subject.Nodes, "edge.e1"))
	w.edgesOf("where all others drain or are full there is none", func(a edgesAnswer) bool { return a.Best == "" })
	w.call("", "GET", "/v1/edges", nil).want(t, 503, chat.Unavailable)
}

func TestAHerdThatAsksBetweenTwoBeatsIsSpread(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.beat("e1", 0, 1000, false)
	w.beat("e2", 100, 1000, false)
	w.beat("e3", 200, 1000, false)
	w.edgesOf("all edges are known", func(a edgesAnswer) bool { return len(a.Edges) == 3 })
	counts, mu := map[string]int{}, sync.Mutex{}
	var herd sync.WaitGroup
	for range 20 {
		herd.Go(func() {
			for range 30 {
				var a edgesAnswer
				w.call("", "GET", "/v1/edges", nil).want(t, 200, "").into(t, &a)
				mu.Lock()
				counts[a.Best]++
				mu.Unlock()
			}
		})
	}
	herd.Wait()
	t.Logf("600 who ask at once: %v", counts)
	// 900 connections in all: each edge ends near 300 of its 1,000.
	for node, before := range map[string]int{"e1": 0, "e2": 100, "e3": 200} {
		if got := before + counts["ws://"+node+".test/v1/ws"]; got < 270 || got > 330 {
			t.Errorf("%s ends with %d; want about 300", node, got)
		}
	}
	if len(counts) != 3 {
		t.Errorf("got %v; want all three named", slices.Sorted(maps.Keys(counts)))
	}
}

func TestAskingForAnEdgeIsLimitedByAddress(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) { c.Limits = limit.NewTable(limit.DefaultRules(), nil) })
	w.beat("e1", 0, 1000, false)
	w.edgesOf("the edge is known", func(a edgesAnswer) bool { return a.Best != "" })
	for n := range 2000 {
		if r := w.call("", "GET", "/v1/edges", nil); r.status != http.StatusOK {
			r.want(t, 429, chat.RateLimited)
			if n < 400 {
				t.Errorf("refused after %d; want a herd let through", n)
			}
			return
		}
	}
	t.Error("2,000 at once were answered")
}

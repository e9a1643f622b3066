package edges

import (
	"fmt"
	"testing"
	"time"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// tell has a directory hear of an edge.
func (d *Directory) tell(node string, load, capacity int64, draining bool, at time.Time) {
	d.take(bus.KeyChange{Key: "edge." + node, Value: wire.Encode(bus.Node{Service: Service, Node: node, URL: "ws://" + node, Load: load,
		Capacity: capacity, Draining: draining})}, at)
}

func TestAnEdgeThatFellSilentIsNoEdgeEvenIfTheBrokerDoesNotSaySo(t *testing.T) {
	d := &Directory{ready: true}
	now := time.Now()
	d.tell("old", 0, 10, false, now.Add(-bus.NodeTTL-time.Second))
	d.tell("new", 9, 10, false, now)
	if e, ok := d.Best(); !ok || e.Node != "new" {
		t.Errorf("got %+v, %v; want the one that was heard of", e, ok)
	}
	if got := d.List(); len(got) != 1 {
		t.Errorf("got %+v; want one", got)
	}
}

func TestWhatIsNoEdgeIsNotNamed(t *testing.T) {
	d := &Directory{ready: true}
	now := time.Now()
	for key, value := range map[string]string{
		"api.a":  `{"url":"ws://a","capacity":10}`,
		"edge.b": `{"url":"","capacity":10}`,
		"edge.c": `{"url":"ws://c"}`,
		"edge.d": `{"url":"ws://d","capacity":10,"load":-1}`,
		"edge.e": `{`,
		"edge":   `{"url":"ws://f","capacity":10}`,
	} {
		d.take(bus.KeyChange{Key: key, Value: []byte(value)}, now)
	}
	if e, ok := d.Best(); ok {
		t.Errorf("got %+v; want none", e)
	}
	for n := range maxEdges + 10 {
		d.tell(fmt.Sprint("e", n), 0, 10, false, now)
	}
	if got := len(d.List()); got != maxEdges {
		t.Errorf("got %d edges; want at most %d", got, maxEdges)
	}
}

func TestAnEdgeIsFilledOnceThoseWhoWereSentThereWouldFillIt(t *testing.T) {
	d := &Directory{ready: true}
	now := time.Now()
	d.tell("small", 8, 10, false, now)
	d.tell("large", 990, 1000, false, now)
	counts := map[string]int{}
	for range 12 {
		e, ok := d.Best()
		if !ok {
			t.Fatal("got none")
		}
		counts[e.Node]++
	}
	if counts["small"] != 2 || counts["large"] != 10 {
		t.Errorf("got %v; want 2 and 10, which is what they have room for", counts)
	}
	if _, ok := d.Best(); !ok { // those who were sent may have gone elsewhere
		t.Error("got none although no edge says that it is full")
	}
	d.tell("small", 10, 10, false, now)
	d.tell("large", 1000, 1000, false, now)
	if e, ok := d.Best(); ok {
		t.Errorf("got %+v; want none where all are full", e)
	}
}

func TestAShareIsByCapacityAndNobodySharesAlone(t *testing.T) {
	now := time.Now()
	for name, c := range map[string]struct {
		set  func(*Directory)
		load int64
		want float64
		ok   bool
	}{
		"alone":             {func(d *Directory) { d.tell("e1", 5, 100, false, now) }, 5, 5, false},
		"two alike":         {func(d *Directory) { d.tell("e1", 5, 100, false, now); d.tell("e2", 5, 100, false, now) }, 25, 15, true},
		"one three times":   {func(d *Directory) { d.tell("e1", 0, 300, false, now); d.tell("e2", 40, 100, false, now) }, 0, 30, true},
		"the other drains":  {func(d *Directory) { d.tell("e1", 0, 100, false, now); d.tell("e2", 40, 100, true, now) }, 8, 8, false},
		"itself drains":     {func(d *Directory) { d.tell("e1", 0, 100, true, now); d.tell("e2", 40, 100, false, now) }, 8, 0, false},
		"not announced yet": {func(d *Directory) { d.tell("e2", 40, 100, false, now) }, 8, 0, false},
	} {
		d := &Directory{ready: true}
		c.set(d)
		if got, ok := d.Share("e1", c.load); got != c.want || ok != c.ok {
			t.Errorf("%s: got %v, %v; want %v, %v", name, got, ok, c.want, c.ok)
		}
	}
}

func TestWhatStoodThereBeforeIsNamedOnlyWhereNothingElseLives(t *testing.T) {
	d := &Directory{}
	var begin, ready func()
	var take func(bus.KeyChange)
	d.follow(func(b, r func(), fn func(bus.KeyChange)) { begin, ready, take = b, r, fn })
	say := func(node string, load int64) {
		take(bus.KeyChange{Key: "edge." + node, Value: wire.Encode(bus.Node{Service: Service, Node: node, URL: "ws://" + node, Load: load, Capacity: 10})})
	}
	begin()
	say("dead", 0)
	say("own", 5)
	ready()
	if _, ok := d.Best(); !ok {
		t.Error("got none; want one of two that may live")
	}
	if d.Elsewhere("own") {
		t.Error("there is an edge to go to; want none that is only remembered")
	}
	say("own", 5)
	for range 4 {
		if e, _ := d.Best(); e.Node != "own" {
			t.Errorf("got %s; want the one that lives", e.Node)
		}
	}
	if share, ok := d.Share("own", 5); ok {
		t.Errorf("got a share of %v with one that is only remembered", share)
	}
	begin() // the watch begins anew: who lived still does
	say("dead", 0)
	ready()
	say("dead", 0)
	if !d.Elsewhere("own") || !d.Elsewhere("dead") {
		t.Error("got no edge to go to; want both to live")
	}
}

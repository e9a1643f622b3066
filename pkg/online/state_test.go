package online

import (
	"testing"
	"time"

	"github.com/chatmesh/chatmesh/pkg/meshtest"
)

func TestStateIsReadBackFromItsValue(t *testing.T) {
	t.Parallel()
	values := valuesOf("ABC")
	for _, s := range []State{{}, {Away: true}, {Invisible: true}, {Away: true, Invisible: true}} {
		value := values[s.wish()]
		if got := StateOf(value); got != s || LifeOf(value) != "ABC" {
			t.Errorf("%s: got %+v of life %q; want %+v of ABC", value, got, LifeOf(value), s)
		}
	}
	if got := StateOf([]byte("1")); got != (State{}) {
		t.Errorf("got %+v of a value that others wrote; want somebody visible at a device", got)
	}
}

func TestKeySaysHowThePersonIsAlsoAfterTheBrokerWasAway(t *testing.T) {
	t.Parallel()
	broker, b := mesh(t)
	v := watch(t, b)
	r := New(broker.Bus(t), "a", 2*time.Second, discard())
	start(t, r)
	is := func(key string, want State) func() bool {
		return func() (ok bool) {
			v.do(func() {
				value, there := v.keys[key]
				ok = v.isRead && there && StateOf([]byte(value)) == want && LifeOf([]byte(value)) == LifeOf(r.value)
			})
			return ok
		}
	}
	r.Be("ann", State{Invisible: true})
	r.Come("ben")
	meshtest.Eventually(t, meshtest.Patience, "ann is invisible", is("ann.a", State{Invisible: true}))
	r.Be("ann", State{Away: true, Invisible: true})
	r.Be("ann", State{Away: true, Invisible: true})
	meshtest.Eventually(t, meshtest.Patience, "ann is away as well", is("ann.a", State{Away: true, Invisible: true}))
	for range 100 { // only the last counts
		r.Be("ben", State{Away: true})
		r.Come("ben")
		r.Go("ben")
		r.Be("ben", State{Away: true})
	}
	meshtest.Eventually(t, meshtest.Patience, "ben is away", is("ben.a", State{Away: true}))
	broker.Stop()
	r.Come("ann")
	broker.Start()
	meshtest.Eventually(t, meshtest.Patience, "ann is back", is("ann.a", State{}))
	meshtest.Eventually(t, meshtest.Patience, "ben is away yet", is("ben.a", State{Away: true}))
}

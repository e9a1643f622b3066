package sim_test

import (
	"math"
	"testing"

	"github.com/chatmesh/chatmesh/pkg/capacity"
	"github.com/chatmesh/chatmesh/pkg/capacity/sim"
)

func play(t *testing.T, c sim.Config) sim.Result {
	t.Helper()
	r, err := sim.Run(c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func builtIn(t *testing.T) capacity.Costs {
	t.Helper()
	c, err := capacity.BuiltIn()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// small is the plan's cell with so many people.
func small(t *testing.T, users int) sim.Config {
	t.Helper()
	return sim.Default(users, builtIn(t))
}

// No factor of the plan is below what is seen, whatever the seed, and none is so far above that it says nothing.
func TestThePlanCountsOnWhatTheSimulationShows(t *testing.T) {
	const idle = 1.35 // how much more than what was seen is planned at most
	a := capacity.Default()
	l := capacity.Presets()["50m"]
	for seed := range uint64(2) {
		c := small(t, 75_000)
		c.Seed = seed
		r := play(t, c)
		for _, x := range []struct {
			what          string
			seen, planned float64
		}{
			{"peak of a region", r.RegionalPeak, capacity.RegionalPeak},
			{"peak of the world", r.WorldPeak, capacity.WorldPeak},
			{"fullest partition", r.Partitions, a.PartitionImbalance},
			{"busiest edge", r.Edges, a.EdgeImbalance},
			{"busiest broker", r.Brokers, a.BrokerImbalance},
			{"return of all, presence included", r.Storm.Present, l.StormSeconds},
		} {
			t.Logf("seed %d, %s: %.2f, planned %.2f", seed, x.what, x.seen, x.planned)
			if x.seen > x.planned || x.planned > idle*x.seen {
				t.Errorf("seed %d, %s: got %.2f; want at most the %.2f that is planned with, and at least %.2f", seed, x.what, x.seen, x.planned, x.planned/idle)
			}
		}
		// Edges are never full while others have room.
		if r.Connections > a.EdgeImbalance {
			t.Errorf("seed %d: the fullest edge has %.2f of the mean", seed, r.Connections)
		}
		// So busy as is planned, a worker keeps nobody waiting who would notice.
		if r.Wait99 > 0.02 || r.WaitMost > 0.1 {
			t.Errorf("seed %d: an event waits %.3f s (p99), %.3f s at most; want 20 and 100 ms", seed, r.Wait99, r.WaitMost)
		}
	}
}

// The cell that is played is the cell that is planned.
func TestTheCellThatIsPlayedIsThatOfThePlan(t *testing.T) {
	c, a, l := small(t, 100_000), capacity.Default(), capacity.Presets()["50m"]
	p, err := capacity.New(l, builtIn(t), a)
	if err != nil {
		t.Fatal(err)
	}
	near := func(what string, got, want, part float64) {
		if math.Abs(got-want) > part*want {
			t.Errorf("%s: got %v; want that of the plan, %v, give or take %.0f %%", what, got, want, 100*part)
		}
	}
	near("people", float64(c.Users)*c.Scale, p.CellUsers, 0.25)
	near("partitions", float64(c.Partitions), p.Partitions, 0)
	for _, x := range p.Tiers {
		switch x.Name {
		case "edge":
			near("edges", float64(c.Edges), x.Machines/p.Cells, 0.25)
		case "broker":
			near("brokers", float64(c.Brokers), x.Machines/p.Cells, 0.25)
		}
	}
	near("online", c.Online, l.OnlineShare, 0)
	near("devices", c.Devices, l.DevicesPerUser, 0)
	near("chats", c.Chats, l.ChatsPerUser, 0)
	near("groups", c.GroupShare, l.GroupShare, 0)
	near("copies", float64(c.Copies), l.LogCopies, 0)
	near("utilization", c.Utilization, a.Utilization, 0)
}

// The same cell with a fourth of the people on a fourth of the power.
func TestScalingDownDoesNotChangeTheRatios(t *testing.T) {
	const part = 0.15
	few, many := play(t, small(t, 40_000)), play(t, small(t, 160_000))
	for _, x := range []struct {
		what      string
		few, many float64
	}{
		{"fullest partition", few.Partitions, many.Partitions},
		{"fullest edge", few.Connections, many.Connections},
		{"busiest edge", few.Edges, many.Edges},
		{"busiest broker", few.Brokers, many.Brokers},
		{"deliveries of a message", few.Deliveries, many.Deliveries},
		{"ideal return", few.Storm.Ideal, many.Storm.Ideal},
		{"99 % back", few.Storm.Most, many.Storm.Most},
		{"all present", few.Storm.Present, many.Storm.Present},
		{"rush", few.Storm.Rush, many.Storm.Rush},
	} {
		t.Logf("%s: %.3f with 40,000 people, %.3f with 160,000", x.what, x.few, x.many)
		if math.Abs(x.few-x.many) > part*x.many {
			t.Errorf("%s: got %.3f with 40,000 people, %.3f with 160,000; want the same, give or take %.0f %%", x.what, x.few, x.many, 100*part)
		}
	}
}

func TestTheSameSeedGivesTheSameResult(t *testing.T) {
	c := small(t, 20_000)
	a, b := play(t, c), play(t, c)
	if a != b {
		t.Errorf("got %+v, then %+v", a, b)
	}
	c.Seed++
	if other := play(t, c); other == a {
		t.Error("another seed gives the same result")
	}
}

// Edges that welcome too few at once are besieged: clients try again after growing waits, and all are back in the end.
func TestAReturnThatEdgesCannotWelcomeAtOnceTakesLongerAndEnds(t *testing.T) {
	c := small(t, 20_000)
	c.Storm.Admit = 9_400
	calm := play(t, c).Storm
	c.Storm.Admit = 940
	busy := play(t, c).Storm
	if busy.Ideal < 9.9*calm.Ideal || busy.Most < 0.95*busy.Ideal || busy.Tries <= calm.Tries || busy.All < busy.Most {
		t.Errorf("got %+v; want a longer return than %+v, with more attempts, of all", busy, calm)
	}
	if busy.All > 3*busy.Ideal {
		t.Errorf("all are back after %.0f s; want at most three times the %.0f s that edges need at full speed", busy.All, busy.Ideal)
	}
	if busy.Waiting > c.Storm.Patience+1 {
		t.Errorf("the queue before an edge was %.0f s long; want its bound of %.0f s", busy.Waiting, c.Storm.Patience)
	}
}

func TestHotGroupsMakeThePartitionsUneven(t *testing.T) {
	c := small(t, 30_000)
	c.HotShare = 0
	even := play(t, c)
	c.HotShare = 0.2
	if hot := play(t, c); hot.Partitions <= even.Partitions || hot.Hottest <= even.Hottest {
		t.Errorf("got %.2f and %.4f with hot groups; want more than %.2f and %.4f", hot.Partitions, hot.Hottest, even.Partitions, even.Hottest)
	}
}

func TestWhatCannotBePlayedIsRefused(t *testing.T) {
	for name, change := range map[string]func(*sim.Config){
		"nobody":            func(c *sim.Config) { c.Users = 0 },
		"nobody online":     func(c *sim.Config) { c.Online = 0 },
		"no edges":          func(c *sim.Config) { c.Edges = 0 },
		"more copies":       func(c *sim.Config) { c.Copies = c.Brokers + 1 },
		"workers that fail": func(c *sim.Config) { c.Utilization = 1 },
	} {
		c := small(t, 10_000)
		change(&c)
		if _, err := sim.Run(c); err == nil {
			t.Errorf("%s: got a result; want a refusal", name)
		}
	}
}

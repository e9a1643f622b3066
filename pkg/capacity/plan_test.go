package capacity_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/chatmesh/chatmesh/pkg/capacity"
)

var update = flag.Bool("update", false, "write the golden files and the built-in costs anew")

func costs(t rapid.TB) capacity.Costs {
	t.Helper()
	c, err := capacity.BuiltIn()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func plan(t rapid.TB, l capacity.Load) capacity.Plan {
	t.Helper()
	p, err := capacity.New(l, costs(t), capacity.Default())
	if err != nil {
		t.Fatalf("plan: %v", err)
	}
	return p
}

// aLoad draws what people may do, of some of which there may be nothing.
func aLoad(t *rapid.T) capacity.Load {
	l := capacity.Presets()[rapid.SampledFrom([]string{"50m", "1b"}).Draw(t, "preset")]
	l.DailyUsers = math.Pow(10, rapid.Float64Range(0, 9.5).Draw(t, "users"))
	l.MessagesPerUser = rapid.Float64Range(0, 500).Draw(t, "messages")
	l.MessageBytes = capacity.Bytes(rapid.Float64Range(1, 2000).Draw(t, "bytes"))
	l.GroupShare = rapid.Float64Range(0, 1).Draw(t, "groups")
	l.GroupMembers = rapid.Float64Range(2, 100).Draw(t, "members")
	l.OnlineShare = rapid.Float64Range(0, 1).Draw(t, "online")
	l.SessionsPerUser = rapid.Float64Range(0, 50).Draw(t, "sessions")
	l.LogDays = rapid.Float64Range(1, 90).Draw(t, "log days")
	return l
}

func TestMorePeopleNeverNeedFewerMachines(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		few := aLoad(t)
		many := few
		many.DailyUsers *= rapid.Float64Range(1, 5).Draw(t, "more")
		a, b := plan(t, few), plan(t, many)
		if b.Cells < a.Cells {
			t.Fatalf("got %v cells for more people; want at least %v", b.Cells, a.Cells)
		}
		for i := range a.Tiers {
			if x, y := a.Tiers[i], b.Tiers[i]; y.Machines < x.Machines {
				t.Fatalf("%s: got %v machines for %v people; want at least the %v for %v", x.Name, y.Machines, many.DailyUsers, x.Machines, few.DailyUsers)
			}
		}
	})
}

func TestNoMachineIsUsedMoreThanIsPlanned(t *testing.T) {
	a := capacity.Default()
	kinds := map[string]capacity.Machine{"gateway": a.Gateway, "edge": a.Edge, "broker": a.Broker, "store": a.Store}
	rapid.Check(t, func(t *rapid.T) {
		p := plan(t, aLoad(t))
		for _, x := range p.Tiers {
			m, ok := kinds[x.Name]
			if !ok {
				m = a.Worker
			}
			if x.Name == "presence" {
				continue // each has all: what ends it ends the cell
			}
			for what, part := range map[string]float64{
				"cores":  float64(x.Cores) / float64(m.Cores) / a.Utilization,
				"memory": float64(x.Memory) / float64(m.Memory) / a.Utilization,
				"disk":   float64(x.Disk) / float64(m.Disk) / a.DiskUse,
				"in":     float64(x.In) / float64(m.Network) / a.Utilization,
				"out":    float64(x.Out) / float64(m.Network) / a.Utilization,
			} {
				if part /= x.Machines; part > 1.000001 {
					t.Fatalf("%s: got %s used to %.2f of what is planned, with %v machines because of %s", x.Name, what, part, x.Machines, x.Bound)
				}
			}
		}
	})
}

// Bytes on a network are sold as bits; a day has 86,400 seconds; µs times a rate are cores.
func TestUnitsAreWhatTheySay(t *testing.T) {
	if got := capacity.Bytes(1e9).At(1).Bits(); got != 8*capacity.Gbit {
		t.Errorf("1 GB once a second: got %v; want 8 Gbit/s", got)
	}
	if got := capacity.Micros(20).At(100_000); got != 2 {
		t.Errorf("20 µs 100,000 times a second: got %v cores; want 2", got)
	}
	l := capacity.Presets()["1b"]
	r := l.Rates()
	if r.TextPerDay != 10*capacity.TB || r.TextPerYear != 3.65*capacity.PB {
		t.Errorf("a billion people with 100 messages of 100 bytes: got %v on a day, %v in a year; want 10 TB and 3.65 PB", r.TextPerDay, r.TextPerYear)
	}
	if got, want := float64(r.Messages), 1e11/86400*l.PeakFactor; math.Abs(got-want) > 1 {
		t.Errorf("messages at the busiest moment: got %v; want %v", got, want)
	}
	// A copy more is a copy's disk more.
	one, three := l, l
	one.StoreCopies, three.StoreCopies = 1, 3
	if a, b := plan(t, one).Store.Disk, plan(t, three).Store.Disk; math.Abs(float64(b/a)-3) > 1e-9 {
		t.Errorf("three copies: got %v; want three times %v", b, a)
	}
	for want, got := range map[string]fmt.Stringer{
		"999 B": capacity.Bytes(999), "1 kB": capacity.Bytes(1000), "1 MB": capacity.Bytes(999_999), "1.23 TB": capacity.Bytes(1.234e12), "4 PB": 4 * capacity.PB,
		"1.5 Gbit/s": 1.5 * capacity.Gbit, "12 kB/s": capacity.BytesPerSecond(12_000), "2.3 million/s": capacity.PerSecond(2.3e6),
		"1,024/s": capacity.PerSecond(1024), "0.5": capacity.Cores(0.5), "0": capacity.Cores(0), "0.0032": capacity.Cores(0.0032), "5.9 µs": capacity.Micros(5.9),
	} {
		if got.String() != want {
			t.Errorf("got %q; want %q", got, want)
		}
	}
}

// What a plan is made of is more than nothing, and no limit that a full cell reaches lies below the people it is planned for.
func TestACellEndsWhereItsFirstLimitIs(t *testing.T) {
	for name, l := range capacity.Presets() {
		p := plan(t, l)
		first := p.Limits[slices.IndexFunc(p.Limits, func(x capacity.Limit) bool { return x.Hard })]
		if p.CellUsers != first.Users || p.CellBound != first.Name {
			t.Errorf("%s: got a cell of %v people, ended by %q; want %v, by %q", name, p.CellUsers, p.CellBound, first.Users, first.Name)
		}
		if got := p.Cells * p.CellUsers; got < l.DailyUsers || (p.Cells-1)*p.CellUsers >= l.DailyUsers {
			t.Errorf("%s: got %v cells of %v people; want just enough for %v", name, p.Cells, p.CellUsers, l.DailyUsers)
		}
		if !slices.IsSortedFunc(p.Limits, func(a, b capacity.Limit) int { return int(math.Copysign(1, a.Users-b.Users)) }) {
			t.Errorf("%s: the limits are not in the order in which they are reached", name)
		}
		for _, x := range p.Limits {
			if x.Has == "" || x.Source == "" || x.Then == "" || x.Users <= 0 {
				t.Errorf("%s: %q: got %+v; want what there is, from where, and what then", name, x.Name, x)
			}
		}
	}
}

// A limit is told for the load that is asked about, so twice the users' doing reaches it with half the users.
func TestLimitsMoveWithWhatPeopleDo(t *testing.T) {
	l := capacity.Presets()["50m"]
	busy := l
	busy.SessionsPerUser *= 2 // who comes and goes writes a key
	busy.OnlineShare *= 2     // and who stays
	find := func(l capacity.Load) float64 {
		for _, x := range plan(t, l).Limits {
			if x.Name == "keys of presence, one bucket" {
				return x.Users
			}
		}
		t.Fatal("the limit is missing")
		return 0
	}
	if got, want := find(busy), find(l)/2; math.Abs(got-want) > 2 {
		t.Errorf("got %v; want %v", got, want)
	}
}

func TestWhatCannotBePlannedForIsRefused(t *testing.T) {
	for name, change := range map[string]func(*capacity.Load){
		"no people":        func(l *capacity.Load) { l.DailyUsers = 0 },
		"not a number":     func(l *capacity.Load) { l.MessagesPerUser = math.NaN() },
		"share above one":  func(l *capacity.Load) { l.GroupShare = 1.5 },
		"too many members": func(l *capacity.Load) { l.GroupMembers = 101 },
		"peak below mean":  func(l *capacity.Load) { l.PeakFactor = 0.5 },
		"no copies":        func(l *capacity.Load) { l.LogCopies = 0 },
	} {
		l := capacity.Presets()["50m"]
		change(&l)
		if _, err := capacity.New(l, costs(t), capacity.Default()); err == nil {
			t.Errorf("%s: got a plan; want a refusal", name)
		}
	}
}

func TestEachCostSaysWhereItIsFromAndHowFarItIsCarried(t *testing.T) {
	p := plan(t, capacity.Presets()["1b"])
	if len(p.Reach) < 30 {
		t.Fatalf("got %d costs; want all", len(p.Reach))
	}
	for _, x := range p.Reach {
		if x.Source == "" || x.Kind == "" || x.Unit == "" || x.Value <= 0 {
			t.Errorf("got %+v; want a value, a unit, a kind and a source", x)
		}
		if x.At > 0 && (x.Planned <= 0 || x.Factor != x.Planned/x.At) {
			t.Errorf("%s: seen at %v %s; got planned at %v, factor %v", x.Cost, x.At, x.AtUnit, x.Planned, x.Factor)
		}
	}
}

// The parts of a message are scaled up where a bench shows that the whole is more than their sum.
func TestAPlanIsNotBelowWhatAWholeMessageCosts(t *testing.T) {
	c := costs(t)
	cores := func(c capacity.Costs) float64 {
		l := capacity.Presets()["50m"]
		l.MessagesPerUser = 100
		p, err := capacity.New(l, c, capacity.Default())
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range p.Tiers {
			if x.Name == "fanout" {
				return float64(x.Cores)
			}
		}
		return 0
	}
	dear, _ := c.With([]capacity.Figure{{Name: "cpu_us_per_delivery_w16", System: "chatmesh-r3", Value: 1000}})
	cheap, _ := c.With([]capacity.Figure{{Name: "cpu_us_per_delivery_w16", System: "chatmesh-r3", Value: 1}})
	if a, b := cores(dear), cores(cheap); a < 2*b {
		t.Errorf("got %.1f cores of fan-out where a message costs a millisecond, %.1f where it costs little; want much more", a, b)
	}
}

func TestFiguresOfABenchTakeThePlaceOfTheBuiltInCosts(t *testing.T) {
	figures, err := capacity.ParseResults([]byte(`{"figures":[{"name":"idle_kb_per_user","system":"chatmesh","value":3,"unit":"KB","durable":"disk","low":2.9,"high":3.1,"rounds":3},
		{"name":"idle_kb_per_user","system":"centrifuge","value":29,"unit":"KB"},{"name":"connect_storm_s","system":"chatmesh","value":9,"unit":"s"}],"series":[]}`))
	if err != nil {
		t.Fatal(err)
	}
	c, n := costs(t).With(figures)
	if n != 2 || c.EdgeMemory.Value != 3*1024 || c.EdgeMemory.Kind != capacity.Measured || c.EdgeConnect.Value != 1000 || c.EdgeConnect.At != 2000 {
		t.Errorf("got %d exchanged, %+v, %+v; want 2, 3 KiB, 1,000 µs seen at 2,000 a second", n, c.EdgeMemory, c.EdgeConnect)
	}
	if c.KernelMemory != costs(t).KernelMemory {
		t.Error("a cost that the figures do not have has changed")
	}
	for _, bad := range []string{"", "{}", `{"figures":[]}`, "[]"} {
		if _, err := capacity.ParseResults([]byte(bad)); err == nil {
			t.Errorf("%q: got figures; want a refusal", bad)
		}
	}
}

// tolerance is how far a built-in cost may be from the last bench, up or down: runs differ, and so does a plan little by it.
const tolerance = 0.3

// Once there are results of a bench, what is built in is what they say. -update takes it over.
func TestTheBuiltInCostsAreThoseOfTheLastBench(t *testing.T) {
	const results = "../../bench/results/latest.json"
	b, err := os.ReadFile(results)
	if os.IsNotExist(err) {
		t.Logf("%s is not there yet", results)
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	figures, err := capacity.ParseResults(b)
	if err != nil {
		t.Fatal(err)
	}
	have := costs(t)
	bench, _ := have.With(figures)
	if *update {
		if err := os.WriteFile("costs.json", capacity.Format(bench), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want := capacity.Values(bench)
	for name, got := range capacity.Values(have) {
		if w := want[name]; got.Value < w.Value*(1-tolerance) || got.Value > w.Value*(1+tolerance) {
			t.Errorf("%s: got %v; want %v (%s), give or take %.0f %%; make capacity takes it over", name, got.Value, w.Value, w.Source, 100*tolerance)
		}
	}
}

func TestTheCostsStandInTheirFileAsTheyAreWritten(t *testing.T) {
	b, err := os.ReadFile("costs.json")
	if err != nil {
		t.Fatal(err)
	}
	var c capacity.Costs
	if err := json.Unmarshal(b, &c); err != nil {
		t.Fatal(err)
	}
	got := capacity.Format(c)
	if *update {
		b = got
		if err := os.WriteFile("costs.json", got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(got, b) {
		t.Error("costs.json is not in its form: -update writes it")
	}
}

// paths lists where values stand in a JSON document; of a list those of the first element.
func paths(prefix string, v any, out *[]string) {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			paths(prefix+"."+k, x, out)
		}
	case []any:
		if len(v) > 0 {
			paths(prefix+"[]", v[0], out)
		}
	default:
		*out = append(*out, fmt.Sprintf("%s %T", strings.TrimPrefix(prefix, "."), v))
	}
}

// Programs read the plan: its fields keep their names and types.
func TestThePlanAsJSONKeepsItsFields(t *testing.T) {
	p := plan(t, capacity.Presets()["1b"])
	b, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := json.Marshal(plan(t, capacity.Presets()["1b"])); !bytes.Equal(b, again) {
		t.Error("the same load gives another plan")
	}
	var doc any
	if err := json.Unmarshal(b, &doc); err != nil {
		t.Fatal(err)
	}
	var got []string
	paths("", doc, &got)
	slices.Sort(got)
	text := strings.Join(got, "\n") + "\n"
	const golden = "testdata/plan-fields.txt"
	if *update {
		if err := os.WriteFile(golden, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if text != string(want) {
		t.Errorf("got the fields\n%s; want those of %s", text, golden)
	}
}

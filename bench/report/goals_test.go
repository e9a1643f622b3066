package report

import (
	"slices"
	"strings"
	"testing"
)

// run makes results of figures "name system" to value.
func run(figures map[string]float64, series ...Series) Results {
	r := Results{Series: series}
	for k, v := range figures {
		name, system, _ := strings.Cut(k, " ")
		r.Figures = append(r.Figures, Figure{Name: name, System: system, Value: v})
	}
	return r
}

func verdict(t *testing.T, r Results, what, text string) Verdict {
	t.Helper()
	all := Judge(r)
	i := slices.IndexFunc(all, func(v Verdict) bool { return strings.Contains(v.What, what) && strings.Contains(v.Text, text) })
	if i < 0 {
		t.Fatalf("there is no goal %s, %s", what, text)
	}
	return all[i]
}

func TestAGoalIsJudgedByTheFiguresOfTheSameRun(t *testing.T) {
	chats := func(ys ...float64) Series {
		s := Series{Name: "cost", System: "chatmesh", X: "chats", Unit: "µs"}
		for i, y := range ys {
			s.Points = append(s.Points, Point{float64(i + 1), y})
		}
		return s
	}
	for _, c := range []struct {
		what, text string
		r          Results
		value      float64
		reached    bool
	}{
		{"acked and synced", "JetStream", run(map[string]float64{"pairs_max_w16_per_s chatmesh": 31_000, "pairs_max_w16_per_s jetstream-single": 6_000}), 31.0 / 6, true},
		{"acked and synced", "JetStream", run(map[string]float64{"pairs_max_w16_per_s chatmesh": 31_000, "pairs_max_w16_per_s jetstream-single": 6_000,
			"pairs_max_w1_per_s jetstream-single": 7_000}), 31.0 / 7, false}, // against what the other does best
		{"16 in flight over 1", "rising", run(map[string]float64{"pairs_max_w16_per_s chatmesh": 1000, "pairs_max_w1_per_s chatmesh": 1000}), 1, false},
		{"synced, over the bare hub's", "0.4", run(map[string]float64{"rate2000_p99_ms chatmesh": 3, "rate2000_p99_ms hub-plain": 0.4}), 7.5, true},
		{"of ejabberd over", "20", run(map[string]float64{"rate2000_p99_ms chatmesh": 3, "rate2000_p99_ms ejabberd-pg": 59}), 59.0 / 3, false},
		{"not synced", "lean hub", run(map[string]float64{"pairs_max_w16_per_s chatmesh-unsynced": 100, "pairs_max_w16_per_s hub-lean": 190}), 100.0 / 190, true},
		{"idle user", "4 KB", run(map[string]float64{"idle_kb_per_user chatmesh": 3.5}), 3.5, true},
		{"idle user", "3 KB", run(map[string]float64{"idle_kb_per_user chatmesh": 3.5}), 3.5, false},
		{"embedded store", "< 1 ms", run(map[string]float64{"history_page_store_p99_ms chatmesh": 1}), 1, false},
		{"1,000 to 1,000,000 chats", "flat", run(nil, chats(10, 12, 14.9)), 1.49, true},
		{"1,000 to 1,000,000 chats", "flat", run(nil, chats(10, 16, 12)), 1.6, false},
	} {
		v := verdict(t, c.r, c.what, c.text)
		if !v.Measured || v.Reached != c.reached || v.Value < c.value*0.999 || v.Value > c.value*1.001 {
			t.Errorf("%s %s: got %v, reached %v; want %v, %v", c.what, c.text, v.Value, v.Reached, c.value, c.reached)
		}
	}
}

func TestWhatWasNotMeasuredIsNotReached(t *testing.T) {
	for _, r := range []Results{{}, run(map[string]float64{"rate2000_p99_ms chatmesh": 3}), run(map[string]float64{"rate2000_p99_ms chatmesh": 0, "rate2000_p99_ms hub-plain": 0})} {
		for _, v := range Judge(r) {
			if v.Measured || v.Reached {
				t.Errorf("%s %s: got %v; want that it was not measured", v.What, v.Text, v.Value)
			}
		}
	}
	if got := Summary(Results{}); !strings.HasPrefix(got, "0 of ") || strings.Contains(got, "missed") {
		t.Errorf("got %q; want no goal measured", got)
	}
}

func TestEveryGoalIsOfFiguresInTheCatalogAndHasTheOthersNextToIt(t *testing.T) {
	for _, v := range Judge(example()) {
		if v.Peers == "" {
			continue // of a series
		}
		if !v.Measured || len(v.Run) != len(systems) || v.Run[0].System != "chatmesh" {
			t.Errorf("%s %s: measured %v, with %d systems; want all", v.What, v.Text, v.Measured, len(v.Run))
		}
	}
}

func TestAGoalOfGrowthSaysHowFarItWasMeasured(t *testing.T) {
	grown := func(far float64) Results {
		return run(nil, Series{Name: "cost", System: "chatmesh", X: "chats, all alike", Unit: "µs", Points: []Point{{1000, 10}, {far, 11}}},
			Series{Name: "memory", System: "chatmesh", X: "chats", Unit: "B", Points: []Point{{1000, 10}, {2000, 100}}})
	}
	for far, want := range map[float64]float64{100_000: 100_000, 1_000_000: 0} {
		if v := verdict(t, grown(far), "1,000 to 1,000,000 chats", "flat"); !v.Reached || v.UpTo != want {
			t.Errorf("up to %v: got %+v; want it reached, and up to %v", far, v, want)
		}
	}
	if got := Markdown(grown(100_000), "x"); !strings.Contains(got, "| **yes**, measured up to 100,000 |") {
		t.Errorf("got %s; want how far", got)
	}
}

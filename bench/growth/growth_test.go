package growth

import (
	"slices"
	"testing"
)

func TestASmallGrowthIsMeasuredAndLosesNothing(t *testing.T) {
	g := Chats{Chats: []int{300, 1500}, Messages: 400, InFlight: 32, Dir: t.TempDir(), Say: func(s string) { t.Log(s) }}
	points, err := g.Run(t.Context()) // fails where a message does not come to both members of its chat
	if err != nil {
		t.Fatal(err)
	}
	if len(points) != 8 {
		t.Fatalf("got %d points; want two for each number of chats, synced and not", len(points))
	}
	for _, p := range points {
		if p.CPU <= 0 || p.Allocs <= 0 || p.PerSecond <= 0 || p.Disk <= 0 || p.System == chatmesh && p.Choice == "uniform" && (p.Restart <= 0 || p.DiskPerChat <= 0) {
			t.Errorf("got %+v; want all of it measured", p)
		}
	}
	figures, series := Figures(points)
	if len(figures) == 0 || figures[0].Name != "growth_chats_ratio" || figures[0].Value < 1 {
		t.Errorf("got %+v; want the most over the least cost first", figures)
	}
	for _, s := range series {
		if len(s.Points) != 2 || s.Points[0].X != 300 || s.Points[1].X != 1500 {
			t.Errorf("got %+v; want a point for each number of chats", s)
		}
	}
}

func TestEveryoneIsInTwentyChatsAndNobodyTalksToThemselves(t *testing.T) {
	in := map[string][]int{}
	for n := range 3000 {
		m := membersOf(n)
		if m[0] == m[1] {
			t.Fatalf("chat %d has one member", n)
		}
		for _, u := range m {
			in[string(u)] = append(in[string(u)], n)
		}
	}
	if len(in) != 300 {
		t.Errorf("got %d people; want 300", len(in))
	}
	for u, chats := range in {
		if len(slices.Compact(slices.Sorted(slices.Values(chats)))) != 20 {
			t.Fatalf("%s is in %d chats; want 20", u, len(chats))
		}
	}
}

package local

import (
	"os"
	"slices"
	"testing"
)

// want are the figures of each scenario, as "name system".
var want = map[string][]string{
	"history":   {"history_page_p99_ms chatmesh", "history_page_small_p99_ms chatmesh", "history_page_store_p99_ms chatmesh", "history_page10_large_p50_ms chatmesh"},
	"persister": {"persister_per_s chatmesh", "persister_per_s pebble-bare", "persister_catchup_per_s chatmesh", "persister_live_per_s chatmesh"},
	"presence":  {"presence_core_percent chatmesh", "presence_change_p99_ms chatmesh"},
	"cql": {"persister_per_s chatmesh-cql", "persister_per_s gocql-bare", "history_page_store_p50_ms chatmesh-cql", "history_page_store_p50_ms gocql-bare",
		"history_page10_small_p50_ms chatmesh-cql"},
}

func TestALocalScenarioMeasuresWhatTheGoalsAreAbout(t *testing.T) {
	for _, l := range All() {
		t.Run(l.Name, func(t *testing.T) {
			figures, err := l.Run(t.Context(), Options{Dir: t.TempDir(), Quick: true, CQL: os.Getenv("CHATMESH_TEST_CQL"), Say: func(s string) { t.Log(s) }})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, f := range figures {
				got = append(got, f.Name+" "+f.System)
				if f.Value <= 0 || f.Low > f.Value || f.High < f.Value || f.Unit == "" || f.Durable == "" || f.Rounds < 1 {
					t.Errorf("got %+v; want a figure", f)
				}
			}
			for _, w := range want[l.Name] {
				if !slices.Contains(got, w) {
					t.Errorf("got %v; want %s as well", got, w)
				}
			}
			t.Logf("%+v", figures)
		})
	}
}

package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chatmesh/chatmesh/bench/report"
	"github.com/chatmesh/chatmesh/bench/scenario"
	"github.com/chatmesh/chatmesh/bench/swarm"
)

func TestMain(m *testing.M) {
	swarm.Main() // the test is the program of a swarm, too
	os.Exit(m.Run())
}

func TestASmallRunMeasuresEveryFigureOfTheSystemsThatAreBuiltHere(t *testing.T) {
	dir := t.TempDir()
	systems := []string{"chatmesh", "hub-lean", "hub-plain", "jetstream-single"}
	if err := command(t.Context(), []string{"--quick", "--systems", strings.Join(systems, ","), "--out", dir}); err != nil {
		t.Fatal(err)
	}
	results, err := report.Read(filepath.Join(dir, "latest.json"))
	if err != nil {
		t.Fatal(err)
	}
	if !results.Quick || results.Machine.Cores == 0 {
		t.Errorf("got quick %v on %+v; want a small run on this machine", results.Quick, results.Machine)
	}
	for _, s := range scenario.All() {
		for _, system := range systems {
			if s.Only != nil && !s.Only(system) {
				continue
			}
			for _, name := range s.Figures {
				i := slices.IndexFunc(results.Figures, func(f report.Figure) bool { return f.Name == name && f.System == system })
				if i < 0 {
					t.Errorf("%s of %s was not measured", name, system)
					continue
				}
				// What memory a few connections take drowns in what else goes on; that it was looked at is enough.
				if f := results.Figures[i]; f.Value <= 0 && !strings.HasPrefix(name, "idle_") {
					t.Errorf("%s of %s is %v; want more than nothing", name, system, f.Value)
				}
			}
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "table.md")); err != nil {
		t.Error(err)
	}
}

func TestOnlySystemsAndScenariosThatThereAreCanBeChosen(t *testing.T) {
	for _, args := range [][]string{{"--systems", "nonsense"}, {"--scenarios", "pairs,nonsense"}, {"--parts", "nonsense"}, {"--growth", "nonsense"}} {
		if err := command(t.Context(), append(args, "--out", t.TempDir())); err == nil || !strings.Contains(err.Error(), "nonsense") {
			t.Errorf("%v: got %v; want an error that names it", args, err)
		}
	}
}

func TestAPartIsMeasuredByItselfAndItsReportMadeAgain(t *testing.T) {
	dir := t.TempDir()
	if err := command(t.Context(), []string{"--quick", "--scenarios", "rate", "--systems", "hub-lean", "--parts", "history", "--out", dir}); err != nil {
		t.Fatal(err)
	}
	table, err := os.ReadFile(filepath.Join(dir, "table.md"))
	if err != nil || !strings.Contains(string(table), "### History") || !strings.Contains(string(table), "| hub-lean |") {
		t.Errorf("got %s, %v; want what was measured", table, err)
	}
	if err := os.Remove(filepath.Join(dir, "table.md")); err != nil {
		t.Fatal(err)
	}
	if err := command(t.Context(), []string{"--rounds", "0", "--out", dir}); err != nil {
		t.Fatal(err)
	}
	if again, err := os.ReadFile(filepath.Join(dir, "table.md")); err != nil || string(again) != string(table) {
		t.Errorf("got %s, %v; want the same again", again, err)
	}
}

package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write what the command prints into docs/capacity.md anew")

func capacityOf(t *testing.T, args ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	if err := chatmesh(t.Context(), append([]string{"capacity"}, args...), &out, &errs); err != nil {
		t.Fatalf("capacity %q: %v", args, err)
	}
	return out.String()
}

// The document has tables that the command prints, each behind a comment with the command.
func TestTheTablesOfTheCapacityDocumentAreWhatTheCommandPrints(t *testing.T) {
	const doc = "../../docs/capacity.md"
	text, err := os.ReadFile(doc)
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile(`(?s)<!-- chatmesh capacity(.*?) -->\n.*?<!-- end -->`)
	found := 0
	got := blocks.ReplaceAllStringFunc(string(text), func(block string) string {
		found++
		m := blocks.FindStringSubmatch(block)
		return "<!-- chatmesh capacity" + m[1] + " -->\n\n" + capacityOf(t, strings.Fields(m[1])...) + "\n<!-- end -->"
	})
	if found < 5 {
		t.Fatalf("got %d tables; want the two plans, their limits, the costs and the simulation", found)
	}
	if got == string(text) {
		return
	}
	if *update {
		if err := os.WriteFile(doc, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	for i, line := range strings.Split(got, "\n") {
		if have := strings.Split(string(text), "\n"); i >= len(have) || have[i] != line {
			t.Fatalf("docs/capacity.md differs from what the command prints; the first line that does is %d: want %q. make capacity writes it", i+1, line)
		}
	}
}

func TestCapacityTakesALoadByFlags(t *testing.T) {
	type plan struct {
		Load struct {
			DailyUsers, MessagesPerUser, MessageBytes float64
		}
		Rates struct {
			TextPerDay float64 `json:"text_per_day_bytes"`
		}
		Cells float64
		Tiers []struct {
			Name     string
			Machines float64
		}
	}
	var p plan
	out := capacityOf(t, "--preset", "1b", "--daily-users", "2e9", "--messages-per-user", "50", "--message-bytes", "200", "--json")
	if err := json.Unmarshal([]byte(out), &p); err != nil {
		t.Fatal(err)
	}
	if p.Rates.TextPerDay != 20e12 || p.Cells < 2 || len(p.Tiers) == 0 {
		t.Errorf("got %+v; want 20 TB of text on a day and several cells", p)
	}
	table := capacityOf(t, "--daily-users", "2e9", "--show", "plan")
	if !strings.Contains(table, "| 2 billion |") || strings.Contains(table, "What ends one cell") {
		t.Errorf("got %s; want the plan of 2 billion people and nothing else", table)
	}
}

func TestCapacityTakesTheFiguresOfABench(t *testing.T) {
	file := filepath.Join(t.TempDir(), "latest.json")
	if err := os.WriteFile(file, []byte(`{"figures":[{"name":"idle_kb_per_user","system":"chatmesh","value":1.5,"unit":"KB"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := capacityOf(t, "--costs", file, "--show", "costs"); !strings.Contains(got, "| edge memory       | 1,536 bytes a connection") ||
		!strings.Contains(got, "bench: idle_kb_per_user of chatmesh") {
		t.Errorf("got %s; want the memory of an edge's connection as measured", got)
	}
}

func TestCapacityRefusesWhatItCannotPlanFor(t *testing.T) {
	strange := filepath.Join(t.TempDir(), "strange.json")
	if err := os.WriteFile(strange, []byte(`{"figures":[{"name":"something","system":"else","value":1}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"--group-share", "2"}, {"--daily-users", "0"}, {"--preset", "3x"}, {"--costs", strange}, {"--costs", strange + "-not-there"},
		{"--simulate", "--players", "10"}} {
		var out, errs bytes.Buffer
		if err := chatmesh(t.Context(), append([]string{"capacity"}, args...), &out, &errs); err == nil {
			t.Errorf("%q: got %s; want a refusal", args, out.String())
		}
	}
}

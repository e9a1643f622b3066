package report

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// example has every figure of the catalog for every system, in no order, with values that follow from their places.
func example() Results {
	r := Results{Machine: Machine{Cores: 2, CPU: "Some CPU @ 2 GHz", Kernel: "linux 6.1", Go: "1.26.0", Date: "2026-11-26"}}
	for i, name := range names() {
		for j, system := range systems {
			v := float64((i+1)*(j+1)) * 1.234
			r.Figures = append(r.Figures, Figure{Name: name, System: system, Value: v, Unit: "ms", Durable: "disk, three times", Low: v / 2, High: v * 2, Rounds: 3})
		}
	}
	slices.Reverse(r.Figures)
	r.Figures = append(r.Figures, Figure{Name: "something_new", System: "chatmesh", Value: 7, Unit: "ms"})
	r.Series = []Series{
		{Name: "message_cpu_us", System: "chatmesh", X: "chats", Unit: "µs", Points: []Point{{1000, 20}, {10000, 22}, {1000000, 28}}},
		{Name: "message_cpu_us", System: "hub-lean", X: "chats", Unit: "µs", Points: []Point{{1000, 3}}},
	}
	return r
}

func TestTheSameFiguresMakeTheSameFileInWhateverOrderTheyCame(t *testing.T) {
	a := example()
	b := example()
	slices.Reverse(b.Figures)
	slices.Reverse(b.Series)
	one, err := JSON(a)
	if err != nil {
		t.Fatal(err)
	}
	other, err := JSON(b)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(one, other) {
		t.Error("got two files; want one")
	}
	if Markdown(a, "x") != Markdown(b, "x") {
		t.Error("got two tables; want one")
	}
}

func TestWhatIsWrittenIsReadAgain(t *testing.T) {
	dir := t.TempDir()
	if err := WriteAll(dir, example()); err != nil {
		t.Fatal(err)
	}
	r, err := Read(filepath.Join(dir, "latest.json"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := Markdown(r, "plots"), Markdown(example(), "plots"); got != want {
		t.Errorf("got %s; want %s", got, want)
	}
	table, err := os.ReadFile(filepath.Join(dir, "table.md"))
	if err != nil || string(table) != Markdown(r, "plots") {
		t.Errorf("got %s, %v; want the tables", table, err)
	}
	var plain struct{ Figures []map[string]any }
	b, err := os.ReadFile(filepath.Join(dir, "latest.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &plain); err != nil {
		t.Fatal(err)
	}
	for _, f := range plain.Figures {
		for _, key := range []string{"name", "system", "value", "unit", "durable"} {
			if _, ok := f[key]; !ok {
				t.Fatalf("got %v; want %s as well", f, key)
			}
		}
	}
	// A later run with less leaves no plots of the earlier.
	if err := WriteAll(dir, Results{}); err != nil {
		t.Fatal(err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "plots", "*")); err != nil || len(left) > 0 {
		t.Errorf("got %v, %v; want no plots", left, err)
	}
	if r, err := Read(filepath.Join(dir, "none.json")); err != nil || len(r.Figures) > 0 {
		t.Errorf("no file: got %v, %v; want no figures", r, err)
	}
}

func TestEveryFigureStandsInATable(t *testing.T) {
	text := Markdown(example(), "plots")
	for _, s := range sections {
		if !strings.Contains(text, "### "+s.title+"\n") {
			t.Errorf("there is no table %q", s.title)
		}
		for _, c := range s.figures {
			if !strings.Contains(text, "| "+c.title+" |") {
				t.Errorf("there is no column %q", c.title)
			}
		}
	}
	if !strings.Contains(text, "| `something_new` | chatmesh | 7 | ms |") {
		t.Error("a figure that the catalog does not have is missing")
	}
	if !strings.Contains(text, "| chatmesh | disk, three times | 1.23 (0.617–2.47) |") {
		t.Errorf("got %s; want the median with its spread", text)
	}
	for line := range strings.Lines(text) { // no row has more or fewer cells than its table says
		if strings.HasPrefix(line, "|") && strings.Count(line, "|") < 3 {
			t.Errorf("got the row %q", line)
		}
	}
}

func TestNumbersShowTheDigitsThatCount(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 0.1234: "0.123", 1: "1", 1.5: "1.5", 12.345: "12.3", 99.96: "100", 123.4: "123", 1234.5: "1,235",
		9999.9: "10,000", 12_345: "12,300", 1_234_567: "1,234,600", -1234: "-1,234", 0.5: "0.5", 40: "40"} {
		if got := number(v); got != want {
			t.Errorf("%v: got %s; want %s", v, got, want)
		}
	}
}

func TestAnEmptyRunSaysSo(t *testing.T) {
	if got := Markdown(Results{}, "x"); !strings.Contains(got, "make bench") || strings.Contains(got, "|") {
		t.Errorf("got %q; want how to make one", got)
	}
}

func TestTheCommittedPageIsWhatTheCommittedResultsMake(t *testing.T) {
	r, err := Read("../results/latest.json")
	if err != nil {
		t.Fatal(err)
	}
	if r.Quick {
		t.Error("bench/results/latest.json is of a quick run, whose figures say nothing")
	}
	page, err := os.ReadFile("../../docs/performance.md")
	if err != nil {
		t.Fatal(err)
	}
	want, err := between(page, Markdown(r, "performance"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(page, want) {
		t.Error("docs/performance.md is not what bench/results/latest.json makes; go run ./bench --rounds 0 --document writes it")
	}
	made := map[string][]byte{}
	for _, p := range Plots(r) {
		made[p.Name] = p.SVG
	}
	files, err := filepath.Glob("../../docs/performance/*.svg")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(b, made[filepath.Base(path)]) {
			t.Errorf("%s is not what bench/results/latest.json makes", path)
		}
		delete(made, filepath.Base(path))
	}
	for name := range made {
		t.Errorf("docs/performance/%s is missing", name)
	}
}

func TestThePageKeepsWhatStandsOutsideTheMarks(t *testing.T) {
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "docs"), 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(root, "docs", "performance.md")
	if err := os.WriteFile(path, []byte("# Top\n"+markBegin+"\nold\n"+markEnd+"\nEnd\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time changes nothing
		if err := Document(root, example()); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if want := "# Top\n" + markBegin + "\n\n" + Markdown(example(), "performance") + "\n" + markEnd + "\nEnd\n"; string(got) != want {
			t.Errorf("got %q; want %q", got, want)
		}
	}
	if plots, err := filepath.Glob(filepath.Join(root, "docs", "performance", "*.svg")); err != nil || len(plots) != len(Plots(example())) {
		t.Errorf("got %v, %v; want all plots", plots, err)
	}
	if err := os.WriteFile(path, []byte("# Top\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := Document(root, example()); err == nil {
		t.Error("a page without marks: got no error; want one")
	}
}

func TestTheMachineIsDescribed(t *testing.T) {
	m := ThisMachine()
	if m.Cores < 1 || m.CPU == "" || m.Kernel == "" || m.Go == "" || len(m.Date) != len("2026-11-26") {
		t.Errorf("got %+v; want all of it", m)
	}
}

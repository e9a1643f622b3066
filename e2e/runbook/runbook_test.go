package runbook

import (
	"strings"
	"testing"
)

func TestEveryCommandOfADocumentIsAStep(t *testing.T) {
	steps, err := Parse("# x\n\n```sh\n$ a |\n  b\nout\n…\n$ c\n```\n\n<!-- test: do it -->\n\n```sh until\n$ d\ne\n```\n")
	if err != nil {
		t.Fatal(err)
	}
	want := []Step{{Line: 4, Command: "a |\n  b", Output: []string{"out", "…"}}, {Line: 8, Command: "c"}, {Line: 11, Do: "do it"},
		{Line: 14, Command: "d", Output: []string{"e"}, Until: true}}
	if len(steps) != len(want) {
		t.Fatalf("got %+v; want %+v", steps, want)
	}
	for i, s := range steps {
		if s.Line != want[i].Line || s.Do != want[i].Do || s.Command != want[i].Command || s.Until != want[i].Until ||
			strings.Join(s.Output, "\n") != strings.Join(want[i].Output, "\n") {
			t.Errorf("got %+v; want %+v", s, want[i])
		}
	}
}

func TestACommandThatWouldNotBeRunIsRefused(t *testing.T) {
	for name, document := range map[string]string{
		"outside of a block":        "$ nats stream ls\n",
		"in a block of text":        "```text\n$ nats stream ls\n```\n",
		"in a block of text, bare":  "```text\nnats stream ls\n```\n",
		"in a block of another":     "```bash\nnats stream ls\n```\n",
		"in a block of no language": "```\nnats stream ls\n```\n",
		"indented":                  "    nats stream ls\n",
		"without its sign":          "```sh\nnats stream ls\n```\n",
		"in a block without an end": "```sh\n$ nats stream ls\n",
		"only spoken of":            "Then `nats stream purge CHAT_0`.\n\n```sh\n$ nats stream ls\n```\n",
	} {
		if steps, err := Parse(document); err == nil {
			t.Errorf("%s: got %+v; want it refused", name, steps)
		}
	}
	if _, err := Parse("Then `nats stream ls`, or `chatmesh verify`.\n\n```sh\n$ nats stream ls --all\n$ chatmesh verify --all\n```\n"); err != nil {
		t.Error(err)
	}
}

func TestOutputIsComparedLineByLine(t *testing.T) {
	const printed = "warning\n╭──────╮\n│ Name   │ Bytes │\n├──────┤\n│ CHAT_0 │ 17 B  │\n\nsum 3\n"
	for shown, missed := range map[string]string{
		"": "",
		"│ Name │ Bytes │\n│ CHAT_0 │ … │":     "",
		"│ Name │ Bytes │\nsum 3":              "sum 3",
		"│ Name │ Bytes │\n…\nsum 3":           "",
		"sum 3\n│ Name │ Bytes │":              "│ Name │ Bytes │",
		"sum 30":                               "sum 30",
		"sum":                                  "sum",
		"│ CHAT_1 │ … │":                       "│ CHAT_1 │ … │",
		"│ CHAT_… B │\nsum …":                  "",
		"│ CHAT_… B │\n…\n│ CHAT_0 │ 17 B │\n": "│ CHAT_0 │ 17 B │",
	} {
		if got := (Step{Output: strings.Split(shown, "\n")}).Misses(printed); got != missed {
			t.Errorf("%q: got %q; want %q", shown, got, missed)
		}
	}
}

func TestAShellKeepsVariablesAndTellsWhatFails(t *testing.T) {
	s := &Shell{Dir: t.TempDir()}
	for _, step := range []struct {
		Step
		fails bool
	}{
		{Step{Command: "a=17; export CHATMESH_X=18"}, false},
		{Step{Command: `echo "$a $CHATMESH_X"; sh -c 'echo $CHATMESH_X'`, Output: []string{"17 18", "18"}}, false},
		{Step{Command: "echo $a", Output: []string{"18"}}, true},
		{Step{Command: "false"}, true},
		{Step{Command: "echo x >>tries; wc -l <tries", Output: []string{"3"}, Until: true}, false},
	} {
		if printed, err := s.Run(t.Context(), step.Step); (err != nil) != step.fails {
			t.Errorf("%s: got %q, %v", step.Command, printed, err)
		}
	}
	if _, err := s.Run(t.Context(), Step{Command: "sleep 100 &"}); err != nil {
		t.Fatal(err)
	}
	if err := s.End(); err == nil {
		t.Error("what did not end well is not told")
	}
}

// Package runbook runs the commands of a document as its reader would, and compares what they print with what the document shows.
// It promises that no command of the document is passed over, and that none is spoken of that it does not run.
//
// A command stands in a fenced block of the language sh, on a line that begins with "$ ", and on those below it that begin with
// two spaces. What follows up to the next command is what it prints: "…" stands for any text within a line, and a line of its own for any lines.
// Further lines may follow at the end; runs of spaces and the frames of tables count for nothing. A block of "sh until" is repeated until
// it prints that, for what takes its time. A command that ends with "&" runs until the end. Variables that a command sets stay set.
//
// An HTML comment "<!-- test: … -->" is a step of the test between two commands.
package runbook

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Step is a command of the document, or something that the test does there.
type Step struct {
	// Line is where it stands, from 1 on.
	Line int
	// Do is what the test does; empty for a command.
	Do string
	// Command is what is run, and Output what it shows.
	Command string
	Output  []string
	// Until is set where the command is repeated until it prints that.
	Until bool
}

var (
	do     = regexp.MustCompile(`^<!-- test: (.+) -->$`)
	fence  = regexp.MustCompile("^(```+|~~~+) *([a-z]*)( until)?$")
	inline = regexp.MustCompile(`^\s*(\$ |nats |chatmesh )`)
)

// Parse lists the steps of a document. It fails for a command that stands where it would not be run.
func Parse(document string) ([]Step, error) {
	var steps []Step
	block, language, until := "", "", false
	goesOn := false
	for i, line := range strings.Split(document, "\n") {
		number := i + 1
		if m := fence.FindStringSubmatch(line); m != nil && (block == "" || block == m[1] && m[2] == "") {
			if block != "" {
				block = ""
				continue
			}
			block, language, until, goesOn = m[1], m[2], m[3] != "", false
			if language != "sh" && language != "text" {
				return nil, fmt.Errorf("line %d: a block is of the language sh or text", number)
			}
			continue
		}
		if m := do.FindStringSubmatch(line); m != nil && block == "" {
			steps = append(steps, Step{Line: number, Do: m[1]})
			continue
		}
		command, isCommand := strings.CutPrefix(line, "$ ")
		switch {
		case block == "" || language != "sh":
			if isCommand || inline.MatchString(line) && (block != "" || strings.HasPrefix(line, "    ")) {
				return nil, fmt.Errorf("line %d: a command outside of a block of sh is not run: %s", number, line)
			}
		case goesOn && strings.HasPrefix(line, "  "):
			steps[len(steps)-1].Command += "\n" + line
		case isCommand:
			steps = append(steps, Step{Line: number, Command: command, Until: until})
			goesOn = true
		case len(steps) == 0 || steps[len(steps)-1].Command == "":
			return nil, fmt.Errorf("line %d: output without a command: %s", number, line)
		default:
			goesOn = false
			last := &steps[len(steps)-1]
			last.Output = append(last.Output, line)
		}
	}
	if block != "" {
		return nil, errors.New("the last block has no end")
	}
	return steps, spoken(document, steps)
}

// mentioned is a command within a sentence, up to its first flag, number or name.
var mentioned = regexp.MustCompile("`((?:nats|chatmesh)(?: [a-z]+)+)")

// others are commands that a sentence names and that cannot be run on the mesh of a test.
var others = []string{"chatmesh healthcheck", "chatmesh migrate"}

// spoken fails for a command that is only spoken of: a sentence may name what the document runs, no more.
func spoken(document string, steps []Step) error {
	var all strings.Builder
	for _, s := range steps {
		all.WriteString(s.Command + "\n")
	}
	for _, m := range mentioned.FindAllStringSubmatch(document, -1) {
		if !strings.Contains(all.String(), m[1]) && !slices.Contains(others, m[1]) {
			return fmt.Errorf("%q is spoken of and not run", m[1])
		}
	}
	return nil
}

// Misses is the first line of the step's output that printed does not have where it should; empty where it has all.
func (s Step) Misses(printed string) string {
	var lines []string
	for line := range strings.Lines(printed) {
		if line = plain(line); line != "" {
			lines = append(lines, line)
		}
	}
	at, anywhere := 0, true // before the first line others may stand: a warning, a heading
	for _, want := range s.Output {
		wanted := plain(want)
		switch wanted {
		case "":
			continue
		case "…":
			anywhere = true
			continue
		}
		parts := strings.Split(wanted, "…")
		for i := range parts {
			parts[i] = regexp.QuoteMeta(strings.TrimSpace(parts[i]))
		}
		pattern := regexp.MustCompile("^" + strings.Join(parts, ".*") + "$")
		found := -1
		for i := at; i < len(lines) && (anywhere || i == at); i++ {
			if pattern.MatchString(lines[i]) {
				found = i
				break
			}
		}
		if found < 0 {
			return strings.TrimSpace(want)
		}
		at, anywhere = found+1, false
	}
	return ""
}

var spaces = regexp.MustCompile(`[\s─]+`)

// plain is a line without what only makes it look nice.
func plain(line string) string {
	line = strings.TrimSpace(spaces.ReplaceAllString(line, " "))
	if strings.Trim(line, "╭╮╰╯├┤┬┴┼│ ") == "" {
		return ""
	}
	return line
}

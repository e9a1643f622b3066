package subject_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/chatmesh/chatmesh/docs"
	"github.com/chatmesh/chatmesh/pkg/doctest"
	"github.com/chatmesh/chatmesh/pkg/subject"
)

// columns are what each table of names in subjects.md says, by its first column.
var columns = map[string][]string{
	"subject":  {"subject", "publishes", "may listen", "body", "delivery", "example", "in code"},
	"pattern":  {"pattern", "matches", "example", "in code"},
	"header":   {"header", "on", "written by, read by", "says", "example", "in code"},
	"stream":   {"stream", "subjects", "written by, read by", "keeps", "when full", "promise", "example", "in code"},
	"consumer": {"consumer", "of", "used by", "does", "promise", "example", "in code"},
	"bucket":   {"bucket", "key → value", "written by, read by", "expires", "example", "in code"},
	"key":      {"key", "value", "example", "in code"},
	"endpoint": {"endpoint", "request → answer", "may ask; answers", "promise", "example", "in code"},
}

// tableRow is a row of a table of names.
type tableRow struct {
	number int
	table  string
	cells  []string
}

// example is the code in the column of examples; empty where it is none.
func (r tableRow) example() string {
	cell := r.cells[slices.Index(columns[r.table], "example")]
	if code := strings.Trim(cell, "`"); cell == "`"+code+"`" && !strings.Contains(code, "`") {
		return code
	}
	return ""
}

func cellsOf(line string) []string {
	cells := strings.Split(strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(line), "|"), "|"), " | ")
	for i := range cells {
		cells[i] = strings.TrimSpace(cells[i])
	}
	return cells
}

// faults lists what is wrong with the tables of names in a text, and returns their rows.
func faults(text string) (rows []tableRow, wrong []string) {
	table := ""
	seen := map[string]bool{}
	for i, line := range strings.Split(text, "\n") {
		if !strings.HasPrefix(line, "|") {
			table = ""
			continue
		}
		cells := cellsOf(line)
		switch {
		case table == "" && columns[cells[0]] != nil:
			table, seen[cells[0]] = cells[0], true
			if !slices.Equal(cells, columns[table]) {
				wrong = append(wrong, "table of "+table+": the columns are "+strings.Join(cells, ", "))
				table = ""
			}
		case table == "" || strings.HasPrefix(cells[0], "---"):
		case len(cells) != len(columns[table]):
			wrong = append(wrong, "table of "+table+": a row with another number of cells: "+line)
		default:
			for c, cell := range cells {
				if strings.Trim(cell, "-–` ") == "" {
					wrong = append(wrong, "table of "+table+", "+cells[0]+": nothing under "+columns[table][c])
				}
			}
			rows = append(rows, tableRow{i + 1, table, cells})
		}
	}
	for name := range columns {
		if !seen[name] {
			wrong = append(wrong, "there is no table of "+name)
		}
	}
	return rows, wrong
}

func subjectsMd(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../subjects.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestSubjectsMdSaysEverythingOfEachName(t *testing.T) {
	rows, wrong := faults(subjectsMd(t))
	for _, w := range wrong {
		t.Errorf("subjects.md: %s", w)
	}
	if len(rows) < len(patterns()) {
		t.Errorf("got %d rows; want one for each of %d names", len(rows), len(patterns()))
	}
}

var placeholder = regexp.MustCompile(`<[a-z]+>`)

// matcher matches what a name with placeholders stands for.
func matcher(pattern string) *regexp.Regexp {
	return regexp.MustCompile("^" + placeholder.ReplaceAllString(regexp.QuoteMeta(pattern), `[^.\s]+`) + "$")
}

func TestEveryExampleInSubjectsMdIsOneOfItsName(t *testing.T) {
	live := doctest.Parse(t, docs.AsyncAPI())
	rows, _ := faults(subjectsMd(t))
	for _, r := range rows {
		name, example := strings.Trim(r.cells[0], "`"), r.example()
		ok := example != ""
		switch r.table {
		case "subject", "pattern", "key":
			pattern := name
			if name == subject.Inbox("<role>") { // the rest of the subject is the client's
				pattern += ".<token>"
			}
			ok = ok && matcher(pattern).MatchString(example)
		case "header":
			value, is := strings.CutPrefix(example, name+": ")
			ok = ok && is && value != ""
		case "endpoint":
			if name == subject.Service {
				ok = ok && strings.HasSuffix(example, " "+name)
				break
			}
			command, request, _ := strings.Cut(example, " '")
			endpoint, sends := strings.CutPrefix(command, "nats req ")
			if ok = ok && sends && matcher(name).MatchString(endpoint); ok {
				request, _, _ = strings.Cut(request, "'")
				checkRequest(t, live, name, request)
			}
		default: // a command on what has the name
			words := strings.Fields(example)
			ok = ok && words[0] == "nats" && slices.ContainsFunc(words, func(w string) bool {
				return matcher(name).MatchString(w) || name == subject.KVStream("<bucket>") && slices.Contains(subject.Buckets, w)
			})
		}
		if !ok {
			t.Errorf("subjects.md:%d: %q is no example of %s", r.number, example, name)
		}
	}
}

// checkRequest holds a request of an example against docs/asyncapi.yaml.
func checkRequest(t *testing.T, live *doctest.Document, endpoint, request string) {
	t.Helper()
	for _, op := range live.Keys("operations") {
		if live.At("operations", op, "channel")["address"] != strings.NewReplacer("<", "{", ">", "}").Replace(endpoint) {
			continue
		}
		if err := live.Check([]byte(request), doctest.Payload(live.Messages(op)[0])...); err != nil {
			t.Errorf("subjects.md: %s is no request to %s: %v", request, endpoint, err)
		}
		return
	}
	t.Errorf("asyncapi.yaml has no operation on %s", endpoint)
}

// A check that cannot fail would prove nothing.
func TestATableThatSaysTooLittleIsFound(t *testing.T) {
	good := subjectsMd(t)
	row := regexp.MustCompile("(?m)^\\| `user\\.<user>` .*$").FindString(good)
	if row == "" {
		t.Fatal("there is no row to spoil")
	}
	cells := cellsOf(row)
	for at := range cells {
		spoiled := slices.Clone(cells)
		spoiled[at] = ""
		if _, wrong := faults(strings.Replace(good, row, "| "+strings.Join(spoiled, " | ")+" |", 1)); len(wrong) == 0 {
			t.Errorf("without %s: got no fault; want one", columns["subject"][at])
		}
		if _, wrong := faults(strings.Replace(good, row, "| "+strings.Join(slices.Delete(slices.Clone(cells), at, at+1), " | ")+" |", 1)); len(wrong) == 0 {
			t.Errorf("with a cell too few: got no fault; want one")
		}
	}
	if _, wrong := faults(strings.Replace(good, "| header | on |", "| header |", 1)); len(wrong) == 0 {
		t.Error("without a column: got no fault; want one")
	}
}

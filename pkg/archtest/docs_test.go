package archtest_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"github.com/chatmesh/chatmesh/pkg/config"
)

// checkout is the root of the repository, as seen from this package's folder.
const checkout = "../.."

// madeAtStart stands in the README for a default that is another at every start.
const madeAtStart = "made at start"

// table returns the cells of the rows of a table in a document, by the header of its first column.
func table(t *testing.T, file, header string) [][]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(checkout, file))
	if err != nil {
		t.Fatal(err)
	}
	var rows [][]string
	in := false
	for _, line := range strings.Split(string(text), "\n") {
		if !strings.HasPrefix(line, "|") {
			in = false
			continue
		}
		cells := strings.Split(strings.Trim(line, "| "), " | ")
		for i := range cells {
			cells[i] = strings.Trim(strings.TrimSpace(cells[i]), "`")
		}
		switch {
		case cells[0] == header:
			in = true
		case in && !strings.HasPrefix(cells[0], "---"):
			rows = append(rows, cells)
		}
	}
	if len(rows) == 0 {
		t.Fatalf("%s has no table whose first column is %q", file, header)
	}
	return rows
}

func TestTheSettingsInTheReadmeAreThoseOfTheProgram(t *testing.T) {
	var settings config.Settings
	parser, err := kong.New(&settings, kong.Vars{"node": madeAtStart})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]string{}
	for _, flag := range parser.Model.Flags {
		if flag.Name == "help" {
			continue
		}
		byDefault := flag.Default
		if byDefault == "" {
			byDefault = "none"
		}
		want["--"+flag.Name] = []string{strings.Join(flag.Tag.Envs, ", "), byDefault}
	}
	for _, row := range table(t, "README.md", "flag") {
		name := row[0]
		if want[name] == nil {
			t.Errorf("README.md: %s is no setting, or stands there twice", name)
			continue
		}
		if len(row) != 4 || row[1] != want[name][0] || row[2] != want[name][1] || row[3] == "" {
			t.Errorf("README.md: %s: got %q; want %q and a description", name, row[1:], want[name])
		}
		delete(want, name)
	}
	for name := range want {
		t.Errorf("README.md: %s is missing", name)
	}
}

func TestTheMapOfTheHouseIsComplete(t *testing.T) {
	var got []string
	for _, row := range table(t, "README.md", "folder") {
		if info, err := os.Stat(filepath.Join(checkout, row[0])); err != nil || !info.IsDir() {
			t.Errorf("README.md: there is no folder %s", row[0])
		}
		got = append(got, row[0])
	}
	for _, pattern := range []string{"services/*", "pkg/*", "examples/*"} {
		folders, err := filepath.Glob(filepath.Join(checkout, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range folders {
			if info, err := os.Stat(f); err != nil || !info.IsDir() {
				continue
			}
			name, err := filepath.Rel(checkout, f)
			if err != nil {
				t.Fatal(err)
			}
			if name = filepath.ToSlash(name); !slices.Contains(got, name) {
				t.Errorf("README.md: the map of the house does not have %s", name)
			}
		}
	}
}

// documents lists the Markdown files of the checkout.
func documents(t *testing.T) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(checkout, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && slices.Contains([]string{"node_modules", ".git", "data", "bin"}, d.Name()) {
			return filepath.SkipDir
		}
		if strings.HasSuffix(path, ".md") {
			out = append(out, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// prose returns a document without what is set as code, in which nothing is a link.
func prose(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	fenced := false
	for _, line := range strings.Split(string(text), "\n") {
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			fenced = !fenced
			continue
		}
		if !fenced && !strings.HasPrefix(line, "    ") {
			out.WriteString(line + "\n")
		}
	}
	return out.String()
}

var (
	heading = regexp.MustCompile(`(?m)^#+ +(.+)$`)
	dropped = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	inCode  = regexp.MustCompile("`[^`\n]*`")
)

// anchors are the places in a document that a link can name, as forges make them of headings.
func anchors(text string) []string {
	var out []string
	for _, m := range heading.FindAllStringSubmatch(text, -1) {
		slug := dropped.ReplaceAllString(strings.ToLower(m[1]), "")
		out = append(out, strings.ReplaceAll(slug, " ", "-"))
	}
	return out
}

func TestEveryLinkInADocumentLeadsSomewhere(t *testing.T) {
	for _, file := range documents(t) {
		text := prose(t, file)
		for _, m := range link.FindAllStringSubmatch(inCode.ReplaceAllString(text, ""), -1) {
			target, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			to := file
			if target != "" {
				to = filepath.Join(filepath.Dir(file), filepath.FromSlash(target))
			}
			if _, err := os.Stat(to); err != nil {
				t.Errorf("%s: the link to %s leads nowhere", file, m[1])
				continue
			}
			if anchor != "" && !slices.Contains(anchors(prose(t, to)), anchor) {
				t.Errorf("%s: the link to %s leads to no heading", file, m[1])
			}
		}
	}
}

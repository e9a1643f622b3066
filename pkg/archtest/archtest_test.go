// Package archtest keeps the rules of the house: who may import whom and why, that every package says what it owns, that
// mains are only glue, that files stay short, that nothing is skipped.
package archtest

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/chatmesh/chatmesh/"

// root of the checkout, as seen from this package's folder.
const root = "../.."

type pkg struct {
	ImportPath, Name, Dir, Doc         string
	GoFiles, TestGoFiles, XTestGoFiles []string
	Imports, TestImports, XTestImports []string
}

// packages lists the packages of the root module.
func packages(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Name,Dir,Doc,GoFiles,TestGoFiles,XTestGoFiles,Imports,TestImports,XTestImports", "./...")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []pkg
	for dec := json.NewDecoder(strings.NewReader(string(out))); dec.More(); {
		var p pkg
		if err := dec.Decode(&p); err != nil {
			t.Fatalf("go list: %v", err)
		}
		p.ImportPath = strings.TrimPrefix(p.ImportPath, module)
		all = append(all, p)
	}
	if len(all) < 10 {
		t.Fatalf("go list found %d packages; want the whole house", len(all))
	}
	return all
}

// rule says what packages that match from must not import, and why.
type rule struct {
	from, not *regexp.Regexp
	why       string
}

func re(s string) *regexp.Regexp { return regexp.MustCompile("^(" + s + ")$") }

var rules = []rule{
	{re(`pkg/chat`), re(`[^/]+\.[^/]+/.*|` + module + `.*`), "the nouns use the standard library only"},
	{re(`pkg/.*`), re(module + `services/.*`), "packages know nothing of the services that use them"},
	{re(`pkg/client`), re(module + `(pkg/(bus|store|chatlog|wire|subject|config|auth).*|services/.*)`), "the SDK speaks the outside contract only"},
	{re(`pkg/(wire|subject|config|limit|run|trace)`), re(module + `pkg/(bus|store|auth|chatlog|online|edges|client).*`), "imports go one way: vocabulary, then bus and store, then the log, then services"},
	{re(`pkg/(bus|auth|store|store/.*)`), re(module + `pkg/(chatlog|online|edges|client).*`), "imports go one way: vocabulary, then bus and store, then the log, then services"},
	{re(`pkg/capacity`), re(`[^/]+\.[^/]+/.*|` + module + `.*`), "a plan is arithmetic: it needs nothing but numbers"},
	{re(`pkg/roles`), re(module + `(pkg/[^s].*|pkg/store.*|services/.*)|github.com/nats-io/.*`), "rights follow from names: whoever writes them needs no broker"},
	{re(`pkg/pki`), re(module + `.*`), "keys are made before there is anything of ours"},
	{re(`pkg/bus`), re(module + `pkg/store.*`), "the bus knows no store"},
	{re(`pkg/store(/.*)?`), re(module + `pkg/bus|github.com/nats-io/.*`), "the store knows no broker"},
	{re(`services/edge|services/fanout|services/presence`), re(module + `pkg/store/.*|github.com/cockroachdb/.*|github.com/gocql/.*|github.com/scylladb/.*`), "only api and persister open the store: an edge faces the world and holds no credentials of the database"},
	{re(`services/(edge|api|fanout|persister|presence)`), re(module + `services/.*`), "services know each other only through the broker"},
	{re(`services/(edge|api|fanout|persister|presence|chatmesh)|pkg/[^m].*`), re(`github.com/nats-io/nats-server/.*`), "only mesh and test helpers embed a server"},
	{re(`examples/.*`), re(module + `.*`), "an example is what a team could write itself: it knows NATS and the outside contract"},
	{re(`docs|services/.*|pkg/([^d]|d[^o]).*`), re(module + `pkg/doctest|github.com/santhosh-tekuri/.*`), "only tests hold documents against what is sent"},
	{re(`services/.*|pkg/[^t].*`), re(`go.opentelemetry.io/.*`), "only the package of traces attaches something to a span: it cannot attach what people wrote"},
	{re(`services/.*|pkg/([^t].*|trace)`), re(module + `pkg/trace/tracetest`), "a receiver of traces is for tests"},
	{re(`(services|pkg)/.*`), re(`log`), "slog, so that every line has a level and fields"},
}

func TestImportsGoOneWay(t *testing.T) {
	for _, p := range packages(t) {
		for _, r := range rules {
			if !r.from.MatchString(p.ImportPath) {
				continue
			}
			for _, imp := range p.Imports {
				if r.not.MatchString(imp) {
					t.Errorf("%s imports %s: %s", p.ImportPath, imp, r.why)
				}
			}
		}
	}
}

func TestOnlyTheStoreOnAClusterKnowsCQL(t *testing.T) {
	may := re(`pkg/store/scylla|pkg/meshtest/cqltest`)
	driver := re(`github\.com/(gocql|scylladb)/.*`)
	for _, p := range packages(t) {
		if may.MatchString(p.ImportPath) {
			continue
		}
		for _, imp := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
			if driver.MatchString(imp) {
				t.Errorf("%s imports %s: one package speaks CQL, and the helper of its tests", p.ImportPath, imp)
			}
		}
	}
}

func TestEveryPackageSaysWhatItOwns(t *testing.T) {
	for _, p := range packages(t) {
		if len(p.GoFiles) == 0 {
			continue // tests only: their comment stands in a test file
		}
		want := "Package " + p.Name + " "
		if p.Name == "main" {
			want = "Command "
		}
		if !strings.HasPrefix(p.Doc, want) {
			t.Errorf("%s: its comment begins %q; want %q", p.ImportPath, p.Doc[:min(len(p.Doc), 30)], want)
		}
	}
}

func TestMainsAreOnlyGlue(t *testing.T) {
	for _, p := range packages(t) {
		if p.Name != "main" {
			continue
		}
		if n := lines(t, filepath.Join(p.Dir, "main.go")); n > 60 {
			t.Errorf("%s/main.go has %d lines; want at most 60", p.ImportPath, n)
		}
	}
}

func lines(t *testing.T, file string) int {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(b), "\n")
}

// goFiles calls fn for each Go file of the checkout, those of e2e too.
func goFiles(t *testing.T, fn func(path string)) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && slices.Contains([]string{"node_modules", ".git", "bin", "data"}, d.Name()) {
			return filepath.SkipDir
		}
		if strings.HasSuffix(path, ".go") {
			fn(path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestFilesStayShort(t *testing.T) {
	goFiles(t, func(path string) {
		if n := lines(t, path); n > 800 {
			t.Errorf("%s has %d lines; split it by idea", path, n)
		}
	})
}

func TestNothingIsSkippedOrLeftOpen(t *testing.T) {
	open := regexp.MustCompile(`\bt\.Skip|\bb\.Skip|TODO|FIXME|XXX|log\.Fatal`)
	goFiles(t, func(path string) {
		if strings.HasSuffix(path, "archtest_test.go") {
			return
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for i, line := range strings.Split(string(b), "\n") {
			if open.MatchString(line) {
				t.Errorf("%s:%d: %s", path, i+1, strings.TrimSpace(line))
			}
		}
	})
}

func TestNoPackageHasANameThatSaysNothing(t *testing.T) {
	nothing := re(`.*/(utils?|common|helpers?|misc|tools|base|shared)`)
	for _, p := range packages(t) {
		if nothing.MatchString(p.ImportPath) {
			t.Errorf("%s: name it after what it owns", p.ImportPath)
		}
	}
}

// TestNoPackageHoldsState keeps variables of packages to what never changes: errors, tables, compiled expressions.
func TestNoPackageHoldsState(t *testing.T) {
	for _, p := range packages(t) {
		if p.ImportPath == "pkg/meshtest/free" { // what ports were given is of the process, as the ports are
			continue
		}
		for _, name := range p.GoFiles {
			file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range file.Decls {
				g, ok := d.(*ast.GenDecl)
				if !ok || g.Tok != token.VAR {
					continue
				}
				for _, s := range g.Specs {
					v := s.(*ast.ValueSpec)
					if why := state(v); why != "" {
						t.Errorf("%s/%s: var %s %s", p.ImportPath, name, v.Names[0].Name, why)
					}
				}
			}
		}
	}
}

// state tells why a variable of a package may change while the program runs.
func state(v *ast.ValueSpec) string {
	if typ := fmt.Sprint(exprString(v.Type)); strings.Contains(typ, "sync.") || strings.Contains(typ, "atomic.") {
		return "is a lock or counter of the package: make it a field"
	}
	if v.Names[0].Name != "_" && len(v.Values) == 0 && v.Type != nil {
		if _, embedded := v.Type.(*ast.SelectorExpr); !embedded { // embed.FS is filled by the compiler
			return "has no value: it can only be set later"
		}
	}
	return ""
}

func exprString(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.SelectorExpr:
		return exprString(e.X) + "." + e.Sel.Name
	case *ast.Ident:
		return e.Name
	case *ast.StarExpr:
		return exprString(e.X)
	}
	return ""
}

func TestGoModHasNoReplaceSoThatInstallWorks(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	if regexp.MustCompile(`(?m)^replace`).Match(b) {
		t.Error("go.mod has a replace; it belongs in go.work")
	}
}

// Each test that docs/exactly-once.md names is there; a name that ends with … is the beginning of one.
func TestTheTestsThatADocumentNamesAreThere(t *testing.T) {
	tests := map[string]bool{}
	goFiles(t, func(path string) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllStringSubmatch(string(b), -1) {
			tests[m[1]] = true
		}
	})
	doc, err := os.ReadFile(filepath.Join(root, "docs/exactly-once.md"))
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile(`(Test\w+)(…?)`).FindAllStringSubmatch(string(doc), -1)
	if len(named) < 20 {
		t.Fatalf("the page names %d tests; want one for each step", len(named))
	}
	for _, m := range named {
		found := tests[m[1]]
		for name := range tests {
			found = found || m[2] != "" && strings.HasPrefix(name, m[1])
		}
		if !found {
			t.Errorf("docs/exactly-once.md names %s%s, which is not there", m[1], m[2])
		}
	}
}

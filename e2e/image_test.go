package e2e

import (
	"context"
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/chatmesh/chatmesh/e2e/stack"
)

// rootOf is the folder of the repository, as processes elsewhere see it.
func rootOf(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs(checkout)
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// imageBinary is the program as the Dockerfile builds it, once for all tests.
type imageBinary struct {
	once sync.Once
	dir  string
	err  error
}

var image imageBinary

// program returns where it is.
func (b *imageBinary) program(t *testing.T) string {
	t.Helper()
	b.once.Do(func() {
		if b.dir, b.err = os.MkdirTemp("", "chatmesh-image-"); b.err == nil {
			b.err = stack.BuildImage(context.Background(), rootOf(t), filepath.Join(b.dir, "chatmesh"))
		}
	})
	if b.err != nil {
		t.Fatal(b.err)
	}
	return filepath.Join(b.dir, "chatmesh")
}

func (b *imageBinary) finish() error { return os.RemoveAll(b.dir) }

// dockerfile is its text.
func dockerfile(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(rootOf(t), "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestTheImageHoldsAProgramThatNeedsNothingElse(t *testing.T) {
	t.Parallel()
	path := image.program(t)
	f, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			t.Errorf("the program has a segment %v: it is not static, and nothing in the image can load it", p.Type)
		}
	}
	if libs, err := f.ImportedLibraries(); err != nil || len(libs) > 0 {
		t.Errorf("it needs %v, %v; want no library", libs, err)
	}
	cmd := exec.CommandContext(t.Context(), path, "version")
	cmd.Env = []string{} // as little as an image from scratch has
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), "chatmesh 0.") {
		t.Errorf("version: got %q, %v", out, err)
	}
}

// stages are the instructions of a Dockerfile, by stage.
func stages(text string) [][]string {
	var out [][]string
	text = regexp.MustCompile(`\\\n\s*`).ReplaceAllString(text, "")
	for _, line := range strings.Split(text, "\n") {
		switch {
		case strings.HasPrefix(line, "FROM "):
			out = append(out, []string{line})
		case line != "" && !strings.HasPrefix(line, "#") && len(out) > 0:
			out[len(out)-1] = append(out[len(out)-1], line)
		}
	}
	return out
}

func TestTheImageIsMadeFromNothingAndRunsAsNobody(t *testing.T) {
	t.Parallel()
	all := stages(dockerfile(t))
	if len(all) != 2 {
		t.Fatalf("the Dockerfile has %d stages; want build and image", len(all))
	}
	last := all[1]
	if last[0] != "FROM scratch" {
		t.Errorf("the image begins with %q; want nothing in it but the program", last[0])
	}
	for _, want := range []string{"USER 65532:65532", `ENTRYPOINT ["/chatmesh"]`} {
		if !slices.Contains(last, want) {
			t.Errorf("the Dockerfile does not say %s", want)
		}
	}
	for _, line := range last {
		if strings.HasPrefix(line, "RUN ") || strings.HasPrefix(line, "ADD ") {
			t.Errorf("the last stage says %q; want only copies", line)
		}
	}
	// The compiler is not older than what go.mod asks for.
	mod, err := os.ReadFile(filepath.Join(rootOf(t), "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	want := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(string(mod))[1]
	if !regexp.MustCompile(`^FROM golang:` + regexp.QuoteMeta(want) + `\.\d+-bookworm AS build$`).MatchString(all[0][0]) {
		t.Errorf("the build begins with %q; want Go %s with all of its version", all[0][0], want)
	}
}

func TestNothingSecretComesIntoTheImage(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(rootOf(t), ".dockerignore"))
	if err != nil {
		t.Fatal(err)
	}
	ignored := strings.Split(string(text), "\n")
	for _, want := range []string{"secrets", ".env", "data", ".git"} {
		if !slices.Contains(ignored, want) {
			t.Errorf(".dockerignore does not have %s", want)
		}
	}
}

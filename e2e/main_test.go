package e2e

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/chatmesh/chatmesh/e2e/program"
	"github.com/chatmesh/chatmesh/e2e/raw"
)

// TestMain stops the shared program after the last story, fails the run when its log says what it must not, and compares
// the goroutines.
func TestMain(m *testing.M) {
	flag.Parse()
	// Stories mostly wait. Unless the caller said otherwise, more run side by side than there are cores.
	if f := flag.Lookup("test.parallel"); f.Value.String() == strconv.Itoa(runtime.GOMAXPROCS(0)) {
		f.Value.Set("6")
	}
	code := m.Run()
	problems := shared.finish()
	if err := program.Clean(); err != nil {
		problems = append(problems, err.Error())
	}
	raw.CloseIdle()
	if err := goleak.Find(); err != nil {
		problems = append(problems, err.Error())
	}
	for _, p := range problems {
		fmt.Fprintln(os.Stderr, "FAIL: at the end of the stories:", p)
	}
	if len(problems) > 0 && code == 0 {
		code = 1
	}
	os.Exit(code)
}

// commons is the program that stories share which do not stop it. Each of them brings its own people.
type commons struct {
	once sync.Once
	data string
	p    *program.Program
	err  error
}

var shared commons

// server returns the shared program.
func server(t *testing.T) *program.Program {
	t.Helper()
	shared.once.Do(func() {
		if shared.data, shared.err = os.MkdirTemp("", "chatmesh-e2e-data-"); shared.err == nil {
			shared.p, shared.err = program.Launch(program.Config{Data: shared.data})
		}
		if shared.err == nil {
			t.Logf("the shared program was ready after %v", shared.p.Ready)
		}
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.p
}

func (c *commons) finish() (problems []string) {
	if c.p != nil {
		for _, p := range c.p.Finish() {
			problems = append(problems, "the shared program: "+p)
		}
	}
	if c.data != "" {
		if err := os.RemoveAll(c.data); err != nil {
			problems = append(problems, err.Error())
		}
	}
	return problems
}

package e2e

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/chatmesh/chatmesh/e2e/cluster"
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
	if err := image.finish(); err != nil {
		problems = append(problems, err.Error())
	}
	raw.CloseIdle()
	err := goleak.Find()
	for end := time.Now().Add(raw.Patience); err != nil && time.Now().Before(end); err = goleak.Find() {
		time.Sleep(50 * time.Millisecond) // what is about to end may take its time
	}
	if err != nil {
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

// spread has the stories that share a program run over a mesh of many processes: three brokers, a database, two of each service.
var spread = flag.Bool("spread", false, "run the stories that share a program over a mesh of many processes")

// commons is the program that stories share which do not stop it. Each of them brings its own people.
type commons struct {
	once sync.Once
	data string
	p    *program.Program
	mesh *cluster.Cluster // nil where everything is in one process
	err  error
}

// spread starts a mesh of many processes. What must not be logged is told to all of them at the end.
func (c *commons) spread() {
	if c.mesh, c.err = cluster.New(cluster.Config{Dir: c.data}); c.err != nil {
		return
	}
	if c.err = c.mesh.Start(); c.err == nil {
		c.p = program.At(c.mesh.Fronts[0].URL, c.mesh.Admin.URL)
	}
}

var shared commons

// server returns the shared program.
func server(t *testing.T) *program.Program {
	t.Helper()
	shared.once.Do(func() {
		if shared.data, shared.err = os.MkdirTemp("", "chatmesh-e2e-data-"); shared.err != nil {
			return
		}
		if *spread {
			shared.spread()
			return
		}
		shared.p, shared.err = program.Launch(program.Config{Data: shared.data})
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
	if c.mesh != nil {
		if c.p != nil {
			c.mesh.Guard(c.p.Secrets()...)
		}
		for _, p := range c.mesh.Stop() {
			problems = append(problems, "the shared mesh: "+p)
		}
	}
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

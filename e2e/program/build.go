// Package program runs the chatmesh binary as an operator would: it builds it once, starts it on free ports, learns its
// addresses from what it prints, and stops it. It promises that no process it started outlives the test, and that a race, a
// panic or a secret in the log does not go unseen.
package program

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
)

var builds struct {
	mu    sync.Mutex
	dir   string
	paths map[bool]string
	errs  map[bool]error // a build that failed is not tried again by every test
}

// Build builds the program, with the race detector or without, and returns where it is. It does so once for each; the
// environment variable CHATMESH_BIN names a binary to use instead.
func Build(race bool) (string, error) {
	if path := os.Getenv("CHATMESH_BIN"); path != "" {
		return path, nil
	}
	builds.mu.Lock()
	defer builds.mu.Unlock()
	if path, err := builds.paths[race], builds.errs[race]; path != "" || err != nil {
		return path, err
	}
	if builds.dir == "" {
		dir, err := os.MkdirTemp("", "chatmesh-e2e-")
		if err != nil {
			return "", err
		}
		builds.dir, builds.paths, builds.errs = dir, map[bool]string{}, map[bool]error{}
	}
	path := filepath.Join(builds.dir, fmt.Sprintf("chatmesh-race-%v", race))
	args := []string{"build", "-o", path}
	if race {
		args = append(args, "-race")
	}
	cmd := exec.Command("go", append(args, "./services/chatmesh")...)
	cmd.Dir = root()
	if out, err := cmd.CombinedOutput(); err != nil {
		builds.errs[race] = fmt.Errorf("program: build: %w\n%s", err, out)
		return "", builds.errs[race]
	}
	builds.paths[race] = path
	return path, nil
}

// root is the folder of the repository: the parent of the module that this file belongs to.
func root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Dir(filepath.Dir(filepath.Dir(file)))
}

// Clean removes what Build made.
func Clean() error {
	builds.mu.Lock()
	defer builds.mu.Unlock()
	if builds.dir == "" {
		return nil
	}
	err := os.RemoveAll(builds.dir)
	builds.dir, builds.paths, builds.errs = "", nil, nil
	return err
}

package peer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a program that runs for a system.
type process struct {
	cmd   *exec.Cmd
	name  string
	log   string // file with what it says
	ended chan struct{}
	err   error // why it ended; set before ended is closed
}

// startProcess starts a program that logs to NAME.log in dir and dies with this process.
func startProcess(cmd *exec.Cmd, dir, name string) (*process, error) {
	p := &process{cmd: cmd, name: name, log: filepath.Join(dir, name+".log"), ended: make(chan struct{})}
	log, err := os.Create(p.log)
	if err != nil {
		return nil, fmt.Errorf("peer: %s: %w", name, err)
	}
	defer log.Close() // the program has its own
	cmd.Stdout, cmd.Stderr = log, log
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("peer: %s: %w", name, err)
	}
	go func() { // ends with the program
		p.err = cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

// listens waits until the program takes connections at an address.
func (p *process) listens(ctx context.Context, address string) error {
	return p.until(ctx, "does not listen", func() error {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
		}
		return err
	})
}

// until polls until try succeeds. It fails when the program ends, and after two minutes or when ctx does.
func (p *process) until(ctx context.Context, complaint string, try func() error) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-p.ended:
			return fmt.Errorf("peer: %s has ended: %v\n%s", p.name, p.err, p.said())
		case <-ctx.Done():
			return fmt.Errorf("peer: %s %s: %w\n%s", p.name, complaint, err, p.said())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// said is the end of the program's log.
func (p *process) said() string {
	const most = 4 << 10
	f, err := os.Open(p.log)
	if err != nil {
		return ""
	}
	defer f.Close()
	if end, err := f.Seek(0, io.SeekEnd); err == nil {
		_, _ = f.Seek(max(end-most, 0), io.SeekStart)
	}
	b, _ := io.ReadAll(f)
	return string(b)
}

// pids are the program and what it has started that runs now.
func (p *process) pids() []int { return family(p.cmd.Process.Pid) }

// stop asks the program to end by a signal, and kills it where that takes longer than a minute. What it started ends with it.
func (p *process) stop(by syscall.Signal) error {
	if p == nil {
		return nil
	}
	_ = p.cmd.Process.Signal(by) // fails where it has ended
	select {
	case <-p.ended:
		return nil
	case <-time.After(time.Minute):
	}
	_ = p.cmd.Process.Kill()
	<-p.ended
	return fmt.Errorf("peer: %s had to be killed\n%s", p.name, p.said())
}

// family is a process with all that descends from it, as they run now.
func family(pid int) []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return []int{pid}
	}
	children := map[int][]int{}
	for _, e := range entries {
		child, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile(filepath.Join("/proc", e.Name(), "stat"))
		if err != nil {
			continue // it has ended
		}
		// PID (NAME) STATE PARENT …; the name may have blanks and brackets.
		_, rest, _ := strings.Cut(string(stat[strings.LastIndexByte(string(stat), ')'):]), " ")
		if fields := strings.Fields(rest); len(fields) > 1 {
			if parent, err := strconv.Atoi(fields[1]); err == nil {
				children[parent] = append(children[parent], child)
			}
		}
	}
	all := []int{pid}
	for i := 0; i < len(all); i++ {
		all = append(all, children[all[i]]...)
	}
	return all
}

// root is the folder of the repository.
func root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Dir(filepath.Dir(filepath.Dir(file)))
}

// cache is the folder of what is kept from run to run: programs that were built or taken out of packages.
func cache() (string, error) {
	dir, err := os.UserCacheDir()
	if err == nil {
		dir = filepath.Join(dir, "chatmesh", "bench")
		err = os.MkdirAll(dir, 0o755)
	}
	if err != nil {
		return "", fmt.Errorf("peer: a folder to keep programs in: %w", err)
	}
	return dir, nil
}

// goBuild builds a main package, a path from the root of the repository such as ./bench/servers/centrifuge, and returns where it is.
// A server that runs keeps its own program.
func goBuild(ctx context.Context, pkg string) (string, error) {
	dir, err := cache()
	if err != nil {
		return "", err
	}
	out, err := os.MkdirTemp(dir, "build-")
	if err != nil {
		return "", fmt.Errorf("peer: build of %s: %w", pkg, err)
	}
	defer os.RemoveAll(out)
	name := filepath.Base(pkg)
	cmd := exec.CommandContext(ctx, "go", "build", "-o", filepath.Join(out, name), pkg)
	cmd.Dir = root()
	if said, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("peer: build of %s: %w\n%s", pkg, err, said)
	}
	if err := os.Rename(filepath.Join(out, name), filepath.Join(dir, name)); err != nil {
		return "", fmt.Errorf("peer: build of %s: %w", pkg, err)
	}
	return filepath.Join(dir, name), nil
}

// run runs a command to its end and returns what it printed; what it complained stands in the error.
func run(cmd *exec.Cmd) (string, error) {
	out, err := cmd.Output()
	if err == nil {
		return string(out), nil
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = fmt.Errorf("%w: %s", err, strings.TrimSpace(string(exit.Stderr)))
	}
	return "", fmt.Errorf("peer: %s: %w", filepath.Base(cmd.Path), err)
}

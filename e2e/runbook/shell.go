package runbook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Shell runs commands one after the other in bash. Variables that one sets, with lower-case names or CHATMESH_…, the next one has.
type Shell struct {
	// Dir is where commands run; it also keeps the variables.
	Dir string
	// Env are variables beside those of this process.
	Env []string

	jobs []*job
}

// job is a command that runs until the end.
type job struct {
	cmd *exec.Cmd
	mu  sync.Mutex // guards out
	out bytes.Buffer
}

// Write keeps what the command prints.
func (j *job) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.out.Write(p)
}

// How long a command may take, and how long one of "until" is repeated.
const (
	within      = 3 * time.Minute
	untilWithin = 3 * time.Minute
	again       = 250 * time.Millisecond
)

// Run runs a step and returns what it printed last. It fails unless that is what the document shows, and the command ends well.
func (s *Shell) Run(ctx context.Context, step Step) (printed string, err error) {
	if command, ok := strings.CutSuffix(step.Command, " &"); ok {
		return "", s.begin(command)
	}
	for end := time.Now().Add(untilWithin); ; {
		printed, err = s.run(ctx, step.Command)
		if missed := step.Misses(printed); err == nil && missed != "" {
			err = fmt.Errorf("the document shows what is not printed: %s", missed)
		}
		// Brokers that are electing a leader answer nobody: what was asked is not done, and whoever reads that asks again.
		elect := err != nil && strings.Contains(printed, "no responders available")
		if err == nil || !step.Until && !elect || time.Now().After(end) || ctx.Err() != nil {
			return printed, err
		}
		time.Sleep(again)
	}
}

func (s *Shell) run(ctx context.Context, command string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	state := filepath.Join(s.Dir, ".variables")
	script := `[ -e "$STATE" ] && . "$STATE"
` + command + `
code=$?
declare -p $(compgen -v | grep -E '^([a-z][a-z_0-9]*|CHATMESH_[A-Z_]+)$') >"$STATE"
exit $code`
	cmd := exec.CommandContext(ctx, "bash", "-c", script)
	cmd.Env = append(append(os.Environ(), s.Env...), "STATE="+state)
	cmd.Dir = s.Dir
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("runbook: %w", err)
	}
	return string(out), nil
}

// begin starts a command that runs until the end.
func (s *Shell) begin(command string) error {
	j := &job{cmd: exec.Command("bash", "-c", `[ -e "$STATE" ] && . "$STATE"
exec `+command)}
	j.cmd.Env = append(append(os.Environ(), s.Env...), "STATE="+filepath.Join(s.Dir, ".variables"))
	j.cmd.Dir = s.Dir
	j.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	j.cmd.Stdout, j.cmd.Stderr = j, j
	if err := j.cmd.Start(); err != nil {
		return fmt.Errorf("runbook: %w", err)
	}
	s.jobs = append(s.jobs, j)
	return nil
}

// Log is what the commands that run until the end have printed.
func (s *Shell) Log() string {
	var out strings.Builder
	for _, j := range s.jobs {
		j.mu.Lock()
		fmt.Fprintf(&out, "%s\n%s\n", j.cmd.Args[len(j.cmd.Args)-1], j.out.String())
		j.mu.Unlock()
	}
	return out.String()
}

// End asks the commands that still run to end, and waits.
func (s *Shell) End() error {
	var errs []error
	for _, j := range s.jobs {
		_ = j.cmd.Process.Signal(syscall.SIGTERM) // fails where it has ended
		kill := time.AfterFunc(20*time.Second, func() { _ = j.cmd.Process.Kill() })
		if err := j.cmd.Wait(); err != nil {
			errs = append(errs, fmt.Errorf("runbook: %s: %w", j.cmd.Args[len(j.cmd.Args)-1], err))
		}
		kill.Stop()
	}
	s.jobs = nil
	return errors.Join(errs...)
}

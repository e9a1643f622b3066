package stack

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Process is a command line that runs.
type Process struct {
	Name string
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended

	mu  sync.Mutex
	log bytes.Buffer // guarded by mu
}

// Write takes a piece of what the process says.
func (p *Process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.Write(b)
}

// Log is what it has said so far.
func (p *Process) Log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

// Start runs a command. The caller calls Stop.
func Start(name string, cmd *exec.Cmd) (*Process, error) {
	p := &Process{Name: name, cmd: cmd, done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = p, p
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("stack: %s: %w", name, err)
	}
	go func() {
		_ = cmd.Wait() // the exit code says it
		close(p.done)
	}()
	return p, nil
}

// Wait returns the exit code of a process that ends by itself within d.
func (p *Process) Wait(d time.Duration) (int, error) {
	late := time.NewTimer(d)
	defer late.Stop()
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode(), nil
	case <-late.C:
		return -1, fmt.Errorf("stack: %s still runs after %v", p.Name, d)
	}
}

// Ended tells whether it has ended.
func (p *Process) Ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Stop asks the process to end with SIGTERM, kills it where it does not within grace, and returns its exit code.
func (p *Process) Stop(grace time.Duration) (int, error) {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	code, err := p.Wait(grace)
	if err != nil {
		_ = p.cmd.Process.Kill()
		<-p.done
	}
	return code, err
}

// Healthy runs the health check of a service once: the program itself for chatmesh, and what it asks over HTTP for the others.
func (s *Stack) Healthy(ctx context.Context, service, chatmesh string) error {
	check := s.Project.Services[service].HealthCheck
	if check == nil || len(check.Test) < 2 || check.Test[0] != "CMD" {
		return fmt.Errorf("stack: %s has no health check that can be run: %v", service, check)
	}
	words := make([]string, len(check.Test)-1)
	for i, word := range check.Test[1:] {
		text, err := s.Translate(service, word)
		if err != nil {
			return err
		}
		words[i] = text
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(*check.Timeout))
	defer cancel()
	switch words[0] {
	case "/chatmesh":
		env, err := s.environment(service)
		if err != nil {
			return err
		}
		cmd := exec.CommandContext(ctx, chatmesh, words[1:]...)
		cmd.Env = env
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", service, err, bytes.TrimSpace(out))
		}
		return nil
	case "wget":
		return get(ctx, words[len(words)-1])
	}
	return fmt.Errorf("stack: %s: nobody knows how to run %q", service, words)
}

// get wants 200.
func get(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(res.Body, 1000))
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s: %s", url, res.Status, strings.TrimSpace(string(body)))
	}
	return nil
}

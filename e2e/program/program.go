package program

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	// readyWithin is how long a start may take before it counts as failed.
	readyWithin = 2 * time.Minute
	// stopWithin is how long the program may take to stop before it is killed.
	stopWithin = time.Minute
	// StopsWithin is how long a program takes at most that stops among many that run, with the race detector: the 10 s that are promised are
	// those of a machine that has time for it, and one story looks for them alone.
	StopsWithin = 20 * time.Second
)

// Config says how to start the program.
type Config struct {
	// Data is the folder of its durable state.
	Data string
	// Listen is where clients connect; empty is any free port of 127.0.0.1.
	Listen string
	// AdminListen is where operators connect; empty is any free port of 127.0.0.1.
	AdminListen string
	// RateLimits leaves the limits on, which stories want off.
	RateLimits bool
	// NoRace uses a binary that was built without the race detector.
	NoRace bool
	// Args are further arguments; Env are variables beside those of this process.
	Args, Env []string
}

// Program is a running process of chatmesh.
type Program struct {
	// Client, Admin and NATS are the addresses it printed, without a slash at the end. NATS is empty where the broker is apart.
	Client, Admin, NATS string
	// Ready is how long it took from the start of the process to its line.
	Ready time.Duration

	cmd    *exec.Cmd
	began  time.Time
	line   chan string // gets the line that says where it listens
	http   *http.Client
	output chan struct{} // closed when the output has ended

	mu      sync.Mutex
	log     bytes.Buffer    // guarded by mu; everything it wrote to stdout and stderr
	secrets map[string]bool // guarded by mu
	ended   bool            // guarded by mu
	exit    int             // guarded by mu
}

// Start starts the program and waits until it is ready. When the test ends the program is stopped, and the test fails if
// Finish finds something.
func Start(t testing.TB, cfg Config) *Program {
	t.Helper()
	if cfg.Data == "" {
		cfg.Data = t.TempDir()
	}
	p, err := Launch(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("ready after %v, pid %d", p.Ready.Round(time.Millisecond), p.PID())
	t.Cleanup(func() {
		for _, problem := range p.Finish() {
			t.Error(problem)
		}
		if t.Failed() {
			t.Logf("the end of its log:\n%s", p.Tail(40))
		}
	})
	return p
}

// Launch is Start without a test. The caller calls Finish.
func Launch(cfg Config) (*Program, error) {
	p, err := Begin(cfg)
	if err != nil {
		return nil, err
	}
	if err := p.AwaitReady(readyWithin); err != nil {
		p.Kill()
		return nil, err
	}
	return p, nil
}

// At is a mesh that runs already and is somebody else's: clients connect at one address, operators at another.
func At(client, admin string) *Program {
	return &Program{Client: client, Admin: admin, secrets: map[string]bool{},
		http: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}}
}

// Begin starts the program and does not wait until it is ready: what it needs may come later. Client and Admin are known at once
// where the addresses are given, otherwise with AwaitReady. The caller calls Finish.
func Begin(cfg Config) (*Program, error) {
	path, err := Build(!cfg.NoRace)
	if err != nil {
		return nil, err
	}
	address := func(given string) string {
		if given == "" {
			return "127.0.0.1:0"
		}
		return given
	}
	args := []string{"--listen", address(cfg.Listen), "--admin-listen", address(cfg.AdminListen), "--nats-listen", "127.0.0.1:0", "--data", cfg.Data}
	if !cfg.RateLimits {
		args = append(args, "--rate-limits", "off")
	}
	p := &Program{cmd: exec.Command(path, append(args, cfg.Args...)...), output: make(chan struct{}), began: time.Now(), line: make(chan string, 1),
		secrets: map[string]bool{}, http: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}}
	if cfg.Listen != "" {
		p.Client = "http://" + cfg.Listen
	}
	if cfg.AdminListen != "" {
		p.Admin = "http://" + cfg.AdminListen
	}
	p.cmd.Env = append(p.cmd.Environ(), cfg.Env...)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	r, w := io.Pipe()
	p.cmd.Stdout, p.cmd.Stderr = w, w
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("program: start: %w", err)
	}
	go p.follow(r)
	go func() {
		p.cmd.Wait() // its error is the exit code
		w.Close()
	}()
	return p, nil
}

// AwaitReady waits until the program says that it is ready, and /readyz does.
func (p *Program) AwaitReady(within time.Duration) error {
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	end := time.Now().Add(within)
	select {
	case line := <-p.line:
		p.Ready = time.Since(p.began)
		if err := p.addresses(line); err != nil {
			return err
		}
	case <-p.output:
		return fmt.Errorf("program: ended with %d before it was ready:\n%s", p.exitCode(), p.Tail(40))
	case <-deadline.C:
		return fmt.Errorf("program: not ready within %v:\n%s", within, p.Tail(40))
	}
	return p.AwaitReadyz(time.Until(end))
}

// follow keeps the output until its end and hands out the line that says where the program listens.
func (p *Program) follow(r io.Reader) {
	defer close(p.output)
	lines := bufio.NewReaderSize(r, 64<<10)
	told := false
	for {
		line, err := lines.ReadString('\n')
		p.mu.Lock()
		p.log.WriteString(line)
		p.mu.Unlock()
		if !told && strings.Contains(line, "is ready") && strings.Contains(line, "http://") {
			p.line <- line
			told = true
		}
		if err != nil {
			return
		}
	}
}

var (
	httpAddress = regexp.MustCompile(`https?://[^\s,;()"]+`)
	natsAddress = regexp.MustCompile(`nats://[^\s,;()"]+`)
)

func (p *Program) addresses(line string) error {
	web, broker := httpAddress.FindAllString(line, -1), natsAddress.FindString(line)
	external := slices.Contains(p.cmd.Args, "--nats-url")
	if len(web) == 1 && external { // a service that no client talks to
		p.Admin = strings.TrimRight(web[0], "/.")
		return nil
	}
	if len(web) < 2 || broker == "" && !external {
		return fmt.Errorf("program: cannot read the addresses of %q", line)
	}
	p.Client, p.Admin, p.NATS = strings.TrimRight(web[0], "/."), strings.TrimRight(web[1], "/."), strings.TrimRight(broker, "/.")
	return nil
}

// AwaitReadyz waits until /readyz says that all is well.
func (p *Program) AwaitReadyz(d time.Duration) error {
	deadline := time.Now().Add(d)
	for {
		status, _, err := p.AdminGet("/readyz")
		if err == nil && status == http.StatusOK {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("program: /readyz answers %d, %v", status, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// AdminGet asks the operators' address for a path.
func (p *Program) AdminGet(path string) (status int, body string, err error) {
	res, err := p.http.Get(p.Admin + path)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return res.StatusCode, string(b), err
}

// PID is the id of the process.
func (p *Program) PID() int { return p.cmd.Process.Pid }

// Log is everything the process has written so far.
func (p *Program) Log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

// Tail are the last n lines of the log.
func (p *Program) Tail(n int) string {
	lines := strings.Split(strings.TrimSpace(p.Log()), "\n")
	for i, l := range lines {
		if len(l) > 1000 {
			lines[i] = l[:1000] + "…"
		}
	}
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// Secrets are what Guard was told.
func (p *Program) Secrets() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Collect(maps.Keys(p.secrets))
}

// Guard remembers strings that must appear neither in the log nor in the metrics.
func (p *Program) Guard(secrets ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range secrets {
		if s != "" {
			p.secrets[s] = true
		}
	}
}

// Terminate asks the program to stop with SIGTERM and returns its exit code and how long it took.
func (p *Program) Terminate() (exit int, took time.Duration, err error) {
	began := time.Now()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return 0, 0, fmt.Errorf("program: terminate: %w", err)
	}
	deadline := time.NewTimer(stopWithin)
	defer deadline.Stop()
	select {
	case <-p.output:
		return p.exitCode(), time.Since(began), nil
	case <-deadline.C:
		p.Kill()
		return -1, time.Since(began), errors.New("program: still running long after SIGTERM; killed")
	}
}

// Kill ends the process with SIGKILL and waits for its end.
func (p *Program) Kill() {
	p.cmd.Process.Kill()
	<-p.output
	p.exitCode()
}

// exitCode is called after output was closed: then Wait has returned.
func (p *Program) exitCode() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended, p.exit = true, p.cmd.ProcessState.ExitCode()
	return p.exit
}

// running tells whether nobody has seen the process end.
func (p *Program) running() bool {
	select {
	case <-p.output:
		return false
	default:
		return true
	}
}

// Finish stops the program if it runs, and lists what is wrong: an exit code, a race or a panic in the log, a secret in
// the log or in the metrics. The log and the metrics are never quoted whole.
func (p *Program) Finish() (problems []string) {
	if p.cmd == nil {
		return nil
	}
	metrics := ""
	p.mu.Lock()
	known := p.ended
	p.mu.Unlock()
	switch {
	case p.running():
		var err error
		if metrics, err = p.lastMetrics(); err != nil {
			problems = append(problems, fmt.Sprintf("/metrics at the end: %v", err))
		}
		exit, took, err := p.Terminate()
		if err != nil || exit != 0 || took > StopsWithin {
			problems = append(problems, fmt.Sprintf("SIGTERM: exit code %d after %v, %v; want 0 soon", exit, took, err))
		}
	case !known:
		problems = append(problems, fmt.Sprintf("the program ended by itself with exit code %d", p.exitCode()))
	}
	log := p.Log()
	for _, bad := range []string{"DATA RACE", "panic"} {
		if i := strings.Index(log, bad); i >= 0 {
			problems = append(problems, fmt.Sprintf("%q in the log:\n%s", bad, excerpt(log, i)))
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for s := range p.secrets {
		if i := strings.Index(log, s); i >= 0 {
			problems = append(problems, fmt.Sprintf("secret %.12q… in the log:\n%s", s, excerpt(log, i)))
		}
		if strings.Contains(metrics, s) {
			problems = append(problems, fmt.Sprintf("secret %.12q… in the metrics", s))
		}
	}
	return problems
}

// lastMetrics are the metrics of a program that runs. One that was only just started is waited for: until it listens it may not know
// SIGTERM either.
func (p *Program) lastMetrics() (string, error) {
	for end := time.Now().Add(readyWithin); ; time.Sleep(20 * time.Millisecond) {
		_, metrics, err := p.AdminGet("/metrics")
		if err == nil || !p.running() || time.Now().After(end) {
			return metrics, err
		}
	}
}

func excerpt(s string, at int) string {
	return s[max(0, at-300):min(len(s), at+4000)]
}

// Run runs the program with exactly these arguments and environment until it ends, at most d, and returns what it wrote. It is for
// starts that should fail.
func Run(d time.Duration, args, env []string) (exit int, stdout, stderr string, err error) {
	path, err := Build(true)
	if err != nil {
		return 0, "", "", err
	}
	cmd := exec.Command(path, args...)
	cmd.Env = append(cmd.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var out, bad bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &bad
	if err := cmd.Start(); err != nil {
		return 0, "", "", err
	}
	late := time.AfterFunc(d, func() { cmd.Process.Kill() })
	cmd.Wait() // its error is the exit code
	if !late.Stop() {
		return -1, out.String(), bad.String(), fmt.Errorf("program: still running after %v", d)
	}
	return cmd.ProcessState.ExitCode(), out.String(), bad.String(), nil
}

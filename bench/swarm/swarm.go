// Package swarm connects more people to a chatmesh than a process may have descriptors: several processes of the same program share
// them. A program that uses it calls Main first.
package swarm

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/chatmesh/chatmesh/bench/driver"
	"github.com/chatmesh/chatmesh/bench/peer"
)

// marker is the variable by which a process knows that it belongs to a swarm.
const marker = "CHATMESH_BENCH_SWARM"

// orders are what a process of a swarm does: it connects people to an edge.
type orders struct {
	Address string
	People  []peer.Person
	AtOnce  int
}

// Main does the work of a process of a swarm, and ends it then; in any other process it returns at once.
func Main() {
	if os.Getenv(marker) == "" {
		return
	}
	if err := work(os.Stdin, os.Stdout); err != nil {
		fmt.Println("failed", strings.ReplaceAll(err.Error(), "\n", "; "))
		os.Exit(1)
	}
	os.Exit(0)
}

// work reads orders, waits for a line, connects, says how often it had to try again, and stays until in ends.
func work(in io.Reader, out io.Writer) error {
	lines := bufio.NewReaderSize(in, 1<<20)
	line, err := lines.ReadBytes('\n')
	if err != nil {
		return err
	}
	var o orders
	if err := json.Unmarshal(line, &o); err != nil {
		return err
	}
	edge, err := peer.EdgeAt(o.Address)
	if err != nil {
		return err
	}
	defer edge.Close()
	fmt.Fprintln(out, "ready")
	if _, err := lines.ReadString('\n'); err != nil {
		return err
	}
	s := &sink{}
	retries, err := Connect(context.Background(), o.People, o.AtOnce, func(ctx context.Context, p peer.Person, _ int) error {
		_, err := edge.Dial(ctx, p, s)
		return err
	})
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "welcomed", retries)
	if _, err := io.Copy(io.Discard, lines); err != nil {
		return err
	}
	if err := s.err.Load(); err != nil {
		return *err
	}
	fmt.Fprintln(out, "stayed")
	return nil
}

// sink is for people who only listen; it keeps the first thing that went wrong.
type sink struct{ err atomic.Pointer[error] }

func (s *sink) Acked(uint32)     {}
func (s *sink) Delivered([]byte) {}
func (s *sink) Failed(err error) { s.err.CompareAndSwap(nil, &err) }

// Connect connects people, so many at a time, each in the way of dial, which gets its index. Who is refused tries again after some time,
// as clients do; how often that was is returned. It gives up when ctx ends, or somebody has been refused for a minute.
func Connect(ctx context.Context, people []peer.Person, atOnce int, dial func(ctx context.Context, p peer.Person, i int) error) (retries int, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next, again atomic.Int64
	var wg sync.WaitGroup
	for range min(atOnce, len(people)) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(people) && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				began := time.Now()
				for wait := 100 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
					err := dial(ctx, people[i], i)
					if err == nil {
						break
					}
					if time.Since(began) > time.Minute {
						cancel(err)
					}
					again.Add(1)
					select {
					case <-ctx.Done():
						return
					case <-time.After(wait):
					}
				}
			}
		})
	}
	wg.Wait()
	return int(again.Load()), context.Cause(ctx)
}

// Swarm are processes that connect people.
type Swarm struct{ all []*member }

type member struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines *bufio.Scanner
}

// Gather starts a process for each address, with its share of the people, who connect at Go, so many at a time in all.
func Gather(addresses []string, people []peer.Person, atOnce int) (*Swarm, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("swarm: %w", err)
	}
	s := &Swarm{}
	for i, address := range addresses {
		m := &member{cmd: exec.Command(self)}
		m.cmd.Env = append(os.Environ(), marker+"=1")
		m.cmd.Stderr = os.Stderr
		m.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		out, err := m.cmd.StdoutPipe()
		if err == nil {
			m.in, err = m.cmd.StdinPipe()
		}
		if err == nil {
			err = m.cmd.Start()
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("swarm: %w", err), s.Leave())
		}
		m.lines = bufio.NewScanner(out)
		s.all = append(s.all, m)
		share := people[i*len(people)/len(addresses) : (i+1)*len(people)/len(addresses)]
		if err := json.NewEncoder(m.in).Encode(orders{address, share, max(atOnce/len(addresses), 1)}); err != nil {
			return nil, errors.Join(fmt.Errorf("swarm: %w", err), s.Leave())
		}
	}
	for _, m := range s.all {
		if _, err := m.expect("ready"); err != nil {
			return nil, errors.Join(err, s.Leave())
		}
	}
	return s, nil
}

// expect reads a line that begins with a word and returns the rest.
func (m *member) expect(word string) (string, error) {
	if !m.lines.Scan() {
		return "", fmt.Errorf("swarm: a process ended: %w", errors.Join(m.lines.Err(), io.ErrUnexpectedEOF))
	}
	if rest, ok := strings.CutPrefix(m.lines.Text(), word); ok {
		return rest, nil
	}
	return "", fmt.Errorf("swarm: %s", m.lines.Text())
}

// Go lets all connect at once and returns when they are welcomed, with how often somebody had to try again and how long it took.
func (s *Swarm) Go() (retries int, took time.Duration, err error) {
	began := driver.Clock()
	for _, m := range s.all {
		if _, err := io.WriteString(m.in, "go\n"); err != nil {
			return 0, 0, fmt.Errorf("swarm: %w", err)
		}
	}
	for _, m := range s.all {
		rest, err := m.expect("welcomed")
		if err != nil {
			return 0, 0, err
		}
		n := 0
		fmt.Sscan(rest, &n)
		retries += n
	}
	return retries, driver.Clock() - began, nil
}

// Leave closes all connections and ends the processes. It fails where a connection had ended before.
func (s *Swarm) Leave() error {
	var errs []error
	for _, m := range s.all {
		m.in.Close()
		if _, err := m.expect("stayed"); err != nil {
			errs = append(errs, err)
		}
		if err := m.cmd.Wait(); err != nil {
			errs = append(errs, fmt.Errorf("swarm: %w", err))
		}
	}
	s.all = nil
	return errors.Join(errs...)
}

package scenario

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// idle measures the memory of people who are connected and silent, each a person of their own. It is for a server that has just
// started.
func idle(ctx context.Context, r *Run) error {
	n := r.Scale.Idle
	people, err := r.somebody(ctx, n)
	if err != nil {
		return err
	}
	c := newCrowd(r)
	defer c.leave()
	if _, err := c.connect(ctx, people[:n/50]); err != nil { // what there is once, whatever the number
		return err
	}
	before, err := c.memory(ctx)
	if err != nil {
		return err
	}
	if _, err := c.connect(ctx, people[n/50:]); err != nil {
		return err
	}
	after, err := c.memory(ctx)
	if err != nil {
		return err
	}
	added := float64(n - n/50)
	r.Record("idle_kb_per_user", float64(after.pss-before.pss)/1024/added, "KB")
	r.Record("idle_kernel_kb_per_user", float64(after.kernel-before.kernel)/1024/added/2, "KB")
	return nil
}

// memory is what is in use, in bytes.
type memory struct {
	// pss is that of the server's processes, shared pages counted in parts.
	pss int
	// kernel is that of the kernel of the whole machine: both ends of every connection.
	kernel int
}

// memory returns the least of what is in use, once it has not become notably less for some seconds: garbage is given back, and what people who
// came have left to do is done.
func (c *crowd) memory(ctx context.Context) (least memory, err error) {
	end, last := time.Now().Add(c.run.Scale.Calm), time.Now().Add(4*c.run.Scale.Calm)
	for first := true; first || time.Now().Before(end); first = false {
		if err := pause(ctx, 200*time.Millisecond, c); err != nil {
			return least, err
		}
		m := memory{}
		for _, pid := range c.run.Server.PIDs() {
			n, err := kilobytes(fmt.Sprintf("/proc/%d/smaps_rollup", pid), "Pss:")
			if err != nil {
				return least, err
			}
			m.pss += n
		}
		if m.kernel, err = kilobytes("/proc/meminfo", "Slab:", "KernelStack:", "PageTables:"); err != nil {
			return least, err
		}
		pages, err := socketPages()
		if err != nil {
			return least, err
		}
		m.kernel += pages * os.Getpagesize()
		if first {
			least = m
		}
		if now := time.Now(); m.pss < least.pss-least.pss/50 && now.Before(last) {
			end = now.Add(c.run.Scale.Calm)
		}
		least = memory{min(least.pss, m.pss), min(least.kernel, m.kernel)}
	}
	return least, nil
}

// kilobytes sums up lines of a file that give a number of KB, in bytes.
func kilobytes(path string, names ...string) (sum int, err error) {
	err = eachLine(path, func(fields []string) {
		for _, name := range names {
			if fields[0] == name && len(fields) > 1 {
				n, _ := strconv.Atoi(fields[1]) // the kernel's own
				sum += n * 1024
			}
		}
	})
	return sum, err
}

// socketPages is how many pages the buffers of TCP sockets have.
func socketPages() (pages int, err error) {
	err = eachLine("/proc/net/sockstat", func(fields []string) {
		for i := 1; fields[0] == "TCP:" && i < len(fields)-1; i++ {
			if fields[i] == "mem" {
				pages, _ = strconv.Atoi(fields[i+1]) // the kernel's own
			}
		}
	})
	return pages, err
}

func eachLine(path string, do func(fields []string)) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("memory: %w", err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if fields := strings.Fields(lines.Text()); len(fields) > 0 {
			do(fields)
		}
	}
	return lines.Err()
}

package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

// progress tells how far something is: with a bar on a terminal, with a line now and then elsewhere.
type progress struct {
	out   io.Writer
	bar   bool
	every time.Duration
	now   func() time.Time
	what  string
	total int

	mu          sync.Mutex // guards the following fields, and the lines that are written
	done        int
	began, told time.Time
}

// How often progress is told.
const (
	barEvery  = 100 * time.Millisecond
	lineEvery = 10 * time.Second
	barWidth  = 30
)

// newProgress begins to tell of total things on out.
func newProgress(out io.Writer, total int, what string) *progress {
	p := &progress{out: out, bar: isTerminal(out), every: lineEvery, now: time.Now, what: what, total: total}
	if p.bar {
		p.every = barEvery
	}
	p.begin()
	return p
}

func (p *progress) begin() {
	p.began = p.now()
	p.told = p.began
	p.draw()
}

func isTerminal(w io.Writer) bool {
	if e, ok := w.(errorOutput); ok {
		w = e.Writer
	}
	f, ok := w.(*os.File)
	if !ok || os.Getenv("TERM") == "dumb" {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// step tells that one more is done. What say writes, if it is given, stands on lines of its own.
func (p *progress) step(say func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done++
	if say != nil {
		p.clear()
		say()
	}
	if now := p.now(); say != nil && p.bar || now.Sub(p.told) >= p.every {
		p.told = now
		p.draw()
	}
}

// end takes the bar away.
func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.clear(); !p.bar {
		p.draw()
	}
}

func (p *progress) clear() {
	if p.bar {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
}

func (p *progress) draw() {
	part := 1.0
	if p.total > 0 {
		part = float64(p.done) / float64(p.total)
	}
	text := fmt.Sprintf("%d of %d %s", p.done, p.total, p.what)
	if took := p.now().Sub(p.began).Seconds(); took > 0 && p.done > 0 {
		rate := float64(p.done) / took
		text += fmt.Sprintf(", %.3g/s", rate)
		if left := p.total - p.done; left > 0 {
			text += fmt.Sprintf(", %v left", time.Duration(float64(left)/rate*float64(time.Second)).Round(time.Second))
		}
	}
	if !p.bar {
		fmt.Fprintln(p.out, text)
		return
	}
	full := int(part * barWidth)
	fmt.Fprintf(p.out, "\r\x1b[K%3.0f%% [%s%s] %s", 100*part, strings.Repeat("=", full), strings.Repeat(" ", barWidth-full), text)
}

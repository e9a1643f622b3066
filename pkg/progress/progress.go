// Package progress tells people how far something is. It promises that what it writes to a file or a pipe are plain lines, and that a
// bar on a terminal is gone when it has ended.
package progress

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

// Bar tells how far something is: with a bar on a terminal, with a line now and then elsewhere. Its methods may be called at once
// from anywhere.
type Bar struct {
	out   io.Writer
	bar   bool
	every time.Duration
	now   func() time.Time
	what  string
	total int

	mu          sync.Mutex // guards the following fields, and the lines that are written
	done        int
	doing       string
	began, told time.Time
}

// How often progress is told.
const (
	barEvery  = 100 * time.Millisecond
	lineEvery = 10 * time.Second
	barWidth  = 30
)

// Begin begins to tell on out how many of total are done; what says of what, such as "chats verified". Steps that take unequally long
// are told better where each counts for about as many as it takes seconds.
func Begin(out io.Writer, total int, what string) *Bar {
	b := &Bar{out: out, bar: OnTerminal(out), every: lineEvery, now: time.Now, what: what, total: total}
	if b.bar {
		b.every = barEvery
	}
	b.begin()
	return b
}

func (b *Bar) begin() {
	b.began = b.now()
	b.told = b.began
	b.draw()
}

// OnTerminal tells whether out is a terminal that can show a bar. A writer around another says which with a method Unwrap.
func OnTerminal(out io.Writer) bool {
	if w, ok := out.(interface{ Unwrap() io.Writer }); ok {
		out = w.Unwrap()
	}
	f, ok := out.(*os.File)
	if !ok || os.Getenv("TERM") == "dumb" {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// Step tells that one more is done. What say writes, if it is given, stands on lines of its own.
func (b *Bar) Step(say func()) { b.Add(1, say) }

// Add tells that n more are done, as Step does.
func (b *Bar) Add(n int, say func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.done += n
	if say != nil {
		b.clear()
		say()
	}
	b.tell(say != nil && b.bar)
}

// Doing tells what is done just now, behind the bar. Elsewhere than on a terminal it is a line of its own when it changes.
func (b *Bar) Doing(what string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	changed := what != b.doing
	b.doing = what
	b.tell(changed)
}

// tell draws, if it is time or must be.
func (b *Bar) tell(must bool) {
	if now := b.now(); must || now.Sub(b.told) >= b.every {
		b.told = now
		b.draw()
	}
}

// End takes the bar away; elsewhere it writes a last line.
func (b *Bar) End() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.doing = ""
	if b.clear(); !b.bar {
		b.draw()
	}
}

func (b *Bar) clear() {
	if b.bar {
		fmt.Fprint(b.out, "\r\x1b[K")
	}
}

func (b *Bar) draw() {
	part := 1.0
	if b.total > 0 {
		part = min(float64(b.done)/float64(b.total), 1)
	}
	text := fmt.Sprintf("%d of %d %s", b.done, b.total, b.what)
	if took := b.now().Sub(b.began).Seconds(); took > 0 && b.done > 0 {
		rate := float64(b.done) / took
		text += fmt.Sprintf(", %.3g/s", rate)
		if left := b.total - b.done; left > 0 {
			text += fmt.Sprintf(", %v left", time.Duration(float64(left)/rate*float64(time.Second)).Round(time.Second))
		}
	}
	if b.doing != "" {
		text += ": " + b.doing
	}
	if !b.bar {
		fmt.Fprintln(b.out, text)
		return
	}
	full := int(part * barWidth)
	fmt.Fprintf(b.out, "\r\x1b[K%3.0f%% [%s%s] %s", 100*part, strings.Repeat("=", full), strings.Repeat(" ", barWidth-full), text)
}

// Package local measures the parts of chatmesh that no peer has: pages of history, the way into the store, presence. Each is held against the
// bare library or driver below it, in turns, within this process.
package local

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"time"

	"github.com/chatmesh/chatmesh/bench/report"
)

// Part is a part of chatmesh that no peer has, measured against the bare library or driver below it. It starts what it needs
// within this process.
type Part struct {
	Name string
	// About says in a few words what is done.
	About string
	// Seconds is about how long it takes, for progress.
	Seconds int
	Run     func(ctx context.Context, o Options) ([]report.Figure, error)
}

// Options say how a Part is measured.
type Options struct {
	// Dir is an empty folder for its state; the caller removes it.
	Dir string
	// Quick does little of everything, so that a test can show that it works.
	Quick bool
	// CQL is HOST:PORT of a CQL server that is there already; empty starts one.
	CQL string
	// Say is told what is going on; nil is nobody.
	Say func(string)
}

// All are all of them.
func All() []Part {
	return []Part{
		{Name: "history", About: "pages of 50 of a chat with 1,000,000 events: over HTTP and from the embedded store", Seconds: 40, Run: history},
		{Name: "persister", About: "a backlog on its way into the embedded store, and bare batches of the same rows", Seconds: 30, Run: persisterPebble},
		{Name: "presence", About: "100,000 people online with their heartbeats, and how soon a change is told", Seconds: 35, Run: presenceOfMany},
		{Name: "cql", About: "pages and a backlog on a CQL server, and the driver's bare queries and batches of the same rows", Seconds: 90, Run: onCQL},
	}
}

func (o Options) say(format string, args ...any) {
	if o.Say != nil {
		o.Say(fmt.Sprintf(format, args...))
	}
}

// of is full in a full run, few in a quick one.
func (o Options) of(full, few int) int {
	if o.Quick {
		return few
	}
	return full
}

// onDisk is the durability of the figures, as peers have it.
const onDisk = "disk"

// measured makes a figure of the values of the rounds.
func measured(name, system, unit, durable string, rounds []float64) report.Figure {
	r := slices.Sorted(slices.Values(rounds))
	return report.Figure{Name: name, System: system, Unit: unit, Durable: durable, Value: middle(r), Low: r[0], High: r[len(r)-1], Rounds: len(r)}
}

// middle is the median of sorted values.
func middle(sorted []float64) float64 {
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// quantile of sorted times, in ms.
func quantile(sorted []time.Duration, part float64) float64 {
	at := min(int(part*float64(len(sorted))), len(sorted)-1)
	return float64(sorted[at]) / float64(time.Millisecond)
}

// spent is the CPU time of this process so far.
func spent() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0 // cannot be
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// checkout is the folder of the repository.
func checkout() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Dir(filepath.Dir(filepath.Dir(file)))
}

// sortTimes sorts in place and returns what it sorted.
func sortTimes(t []time.Duration) []time.Duration {
	slices.SortFunc(t, cmp.Compare[time.Duration])
	return t
}

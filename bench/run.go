package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/chatmesh/chatmesh/bench/local"
	"github.com/chatmesh/chatmesh/bench/peer"
	"github.com/chatmesh/chatmesh/bench/report"
	"github.com/chatmesh/chatmesh/bench/scenario"
	"github.com/chatmesh/chatmesh/pkg/progress"
)

// bench is a run of everything.
type bench struct {
	systems   []peer.System
	scenarios []scenario.Scenario
	rounds    int
	parts     []local.Part
	scale     scenario.Scale
	quick     bool
	log       io.Writer
}

// most is how long a scenario may take with one system before it counts as failed.
const most = 2 * time.Minute

// key names a figure of a system.
type key struct{ name, system string }

// run runs every round of every system and returns the medians. What failed counts as no figure; the error says what did.
func (b *bench) run(ctx context.Context) (report.Results, error) {
	results := report.Results{Machine: report.ThisMachine()}
	values := map[key]*report.Figure{}
	all := map[key][]float64{}
	var failed []error
	bar := progress.Begin(b.log, b.rounds*len(b.systems)*(len(b.scenarios)+1), "measured")
	defer bar.End()
	fail := func(err error) {
		failed = append(failed, err)
		bar.Add(0, func() { fmt.Fprintln(b.log, err) })
	}
	for _, s := range b.systems {
		if s.Setup == nil {
			continue
		}
		bar.Doing("installing " + s.Name)
		if err := s.Setup(ctx); err != nil {
			fail(fmt.Errorf("%s: setup: %w", s.Name, err))
		}
	}
	for round := range b.rounds {
		for _, s := range b.systems {
			if ctx.Err() != nil {
				return results, ctx.Err()
			}
			doing := func(what string) { bar.Doing(fmt.Sprintf("round %d, %s: %s", round+1, s.Name, what)) }
			err := b.one(ctx, s, round, doing, func() { bar.Step(nil) }, func(v scenario.Value) {
				if v.X != "" {
					addPoint(&results, s.Name, v)
					return
				}
				k := key{v.Name, s.Name}
				values[k] = &report.Figure{Name: v.Name, System: s.Name, Unit: v.Unit, Durable: string(s.Durable)}
				all[k] = append(all[k], v.Value)
				bar.Add(0, func() {
					fmt.Fprintf(b.log, "round %d  %-18s %-34s %12.4g %s\n", round+1, s.Name, v.Name, v.Value, v.Unit)
				})
			})
			if err != nil {
				fail(fmt.Errorf("%s, round %d: %w", s.Name, round+1, err))
			}
		}
	}
	for k, f := range values {
		sorted := slices.Sorted(slices.Values(all[k]))
		n := len(sorted)
		f.Low, f.High, f.Rounds, f.Value = sorted[0], sorted[n-1], n, (sorted[(n-1)/2]+sorted[n/2])/2
		results.Figures = append(results.Figures, *f)
	}
	return results, errors.Join(failed...)
}

// addPoint adds a point to its series.
func addPoint(r *report.Results, system string, v scenario.Value) {
	p := report.Point{X: v.At, Y: v.Value}
	for i := range r.Series {
		if s := &r.Series[i]; s.Name == v.Name && s.System == system {
			s.Points = append(s.Points, p)
			return
		}
	}
	r.Series = append(r.Series, report.Series{Name: v.Name, System: system, X: v.X, Unit: v.Unit, Points: []report.Point{p}})
}

// one is a round of a system: it starts with nothing, and all scenarios are run on it.
func (b *bench) one(ctx context.Context, s peer.System, round int, doing func(string), step func(), record func(scenario.Value)) (err error) {
	dir, err := os.MkdirTemp("", "chatmesh-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	doing("starts")
	server, err := s.Start(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Stop()) }()
	step()
	r := &scenario.Run{Server: server, Scale: b.scale}
	var failed []error
	for _, sc := range b.scenarios {
		if ctx.Err() == nil && (sc.Only == nil || sc.Only(s.Name)) && (sc.Rounds == 0 || round < sc.Rounds) {
			doing(sc.Name)
			limited, cancel := context.WithTimeout(ctx, most)
			values, err := r.Do(limited, sc)
			cancel()
			if err != nil {
				failed = append(failed, err)
			}
			for _, v := range values {
				record(v)
			}
		}
		step()
	}
	return errors.Join(failed...)
}

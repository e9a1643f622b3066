package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/chatmesh/chatmesh/bench/local"
	"github.com/chatmesh/chatmesh/bench/report"
	"github.com/chatmesh/chatmesh/pkg/progress"
)

// measureParts measures the parts of chatmesh that no peer has, once: each has rounds of its own.
func (b *bench) measureParts(ctx context.Context) (figures []report.Figure, err error) {
	if len(b.parts) == 0 {
		return nil, nil
	}
	seconds := 0
	for _, p := range b.parts {
		seconds += p.Seconds
	}
	bar := progress.Begin(b.log, seconds, "s of parts")
	defer bar.End()
	for _, p := range b.parts {
		if ctx.Err() != nil {
			return figures, errors.Join(err, ctx.Err())
		}
		bar.Doing(p.Name)
		some, failed := b.measurePart(ctx, p, func(s string) { bar.Doing(p.Name + ": " + s) })
		if failed != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", p.Name, failed))
		}
		figures = append(figures, some...)
		bar.Add(p.Seconds, func() {
			if failed != nil {
				fmt.Fprintf(b.log, "%s: %v\n", p.Name, failed)
			}
			for _, f := range some {
				fmt.Fprintf(b.log, "%-27s %-34s %12.4g %s\n", f.System, f.Name, f.Value, f.Unit)
			}
		})
	}
	return figures, err
}

func (b *bench) measurePart(ctx context.Context, p local.Part, say func(string)) (_ []report.Figure, err error) {
	dir, err := os.MkdirTemp("", "chatmesh-bench-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	return p.Run(ctx, local.Options{Dir: dir, Quick: b.quick, Say: say})
}

func partNames() (names []string) {
	for _, p := range local.All() {
		names = append(names, p.Name)
	}
	return names
}

package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/chatmesh/chatmesh/bench/growth"
	"github.com/chatmesh/chatmesh/bench/report"
	"github.com/chatmesh/chatmesh/pkg/progress"
)

// How far growth is measured, by the value of the flag.
var growths = map[string][]int{"none": nil, "quick": {1000, 3000}, "short": {1000, 10_000, 100_000}, "long": {1000, 10_000, 100_000, 1_000_000}}

// measureGrowth measures a message with more and more chats.
func (b *bench) measureGrowth(ctx context.Context, how string) (_ []report.Figure, _ []report.Series, err error) {
	chats := growths[how]
	if len(chats) == 0 {
		return nil, nil, nil
	}
	dir, err := os.MkdirTemp("", "chatmesh-bench-")
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	bar := progress.Begin(b.log, 5*len(chats), "steps of growth")
	defer bar.End()
	g := growth.Chats{Chats: chats, Messages: 10_000, InFlight: 256, Dir: dir, Say: func(s string) {
		bar.Add(1, func() { fmt.Fprintln(b.log, s) })
	}}
	if how == "quick" {
		g.Messages, g.InFlight = 500, 64
	}
	points, err := g.Run(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("growth: %w", err)
	}
	figures, series := growth.Figures(points)
	return figures, series, nil
}

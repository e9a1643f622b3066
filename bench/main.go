// Command bench starts chatmesh and its peers, lets people do the same with each, and writes what was measured. From the root of the
// checkout: go run ./bench
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/chatmesh/chatmesh/bench/local"
	"github.com/chatmesh/chatmesh/bench/peer"
	"github.com/chatmesh/chatmesh/bench/report"
	"github.com/chatmesh/chatmesh/bench/scenario"
	"github.com/chatmesh/chatmesh/bench/swarm"
)

func main() {
	swarm.Main()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := command(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func command(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	systems := flags.String("systems", "", "names of the systems, comma-separated; all are: "+strings.Join(systemNames(), ","))
	scenarios := flags.String("scenarios", "", "names of the scenarios, comma-separated; all are: "+strings.Join(scenarioNames(), ","))
	parts := flags.String("parts", "", "names of the parts of chatmesh that are measured by themselves, comma-separated, or none; without --systems and --scenarios all: "+strings.Join(partNames(), ","))
	grow := flags.String("growth", "", "how far growth is measured: none, quick, short, long (1,000,000 chats); alone it measures nothing else")
	rounds := flags.Int("rounds", 2, "rounds, each with every system; figures are their medians")
	quick := flags.Bool("quick", false, "a small run of everything, which shows only that it works")
	out := flags.String("out", "bench/results", "folder for latest.json, the table and the plots")
	document := flags.Bool("document", false, "write the results into docs/performance.md as well; with --rounds 0 those that are in the folder")
	if err := flags.Parse(args); err != nil {
		return err
	}
	b := &bench{rounds: *rounds, scale: scenario.Full(), quick: *quick, log: os.Stderr}
	if *quick {
		b.rounds, b.scale = 1, scenario.Quick()
	}
	var err error
	if b.systems, err = choose("system", *systems, peer.All(), func(s peer.System) string { return s.Name }); err != nil {
		return err
	}
	if b.scenarios, err = choose("scenario", *scenarios, scenario.All(), func(s scenario.Scenario) string { return s.Name }); err != nil {
		return err
	}
	onlyGrowth := *grow != "" && *systems+*scenarios+*parts == ""
	if *grow == "" {
		switch {
		case *systems+*scenarios+*parts != "":
			*grow = "none"
		case *quick:
			*grow = "quick"
		default:
			*grow = "short"
		}
	}
	if _, ok := growths[*grow]; !ok {
		return fmt.Errorf("there is no growth %q", *grow)
	}
	if onlyGrowth {
		*parts = "none"
	}
	if *parts == "" && *systems+*scenarios != "" {
		*parts = "none" // who chooses wants what was chosen
	}
	if onlyGrowth {
		b.systems, b.scenarios = nil, nil
	}
	if *parts != "none" {
		if b.parts, err = choose("part", *parts, local.All(), func(p local.Part) string { return p.Name }); err != nil {
			return err
		}
	}
	if *rounds == 0 {
		return redocument(*out, *document)
	}
	results, failed := b.run(ctx)
	figures, err := b.measureParts(ctx)
	results.Figures, results.Quick = append(results.Figures, figures...), *quick
	failed = errors.Join(failed, err)
	figures, series, err := b.measureGrowth(ctx, *grow)
	results.Figures, results.Series = append(results.Figures, figures...), append(results.Series, series...)
	failed = errors.Join(failed, err)
	if err := report.WriteAll(*out, results); err != nil {
		return err
	}
	fmt.Println(report.Summary(results))
	if *document && !*quick {
		failed = errors.Join(failed, report.Document(".", results))
	}
	return failed
}

// redocument writes what an earlier run has left once more, as tables and plots.
func redocument(out string, document bool) error {
	results, err := report.Read(filepath.Join(out, "latest.json"))
	if err != nil {
		return err
	}
	if err := report.WriteAll(out, results); err != nil || !document {
		return err
	}
	return report.Document(".", results)
}

func systemNames() (names []string) {
	for _, s := range peer.All() {
		names = append(names, s.Name)
	}
	return names
}

func scenarioNames() (names []string) {
	for _, s := range scenario.All() {
		names = append(names, s.Name)
	}
	return names
}

// choose returns those of all that are named in list, or all.
func choose[T any](kind, list string, all []T, name func(T) string) ([]T, error) {
	if list == "" {
		return all, nil
	}
	var chosen []T
	for _, want := range strings.Split(list, ",") {
		i := slices.IndexFunc(all, func(t T) bool { return name(t) == want })
		if i < 0 {
			return nil, fmt.Errorf("there is no %s %q", kind, want)
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}

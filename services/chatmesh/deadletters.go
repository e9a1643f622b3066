package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/services/mesh"
)

// deadLetters are the commands on dead letters.
type deadLetters struct {
	List  deadList  `cmd:"" help:"List them: seq, time, worker, origin, size in bytes, reason."`
	Show  deadShow  `cmd:"" help:"Show one as it is: its headers, and its body, which may be text that a person wrote."`
	Retry deadRetry `cmd:"" help:"Hand one, or all, to their worker again: done, it is deleted, otherwise it stays with the new reason."`
}

type (
	deadList struct{}
	deadShow struct {
		Seq uint64 `arg:"" help:"Its sequence, as list shows it."`
	}
	deadRetry struct {
		Seq uint64 `arg:"" optional:"" help:"Its sequence, as list shows it."`
		All bool   `name:"all" help:"Retry all that there are."`
	}
)

// deadPage is how many dead letters are read at once.
const deadPage = 200

// eachDead calls fn for every dead letter that is there now.
func eachDead(ctx context.Context, b *bus.Bus, fn func(bus.Dead)) error {
	for from := uint64(1); ; {
		page, err := b.DeadLetters(ctx, from, deadPage)
		if err != nil {
			return fmt.Errorf("the dead letters cannot be read: %w", err)
		}
		if len(page) == 0 {
			return nil
		}
		for _, d := range page {
			fn(d)
			from = d.Seq + 1
		}
	}
}

// Run lists the dead letters.
func (deadList) Run(ctx context.Context, cli *commands, out io.Writer, notes errorOutput) error {
	r, err := reach(ctx, &cli.Settings, notes, mesh.API)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	n := 0
	err = eachDead(ctx, r.Bus, func(d bus.Dead) {
		if n++; n == 1 {
			fmt.Fprintln(w, "SEQ\tTIME\tWORKER\tORIGIN\tSIZE\tREASON")
		}
		fmt.Fprintf(w, "%d\t%s\t%s\t%s %d\t%d\t%s\n", d.Seq, d.Time.UTC().Format(time.RFC3339), or(d.Worker, "-"), or(d.Origin, "-"),
			d.Stream, len(d.Body), or(d.Reason, "-"))
	})
	if err := errors.Join(err, w.Flush(), r.close()); err != nil {
		return err
	}
	fmt.Fprintf(out, "dead letters %d\n", n)
	return nil
}

func or(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

// Run shows one dead letter.
func (s deadShow) Run(ctx context.Context, cli *commands, out io.Writer, notes errorOutput) error {
	r, err := reach(ctx, &cli.Settings, notes, mesh.API)
	if err != nil {
		return err
	}
	d, err := r.DeadLetterAt(ctx, s.Seq)
	if errors.Is(err, bus.ErrNotFound) {
		err = fmt.Errorf("there is no dead letter %d", s.Seq)
	}
	if err := errors.Join(err, r.close()); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(d.Header)) {
		for _, v := range d.Header[name] {
			fmt.Fprintf(out, "%s: %s\n", name, v)
		}
	}
	fmt.Fprintf(out, "\n%s\n", d.Body)
	return nil
}

// retryTimeout bounds how long a worker may take for a dead letter.
const retryTimeout = 30 * time.Second

// Run hands dead letters to their workers again.
func (q deadRetry) Run(ctx context.Context, cli *commands, out io.Writer, notes errorOutput) error {
	if q.All == (q.Seq != 0) {
		return errors.New("deadletters retry takes either a SEQ or --all")
	}
	r, err := reach(ctx, &cli.Settings, notes, mesh.API, mesh.Persister, mesh.FanOut)
	if err != nil {
		return err
	}
	done, stay, err := q.retry(ctx, r.Bus, out)
	if err := errors.Join(err, r.close()); err != nil {
		return err
	}
	fmt.Fprintf(out, "done %d, stay %d\n", done, stay)
	if stay > 0 {
		return errors.New("deadletters: not all could be handled")
	}
	return nil
}

// retry tells of each dead letter what became of it.
func (q deadRetry) retry(ctx context.Context, b *bus.Bus, out io.Writer) (done, stay int, err error) {
	// All first: what stays may get a new sequence, and is not to be met again.
	workers := map[uint64]string{}
	if q.All {
		err = eachDead(ctx, b, func(d bus.Dead) { workers[d.Seq] = d.Worker })
	} else {
		var d bus.Dead
		if d, err = b.DeadLetterAt(ctx, q.Seq); errors.Is(err, bus.ErrNotFound) {
			err = fmt.Errorf("there is no dead letter %d", q.Seq)
		}
		workers[q.Seq] = d.Worker
	}
	if err != nil {
		return 0, 0, err
	}
	endpoints := map[string]string{subject.Persister: subject.PersisterRetryEndpoint, subject.FanOut: subject.FanOutRetryEndpoint}
	for _, seq := range slices.Sorted(maps.Keys(workers)) {
		endpoint, known := endpoints[workers[seq]]
		if !known {
			stay++
			fmt.Fprintf(out, "%d stays: it is of no worker\n", seq)
			continue
		}
		var a bus.RetryAnswer
		err := ask(ctx, b, retryTimeout, endpoint, bus.RetryRequest{Seq: seq}, &a)
		switch {
		case err != nil && (ctx.Err() != nil || errors.Is(err, errNobody)):
			return done, stay, err
		case err != nil:
			stay++
			fmt.Fprintf(out, "%d stays: %s\n", seq, err)
		case a.Done:
			done++
			fmt.Fprintf(out, "%d done\n", seq)
		case a.Seq != seq:
			stay++
			fmt.Fprintf(out, "%d stays, as %d: %s\n", seq, a.Seq, a.Reason)
		default:
			stay++
			fmt.Fprintf(out, "%d stays: %s\n", seq, a.Reason)
		}
	}
	return done, stay, nil
}

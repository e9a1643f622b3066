package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/config"
	"github.com/chatmesh/chatmesh/pkg/roles"
	"github.com/chatmesh/chatmesh/services/mesh"
)

// consent says whether a plan is carried out.
type consent struct {
	DryRun bool `name:"dry-run" xor:"consent" help:"Only show what differs."`
	Yes    bool `name:"yes" xor:"consent" help:"Make the changes that are shown."`
}

type (
	natsInit struct {
		LogBytes int64 `name:"log-bytes" placeholder:"N" default:"0" help:"Bytes that the logs of all partitions may take together, well under the size of a server's disk; 0 leaves them as they are. Default ${default}."`
		consent  `embed:""`
	}
	natsTeam struct {
		Name    string `arg:"" help:"Name of the team; its role and its consumers are team-NAME."`
		Replay  string `name:"replay" placeholder:"all|new|SEQ|TIME" help:"Event with which new consumers begin: the oldest, what comes from now on, a sequence of the stream, a moment. Default: none, consumers that stand are looked at."`
		consent `embed:""`
	}
)

// Run makes the streams, buckets and consumers of the mesh.
func (n natsInit) Run(ctx context.Context, cli *commands, out io.Writer, errs errorOutput) error {
	return n.with(ctx, &cli.Settings, out, errs, func(b *bus.Bus) (bus.Plan, error) {
		if b.Conn().ConnectedClusterName() != "" && !cli.Given("replicas") {
			return nil, errors.New("the broker is a cluster: say how many copies it keeps, such as --replicas 3")
		}
		l := mesh.Layout(&cli.Settings)
		l.MaxBytes = n.LogBytes
		return b.Plan(ctx, l)
	})
}

// Run makes the consumers of a team.
func (n natsTeam) Run(ctx context.Context, cli *commands, out io.Writer, errs errorOutput) error {
	if !regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$`).MatchString(n.Name) {
		return fmt.Errorf("%q is not the name of a team: 1 to 32 of a-z 0-9 -", n.Name)
	}
	var start *bus.Start
	if n.Replay != "" {
		s, err := bus.ParseStart(n.Replay)
		if err != nil {
			return fmt.Errorf("--replay: %w", err)
		}
		start = &s
	}
	return n.with(ctx, &cli.Settings, out, errs, func(b *bus.Bus) (bus.Plan, error) {
		p, err := b.PlanTeam(ctx, roles.Team(n.Name), start)
		switch {
		case errors.Is(err, bus.ErrNotFound) && start == nil:
			return nil, fmt.Errorf("%w: see --replay", err)
		case errors.Is(err, bus.ErrNotFound):
			return nil, fmt.Errorf("%w: run chatmesh nats init before", err)
		}
		return p, err
	})
}

// with shows what is planned for the broker and, where that is allowed, does it.
func (c consent) with(ctx context.Context, s *config.Settings, out io.Writer, errs errorOutput, plan func(*bus.Bus) (bus.Plan, error)) error {
	if len(s.NATSURL) == 0 {
		return errors.New("the embedded broker needs no preparation: --nats-url names an external one")
	}
	r, err := reach(ctx, s, errs)
	if err != nil {
		return err
	}
	defer func() { _ = r.close() }() // the connection only
	p, err := planned(ctx, errs, func() (bus.Plan, error) { return plan(r.Bus) })
	if err != nil {
		return err
	}
	show(out, p)
	refused, stops := 0, 0
	for _, change := range p {
		if change.Refused != "" {
			refused++
		}
		if change.Stops != "" {
			stops++
		}
	}
	todo := p.Todo()
	switch {
	case refused > 0:
		return fmt.Errorf("nothing was changed: %w", p.Refused())
	case stops > 0:
		return errors.New("nothing was changed: something would stop to work, as shown above")
	case todo == 0:
		_, err = fmt.Fprintln(out, "nothing to do")
		return err
	case c.DryRun:
		_, err = fmt.Fprintf(out, "%d to do\n", todo)
		return err
	case !c.Yes:
		return fmt.Errorf("nothing was changed: --yes does what is shown, %d in all", todo)
	}
	if err := r.Apply(ctx, p); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%d done\n", todo)
	return err
}

// electing is how long a cluster may not answer: one that has just elected its leader does not say for ten seconds which streams
// there are not.
const electing = 30 * time.Second

// planned plans, again while the broker does not answer.
func planned(ctx context.Context, errs io.Writer, plan func() (bus.Plan, error)) (bus.Plan, error) {
	for late := time.Now().Add(electing); ; {
		p, err := plan()
		if !errors.Is(err, bus.ErrDown) || time.Now().After(late) {
			return p, err
		}
		fmt.Fprintln(errs, "the broker does not answer yet:", err)
		if err := bus.Sleep(ctx, time.Second); err != nil {
			return nil, err
		}
	}
}

// show writes a plan, a line for each of what is missing, and for what differs a further one for each setting.
func show(out io.Writer, p bus.Plan) {
	for _, c := range p {
		switch {
		case c.Create:
			fields := make([]string, len(c.Fields))
			for i, f := range c.Fields {
				fields[i] = f.Name + " " + f.New
			}
			fmt.Fprintf(out, "create %s (%s)\n", c.What, strings.Join(fields, ", "))
		case c.Refused != "":
			fmt.Fprintf(out, "refuse %s: %s\n", c.What, c.Refused)
		case len(c.Fields) > 0:
			fmt.Fprintf(out, "update %s\n", c.What)
		}
		if !c.Create {
			for _, f := range c.Fields {
				fmt.Fprintf(out, "    %s: %s → %s\n", f.Name, orNone(f.Old), orNone(f.New))
			}
		}
		if c.Stops != "" {
			fmt.Fprintf(out, "    stops: %s\n", c.Stops)
		}
		if c.Later != "" {
			fmt.Fprintf(out, "later  %s: %s\n", c.What, c.Later)
		}
	}
}

func orNone(v string) string {
	if v == "" {
		return "none"
	}
	return v
}

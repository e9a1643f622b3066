package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/services/edge"
)

// drainCmd moves the clients of an edge away.
type drainCmd struct {
	Node    string        `arg:"" help:"Name of the edge's node; nats kv ls nodes lists them."`
	Over    time.Duration `name:"over" default:"30s" placeholder:"DURATION" help:"Duration over which the clients are spread, 1s to 1h. Default ${default}."`
	ToShare bool          `name:"to-share" help:"Only send as many away as the edge has above its share, and go on taking others. Default: all, and take none."`
	Undo    bool          `name:"undo" help:"Take connections again, and let those stay who have not gone. Default: no."`
}

// Times of a drain.
const (
	drainPoll    = 250 * time.Millisecond
	drainTimeout = 5 * time.Second
	// drainSlack is how long it is waited for after everybody should have gone.
	drainSlack = 20 * time.Second
)

// Run asks the edge, and waits until those who were to go have gone.
func (d drainCmd) Run(ctx context.Context, cli *commands, out io.Writer, notes errorOutput) error {
	if d.ToShare && d.Undo {
		return errors.New("drain takes --to-share or --undo, not both")
	}
	if d.Over < time.Second || d.Over > edge.MostOver {
		return fmt.Errorf("--over: %v is not from 1s to %v", d.Over, edge.MostOver)
	}
	if _, err := chat.ParseID(d.Node); err != nil { // the same letters
		return fmt.Errorf("%q is no name of a node", d.Node)
	}
	r, err := reachRunning(ctx, &cli.Settings, notes)
	if err != nil {
		return err
	}
	return errors.Join(d.run(ctx, r.Bus, out, notes), r.close())
}

func (d drainCmd) run(ctx context.Context, b *bus.Bus, out io.Writer, notes io.Writer) error {
	var a edge.DrainAnswer
	ask := func(action string) error {
		err := ask(ctx, b, drainTimeout, subject.DrainEndpoint(d.Node), edge.DrainRequest{Action: action, OverMS: d.Over.Milliseconds()}, &a)
		if errors.Is(err, errNobody) {
			err = fmt.Errorf("there is no edge %s", d.Node)
		}
		return err
	}
	action := edge.ActionDrain
	switch {
	case d.Undo:
		action = edge.ActionUndo
	case d.ToShare:
		action = edge.ActionShare
	}
	if err := ask(action); err != nil {
		return err
	}
	if d.Undo {
		fmt.Fprintf(out, "%s takes connections, has %d\n", d.Node, a.Connections)
		return nil
	}
	fmt.Fprintf(notes, "%s sends %d of %d connections away over %v\n", d.Node, a.Leaving, a.Connections, d.Over)
	done := func() bool { return a.Leaving == 0 && (d.ToShare || a.Connections == 0) }
	for until := time.Now().Add(d.Over + drainSlack); !done(); {
		if time.Now().After(until) {
			return fmt.Errorf("%s still has %d connections, %d of which were to go", d.Node, a.Connections, max(a.Leaving, 0))
		}
		if err := bus.Sleep(ctx, drainPoll); err != nil {
			return fmt.Errorf("%s goes on without this command; it has %d connections", d.Node, a.Connections)
		}
		if err := ask(edge.ActionNone); err != nil {
			return err
		}
		if action == edge.ActionDrain && !a.Draining {
			return fmt.Errorf("%s was told to take connections again; it has %d", d.Node, a.Connections)
		}
	}
	if d.ToShare {
		fmt.Fprintf(out, "%s has its share, %d connections\n", d.Node, a.Connections)
		return nil
	}
	fmt.Fprintf(out, "%s is empty and takes no connections until it starts again or drain --undo\n", d.Node)
	return nil
}

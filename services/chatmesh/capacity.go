package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/chatmesh/chatmesh/pkg/capacity"
	"github.com/chatmesh/chatmesh/pkg/capacity/sim"
)

// capacityCmd is the command capacity.
type capacityCmd struct {
	Preset string `name:"preset" enum:"50m,1b" default:"50m" help:"Load to begin with: 50m (50 million people a day) or 1b (a billion with 100 messages each). The flags below change it."`

	DailyUsers      *float64 `name:"daily-users" placeholder:"N" help:"People on a day."`
	MessagesPerUser *float64 `name:"messages-per-user" placeholder:"N" help:"Messages that each of them sends on a day."`
	MessageBytes    *float64 `name:"message-bytes" placeholder:"N" help:"Mean text of a message in bytes."`
	PeakFactor      *float64 `name:"peak-factor" placeholder:"X" help:"Busiest moment over the day's mean."`
	GroupShare      *float64 `name:"group-share" placeholder:"X" help:"Part of the messages that goes to groups, 0 to 1."`
	GroupMembers    *float64 `name:"group-members" placeholder:"N" help:"Members of the group that a message goes to, on the average."`
	OnlineShare     *float64 `name:"online-share" placeholder:"X" help:"Part of the people who are connected at the busiest moment, 0 to 1."`
	DevicesPerUser  *float64 `name:"devices-per-user" placeholder:"N" help:"Connected devices of each."`
	SessionsPerUser *float64 `name:"sessions-per-user" placeholder:"N" help:"How often somebody comes online on a day."`
	ChatsPerUser    *float64 `name:"chats-per-user" placeholder:"N" help:"Chats of a person in which something happened while the log keeps it."`
	LogDays         *float64 `name:"log-days" placeholder:"N" help:"Days for which the log keeps events."`
	LogCopies       *float64 `name:"log-copies" placeholder:"N" help:"Copies of the log."`
	StoreDays       *float64 `name:"store-days" placeholder:"N" help:"Days for which the store's disks are to be enough."`
	StoreCopies     *float64 `name:"store-copies" placeholder:"N" help:"Copies of the store."`
	Compression     *float64 `name:"compression" placeholder:"X" help:"Bytes of rows that become one on the store's disks."`
	StormSeconds    *float64 `name:"storm-seconds" placeholder:"N" help:"Within which time all are to be back who were cut off."`

	Costs    string   `name:"costs" placeholder:"FILE" help:"Results of a bench, whose figures take the place of those that are built in."`
	Show     []string `name:"show" enum:"plan,limits,costs" default:"plan,limits,costs" help:"What is printed: plan, limits, costs."`
	JSON     bool     `name:"json" help:"Print all of it as JSON."`
	Simulate bool     `name:"simulate" help:"Play one cell in small instead: skew, queues, the return after an outage."`
	Players  int      `name:"players" default:"100000" help:"People who are played with --simulate."`
	Seed     uint64   `name:"seed" default:"1" help:"Seed of --simulate: the same seed gives the same result."`
}

// Help tells what the command does.
func (capacityCmd) Help() string {
	return `Works out from the measured cost of each thing how many machines, how much memory, disk and bandwidth a load needs, what breaks first
as it grows and what is done then, and by how far each figure goes beyond what was measured (docs/capacity.md). It asks no other
machine and changes nothing.`
}

// Run prints the plan.
func (c capacityCmd) Run(out io.Writer) error {
	costs, err := c.costs()
	if err != nil {
		return err
	}
	if c.Simulate {
		return c.simulate(out, costs)
	}
	p, err := capacity.New(c.load(), costs, capacity.Default())
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(out, p)
	}
	var tables []capacity.Table
	for _, part := range []struct {
		name   string
		tables []capacity.Table
	}{{"plan", p.Tables()}, {"limits", []capacity.Table{p.Breaks()}}, {"costs", []capacity.Table{p.Extrapolated()}}} {
		if slices.Contains(c.Show, part.name) {
			tables = append(tables, part.tables...)
		}
	}
	return printTables(out, tables...)
}

func (c capacityCmd) simulate(out io.Writer, costs capacity.Costs) error {
	cfg := sim.Default(c.Players, costs)
	cfg.Seed = c.Seed
	r, err := sim.Run(cfg)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(out, r)
	}
	return printTables(out, r.Table())
}

func printTables(out io.Writer, tables ...capacity.Table) error {
	for i, t := range tables {
		if i > 0 {
			if _, err := fmt.Fprintln(out); err != nil {
				return err
			}
		}
		if _, err := fmt.Fprint(out, t); err != nil {
			return err
		}
	}
	return nil
}

func printJSON(out io.Writer, v any) error {
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// costs are those that are built in, with those of a bench in their place where it has them.
func (c capacityCmd) costs() (capacity.Costs, error) {
	costs, err := capacity.BuiltIn()
	if err != nil || c.Costs == "" {
		return costs, err
	}
	b, err := os.ReadFile(c.Costs)
	if err != nil {
		return costs, fmt.Errorf("--costs: %w", err)
	}
	figures, err := capacity.ParseResults(b)
	if err != nil {
		return costs, fmt.Errorf("--costs %s: %w", c.Costs, err)
	}
	costs, n := costs.With(figures)
	if n == 0 {
		return costs, fmt.Errorf("--costs %s: none of its figures is one that a plan is made of", c.Costs)
	}
	return costs, nil
}

// load is the preset with what the flags change.
func (c capacityCmd) load() capacity.Load {
	l := capacity.Presets()[c.Preset]
	for _, f := range []struct {
		given *float64
		to    *float64
	}{
		{c.DailyUsers, &l.DailyUsers}, {c.MessagesPerUser, &l.MessagesPerUser}, {c.MessageBytes, (*float64)(&l.MessageBytes)},
		{c.PeakFactor, &l.PeakFactor}, {c.GroupShare, &l.GroupShare}, {c.GroupMembers, &l.GroupMembers}, {c.OnlineShare, &l.OnlineShare},
		{c.DevicesPerUser, &l.DevicesPerUser}, {c.SessionsPerUser, &l.SessionsPerUser}, {c.ChatsPerUser, &l.ChatsPerUser},
		{c.LogDays, &l.LogDays}, {c.LogCopies, &l.LogCopies}, {c.StoreDays, &l.StoreDays}, {c.StoreCopies, &l.StoreCopies},
		{c.Compression, &l.Compression}, {c.StormSeconds, &l.StormSeconds},
	} {
		if f.given != nil {
			*f.to = *f.given
		}
	}
	l.ChatsEver = max(l.ChatsEver, l.ChatsPerUser)
	return l
}

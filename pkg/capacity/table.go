package capacity

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Table is what people read: it is Markdown, and aligned so that a terminal shows it well.
type Table struct {
	Title  string
	Header []string
	Rows   [][]string
}

// String writes the table with its title as a line before it.
func (t Table) String() string {
	widths := make([]int, len(t.Header))
	rows := append([][]string{t.Header}, t.Rows...)
	for _, r := range rows {
		for i, c := range r {
			widths[i] = max(widths[i], utf8.RuneCountInString(c))
		}
	}
	var b strings.Builder
	if t.Title != "" {
		b.WriteString(t.Title + "\n\n")
	}
	line := func(cells []string) {
		for i, c := range cells {
			b.WriteString("| " + c)
			if i < len(cells)-1 { // the last one would only be long
				b.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c)))
			}
			b.WriteString(" ")
		}
		b.WriteString("|\n")
	}
	line(t.Header)
	for range t.Header {
		b.WriteString("| --- ")
	}
	b.WriteString("|\n")
	for _, r := range t.Rows {
		line(r)
	}
	return b.String()
}

// Tables of a plan.
func (p Plan) Tables() []Table { return []Table{p.load(), p.machines(), p.kept()} }

func (p Plan) load() Table {
	l, r := p.Load, p.Rates
	return Table{"Load, and what it makes at the busiest moment", []string{"what", "value"}, [][]string{
		{"people on a day", Count(l.DailyUsers)},
		{"messages on a day, of " + l.MessageBytes.String() + " text", Count(r.MessagesPerDay)},
		{"text on a day, in a year, one copy", r.TextPerDay.String() + ", " + r.TextPerYear.String()},
		{"people online, connections", Count(r.Online) + ", " + Count(r.Connections)},
		{"messages", r.Messages.String()},
		{"moves of cursors", r.Cursors.String()},
		{"published to people's subjects; to those online", r.Published.String() + "; " + r.Routed.String()},
		{"frames to devices", r.Delivered.String()},
		{"people who come, and as many who go", r.Comings.String()},
		{"connections back after all were cut off", fmt.Sprintf("%s for %.0f s", r.Storm, l.StormSeconds)},
		{"from clients, to clients", p.Flows.FromClients.String() + ", " + p.Flows.ToClients.String()},
		{"between brokers for copies, for people's subjects", p.Flows.Raft.String() + ", " + p.Flows.Routed.String()},
		{"syncs, at most", p.Flows.Syncs.String()},
	}}
}

func (p Plan) machines() Table {
	cells := fmt.Sprintf("Machines: %s cells of %s people (%s ends a cell), %s partitions each", Count(p.Cells), Count(p.CellUsers), p.CellBound, Count(p.Partitions))
	if p.Cells == 1 {
		cells = fmt.Sprintf("Machines: one cell, which would take %s people (%s ends it), %s partitions", Count(p.CellUsers), p.CellBound, Count(p.Partitions))
	}
	t := Table{cells, []string{"tier", "machines", "because of", "cores used", "memory used", "disk used", "in", "out", "descriptors each"}, nil}
	some := func(n float64, s string) string {
		if n == 0 {
			return "–"
		}
		return s
	}
	sum := 0.0
	for _, x := range p.Tiers {
		sum += x.Machines
		t.Rows = append(t.Rows, []string{x.Name, commas(int64(x.Machines)), x.Bound, x.Cores.String(), x.Memory.String(), some(float64(x.Disk), x.Disk.String()),
			x.In.String(), x.Out.String(), some(x.Descriptors, Count(x.Descriptors))})
	}
	t.Rows = append(t.Rows, []string{"all", commas(int64(sum)), "", "", "", "", "", "", ""})
	return t
}

func (p Plan) kept() Table {
	l, m := p.Load, p.Memory
	raft := fmt.Sprintf("%.0f copies", l.LogCopies)
	rows := [][]string{
		{"log: a message, one copy", p.Log.Event.String()},
		{"log: a day, one copy", p.Log.Raw.String()},
		{fmt.Sprintf("log: %.0f days, %s", l.LogDays, raft), p.Log.Disk.String()},
		{"log: appends, all copies", p.Log.Writes.String()},
		{"store: a message, one copy, not compressed", p.Store.Event.String()},
		{"store: a day, one copy, not compressed", p.Store.Raw.String()},
		{fmt.Sprintf("store: %.0f days, %.0f copies, compressed %.1f to 1", l.StoreDays, l.StoreCopies, l.Compression), p.Store.Disk.String()},
		{"store: rows written, all copies", p.Store.Writes.String()},
	}
	for _, x := range []struct {
		what string
		n    Bytes
	}{{"memory of a cell's brokers: subjects of cursors", m.Cursors}, {"memory of a cell's brokers: subjects of chats", m.Chats},
		{"memory of a cell's brokers: keys of people", m.People}, {"memory of a cell's brokers: message ids", m.IDs},
		{"memory of each broker: interest in people's subjects", m.Interest}} {
		rows = append(rows, []string{x.what, x.n.String()})
	}
	rows = append(rows, []string{"a broker's start, for its subjects", fmt.Sprintf("%.0f s", m.Start)})
	return Table{"Kept", []string{"what", "how much"}, rows}
}

// Breaks is the table of what breaks first.
func (p Plan) Breaks() Table {
	t := Table{"What ends one cell, in the order in which it is reached", []string{"at daily users", "what", "there is", "then"}, nil}
	for _, x := range p.Limits {
		t.Rows = append(t.Rows, []string{Count(x.Users), x.Name, x.Has, x.Then})
	}
	return t
}

// Extrapolated is the table of the costs: how far each is carried, and where it is known from.
func (p Plan) Extrapolated() Table {
	t := Table{"Costs, and by how far they are carried beyond what was measured", []string{"cost", "value", "kind", "seen at", "planned at", "factor", "source"}, nil}
	for _, x := range p.Reach {
		row := []string{strings.ReplaceAll(x.Cost, "_", " "), digits(x.Value) + " " + x.Unit, x.Kind, "–", "–", "–", x.Source}
		if x.At > 0 {
			row[3], row[4], row[5] = Count(x.At)+" "+x.AtUnit, Count(x.Planned), "× "+digits(x.Factor)
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

package report

import (
	"slices"
	"strings"
)

// Plot is a picture of figures.
type Plot struct {
	// Name of its file, such as "messages.svg".
	Name string
	// Alt says in words what it shows, with the figures of chatmesh and of the best and the worst.
	Alt string
	SVG []byte
}

// picture is a plot of figures of the catalog.
type picture struct {
	name, title string
	figures     []column // the bars of each system, or with ends the two ends of a line on a logarithmic axis
	ends        bool
}

var pictures = []picture{
	{name: "messages.svg", title: "Most messages/s, acked and delivered", figures: []column{{"pairs_max_w1_per_s", "1 in flight"}, {"pairs_max_w16_per_s", "16 in flight"}}},
	{name: "cpu.svg", title: "Server CPU per delivery, µs (16 in flight)", figures: []column{{"cpu_us_per_delivery_w16", "µs"}}},
	{name: "latency.svg", title: "Delivery at 2,000 messages/s: p50 to p99, ms", ends: true, figures: []column{{"rate2000_p50_ms", "p50"}, {"rate2000_p99_ms", "p99"}}},
	{name: "group.svg", title: "Group of 100: deliveries/s, one sender", figures: []column{{"group100_deliveries_per_s", "deliveries/s"}}},
	{name: "memory.svg", title: "Memory of an idle user, KB", figures: []column{{"idle_kb_per_user", "server"}, {"idle_kernel_kb_per_user", "kernel"}}},
	{name: "persister.svg", title: "Events/s into the store", figures: []column{{"persister_per_s", "events/s"}}},
}

// Plots makes the pictures for which there are figures. The series follow, one picture for each name.
func Plots(r Results) []Plot {
	var out []Plot
	for _, p := range pictures {
		rows := p.rows(r)
		if len(rows) == 0 {
			continue
		}
		draw := bars
		if p.ends {
			draw = spans
		}
		alt := p.alt(rows)
		out = append(out, Plot{Name: p.name, Alt: alt, SVG: draw(p.title, alt, p.figures, rows)})
	}
	var done []string
	all := ordered(r).Series
	for _, s := range all {
		if slices.Contains(done, s.Name) {
			continue
		}
		done = append(done, s.Name)
		lines := slices.DeleteFunc(slices.Clone(all), func(o Series) bool { return o.Name != s.Name || len(o.Points) == 0 })
		if len(lines) == 0 {
			continue
		}
		out = append(out, growth(s.Name, lines))
	}
	return out
}

// row is a system in a plot.
type row struct {
	system, durable string
	values          []Figure // one for each figure of the picture; zero where there is none
}

func (p picture) rows(r Results) []row {
	var out []row
	for _, s := range p.systems(r) {
		w := row{system: s, values: make([]Figure, len(p.figures))}
		found := 0
		for i, c := range p.figures {
			f, ok := lookup{r}.figure(c.name, s)
			if !ok || f.Value <= 0 {
				continue
			}
			found++
			w.values[i], w.durable = f, f.Durable
		}
		if found > 0 && (!p.ends || found == len(p.figures)) {
			out = append(out, w)
		}
	}
	return out
}

// systems are those that have one of the figures.
func (p picture) systems(r Results) []string {
	var out []string
	for _, f := range r.Figures {
		if slices.ContainsFunc(p.figures, func(c column) bool { return c.name == f.Name }) && !slices.Contains(out, f.System) {
			out = append(out, f.System)
		}
	}
	slices.SortFunc(out, bySystem)
	return out
}

// alt is the picture in words.
func (p picture) alt(rows []row) string {
	var parts []string
	for _, w := range rows {
		var values []string
		for i, f := range w.values {
			switch {
			case f.Value <= 0:
			case len(w.values) == 1:
				values = append(values, number(f.Value))
			default:
				values = append(values, p.figures[i].title+" "+number(f.Value))
			}
		}
		parts = append(parts, w.system+": "+strings.Join(values, ", "))
	}
	return p.title + ". " + strings.Join(parts, "; ") + "."
}

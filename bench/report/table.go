package report

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Markdown is everything that was measured, as tables, with the goals; plots are the names of the files that Plots made, which stand
// in the folder at where.
func Markdown(r Results, where string) string {
	var b strings.Builder
	if len(r.Figures) == 0 && len(r.Series) == 0 {
		return "No run is kept here yet: `make bench` makes one.\n"
	}
	if r.Quick {
		b.WriteString("**A quick run, which shows that everything works. Its figures say nothing.**\n\n")
	}
	fmt.Fprintf(&b, "Measured on %s: %d cores (%s), %s, Go %s. A figure is the median of its rounds; in brackets the least and the greatest.\n\n",
		r.Machine.Date, r.Machine.Cores, r.Machine.CPU, r.Machine.Kernel, r.Machine.Go)
	goalsTable(&b, r)
	for _, p := range Plots(r) {
		fmt.Fprintf(&b, "![%s](%s)\n\n", p.Alt, where+"/"+p.Name)
	}
	tables(&b, r)
	return strings.TrimRight(b.String(), "\n") + "\n"
}

// goalsTable writes each goal, what was reached, and what all have.
func goalsTable(b *strings.Builder, r Results) {
	b.WriteString("### Goals and what was reached\n\n| what | goal | reached | value | all in the same run |\n| --- | --- | --- | --- | --- |\n")
	var met, measured int
	verdicts := Judge(r)
	for _, v := range verdicts {
		answer, value := "not measured", "–"
		if v.Measured {
			measured++
			answer, value = "no", number(v.Value)+" "+v.Unit
			if v.Reached {
				met++
				answer = "**yes**"
			}
			if v.UpTo > 0 {
				answer += ", measured up to " + number(v.UpTo)
			}
		}
		var all []string
		for _, f := range v.Run {
			all = append(all, f.System+" "+number(f.Value))
		}
		told := "–"
		if len(all) > 0 {
			told = strings.Join(all, ", ") + " " + v.Run[0].Unit
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s |\n", v.What, v.Text, answer, value, told)
	}
	fmt.Fprintf(b, "\n%d of %d goals were measured in this run, %d of them reached.\n\n", measured, len(verdicts), met)
}

// tables writes each section that has figures, then what is in none.
func tables(b *strings.Builder, r Results) {
	rest := ordered(r).Figures
	for _, s := range sections {
		var cols []column
		var rows []string // systems
		for _, c := range s.figures {
			for _, f := range (lookup{r}).of(c.name) {
				if !slices.Contains(cols, c) {
					cols = append(cols, c)
				}
				if !slices.Contains(rows, f.System) {
					rows = append(rows, f.System)
				}
			}
			rest = slices.DeleteFunc(rest, func(f Figure) bool { return f.Name == c.name })
		}
		if len(cols) == 0 {
			continue
		}
		slices.SortFunc(rows, bySystem)
		fmt.Fprintf(b, "### %s\n\n| system | an ack means |", s.title)
		for _, c := range cols {
			fmt.Fprintf(b, " %s |", c.title)
		}
		fmt.Fprintf(b, "\n| --- | --- |%s\n", strings.Repeat(" --- |", len(cols)))
		for _, system := range rows {
			cells, durable := "", "–"
			for _, c := range cols {
				f, ok := lookup{r}.figure(c.name, system)
				if ok && f.Durable != "" {
					durable = f.Durable
				}
				cells += " " + cell(f, ok) + " |"
			}
			fmt.Fprintf(b, "| %s | %s |%s\n", system, durable, cells)
		}
		b.WriteString("\n")
	}
	if len(rest) == 0 {
		return
	}
	b.WriteString("### Further figures\n\n| figure | system | value | unit |\n| --- | --- | --- | --- |\n")
	for _, f := range rest {
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", f.Name, f.System, cell(f, true), f.Unit)
	}
	b.WriteString("\n")
}

// cell is a figure with its spread, where there was more than one round.
func cell(f Figure, ok bool) string {
	if !ok {
		return "–"
	}
	text := number(f.Value)
	if f.Rounds > 1 {
		text += " (" + number(f.Low) + "–" + number(f.High) + ")"
	}
	return text
}

// number is v with three digits that count, or all those before the point, in groups of three.
func number(v float64) string {
	switch a := math.Abs(v); {
	case math.IsNaN(v) || math.IsInf(v, 0):
		return "–"
	case v == 0:
		return "0"
	case a < 100:
		digits := max(0, 2-int(math.Floor(math.Log10(a))))
		text := strconv.FormatFloat(v, 'f', min(digits, 6), 64)
		if strings.Contains(text, ".") {
			text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
		}
		return text
	case a >= 10_000: // the last two digits of a rate say nothing
		v = math.Round(v/100) * 100
	}
	text := strconv.FormatFloat(math.Round(v), 'f', 0, 64)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

package report

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"math"
	"strings"
)

// A plot is a grid: text stands in columns and lines of its own, which nothing that is drawn enters, so labels cannot overlap
// whatever the figures are. Widths are in pixels; a character of the font is taken to be wider than it is.
const (
	plotWidth = 860
	charWidth = 7.4 // of 12 px
	lineHigh  = 18
	margin    = 12
	axisHigh  = 21 // from an axis to the line on which its numbers stand
)

// style is readable on a light and on a dark page. Ours and the others differ in lightness, too, for who does not see colors.
const style = `
  .page { fill: #ffffff } text { font: 12px ui-monospace, Menlo, Consolas, monospace; fill: #24292f }
  .title { font-weight: bold; font-size: 13px } .soft { fill: #57606a } .grid { stroke: #d0d7de; stroke-width: 1 }
  .ours { fill: #0969da } .others { fill: #8c959f } .second { opacity: .55 }
  .c0 { stroke: #0969da; fill: #0969da } .c1 { stroke: #bc4c00; fill: #bc4c00 } .c2 { stroke: #1a7f37; fill: #1a7f37 }
  .c3 { stroke: #8250df; fill: #8250df } .c4 { stroke: #57606a; fill: #57606a } .line { fill: none; stroke-width: 2 }
  @media (prefers-color-scheme: dark) {
    .page { fill: #0d1117 } text { fill: #e6edf3 } .soft { fill: #9da7b3 } .grid { stroke: #30363d }
    .ours { fill: #58a6ff } .others { fill: #6e7681 }
    .c0 { stroke: #58a6ff; fill: #58a6ff } .c1 { stroke: #f0883e; fill: #f0883e } .c2 { stroke: #56d364; fill: #56d364 }
    .c3 { stroke: #bc8cff; fill: #bc8cff } .c4 { stroke: #9da7b3; fill: #9da7b3 } .line { fill: none }
  }
`

// canvas is an SVG that is being written.
type canvas struct{ body bytes.Buffer }

// done is the whole file.
func (c *canvas) done(title, alt string, height float64) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %s" width="%d" height="%s" role="img" aria-labelledby="title desc">`+"\n",
		plotWidth, px(height), plotWidth, px(height))
	fmt.Fprintf(&b, "<title id=\"title\">%s</title>\n<desc id=\"desc\">%s</desc>\n<style>%s</style>\n", escaped(title), escaped(alt), style)
	fmt.Fprintf(&b, `<rect class="page" width="%d" height="%s"/>`+"\n", plotWidth, px(height))
	b.Write(c.body.Bytes())
	b.WriteString("</svg>\n")
	return b.Bytes()
}

func (c *canvas) text(x, y float64, class, anchor, s string) {
	fmt.Fprintf(&c.body, `<text x="%s" y="%s" class="%s" text-anchor="%s">%s</text>`+"\n", px(x), px(y), class, anchor, escaped(s))
}

func (c *canvas) rect(x, y, w, h float64, class string) {
	fmt.Fprintf(&c.body, `<rect x="%s" y="%s" width="%s" height="%s" rx="2" class="%s"/>`+"\n", px(x), px(y), px(w), px(h), class)
}

func (c *canvas) rule(x1, y1, x2, y2 float64) {
	fmt.Fprintf(&c.body, `<line x1="%s" y1="%s" x2="%s" y2="%s" class="grid"/>`+"\n", px(x1), px(y1), px(x2), px(y2))
}

func (c *canvas) dot(x, y, r float64, class string) {
	fmt.Fprintf(&c.body, `<circle cx="%s" cy="%s" r="%s" class="%s"/>`+"\n", px(x), px(y), px(r), class)
}

// px is a length without digits that nobody sees.
func px(v float64) string {
	s := fmt.Sprintf("%.1f", v)
	return strings.TrimSuffix(s, ".0")
}

func escaped(s string) string {
	var b bytes.Buffer
	_ = xml.EscapeText(&b, []byte(s)) // a buffer takes everything
	return b.String()
}

// wide is how wide the widest of some texts is at most.
func wide(texts ...string) float64 {
	n := 0
	for _, s := range texts {
		n = max(n, len([]rune(s)))
	}
	return float64(n) * charWidth
}

// label of a system.
func (w row) label() string {
	if w.durable == "" {
		return w.system
	}
	return w.system + " · " + w.durable
}

func (w row) class() string {
	if strings.HasPrefix(w.system, "chatmesh") {
		return "ours"
	}
	return "others"
}

// frame writes the title, what the bars are, and the labels of systems; it returns where the middle column begins and ends.
func (c *canvas) frame(title, what string, rows []row, high float64, right float64) (left, end, top float64) {
	c.text(margin, 22, "title", "start", title)
	c.text(plotWidth-margin, 22, "soft", "end", what)
	var labels []string
	for _, w := range rows {
		labels = append(labels, w.label())
	}
	left, end, top = 2*margin+wide(labels...), plotWidth-2*margin-right, 40
	for i, w := range rows {
		c.text(left-margin, top+float64(i)*high+high/2+4, "", "end", w.label())
	}
	return left, end, top
}

// decades draws the powers of ten of a logarithmic axis, and names as many of them as there is room for.
func (c *canvas) decades(low, high, top, bottom float64, at func(float64) float64) {
	var names []string
	for d := low; d <= high; d++ {
		names = append(names, number(math.Pow(10, d)))
	}
	apart := (at(math.Pow(10, high)) - at(math.Pow(10, low))) / (high - low)
	each := int(math.Ceil((wide(names...) + margin) / apart))
	for i, s := range names {
		x := at(math.Pow(10, low+float64(i)))
		c.rule(x, top, x, bottom)
		if i%each == 0 {
			c.text(x, bottom+axisHigh, "soft", "middle", s)
		}
	}
}

// bars draws for each system a bar for each figure, with the figure behind it.
func bars(title, alt string, figures []column, rows []row) []byte {
	const thick = 12
	var values, titles []string
	greatest := 0.0
	for _, f := range figures {
		titles = append(titles, f.title)
	}
	for _, w := range rows {
		for _, f := range w.values {
			values = append(values, number(f.Value))
			greatest = max(greatest, f.Value)
		}
	}
	c := &canvas{}
	high := float64(len(figures))*(thick+3) + 9
	what := strings.Join(titles, ", below it ")
	if len(figures) == 1 {
		what = ""
	}
	left, end, top := c.frame(title, what, rows, high, wide(values...))
	for i, w := range rows {
		y := top + float64(i)*high + 4
		for n, f := range w.values {
			if f.Value > 0 {
				long := max(1, (end-left)*f.Value/greatest)
				class := w.class()
				if n < len(w.values)-1 {
					class += " second"
				}
				c.rect(left, y, long, thick, class)
				c.text(left+long+6, y+thick-2, "", "start", number(f.Value))
			}
			y += thick + 3
		}
	}
	c.rule(left-2, top, left-2, top+float64(len(rows))*high)
	return c.done(title, alt, top+float64(len(rows))*high+margin)
}

// spans draws for each system a line from the first figure to the last on a logarithmic axis, with both behind it.
func spans(title, alt string, figures []column, rows []row) []byte {
	const high = lineHigh + 6
	least, greatest := math.Inf(1), 0.0
	var values []string
	told := func(w row) string {
		return number(w.values[0].Value) + " – " + number(w.values[len(w.values)-1].Value)
	}
	for _, w := range rows {
		for _, f := range w.values {
			least, greatest = min(least, f.Value), max(greatest, f.Value)
		}
		values = append(values, told(w))
	}
	low, top10 := math.Floor(math.Log10(least)), math.Ceil(math.Log10(greatest))
	if low == top10 {
		top10++
	}
	c := &canvas{}
	left, end, top := c.frame(title, "logarithmic", rows, high, wide(values...)+margin)
	at := func(v float64) float64 { return left + (end-left)*(math.Log10(v)-low)/(top10-low) }
	bottom := top + float64(len(rows))*high
	c.decades(low, top10, top, bottom, at)
	for i, w := range rows {
		y := top + float64(i)*high + high/2
		a, b := at(w.values[0].Value), at(w.values[len(w.values)-1].Value)
		c.rect(min(a, b), y-2, math.Abs(b-a), 4, w.class())
		c.dot(a, y, 5, w.class())
		c.dot(b, y, 5, w.class())
		c.text(plotWidth-margin, y+4, "", "end", told(w))
	}
	return c.done(title, alt, bottom+axisHigh+margin)
}

package report

import (
	"fmt"
	"math"
	"regexp"
	"strings"
)

var notInName = regexp.MustCompile(`[^a-z0-9]+`)

// growth draws lines along something that grows, whose axis is logarithmic; the other begins at zero. Each line is named above the
// plot, on a line of its own.
func growth(name string, lines []Series) Plot {
	const high = 240.0
	title := fmt.Sprintf("%s, %s", strings.ReplaceAll(name, "_", " "), lines[0].Unit)
	minX, maxX, maxY := math.Inf(1), 0.0, 0.0
	for _, s := range lines {
		for _, p := range s.Points {
			minX, maxX, maxY = min(minX, p.X), max(maxX, p.X), max(maxY, p.Y)
		}
	}
	minX = max(minX, 1)
	low, top10 := math.Floor(math.Log10(minX)), math.Ceil(math.Log10(max(maxX, minX)))
	if low == top10 {
		top10++
	}
	step := nice(maxY / 4)
	if step == 0 {
		step = 1
	}
	steps := math.Ceil(maxY/step + 1e-9)
	var ticks []string
	for i := 0.0; i <= steps; i++ {
		ticks = append(ticks, number(i*step))
	}
	c := &canvas{}
	c.text(margin, 22, "title", "start", title)
	top := 40.0
	var told []string
	for i, s := range lines {
		class := fmt.Sprintf("c%d", i%5)
		c.dot(margin+5, top+4, 4, class)
		c.text(margin+16, top+8, "", "start", s.System)
		top += lineHigh
		first, last := s.Points[0], s.Points[len(s.Points)-1]
		told = append(told, fmt.Sprintf("%s: %s at %s %s, %s at %s", s.System, number(first.Y), number(first.X), s.X, number(last.Y), number(last.X)))
	}
	top += margin
	left, end, bottom := 2*margin+wide(ticks...), plotWidth-margin-wide(number(math.Pow(10, top10)))/2, top+high
	atX := func(v float64) float64 { return left + (end-left)*(math.Log10(max(v, 1))-low)/(top10-low) }
	atY := func(v float64) float64 { return bottom - high*v/(steps*step) }
	for i, s := range ticks {
		y := atY(float64(i) * step)
		c.rule(left, y, end, y)
		c.text(left-margin/2, y+4, "soft", "end", s)
	}
	c.decades(low, top10, top, bottom, atX)
	c.text((left+end)/2, bottom+axisHigh+lineHigh, "soft", "middle", lines[0].X)
	for i, s := range lines {
		class := fmt.Sprintf("c%d", i%5)
		var points []string
		for _, p := range s.Points {
			points = append(points, px(atX(p.X))+","+px(atY(p.Y)))
		}
		fmt.Fprintf(&c.body, `<polyline points="%s" class="%s line" style="fill:none"/>`+"\n", strings.Join(points, " "), class)
		for _, p := range s.Points {
			c.dot(atX(p.X), atY(p.Y), 3.5, class)
		}
	}
	alt := title + " along " + lines[0].X + ". " + strings.Join(told, "; ") + "."
	return Plot{Name: "growth-" + notInName.ReplaceAllString(strings.ToLower(name), "-") + ".svg", Alt: alt, SVG: c.done(title, alt, bottom+axisHigh+lineHigh+margin)}
}

// nice is the least of 1, 2 and 5 with zeroes that is at least v.
func nice(v float64) float64 {
	if v <= 0 {
		return 0
	}
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 2, 5} {
		if m*power >= v {
			return m * power
		}
	}
	return 10 * power
}

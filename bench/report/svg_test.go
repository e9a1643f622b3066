package report

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"
)

// box is where a text stands.
type box struct {
	s          string
	x, y, w, h float64
}

func (b box) meets(o box) bool {
	return b.x < o.x+o.w && o.x < b.x+b.w && b.y < o.y+o.h && o.y < b.y+b.h
}

// drawn reads an SVG: its size, and the boxes of all texts. It fails where that is no well-formed XML.
func drawn(t *testing.T, svg []byte) (w, h float64, texts []box, kinds map[string]int) {
	t.Helper()
	kinds = map[string]int{}
	dec := xml.NewDecoder(strings.NewReader(string(svg)))
	var at *box
	var anchor string
	for {
		tok, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return w, h, texts, kinds
		}
		if err != nil {
			t.Fatalf("%v in %s", err, svg)
		}
		switch e := tok.(type) {
		case xml.StartElement:
			kinds[e.Name.Local]++
			a := map[string]string{}
			for _, x := range e.Attr {
				a[x.Name.Local] = x.Value
			}
			f := func(key string) float64 {
				v, err := strconv.ParseFloat(a[key], 64)
				if err != nil {
					t.Fatalf("%s of %s: %v", key, e.Name.Local, err)
				}
				return v
			}
			switch e.Name.Local {
			case "svg":
				if w, h = f("width"), f("height"); a["role"] != "img" || a["aria-labelledby"] == "" {
					t.Errorf("got %v; want a picture with a text in its place", a)
				}
			case "text":
				at, anchor = &box{x: f("x"), y: f("y") - 10, h: 13}, a["text-anchor"]
				at.w = charWidth
				if a["class"] == "title" {
					at.w = 8
				}
			}
		case xml.CharData:
			if at != nil {
				at.s = string(e)
				at.w *= float64(len([]rune(at.s)))
				switch anchor {
				case "middle":
					at.x -= at.w / 2
				case "end":
					at.x -= at.w
				}
				texts = append(texts, *at)
				at = nil
			}
		}
	}
}

// odd are results whose values differ by many powers of ten, with names that need escaping.
func odd() Results {
	r := example()
	for i := range r.Figures {
		for range i % 9 {
			r.Figures[i].Value *= 13
		}
		if i%4 == 0 {
			r.Figures[i].Value /= 1e5
		}
	}
	r.Series = append(r.Series, Series{Name: "a_<b>_&_c", System: `"x" <y>`, X: "chats & more", Unit: "KB", Points: []Point{{1, 0}, {1e12, 5e9}}},
		Series{Name: "zero", System: "chatmesh", X: "connections", Unit: "ms", Points: []Point{{100, 0}}},
		Series{Name: "none", System: "chatmesh", X: "connections", Unit: "ms"})
	return r
}

func TestAPlotIsWellFormedAndItsLabelsNeverOverlap(t *testing.T) {
	few := run(map[string]float64{"rate2000_p50_ms chatmesh": 0.5, "rate2000_p99_ms chatmesh": 0.5, "idle_kb_per_user chatmesh": 3})
	for name, r := range map[string]Results{"all": example(), "odd": odd(), "few": few} {
		plots := Plots(r)
		if len(plots) < 2 {
			t.Fatalf("%s: got %d plots", name, len(plots))
		}
		for _, p := range plots {
			t.Run(fmt.Sprintf("%s/%s", name, p.Name), func(t *testing.T) {
				w, h, texts, kinds := drawn(t, p.SVG)
				if len(texts) < 3 || kinds["title"] != 1 || kinds["desc"] != 1 || kinds["style"] != 1 {
					t.Errorf("got %d texts, %v; want a title, a description and labels", len(texts), kinds)
				}
				for i, a := range texts {
					if a.x < 0 || a.x+a.w > w || a.y < 0 || a.y+a.h > h {
						t.Errorf("%q stands outside: %+v of %v × %v", a.s, a, w, h)
					}
					for _, b := range texts[:i] {
						if a.meets(b) {
							t.Errorf("%q and %q overlap: %+v, %+v", a.s, b.s, a, b)
						}
					}
				}
				if strings.Contains(string(p.SVG), "NaN") || strings.Contains(string(p.SVG), "Inf") {
					t.Error("something stands nowhere")
				}
			})
		}
	}
}

func TestAPlotIsReadableOnADarkPageAndWithoutSeeingIt(t *testing.T) {
	for _, p := range Plots(example()) {
		if !strings.Contains(string(p.SVG), "prefers-color-scheme: dark") {
			t.Errorf("%s knows no dark page", p.Name)
		}
		if !strings.Contains(p.Alt, "chatmesh") || strings.ContainsAny(p.Alt, "[]\n") {
			t.Errorf("%s: got the alternative %q; want what it shows", p.Name, p.Alt)
		}
	}
}

func TestEveryPictureIsOfFiguresInTheCatalog(t *testing.T) {
	for _, p := range pictures {
		for _, c := range p.figures {
			if place(names(), c.name) == len(names()) {
				t.Errorf("%s: there is no figure %s", p.name, c.name)
			}
		}
	}
}

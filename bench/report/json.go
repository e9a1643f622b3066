package report

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
)

// JSON is latest.json: the figures in an order that does not depend on that in which they were measured, so that two runs can be compared
// line by line.
func JSON(r Results) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(ordered(r)); err != nil {
		return nil, fmt.Errorf("results: %w", err)
	}
	return b.Bytes(), nil
}

// Read reads what JSON wrote. No such file is no error, but no figures.
func Read(path string) (Results, error) {
	var r Results
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return r, fmt.Errorf("results: %w", err)
	}
	if err := json.Unmarshal(b, &r); err != nil {
		return r, fmt.Errorf("results %s: %w", path, err)
	}
	return r, nil
}

// ordered is r with figures and series in order: by name as in the catalog, then by system.
func ordered(r Results) Results {
	r.Figures = slices.Clone(r.Figures)
	if r.Figures == nil {
		r.Figures = []Figure{}
	}
	slices.SortStableFunc(r.Figures, func(a, b Figure) int {
		return cmp.Or(byName(a.Name, b.Name), bySystem(a.System, b.System))
	})
	r.Series = slices.Clone(r.Series)
	slices.SortStableFunc(r.Series, func(a, b Series) int { return cmp.Or(cmp.Compare(a.Name, b.Name), bySystem(a.System, b.System)) })
	return r
}

func byName(a, b string) int {
	return cmp.Or(cmp.Compare(place(names(), a), place(names(), b)), cmp.Compare(a, b))
}

func bySystem(a, b string) int {
	return cmp.Or(cmp.Compare(place(systems, a), place(systems, b)), cmp.Compare(a, b))
}

// place is where s stands; what does not stand there comes last.
func place(in []string, s string) int {
	if i := slices.Index(in, s); i >= 0 {
		return i
	}
	return len(in)
}

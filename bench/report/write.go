package report

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// WriteAll writes latest.json, the tables as table.md, and the plots into a folder, which it makes.
func WriteAll(dir string, r Results) error {
	j, err := JSON(r)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("results: %w", err)
	}
	if err := write(filepath.Join(dir, "latest.json"), j); err != nil {
		return err
	}
	if err := write(filepath.Join(dir, "table.md"), []byte(Markdown(r, "plots"))); err != nil {
		return err
	}
	return writePlots(filepath.Join(dir, "plots"), r)
}

// Marks in docs/performance.md, between which stands what Document writes.
const (
	markBegin = "<!-- bench:begin -->"
	markEnd   = "<!-- bench:end -->"
)

// Document writes the results into the documents of the checkout at root: docs/performance.md between its marks, and the plots into
// docs/performance, in which no other SVG stays.
func Document(root string, r Results) error {
	path := filepath.Join(root, "docs", "performance.md")
	page, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	if page, err = between(page, Markdown(r, "performance")); err != nil {
		return err
	}
	if err := write(path, page); err != nil {
		return err
	}
	return writePlots(filepath.Join(root, "docs", "performance"), r)
}

// between puts text between the marks of a page.
func between(page []byte, text string) ([]byte, error) {
	begin, end := bytes.Index(page, []byte(markBegin)), bytes.Index(page, []byte(markEnd))
	if begin < 0 || end < begin {
		return nil, errors.New("report: the page has no marks " + markBegin + " and " + markEnd)
	}
	var b bytes.Buffer
	b.Write(page[:begin+len(markBegin)])
	b.WriteString("\n\n" + text + "\n")
	b.Write(page[end:])
	return b.Bytes(), nil
}

func writePlots(dir string, r Results) error {
	plots := Plots(r)
	if old, err := filepath.Glob(filepath.Join(dir, "*.svg")); err == nil {
		for _, path := range old {
			if err := os.Remove(path); err != nil {
				return fmt.Errorf("report: %w", err)
			}
		}
	}
	if len(plots) == 0 {
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	for _, p := range plots {
		if err := write(filepath.Join(dir, p.Name), p.SVG); err != nil {
			return err
		}
	}
	return nil
}

// write replaces a file only with all of it.
func write(path string, b []byte) error {
	tmp := path + ".new"
	if err := os.WriteFile(tmp, b, 0o644); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

// Summary is one line about the goals of a run, for a terminal.
func Summary(r Results) string {
	var met, measured int
	var missed []string
	verdicts := Judge(r)
	for _, v := range verdicts {
		switch {
		case v.Reached:
			met++
			measured++
		case v.Measured:
			measured++
			missed = append(missed, fmt.Sprintf("%s: %s %s, goal %s", v.What, number(v.Value), v.Unit, v.Text))
		}
	}
	text := fmt.Sprintf("%d of %d goals measured, %d reached", measured, len(verdicts), met)
	if len(missed) > 0 {
		text += "; missed: " + strings.Join(missed, "; ")
	}
	return text
}

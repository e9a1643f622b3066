package stack

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

var (
	continued = regexp.MustCompile(`\\\n\s*`)
	buildLine = regexp.MustCompile(`(?m)^RUN (?:--mount=\S+ )*(.*\bgo build .*)$`)
)

// BuildLine is the command with which the Dockerfile in the folder root builds the program, without mounts.
func BuildLine(root string) (string, error) {
	text, err := os.ReadFile(filepath.Join(root, "Dockerfile"))
	if err != nil {
		return "", fmt.Errorf("stack: %w", err)
	}
	found := buildLine.FindAllStringSubmatch(continued.ReplaceAllString(string(text), ""), -1)
	if len(found) != 1 {
		return "", fmt.Errorf("stack: the Dockerfile has %d lines with go build; want one", len(found))
	}
	return found[0][1], nil
}

// BuildImage runs that command in the checkout at root, so that the program comes to out instead of the image.
func BuildImage(ctx context.Context, root, out string) error {
	line, err := BuildLine(root)
	if err != nil {
		return err
	}
	if n := strings.Count(line, "-o /out/chatmesh "); n != 1 {
		return fmt.Errorf("stack: the Dockerfile does not build /out/chatmesh: %s", line)
	}
	cmd := exec.CommandContext(ctx, "sh", "-c", strings.Replace(line, "/out/chatmesh", out, 1))
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("stack: %s: %w\n%s", line, err, out)
	}
	return nil
}

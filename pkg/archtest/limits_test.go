package archtest_test

import (
	"testing"

	"github.com/chatmesh/chatmesh/pkg/limit"
)

func TestTheLimitsOfTheProtocolAreThoseOfTheProgram(t *testing.T) {
	rows := table(t, "docs/protocol.md", "limit")
	entries := limit.DefaultRules().Entries()
	for i := range max(len(rows), len(entries)) {
		switch {
		case i >= len(rows):
			t.Errorf("docs/protocol.md: %s is missing", entries[i].Name)
		case i >= len(entries):
			t.Errorf("docs/protocol.md: %s is no limit, or not in its place", rows[i][0])
		case len(rows[i]) != 3 || rows[i][0] != entries[i].Name || rows[i][1] != entries[i].Value || rows[i][2] == "":
			t.Errorf("docs/protocol.md: got %q; want %s, %s and what it counts", rows[i], entries[i].Name, entries[i].Value)
		}
	}
}

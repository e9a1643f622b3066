// Package scylla owns the schema of the CQL store: numbered files of statements, in the order in which they are run. It
// promises that a file which was released never changes: what comes later is a file of its own, and only adds.
package scylla

import (
	"embed"
	"io/fs"
	"slices"
)

// Files holds the migrations, one file NNNN_name.cql each. Statements end with a semicolon, and there is no other one, not
// even in a comment: the runner cuts there. Each may be run twice.
//
//go:embed *.cql
var Files embed.FS

// Names lists the files in the order in which they are run.
func Names() []string {
	names, err := fs.Glob(Files, "*.cql")
	if err != nil {
		panic(err) // only for a malformed pattern
	}
	slices.Sort(names)
	return names
}

//go:build !linux

package edge

import "context"

// readiness is a set of the connections that wait. This system has none that is known here: each connection waits with its reader.
type readiness struct{}

// seat is where a connection is in the set.
type seat struct{}

func (*readiness) run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

func (*readiness) wait(*socketReader) bool { return false }

func (*readiness) forget(*conn) {}

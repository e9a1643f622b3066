package persister

import (
	"context"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/subject"
)

// lag tells how much of a stream waits for the store. It belongs to the one worker of the stream.
type lag struct {
	s      *Server
	stream string
	// late is that the last write failed: what a delivery says of those behind it was so when it came, which may be an hour ago.
	late bool
}

// tell sets the metric after a batch was handled, or could not be.
func (l *lag) tell(ctx context.Context, batch []bus.Delivery, err error) {
	n := float64(batch[len(batch)-1].Pending)
	if err != nil || l.late {
		waiting, failed := l.s.c.Bus.Waiting(ctx, l.stream, subject.Persister)
		if failed != nil {
			return // the broker is away as well, and says so elsewhere
		}
		if n = float64(waiting); err == nil {
			n = max(n-float64(len(batch)), 0) // they are acknowledged next
		}
	}
	l.late = err != nil
	l.s.lag.WithLabelValues(l.stream).Set(n)
}

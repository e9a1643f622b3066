package fanout

import (
	"context"

	"github.com/nats-io/nats.go"

	"github.com/chatmesh/chatmesh/pkg/wire"
)

// Publish sends an event to everyone who is to receive it, for tests.
func (s *Server) Publish(ctx context.Context, head wire.Head, stream uint64, header nats.Header, body []byte) error {
	return s.publish(ctx, origin{head: head, stream: stream, header: header}, body)
}

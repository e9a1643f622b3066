package persister

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/chatmesh/chatmesh/pkg/chatlog"
	"github.com/chatmesh/chatmesh/pkg/store"
)

// scrubAtOnce is how many events are taken out of the log at once.
const scrubAtOnce = 8

// scrub takes the events whose stubs the store has out of the log, if nobody did. It comes before the ack of the stubs, so that it is done
// in the end whatever happens.
func (s *Server) scrub(ctx context.Context, partition int, stubs []store.Entry) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(scrubAtOnce)
	for _, en := range stubs {
		g.Go(func() error {
			err := chatlog.Scrub(ctx, s.c.Bus, partition, en.Event.Chat, en.Event.Seq)
			if errors.Is(err, chatlog.ErrNotErasable) { // somebody published a stub by hand
				s.c.Logger.Error("event of a stub stays in the log", "partition", partition, "chat", en.Event.Chat, "seq", en.Event.Seq, "error", err)
				return nil
			}
			return err
		})
	}
	return g.Wait()
}

// partitionOf is the partition of the subject of a chat; -1 for none.
func partitionOf(subj string) int {
	parts := strings.SplitN(subj, ".", 3)
	if len(parts) < 3 {
		return -1
	}
	p, err := strconv.Atoi(parts[1])
	if err != nil {
		return -1
	}
	return p
}

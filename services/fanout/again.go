package fanout

import (
	"bytes"
	"context"
	"errors"
	"strings"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// errNotInHistory says that a dead letter is not what the history of its chat has at its seq.
var errNotInHistory = errors.New("the history of the chat does not have it")

// again publishes a dead letter: late, so that its receivers find by its seq where it belongs. An event is published only if the
// history of its chat has it.
func (s *Server) again(ctx context.Context, _ int, d bus.Delivery) error {
	if strings.HasPrefix(d.Subject(), "cursor.") {
		r, err := wire.DecodeCursor(d.Data())
		if err == nil && r.Chat != subject.ChatOf(d.Subject()) {
			err = errForeign
		}
		if err != nil {
			return &bus.Poison{Reason: err.Error()}
		}
		if err := s.cursor(ctx, r, d.Data()); err != nil {
			return err
		}
		return s.c.Bus.Flush(ctx)
	}
	h, err := wire.Peek(d.Data())
	if err == nil && !isEvent(h, d.Subject(), d.Headers()) {
		err = errForeign
	}
	if err != nil {
		return &bus.Poison{Reason: err.Error()}
	}
	page, err := s.c.Log.Page(ctx, h.Chat, store.Range{After: h.Seq - 1, Forward: true, Limit: 1})
	if err != nil && !chat.Is(err, chat.NotFound) {
		return err
	}
	if len(page.Items) == 0 || page.Items[0].Seq != h.Seq || !bytes.Equal(page.Items[0].Body, d.Data()) {
		return &bus.Poison{Reason: errNotInHistory.Error()}
	}
	// Without its stream sequence it is taken for one that fills a hole.
	if err := s.publish(ctx, origin{head: h}, d.Data()); err != nil {
		return err
	}
	return s.c.Bus.Flush(ctx)
}

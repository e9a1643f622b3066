package api

import (
	"context"

	"golang.org/x/sync/errgroup"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/chatlog"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// Bounds of an answer to what somebody has sent: how many questions of a request are worked on at once, and of how many bytes of ids no
// further answer is added; one alone has 160 KB at most.
const (
	questionsAtOnce = 8
	sentBytes       = 128 << 10
)

// microSent answers what was sent. Of the further questions one that fails is answered as not complete: who asked then looks for the one
// message that matters, and is told why that fails.
func (s *Server) microSent(ctx context.Context, q wire.SentRequest) (any, error) {
	if len(q.More) >= chatlog.AskAtOnce {
		return nil, chat.Errorf(chat.BadRequest, "more are at most %d", chatlog.AskAtOnce-1)
	}
	var a wire.SentAnswer
	var err error
	if a.SentIDs, err = s.sentOf(ctx, q.SentQuestion); err != nil || len(q.More) == 0 {
		return a, err
	}
	a.More = make([]wire.SentIDs, len(q.More))
	var g errgroup.Group
	g.SetLimit(questionsAtOnce)
	for i, q := range q.More {
		g.Go(func() error {
			if ids, err := s.sentOf(ctx, q); err == nil {
				a.More[i] = ids
			}
			return nil
		})
	}
	_ = g.Wait() // which passes on what panicked
	size := len(a.IDs)
	for i, more := range a.More {
		if size += len(more.IDs); size > sentBytes {
			a.More = a.More[:i]
			break
		}
	}
	return a, nil
}

// sentOf answers one question.
func (s *Server) sentOf(ctx context.Context, q wire.SentQuestion) (wire.SentIDs, error) {
	id, err := chat.ParseID(q.Chat)
	if err != nil {
		return wire.SentIDs{}, err
	}
	sender, err := chat.ParseUserID(q.Sender)
	if err != nil {
		return wire.SentIDs{}, err
	}
	sent, err := s.older.Sent(ctx, id, sender, q.Since)
	return sent.Wire(), err
}

package api

import (
	"context"
	"net/http"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// errNoMessage is the refusal for a place in a chat where no message stands.
var errNoMessage = chat.Errorf(chat.NotFound, "no such message")

// placeOf answers where something was done.
type placeOf struct {
	Chat chat.ID  `json:"chat"`
	Seq  chat.Seq `json:"seq"`
}

// hide takes a message out of the caller's sight, for ever and on all their devices. The others still have it.
func (s *Server) hide(c *call, id chat.ID, seq chat.Seq) (answer, error) {
	if err := s.isMessage(c.ctx, id, seq, c.who.User); err != nil {
		return answer{}, err
	}
	if err := s.stored(s.store.Hide(c.ctx, c.who.User, id, seq)); err != nil {
		return answer{}, err
	}
	s.tell(c.who.User, wire.Hidden{Type: wire.TypeHidden, Chat: id, Seqs: []chat.Seq{seq}})
	return answer{http.StatusOK, placeOf{id, seq}}, nil
}

// isMessage fails with errNoChat unless the person is a member, and with errNoMessage unless a message stands at seq.
func (s *Server) isMessage(ctx context.Context, id chat.ID, seq chat.Seq, user chat.UserID) error {
	snap, err := s.member(ctx, id, user)
	if err != nil {
		return err
	}
	if seq == 0 || seq > snap.Head.Seq {
		return errNoMessage
	}
	page, err := s.log.Page(ctx, id, store.Range{After: seq - 1, Before: seq + 1, Forward: true, Limit: 1})
	if err != nil {
		return underChat(err)
	}
	if len(page.Items) != 1 || page.Items[0].Seq != seq {
		return errNoMessage
	}
	e, err := wire.DecodeEvent(page.Items[0].Body)
	if err == nil && e.Type != chat.Message {
		err = errNoMessage
	}
	return err
}

// hiddenWindow is how many events of a chat one call looks through for hidden ones.
const hiddenWindow = 10_000

// listHidden lists what the caller has hidden behind a seq, for a device that was away when it was.
func (s *Server) listHidden(c *call) (answer, error) {
	id, err := c.chat()
	if err != nil {
		return answer{}, err
	}
	q, err := c.query()
	if err != nil {
		return answer{}, err
	}
	after, _, err := number(q, "after")
	if err != nil {
		return answer{}, err
	}
	snap, err := s.member(c.ctx, id, c.who.User)
	if err != nil {
		return answer{}, err
	}
	out := struct {
		Seqs    []chat.Seq `json:"seqs"`
		HasMore bool       `json:"has_more"`
		From    chat.Seq   `json:"from_seq"`
		To      chat.Seq   `json:"to_seq"`
	}{Seqs: []chat.Seq{}}
	if head := snap.Head.Seq; chat.Seq(after) < head {
		out.From, out.To = chat.Seq(after)+1, min(chat.Seq(after)+hiddenWindow, head)
		out.HasMore = out.To < head
		seqs, err := s.store.Hidden(c.ctx, c.who.User, id, out.From, out.To)
		if err := s.stored(err); err != nil {
			return answer{}, err
		}
		out.Seqs = append(out.Seqs, seqs...)
	}
	return answer{http.StatusOK, out}, nil
}

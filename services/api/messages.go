package api

import (
	"net/http"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/chatlog"
	"github.com/chatmesh/chatmesh/pkg/store"
)

// A page of history has defaultPage events unless the call says otherwise, and at most pageBytes, so that one call cannot ask
// for 200 of the longest texts.
const (
	defaultPage = 50
	pageBytes   = 4 << 20
)

// history returns a page of a chat's events: the newest, those below before, or those that follow after.
func (s *Server) history(c *call) (answer, error) {
	id, err := c.chat()
	if err != nil {
		return answer{}, err
	}
	q, err := c.query()
	if err != nil {
		return answer{}, err
	}
	before, _, err := number(q, "before")
	if err != nil {
		return answer{}, err
	}
	after, forward, err := number(q, "after")
	if err != nil {
		return answer{}, err
	}
	limit, err := limitOf(q, defaultPage, chat.MaxPage)
	if err != nil {
		return answer{}, err
	}
	snap, err := s.member(c.ctx, id, c.who.User)
	if err != nil {
		return answer{}, err
	}
	page, err := s.log.Page(c.ctx, id, store.Range{After: chat.Seq(after), Before: upTo(snap, chat.Seq(before)), Forward: forward,
		Limit: limit, MaxBytes: pageBytes})
	if err != nil {
		return answer{}, underChat(err)
	}
	return answer{http.StatusOK, page.Frame()}, nil
}

// upTo bounds a page by the head at the moment at which membership was looked at: what is appended after a removal is not shown.
func upTo(snap chatlog.Snapshot, before chat.Seq) chat.Seq {
	if end := snap.Head.Seq + 1; before == 0 || before > end {
		return end
	}
	return before
}

// sent answers who sent a message.
type sent struct {
	Chat      chat.ID   `json:"chat"`
	Seq       chat.Seq  `json:"seq"`
	SentAt    chat.Time `json:"sent_at"`
	Duplicate bool      `json:"duplicate,omitempty"`
}

// send appends a message, once for each client id.
func (s *Server) send(c *call) (answer, error) {
	id, err := c.chat()
	if err != nil {
		return answer{}, err
	}
	var in struct {
		ClientID string `json:"client_id"`
		Text     string `json:"text"`
	}
	if err := c.body(&in); err != nil {
		return answer{}, err
	}
	client, err := chat.ParseClientID(in.ClientID)
	if err != nil {
		return answer{}, err
	}
	if err := chat.CheckText(in.Text); err != nil {
		return answer{}, err
	}
	r, err := s.log.Append(c.ctx, id, chat.Send{Sender: c.who.User, ClientID: client, Text: in.Text})
	if err != nil {
		return answer{}, underChat(err)
	}
	status := http.StatusCreated
	if r.Duplicate {
		status = http.StatusOK
	}
	return answer{status, sent{Chat: id, Seq: r.Seq, SentAt: r.SentAt, Duplicate: r.Duplicate}}, nil
}

// markRead moves the caller's cursor forward.
func (s *Server) markRead(c *call) (answer, error) {
	id, err := c.chat()
	if err != nil {
		return answer{}, err
	}
	var in struct {
		Seq *chat.Seq `json:"seq"`
	}
	if err := c.body(&in); err != nil {
		return answer{}, err
	}
	if in.Seq == nil {
		return answer{}, chat.Errorf(chat.BadRequest, "seq is required")
	}
	if _, err := s.log.MarkRead(c.ctx, id, c.who.User, *in.Seq); err != nil {
		return answer{}, underChat(err)
	}
	out := struct {
		Chat chat.ID  `json:"chat"`
		Seq  chat.Seq `json:"seq"`
	}{id, *in.Seq}
	// An own message may have moved the cursor further than what was asked for.
	now, err := s.log.Cursor(c.ctx, id, c.who.User)
	if err != nil {
		return answer{}, err
	}
	out.Seq = max(out.Seq, now.Seq)
	return answer{http.StatusOK, out}, nil
}

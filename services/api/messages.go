package api

import (
	"net/http"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

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
	var in outgoing
	if err := c.body(&in); err != nil {
		return answer{}, err
	}
	r, err := s.post(c.ctx, id, c.who.User, in)
	if err != nil {
		return answer{}, err
	}
	status := http.StatusCreated
	if r.Duplicate {
		status = http.StatusOK
	}
	return answer{status, sent{Chat: id, Seq: r.Seq, SentAt: r.SentAt, Duplicate: r.Duplicate}}, nil
}

package client

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

// request is a frame to the server; which fields it has depends on its type.
type request struct {
	Type     string               `json:"type"`
	ID       string               `json:"id,omitempty"`
	Token    string               `json:"token,omitempty"`
	Cursors  map[chat.ID]chat.Seq `json:"cursors,omitempty"`
	Chat     chat.ID              `json:"chat,omitempty"`
	ClientID chat.ClientID        `json:"client_id,omitempty"`
	Text     string               `json:"text,omitempty"`
	After    *chat.Seq            `json:"after,omitempty"`
	Limit    int                  `json:"limit,omitempty"`
	Seq      chat.Seq             `json:"seq,omitempty"`
	Users    []chat.UserID        `json:"users,omitempty"`
	Receipts bool                 `json:"receipts,omitempty"`
	Stopped  bool                 `json:"stopped,omitempty"`
	Idle     *bool                `json:"idle,omitempty"`
	ReplyTo  chat.Seq             `json:"reply_to,omitempty"`
	Mentions []chat.UserID        `json:"mentions,omitempty"`
	For      string               `json:"for,omitempty"`
	Emoji    string               `json:"emoji,omitempty"`
	Remove   bool                 `json:"remove,omitempty"`
}

// head is what is read of every frame from the server; the rest depends on its type.
type head struct {
	Type string `json:"type"`
	ID   string `json:"id"`
}

// answer is a frame that answers a request: ack, page, pong or error.
type answer struct {
	Seq       chat.Seq     `json:"seq"`
	SentAt    chat.Time    `json:"sent_at"`
	Duplicate bool         `json:"duplicate"`
	Messages  []chat.Event `json:"messages"`
	HasMore   bool         `json:"has_more"`

	Code         chat.Code `json:"code"`
	Message      string    `json:"message"`
	RetryAfterMS int64     `json:"retry_after_ms"`
}

func (a *answer) refusal() *chat.Error {
	return &chat.Error{Code: a.Code, Message: a.Message, RetryAfter: time.Duration(a.RetryAfterMS) * time.Millisecond}
}

// decode reads a frame into v.
func decode(frame []byte, v any) error {
	if err := json.Unmarshal(frame, v); err != nil {
		return fmt.Errorf("client: a frame of the server: %w", err)
	}
	return nil
}

package raw

import (
	"encoding/json"
	"time"
)

// Frame is any JSON object of the protocol: the fields that its type has are set. Events in history and in pages are
// frames as well. Raw is what stood on the wire.
type Frame struct {
	Raw json.RawMessage `json:"-"`

	Type string `json:"type"`
	ID   string `json:"id"`
	Chat string `json:"chat"`
	Seq  uint64 `json:"seq"`
	N    uint64 `json:"n"`

	Sender    string    `json:"sender"`
	ClientID  string    `json:"client_id"`
	Text      string    `json:"text"`
	SentAt    time.Time `json:"sent_at"`
	Duplicate bool      `json:"duplicate"`

	Change string          `json:"change"`
	Who    json.RawMessage `json:"user"` // an id; in welcome it may be more
	By     string          `json:"by"`
	Role   string          `json:"role"`
	Title  string          `json:"title"`
	At     time.Time       `json:"at"`

	Messages []Frame `json:"messages"`
	HasMore  bool    `json:"has_more"`
	FromSeq  uint64  `json:"from_seq"`
	ToSeq    uint64  `json:"to_seq"`

	Online   *bool     `json:"online"`
	LastSeen time.Time `json:"last_seen"`

	Session          string    `json:"session"`
	ServerTime       time.Time `json:"server_time"`
	ReconnectAfterMS *int64    `json:"reconnect_after_ms"`

	Code         string `json:"code"`
	Message      string `json:"message"`
	RetryAfterMS int64  `json:"retry_after_ms"`
}

// UnmarshalJSON reads the fields and keeps what stood there.
func (f *Frame) UnmarshalJSON(b []byte) error {
	type plain Frame
	var p plain
	if err := json.Unmarshal(b, &p); err != nil {
		return err
	}
	*f = Frame(p)
	f.Raw = append(json.RawMessage(nil), b...)
	return nil
}

// User is the id of the person that the frame is about.
func (f Frame) User() string {
	var id string
	if json.Unmarshal(f.Who, &id) == nil {
		return id
	}
	var u struct {
		ID string `json:"id"`
	}
	if json.Unmarshal(f.Who, &u) == nil {
		return u.ID
	}
	return ""
}

// IsEvent tells whether the frame is an event of a chat's log.
func (f Frame) IsEvent() bool { return f.Type == "message" || f.Type == "chat" }

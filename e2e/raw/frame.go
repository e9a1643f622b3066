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

	Target    uint64   `json:"target"`
	Emoji     string   `json:"emoji"`
	Removed   bool     `json:"removed"`
	ReplyTo   uint64   `json:"reply_to"`
	Mentions  []string `json:"mentions"`
	Deleted   *Erasure `json:"deleted"`
	Forwarded *struct {
		Sender string    `json:"sender"`
		SentAt time.Time `json:"sent_at"`
	} `json:"forwarded"`

	// Of a message as it stands.
	Edits     int        `json:"edits"`
	EditedAt  *time.Time `json:"edited_at"`
	Reactions []struct {
		Emoji string   `json:"emoji"`
		Count int      `json:"count"`
		Users []string `json:"users"`
	} `json:"reactions"`
	Reply *struct {
		Seq     uint64 `json:"seq"`
		Text    string `json:"text"`
		Deleted bool   `json:"deleted"`
	} `json:"reply"`

	Messages []Frame `json:"messages"`
	HasMore  bool    `json:"has_more"`
	FromSeq  uint64  `json:"from_seq"`
	ToSeq    uint64  `json:"to_seq"`
	FoldedTo uint64  `json:"folded_to"`

	Online   *bool     `json:"online"`
	LastSeen time.Time `json:"last_seen"`

	Session          string    `json:"session"`
	ServerTime       time.Time `json:"server_time"`
	ReconnectAfterMS *int64    `json:"reconnect_after_ms"`

	Code         string `json:"code"`
	Message      string `json:"message"`
	RetryAfterMS int64  `json:"retry_after_ms"`
}

// Erasure says that a text is gone.
type Erasure struct {
	Seq uint64    `json:"seq"`
	By  string    `json:"by"`
	At  time.Time `json:"at"`
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
func (f Frame) IsEvent() bool {
	switch f.Type {
	case "message", "chat":
		return true
	case "edit", "deletion", "reaction":
		return f.Target > 0
	}
	return false
}

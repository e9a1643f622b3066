package wire

import (
	"time"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

// TypingExpires is for how long somebody counts as writing who has not said so again.
const TypingExpires = 6 * time.Second

// Typing tells that a person is writing, for ExpiresInMS milliseconds unless it comes again, or that they have stopped.
type Typing struct {
	Type        string      `json:"type"`
	Chat        chat.ID     `json:"chat"`
	User        chat.UserID `json:"user"`
	ExpiresInMS int64       `json:"expires_in_ms,omitempty"`
	Stopped     bool        `json:"stopped,omitempty"`
}

// NewTyping is the frame that tells that a person is writing in a chat, or has stopped.
func NewTyping(id chat.ID, user chat.UserID, stopped bool) Typing {
	t := Typing{Type: TypeTyping, Chat: id, User: user, Stopped: stopped}
	if !stopped {
		t.ExpiresInMS = TypingExpires.Milliseconds()
	}
	return t
}

// The states of a Presence.
const (
	// Online is that somebody is at a device of the person; Away that the person is connected and at none.
	Online = "online"
	Away   = "away"
	// Offline is that the person is not connected, or does not want others to know.
	Offline = "offline"
)

// Presence tells whether a person is online, in which state, and when they last were. Who is away is online.
type Presence struct {
	Type     string      `json:"type,omitempty"`
	ID       RequestID   `json:"id,omitempty"`
	User     chat.UserID `json:"user"`
	Online   bool        `json:"online"`
	State    string      `json:"state"`
	LastSeen *chat.Time  `json:"last_seen,omitempty"`
	// Invisible tells a person's own devices that others see them offline.
	Invisible bool `json:"invisible,omitempty"`
}

// What Preferences.Presence says.
const (
	Visible   = "visible"
	Invisible = "invisible"
)

// Preferences tells a person's own devices what others may learn of the person. Of two the one with the greater revision counts.
type Preferences struct {
	Type         string `json:"type"`
	ReadReceipts bool   `json:"read_receipts"`
	Typing       bool   `json:"typing"`
	Presence     string `json:"presence"`
	Revision     uint64 `json:"revision"`
}

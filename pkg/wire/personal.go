package wire

import "github.com/chatmesh/chatmesh/pkg/chat"

// Settings tells the devices of a person what that person has set for a chat. It is also what the call that sets it answers, without a
// type.
type Settings struct {
	Type string  `json:"type,omitempty"`
	Chat chat.ID `json:"chat"`
	// MutedUntil is until when the chat is silent; nil is not.
	MutedUntil   *chat.Time `json:"muted_until"`
	Archived     bool       `json:"archived"`
	MarkedUnread bool       `json:"marked_unread"`
}

// Hidden tells the devices of a person which events of a chat that person does not want to see any more.
type Hidden struct {
	Type string     `json:"type"`
	Chat chat.ID    `json:"chat"`
	Seqs []chat.Seq `json:"seqs"`
}

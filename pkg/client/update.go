package client

import (
	"time"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

// Update is one thing that happened; exactly one field is set.
type Update struct {
	// Event is the next event of its chat.
	Event *chat.Event
	// Read says that somebody read up to a seq.
	Read *Read
	// Delivered says that somebody has a chat up to a seq on a device; it comes with ConnConfig.Receipts only.
	Delivered *Delivered
	// Typing says that somebody is writing, or has stopped.
	Typing *Typing
	// Presence says how somebody is whom the Conn watches.
	Presence *Presence
	// Preferences are what others may learn of who is signed in, changed on this device or another.
	Preferences *Preferences
	// Profile is what others see of who is signed in, changed on this device or another.
	Profile *User
	// Settings says that the caller has set something for a chat, on this device or another.
	Settings *SettingsUpdate
	// Hidden says that the caller has deleted messages for themselves, on this device or another.
	Hidden *Hidden
	// Skipped says that events were left out on purpose.
	Skipped *Skipped
	// Left says that a chat is not ours any more.
	Left *Left
	// Link says that the connection was made or lost.
	Link *Link
	// Refusal is an error of the server that answers no request of ours that waits, as for a Typing or a Watch.
	Refusal *chat.Error
}

// Read says that User has read Chat up to Seq.
type Read struct {
	Chat chat.ID     `json:"chat"`
	User chat.UserID `json:"user"`
	Seq  chat.Seq    `json:"seq"`
}

// Delivered says that User has Chat up to Seq on a device. Who has read an event has it: then only Read comes.
type Delivered struct {
	Chat chat.ID     `json:"chat"`
	User chat.UserID `json:"user"`
	Seq  chat.Seq    `json:"seq"`
}

// Typing says that User is writing in Chat: for Expires, unless it comes again or a message of theirs does. With Stopped they are not
// any more.
type Typing struct {
	Chat    chat.ID
	User    chat.UserID
	Expires time.Duration
	Stopped bool
}

// SettingsUpdate says what the caller has set for Chat now.
type SettingsUpdate struct {
	Chat chat.ID `json:"chat"`
	ChatSettings
}

// Hidden says which messages of Chat the caller does not want to see any more. Where it waits in the inbox it gathers what comes,
// the last 1,000; Messages leaves out all of them.
type Hidden struct {
	Chat chat.ID    `json:"chat"`
	Seqs []chat.Seq `json:"seqs"`
}

// Skipped says that the events From to To of a chat will not come by Next: the device met the chat with more of a past than
// it is worth to play again. Messages reads them.
type Skipped struct {
	Chat     chat.ID
	From, To chat.Seq
}

// Left says that the server does not show Chat any more, although the event that removed us was not seen.
type Left struct {
	Chat chat.ID
}

// Link says whether the Conn is connected. Err is why it was lost.
type Link struct {
	Online bool
	Err    error
}

// key names what an update replaces while it waits in the inbox: of these only the last matters. Updates of kind zero
// replace nothing.
type key struct {
	kind byte
	chat chat.ID
	user chat.UserID
}

func (u *Update) key() key {
	switch {
	case u.Read != nil:
		return key{kind: 'r', chat: u.Read.Chat, user: u.Read.User}
	case u.Delivered != nil:
		return key{kind: 'd', chat: u.Delivered.Chat, user: u.Delivered.User}
	case u.Typing != nil:
		return key{kind: 't', chat: u.Typing.Chat, user: u.Typing.User}
	case u.Presence != nil:
		return key{kind: 'p', user: u.Presence.User}
	case u.Preferences != nil:
		return key{kind: 'w'}
	case u.Profile != nil:
		return key{kind: 'u'}
	case u.Settings != nil:
		return key{kind: 'c', chat: u.Settings.Chat}
	case u.Hidden != nil:
		return key{kind: 'h', chat: u.Hidden.Chat}
	case u.Skipped != nil:
		return key{kind: 's', chat: u.Skipped.Chat}
	case u.Left != nil:
		return key{kind: 'g', chat: u.Left.Chat}
	case u.Link != nil:
		return key{kind: 'l'}
	case u.Refusal != nil:
		return key{kind: 'e'}
	}
	return key{}
}

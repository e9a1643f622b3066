package client

import "github.com/chatmesh/chatmesh/pkg/chat"

// Update is one thing that happened; exactly one field is set.
type Update struct {
	// Event is the next event of its chat.
	Event *chat.Event
	// Read says that somebody read up to a seq.
	Read *Read
	// Typing says that somebody is writing.
	Typing *Typing
	// Presence says that somebody whom the Conn watches came or went.
	Presence *Presence
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

// Typing says that User is writing in Chat.
type Typing struct {
	Chat chat.ID     `json:"chat"`
	User chat.UserID `json:"user"`
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
	case u.Typing != nil:
		return key{kind: 't', chat: u.Typing.Chat, user: u.Typing.User}
	case u.Presence != nil:
		return key{kind: 'p', user: u.Presence.User}
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

package chat

import "unicode/utf8"

// EventType tells what an event of a chat's log is.
type EventType string

// The types of event. Edited, Deleted and Reacted say what became of the message at Target.
const (
	Message EventType = "message"
	Changed EventType = "chat"
	Edited  EventType = "edit"
	Deleted EventType = "deletion"
	Reacted EventType = "reaction"
)

// Known tells whether a chat's log has events of the type.
func (t EventType) Known() bool {
	switch t {
	case Message, Changed, Edited, Deleted, Reacted:
		return true
	}
	return false
}

// Change names what an event of type Changed did.
type Change string

// The changes.
const (
	Created       Change = "created"
	MemberAdded   Change = "member_added"
	MemberRemoved Change = "member_removed"
	RoleChanged   Change = "role"
	TitleChanged  Change = "title"

	PictureChanged     Change = "picture"
	DescriptionChanged Change = "description"
	InviteChanged      Change = "invite"
	Pinned             Change = "pinned"
	Unpinned           Change = "unpinned"
	// Erased says that the texts of all messages of User up to here are erased, with their account.
	Erased Change = "erased"
)

// Forward says whose message was passed on.
type Forward struct {
	Sender UserID `json:"sender"`
	SentAt Time   `json:"sent_at"`
}

// Erasure says that the text of an event is gone: by whom, when, and with which event of the chat.
type Erasure struct {
	Seq Seq    `json:"seq"`
	By  UserID `json:"by"`
	At  Time   `json:"at"`
}

// Event is one entry of a chat's log: a message, what became of one, or a change of the chat. Its JSON is what the log stores, what the store keeps and
// what clients receive; it is encoded once, by whoever appends it.
type Event struct {
	Type EventType `json:"type"`
	Chat ID        `json:"chat"`
	Seq  Seq       `json:"seq"`
	// N is how many of the events up to and including this one are messages.
	N uint64 `json:"n"`

	// Of a message.
	Sender   UserID   `json:"sender,omitempty"`
	ClientID ClientID `json:"client_id,omitempty"`
	Text     string   `json:"text,omitempty"`
	SentAt   *Time    `json:"sent_at,omitempty"`
	// ReplyTo is the message that is answered. Mentions are of members; an edit may have them too.
	ReplyTo   Seq      `json:"reply_to,omitempty"`
	Mentions  []UserID `json:"mentions,omitempty"`
	Forwarded *Forward `json:"forwarded,omitempty"`

	// Of an edit, a deletion, a reaction, and of the changes Pinned and Unpinned: the message concerned. By and At say by whom and when,
	// Text what an edited message reads now. Removed says that a reaction was taken back.
	Target  Seq    `json:"target,omitempty"`
	Emoji   string `json:"emoji,omitempty"`
	Removed bool   `json:"removed,omitempty"`

	// Deleted says of a message or an edit that its text is gone. Such an event is a stub: it keeps the place in the order.
	Deleted *Erasure `json:"deleted,omitempty"`

	// Of a change. User is whom it concerns, By who made it. Kind and Members come with Created only, Title with
	// Created and TitleChanged.
	Change  Change   `json:"change,omitempty"`
	User    UserID   `json:"user,omitempty"`
	By      UserID   `json:"by,omitempty"`
	Role    Role     `json:"role,omitempty"`
	Title   *string  `json:"title,omitempty"`
	Kind    Kind     `json:"kind,omitempty"`
	Members []Member `json:"members,omitempty"`
	At      *Time    `json:"at,omitempty"`

	// Of the changes of the same name. Empty is none any more; Invite is the digest of a link's secret.
	Picture     *string `json:"picture,omitempty"`
	Description *string `json:"description,omitempty"`
	Invite      *string `json:"invite,omitempty"`

	// Stubs are the events whose texts go with this deletion, without them. They are no part of the event.
	Stubs []Event `json:"-"`
}

// Stub is the event without what a person wrote, as it stands once d has erased it.
func (e Event) Stub(d Erasure) Event {
	e.Text, e.ReplyTo, e.Mentions, e.Forwarded, e.Deleted = "", 0, nil, nil, &d
	return e
}

// Time is when the event was appended, by the clock of the node that appended it. It orders nothing.
func (e *Event) Time() Time {
	switch {
	case e.SentAt != nil:
		return *e.SentAt
	case e.At != nil:
		return *e.At
	}
	return Time{}
}

// CheckText tells whether text may be sent: valid UTF-8 of 1 to MaxText code points. It fails with BadRequest or TooLong.
func CheckText(text string) error {
	if text == "" {
		return Errorf(BadRequest, "text is empty")
	}
	if !utf8.ValidString(text) {
		return Errorf(BadRequest, "text is not UTF-8")
	}
	if len(text) > MaxText && utf8.RuneCountInString(text) > MaxText {
		return Errorf(TooLong, "text is longer than %d code points", MaxText)
	}
	return nil
}

// CheckTitle tells whether title may name a group: valid UTF-8 of 1 to MaxTitle code points. It fails with BadRequest
// or TooLong.
func CheckTitle(title string) error {
	if title == "" {
		return Errorf(BadRequest, "title is empty")
	}
	if !utf8.ValidString(title) {
		return Errorf(BadRequest, "title is not UTF-8")
	}
	if utf8.RuneCountInString(title) > MaxTitle {
		return Errorf(TooLong, "title is longer than %d code points", MaxTitle)
	}
	return nil
}

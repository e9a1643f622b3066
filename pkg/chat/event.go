package chat

import "unicode/utf8"

// EventType tells what an event of a chat's log is.
type EventType string

// The types of event.
const (
	Message EventType = "message"
	Changed EventType = "chat"
)

// Change names what an event of type Changed did.
type Change string

// The changes.
const (
	Created       Change = "created"
	MemberAdded   Change = "member_added"
	MemberRemoved Change = "member_removed"
	RoleChanged   Change = "role"
	TitleChanged  Change = "title"
)

// Event is one entry of a chat's log: a message or a change. Its JSON is what the log stores, what the store keeps and
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

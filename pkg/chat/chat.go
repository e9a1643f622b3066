// Package chat owns the nouns of chatmesh: ids, sequence numbers, events, the state of a chat and the rules that
// decide who may change it. It promises that a value of one of its types is valid once it was parsed here, and that
// every decision is a pure function of a state and a command. It uses the standard library only.
package chat

import (
	"fmt"
	"time"
)

// Limits of the outside contract.
const (
	// MaxMembers is how many people a group holds at most.
	MaxMembers = 100
	// MaxText is the length of the longest text, in Unicode code points.
	MaxText = 99_999
	// MaxTitle is the length of the longest title of a group, in Unicode code points.
	MaxTitle = 200
	// MaxDescription is the length of the longest description of a group, in Unicode code points.
	MaxDescription = 2_000
	// MaxPicture is the length of the longest URL of a picture, in bytes.
	MaxPicture = 2_048
	// MaxID is the length of the longest id, in bytes: an id is one token of a NATS subject.
	MaxID = 64
	// MaxEmoji is the length of the longest emoji of a reaction, in bytes.
	MaxEmoji = 64
	// MaxReactions is how many different emoji the reactions to a message have at most. One that comes later is not shown.
	MaxReactions = 20
	// MaxEdits is how often a message may be edited.
	MaxEdits = 100
	// MaxPins is how many messages of a chat are pinned at most.
	MaxPins = 50
	// MaxPage is how many events a page of history holds at most.
	MaxPage = 200
)

// ID names a chat. UserID names a person. Both are made by the server. ClientID names one attempt to send a message
// and is made by the client: a retry carries the same one. All three are strings of [A-Za-z0-9_-]{1,64}, so that each
// is one token of a NATS subject; the zero value is no id.
type (
	ID       string
	UserID   string
	ClientID string
)

// Seq numbers the events of one chat 1, 2, 3 … without holes. Zero is the position before the first event.
type Seq uint64

// Kind tells a direct chat (two people, for ever the same) from a group.
type Kind string

// The kinds of chat.
const (
	Direct Kind = "direct"
	Group  Kind = "group"
)

// Role is what a member may do in a group. The zero value is no role.
type Role string

// The roles, strongest first. A group has exactly one owner as long as it has members.
const (
	Owner  Role = "owner"
	Admin  Role = "admin"
	Plain  Role = "member"
	NoRole Role = ""
)

func validID(s string) bool {
	if s == "" || len(s) > MaxID {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '-') {
			return false
		}
	}
	return true
}

func parseID[T ~string](what, s string) (T, error) {
	if !validID(s) {
		return "", Errorf(BadRequest, "%s is not an id: 1 to %d of A-Z a-z 0-9 _ -", what, MaxID)
	}
	return T(s), nil
}

// ParseID returns s as the id of a chat. It fails with BadRequest.
func ParseID(s string) (ID, error) { return parseID[ID]("chat", s) }

// ParseUserID returns s as the id of a person. It fails with BadRequest.
func ParseUserID(s string) (UserID, error) { return parseID[UserID]("user", s) }

// ParseClientID returns s as a client id. It fails with BadRequest.
func ParseClientID(s string) (ClientID, error) { return parseID[ClientID]("client_id", s) }

// ParseRole returns s as a role; empty is NoRole. It fails with BadRequest.
func ParseRole(s string) (Role, error) {
	switch r := Role(s); r {
	case Owner, Admin, Plain, NoRole:
		return r, nil
	}
	return "", Errorf(BadRequest, "role is one of owner, admin, member")
}

// timeLayout is RFC 3339 in UTC with exactly six digits of microseconds.
const timeLayout = "2006-01-02T15:04:05.000000Z"

// Time is a moment in UTC, in JSON RFC 3339 with microseconds.
type Time struct{ time.Time }

// Now is the present moment, cut to microseconds so that it survives its encoding unchanged.
func Now() Time { return TimeOf(time.Now()) }

// TimeOf is t in UTC, cut to microseconds.
func TimeOf(t time.Time) Time { return Time{t.UTC().Truncate(time.Microsecond)} }

// MarshalJSON writes the time with six digits of microseconds.
func (t Time) MarshalJSON() ([]byte, error) {
	b := make([]byte, 0, len(timeLayout)+2)
	b = append(b, '"')
	b = t.AppendText(b)
	return append(b, '"'), nil
}

// AppendText appends the time as MarshalJSON writes it, without quotes.
func (t Time) AppendText(b []byte) []byte { return t.UTC().AppendFormat(b, timeLayout) }

// UnmarshalJSON reads any RFC 3339 time.
func (t *Time) UnmarshalJSON(b []byte) error {
	if len(b) < 2 || b[0] != '"' || b[len(b)-1] != '"' {
		return fmt.Errorf("chat: time is not a string")
	}
	v, err := time.Parse(time.RFC3339Nano, string(b[1:len(b)-1]))
	if err != nil {
		return fmt.Errorf("chat: time: %w", err)
	}
	t.Time = v.UTC()
	return nil
}

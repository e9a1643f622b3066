package chat

import (
	"fmt"
	"slices"
)

// Member is one person in a chat.
type Member struct {
	UserID UserID `json:"user_id"`
	Role   Role   `json:"role"`
	// Since is the seq of the event that made the person a member. It is part of the state, not of what clients see.
	Since Seq `json:"since,omitempty"`
}

// Departure is a membership that ended: the person was a member from Since up to and including Until, the event that
// removed them.
type Departure struct {
	UserID UserID `json:"user_id"`
	Since  Seq    `json:"since"`
	Until  Seq    `json:"until"`
	// By is who removed them; empty where they left, and of departures from before it was kept.
	By UserID `json:"by,omitempty"`
}

// maxDepartures bounds what a state remembers of former members: as many as can be in a chat.
const maxDepartures = MaxMembers

// PinnedMessage is a message that is pinned to its chat.
type PinnedMessage struct {
	Seq Seq    `json:"seq"`
	By  UserID `json:"by"`
	At  Time   `json:"at"`
}

// State is what a chat is after the change at Seq: kind, title, members, pins. A message or a reaction does not change it. The
// zero value is a chat that does not exist.
type State struct {
	Chat      ID       `json:"chat"`
	Seq       Seq      `json:"seq"`
	Kind      Kind     `json:"kind"`
	Title     string   `json:"title,omitempty"`
	CreatedAt Time     `json:"created_at"`
	Members   []Member `json:"members"`
	// Left holds the latest departures, oldest first, so that whoever delivers an older event still knows who was a
	// member then. At most MaxMembers.
	Left []Departure `json:"left,omitempty"`

	// Picture, Description and Invite of a group; zero is none. See group.go.
	Picture     string  `json:"picture,omitempty"`
	Description string  `json:"description,omitempty"`
	Invite      *Invite `json:"invite,omitempty"`
	// Pins are the pinned messages, in the order in which they were pinned. At most MaxPins.
	Pins []PinnedMessage `json:"pins,omitempty"`
	// LastEdit and LastErasure are the last edit of a message and the last deletion: what was read of a message before them may not
	// be so any more.
	LastEdit    Seq `json:"last_edit,omitempty"`
	LastErasure Seq `json:"last_erasure,omitempty"`
	// Blocks are who of a direct chat has blocked the other, Gone who has deleted their account. See block.go.
	Blocks []UserID `json:"blocks,omitempty"`
	Gone   []Gone   `json:"gone,omitempty"`
}

// Exists tells whether the chat was created.
func (s *State) Exists() bool { return s.Seq > 0 }

// Member returns the membership of u, and whether there is one.
func (s *State) Member(u UserID) (Member, bool) {
	for _, m := range s.Members {
		if m.UserID == u {
			return m, true
		}
	}
	return Member{}, false
}

// ReceiversAt lists who receives the event at seq: the members of that moment, the person whom it removes included.
// seq may be older than the state.
func (s *State) ReceiversAt(seq Seq) []UserID {
	out := make([]UserID, 0, len(s.Members)+1)
	for _, m := range s.Members {
		if m.Since <= seq {
			out = append(out, m.UserID)
		}
	}
	for _, d := range s.Left {
		if d.Since <= seq && seq <= d.Until && !slices.Contains(out, d.UserID) {
			out = append(out, d.UserID)
		}
	}
	return out
}

// Apply returns the state after e. The receiver is not changed. It fails when e is not a change that can follow the
// state: then the log is damaged.
func (s *State) Apply(e *Event) (*State, error) {
	if e.Type == Message || e.Type == Reacted {
		return s, nil
	}
	next := new(State)
	*next = *s
	next.Seq, next.Members, next.Left, next.Pins = e.Seq, slices.Clone(s.Members), slices.Clone(s.Left), slices.Clone(s.Pins)
	at := slices.IndexFunc(next.Members, func(m Member) bool { return m.UserID == e.User })
	bad := func(why string) (*State, error) {
		return nil, fmt.Errorf("chat: event %d (%s) does not follow state %d: %s", e.Seq, e.Change, s.Seq, why)
	}
	if (e.Change == Created) == s.Exists() || e.Seq <= s.Seq {
		return bad("order")
	}
	unpin := func() {
		next.Pins = slices.DeleteFunc(next.Pins, func(p PinnedMessage) bool { return p.Seq == e.Target })
	}
	switch e.Type {
	case Edited:
		next.LastEdit = e.Seq
		return next, nil
	case Deleted:
		next.LastErasure = e.Seq
		unpin()
		return next, nil
	}
	switch e.Change {
	case Created:
		next.Chat, next.Kind, next.CreatedAt = e.Chat, e.Kind, e.Time()
		if e.Title != nil {
			next.Title = *e.Title
		}
		for _, m := range e.Members {
			next.Members = append(next.Members, Member{UserID: m.UserID, Role: m.Role, Since: e.Seq})
		}
	case MemberAdded:
		if at >= 0 {
			return bad("is a member")
		}
		next.Members = append(next.Members, Member{UserID: e.User, Role: e.Role, Since: e.Seq})
	case MemberRemoved:
		if at < 0 {
			return bad("is no member")
		}
		gone := Departure{UserID: e.User, Since: next.Members[at].Since, Until: e.Seq}
		if e.By != e.User {
			gone.By = e.By
		}
		next.Left = append(next.Left, gone)
		if over := len(next.Left) - maxDepartures; over > 0 {
			next.Left = slices.Delete(next.Left, 0, over)
		}
		next.Members = slices.Delete(next.Members, at, at+1)
	case RoleChanged:
		if at < 0 {
			return bad("is no member")
		}
		next.Members[at].Role = e.Role
	case TitleChanged:
		if e.Title == nil {
			return bad("no title")
		}
		next.Title = *e.Title
	case PictureChanged, DescriptionChanged, InviteChanged:
		if !next.describe(e) {
			return bad("nothing is said")
		}
	case Pinned:
		next.Pins = append(next.Pins, PinnedMessage{Seq: e.Target, By: e.By, At: e.Time()})
	case Unpinned:
		unpin()
	case Erased:
		next.LastErasure = e.Seq
		next.leave(e)
	case Blocked, Unblocked:
		next.block(e)
	default:
		return bad("unknown change")
	}
	return next, nil
}

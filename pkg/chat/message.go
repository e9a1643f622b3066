package chat

import (
	"slices"
	"unicode"
	"unicode/utf8"
)

// ErrStale says that what a command was made of may not be so any more: a message of the chat was edited or deleted since it was read.
// The message is to be read again.
var ErrStale = Errorf(Conflict, "the message was changed meanwhile")

// Send appends a message.
type Send struct {
	Sender   UserID
	ClientID ClientID
	Text     string
	// ReplyTo is the message that is answered, which its reader has checked; zero is none.
	ReplyTo Seq
	// Mentions are of members, none twice.
	Mentions []UserID
	// Forwarded says whose text it is; nil is the sender's own.
	Forwarded *Forward
}

// Decide allows every member. It fails with NotFound, with Forbidden where one of a direct chat has blocked the other or is gone, or with
// BadRequest where somebody is mentioned who is no member.
func (c Send) Decide(s *State) ([]Event, error) {
	if _, err := writer(s, c.Sender); err != nil {
		return nil, err
	}
	if err := checkMentions(s, c.Mentions); err != nil {
		return nil, err
	}
	return []Event{{Type: Message, Sender: c.Sender, ClientID: c.ClientID, Text: c.Text, ReplyTo: c.ReplyTo, Mentions: c.Mentions,
		Forwarded: c.Forwarded}}, nil
}

// ParseMentions returns the ids of those who are mentioned. It fails with BadRequest; that they are members is for Decide to say.
func ParseMentions(all []string) ([]UserID, error) {
	if len(all) > MaxMembers {
		return nil, Errorf(BadRequest, "at most %d members are mentioned", MaxMembers)
	}
	var out []UserID
	for _, s := range all {
		u, err := ParseUserID(s)
		if err != nil {
			return nil, Errorf(BadRequest, "mentions are ids of people")
		}
		out = append(out, u)
	}
	return out, nil
}

func checkMentions(s *State, users []UserID) error {
	for i, u := range users {
		if _, ok := s.Member(u); !ok || slices.Contains(users[:i], u) {
			return Errorf(BadRequest, "mentions are of members, none twice")
		}
	}
	return nil
}

// Target is a message that a command concerns, as it was when Head was the last event of the chat. Whoever makes the command has
// seen that it is a message whose text is not erased.
type Target struct {
	Seq    Seq
	Sender UserID
	Head   Seq
}

// Edit gives a message another text.
type Edit struct {
	By       UserID
	Target   Target
	Text     string
	Mentions []UserID
}

// Decide allows the sender. It fails with NotFound, Forbidden, BadRequest or ErrStale.
func (c Edit) Decide(s *State) ([]Event, error) {
	if _, err := writer(s, c.By); err != nil {
		return nil, err
	}
	if c.By != c.Target.Sender {
		return nil, Errorf(Forbidden, "only its sender edits a message")
	}
	if err := checkMentions(s, c.Mentions); err != nil {
		return nil, err
	}
	if max(s.LastEdit, s.LastErasure) > c.Target.Head {
		return nil, ErrStale
	}
	return []Event{{Type: Edited, Target: c.Target.Seq, By: c.By, Text: c.Text, Mentions: c.Mentions}}, nil
}

// Delete erases a message for everyone.
type Delete struct {
	By     UserID
	Target Target
	// Events are the message and all its edits, as they are before the deletion.
	Events []Event
}

// Decide allows the sender, and owner and admins of a group. It fails with NotFound, Forbidden or ErrStale.
func (c Delete) Decide(s *State) ([]Event, error) {
	by, err := actor(s, c.By)
	if err != nil {
		return nil, err
	}
	if c.By != c.Target.Sender && by.Role != Owner && by.Role != Admin {
		return nil, Errorf(Forbidden, "that takes a stronger role")
	}
	if max(s.LastEdit, s.LastErasure) > c.Target.Head {
		return nil, ErrStale
	}
	return []Event{{Type: Deleted, Target: c.Target.Seq, By: c.By, Stubs: c.Events}}, nil
}

// React gives a message an emoji of a person, or takes it back.
type React struct {
	By     UserID
	Target Target
	Emoji  string
	// Removed takes it back.
	Removed bool
}

// Decide allows every member. It fails with NotFound, Forbidden or ErrStale.
func (c React) Decide(s *State) ([]Event, error) {
	if _, err := writer(s, c.By); err != nil {
		return nil, err
	}
	if s.LastErasure > c.Target.Head {
		return nil, ErrStale
	}
	return []Event{{Type: Reacted, Target: c.Target.Seq, By: c.By, Emoji: c.Emoji, Removed: c.Removed}}, nil
}

// Pin pins a message to its chat, or takes it down.
type Pin struct {
	By     UserID
	Target Target
	// Removed takes it down.
	Removed bool
}

// Decide allows both of a direct chat, and owner and admins of a group. It fails with NotFound, Forbidden, ErrStale, or with Conflict
// where MaxPins are pinned.
func (c Pin) Decide(s *State) ([]Event, error) {
	by, err := writer(s, c.By)
	if err != nil {
		return nil, err
	}
	if s.Kind == Group && by.Role == Plain {
		return nil, Errorf(Forbidden, "that takes a stronger role")
	}
	there := slices.ContainsFunc(s.Pins, func(p PinnedMessage) bool { return p.Seq == c.Target.Seq })
	switch {
	case there != c.Removed:
		return nil, nil
	case c.Removed:
		return []Event{{Type: Changed, Change: Unpinned, Target: c.Target.Seq, By: c.By}}, nil
	case s.LastErasure > c.Target.Head:
		return nil, ErrStale
	case len(s.Pins) >= MaxPins:
		return nil, Errorf(Conflict, "a chat has at most %d pinned messages", MaxPins)
	}
	return []Event{{Type: Changed, Change: Pinned, Target: c.Target.Seq, By: c.By}}, nil
}

// EraseSender says that the texts of all messages of a person in a chat are erased, with their account.
type EraseSender struct {
	User UserID
}

// Decide allows it where there is a chat, whether they are still in it or not. It fails with NotFound.
func (c EraseSender) Decide(s *State) ([]Event, error) {
	if !s.Exists() {
		return nil, noChat()
	}
	if _, gone := s.GoneAt(c.User); gone {
		return nil, nil
	}
	return []Event{{Type: Changed, Change: Erased, User: c.User, By: c.User}}, nil
}

// CheckEmoji tells whether an emoji may be a reaction: one symbol or a sequence of code points that make one, of at most MaxEmoji
// bytes, without letters, space or control characters. It fails with BadRequest.
func CheckEmoji(s string) error {
	symbol := false
	for _, r := range s {
		if r == utf8.RuneError || unicode.IsLetter(r) && r != 0x2139 || unicode.IsSpace(r) || unicode.IsControl(r) {
			symbol = false
			break
		}
		symbol = symbol || r > unicode.MaxLatin1 || r == '\u00a9' || r == '\u00ae'
	}
	if !symbol || len(s) > MaxEmoji {
		return Errorf(BadRequest, "emoji is not one emoji of at most %d bytes", MaxEmoji)
	}
	return nil
}

package chat

import (
	"crypto/sha256"
	"encoding/base64"
	"net/url"
	"unicode/utf8"
)

// Invite is the link by which people join a group. Whoever knows the secret may; only its digest is kept.
type Invite struct {
	// Digest is DigestOf the secret.
	Digest string `json:"digest"`
	// By made it, with the event at Seq.
	By  UserID `json:"by"`
	Seq Seq    `json:"seq"`
}

// DigestOf is what is kept of the secret of a link: SHA-256 in base64url. The secret is random and of 128 bits at least, so
// that the digest, which every member sees, tells nothing of it.
func DigestOf(secret []byte) string {
	sum := sha256.Sum256(secret)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// CheckPicture tells whether a URL may stand for a picture: empty for none, otherwise absolute, https, of at most MaxPicture
// bytes of ASCII and without a user or a password in it. Nothing is ever fetched from it. It fails with BadRequest or TooLong.
func CheckPicture(picture string) error {
	if picture == "" {
		return nil
	}
	if len(picture) > MaxPicture {
		return Errorf(TooLong, "picture is longer than %d bytes", MaxPicture)
	}
	for i := range len(picture) {
		if c := picture[i]; c <= ' ' || c > '~' {
			return errPicture
		}
	}
	u, err := url.Parse(picture)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil {
		return errPicture
	}
	return nil
}

var errPicture = Errorf(BadRequest, "picture is no https URL")

// CheckDescription tells whether a text may describe a group: valid UTF-8 of at most MaxDescription code points; empty is none.
// It fails with BadRequest or TooLong.
func CheckDescription(description string) error {
	if !utf8.ValidString(description) {
		return Errorf(BadRequest, "description is not UTF-8")
	}
	if utf8.RuneCountInString(description) > MaxDescription {
		return Errorf(TooLong, "description is longer than %d code points", MaxDescription)
	}
	return nil
}

// describe applies a change of picture, description or invite. It is false where the event has none.
func (s *State) describe(e *Event) bool {
	switch {
	case e.Change == PictureChanged && e.Picture != nil:
		s.Picture = *e.Picture
	case e.Change == DescriptionChanged && e.Description != nil:
		s.Description = *e.Description
	case e.Change == InviteChanged && e.Invite != nil:
		if s.Invite = nil; *e.Invite != "" {
			s.Invite = &Invite{Digest: *e.Invite, By: e.By, Seq: e.Seq}
		}
	default:
		return false
	}
	return true
}

// wasRemoved tells whether u is no member because somebody else removed them, as far as the state remembers.
func (s *State) wasRemoved(u UserID) bool {
	for i := len(s.Left) - 1; i >= 0; i-- {
		if d := s.Left[i]; d.UserID == u {
			return d.By != ""
		}
	}
	return false
}

// manager returns nil for who may change what a group is called and who joins it: owner and admins. It fails with NotFound or
// Forbidden.
func manager(s *State, by UserID) error {
	m, err := groupActor(s, by)
	if err == nil && m.Role == Plain {
		err = Errorf(Forbidden, "that takes a stronger role")
	}
	return err
}

// SetGroup gives a group another title, picture or description; nil leaves what is.
type SetGroup struct {
	By                          UserID
	Title, Picture, Description *string
}

// Decide allows owner and admins. There is an event for each that changes, in the order title, picture, description. It fails
// with NotFound or Forbidden.
func (c SetGroup) Decide(s *State) ([]Event, error) {
	if err := manager(s, c.By); err != nil {
		return nil, err
	}
	var out []Event
	if c.Title != nil && *c.Title != s.Title {
		out = append(out, Event{Type: Changed, Change: TitleChanged, By: c.By, Title: c.Title})
	}
	if c.Picture != nil && *c.Picture != s.Picture {
		out = append(out, Event{Type: Changed, Change: PictureChanged, By: c.By, Picture: c.Picture})
	}
	if c.Description != nil && *c.Description != s.Description {
		out = append(out, Event{Type: Changed, Change: DescriptionChanged, By: c.By, Description: c.Description})
	}
	return out, nil
}

// MakeInvite makes the link of a group, and revokes the one that it has: there is one at a time.
type MakeInvite struct {
	By UserID
	// Digest is DigestOf a new secret.
	Digest string
}

// Decide allows owner and admins. It fails with NotFound or Forbidden.
func (c MakeInvite) Decide(s *State) ([]Event, error) {
	if err := manager(s, c.By); err != nil {
		return nil, err
	}
	if s.Invite != nil && s.Invite.Digest == c.Digest {
		return nil, nil
	}
	return []Event{{Type: Changed, Change: InviteChanged, By: c.By, Invite: &c.Digest}}, nil
}

// RevokeInvite ends the link of a group: nobody joins by it any more.
type RevokeInvite struct {
	By UserID
}

// Decide allows owner and admins. It fails with NotFound or Forbidden.
func (c RevokeInvite) Decide(s *State) ([]Event, error) {
	if err := manager(s, c.By); err != nil || s.Invite == nil {
		return nil, err
	}
	return []Event{{Type: Changed, Change: InviteChanged, By: c.By, Invite: new(string)}}, nil
}

// Join makes User a plain member by the link of a group.
type Join struct {
	User UserID
	// Digest is DigestOf the secret that User has.
	Digest string
}

// Decide allows everybody who has the secret of the link that stands, but whom somebody removed: they can only be added again.
// That is known of the last hundred who went. It fails with NotFound, which is all that the holder of another secret learns,
// with Forbidden or with TooManyMembers.
func (c Join) Decide(s *State) ([]Event, error) {
	if s.Invite == nil || s.Invite.Digest != c.Digest || len(s.Members) == 0 {
		return nil, Errorf(NotFound, "no such invite")
	}
	if _, there := s.Member(c.User); there {
		return nil, nil
	}
	if s.wasRemoved(c.User) {
		return nil, Errorf(Forbidden, "who was removed is added by somebody of the group")
	}
	if len(s.Members) >= MaxMembers {
		return nil, Errorf(TooManyMembers, "a group has at most %d members", MaxMembers)
	}
	return []Event{{Type: Changed, Change: MemberAdded, User: c.User, By: c.User, Role: Plain}}, nil
}

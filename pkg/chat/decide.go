package chat

import "slices"

// Command is something that a person wants to do in a chat. Decide turns it into the events that do it, or refuses, from
// the state at exactly the event before them. An empty answer without an error means that all is already as wanted.
// Seq, N and the time of the events are set by whoever appends them.
type Command interface {
	Decide(s *State) ([]Event, error)
}

func noChat() error { return Errorf(NotFound, "no such chat") }

// actor returns the membership of who acts. A stranger cannot tell a chat that is not theirs from none.
func actor(s *State, by UserID) (Member, error) {
	if m, ok := s.Member(by); ok {
		return m, nil
	}
	return Member{}, noChat()
}

// groupActor is actor for what only a group can do.
func groupActor(s *State, by UserID) (Member, error) {
	m, err := actor(s, by)
	if err == nil && s.Kind != Group {
		err = Errorf(Forbidden, "a direct chat cannot be changed")
	}
	return m, err
}

// Create makes a chat: By becomes the owner of a group; the two of a direct chat are plain members.
type Create struct {
	By      UserID
	Kind    Kind
	Title   string
	Members []UserID
}

// Decide allows it where no chat is yet. It fails with Conflict, TooManyMembers or BadRequest.
func (c Create) Decide(s *State) ([]Event, error) {
	if s.Exists() {
		return nil, Errorf(Conflict, "the chat exists")
	}
	e := Event{Type: Changed, Change: Created, By: c.By, Kind: c.Kind}
	first := Owner
	if c.Kind == Direct {
		first = Plain
	} else {
		e.Title = &c.Title
	}
	e.Members = []Member{{UserID: c.By, Role: first}}
	for _, u := range c.Members {
		if !slices.ContainsFunc(e.Members, func(m Member) bool { return m.UserID == u }) {
			e.Members = append(e.Members, Member{UserID: u, Role: Plain})
		}
	}
	if c.Kind == Direct && len(e.Members) != 2 {
		return nil, Errorf(BadRequest, "a direct chat is between two people")
	}
	if len(e.Members) > MaxMembers {
		return nil, Errorf(TooManyMembers, "a group has at most %d members", MaxMembers)
	}
	return []Event{e}, nil
}

// PutMember adds User, or gives a member another role. Role NoRole means Plain for a new member and no change for one
// who is there. Owner hands the group over: the giver becomes an admin.
type PutMember struct {
	By, User UserID
	Role     Role
}

// Decide allows owner and admins to add plain members, and only the owner to give roles. It fails with NotFound,
// Forbidden or TooManyMembers.
func (c PutMember) Decide(s *State) ([]Event, error) {
	by, err := groupActor(s, c.By)
	if err != nil {
		return nil, err
	}
	m, there := s.Member(c.User)
	if there && (c.Role == NoRole || c.Role == m.Role) {
		return nil, nil
	}
	role := c.Role
	if role == NoRole {
		role = Plain
	}
	if by.Role == Plain || by.Role == Admin && (there || role != Plain) {
		return nil, Errorf(Forbidden, "that takes a stronger role")
	}
	if there && m.Role == Owner {
		return nil, Errorf(Forbidden, "the owner hands the group over first")
	}
	var out []Event
	if there {
		out = append(out, Event{Type: Changed, Change: RoleChanged, User: c.User, By: c.By, Role: role})
	} else {
		if len(s.Members) >= MaxMembers {
			return nil, Errorf(TooManyMembers, "a group has at most %d members", MaxMembers)
		}
		out = append(out, Event{Type: Changed, Change: MemberAdded, User: c.User, By: c.By, Role: role})
	}
	if role == Owner {
		out = append(out, Event{Type: Changed, Change: RoleChanged, User: c.By, By: c.By, Role: Admin})
	}
	return out, nil
}

// RemoveMember removes User, or lets them leave when By is the same. An owner who leaves hands the group to the admin
// who is longest in it, or else to the longest member.
type RemoveMember struct {
	By, User UserID
}

// Decide allows everyone to leave, the owner to remove anyone and admins to remove plain members. It fails with NotFound
// or Forbidden.
func (c RemoveMember) Decide(s *State) ([]Event, error) {
	by, err := groupActor(s, c.By)
	if err != nil {
		return nil, err
	}
	m, there := s.Member(c.User)
	switch {
	case !there:
		return nil, Errorf(NotFound, "no such member")
	case c.By == c.User, by.Role == Owner, by.Role == Admin && m.Role == Plain:
	default:
		return nil, Errorf(Forbidden, "that takes a stronger role")
	}
	out := []Event{{Type: Changed, Change: MemberRemoved, User: c.User, By: c.By}}
	if m.Role == Owner {
		if heir := heirOf(s, c.User); heir != "" {
			out = append(out, Event{Type: Changed, Change: RoleChanged, User: heir, By: c.By, Role: Owner})
		}
	}
	return out, nil
}

func heirOf(s *State, owner UserID) UserID {
	var heir Member
	for _, m := range s.Members {
		better := heir.UserID == "" || m.Role == Admin && heir.Role != Admin || m.Role == heir.Role && m.Since < heir.Since
		if m.UserID != owner && better {
			heir = m
		}
	}
	return heir.UserID
}

// SetTitle renames a group.
type SetTitle struct {
	By    UserID
	Title string
}

// Decide allows owner and admins. It fails with NotFound or Forbidden.
func (c SetTitle) Decide(s *State) ([]Event, error) {
	return SetGroup{By: c.By, Title: &c.Title}.Decide(s)
}

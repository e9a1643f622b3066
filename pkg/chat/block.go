package chat

import "slices"

// The changes of a direct chat that stop and allow writing. By is who blocks the other.
const (
	Blocked   Change = "blocked"
	Unblocked Change = "unblocked"
)

// Gone is one of a direct chat whose account is deleted, with the event that erased what they wrote.
type Gone struct {
	UserID UserID `json:"user_id"`
	Seq    Seq    `json:"seq"`
	At     Time   `json:"at"`
}

// Block says in the direct chat of two people that By has blocked the other.
type Block struct {
	By UserID
}

// Decide allows both of a direct chat; once is enough. It fails with NotFound or Forbidden.
func (c Block) Decide(s *State) ([]Event, error) { return decideBlock(s, c.By, Blocked) }

// Unblock takes a Block back.
type Unblock struct {
	By UserID
}

// Decide allows both of a direct chat; who has not blocked has nothing to take back. It fails with NotFound or Forbidden.
func (c Unblock) Decide(s *State) ([]Event, error) { return decideBlock(s, c.By, Unblocked) }

func decideBlock(s *State, by UserID, change Change) ([]Event, error) {
	switch _, err := actor(s, by); {
	case err != nil:
		return nil, err
	case s.Kind != Direct:
		return nil, Errorf(Forbidden, "nobody is blocked in a group")
	case slices.Contains(s.Blocks, by) == (change == Blocked):
		return nil, nil
	}
	return []Event{{Type: Changed, Change: change, By: by}}, nil
}

// block applies Blocked and Unblocked. What the state had before is not changed.
func (s *State) block(e *Event) {
	before := s.Blocks
	s.Blocks = nil
	for _, u := range before {
		if u != e.By {
			s.Blocks = append(s.Blocks, u)
		}
	}
	if e.Change == Blocked {
		s.Blocks = append(s.Blocks, e.By)
	}
}

// leave applies Erased: from a group the person is removed by an event of its own, a direct chat is left by nothing else.
func (s *State) leave(e *Event) {
	if _, there := s.Member(e.User); there && s.Kind == Direct {
		s.Gone = append(slices.Clone(s.Gone), Gone{UserID: e.User, Seq: e.Seq, At: e.Time()})
	}
}

// GoneAt returns when one of a direct chat deleted their account, and whether they did.
func (s *State) GoneAt(user UserID) (Gone, bool) {
	i := slices.IndexFunc(s.Gone, func(g Gone) bool { return g.UserID == user })
	if i < 0 {
		return Gone{}, false
	}
	return s.Gone[i], true
}

// writer is actor for what the other of a direct chat gets to see. While one of both has blocked the other neither writes, so that
// nobody talks to somebody who cannot answer; nor does anybody where one of both has deleted their account.
func writer(s *State, by UserID) (Member, error) {
	m, err := actor(s, by)
	switch {
	case err != nil:
	case len(s.Gone) > 0:
		err = Errorf(Forbidden, "the account of the other person is deleted")
	case slices.Contains(s.Blocks, by):
		err = Errorf(Forbidden, "you have blocked this person")
	case len(s.Blocks) > 0:
		err = Errorf(Forbidden, "you cannot write to this person")
	}
	return m, err
}

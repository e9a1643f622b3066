package api

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/chatlog"
	"github.com/chatmesh/chatmesh/pkg/limit"
)

// memberView is a member as the other members see them.
type memberView struct {
	UserID chat.UserID `json:"user_id"`
	Role   chat.Role   `json:"role"`
}

// chatView is a chat as its members see it.
type chatView struct {
	ID    chat.ID   `json:"id"`
	Kind  chat.Kind `json:"kind"`
	Title string    `json:"title,omitempty"`
	// Peer is the other one of a direct chat.
	Peer         chat.UserID  `json:"peer,omitempty"`
	MembersCount int          `json:"members_count"`
	Members      []memberView `json:"members"`
	LastSeq      chat.Seq     `json:"last_seq"`
	CreatedAt    chat.Time    `json:"created_at"`
	Picture      string       `json:"picture,omitempty"`
	Description  string       `json:"description,omitempty"`
	// Invite says that there is a link to join by.
	Invite *inviteView `json:"invite,omitempty"`
}

// inviteView is what members see of the link: who made it, with which event.
type inviteView struct {
	By  chat.UserID `json:"by"`
	Seq chat.Seq    `json:"seq"`
}

func viewChat(st *chat.State, last chat.Seq, viewer chat.UserID) chatView {
	v := chatView{ID: st.Chat, Kind: st.Kind, Title: st.Title, Peer: peerOf(st, viewer), MembersCount: len(st.Members),
		Members: make([]memberView, 0, len(st.Members)), LastSeq: last, CreatedAt: st.CreatedAt,
		Picture: st.Picture, Description: st.Description}
	if st.Invite != nil {
		v.Invite = &inviteView{By: st.Invite.By, Seq: st.Invite.Seq}
	}
	for _, m := range st.Members {
		v.Members = append(v.Members, memberView{UserID: m.UserID, Role: m.Role})
	}
	return v
}

func peerOf(st *chat.State, viewer chat.UserID) chat.UserID {
	if st.Kind == chat.Direct {
		for _, m := range st.Members {
			if m.UserID != viewer {
				return m.UserID
			}
		}
	}
	return ""
}

// member returns a chat that a person is in, as the log has it now. It fails with errNoChat.
func (s *Server) member(ctx context.Context, id chat.ID, user chat.UserID) (chatlog.Snapshot, error) {
	snap, err := s.log.Snapshot(ctx, id)
	if err != nil {
		return snap, underChat(err)
	}
	if _, ok := snap.State.Member(user); !ok {
		return chatlog.Snapshot{}, errNoChat
	}
	return snap, nil
}

// exist fails with errNoUser unless every one of the people has an account.
func (s *Server) exist(ctx context.Context, people ...chat.UserID) error {
	found, err := s.store.Users(ctx, people...)
	if err := s.stored(err); err != nil {
		return err
	}
	if len(found) < len(people) || slices.ContainsFunc(found, isDeleted) {
		return errNoUser
	}
	return nil
}

// createChat makes a group, or the direct chat of two people unless it is there.
func (s *Server) createChat(c *call) (answer, error) {
	var in struct {
		Kind    chat.Kind `json:"kind"`
		Title   string    `json:"title"`
		Members []string  `json:"members"`
	}
	if err := c.body(&in); err != nil {
		return answer{}, err
	}
	if in.Kind != chat.Direct && in.Kind != chat.Group {
		return answer{}, chat.Errorf(chat.BadRequest, "kind is one of direct, group")
	}
	others, err := othersOf(c.who.User, in.Members)
	if err != nil {
		return answer{}, err
	}
	if in.Kind == chat.Direct {
		if len(others) != 1 {
			return answer{}, chat.Errorf(chat.BadRequest, "a direct chat is with one other person")
		}
		return s.createDirect(c, others[0])
	}
	if err := chat.CheckTitle(in.Title); err != nil {
		return answer{}, err
	}
	if err := s.exist(c.ctx, others...); err != nil {
		return answer{}, err
	}
	id, err := NewGroupID()
	if err != nil {
		return answer{}, err
	}
	return s.create(c, id, chat.Create{By: c.who.User, Kind: chat.Group, Title: in.Title, Members: others})
}

// othersOf parses members without doubles and without the caller. It fails with BadRequest, or with TooManyMembers before more
// is looked at than a chat can hold.
func othersOf(caller chat.UserID, members []string) ([]chat.UserID, error) {
	var out []chat.UserID
	seen := map[chat.UserID]bool{caller: true}
	for _, m := range members {
		u, err := chat.ParseUserID(m)
		if err != nil {
			return nil, chat.Errorf(chat.BadRequest, "members are ids of people")
		}
		if seen[u] {
			continue
		}
		if len(seen) == chat.MaxMembers {
			return nil, chat.Errorf(chat.TooManyMembers, "a group has at most %d members", chat.MaxMembers)
		}
		seen[u] = true
		out = append(out, u)
	}
	return out, nil
}

func (s *Server) createDirect(c *call, other chat.UserID) (answer, error) {
	id := DirectID(c.who.User, other)
	a, err := s.existing(c, id)
	if chat.Is(err, chat.NotFound) {
		a, err = s.meet(c, id, other)
	}
	if err != nil {
		return answer{}, err
	}
	// A block that was stored before the chat was there found nothing to be said in; whoever blocks later finds it.
	return a, s.settleBlocks(c.ctx, c.who.User, other)
}

// meet makes the direct chat of the caller and another.
func (s *Server) meet(c *call, id chat.ID, other chat.UserID) (answer, error) {
	if err := s.exist(c.ctx, other); err != nil {
		return answer{}, err
	}
	if err := s.mayMeet(c.ctx, c.who.User, other); err != nil {
		return answer{}, err
	}
	a, err := s.create(c, id, chat.Create{By: c.who.User, Kind: chat.Direct, Members: []chat.UserID{other}})
	if chat.Is(err, chat.Conflict) { // the other one, or another device, was faster
		return s.existing(c, id)
	}
	return a, err
}

// existing answers with a chat that is there.
func (s *Server) existing(c *call, id chat.ID) (answer, error) {
	snap, err := s.member(c.ctx, id, c.who.User)
	if err != nil {
		return answer{}, err
	}
	return answer{http.StatusOK, viewChat(snap.State, snap.Head.Seq, c.who.User)}, nil
}

// create appends the first event of a chat. The index of its members is written before, so that nobody who learns of the chat
// misses it in their list.
func (s *Server) create(c *call, id chat.ID, cmd chat.Create) (answer, error) {
	invited := len(cmd.Members)
	if cmd.Kind == chat.Direct {
		invited = 0
	}
	if err := s.limits.AllowAll(c.counted(), limit.Action{Kind: limit.Chats, N: 1}, limit.Action{Kind: limit.Invitations, N: invited}); err != nil {
		return answer{}, err
	}
	people := append([]chat.UserID{cmd.By}, cmd.Members...)
	if err := s.stored(s.store.Link(c.ctx, id, 1, people...)); err != nil {
		return answer{}, err
	}
	r, err := s.log.Append(c.ctx, id, cmd)
	if err != nil {
		return answer{}, err
	}
	if r.State == nil {
		return answer{}, errors.New("api: a chat was made without a state")
	}
	return answer{http.StatusCreated, viewChat(r.State, r.Seq, c.who.User)}, nil
}

// getChat returns a chat with its members.
func (s *Server) getChat(c *call) (answer, error) {
	id, err := c.chat()
	if err != nil {
		return answer{}, err
	}
	return s.existing(c, id)
}

// putMember adds someone to a group or gives them another role.
func (s *Server) putMember(c *call) (answer, error) {
	id, user, err := c.member()
	if err != nil {
		return answer{}, err
	}
	var in struct {
		Role string `json:"role"`
	}
	if err := c.optionalBody(&in); err != nil {
		return answer{}, err
	}
	role, err := chat.ParseRole(in.Role)
	if err != nil {
		return answer{}, err
	}
	snap, err := s.member(c.ctx, id, c.who.User)
	if err != nil {
		return answer{}, err
	}
	cmd := chat.PutMember{By: c.who.User, User: user, Role: role}
	if _, there := snap.State.Member(user); there {
		return s.change(c, id, cmd)
	}
	// Who may not add anybody does not learn who exists, and nothing is written for them.
	if _, err := cmd.Decide(snap.State); err != nil {
		return answer{}, err
	}
	if err := s.exist(c.ctx, user); err != nil {
		return answer{}, err
	}
	if err := s.limits.Allow(c.counted(), limit.Invitations); err != nil {
		return answer{}, err
	}
	r, err := s.admit(c.ctx, id, snap.Head.Seq+1, user, cmd)
	if err != nil {
		return answer{}, underChat(err)
	}
	return s.changed(c, id, r)
}

// removeMember takes someone out of a group, or lets the caller leave.
func (s *Server) removeMember(c *call) (answer, error) {
	id, user, err := c.member()
	if err != nil {
		return answer{}, err
	}
	cmd := chat.RemoveMember{By: c.who.User, User: user}
	if user != c.who.User {
		return s.change(c, id, cmd)
	}
	if _, err := s.log.Append(c.ctx, id, cmd); err != nil {
		return answer{}, underChat(err)
	}
	return answer{http.StatusOK, struct {
		ID   chat.ID `json:"id"`
		Left bool    `json:"left"`
	}{id, true}}, nil
}

// change appends a change by the caller, who stays a member.
func (s *Server) change(c *call, id chat.ID, cmd chat.Command) (answer, error) {
	r, err := s.log.Append(c.ctx, id, cmd)
	if err != nil {
		return answer{}, underChat(err)
	}
	return s.changed(c, id, r)
}

// changed answers with the chat after a change.
func (s *Server) changed(c *call, id chat.ID, r chatlog.Receipt) (answer, error) {
	if r.Seq == 0 || r.State == nil { // nothing was to be done
		return s.existing(c, id)
	}
	// The change may be two events: the state is that after the last.
	return answer{http.StatusOK, viewChat(r.State, r.State.Seq, c.who.User)}, nil
}

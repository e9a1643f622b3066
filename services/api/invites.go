package api

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"net/http"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/chatlog"
)

// secretBytes is the length of the secret of a link.
const secretBytes = 16

// errNoInvite is the one refusal for a link that was revoked, one of a group that is gone, and what is no link at all.
var errNoInvite = chat.Errorf(chat.NotFound, "no such invite")

var inviteEncoding = base64.RawURLEncoding.Strict()

// inviteToken is what a link carries: the secret and which chat it is of.
func inviteToken(id chat.ID, secret []byte) string {
	return inviteEncoding.EncodeToString(append(secret[:secretBytes:secretBytes], id...))
}

// parseInvite reads what inviteToken wrote. It fails with errNoInvite.
func parseInvite(token string) (id chat.ID, digest string, err error) {
	b, err := inviteEncoding.DecodeString(token)
	if err != nil || len(b) <= secretBytes {
		return "", "", errNoInvite
	}
	if id, err = chat.ParseID(string(b[secretBytes:])); err != nil {
		return "", "", errNoInvite
	}
	return id, chat.DigestOf(b[:secretBytes]), nil
}

// makeInvite makes the link of a group. Its token is told this once: nobody keeps it.
func (s *Server) makeInvite(c *call) (answer, error) {
	id, err := c.chat()
	if err != nil {
		return answer{}, err
	}
	secret := make([]byte, secretBytes)
	_, _ = rand.Read(secret) // never fails
	if _, err := s.log.Append(c.ctx, id, chat.MakeInvite{By: c.who.User, Digest: chat.DigestOf(secret)}); err != nil {
		return answer{}, underChat(err)
	}
	return answer{http.StatusCreated, struct {
		Token string `json:"token"`
	}{inviteToken(id, secret)}}, nil
}

// revokeInvite ends the link of a group.
func (s *Server) revokeInvite(c *call) (answer, error) {
	id, err := c.chat()
	if err != nil {
		return answer{}, err
	}
	return s.change(c, id, chat.RevokeInvite{By: c.who.User})
}

// invitation is what the holder of a link sees of a group before they join.
type invitation struct {
	ID           chat.ID `json:"id"`
	Title        string  `json:"title"`
	Picture      string  `json:"picture,omitempty"`
	Description  string  `json:"description,omitempty"`
	MembersCount int     `json:"members_count"`
	// Member says that the caller is in it.
	Member bool `json:"member"`
}

// invited returns the group of the link in the path, if that stands, and the digest of its secret. It fails with errNoInvite.
func (s *Server) invited(c *call) (chatlog.Snapshot, string, error) {
	id, digest, err := parseInvite(c.r.PathValue("token"))
	if err != nil {
		return chatlog.Snapshot{}, "", err
	}
	snap, err := s.log.Snapshot(c.ctx, id)
	if err != nil {
		return snap, "", byInvite(err)
	}
	if st := snap.State; st.Invite == nil || st.Invite.Digest != digest || len(st.Members) == 0 {
		return snap, "", errNoInvite
	}
	return snap, digest, nil
}

// byInvite is the one refusal for whatever a link does not open.
func byInvite(err error) error {
	if chat.Is(err, chat.NotFound) {
		return errNoInvite
	}
	return err
}

// showInvite shows the group of a link to who is logged in.
func (s *Server) showInvite(c *call) (answer, error) {
	snap, _, err := s.invited(c)
	if err != nil {
		return answer{}, err
	}
	st := snap.State
	_, in := st.Member(c.who.User)
	return answer{http.StatusOK, invitation{ID: st.Chat, Title: st.Title, Picture: st.Picture, Description: st.Description,
		MembersCount: len(st.Members), Member: in}}, nil
}

// joinByInvite makes the caller a member of the group of a link. Who is one stays what they are.
func (s *Server) joinByInvite(c *call) (answer, error) {
	snap, digest, err := s.invited(c)
	if err != nil {
		return answer{}, err
	}
	id, cmd := snap.State.Chat, chat.Join{User: c.who.User, Digest: digest}
	events, err := cmd.Decide(snap.State)
	if err != nil { // nothing is written for who may not join
		return answer{}, byInvite(err)
	}
	if len(events) == 0 {
		return s.existing(c, id)
	}
	r, err := s.admit(c.ctx, id, snap.Head.Seq+1, c.who.User, cmd)
	if err != nil {
		return answer{}, byInvite(err)
	}
	return s.changed(c, id, r)
}

// admit appends what makes a person a member, which will be at seq from or later. The index is written before.
func (s *Server) admit(ctx context.Context, id chat.ID, from chat.Seq, user chat.UserID, cmd chat.Command) (chatlog.Receipt, error) {
	link := func(seq chat.Seq) error { return s.stored(s.store.Link(ctx, id, seq, user)) }
	if err := link(from); err != nil {
		return chatlog.Receipt{}, err
	}
	r, err := s.log.Append(ctx, id, cmd)
	if err == nil && r.Seq > from {
		// Between both somebody else may have removed the person. The persister links again; this is only sooner.
		_ = link(r.Seq)
	}
	return r, err
}

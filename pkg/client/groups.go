package client

import (
	"context"
	"net/http"
	"strconv"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

// Invite says that a group has a link to join by, who made it and with which event.
type Invite struct {
	By  chat.UserID `json:"by"`
	Seq chat.Seq    `json:"seq"`
}

// GroupChange is what SetGroup changes: nil leaves what is, an empty Picture or Description is none any more.
type GroupChange struct {
	Title       *string `json:"title,omitempty"`
	Picture     *string `json:"picture,omitempty"`
	Description *string `json:"description,omitempty"`
}

// SetGroup changes title, picture and description of a group, all at once. It fails with chat.NotFound, chat.Forbidden,
// chat.BadRequest or chat.TooLong.
func (c *Client) SetGroup(ctx context.Context, id chat.ID, change GroupChange) error {
	_, err := c.authed(ctx, http.MethodPatch, path("chats", string(id)), change, nil)
	return err
}

// MakeInvite makes the link of a group and returns its token, which nobody can ask for again. The link that it had works no more. It
// fails with chat.NotFound or chat.Forbidden.
func (c *Client) MakeInvite(ctx context.Context, id chat.ID) (token string, err error) {
	var a struct {
		Token string `json:"token"`
	}
	_, err = c.authed(ctx, http.MethodPost, path("chats", string(id), "invite"), nil, &a)
	return a.Token, err
}

// RevokeInvite ends the link of a group. It fails with chat.NotFound or chat.Forbidden.
func (c *Client) RevokeInvite(ctx context.Context, id chat.ID) error {
	_, err := c.authed(ctx, http.MethodDelete, path("chats", string(id), "invite"), nil, nil)
	return err
}

// Invitation is what the holder of a link sees of a group before they join.
type Invitation struct {
	ID           chat.ID `json:"id"`
	Title        string  `json:"title"`
	Picture      string  `json:"picture"`
	Description  string  `json:"description"`
	MembersCount int     `json:"members_count"`
	// Member says that the caller is in it.
	Member bool `json:"member"`
}

// Invitation returns the group of a link. It fails with chat.NotFound where the link does not stand.
func (c *Client) Invitation(ctx context.Context, token string) (i Invitation, err error) {
	_, err = c.authed(ctx, http.MethodGet, path("invites", token), nil, &i)
	return i, err
}

// Join makes the caller a member of the group of a link. It fails with chat.NotFound where the link does not stand, chat.Forbidden for
// whom somebody removed, or chat.TooManyMembers.
func (c *Client) Join(ctx context.Context, token string) (ch Chat, err error) {
	_, err = c.authed(ctx, http.MethodPost, path("invites", token), nil, &ch)
	return ch, err
}

// ChatSettings are what the caller has set for a chat, for themselves alone.
type ChatSettings struct {
	// MutedUntil is until when the chat is silent; nil is not.
	MutedUntil   *chat.Time `json:"muted_until"`
	Archived     bool       `json:"archived"`
	MarkedUnread bool       `json:"marked_unread"`
}

// SetChatSettings replaces what the caller has set for a chat. It fails with chat.NotFound.
func (c *Client) SetChatSettings(ctx context.Context, id chat.ID, s ChatSettings) error {
	_, err := c.authed(ctx, http.MethodPut, path("chats", string(id), "settings"), s, nil)
	return err
}

// Hide deletes a message for the caller alone, on all their devices. It fails with chat.NotFound.
func (c *Client) Hide(ctx context.Context, id chat.ID, seq chat.Seq) error {
	_, err := c.authed(ctx, http.MethodDelete, path("chats", string(id), "messages", strconv.FormatUint(uint64(seq), 10))+"?for=me", nil, nil)
	return err
}

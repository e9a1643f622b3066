package client

import (
	"context"
	"net/http"
	"net/url"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

// WithDevice names the device, for the list of sessions of its person. At most 100 code points.
func WithDevice(name string) Option { return func(c *Client) { c.device = name } }

// Profile is what to change of what others see of a person. What is nil stays as it is; an empty text takes it back.
type Profile struct {
	DisplayName *string `json:"display_name,omitempty"`
	Status      *string `json:"status,omitempty"`
	// Picture is an https address, which the server never opens.
	Picture *string `json:"picture,omitempty"`
}

// SetProfile changes what others see of who is signed in, and returns that. Other devices of theirs get an Update with Profile;
// other people see it when they ask (Users). It fails with chat.BadRequest or chat.TooLong.
func (c *Client) SetProfile(ctx context.Context, p Profile) (User, error) {
	var u User
	_, err := c.authed(ctx, http.MethodPatch, path("users", "me"), p, &u)
	return u, err
}

// Users returns those of at most 100 people who share a chat with the caller, in any order.
func (c *Client) Users(ctx context.Context, ids ...chat.UserID) ([]User, error) {
	q := url.Values{}
	for _, u := range ids {
		q.Add("id", string(u))
	}
	var a struct {
		Users []User `json:"users"`
	}
	_, err := c.authed(ctx, http.MethodGet, path("users")+"?"+q.Encode(), nil, &a)
	return a.Users, err
}

// ChangePassword gives the account another password and ends all other sessions. It fails with chat.InvalidCredentials where old
// is wrong. After an error of the network it may be called again as it was.
func (c *Client) ChangePassword(ctx context.Context, old, next string) error {
	in := map[string]string{"old_password": old, "new_password": next}
	_, err := c.authed(ctx, http.MethodPut, path("users", "me", "password"), in, nil)
	return err
}

// DeleteAccount deletes the account for ever, and everything that its person wrote. All its sessions end. It fails with
// chat.InvalidCredentials where the password is wrong.
func (c *Client) DeleteAccount(ctx context.Context, password string) error {
	_, err := c.authed(ctx, http.MethodDelete, path("users", "me"), map[string]string{"password": password}, nil)
	return err
}

// Session is a log-in of a person, on a device.
type Session struct {
	ID         string    `json:"id"`
	Device     string    `json:"device"`
	CreatedAt  chat.Time `json:"created_at"`
	LastUsedAt chat.Time `json:"last_used_at"`
	// Current says that it is the one of the Client that asked.
	Current bool `json:"current"`
}

// Sessions returns the sessions of who is signed in, those used last first.
func (c *Client) Sessions(ctx context.Context) ([]Session, error) {
	var a struct {
		Sessions []Session `json:"sessions"`
	}
	_, err := c.authed(ctx, http.MethodGet, path("sessions"), nil, &a)
	return a.Sessions, err
}

// EndSession ends a session of who is signed in: its tokens stop working and its connections close with CloseSessionEnded. It fails
// with chat.NotFound.
func (c *Client) EndSession(ctx context.Context, id string) error {
	_, err := c.authed(ctx, http.MethodDelete, path("sessions", id), nil, nil)
	return err
}

// Block blocks somebody: neither writes in the direct chat of the two any more, and the other one does not see whether the caller is
// online. It fails with chat.NotFound, or with chat.Conflict where 1,000 people are blocked.
func (c *Client) Block(ctx context.Context, user chat.UserID) error {
	_, err := c.authed(ctx, http.MethodPut, path("blocks", string(user)), nil, nil)
	return err
}

// Unblock takes a Block back; who is not blocked stays so.
func (c *Client) Unblock(ctx context.Context, user chat.UserID) error {
	_, err := c.authed(ctx, http.MethodDelete, path("blocks", string(user)), nil, nil)
	return err
}

// Blocks returns whom the caller has blocked.
func (c *Client) Blocks(ctx context.Context) ([]chat.UserID, error) {
	var a struct {
		Blocks []struct {
			UserID chat.UserID `json:"user_id"`
		} `json:"blocks"`
	}
	if _, err := c.authed(ctx, http.MethodGet, path("blocks"), nil, &a); err != nil {
		return nil, err
	}
	out := make([]chat.UserID, len(a.Blocks))
	for i, b := range a.Blocks {
		out[i] = b.UserID
	}
	return out, nil
}

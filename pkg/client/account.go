package client

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

// User is a person as others see them.
type User struct {
	ID          chat.UserID `json:"id"`
	Username    string      `json:"username"`
	DisplayName string      `json:"display_name"`
	// Status and Picture, an https address, are empty where there is none.
	Status  string `json:"status"`
	Picture string `json:"picture"`
	// Deleted says that the account is deleted: nothing but ID and Username is left.
	Deleted bool `json:"deleted"`
}

// Account is what a person registers with. Email, DisplayName and Device may be empty.
type Account struct {
	Username    string `json:"username"`
	Password    string `json:"password"`
	Email       string `json:"email,omitempty"`
	DisplayName string `json:"display_name,omitempty"`
	// Device is what the list of sessions calls this device.
	Device string `json:"device,omitempty"`
}

// signedIn is the answer to everything that begins or continues a session.
type signedIn struct {
	User         User   `json:"user"`
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token"`
	ExpiresIn    int64  `json:"expires_in"` // seconds
}

func (a *signedIn) tokens() Tokens {
	return Tokens{Access: a.AccessToken, Refresh: a.RefreshToken,
		Expires: time.Now().Add(time.Duration(a.ExpiresIn) * time.Second)}
}

// Register makes an account on the server at base (http or https) and signs in. It fails with chat.UsernameTaken or
// chat.BadRequest.
func Register(ctx context.Context, base string, a Account, options ...Option) (*Client, error) {
	return begin(ctx, base, path("users"), a, options)
}

// Login begins a session. It fails with chat.InvalidCredentials, the same for a wrong password and an unknown name.
func Login(ctx context.Context, base, username, password string, options ...Option) (*Client, error) {
	return begin(ctx, base, path("sessions"), Account{Username: username, Password: password}, options)
}

// Refresh goes on with a session from its refresh token, which is used up by this. It fails with chat.InvalidToken.
func Refresh(ctx context.Context, base, refreshToken string, options ...Option) (*Client, error) {
	c, err := begin(ctx, base, path("sessions", "refresh"), map[string]string{"refresh_token": refreshToken}, options)
	if err != nil || c.user.ID != "" {
		return c, err
	}
	c.user, err = c.Me(ctx)
	return c, err
}

func begin(ctx context.Context, base, route string, in any, options []Option) (*Client, error) {
	c, err := newClient(base, options)
	if err != nil {
		return nil, err
	}
	if account, ok := in.(Account); ok && account.Device == "" {
		account.Device = c.device
		in = account
	}
	var a signedIn
	if _, err := c.do(ctx, http.MethodPost, route, "", in, &a); err != nil {
		c.Close()
		return nil, err
	}
	c.user = a.User
	c.setTokens(a.tokens())
	return c, nil
}

// Refresh renews the tokens now, which otherwise happens when they near their end. It fails with chat.InvalidToken when
// the session has ended.
func (c *Client) Refresh(ctx context.Context) error { return c.renew(ctx, c.Tokens().Access) }

// Logout ends the session: its tokens stop working and its connections close with CloseSessionEnded.
func (c *Client) Logout(ctx context.Context) error {
	_, err := c.authed(ctx, http.MethodDelete, path("sessions", "current"), nil, nil)
	return err
}

// Me returns who is signed in, as the server knows them now.
func (c *Client) Me(ctx context.Context) (User, error) {
	var u User
	_, err := c.authed(ctx, http.MethodGet, path("users", "me"), nil, &u)
	return u, err
}

// FindUser returns the person with exactly that name. It fails with chat.NotFound.
func (c *Client) FindUser(ctx context.Context, username string) (User, error) {
	var u User
	_, err := c.authed(ctx, http.MethodGet, path("users")+"?"+url.Values{"username": {username}}.Encode(), nil, &u)
	return u, err
}

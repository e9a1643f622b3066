package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

const (
	// maxAnswer bounds one answer of the server: a page of 200 texts of the greatest length is 80 MB of UTF-8.
	maxAnswer = 128 << 20
	// refreshBefore is how long before its end an access token is renewed.
	refreshBefore = 30 * time.Second
	// refreshTimeout bounds a refresh, which is not ended by the context of the call that needed it: a refresh token
	// works once, and losing the answer loses the session.
	refreshTimeout = 30 * time.Second
)

// Tokens are what a signed-in device holds. Keep them as safe as a password.
type Tokens struct {
	Access  string
	Refresh string
	// Expires is when Access ends, by the clock of this machine.
	Expires time.Time
}

// Client is one signed-in device of one person. It renews its access token when needed. Its methods may be used by many
// goroutines at the same time. They fail with a *chat.Error when the server refuses (see chat.Is), else with the error of
// the network or the context.
type Client struct {
	base     *url.URL
	http     *http.Client
	own      bool // http was made here
	onTokens func(Tokens)
	device   string
	user     User

	// renewing has one slot, held while the tokens are renewed. It is taken before mu.
	renewing chan struct{}
	mu       sync.Mutex
	tokens   Tokens // guarded by mu
}

// Option changes how a Client works.
type Option func(*Client)

// WithHTTPClient makes the calls with h instead of a client of their own, so that many Clients share connections.
func WithHTTPClient(h *http.Client) Option { return func(c *Client) { c.http = h } }

// WithTokenHook calls f with every new pair of tokens, the first included, before it is used: an application that wants
// to survive its own restart keeps them. f must not call the Client.
func WithTokenHook(f func(Tokens)) Option { return func(c *Client) { c.onTokens = f } }

func newClient(base string, options []Option) (*Client, error) {
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("client: %q is not an http or https address", base)
	}
	c := &Client{base: u, renewing: make(chan struct{}, 1)}
	for _, o := range options {
		o(c)
	}
	if c.http == nil {
		transport, ok := http.DefaultTransport.(*http.Transport)
		if !ok {
			transport = &http.Transport{}
		}
		c.http, c.own = &http.Client{Transport: transport.Clone(), Timeout: 60 * time.Second}, true
	}
	return c, nil
}

// Close lets go of idle connections. It ends neither the session (see Logout) nor a Conn (see Conn.Close).
func (c *Client) Close() {
	if c.own {
		c.http.CloseIdleConnections()
	}
}

// User returns who is signed in.
func (c *Client) User() User { return c.user }

// Tokens returns the present pair, to go on later with the function Refresh.
func (c *Client) Tokens() Tokens {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.tokens
}

func (c *Client) setTokens(t Tokens) {
	if c.onTokens != nil {
		c.onTokens(t)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tokens = t
}

// problem is the body of a refusal, as RFC 9457 has it.
type problem struct {
	Code         chat.Code `json:"code"`
	Title        string    `json:"title"`
	Detail       string    `json:"detail"`
	RetryAfterMS int64     `json:"retry_after_ms"`
}

// path joins the parts of a route, each escaped.
func path(parts ...string) string {
	var b strings.Builder
	b.WriteString("/v1")
	for _, p := range parts {
		b.WriteByte('/')
		b.WriteString(url.PathEscape(p))
	}
	return b.String()
}

// encode writes v as JSON without the escapes that HTML would need: they triple the size of some texts.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// do makes one call with the given token (none if empty) and decodes its answer into out unless that is nil.
func (c *Client) do(ctx context.Context, method, route, token string, in, out any) (status int, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("client: %s %s: %w", method, strings.SplitN(route, "?", 2)[0], err)
		}
	}()
	var body io.Reader
	if in != nil {
		b, err := encode(in)
		if err != nil {
			return 0, err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(c.base.String(), "/")+route, body)
	if err != nil {
		return 0, err
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := c.http.Do(req)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) { // the URL is in the message already
			err = ue.Err
		}
		return 0, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	switch {
	case err != nil:
		return res.StatusCode, err
	case len(b) > maxAnswer:
		return res.StatusCode, fmt.Errorf("the answer is longer than %d bytes", maxAnswer)
	case res.StatusCode >= 400:
		return res.StatusCode, refusal(res, b)
	case out == nil:
		return res.StatusCode, nil
	}
	return res.StatusCode, json.Unmarshal(b, out)
}

// refusal reads a problem document; whatever else stands there is reduced to the status.
func refusal(res *http.Response, body []byte) error {
	var p problem
	kind, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type"))
	if kind != "application/problem+json" || json.Unmarshal(body, &p) != nil || p.Code == "" {
		p = problem{Code: codeOf(res.StatusCode), Detail: res.Status}
	}
	e := &chat.Error{Code: p.Code, Message: p.Detail, RetryAfter: time.Duration(p.RetryAfterMS) * time.Millisecond}
	if e.Message == "" {
		e.Message = p.Title
	}
	if s, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil && s > 0 && e.RetryAfter == 0 {
		e.RetryAfter = time.Duration(s) * time.Second
	}
	return e
}

// authed is do with the access token; a token that the server no longer takes is renewed once.
func (c *Client) authed(ctx context.Context, method, route string, in, out any) (int, error) {
	token, err := c.access(ctx)
	if err != nil {
		return 0, err
	}
	status, err := c.do(ctx, method, route, token, in, out)
	if status != http.StatusUnauthorized || chat.Is(err, chat.InvalidCredentials) { // it is the password that is wrong
		return status, err
	}
	if renewed := c.renew(ctx, token); renewed != nil {
		return status, renewed
	}
	return c.do(ctx, method, route, c.Tokens().Access, in, out)
}

// access returns an access token that is good for a while.
func (c *Client) access(ctx context.Context) (string, error) {
	t := c.Tokens()
	if time.Until(t.Expires) > refreshBefore {
		return t.Access, nil
	}
	if err := c.renew(ctx, t.Access); err != nil {
		return "", err
	}
	return c.Tokens().Access, nil
}

// renew replaces the pair whose access token is used. When another call has done so meanwhile, that is enough.
func (c *Client) renew(ctx context.Context, used string) error {
	select {
	case c.renewing <- struct{}{}:
		defer func() { <-c.renewing }()
	case <-ctx.Done():
		return ctx.Err()
	}
	t := c.Tokens()
	if t.Access != used {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), refreshTimeout)
	defer cancel()
	var a signedIn
	in := map[string]string{"refresh_token": t.Refresh}
	if _, err := c.do(ctx, http.MethodPost, path("sessions", "refresh"), "", in, &a); err != nil {
		return err
	}
	c.setTokens(a.tokens())
	return nil
}

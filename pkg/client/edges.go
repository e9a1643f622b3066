package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/gorilla/websocket"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

// edgesTimeout bounds the question for the best edge: the address that the Client knows is there otherwise.
const edgesTimeout = 5 * time.Second

// socket is where the WebSocket of the address is that the Client was given.
func (c *Client) socket() *url.URL {
	u := c.base.JoinPath("v1", "ws")
	u.Scheme = map[string]string{"http": "ws", "https": "wss"}[u.Scheme]
	return u
}

// bestEdge asks for the WebSocket to connect to. An answer that a client must not follow is none.
func (c *Client) bestEdge(ctx context.Context) (*url.URL, error) {
	ctx, cancel := context.WithTimeout(ctx, edgesTimeout)
	defer cancel()
	var a struct {
		Best string `json:"best"`
	}
	if _, err := c.do(ctx, http.MethodGet, path("edges"), "", nil, &a); err != nil {
		return nil, err
	}
	u, err := url.Parse(a.Best)
	if err != nil || !follows(c.base, u) {
		return nil, errors.New("client: the best edge is at no address that this client goes to")
	}
	return u, nil
}

// follows tells whether a client that was given an address goes where it is told to: to a WebSocket, not from TLS to none, and
// not from elsewhere to its own machine, where an edge is that was told no address (--advertise).
func follows(base, u *url.URL) bool {
	if u.Scheme != "wss" && (u.Scheme != "ws" || base.Scheme == "https") || u.Hostname() == "" || u.User != nil {
		return false
	}
	return !loopback(u.Hostname()) || loopback(base.Hostname())
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// reach makes a socket: to the best edge where ask is set, and otherwise, or where no answer helps, to the address that the
// Client was given; where no edge is, to the best one after all.
func (c *Client) reach(ctx context.Context, ask bool) (*websocket.Conn, error) {
	var asked error
	best := func() (*websocket.Conn, error) {
		u, err := c.bestEdge(ctx)
		if asked = err; err != nil {
			return nil, err
		}
		ws, err := c.open(ctx, u)
		if err != nil && !transient(err) {
			err = fmt.Errorf("client: best edge: %v", err) // whatever it says, it is no last word
		}
		return ws, err
	}
	if ask {
		if ws, err := best(); asked == nil {
			return ws, err
		}
	}
	ws, err := c.open(ctx, c.socket())
	if !chat.Is(err, chat.NotFound) {
		return ws, err
	}
	if !ask {
		if ws, err := best(); asked == nil {
			return ws, err
		}
	}
	if chat.Is(asked, chat.NotFound) { // a server that knows neither
		return nil, err
	}
	return nil, asked
}

// open makes a socket. What refuses it is a *chat.Error.
func (c *Client) open(ctx context.Context, u *url.URL) (*websocket.Conn, error) {
	d := websocket.Dialer{Subprotocols: []string{subprotocol}}
	if t, ok := c.http.Transport.(*http.Transport); ok && t != nil {
		d.TLSClientConfig, d.Proxy = t.TLSClientConfig, t.Proxy
		if d.TLSClientConfig != nil {
			d.TLSClientConfig = d.TLSClientConfig.Clone()
			d.TLSClientConfig.NextProtos = nil
		}
	}
	ws, res, err := d.DialContext(ctx, u.String(), nil)
	if err != nil {
		if res != nil && res.StatusCode >= 400 {
			return nil, refusal(res, nil)
		}
		return nil, fmt.Errorf("client: dial: %w", err)
	}
	return ws, nil
}

// sentAway tells whether an end of a link, or of an attempt to make one, is a reason to ask for another edge.
func sentAway(err error) bool {
	var ce *websocket.CloseError
	return errors.As(err, &ce) && ce.Code == CloseDraining || chat.Is(err, chat.Unavailable)
}

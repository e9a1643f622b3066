package client

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

// The states of a Presence. Later versions of the server may know more.
const (
	Online  = "online"
	Away    = "away" // connected, and at none of the devices
	Offline = "offline"
)

// Presence tells how a person is. Who is away is online as well. LastSeen is nil while online or unknown. Invisible is of the caller
// only: others see them offline.
type Presence struct {
	User      chat.UserID
	Online    bool
	State     string
	LastSeen  *chat.Time
	Invisible bool
}

// presence is a Presence as the server says it, under either name of the person.
type presence struct {
	User      chat.UserID `json:"user"`
	UserID    chat.UserID `json:"user_id"`
	Online    bool        `json:"online"`
	State     string      `json:"state"`
	LastSeen  *chat.Time  `json:"last_seen"`
	Invisible bool        `json:"invisible"`
}

func (p *presence) as() Presence {
	if p.User == "" {
		p.User = p.UserID
	}
	return Presence{User: p.User, Online: p.Online, State: p.State, LastSeen: p.LastSeen, Invisible: p.Invisible}
}

// Presence returns what is known of those users who share a chat with the caller; the others are left out.
func (c *Client) Presence(ctx context.Context, users ...chat.UserID) ([]Presence, error) {
	q := url.Values{}
	for _, u := range users {
		q.Add("user", string(u))
	}
	var a struct {
		Presence []presence `json:"presence"`
	}
	if _, err := c.authed(ctx, http.MethodGet, path("presence")+"?"+q.Encode(), nil, &a); err != nil {
		return nil, err
	}
	out := make([]Presence, 0, len(a.Presence))
	for _, p := range a.Presence {
		out = append(out, p.as())
	}
	return out, nil
}

// What Preferences.Presence says.
const (
	Visible   = "visible"
	Invisible = "invisible"
)

// Preferences are what others may learn of a person.
type Preferences struct {
	// ReadReceipts lets others know how far the person is in chats, and the person how far others are.
	ReadReceipts bool `json:"read_receipts"`
	// Typing lets others know that the person is writing.
	Typing bool `json:"typing"`
	// Presence is Visible or Invisible: then others see the person offline.
	Presence string `json:"presence"`
}

// Preferences returns what others may learn of who is signed in.
func (c *Client) Preferences(ctx context.Context) (Preferences, error) {
	var p Preferences
	_, err := c.authed(ctx, http.MethodGet, path("users", "me", "preferences"), nil, &p)
	return p, err
}

// SetPreferences changes all of them and returns what they are. Every device is told by an Update. It fails with chat.BadRequest.
func (c *Client) SetPreferences(ctx context.Context, p Preferences) (Preferences, error) {
	var now Preferences
	_, err := c.authed(ctx, http.MethodPut, path("users", "me", "preferences"), p, &now)
	return now, err
}

// Typing tells the others in the chat that the caller is writing; they take it as over after some seconds, so it is said again every
// 3 s or so. It is not repeated: it fails with ErrOffline when there is no connection, and a refusal of the server comes by Next.
func (c *Conn) Typing(ctx context.Context, id chat.ID) error {
	return c.tell(ctx, request{Type: "typing", Chat: id})
}

// StopTyping tells the others in the chat that the caller has stopped writing. It is like Typing otherwise.
func (c *Conn) StopTyping(ctx context.Context, id chat.ID) error {
	return c.tell(ctx, request{Type: "typing", Chat: id, Stopped: true})
}

// Idle says whether nobody is at this device, also over lost connections. Whose devices all are idle is away. Sending, reading and
// typing end it on the server, but not here: who says true says false when somebody is back.
func (c *Conn) Idle(ctx context.Context, idle bool) error {
	c.mu.Lock()
	c.idle = idle
	c.mu.Unlock()
	if err := c.tell(ctx, request{Type: "idle", Idle: &idle}); !errors.Is(err, ErrOffline) {
		return err
	}
	return nil // the next link says it
}

// tell sends a frame that wants no answer, once.
func (c *Conn) tell(ctx context.Context, r request) error {
	c.mu.Lock()
	l := c.link
	c.mu.Unlock()
	if l == nil {
		return ErrOffline
	}
	if err := l.send(ctx, r); err != nil {
		if lost(err) {
			return ErrOffline
		}
		return err
	}
	return nil
}

// idleAgain tells a new link that nobody is at the device.
func (c *Conn) idleAgain(ctx context.Context, l *link) {
	c.mu.Lock()
	idle := c.idle
	c.mu.Unlock()
	if idle {
		_ = l.send(ctx, request{Type: "idle", Idle: &idle}) // it fails with the link only, and the next link does it again
	}
}

// person takes a frame that says something of a person. It is false for any other.
func (c *Conn) person(typ string, b []byte) (bool, error) {
	switch typ {
	case "typing":
		var t struct {
			Chat      chat.ID     `json:"chat"`
			User      chat.UserID `json:"user"`
			ExpiresIn int64       `json:"expires_in_ms"`
			Stopped   bool        `json:"stopped"`
		}
		if err := decode(b, &t); err != nil {
			return true, err
		}
		c.box.put(Update{Typing: &Typing{Chat: t.Chat, User: t.User, Expires: time.Duration(t.ExpiresIn) * time.Millisecond, Stopped: t.Stopped}})
	case "presence":
		var p presence
		if err := decode(b, &p); err != nil {
			return true, err
		}
		now := p.as()
		c.box.put(Update{Presence: &now})
	case "preferences":
		var p struct {
			Preferences
			Revision uint64 `json:"revision"`
		}
		if err := decode(b, &p); err != nil {
			return true, err
		}
		c.mu.Lock()
		late := p.Revision <= c.revision
		c.revision = max(c.revision, p.Revision)
		c.mu.Unlock()
		if !late {
			c.box.put(Update{Preferences: &p.Preferences})
		}
	default:
		return false, nil
	}
	return true, nil
}

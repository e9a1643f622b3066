package edge

import (
	"net/http"
	"strconv"
	"time"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/limit"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// kinds says as what each frame of a client is counted.
var kinds = map[string]limit.Kind{
	wire.TypeHello:     limit.Hello,
	wire.TypePing:      limit.Ping,
	wire.TypeSend:      limit.Send,
	wire.TypeEdit:      limit.Edit,
	wire.TypeDelete:    limit.Delete,
	wire.TypeReact:     limit.React,
	wire.TypePin:       limit.Pin,
	wire.TypeSync:      limit.History,
	wire.TypeRead:      limit.Mark,
	wire.TypeDelivered: limit.Mark,
	wire.TypeTyping:    limit.Typing,
	wire.TypeWatch:     limit.Watch,
	wire.TypeIdle:      limit.Settings,
}

// counted is by whom a frame is counted.
func (c *conn) counted() limit.Who {
	return limit.Who{Person: string(c.id.User), Session: c.id.Session, Address: c.address}
}

// allow counts a frame, or fails with RateLimited. Typing is counted where it is told: what is too much is dropped without a word.
func (c *conn) allow(frame string) error {
	if frame == wire.TypeTyping {
		return nil
	}
	return c.s.c.Limits.Allow(c.counted(), kinds[frame])
}

// limited answers a request that does not become a WebSocket because there were too many from its address.
func limited(w http.ResponseWriter, err error) {
	e := chat.AsError(err)
	w.Header().Set("Retry-After", strconv.FormatInt(int64((e.RetryAfter+time.Second-1)/time.Second), 10))
	problemAfter(w, http.StatusTooManyRequests, e.Code, e.Message, e.RetryAfter)
}

const (
	// crowdedWait is after which time somebody with too many connections may try again: by then one that is dead is known to be.
	crowdedWait = 30 * time.Second
	// silentAfter is when a connection that was pinged and did not answer may have to make room, though it is not given up yet.
	silentAfter = pingAfter + 3*tendEvery
)

// crowded fails with RateLimited where the person has as many connections here as one may have. Those that end or were sent away do
// not count, and one that has long been silent, or a poller between its polls, makes room. mu is held.
func (p *person) crowded() error {
	most := p.s.c.Limits.Connections()
	if len(p.conns) < most {
		return nil
	}
	living, since := 0, time.Now().Add(-silentAfter).Unix()
	var silent *conn
	for _, c := range p.conns {
		if c.ends() {
			continue
		}
		living++
		at := c.read.Load()
		if c.feed != nil && c.unserved() {
			at = 0 // before all others
		}
		if at < since {
			silent, since = c, at
		}
	}
	switch {
	case living < most:
		return nil
	case living == most && silent != nil:
		silent.abort()
		return nil
	}
	p.s.c.Limits.Crowded()
	return chat.Retry(chat.RateLimited, crowdedWait, "too many connections of this person are open here")
}

// ends tells whether the connection is closed, about to be, or sent away.
func (c *conn) ends() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dead || c.closing != 0 || c.closeAfter != 0 || c.moving
}

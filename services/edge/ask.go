package edge

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/chatmesh/chatmesh/pkg/auth"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/limit"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// Bounds of what a request without a connection asks for.
const (
	waitDefault = 30 * time.Second
	waitMost    = 60 * time.Second
	// watchMost is how many people a request names; a URL has no room for many more.
	watchMost = 100
)

// ask is what a client without a connection asks for.
type ask struct {
	who auth.Identity
	// address is where the request comes from.
	address string
	// from is where to go on; nil is from now on.
	from *cursor
	wait time.Duration
	// watch are people whose presence is wanted; receipts says that deliveries are.
	watch    []string
	receipts bool
	// idle says that nobody is at the device.
	idle bool
}

// asked reads a request. It fails with a refusal.
func (s *Server) asked(r *http.Request) (ask, error) {
	a := ask{wait: waitDefault, address: limit.AddressOf(r, s.c.TrustedProxies)}
	var err error
	if a.who, err = s.authenticate(r); err != nil {
		if chat.Is(err, chat.Unauthorized) { // a stranger
			if err := s.c.Limits.Allow(limit.Who{Address: a.address}, limit.Open); err != nil {
				return a, err
			}
		}
		return a, err
	}
	if err := s.c.Limits.Allow(limit.Who{Person: string(a.who.User), Session: a.who.Session, Address: a.address}, limit.Poll); err != nil {
		return a, err
	}
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return a, chat.Errorf(chat.BadRequest, "the query cannot be read")
	}
	last := q.Get("cursor")
	if id := r.Header.Get("Last-Event-ID"); id != "" {
		last = id // a stream that comes back says so here, and has the first cursor in its address yet
	}
	if last != "" {
		c, err := parseCursor(last)
		if err != nil {
			return a, err
		}
		a.from = &c
	}
	if q.Has("wait") {
		if a.wait, err = parseWait(q.Get("wait")); err != nil {
			return a, err
		}
	}
	for _, some := range q["watch"] {
		a.watch = append(a.watch, strings.Split(some, ",")...)
	}
	if len(a.watch) > watchMost {
		return a, chat.Errorf(chat.BadRequest, "at most %d people can be watched without a WebSocket", watchMost)
	}
	for _, u := range a.watch {
		if _, err := chat.ParseUserID(u); err != nil {
			return a, err
		}
	}
	for name, into := range map[string]*bool{"receipts": &a.receipts, "idle": &a.idle} {
		if q.Has(name) {
			if *into, err = strconv.ParseBool(q.Get(name)); err != nil {
				return a, chat.Errorf(chat.BadRequest, "%s is true or false", name)
			}
		}
	}
	return a, nil
}

// authenticate returns who a request comes from. It fails with Unauthorized, or with Unavailable where that cannot be known.
func (s *Server) authenticate(r *http.Request) (auth.Identity, error) {
	all := r.Header.Values("Authorization")
	if len(all) != 1 {
		return auth.Identity{}, chat.Errorf(chat.Unauthorized, "an access token is required")
	}
	scheme, token, _ := strings.Cut(all[0], " ")
	if token = strings.Trim(token, " "); !strings.EqualFold(scheme, "Bearer") || token == "" {
		return auth.Identity{}, chat.Errorf(chat.Unauthorized, "an access token is required")
	}
	who, err := s.verifier.Identify(r.Context(), token, s.askKey)
	if err == nil && s.revoked.has(who.Session) {
		err = errSessionEnded
	}
	return who, err
}

// parseWait reads a time such as 30s or 1500ms, or a number of seconds; more than waitMost counts as that. It fails with BadRequest.
func parseWait(s string) (time.Duration, error) {
	if n, err := strconv.ParseUint(s, 10, 32); err == nil {
		return min(time.Duration(n)*time.Second, waitMost), nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, chat.Errorf(chat.BadRequest, "wait is a time such as 30s")
	}
	return min(d, waitMost), nil
}

// statuses of the refusals of a request; what is not here is 500.
var statuses = map[chat.Code]int{chat.BadRequest: http.StatusBadRequest, chat.Unauthorized: http.StatusUnauthorized,
	chat.InvalidToken: http.StatusUnauthorized, chat.RateLimited: http.StatusTooManyRequests, chat.Unavailable: http.StatusServiceUnavailable}

// decline answers a request with a refusal.
func (s *Server) decline(w http.ResponseWriter, err error) {
	e := chat.AsError(err)
	s.m.errors.WithLabelValues(string(e.Code)).Inc()
	if e.Code == chat.Internal {
		s.c.Logger.Error("request failed", "error", err)
	}
	status, known := statuses[e.Code]
	if !known {
		status = http.StatusInternalServerError
	}
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	if status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="chatmesh"`)
	}
	body := map[string]any{"type": "about:blank", "title": http.StatusText(status), "status": status, "detail": e.Message, "code": e.Code}
	if e.RetryAfter > 0 {
		h.Set("Retry-After", strconv.FormatInt(int64((e.RetryAfter+time.Second-1)/time.Second), 10))
		body["retry_after_ms"] = e.RetryAfter.Milliseconds()
	}
	h.Set("Content-Type", "application/problem+json")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(wire.Encode(body))
}

// heed does what a client wants beside events: whom it watches, unless that is so already, whether somebody is at the device. What is
// refused is told in a frame.
func (c *conn) heed(r *http.Request, a ask) {
	c.rest(a.idle)
	c.mu.Lock()
	c.receipts = a.receipts
	want := strings.Join(a.watch, ",")
	same := c.feed.watching == want
	c.feed.watching = want
	c.mu.Unlock()
	if same {
		return
	}
	c.s.watchers.forget(c)
	if len(a.watch) > 0 {
		if err := c.watch(r.Context(), wire.Request{Users: a.watch}); err != nil {
			c.mu.Lock()
			c.feed.watching = "" // asked again with the next poll
			c.mu.Unlock()
			c.refuse(nil, err)
		}
	}
}

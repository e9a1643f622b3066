package api

import (
	"net"
	"net/http"
	"net/netip"

	"github.com/chatmesh/chatmesh/pkg/auth"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/limit"
)

// limits bound what one name, address or person may ask for. Hashing a password is the dearest thing that a stranger can
// have us do, so what leads to it is the tightest.
type limits struct {
	// name is tries to log in for an account, address those from an address.
	name, address *limit.Limiter
	// register is new accounts from an address, refresh renewals of tokens from an address.
	register, refresh *limit.Limiter
	// call is calls with a token, for a person.
	call *limit.Limiter
}

func newLimits(on bool) limits {
	if !on {
		none := limit.New(limit.Config{})
		return limits{name: none, address: none, register: none, refresh: none, call: none}
	}
	return limits{
		name:     limit.New(limit.Config{Rate: 1.0 / 6, Burst: 10}),
		address:  limit.New(limit.Config{Rate: 1, Burst: 30}),
		register: limit.New(limit.Config{Rate: 1.0 / 10, Burst: 20}),
		refresh:  limit.New(limit.Config{Rate: 5, Burst: 50}),
		call:     limit.New(limit.Config{Rate: 50, Burst: 200}),
	}
}

func allow(l *limit.Limiter, key, what string) error {
	if ok, wait := l.Allow(key); !ok {
		return chat.Retry(chat.RateLimited, wait, what)
	}
	return nil
}

// login counts a try to log in, and refuses it where there were too many. Names that nobody can have share one bucket.
func (l *limits) login(name, address string) error {
	if auth.CheckUsername(name) != nil {
		name = ""
	}
	if err := allow(l.address, address, "too many tries to log in from here"); err != nil {
		return err
	}
	return allow(l.name, name, "too many tries to log in")
}

// addressOf is the address that a call came from, as far as the connection says: what a header claims can be invented. Of
// IPv6 it is the /64, of which one customer has all.
func addressOf(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return host
	}
	ip = ip.Unmap().WithZone("")
	if ip.Is6() {
		if p, err := ip.Prefix(64); err == nil {
			return p.String()
		}
	}
	return ip.String()
}

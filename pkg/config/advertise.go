package config

import (
	"net"
	"net/url"
	"os"
	"strings"
)

// socketPath is where the WebSocket of an edge is, below what is advertised.
const socketPath = "/v1/ws"

// SocketURL is the WebSocket by which clients reach the edge of this process, which listens on address: that of Advertise, or
// otherwise made of the address. An address of all interfaces is no place to go to; there the host name stands for it.
func (s *Settings) SocketURL(address net.Addr) string {
	if u, ok := socketURL(s.Advertise); ok {
		return u
	}
	host, port, err := net.SplitHostPort(address.String())
	if err != nil {
		host, port = "127.0.0.1", "8080"
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		if host, err = os.Hostname(); err != nil || host == "" {
			host = "127.0.0.1"
		}
	}
	return "ws://" + net.JoinHostPort(host, port) + socketPath
}

// socketURL is the WebSocket below a URL; false where that is none by which a client can come.
func socketURL(text string) (string, bool) {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		return "", false
	}
	switch u.Scheme {
	case "http":
		u.Scheme = "ws"
	case "https":
		u.Scheme = "wss"
	case "ws", "wss":
	default:
		return "", false
	}
	if port := u.Port(); port != "" {
		if n, ok := portOf(u.Host); !ok || n == 0 {
			return "", false
		}
	}
	if path := strings.TrimSuffix(u.Path, "/"); !strings.HasSuffix(path, socketPath) {
		u.Path, u.RawPath = path+socketPath, ""
	}
	return u.String(), true
}

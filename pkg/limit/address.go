package limit

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// AddressOf is the address that a call came from, as far as the connection says: what a header claims can be invented. Only where the
// connection is of a trusted proxy X-Forwarded-For is read, from its end on up to the first address that is no proxy's: what stands
// before that is the client's own claim. Of IPv6 it is the /64, of which one customer has all.
func AddressOf(r *http.Request, proxies []netip.Prefix) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return host
	}
	ip = ip.Unmap().WithZone("")
	if isOf(ip, proxies) {
		hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
		for _, hop := range slices.Backward(hops) {
			further, err := netip.ParseAddr(strings.TrimSpace(hop))
			if err != nil {
				break // none, or nothing that an honest proxy writes
			}
			ip = further.Unmap().WithZone("")
			if !isOf(ip, proxies) {
				break
			}
		}
	}
	if ip.Is6() {
		if p, err := ip.Prefix(64); err == nil {
			return p.String()
		}
	}
	return ip.String()
}

func isOf(ip netip.Addr, networks []netip.Prefix) bool {
	return slices.ContainsFunc(networks, func(n netip.Prefix) bool { return n.Contains(ip) })
}

package config

import "net/netip"

// Proxies are the networks of TrustedProxies; an address is a network of its own.
func (s *Settings) Proxies() ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, text := range s.TrustedProxies {
		if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
			out = append(out, netip.PrefixFrom(a, a.BitLen()))
			continue
		}
		p, err := netip.ParsePrefix(text)
		if err != nil || p != p.Masked() {
			return nil, s.wrong("trusted-proxies", "%q is not a network such as 10.0.0.0/8, or an address", text)
		}
		out = append(out, p)
	}
	return out, nil
}

package config

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestProxiesAreNetworksOrAddresses(t *testing.T) {
	for text, want := range map[string]netip.Prefix{"10.0.0.0/8": netip.MustParsePrefix("10.0.0.0/8"), "fd00::/8": netip.MustParsePrefix("fd00::/8"),
		"192.0.2.1": netip.MustParsePrefix("192.0.2.1/32"), "::1": netip.MustParsePrefix("::1/128")} {
		s := Settings{TrustedProxies: List{text}}
		if got, err := s.Proxies(); err != nil || !slices.Equal(got, []netip.Prefix{want}) {
			t.Errorf("%s: got %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"10.0.0.1/8", "all", "10.0.0.0/33", "fe80::1%eth0", "gateway:8080", ""} {
		s := Settings{TrustedProxies: List{text}}
		if _, err := s.Proxies(); err == nil || !strings.HasPrefix(err.Error(), "--trusted-proxies: ") {
			t.Errorf("%q: got %v; want that it is no network", text, err)
		}
	}
}

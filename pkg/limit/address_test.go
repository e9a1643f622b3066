package limit

import (
	"net/http/httptest"
	"net/netip"
	"testing"
)

func TestAnAddressIsThatOfTheConnection(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.7:4711":            "192.0.2.7",
		"[::ffff:192.0.2.7]:4711":   "192.0.2.7",
		"[2001:db8:1:2:3:4:5:6]:80": "2001:db8:1:2::/64",
		"[fe80::1%eth0]:80":         "fe80::/64",
		"@":                         "@",
		"pipe:":                     "pipe",
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = remote
		r.Header.Set("X-Forwarded-For", "203.0.113.1")
		if got := AddressOf(r, nil); got != want {
			t.Errorf("%s: got %q; want %q", remote, got, want)
		}
	}
}

func TestOnlyATrustedProxySaysWhereACallComesFrom(t *testing.T) {
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for _, c := range []struct {
		remote string
		header []string
		want   string
	}{
		{"203.0.113.9:1", []string{"198.51.100.1"}, "203.0.113.9"},
		{"10.0.0.1:1", []string{"198.51.100.1"}, "198.51.100.1"},
		{"[::ffff:10.0.0.1]:1", []string{"198.51.100.1"}, "198.51.100.1"},
		{"[fd00::1]:1", []string{"2001:db8:1:2:3:4:5:6"}, "2001:db8:1:2::/64"},
		{"10.0.0.1:1", []string{"192.0.2.66, 198.51.100.1, 10.0.0.7"}, "198.51.100.1"},
		{"10.0.0.1:1", []string{"192.0.2.66", "198.51.100.1"}, "198.51.100.1"},
		{"10.0.0.1:1", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
		{"10.0.0.1:1", nil, "10.0.0.1"},
		{"10.0.0.1:1", []string{"198.51.100.1, unknown"}, "10.0.0.1"},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = c.remote
		r.Header["X-Forwarded-For"] = c.header
		if got := AddressOf(r, proxies); got != c.want {
			t.Errorf("%s, %q: got %q; want %q", c.remote, c.header, got, c.want)
		}
	}
}

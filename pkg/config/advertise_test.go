package config

import (
	"net"
	"os"
	"testing"
)

func TestAnEdgeIsReachedWhereItAdvertisesOrOtherwiseListens(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ advertise, listens, want string }{
		{"", "127.0.0.1:8080", "ws://127.0.0.1:8080/v1/ws"},
		{"", "[::1]:80", "ws://[::1]:80/v1/ws"},
		{"", "0.0.0.0:8080", "ws://" + host + ":8080/v1/ws"},
		{"", "[::]:8080", "ws://" + host + ":8080/v1/ws"},
		{"wss://edge-1.example.com", "0.0.0.0:8080", "wss://edge-1.example.com/v1/ws"},
		{"https://edge-1.example.com:8443/", "0.0.0.0:8080", "wss://edge-1.example.com:8443/v1/ws"},
		{"http://10.0.0.1:8080/chat", "0.0.0.0:8080", "ws://10.0.0.1:8080/chat/v1/ws"},
		{"ws://10.0.0.1:8080/v1/ws", "0.0.0.0:8080", "ws://10.0.0.1:8080/v1/ws"},
	} {
		s := valid()
		s.Advertise = c.advertise
		if err := s.Validate(); err != nil {
			t.Errorf("%q: %v", c.advertise, err)
		}
		at, err := net.ResolveTCPAddr("tcp", c.listens)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.SocketURL(at); got != c.want {
			t.Errorf("%q on %s: got %s; want %s", c.advertise, c.listens, got, c.want)
		}
	}
}

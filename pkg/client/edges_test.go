package client

import (
	"net"
	"net/url"
	"strings"
	"testing"
	"time"
)

// names has a fake name an edge as the best one.
func (f *fake) names(best string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.best = best
}

// socket is the WebSocket of the fake.
func (f *fake) socket() string { return "ws" + strings.TrimPrefix(f.http.URL, "http") + "/v1/ws" }

func TestWhoIsSentAwayGoesToTheBestEdgeAndLaterBackToTheAddressThatWasGiven(t *testing.T) {
	f, other := newFake(t), newFake(t)
	f.names(other.socket())
	_, s := f.connect(f.login(), ConnConfig{})
	s.close(CloseDraining)
	s = other.accept()
	s.write(`{"type":"welcome"}`)
	s.write(`{"type":"draining","reconnect_after_ms":10}`)
	s = other.accept() // by itself, before it was closed
	s.write(`{"type":"welcome"}`)
	s.close(1006)
	s = f.accept()
	s.write(`{"type":"welcome"}`)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.asked != 2 {
		t.Errorf("asked for the best edge %d times; want 2, each time that it was sent away", f.asked)
	}
}

func TestAnAddressWithoutAnEdgeNamesTheOneToConnectTo(t *testing.T) {
	f, other := newFake(t), newFake(t)
	f.noEdge = true
	f.names(other.socket())
	c := f.login()
	done := make(chan error, 1)
	go func() {
		conn, err := c.Connect(t.Context(), ConnConfig{})
		if err == nil {
			t.Cleanup(func() { conn.Close() })
		}
		done <- err
	}()
	s := other.accept()
	s.write(`{"type":"welcome"}`)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	f.names("") // for a while there is none
	s.close(CloseDraining)
	for until := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		f.mu.Lock()
		asked := f.asked
		f.mu.Unlock()
		if asked >= 3 {
			break
		}
		if time.Now().After(until) {
			t.Fatal("it does not ask again")
		}
	}
	f.names(other.socket())
	other.accept().write(`{"type":"welcome"}`)
}

func TestWhereTheBestEdgeCannotBeReachedTheAddressThatWasGivenIs(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := "ws://" + l.Addr().String() + "/v1/ws"
	l.Close()
	f, none := newFake(t), newFake(t)
	none.noEdge = true
	_, s := f.connect(f.login(), ConnConfig{})
	for _, best := range []string{nobody, none.socket(), "no address"} {
		f.names(best)
		s.close(CloseDraining)
		s = f.accept()
		s.write(`{"type":"welcome"}`)
	}
}

func TestAnEdgeThatIsInAHurryMovesTheDepartureForward(t *testing.T) {
	f := newFake(t)
	_, s := f.connect(f.login(), ConnConfig{})
	s.write(`{"type":"draining","reconnect_after_ms":60000}`)
	s.write(`{"type":"draining","reconnect_after_ms":10}`)
	s.write(`{"type":"draining","reconnect_after_ms":60000}`)
	began := time.Now()
	f.accept().write(`{"type":"welcome"}`)
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("came back after %v; want at once", took)
	}
}

func TestAClientGoesOnlyWhereItIsAsSafeAsBefore(t *testing.T) {
	for _, c := range []struct {
		base, best string
		want       bool
	}{
		{"http://127.0.0.1:8080", "ws://127.0.0.1:8081/v1/ws", true},
		{"http://localhost:8080", "ws://[::1]:8081/v1/ws", true},
		{"http://chat.example.com", "ws://edge.example.com/v1/ws", true},
		{"http://chat.example.com", "wss://edge.example.com/v1/ws", true},
		{"https://chat.example.com", "wss://edge.example.com/v1/ws", true},
		{"https://chat.example.com", "ws://edge.example.com/v1/ws", false},
		{"https://chat.example.com", "wss://127.0.0.1:8080/v1/ws", false},
		{"http://chat.example.com", "ws://localhost:8080/v1/ws", false},
		{"http://127.0.0.1:8080", "http://127.0.0.1:8081/v1/ws", false},
		{"http://127.0.0.1:8080", "ws://me:secret@127.0.0.1:8081/v1/ws", false},
		{"http://127.0.0.1:8080", "ws:///v1/ws", false},
	} {
		base, err := url.Parse(c.base)
		if err != nil {
			t.Fatal(err)
		}
		best, err := url.Parse(c.best)
		if err != nil {
			t.Fatal(err)
		}
		if got := follows(base, best); got != c.want {
			t.Errorf("from %s to %s: got %v; want %v", c.base, c.best, got, c.want)
		}
	}
}

package free

import (
	"net"
	"testing"
)

func TestPortsDifferAndAreNotThoseOfConnections(t *testing.T) {
	seen := map[string]bool{}
	for range 200 {
		addr, err := Address()
		if err != nil {
			t.Fatal(err)
		}
		a, err := net.ResolveTCPAddr("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		if seen[addr] || a.Port < lowest || a.Port >= lowest+many {
			t.Errorf("got %s; want another from %d to %d", addr, lowest, lowest+many-1)
		}
		seen[addr] = true
	}
}

func TestAPortOnWhichSomebodyListensIsNotGiven(t *testing.T) {
	first, err := Port()
	if err != nil {
		t.Fatal(err)
	}
	if l, err := net.Listen("tcp", address(first+1)); err == nil { // otherwise somebody listens already
		defer l.Close()
	}
	if second, err := Port(); err != nil || second == first+1 {
		t.Errorf("got %d, %v; want another", second, err)
	}
}

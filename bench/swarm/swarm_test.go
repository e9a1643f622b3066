package swarm

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/chatmesh/chatmesh/bench/peer"
)

func TestWhoIsRefusedComesBackUntilAllAreWelcomed(t *testing.T) {
	people := make([]peer.Person, 50)
	var mu sync.Mutex
	tries := make([]int, len(people))
	retries, err := Connect(t.Context(), people, 8, func(_ context.Context, _ peer.Person, i int) error {
		mu.Lock()
		defer mu.Unlock()
		if tries[i]++; i%10 == 0 && tries[i] == 1 {
			return errors.New("come back later")
		}
		return nil
	})
	if err != nil || retries != 5 {
		t.Errorf("got %d retries, %v; want 5", retries, err)
	}
	for i, n := range tries {
		if want := map[bool]int{true: 2, false: 1}[i%10 == 0]; n != want {
			t.Errorf("person %d tried %d times; want %d", i, n, want)
		}
	}
}

func TestNobodyComesBackWhenTheRunHasEnded(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	_, err := Connect(ctx, make([]peer.Person, 20), 4, func(context.Context, peer.Person, int) error {
		cancel()
		return errors.New("refused")
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v; want that it was cancelled", err)
	}
}

func TestAProcessWithoutOrdersEnds(t *testing.T) {
	s, err := Gather([]string{"127.0.0.1:1"}, make([]peer.Person, 3), 4)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Leave(); err == nil {
		t.Error("a process that has welcomed nobody says that all stayed")
	}
}

func TestMain(m *testing.M) {
	Main() // the test is the program of a swarm, too
	m.Run()
}

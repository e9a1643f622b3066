package client

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

func TestBackoffDoublesUpToItsCapAndJittersFully(t *testing.T) {
	almostOne := backoff{random: func() float64 { return 0.999999 }}
	zero := backoff{random: func() float64 { return 0 }}
	for i, want := range []time.Duration{250, 500, 1000, 2000, 4000, 8000, 15000, 15000, 15000} {
		if got := almostOne.next().Round(time.Millisecond); got != want*time.Millisecond {
			t.Errorf("longest delay after %d failures: got %v; want %v", i+1, got, want*time.Millisecond)
		}
		if got := zero.next(); got != 0 {
			t.Errorf("shortest delay after %d failures: got %v; want 0", i+1, got)
		}
	}
	almostOne.reset()
	if got := almostOne.next().Round(time.Millisecond); got != backoffBase {
		t.Errorf("after a reset: got %v; want %v", got, backoffBase)
	}
	var real backoff
	for range 1000 {
		if d := real.next(); d < 0 || d >= backoffCap {
			t.Fatalf("got %v; want within [0, %v)", d, backoffCap)
		}
	}
}

func TestSleepEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, d := range []time.Duration{0, time.Hour} {
		if err := sleep(ctx, d); !errors.Is(err, context.Canceled) {
			t.Errorf("sleep(%v): got %v; want %v", d, err, context.Canceled)
		}
	}
}

func TestCloseCodesSayWhetherToComeBack(t *testing.T) {
	back := []int{1000, 1001, 1006, 1011, 1012, 1013, CloseDraining, CloseTooSlow, 3499}
	stay := []int{CloseBadToken, CloseSessionEnded, CloseNotProtocol, 3999, 1002, 1003, 1007, 1008, 1009}
	for _, code := range back {
		if err := final(&websocket.CloseError{Code: code}); err != nil {
			t.Errorf("code %d: got %v; want to come back", code, err)
		}
	}
	for _, code := range stay {
		var ce *CloseError
		if err := final(&websocket.CloseError{Code: code}); !errors.As(err, &ce) || ce.Code != code {
			t.Errorf("code %d: got %v; want the end", code, err)
		}
	}
	if err := final(errors.New("connection reset")); err != nil {
		t.Errorf("a network error: got %v; want to come back", err)
	}
}

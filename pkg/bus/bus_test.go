package bus_test

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/meshtest"
)

func TestFlushReturnsOnceTheBrokerHasTakenWhatWasPublished(t *testing.T) {
	m, b := broker(t)
	other := m.Bus(t)
	sub, err := other.Conn().SubscribeSync("test.a")
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		if err := b.Conn().Publish("test.a", []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := other.Flush(t.Context()); err != nil { // all that the broker had for the other has arrived before this returns
		t.Fatal(err)
	}
	if n, _, err := sub.Pending(); err != nil || n != 1000 {
		t.Fatalf("got %d, %v; want 1,000 to have arrived", n, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Flush(ended); !errors.Is(err, bus.ErrDown) || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v; want the end of the context", err)
	}
	m.Stop()
	if err := b.Flush(within(t, 300*time.Millisecond)); !errors.Is(err, bus.ErrDown) {
		t.Errorf("got %v; want %v", err, bus.ErrDown)
	}
}

func TestConnectionThatBreaksIsToldAndComesBackByItself(t *testing.T) {
	t.Parallel()
	m := meshtest.NewBroker(t)
	var broken, lost atomic.Int32
	b, err := bus.Connect(bus.Config{Name: "test", URL: m.ClientURL(), Logger: slog.New(slog.DiscardHandler),
		OnBroken: func() { broken.Add(1) }, OnLost: func() { lost.Add(1) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	sub, err := b.Conn().SubscribeSync("test.a")
	if err != nil {
		t.Fatal(err)
	}
	m.Stop()
	meshtest.Eventually(t, patience, "it is told that it broke", func() bool { return broken.Load() == 1 })
	if err := b.Check(t.Context()); !errors.Is(err, bus.ErrDown) {
		t.Errorf("got %v; want %v", err, bus.ErrDown)
	}
	start := time.Now()
	if err := b.Conn().Publish("test.a", nil); err == nil { // nothing is kept for later behind the caller's back
		t.Error("a message was taken while the broker is away")
	}
	if took := time.Since(start); took > 4*time.Second { // what waits for the broker waits 5 s
		t.Errorf("that took %v; want it at once", took)
	}
	m.Start()
	meshtest.Eventually(t, patience, "the connection is back and it is told what may be lost", func() bool {
		return b.Check(t.Context()) == nil && lost.Load() == 1
	})
	if err := m.Bus(t).Conn().Publish("test.a", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := sub.NextMsgWithContext(within(t, patience)); err != nil {
		t.Errorf("a subscription from before: %v", err)
	}
}

func TestBusWaitsForABrokerThatIsNotThereYet(t *testing.T) {
	t.Parallel()
	m := meshtest.NewBroker(t)
	m.Stop()
	b := m.Bus(t)
	if err := b.Check(t.Context()); !errors.Is(err, bus.ErrDown) {
		t.Errorf("got %v; want %v", err, bus.ErrDown)
	}
	m.Start()
	meshtest.Eventually(t, patience, "it is connected", func() bool { return b.Check(t.Context()) == nil })
}

func TestSettingsThatCannotWorkAreSaidAtOnce(t *testing.T) {
	for name, c := range map[string]bus.Config{
		"no credentials": {Credentials: "/nonexistent/credentials"},
		"no authorities": {RootCA: "/nonexistent/ca.pem"},
		"no address":     {URL: "nats://\x7f"},
	} {
		c.Logger = slog.New(slog.DiscardHandler)
		if c.URL == "" {
			c.URL = "nats://127.0.0.1:1"
		}
		if b, err := bus.Connect(c); err == nil {
			b.Close()
			t.Errorf("%s: got no error", name)
		}
	}
}

func TestPausesGrowAndAreBounded(t *testing.T) {
	for n, want := range map[int]time.Duration{0: 50 * time.Millisecond, 1: 100 * time.Millisecond, 3: 400 * time.Millisecond,
		7: 5 * time.Second, 10: 5 * time.Second, 1000: 5 * time.Second, 1 << 40: 5 * time.Second} {
		least, most := time.Hour, time.Duration(0)
		for range 200 {
			d := bus.Backoff(n)
			least, most = min(least, d), max(most, d)
		}
		if least < want/2 || most > want || most-least < want/10 {
			t.Errorf("attempt %d: got %v to %v; want about %v to %v", n, least, most, want/2, want)
		}
	}
}

func TestSleepEndsWithItsContext(t *testing.T) {
	if err := bus.Sleep(t.Context(), time.Millisecond); err != nil {
		t.Errorf("got %v; want none", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := bus.Sleep(ctx, time.Hour); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v; want %v", err, context.Canceled)
	}
}

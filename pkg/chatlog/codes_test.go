package chatlog_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/chatlog"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// TestNoAnswerOfTheBrokerIsTakenAsProof forges each answer of the table in codes.go, and silence, to an append that the broker has
// stored and to one that it never saw, alone and as a batch. Whatever was said, the append ends at one seq and stands there once.
// 10163 can be had in this way only: nats-server 2.15.2 defines it and says it nowhere; earlier ones did.
func TestNoAnswerOfTheBrokerIsTakenAsProof(t *testing.T) {
	broker := newBroker(t, 1)
	way := newForger(t, strings.TrimPrefix(broker.ClientURL(), "nats://"))
	b, err := bus.Connect(bus.Config{Name: "node", URL: "nats://" + way.listener.Addr().String(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	l, reader := runLogOn(t, b), newLog(t, broker, 1)
	for _, code := range []int{10071, 10164, 10158, 10163, 10201, 10176, 10210, 10077, 10047, 10023, 0} {
		for _, stored := range []bool{false, true} {
			for _, batch := range []bool{false, true} {
				t.Run(fmt.Sprintf("%d/stored=%v/batch=%v", code, stored, batch), func(t *testing.T) {
					id := chat.ID(fmt.Sprintf("c%d-%v-%v", code, stored, batch))
					create(t, l, id, "ann")
					var cmd chat.Command = send("ann", "m1")
					if batch { // an event and the state that it makes
						cmd = chat.PutMember{By: "ann", User: "ben"}
					}
					what := forgery{keep: !stored}
					if code > 0 {
						what.answer = fmt.Sprintf(`{"error":{"code":400,"err_code":%d,"description":"forged"},"stream":"CHAT_0","seq":0}`, code)
					}
					way.next(what)
					r, err := l.Append(t.Context(), id, cmd)
					if n := way.done(); n != 1 {
						t.Fatalf("%d answers were forged; want 1", n)
					}
					full := !stored && (code == 10077 || code == 10047 || code == 10023)
					if full {
						var refused *chat.Error
						if !errors.As(err, &refused) || refused.Code != chat.Unavailable || refused.RetryAfter == 0 {
							t.Fatalf("got %+v, %v; want unavailable with a time to wait", r, err)
						}
						r, err = l.Append(t.Context(), id, cmd)
					}
					if err != nil || r.Seq != 2 || r.Duplicate {
						t.Fatalf("got %+v, %v; want it at 2, and new", r, err)
					}
					stands(t, reader, id, 2)
					if next, err := l.Append(t.Context(), id, send("ann", "m2")); err != nil || next.Seq != 3 {
						t.Fatalf("the next one: got %+v, %v; want it at 3", next, err)
					}
					stands(t, reader, id, 3)
				})
			}
		}
	}
}

// stands checks that a chat has n events, of which no message twice.
func stands(t *testing.T, l *chatlog.Log, id chat.ID, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	items, err := l.After(ctx, id, 0, 0, 1000, 0)
	if err != nil || len(items) != n {
		t.Fatalf("got %d events, %v; want %d", len(items), err, n)
	}
	seen := map[string]bool{}
	for i, it := range items {
		e, err := wire.DecodeEvent(it.Body)
		if err != nil || e.Seq != chat.Seq(i+1) || seen[describe(e)] {
			t.Fatalf("event %d: %+v, %v, a double %v", i+1, e, err, seen[describe(e)])
		}
		seen[describe(e)] = true
	}
}

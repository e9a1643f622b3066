package e2e

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/chatmesh/chatmesh/e2e/program"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/client"
)

// guards keeps the secrets of a story whose program is started several times.
type guards struct {
	mu  sync.Mutex
	srv *program.Program // guarded by mu
	all []string         // guarded by mu
}

func (g *guards) add(secrets ...string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.all = append(g.all, secrets...)
	g.srv.Guard(secrets...)
}

func (g *guards) move(srv *program.Program) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.srv = srv
	srv.Guard(g.all...)
}

func TestTheSDKDeliversEverythingOnceInOrderAcrossRestarts(t *testing.T) {
	t.Parallel()
	cfg := program.Config{Data: t.TempDir(), Listen: freeAddress(t)}
	srv := program.Start(t, cfg)
	g := &guards{srv: srv}
	g.add(canary)
	join := func(name string) *client.Client {
		c, err := client.Register(t.Context(), srv.Client, client.Account{Username: name + "_" + random(6), Password: canary + random(6)},
			client.WithTokenHook(func(tokens client.Tokens) { g.add(tokens.Access, tokens.Refresh) }))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		return c
	}
	alice, bob := join("alice"), join("bob")
	group, err := alice.NewGroup(t.Context(), "across restarts", bob.User().ID)
	if err != nil {
		t.Fatal(err)
	}
	const messages = 90
	var conns []*client.Conn
	for _, c := range []*client.Client{alice, alice, bob} {
		conn, err := c.Connect(t.Context(), client.ConnConfig{Cursors: map[chat.ID]chat.Seq{group.ID: 1}, PingEvery: 2 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		conns = append(conns, conn)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	sent := make(chan []client.Receipt, 1)
	third, twoThirds := make(chan struct{}), make(chan struct{})
	go func() {
		var receipts []client.Receipt
		defer func() { sent <- receipts }()
		for i := range messages {
			from := conns[0]
			if i%3 == 2 {
				from = conns[2]
			}
			switch i {
			case messages / 3:
				close(third)
			case 2 * messages / 3:
				close(twoThirds)
			}
			r, err := from.Send(ctx, client.Outgoing{Chat: group.ID, Text: text("message %d", i)})
			if err != nil {
				t.Errorf("message %d: %v", i, err)
				return
			}
			receipts = append(receipts, r)
		}
	}()
	for _, next := range []struct {
		at  chan struct{}
		end func()
	}{
		{third, srv.Kill},
		{twoThirds, func() { srv.Terminate() }},
	} {
		select {
		case <-next.at:
		case <-ctx.Done():
			t.Fatal(ctx.Err())
		}
		next.end()
		srv = program.Start(t, cfg)
		g.move(srv)
	}
	receipts := <-sent
	for i, conn := range conns {
		want := chat.Seq(2)
		for want <= messages+1 {
			u, err := conn.Next(ctx)
			if err != nil {
				t.Fatalf("connection %d waits for seq %d: %v", i, want, err)
			}
			if u.Event == nil || u.Event.Chat != group.ID {
				continue
			}
			if u.Event.Seq != want {
				t.Fatalf("connection %d: got seq %d; want %d", i, u.Event.Seq, want)
			}
			if n := int(want) - 2; n < len(receipts) && (receipts[n].Seq != want || receipts[n].ClientID != u.Event.ClientID) {
				t.Errorf("connection %d: seq %d is %s; its receipt says %+v", i, want, u.Event.ClientID, receipts[n])
			}
			want++
		}
		if got := conn.Cursors()[group.ID]; got != messages+1 {
			t.Errorf("connection %d: cursor %d; want %d", i, got, messages+1)
		}
	}
	if err := bob.Logout(t.Context()); err != nil {
		t.Fatal(err)
	}
	for {
		_, err := conns[2].Next(ctx)
		var ce *client.CloseError
		if errors.As(err, &ce) {
			if ce.Code != client.CloseSessionEnded {
				t.Errorf("after a logout: got %v; want close code %d", err, client.CloseSessionEnded)
			}
			break
		}
		if err != nil {
			t.Fatalf("after a logout: got %v; want close code %d", err, client.CloseSessionEnded)
		}
	}
}

package e2e

import (
	"context"
	"errors"
	"testing"

	"github.com/chatmesh/chatmesh/e2e/raw"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/client"
)

func TestTheSDKManagesProfileSessionsPasswordBlocksAndTheAccount(t *testing.T) {
	t.Parallel()
	srv := server(t)
	guard := client.WithTokenHook(func(tokens client.Tokens) { srv.Guard(tokens.Access, tokens.Refresh) })
	password, next := canary+"-"+random(6), canary+"-"+random(6)
	srv.Guard(password, next)
	// hash makes a call that costs hashes of passwords, again while the server is busy with others.
	hash := func(call func() error) (err error) {
		t.Helper()
		hashing <- struct{}{}
		defer func() { <-hashing }()
		eventually(t, raw.Patience, "a password is hashed", func() bool {
			err = call()
			return !chat.Is(err, chat.Unavailable)
		})
		return err
	}
	join := func(name string) (c *client.Client) {
		t.Helper()
		err := hash(func() (err error) {
			c, err = client.Register(t.Context(), srv.Client, client.Account{Username: name + "_" + random(6), Password: password}, guard, client.WithDevice("Phone"))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		return c
	}
	alice, bob := join("alice"), join("bob")
	var laptop *client.Client
	if err := hash(func() (err error) {
		laptop, err = client.Login(t.Context(), srv.Client, alice.User().Username, password, guard, client.WithDevice("Laptop"))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(laptop.Close)
	ctx, cancel := context.WithTimeout(t.Context(), 2*raw.Patience)
	defer cancel()
	conn, err := laptop.Connect(ctx, client.ConnConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	// await reads what comes to the laptop until what holds.
	await := func(what string, holds func(client.Update) bool) {
		t.Helper()
		for {
			u, err := conn.Next(ctx)
			if err != nil {
				t.Fatalf("the laptop waits for %s: %v", what, err)
			}
			if holds(u) {
				return
			}
		}
	}
	await("its connection", func(u client.Update) bool { return u.Link != nil && u.Link.Online })

	status := "at tea"
	if u, err := alice.SetProfile(ctx, client.Profile{Status: &status}); err != nil || u.Status != status || u.DisplayName == "" {
		t.Errorf("got %+v, %v; want the status", u, err)
	}
	await("the profile", func(u client.Update) bool { return u.Profile != nil && u.Profile.Status == status })
	direct, _, err := bob.Direct(ctx, alice.User().ID)
	if err != nil {
		t.Fatal(err)
	}
	if seen, err := bob.Users(ctx, alice.User().ID); err != nil || len(seen) != 1 || seen[0].Status != status {
		t.Errorf("bob sees %+v, %v; want the status", seen, err)
	}

	if err := alice.Block(ctx, bob.User().ID); err != nil {
		t.Fatal(err)
	}
	if blocks, err := alice.Blocks(ctx); err != nil || len(blocks) != 1 || blocks[0] != bob.User().ID {
		t.Errorf("got %v, %v; want bob", blocks, err)
	}
	await("the block", func(u client.Update) bool {
		return u.Event != nil && u.Event.Change == chat.Blocked && u.Event.Chat == direct.ID
	})
	if err := alice.Unblock(ctx, bob.User().ID); err != nil {
		t.Fatal(err)
	}

	sessions, err := alice.Sessions(ctx)
	devices := map[string]bool{}
	for _, s := range sessions {
		devices[s.Device] = s.Current
	}
	if err != nil || len(sessions) != 2 || !devices["Phone"] || devices["Laptop"] {
		t.Errorf("got %+v, %v; want the phone, which asks, and the laptop", sessions, err)
	}
	before := alice.Tokens()
	if err := hash(func() error { return alice.ChangePassword(ctx, canary+"-wrong", next) }); !chat.Is(err, chat.InvalidCredentials) {
		t.Errorf("got %v; want the old password to be wrong", err)
	}
	if alice.Tokens() != before {
		t.Error("a wrong password renewed the tokens; want them to be kept")
	}
	if err := hash(func() error { return alice.ChangePassword(ctx, password, next) }); err != nil {
		t.Fatal(err)
	}
	for {
		_, err := conn.Next(ctx)
		var closed *client.CloseError
		if errors.As(err, &closed) && closed.Code == client.CloseSessionEnded {
			break
		}
		if err != nil {
			t.Fatalf("the laptop: got %v; want its session to have ended", err)
		}
	}
	if err := alice.EndSession(ctx, "nothing"); !chat.Is(err, chat.NotFound) {
		t.Errorf("got %v; want no such session", err)
	}
	if err := hash(func() error { return alice.DeleteAccount(ctx, next) }); err != nil {
		t.Fatal(err)
	}
	eventually(t, raw.Patience, "bob sees that alice is gone", func() bool {
		u, err := bob.FindUser(ctx, alice.User().Username)
		return err == nil && u.Deleted && u.Status == "" && u.DisplayName == ""
	})
	short, done := context.WithTimeout(ctx, raw.Patience)
	defer done()
	if _, err := alice.Me(short); err == nil {
		t.Error("alice is still in")
	}
}

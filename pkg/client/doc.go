// Package client is the Go SDK of chatmesh: accounts, chats and history over HTTP, and a Conn for what happens live. It
// knows the outside contract only, never the inside of a server. A Conn promises that the events of each chat come in
// order, none twice and none left out, over any number of lost connections, and that Send either returns the one receipt
// of its message or says that it does not know.
//
//	alice, err := client.Login(ctx, "http://127.0.0.1:8080", "alice", password)
//	conn, err := alice.Connect(ctx, client.ConnConfig{})
//	receipt, err := conn.Send(ctx, client.Outgoing{Chat: id, Text: "hello"})
//	update, err := conn.Next(ctx)
//
// How a Conn keeps its promise:
//
//	socket ── read loop ──> inbox ──────────────> Next
//	   ^                     │  ^
//	   │                     │  └── page ──┐
//	   └── writer <── sync ──┴── filler ───┘
//
// The read loop hands every event to the inbox, which lets through what follows the cursor of its chat, drops what is
// behind it and remembers that something is missing when it is ahead. The filler asks for what is missing with `sync`. A
// full inbox is a hole like any other: it is filled once Next has made room, so a slow caller loses nothing and holds up
// neither acks nor other chats.
package client

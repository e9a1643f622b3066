package limit

import "time"

// Kind is a kind of action that is limited.
type Kind string

// The kinds of action.
const (
	Send        Kind = "send"
	Edit        Kind = "edit"
	Delete      Kind = "delete"
	React       Kind = "react"
	Pin         Kind = "pin"
	Typing      Kind = "typing"
	Mark        Kind = "mark"
	History     Kind = "history"
	List        Kind = "list"
	Look        Kind = "look"
	Create      Kind = "create"
	Chats       Kind = "chats"
	Members     Kind = "members"
	Invitations Kind = "invitations"
	Links       Kind = "links"
	Join        Kind = "join"
	Details     Kind = "details"
	Settings    Kind = "settings"
	Profile     Kind = "profile"
	Block       Kind = "block"
	Watch       Kind = "watch"
	Ping        Kind = "ping"
	Connect     Kind = "connect"
	Hello       Kind = "hello"
	Poll        Kind = "poll"
	Edges       Kind = "edges"
	Documents   Kind = "documents"
	Login       Kind = "login"
	Register    Kind = "register"
	Refresh     Kind = "refresh"
	Password    Kind = "password"
	Sessions    Kind = "sessions"
	Call        Kind = "call"
	Open        Kind = "open"
)

// Scope is whose actions are counted together.
type Scope string

// The scopes. A person is who a token was given to, and for Login the name that is tried; a session is one log-in of theirs; an
// address is what AddressOf says.
const (
	Person  Scope = "person"
	Session Scope = "session"
	Address Scope = "address"
)

// Scopes lists the scopes, in the order in which they are looked at.
var Scopes = [...]Scope{Person, Session, Address}

// about is a row of the table of kinds.
type about struct {
	kind Kind
	// refusal is what who does too much of it is told.
	refusal string
	// rates by scope. A scope that is missing cannot be counted by: nobody knows it yet where the action is looked at.
	rates map[Scope]Rate
}

// off is the rate of a scope that can be limited and is not, unless a setting says so.
var off = Rate{}

func per(unit time.Duration, count, burst int) Rate {
	return Rate{Count: count, Per: unit, Burst: burst}
}

// byPerson has a rate for a person; sessions and addresses can be given one.
func byPerson(r Rate) map[Scope]Rate {
	return map[Scope]Rate{Person: r, Session: off, Address: off}
}

// byAddress is for what strangers do.
func byAddress(r Rate) map[Scope]Rate { return map[Scope]Rate{Address: r} }

const (
	second = time.Second
	minute = time.Minute
	hour   = time.Hour
	day    = 24 * time.Hour
)

// table is all kinds with what holds by default. An honest person with several devices and thousands of chats stays far below.
var table = []about{
	{Send, "too many messages", byPerson(per(second, 20, 100))},
	{Edit, "too many edits", byPerson(per(second, 5, 50))},
	{Delete, "too many deletions", byPerson(per(second, 5, 100))},
	{React, "too many reactions", byPerson(per(second, 10, 50))},
	{Pin, "too many pins", byPerson(per(second, 2, 20))},
	{Typing, "too much typing", byPerson(per(second, 2, 10))},
	// A device that was away marks all of its chats at once.
	{Mark, "too many cursors are moved", byPerson(per(second, 200, 5000))},
	{History, "too many pages of history", byPerson(per(second, 100, 2000))},
	{List, "the list of chats is asked for too often", byPerson(per(second, 10, 100))},
	{Look, "too many questions", byPerson(per(second, 50, 200))},
	{Create, "chats are made too quickly", byPerson(per(second, 2, 50))},
	{Chats, "too many new chats", byPerson(per(day, 200, 200))},
	{Members, "members are changed too quickly", byPerson(per(second, 10, 200))},
	{Invitations, "too many people are added to groups", byPerson(per(hour, 1000, 1000))},
	{Links, "too many invite links are made or looked at", byPerson(per(second, 1, 20))},
	{Join, "too many groups are joined", map[Scope]Rate{Person: per(second, 1, 20), Session: off, Address: per(second, 10, 100)}},
	{Details, "chats are changed too quickly", byPerson(per(second, 1, 30))},
	{Settings, "settings are changed too quickly", byPerson(per(second, 10, 200))},
	{Profile, "the profile is changed too often", byPerson(per(second, 1, 20))},
	{Block, "people are blocked too quickly", byPerson(per(second, 2, 50))},
	{Watch, "too many lists of people to watch", byPerson(per(second, 10, 100))},
	{Ping, "too many pings", map[Scope]Rate{Person: off, Session: per(second, 20, 200), Address: off}},
	// All who were on an edge may come back from one address.
	{Connect, "too many connections from here", byAddress(per(second, 200, 5000))},
	{Hello, "too many new connections", byPerson(per(second, 2, 60))},
	{Poll, "too many polls", byPerson(per(second, 20, 100))},
	{Edges, "too many questions for edges from here", byAddress(per(second, 50, 500))},
	{Documents, "the documents are asked for too often from here", byAddress(per(second, 20, 200))},
	// What leads to hashing a password is the dearest thing that a stranger can have us do.
	{Login, "too many tries to log in", map[Scope]Rate{Person: per(minute, 10, 10), Address: per(second, 1, 30)}},
	{Register, "too many new accounts from here", byAddress(per(minute, 6, 20))},
	{Refresh, "too many refreshes from here", byAddress(per(second, 5, 50))},
	{Password, "too many tries of a password", map[Scope]Rate{Person: per(minute, 6, 10), Session: off, Address: per(second, 1, 30)}},
	{Sessions, "too many calls for sessions", byPerson(per(second, 5, 50))},
	{Call, "too many calls", byPerson(per(second, 50, 200))},
	{Open, "too many calls from here", byAddress(per(second, 100, 1000))},
}

// Kinds lists all kinds.
func Kinds() []Kind {
	out := make([]Kind, 0, len(table))
	for _, a := range table {
		out = append(out, a.kind)
	}
	return out
}

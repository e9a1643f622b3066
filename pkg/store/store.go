// Package store owns what chatmesh keeps for ever: accounts, sessions, the history of every chat, who is in which chat
// and how far each person has read. It promises that every write is idempotent, that history and cursors only move
// forward whatever is replayed, and that a write that returned without error survives a crash.
//
// The log of a chat (package chatlog) is the truth while it is retained; the store is behind it by the persister's lag.
package store

import (
	"context"
	"errors"
	"time"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

// Errors that an implementation returns, wrapped with the operation. Any other error means that the store could not be
// reached or failed: the same call may succeed later.
var (
	// ErrNotFound says that what was asked for is not in the store.
	ErrNotFound = errors.New("not found")
	// ErrTaken says that the user name belongs to somebody else.
	ErrTaken = errors.New("user name taken")
	// ErrConflict says that a compare-and-set found another value.
	ErrConflict = errors.New("changed meanwhile")
)

// User is a person's account.
type User struct {
	ID           chat.UserID `json:"id"`
	Name         string      `json:"username"`
	DisplayName  string      `json:"display_name"`
	Email        string      `json:"email,omitempty"`
	PasswordHash string      `json:"password_hash"`
	CreatedAt    chat.Time   `json:"created_at"`
}

// Session is one log-in of a person. Only a digest of its refresh token is kept.
type Session struct {
	User      chat.UserID `json:"user"`
	ID        string      `json:"id"`
	Refresh   [32]byte    `json:"refresh"`
	CreatedAt chat.Time   `json:"created_at"`
	ExpiresAt chat.Time   `json:"expires_at"`
}

// Accounts keeps people and their sessions. All of it is linearizable.
type Accounts interface {
	// CreateUser keeps a new person. It fails with ErrTaken when the name is in use; of concurrent calls with one name
	// exactly one succeeds.
	CreateUser(ctx context.Context, u User) error
	// UserByName finds a person by the exact name. It fails with ErrNotFound.
	UserByName(ctx context.Context, name string) (User, error)
	// Users finds people by id, in any order; unknown ids are left out.
	Users(ctx context.Context, ids ...chat.UserID) ([]User, error)

	// CreateSession keeps a new session.
	CreateSession(ctx context.Context, s Session) error
	// Session returns a session. It fails with ErrNotFound, also when the session has expired.
	Session(ctx context.Context, user chat.UserID, id string) (Session, error)
	// RotateSession replaces the refresh digest if it still is old, and sets a new expiry. It fails with ErrNotFound, or with
	// ErrConflict when the digest is another: of concurrent calls exactly one succeeds.
	RotateSession(ctx context.Context, user chat.UserID, id string, old, next [32]byte, expires time.Time) error
	// DeleteSession forgets a session; one that is not there is no error.
	DeleteSession(ctx context.Context, user chat.UserID, id string) error
}

// Entry is an event on its way from the log into the store.
type Entry struct {
	Event chat.Event
	// Body is the event as it was appended, byte for byte. It is kept and returned as it is.
	Body []byte
	// Stream is the sequence of the event in its partition's stream.
	Stream uint64
}

// Cursor says how far a person has read a chat: up to and including Seq, which is the Nth message or lies behind it.
// Own messages advance the own cursor as a read does.
type Cursor struct {
	Chat chat.ID
	User chat.UserID
	Seq  chat.Seq
	N    uint64
}

// Batch is what is written together: atomically where the implementation can, in any case completely before Write
// returns without error. Each part is idempotent and may be replayed in any order.
type Batch struct {
	// Events go into the history. An event that is there already (by chat and seq) is not changed. A message also advances
	// its sender's cursor, becomes findable by client id, and moves the head of its chat forward; a change of membership
	// updates the index of the person's chats.
	Events []Entry
	// States replace the state of their chats where their Seq is higher.
	States []*chat.State
	// Cursors replace the cursor of (chat, user) where their Seq is higher.
	Cursors []Cursor
}

// Sink is written by the persister. Link is for whoever is about to make someone a member.
type Sink interface {
	// Write keeps the batch, durably.
	Write(ctx context.Context, b Batch) error
	// Link puts a chat into the index of each person's chats ahead of the event at seq that makes them members. The index
	// may therefore hold too much, never too little: a reader asks the chat's state. A removal at a later seq
	// unlinks; one at an earlier seq does not.
	Link(ctx context.Context, id chat.ID, seq chat.Seq, users ...chat.UserID) error
}

// Range selects events of a chat: those with After < seq < Before; a zero Before is no bound. The answer ascends by seq.
// Where there are more than Limit (or MaxBytes of bodies; zero is no bound; at least one event always comes), After > 0 or
// Forward keeps the lowest, otherwise the highest are kept.
type Range struct {
	After, Before chat.Seq
	Forward       bool
	Limit         int
	MaxBytes      int
}

// Item is an event of the history.
type Item struct {
	Seq  chat.Seq
	Body []byte
}

// Record is what the store knows of a chat: its last event and its state.
type Record struct {
	// Seq and N are those of the last event in the store. There may be holes below it only while a Write is being retried.
	Seq chat.Seq
	N   uint64
	// At is the time of the last event, Stream its sequence in the partition's stream: the log's tail begins behind it.
	At     chat.Time
	Stream uint64
	// State is nil as long as none was written.
	State *chat.State
}

// Found is where a message stands that was sent before.
type Found struct {
	Seq    chat.Seq
	SentAt chat.Time
}

// UserChat is an entry of the index of a person's chats, with the person's cursor in it (zero Seq: none).
type UserChat struct {
	Chat   chat.ID
	Cursor Cursor
}

// History answers what was written by Sink.
type History interface {
	// Page returns events of a chat; none is no error. The bodies belong to the caller.
	Page(ctx context.Context, id chat.ID, r Range) ([]Item, error)
	// Find returns where the message of (chat, sender, client id) stands. It fails with ErrNotFound.
	Find(ctx context.Context, id chat.ID, sender chat.UserID, client chat.ClientID) (Found, error)
	// Sent returns the client ids of the messages of a person in a chat, in any order, at most limit; where it returns limit of
	// them there may be more.
	Sent(ctx context.Context, id chat.ID, sender chat.UserID, limit int) ([]chat.ClientID, error)
	// Record returns what the store knows of a chat. It fails with ErrNotFound.
	Record(ctx context.Context, id chat.ID) (Record, error)
	// Cursor returns how far a person has read; the zero Seq where nothing is known.
	Cursor(ctx context.Context, id chat.ID, user chat.UserID) (Cursor, error)
	// Chats returns the ids of the chats that have a record and come behind after, ascending, at most limit; where it returns limit
	// of them there may be more. It is for operators: it walks through all that there are.
	Chats(ctx context.Context, after chat.ID, limit int) ([]chat.ID, error)
	// ChatsOf returns the index of a person's chats, in any order.
	ChatsOf(ctx context.Context, user chat.UserID) ([]UserChat, error)
}

// Store is everything; a service asks for the part that it needs.
type Store interface {
	Accounts
	History
	Sink
	// Ping tells whether the store can be reached and has the schema that this program needs.
	Ping(ctx context.Context) error
	// Close lets go of files and connections.
	Close() error
}

// Package store owns what chatmesh keeps for ever: accounts, sessions, the history of every chat, who is in which chat,
// how far each person has read, and what each has set for themselves. It promises that every write is idempotent, that history and cursors only move
// forward whatever is replayed, and that a write that returned without error survives a crash.
//
// The log of a chat (package chatlog) is the truth while it is retained; the store is behind it by the persister's lag.
package store

import (
	"context"
	"errors"
	"slices"

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

// plain are the errors of every implementation whose text is a constant.
var plain = []error{ErrNotFound, ErrTaken, ErrConflict, context.Canceled, context.DeadlineExceeded}

// Plain tells whether the text of an error may be shown: it is a constant, one of those that the implementation names included, or a
// sentence for clients. Any other may quote keys, and with them names and ids.
func Plain(err error, named []error) bool {
	is := func(p error) bool { return errors.Is(err, p) }
	return slices.ContainsFunc(plain, is) || slices.ContainsFunc(named, is) || errors.As(err, new(*chat.Error))
}

// Entry is an event on its way from the log into the store.
type Entry struct {
	// Event is what Body says.
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
	// Delivered is up to which event a device of the person has the chat. It moves apart from Seq, but what was read was
	// delivered: of a cursor that is returned it is at least Seq, in one that is written it may be less or zero.
	Delivered chat.Seq
}

// Later is the furthest of two cursors of one person in one chat; either may be zero.
func (c Cursor) Later(o Cursor) Cursor {
	delivered := max(c.Delivered, o.Delivered, c.Seq, o.Seq)
	if o.Seq > c.Seq || c.Chat == "" {
		c = o
	}
	c.Delivered = delivered
	return c
}

// Batch is what is written together: atomically where the implementation can, in any case completely before Write
// returns without error. Each part is idempotent and may be replayed in any order.
type Batch struct {
	// Events go into the history. An event that is there already (by chat and seq) is not changed. Every event moves the head of
	// its chat forward. A message also advances its sender's cursor and becomes findable by client id; a change of membership
	// updates the index of the person's chats; an edit and a reaction keep a Mark; a message and an edit make the message
	// findable for whom they mention. An event that carries Deleted is taken as one of Erased.
	Events []Entry
	// Erased are stubs: messages and edits whose text is gone, with Deleted. Each replaces for ever the body at its (chat, seq),
	// whether that was written before or is written, or replayed, afterwards; of several stubs at one place that of the latest
	// deletion stays. Nobody finds the message any more by a mention, its own or that of an edit of it, as soon as it or one
	// of its edits is erased. In all else a stub counts as the event would in Events. Where its place in the stream is not
	// known Stream is zero: that of the event counts once it is there.
	Erased []Entry
	// States replace the state of their chats where their Seq is higher.
	States []*chat.State
	// Cursors replace the cursor of (chat, user): Seq and N together where their Seq is higher, Delivered where it is higher.
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

// UserChat is an entry of the index of a person's chats, with the person's cursor in it (zero Seq: none) and settings for it
// (the zero value: none).
type UserChat struct {
	Chat     chat.ID
	Cursor   Cursor
	Settings ChatSettings
}

// Mark is an event that changes a message without being one: an edit or a reaction.
type Mark struct {
	// Target is the message, Seq the event. The text of an edit is in the body at Seq.
	Target, Seq chat.Seq
	// Type is chat.Edited or chat.Reacted.
	Type chat.EventType
	By   chat.UserID
	// Emoji and Removed are those of a reaction: Removed says that it was taken back.
	Emoji   string
	Removed bool
	At      chat.Time
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
	// Head returns the seq of the last event of a chat in the store, and its sequence in the partition's stream; zeroes where it has none.
	Head(ctx context.Context, id chat.ID) (seq chat.Seq, stream uint64, err error)
	// Cursor returns how far a person has read, and up to where a device of theirs has the chat; zeroes where nothing is known.
	Cursor(ctx context.Context, id chat.ID, user chat.UserID) (Cursor, error)
	// Chats returns the ids of the chats that have a record and come behind after, ascending, at most limit; where it returns limit
	// of them there may be more. It is for operators: it walks through all that there are.
	Chats(ctx context.Context, after chat.ID, limit int) ([]chat.ID, error)
	// ChatsOf returns the index of a person's chats, in any order.
	ChatsOf(ctx context.Context, user chat.UserID) ([]UserChat, error)
	// EverIn returns the chats that a person is or ever was a member of, in any order; it may have more, as ChatsOf may. It is for
	// erasing an account.
	EverIn(ctx context.Context, user chat.UserID) ([]chat.ID, error)
	// Marks returns the marks of the events of a chat from one seq to another, both included, ascending by target and then by
	// seq. Every edit is among them; of the reactions of a person to a message with one emoji the latest only, by seq, which may
	// be one that takes it back. How many a message has is bounded by who appends them.
	Marks(ctx context.Context, id chat.ID, from, to chat.Seq) ([]Mark, error)
	// Mentions returns the messages of a chat above after that mention a person, ascending, at most limit; where it returns limit
	// of them there may be more. Messages that were erased are not among them.
	Mentions(ctx context.Context, user chat.UserID, id chat.ID, after chat.Seq, limit int) ([]chat.Seq, error)
	// SentSeqs returns the messages of a person in a chat above after, ascending, at most limit; where it returns limit of them
	// there may be more. Erased ones are among them. It is for erasing an account: each call goes through all that the person has
	// sent in about that part of the chat, so a large limit is cheaper than many calls.
	SentSeqs(ctx context.Context, id chat.ID, sender chat.UserID, after chat.Seq, limit int) ([]chat.Seq, error)
}

// Store is everything; a service asks for the part that it needs.
type Store interface {
	Accounts
	Personal
	History
	Sink
	// Ping tells whether the store can be reached and has the schema that this program needs.
	Ping(ctx context.Context) error
	// Close lets go of files and connections.
	Close() error
}

// Package chatlog owns the ordered log of a chat: appending to it, its state, its tail, and the cursors beside it. It
// promises that of all that race to append exactly one comes first, that seq has no holes, that an append is decided on
// the state at exactly the event before it, and that a message with the same chat, sender and client id stands once.
//
// The broker is the sequencer: an append names the stream sequence of the chat's last event, and is refused if that is not
// the last any more. Nothing here is a leader or holds a lock that outlives a process.
package chatlog

import (
	"context"
	"encoding/json"
	"time"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// Head is the last event of a chat.
type Head struct {
	Seq chat.Seq
	// N is how many messages there are.
	N uint64
	// At is the time of the event.
	At chat.Time
	// Stream is the sequence of the event in its partition's stream; zero when it has aged out of it.
	Stream uint64
	// Body is the event where it was read, otherwise nil.
	Body []byte
	// only is the id of the event where it was read and is the first message of the chat, otherwise zero.
	only ID
}

// Snapshot is a chat at a moment: its last event and the state that goes with it. It must not be changed.
type Snapshot struct {
	Head  Head
	State *chat.State
}

// Receipt tells where an append stands.
type Receipt struct {
	Chat chat.ID
	// Seq is the seq of the (first) event; zero when nothing was to be done.
	Seq    chat.Seq
	SentAt chat.Time
	// Duplicate says that the message was there before this call.
	Duplicate bool
	// State is the state after the append, unless Duplicate.
	State *chat.State
}

// Page is a part of a chat's history, ascending and without holes. From and To are the seqs that it covers, both
// included; both are zero when it is empty. More says that there are events beyond it in the direction of reading.
type Page struct {
	Items    []store.Item
	From, To chat.Seq
	More     bool
}

// Older answers for what the log does not hold any more. The api has the store for it; other services ask the api's
// micro endpoints (Remote).
type Older interface {
	// Record returns the head and state of a chat as the store has them. It fails with store.ErrNotFound.
	Record(ctx context.Context, id chat.ID) (store.Record, error)
	// Find returns where a message stands, in the store or between it and the head. It fails with store.ErrNotFound.
	Find(ctx context.Context, id chat.ID, sender chat.UserID, client chat.ClientID) (store.Found, error)
	// Sent returns what a person has sent to a chat, in the store or behind it. Where since is not zero, what was sent behind that event may be
	// missing, as Sent.UpTo says.
	Sent(ctx context.Context, id chat.ID, sender chat.UserID, since chat.Seq) (Sent, error)
	// Cursor returns the cursor in the store; the zero Seq where there is none.
	Cursor(ctx context.Context, id chat.ID, user chat.UserID) (store.Cursor, error)
	// Page returns events from store and tail together.
	Page(ctx context.Context, id chat.ID, r store.Range) (Page, error)
}

// Frame is the page as a client receives it.
func (p Page) Frame() wire.Page {
	f := wire.Page{Messages: make([]json.RawMessage, 0, len(p.Items)), HasMore: p.More, FromSeq: p.From, ToSeq: p.To}
	for _, it := range p.Items {
		f.Messages = append(f.Messages, it.Body)
	}
	return f
}

// Unavailable is the refusal for what cannot be done now and may be tried again with the same client id.
func Unavailable(why string) error { return chat.Retry(chat.Unavailable, time.Second, why) }

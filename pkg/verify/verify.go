// Package verify owns the proof that a chat is right: it reads the log and the store, each for itself, and compares. It promises
// to report every event that is missing, double, out of order or altered, every text that is still there although it was erased,
// and every count that is wrong, and nothing else: what is appended, persisted, erased or aged out meanwhile, and what the store
// does not have yet, is no fault.
package verify

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/chatlog"
	"github.com/chatmesh/chatmesh/pkg/store"
)

// Log is what is needed of the log: what stands there, whether it is right or not. A Stream is one.
type Log interface {
	// Acked returns the stream sequence up to which the persister has confirmed that the store has everything.
	Acked(ctx context.Context, id chat.ID) (uint64, error)
	// Ends returns the end of the log of a chat, and the state beside it.
	Ends(ctx context.Context, id chat.ID) (Ends, error)
	// Cursors returns the cursors of people in a chat that are in the log: of each what was read and what was delivered apart, as far
	// as it is there.
	Cursors(ctx context.Context, id chat.ID, users []chat.UserID) ([]Cursor, error)
	// Events returns some of the events of a chat that stand at stream sequence from or behind it, in the order in which they
	// stand there; none at the end.
	Events(ctx context.Context, id chat.ID, from uint64) ([]Entry, error)
	// Stubs returns what stands in the log for events that were erased, of those from one seq to another, both included, that
	// there are, ascending. At most maxStubs are asked for.
	Stubs(ctx context.Context, id chat.ID, from, to chat.Seq) ([]Entry, error)
	// First returns sequence and time of the oldest message of the stream: what is older has aged out. The time is zero where
	// it has none.
	First(ctx context.Context, id chat.ID) (uint64, time.Time, error)
}

// Ends is how far the log of a chat goes.
type Ends struct {
	// Stream is the stream sequence of the last event; zero where the log has none.
	Stream uint64
	// State is the state in the log, at stream sequence StateAt; nil where there is none.
	State   *chat.State
	StateAt uint64
	// Damaged says that there is a state that cannot be read.
	Damaged bool
}

// Entry is what stands in the log.
type Entry struct {
	// Seq is what the header says.
	Seq    chat.Seq
	Stream uint64
	Body   []byte
	// Stub says that it stands for an event that was erased, on a subject of its own: Stream tells when it was.
	Stub bool
}

// Cursor is a cursor in the log. Damaged says that it cannot be read.
type Cursor struct {
	store.Cursor
	Damaged bool
}

// Store is what is needed of the store.
type Store interface {
	Page(ctx context.Context, id chat.ID, r store.Range) ([]store.Item, error)
	Find(ctx context.Context, id chat.ID, sender chat.UserID, client chat.ClientID) (store.Found, error)
	Record(ctx context.Context, id chat.ID) (store.Record, error)
	Cursor(ctx context.Context, id chat.ID, user chat.UserID) (store.Cursor, error)
	ChatsOf(ctx context.Context, user chat.UserID) ([]store.UserChat, error)
}

// Kind says what is wrong.
type Kind string

// The kinds of problem.
const (
	Missing    Kind = "missing"    // an event or a state that must be there is not
	Double     Kind = "double"     // a message or an event stands twice
	Disordered Kind = "disordered" // an event stands where it does not belong, or cannot follow those before it
	Altered    Kind = "altered"    // log and store differ, or something cannot be read or is not what the events make
	Count      Kind = "count"      // a running number, a cursor or what the store says of the last event is wrong
	Index      Kind = "index"      // the store does not find what it holds
	NotErased  Kind = "not_erased" // a text that was erased is still there
)

// Problem is one thing that is wrong. It holds no text of a person.
type Problem struct {
	Kind Kind     `json:"kind"`
	Seq  chat.Seq `json:"seq,omitempty"`
	What string   `json:"what"`
}

// Report is the result for one chat.
type Report struct {
	Chat     chat.ID `json:"chat"`
	Events   uint64  `json:"events"`
	Messages uint64  `json:"messages"`
	// Stored is the last event that the store has.
	Stored chat.Seq `json:"stored"`
	// Problems are the first maxProblems; Wrong counts all.
	Problems []Problem `json:"problems"`
	Wrong    int       `json:"wrong"`
}

const (
	maxProblems = 100
	pageEvents  = 500
	pageBytes   = 4 << 20
	// maxStubs is how many seqs in a row are asked for stubs.
	maxStubs = 4096
)

// checker walks through one chat.
type checker struct {
	Report
	log   Log
	store Store

	// What was so when the verification began.
	acked   uint64
	rec     store.Record
	ends    Ends
	cursors []Cursor // of the members: first those of the store, one of each, then those of the log
	members int

	walk    walk
	erasing erasing
	state   *chat.State // after the last event
	// blind says that an event is missing or cannot be read: then what follows may have been right.
	blind bool
	n     counter
	seen  map[chatlog.ID]chat.Seq
	// lost has the places in Problems of what is missing in the log, which may come later.
	lost map[chat.Seq]int
	// own is the last message of each person that the store certainly has.
	own map[chat.UserID]chat.Seq
	// at has the seqs of which something is asked at the end, and is given what is known of the event there.
	at map[chat.Seq]place
}

// place is what is asked of an event. All but known is zero where the event was not read.
type place struct {
	known  bool
	n      uint64
	stream uint64
	state  *chat.State // where the event makes one
}

func (c *checker) wrong(kind Kind, seq chat.Seq, format string, args ...any) {
	c.Wrong++
	if len(c.Problems) < maxProblems {
		c.Problems = append(c.Problems, Problem{kind, seq, fmt.Sprintf(format, args...)})
	}
}

// Chat verifies a chat up to the event that is its last when it begins. It fails with NotFound, or where log or store cannot be
// read.
func Chat(ctx context.Context, l Log, s Store, id chat.ID) (Report, error) {
	c := &checker{Report: Report{Chat: id, Problems: []Problem{}}, log: l, store: s, state: &chat.State{},
		erasing: erasing{map[chat.Seq]struct{}{}, map[chat.Seq][]chat.Seq{}, map[chat.UserID]texts{}},
		seen:    map[chatlog.ID]chat.Seq{}, lost: map[chat.Seq]int{}, own: map[chat.UserID]chat.Seq{}, at: map[chat.Seq]place{}}
	for _, step := range []func(context.Context) error{c.begin, c.events, c.finish} {
		if err := step(ctx); err != nil {
			return c.Report, err
		}
	}
	return c.Report, nil
}

// begin takes the measures, in the order in which each can only be ahead of those before it.
func (c *checker) begin(ctx context.Context) (err error) {
	id := c.Report.Chat
	if c.acked, err = c.log.Acked(ctx, id); err != nil {
		return fmt.Errorf("verify: log: %w", err)
	}
	if c.rec, err = c.store.Record(ctx, id); err != nil && !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("verify: store: %w", err)
	}
	c.Stored = c.rec.Seq
	if c.ends, err = c.log.Ends(ctx, id); err != nil {
		return fmt.Errorf("verify: log: %w", err)
	}
	if c.ends.Stream == 0 && c.ends.State == nil && c.rec.Seq == 0 && c.rec.State == nil {
		return chat.Errorf(chat.NotFound, "no such chat")
	}
	for _, st := range []*chat.State{c.ends.State, c.rec.State} {
		if st != nil {
			c.at[st.Seq] = place{}
		}
	}
	c.at[c.rec.Seq] = place{}
	return c.readCursors(ctx)
}

// readCursors takes the cursors of the members.
func (c *checker) readCursors(ctx context.Context) error {
	st := c.ends.State
	if st == nil {
		st = c.rec.State
	}
	if st == nil {
		return nil
	}
	c.members = len(st.Members)
	users := make([]chat.UserID, 0, c.members)
	for _, m := range st.Members {
		users = append(users, m.UserID)
		cur, err := c.store.Cursor(ctx, c.Report.Chat, m.UserID)
		if err != nil {
			return fmt.Errorf("verify: store: %w", err)
		}
		cur.User = m.UserID
		c.cursors = append(c.cursors, Cursor{Cursor: cur})
	}
	logged, err := c.log.Cursors(ctx, c.Report.Chat, users)
	if err != nil {
		return fmt.Errorf("verify: log: %w", err)
	}
	c.cursors = append(c.cursors, logged...)
	for _, cur := range c.cursors {
		c.at[cur.Seq] = place{}
	}
	return nil
}

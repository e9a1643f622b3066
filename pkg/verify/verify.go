// Package verify owns the proof that a chat is right: it reads the log and the store, each for itself, and compares. It promises
// to report every event that is missing, double, out of order or altered, and every count that is wrong, and nothing else;
// what is appended meanwhile does not disturb it.
package verify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/chatlog"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// Log is what is needed of the log. A *chatlog.Log is one.
type Log interface {
	Snapshot(ctx context.Context, id chat.ID) (chatlog.Snapshot, error)
	After(ctx context.Context, id chat.ID, after chat.Seq, stream uint64, limit, maxBytes int) ([]store.Item, error)
	Cursor(ctx context.Context, id chat.ID, user chat.UserID) (store.Cursor, error)
}

// Store is what is needed of the store.
type Store interface {
	Page(ctx context.Context, id chat.ID, r store.Range) ([]store.Item, error)
	Find(ctx context.Context, id chat.ID, sender chat.UserID, client chat.ClientID) (store.Found, error)
	Record(ctx context.Context, id chat.ID) (store.Record, error)
	ChatsOf(ctx context.Context, user chat.UserID) ([]store.UserChat, error)
}

// Kind says what is wrong.
type Kind string

// The kinds of problem.
const (
	Missing    Kind = "missing"    // an event that must be there is not
	Double     Kind = "double"     // a message stands twice
	Disordered Kind = "disordered" // an event that cannot follow those before it
	Altered    Kind = "altered"    // log and store differ, or an event cannot be read
	Count      Kind = "count"      // a running number, a cursor's count or the head is wrong
	Index      Kind = "index"      // the store does not find what it holds
)

// Problem is one thing that is wrong. It holds no text of a person.
type Problem struct {
	Kind Kind     `json:"kind"`
	Seq  chat.Seq `json:"seq,omitempty"`
	What string   `json:"what"`
}

// Report is the result for one chat.
type Report struct {
	Chat     chat.ID  `json:"chat"`
	Events   uint64   `json:"events"`
	Messages uint64   `json:"messages"`
	Stored   chat.Seq `json:"stored"`
	// Problems are the first maxProblems; Wrong counts all.
	Problems []Problem `json:"problems"`
	Wrong    int       `json:"wrong"`
}

const (
	maxProblems = 100
	pageEvents  = 500
	pageBytes   = 4 << 20
)

// checker walks through one chat.
type checker struct {
	Report
	log   Log
	store Store
	state *chat.State
	seen  map[chatlog.ID]chat.Seq
	// at has the seqs at which a cursor stands, and is given the running number there.
	at map[chat.Seq]uint64
}

func (c *checker) wrong(kind Kind, seq chat.Seq, format string, args ...any) {
	c.Wrong++
	if len(c.Problems) < maxProblems {
		c.Problems = append(c.Problems, Problem{kind, seq, fmt.Sprintf(format, args...)})
	}
}

// Chat verifies a chat up to the event that is its last when it begins. It fails where log or store cannot be read.
func Chat(ctx context.Context, l Log, s Store, id chat.ID) (Report, error) {
	c := &checker{Report: Report{Chat: id, Problems: []Problem{}}, log: l, store: s, state: &chat.State{},
		seen: map[chatlog.ID]chat.Seq{}, at: map[chat.Seq]uint64{}}
	// The store first: what it has by now the log must have had before.
	rec, err := s.Record(ctx, id)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return c.Report, fmt.Errorf("verify: store: %w", err)
	}
	snap, err := l.Snapshot(ctx, id)
	if err != nil {
		return c.Report, fmt.Errorf("verify: log: %w", err)
	}
	c.Stored = rec.Seq
	if rec.Seq > snap.Head.Seq {
		c.wrong(Count, rec.Seq, "the store has more than the log's head %d", snap.Head.Seq)
	}
	cursors, err := c.cursors(ctx, snap)
	if err != nil {
		return c.Report, err
	}
	if err := c.events(ctx, rec, snap); err != nil {
		return c.Report, err
	}
	c.ends(rec, snap, cursors)
	return c.Report, c.links(ctx, rec, snap)
}

func (c *checker) cursors(ctx context.Context, snap chatlog.Snapshot) ([]store.Cursor, error) {
	var out []store.Cursor
	for _, m := range snap.State.Members {
		cur, err := c.log.Cursor(ctx, c.Report.Chat, m.UserID)
		if err != nil {
			return nil, fmt.Errorf("verify: cursor: %w", err)
		}
		if cur.Seq > 0 && cur.Seq <= snap.Head.Seq { // it may have moved on meanwhile
			out = append(out, cur)
			c.at[cur.Seq] = 0
		}
	}
	return out, nil
}

// stream yields the events of one side, ascending.
type stream struct {
	more  func(after chat.Seq) ([]store.Item, error)
	items []store.Item
	after chat.Seq
	done  bool
}

// peek returns the next event without taking it, or false at the end.
func (s *stream) peek() (store.Item, bool, error) {
	if len(s.items) == 0 && !s.done {
		var err error
		if s.items, err = s.more(s.after); err != nil {
			return store.Item{}, false, err
		}
		s.done = len(s.items) == 0
	}
	if len(s.items) == 0 {
		return store.Item{}, false, nil
	}
	return s.items[0], true, nil
}

func (s *stream) take() {
	s.after = s.items[0].Seq
	s.items = s.items[1:]
}

// events walks through log and store side by side.
func (c *checker) events(ctx context.Context, rec store.Record, snap chatlog.Snapshot) error {
	id, head := c.Report.Chat, snap.Head.Seq
	inStore := &stream{more: func(after chat.Seq) ([]store.Item, error) {
		return c.store.Page(ctx, id, store.Range{After: after, Before: rec.Seq + 1, Forward: true, Limit: pageEvents, MaxBytes: pageBytes})
	}}
	inLog := &stream{more: func(after chat.Seq) ([]store.Item, error) {
		return c.log.After(ctx, id, after, 0, pageEvents, pageBytes)
	}}
	first, retained, err := inLog.peek()
	if err != nil {
		return fmt.Errorf("verify: log: %w", err)
	}
	for seq := chat.Seq(1); seq <= head; seq++ {
		stored, err := c.next(inStore, seq)
		if err != nil {
			return fmt.Errorf("verify: store: %w", err)
		}
		logged, err := c.next(inLog, seq)
		if err != nil {
			return fmt.Errorf("verify: log: %w", err)
		}
		if stored == nil && seq <= rec.Seq {
			c.wrong(Missing, seq, "not in the store")
		}
		if logged == nil && retained && seq >= first.Seq {
			c.wrong(Missing, seq, "not in the log")
		}
		switch {
		case stored != nil && logged != nil && !bytes.Equal(stored, logged):
			c.wrong(Altered, seq, "log and store differ")
		case stored == nil && logged == nil:
			if seq > rec.Seq {
				c.wrong(Missing, seq, "neither in the log nor in the store")
			}
			continue
		}
		body := logged
		if body == nil {
			body = stored
		}
		if err := c.event(ctx, seq, body, stored != nil); err != nil {
			return err
		}
	}
	return nil
}

// next takes the event at seq from a side, or nil if it has none there.
func (c *checker) next(s *stream, seq chat.Seq) ([]byte, error) {
	for {
		it, ok, err := s.peek()
		if err != nil || !ok || it.Seq > seq {
			return nil, err
		}
		s.take()
		if it.Seq == seq {
			return it.Body, nil
		}
		c.wrong(Disordered, it.Seq, "comes behind %d", seq-1)
	}
}

// event checks one event against those before it.
func (c *checker) event(ctx context.Context, seq chat.Seq, body []byte, stored bool) error {
	c.Events++
	e, err := wire.DecodeEvent(body)
	if err != nil {
		c.wrong(Altered, seq, "cannot be read")
		return nil
	}
	if e.Seq != seq || e.Chat != c.Report.Chat {
		c.wrong(Altered, seq, "says that it is event %d, or of another chat", e.Seq)
	}
	if e.Type == chat.Message {
		c.Messages++
		key := chatlog.IDOf(e.Chat, e.Sender, e.ClientID)
		if at, twice := c.seen[key]; twice {
			c.wrong(Double, seq, "the same message stands at %d", at)
		} else {
			c.seen[key] = seq
		}
		if _, member := c.state.Member(e.Sender); !member {
			c.wrong(Disordered, seq, "its sender is no member at that moment")
		}
	}
	if next, err := c.state.Apply(&e); err != nil {
		c.wrong(Disordered, seq, "a change that cannot follow")
	} else {
		c.state = next
	}
	if e.N != c.Messages {
		c.wrong(Count, seq, "says that it is behind %d messages; there are %d", e.N, c.Messages)
	}
	if _, ask := c.at[seq]; ask {
		c.at[seq] = c.Messages
	}
	if stored && e.Type == chat.Message && c.seen[chatlog.IDOf(e.Chat, e.Sender, e.ClientID)] == seq {
		f, err := c.store.Find(ctx, e.Chat, e.Sender, e.ClientID)
		switch {
		case errors.Is(err, store.ErrNotFound):
			c.wrong(Index, seq, "the store does not find it by its client id")
		case err != nil:
			return fmt.Errorf("verify: store: %w", err)
		case f.Seq != seq:
			c.wrong(Index, seq, "the store finds it at %d", f.Seq)
		}
	}
	return nil
}

// ends compares what the events add up to with what log and store say of it.
func (c *checker) ends(rec store.Record, snap chatlog.Snapshot, cursors []store.Cursor) {
	if c.Wrong == 0 && snap.Head.N != c.Messages {
		c.wrong(Count, snap.Head.Seq, "the head says %d messages; there are %d", snap.Head.N, c.Messages)
	}
	same := func(a, b *chat.State) bool {
		return a.Kind == b.Kind && a.Title == b.Title && slices.Equal(a.Members, b.Members)
	}
	if !same(c.state, snap.State) {
		c.wrong(Altered, snap.State.Seq, "the state in the log is not what the events make")
	}
	if rec.State != nil && rec.State.Seq == snap.State.Seq && !same(rec.State, snap.State) {
		c.wrong(Altered, rec.State.Seq, "the state in the store is not that of the log")
	}
	for _, cur := range cursors {
		if n := c.at[cur.Seq]; n != cur.N {
			c.wrong(Count, cur.Seq, "a cursor says that it is behind %d messages; there are %d", cur.N, n)
		}
	}
}

// links checks that every member finds the chat among theirs.
func (c *checker) links(ctx context.Context, rec store.Record, snap chatlog.Snapshot) error {
	for _, m := range snap.State.Members {
		if m.Since > rec.Seq {
			continue
		}
		chats, err := c.store.ChatsOf(ctx, m.UserID)
		if err != nil {
			return fmt.Errorf("verify: store: %w", err)
		}
		if !slices.ContainsFunc(chats, func(u store.UserChat) bool { return u.Chat == c.Report.Chat }) {
			c.wrong(Index, m.Since, "a member does not find the chat among theirs")
		}
	}
	return nil
}

package verify

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// What was erased is gone from the log, where a stub stands for it, and is a stub in the store. It takes a moment: the deletion and
// the stubs land first, whoever deleted then erases in log and store, and at the latest the persister does when it confirms a stub.

// erasing is what is remembered of texts until a deletion comes.
type erasing struct {
	// gone are the events of which the store has no text; edits those of which it has one, by message.
	gone  map[chat.Seq]struct{}
	edits map[chat.Seq][]chat.Seq
	// by is what the store has of each person that is not erased.
	by map[chat.UserID]texts
}

// texts are messages and edits of a person.
type texts struct {
	first chat.Seq
	n     int
}

// erasureTime is how long it may take to erase all that a person has written after the account was deleted.
const erasureTime = time.Hour

// stubs asks the log for stubs.
func (c *checker) stubs(ctx context.Context, from, to chat.Seq) ([]Entry, error) {
	out, err := c.log.Stubs(ctx, c.Report.Chat, from, to)
	if err != nil {
		return nil, fmt.Errorf("verify: log: %w", err)
	}
	return out, nil
}

// isErased tells whether the log has a stub of an event.
func (c *checker) isErased(ctx context.Context, seq chat.Seq) (bool, error) {
	stubs, err := c.stubs(ctx, seq, seq)
	return len(stubs) > 0, err
}

// fill puts the stubs that the log has into the holes between its events. last is the event before them; of the first of the log that
// is not known, and a page of seqs before it is looked at.
func (c *checker) fill(ctx context.Context, events []Entry, last chat.Seq) ([]Entry, chat.Seq, error) {
	out := make([]Entry, 0, len(events))
	for _, e := range events {
		if last == 0 && e.Seq > chat.MaxPage {
			last = e.Seq - chat.MaxPage - 1
		}
		if last+1 < e.Seq {
			stubs, err := c.stubs(ctx, last+1, e.Seq-1)
			if err != nil {
				return nil, 0, err
			}
			out = append(out, stubs...)
		}
		out, last = append(out, e), max(last, e.Seq)
	}
	return out, last, nil
}

// isStub tells whether a body stands for an event that was erased.
func isStub(body []byte) bool {
	e, err := wire.DecodeEvent(body)
	return err == nil && e.Deleted != nil
}

// same tells whether log and store have the same of an event, as far as both have it: its text, or its stub. Where one is ahead of
// the other, because it is being erased, they have.
func (c *checker) same(ctx context.Context, seq chat.Seq, l, s *Entry) (bool, error) {
	if l == nil || s == nil || bytes.Equal(l.Body, s.Body) {
		return true, nil
	}
	inStore := isStub(s.Body)
	if l.Stub {
		if !inStore && l.Stream <= c.acked {
			c.wrong(NotErased, seq, "its text is still in the store")
		}
		return !inStore || l.Stream > c.acked, nil // of two deletions the store may have the first
	}
	if !inStore {
		return false, nil
	}
	stubs, err := c.stubs(ctx, seq, seq)
	if err != nil || len(stubs) == 0 {
		return false, err
	}
	if stubs[0].Stream <= c.acked {
		c.wrong(NotErased, seq, "its text is still in the log")
	}
	return bytes.Equal(stubs[0].Body, s.Body) || stubs[0].Stream > c.acked, nil
}

// kept remembers what the store has of an event.
func (c *checker) kept(e *chat.Event, seq chat.Seq, s *Entry, settled bool) {
	var by chat.UserID
	switch e.Type {
	case chat.Message:
		by = e.Sender
	case chat.Edited:
		by = e.By
	default:
		return
	}
	if s == nil || isStub(s.Body) {
		if s != nil || settled {
			c.erasing.gone[seq] = struct{}{}
		}
		return
	}
	if e.Type == chat.Edited {
		c.erasing.edits[e.Target] = append(c.erasing.edits[e.Target], seq)
	}
	t := c.erasing.by[by]
	if t.n++; t.n == 1 {
		t.first = seq
	}
	c.erasing.by[by] = t
}

// erasure checks that what an event erases is not in the store any more, where the store has the event.
func (c *checker) erasure(ctx context.Context, e *chat.Event, settled bool) error {
	switch {
	case !settled:
	case e.Type == chat.Deleted:
		for _, seq := range append([]chat.Seq{e.Target}, c.erasing.edits[e.Target]...) {
			if _, gone := c.erasing.gone[seq]; gone || seq > c.walk.stored {
				continue
			}
			stubs, err := c.stubs(ctx, seq, seq)
			if err != nil {
				return err
			}
			if len(stubs) > 0 && stubs[0].Stream > c.acked || c.toldNotErased(seq) {
				continue
			}
			c.wrong(NotErased, seq, "the deletion at %d erased its text, which is still in the store", e.Seq)
		}
	case e.Type == chat.Changed && e.Change == chat.Erased:
		t := c.erasing.by[e.User]
		if t.n > 0 && time.Since(e.Time().Time) > erasureTime {
			c.wrong(NotErased, t.first, "its sender deleted the account at %d; its text and those of %d more are still in the store", e.Seq, t.n-1)
		}
		delete(c.erasing.by, e.User)
	}
	return nil
}

func (c *checker) toldNotErased(seq chat.Seq) bool {
	for _, p := range c.Problems {
		if p.Kind == NotErased && p.Seq == seq {
			return true
		}
	}
	return false
}

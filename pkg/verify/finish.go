package verify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// finish compares what the events add up to with what log and store say of it.
func (c *checker) finish(ctx context.Context) error {
	c.record()
	for _, step := range []func(context.Context) error{c.logState, c.storeState, c.checkCursors, c.links} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// record checks what the store says of the last event.
func (c *checker) record() {
	rec := c.rec
	switch p := c.at[rec.Seq]; {
	case rec.Seq > c.walk.seq:
		c.wrong(Count, rec.Seq, "the store says that this is the last event; there is none behind %d", c.walk.seq)
	case rec.Seq < c.walk.stored:
		c.wrong(Count, rec.Seq, "the store says that this is the last event; it has %d", c.walk.stored)
	case rec.Seq == 0:
	case p.known && p.n != rec.N:
		c.wrong(Count, rec.Seq, "the store says that there are %d messages; the event says %d", rec.N, p.n)
	case p.stream > 0 && p.stream != rec.Stream:
		c.wrong(Count, rec.Seq, "the store says that it stands at %d of the stream; it stands at %d", rec.Stream, p.stream)
	}
}

// sameState compares a state that was kept with what the events make, in all that a state says.
func sameState(kept, made *chat.State) bool {
	k, m := *kept, *made
	k.Members, m.Members = append([]chat.Member{}, k.Members...), append([]chat.Member{}, m.Members...)
	m.Left = slices.Clone(m.Left)
	for i := range min(len(k.Left), len(m.Left)) {
		if k.Left[i].By == "" { // who removed somebody was not kept at first
			m.Left[i].By = ""
		}
	}
	return bytes.Equal(wire.Encode(k), wire.Encode(m))
}

// isRight checks a state against the events.
func (c *checker) isRight(st *chat.State, where string) {
	made := c.at[st.Seq].state
	switch {
	case c.blind: // it cannot be told
	case made == nil:
		c.wrong(Altered, st.Seq, "the state in the %s is of this event, which makes none", where)
	case !sameState(st, made):
		c.wrong(Altered, st.Seq, "the state in the %s is not what the events make", where)
	}
}

// logState checks the state in the log.
func (c *checker) logState(ctx context.Context) error {
	st := c.ends.State
	if c.ends.Damaged {
		c.wrong(Altered, c.walk.seq, "the state in the log cannot be read")
		return nil
	}
	if st == nil { // aged out, as those of quiet chats do
		return nil
	}
	if st.Seq > c.walk.seq {
		c.wrong(Altered, st.Seq, "the state in the log is of an event that is not there")
		return nil
	}
	if st.Seq >= c.state.Seq || c.blind {
		c.isRight(st, "log")
		return nil
	}
	// An event is seen a moment before the state that it makes.
	now, err := c.log.Ends(ctx, c.Report.Chat)
	if err != nil {
		return fmt.Errorf("verify: log: %w", err)
	}
	if now.State != nil && now.State.Seq < c.state.Seq {
		c.wrong(Altered, c.state.Seq, "the state in the log is still that of %d", now.State.Seq)
	}
	return nil
}

// storeState checks the state in the store, which may be an older one.
func (c *checker) storeState(context.Context) error {
	st := c.rec.State
	settled := c.ends.State != nil && c.ends.StateAt <= c.acked
	switch {
	case st == nil && (settled || c.ends.State == nil && c.walk.stored > 0):
		c.wrong(Missing, c.state.Seq, "the store has no state")
	case st == nil:
	case st.Seq > c.walk.seq:
		c.wrong(Altered, st.Seq, "the state in the store is of an event that is not there")
	case settled && st.Seq < c.ends.State.Seq:
		c.wrong(Altered, st.Seq, "the state in the store is of this event; that in the log of %d", c.ends.State.Seq)
	default:
		c.isRight(st, "store")
	}
	return nil
}

// checkCursors checks the cursors of the log and of the store.
func (c *checker) checkCursors(ctx context.Context) error {
	head, asked := c.walk.seq, false
	for _, cur := range c.cursors {
		p := c.at[cur.Seq]
		if max(cur.Seq, cur.Delivered) > head && !asked { // it may have moved on with what was appended
			now, err := c.head(ctx)
			if err != nil {
				return err
			}
			head, asked = max(head, now), true
		}
		switch {
		case cur.Damaged:
			c.wrong(Altered, head, "a cursor cannot be read")
		case cur.Seq > head:
			c.wrong(Count, cur.Seq, "a cursor stands there; the last event is %d", head)
		case cur.Delivered > head:
			c.wrong(Count, cur.Delivered, "it was delivered up to there; the last event is %d", head)
		case cur.Delivered < cur.Seq:
			c.wrong(Count, cur.Seq, "a cursor stands there; it was delivered up to %d", cur.Delivered)
		case cur.Seq == 0 && cur.N != 0:
			c.wrong(Count, cur.Seq, "a cursor before the first event says that it is behind %d messages", cur.N)
		case cur.Seq > 0 && p.known && p.n != cur.N:
			c.wrong(Count, cur.Seq, "a cursor says that it is behind %d messages; there are %d", cur.N, p.n)
		}
	}
	for _, cur := range c.cursors[:c.members] {
		if seq := c.own[cur.User]; cur.Seq < seq {
			c.wrong(Count, cur.Seq, "a cursor in the store stands there; an own message of that person is %d", seq)
		}
	}
	return nil
}

// head is the last event of now.
func (c *checker) head(ctx context.Context) (chat.Seq, error) {
	rec, err := c.store.Record(ctx, c.Report.Chat)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return 0, fmt.Errorf("verify: store: %w", err)
	}
	ends, err := c.log.Ends(ctx, c.Report.Chat)
	if err != nil {
		return 0, fmt.Errorf("verify: log: %w", err)
	}
	head := rec.Seq
	if ends.Stream > 0 {
		last, err := c.log.Events(ctx, c.Report.Chat, ends.Stream)
		if err != nil {
			return 0, fmt.Errorf("verify: log: %w", err)
		}
		for _, e := range last {
			head = max(head, e.Seq)
		}
	}
	return head, nil
}

// links checks that every member finds the chat among theirs.
func (c *checker) links(ctx context.Context) error {
	st := c.state
	if c.blind {
		if st = c.ends.State; st == nil {
			st = c.rec.State
		}
	}
	if st == nil {
		return nil
	}
	var lost []chat.Member
	for _, m := range st.Members {
		if m.Since > c.walk.stored {
			continue
		}
		chats, err := c.store.ChatsOf(ctx, m.UserID)
		if err != nil {
			return fmt.Errorf("verify: store: %w", err)
		}
		if !slices.ContainsFunc(chats, func(u store.UserChat) bool { return u.Chat == c.Report.Chat }) {
			lost = append(lost, m)
		}
	}
	if len(lost) == 0 {
		return nil
	}
	// Who has left meanwhile is not to find it.
	ends, err := c.log.Ends(ctx, c.Report.Chat)
	if err != nil {
		return fmt.Errorf("verify: log: %w", err)
	}
	for _, m := range lost {
		if ends.State != nil {
			if now, still := ends.State.Member(m.UserID); !still || now.Since != m.Since {
				continue
			}
		}
		c.wrong(Index, m.Since, "a member since then does not find the chat among theirs")
	}
	return nil
}

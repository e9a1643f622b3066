package scylla

import (
	"context"
	"time"
	"unicode/utf8"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/trace"
)

// MaxBody is the longest body of an event in bytes, far above what a message can have; the servers take mutations of up to 16 MiB.
const MaxBody = 4 << 20

// Write keeps the batch. It fails with chat.BadRequest, and writes nothing, where an entry has no place in the store however
// often it is tried: an id or a seq is missing, or too large. After any other error some of it may be written.
func (s *Store) Write(ctx context.Context, b store.Batch) (err error) {
	began := time.Now()
	ctx, span := trace.Child(ctx, "store write", trace.Internal)
	defer func() { span.End(err) }()
	return s.do(ctx, "write", func(c call) error {
		if err := checkBatch(&b); err != nil {
			return err
		}
		p := newPlan(s)
		for i := range b.Events {
			p.event(&b.Events[i])
		}
		for i := range b.Erased {
			p.event(&b.Erased[i])
		}
		for _, st := range b.States {
			p.state(st)
		}
		for i := range b.Cursors {
			p.cursor(b.Cursors[i])
		}
		if err := p.finish(); err != nil {
			return err
		}
		// A head says that everything up to it is there.
		if err := c.send(p.content); err != nil {
			return err
		}
		if err := c.unmention(p.erased); err != nil {
			return err
		}
		if err := c.send(p.heads); err != nil {
			return err
		}
		p.remember()
		s.metrics.writes.Observe(time.Since(began).Seconds())
		return nil
	})
}

// Link puts the chat into the index of each person's chats ahead of the event at seq.
func (s *Store) Link(ctx context.Context, id chat.ID, seq chat.Seq, users ...chat.UserID) error {
	return s.do(ctx, "link", func(c call) error {
		err := firstError(checkIDs("chat", id), checkIDs("user", users...), checkPlace("seq", uint64(seq)))
		if err != nil {
			return err
		}
		p := newPlan(s)
		for _, u := range users {
			p.link(u, id, seq, true)
		}
		if err := p.finish(); err != nil {
			return err
		}
		return c.send(p.content)
	})
}

func checkBatch(b *store.Batch) error {
	for i := range b.Events {
		if err := checkEntry(&b.Events[i]); err != nil {
			return err
		}
	}
	for i := range b.Erased {
		if b.Erased[i].Event.Deleted == nil {
			return chat.Errorf(chat.BadRequest, "a stub does not say which deletion erased it")
		}
		if err := checkEntry(&b.Erased[i]); err != nil {
			return err
		}
	}
	for _, st := range b.States {
		if st == nil || !st.Exists() {
			return chat.Errorf(chat.BadRequest, "a state without seq")
		}
		if err := firstError(checkIDs("chat", st.Chat), checkPlace("seq", uint64(st.Seq))); err != nil {
			return err
		}
	}
	for i := range b.Cursors {
		c := &b.Cursors[i]
		err := firstError(checkIDs("chat", c.Chat), checkIDs("user", c.User), checkPlace("seq", uint64(c.Seq)),
			checkPlace("delivered", uint64(c.Delivered)))
		if err != nil {
			return err
		}
	}
	return nil
}

func checkEntry(en *store.Entry) error {
	e := &en.Event
	if e.Seq == 0 {
		return chat.Errorf(chat.BadRequest, "an event without seq")
	}
	if len(en.Body) > MaxBody {
		return chat.Errorf(chat.BadRequest, "the body of an event is longer than %d bytes", MaxBody)
	}
	err := firstError(checkIDs("chat", e.Chat), checkPlace("seq", uint64(e.Seq)), checkPlace("stream sequence", en.Stream),
		checkIDs("mention", e.Mentions...), checkStub(e))
	switch {
	case err != nil:
	case e.Type == chat.Message:
		err = firstError(checkIDs("sender", e.Sender), checkIDs("client_id", e.ClientID))
	case e.Type == chat.Edited || e.Type == chat.Reacted:
		err = checkMark(e)
	case e.Change == chat.MemberAdded || e.Change == chat.MemberRemoved:
		err = checkIDs("user", e.User)
	case e.Change == chat.Created:
		for _, m := range e.Members {
			err = firstError(err, checkIDs("user", m.UserID))
		}
	}
	return err
}

func checkStub(e *chat.Event) error {
	switch {
	case e.Deleted == nil:
		return nil
	case e.Deleted.Seq == 0:
		return chat.Errorf(chat.BadRequest, "a stub does not say which deletion erased it")
	}
	return checkPlace("seq of the deletion", uint64(e.Deleted.Seq))
}

func checkMark(e *chat.Event) error {
	if e.Target == 0 {
		return chat.Errorf(chat.BadRequest, "an event that changes a message does not say which")
	}
	if e.Type == chat.Reacted && (e.Emoji == "" || len(e.Emoji) > chat.MaxEmoji || !utf8.ValidString(e.Emoji)) {
		return chat.Errorf(chat.BadRequest, "emoji is empty, longer than %d bytes or no UTF-8", chat.MaxEmoji)
	}
	return firstError(checkPlace("target", uint64(e.Target)), checkIDs("by", e.By))
}

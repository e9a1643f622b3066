package api

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// eraseAccount takes a person out of all groups, erases what they wrote, and ends the deletion once its grace is over. All of it may be
// done again.
func (s *Server) eraseAccount(ctx context.Context, user chat.UserID) error {
	if err := s.stored(s.store.BeginDeletion(ctx, user)); err != nil { // perhaps it was cut off
		return err
	}
	u, err := s.account(ctx, user)
	if errors.Is(err, errNoUser) { // it has ended a moment ago
		return nil
	}
	if err != nil {
		return err
	}
	began := time.Now()
	over := began.Sub(u.Deleted.Time) >= s.deletions.grace
	if _, passed := s.deletions.passed[user]; passed && !over {
		return nil
	}
	if err := s.endSessions(ctx, user, ""); err != nil {
		return err
	}
	chats, err := s.store.EverIn(ctx, user)
	if err := s.stored(err); err != nil {
		return err
	}
	for _, id := range chats {
		if err := s.eraseFrom(ctx, id, user); err != nil {
			return err
		}
	}
	if !over {
		s.deletions.passed[user] = began
		return nil
	}
	if err := s.bus.DeleteKey(ctx, subject.Preferences, string(user)); err != nil {
		return err
	}
	if err := s.stored(s.store.EndDeletion(ctx, user)); err != nil {
		return err
	}
	delete(s.deletions.passed, user)
	s.logger.Info("account deleted", "chats", len(chats))
	return nil
}

// eraseFrom takes a person out of a chat, if it is a group, and erases what they wrote there: first it is made sure that nothing follows,
// then what there is is looked for.
func (s *Server) eraseFrom(ctx context.Context, id chat.ID, user chat.UserID) error {
	if !isDirect(id) {
		// Who was removed before, or never came in, has nothing to leave.
		if _, err := s.log.Append(ctx, id, chat.RemoveMember{By: user, User: user}); err != nil && !chat.Is(err, chat.NotFound) {
			return err
		}
	} else if _, err := s.log.Append(ctx, id, chat.EraseSender{User: user}); err != nil && !chat.Is(err, chat.NotFound) {
		return err
	}
	snap, err := s.log.Snapshot(ctx, id)
	if chat.Is(err, chat.NotFound) { // it was never made
		return nil
	}
	if err != nil {
		return err
	}
	if err := s.awaitStored(ctx, id, snap.Head.Seq); err != nil {
		return err
	}
	w := &eraser{s: s, chat: id, user: user}
	if g, gone := snap.State.GoneAt(user); gone {
		w.erasure = chat.Erasure{Seq: g.Seq, By: user, At: g.At}
	}
	for after := chat.Seq(0); ; {
		sent, err := s.store.SentSeqs(ctx, id, user, after, sentAtOnce)
		if err := s.stored(err); err != nil {
			return err
		}
		for rest := sent; len(rest) > 0; {
			n := run(rest)
			if err := w.erase(ctx, rest[0], rest[n-1]); err != nil {
				return err
			}
			after, rest = rest[n-1], rest[n:]
		}
		if len(sent) < sentAtOnce {
			return nil
		}
	}
}

const (
	// sentAtOnce is how many messages of a person are listed at once.
	sentAtOnce = 10_000
	// near is how far apart two messages of a person may be to be read together with what lies between them.
	near = 16
)

// run is how many of the first messages are read together: those near to each other that fit a page.
func run(seqs []chat.Seq) int {
	n := 1
	for n < len(seqs) && seqs[n]-seqs[n-1] <= near && seqs[n]-seqs[0] < chat.MaxPage {
		n++
	}
	return n
}

// storedTime bounds the wait for the persister, storedPoll is how often it is looked how far it is.
const (
	storedTime = 30 * time.Second
	storedPoll = 50 * time.Millisecond
)

// awaitStored waits until the store has a chat up to seq.
func (s *Server) awaitStored(ctx context.Context, id chat.ID, seq chat.Seq) error {
	ctx, cancel := context.WithTimeout(ctx, storedTime)
	defer cancel()
	for {
		rec, err := s.store.Record(ctx, id)
		if err := s.stored(err); err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if err == nil && rec.Seq >= seq {
			return nil
		}
		if bus.Sleep(ctx, storedPoll) != nil {
			return unavailable("the history is not written yet", fmt.Errorf("api: the store is behind event %d of a chat", seq))
		}
	}
}

// eraser erases what one person wrote in one chat.
type eraser struct {
	s    *Server
	chat chat.ID
	user chat.UserID
	// erasure is the event by which the texts go; zero before it was appended.
	erasure chat.Erasure
}

// erase erases the messages of the person from one seq to another, both included, and all edits of them.
func (w *eraser) erase(ctx context.Context, from, to chat.Seq) error {
	found, err := w.read(ctx, from, to, func(e *chat.Event) bool { return e.Type == chat.Message && e.Sender == w.user })
	if err != nil {
		return err
	}
	marks, err := w.s.store.Marks(ctx, w.chat, from, to)
	if err := w.s.stored(err); err != nil {
		return err
	}
	for _, m := range marks {
		if m.Type != chat.Edited || m.By != w.user {
			continue
		}
		edits, err := w.read(ctx, m.Seq, m.Seq, func(e *chat.Event) bool { return e.Type == chat.Edited })
		if err != nil {
			return err
		}
		found = append(found, edits...)
	}
	if len(found) == 0 {
		return nil
	}
	if w.erasure.Seq == 0 {
		r, err := w.s.log.Append(ctx, w.chat, chat.EraseSender{User: w.user})
		if err != nil {
			return err
		}
		w.erasure = chat.Erasure{Seq: r.Seq, By: w.user, At: r.SentAt}
	}
	stubs, seqs := make([]chat.Event, len(found)), make([]chat.Seq, len(found))
	b := store.Batch{Erased: make([]store.Entry, len(found))}
	for i, e := range found {
		stubs[i], seqs[i] = e.Stub(w.erasure), e.Seq
		b.Erased[i] = store.Entry{Event: stubs[i], Body: wire.Encode(stubs[i])}
	}
	if err := w.s.log.PutStubs(ctx, w.chat, stubs); err != nil {
		return err
	}
	if err := w.s.stored(w.s.store.Write(ctx, b)); err != nil {
		return err
	}
	return w.s.log.Scrub(ctx, w.chat, seqs...)
}

// read returns the events from one seq to another, both included, that are wanted and whose texts are not erased yet.
func (w *eraser) read(ctx context.Context, from, to chat.Seq, wanted func(*chat.Event) bool) ([]chat.Event, error) {
	var out []chat.Event
	for from <= to {
		page, err := w.s.log.Page(ctx, w.chat, store.Range{After: from - 1, Before: to + 1, Forward: true, Limit: chat.MaxPage, MaxBytes: pageBytes})
		if err != nil {
			return nil, err
		}
		if len(page.Items) == 0 {
			return nil, fmt.Errorf("api: erasing: event %d of a chat is missing", from)
		}
		for _, it := range page.Items {
			e, err := wire.DecodeEvent(it.Body)
			if err != nil {
				return nil, err
			}
			if from = it.Seq + 1; e.Deleted == nil && wanted(&e) {
				e.Text = "" // no stub has it, and all of them may be much
				out = append(out, e)
			}
		}
	}
	return out, nil
}

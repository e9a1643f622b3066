package api

import (
	"bytes"
	"context"
	"errors"
	"slices"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/chatlog"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// maxMentions is up to how many unread messages that mention a person are counted.
const maxMentions = 100

// place of a person in a chat: how far they have read, how many messages of others follow, and how many of those mention them.
type progress struct {
	read     chat.Seq
	unread   uint64
	mentions int
}

// standing returns how far a person is in a chat. Own messages count as read; those which the store does not have yet are looked for in
// the log.
func (s *Server) standing(ctx context.Context, user chat.UserID, snap chatlog.Snapshot) (progress, error) {
	id, head := snap.State.Chat, snap.Head
	// The record first: the cursor in the store then has every own message up to it.
	rec, err := s.store.Record(ctx, id)
	if err := s.stored(err); err != nil && !errors.Is(err, store.ErrNotFound) {
		return progress{}, err
	}
	at, err := s.log.Cursor(ctx, id, user)
	if err != nil {
		return progress{}, err
	}
	var m mentioned
	if max(rec.Seq, at.Seq) < head.Seq {
		if at, err = s.ownAfter(ctx, user, snap, rec, at, &m); err != nil {
			return progress{}, err
		}
	}
	if at.Seq >= head.Seq { // the head may have moved on meanwhile
		return progress{read: head.Seq}, nil
	}
	out := progress{read: at.Seq, unread: head.N - at.N}
	if out.unread > 0 {
		e, err := s.lastErasure(ctx, snap, rec)
		if err != nil {
			return out, err
		}
		if e != nil {
			m.add(e, user)
		}
		if out.mentions, err = s.mentionsAfter(ctx, user, id, at.Seq, m); err != nil {
			return out, err
		}
	}
	return out, nil
}

// mentionsAfter counts the messages above after that mention a person: those in the store, which is read last, and those of m.
func (s *Server) mentionsAfter(ctx context.Context, user chat.UserID, id chat.ID, after chat.Seq, m mentioned) (int, error) {
	seqs, err := s.store.Mentions(ctx, user, id, after, maxMentions+len(m.erased))
	if err := s.stored(err); err != nil {
		return 0, err
	}
	for _, seq := range m.by {
		if seq > after {
			seqs = append(seqs, seq)
		}
	}
	slices.Sort(seqs)
	seqs = slices.DeleteFunc(slices.Compact(seqs), func(seq chat.Seq) bool { return slices.Contains(m.erased, seq) })
	return min(len(seqs), maxMentions), nil
}

// mentioned are the messages in the log that mention a person, and those that were erased, as far as they are behind the store.
type mentioned struct{ by, erased []chat.Seq }

// add takes an event.
func (m *mentioned) add(e *chat.Event, user chat.UserID) {
	target := e.Seq
	if e.Type != chat.Message {
		target = e.Target
	}
	switch {
	case e.Type == chat.Deleted || e.Deleted != nil:
		m.erased = append(m.erased, target)
	case len(m.by) <= maxMentions && slices.Contains(e.Mentions, user):
		m.by = append(m.by, target)
	}
}

// tailPage bounds what is read of a tail at once.
const (
	tailPage  = 4096
	tailBytes = 16 << 20
)

var (
	mentionKey     = []byte(`"mentions":[`) // stands so in no text: its quotes are escaped
	deletionBegins = []byte(`{"type":"deletion",`)
	stubKey        = []byte(`"deleted":{`)
)

// ownAfter returns the later of a cursor and the last message of its person between record and head, and notes in m who is mentioned.
func (s *Server) ownAfter(ctx context.Context, user chat.UserID, snap chatlog.Snapshot, rec store.Record, at store.Cursor, m *mentioned) (store.Cursor, error) {
	own := []byte(`"sender":"` + string(user) + `"`) // stands so in no text: its quotes are escaped
	done := max(rec.Seq, at.Seq)
	for done < snap.Head.Seq {
		items, err := s.log.After(ctx, snap.State.Chat, done, rec.Stream, min(int(snap.Head.Seq-done), tailPage), tailBytes)
		if err != nil {
			return at, err
		}
		if len(items) == 0 || items[0].Seq != done+1 {
			// The store has it by now, or the log has forgotten it: then the store's cursor says it all.
			now, err := s.log.Cursor(ctx, snap.State.Chat, user)
			if err == nil && now.Seq > at.Seq {
				at = now
			}
			return at, err
		}
		for _, it := range items {
			done = it.Seq
			sent := bytes.Contains(it.Body, own)
			if !sent && !bytes.Contains(it.Body, mentionKey) && !bytes.Contains(it.Body, stubKey) && !bytes.HasPrefix(it.Body, deletionBegins) {
				continue
			}
			e, err := wire.DecodeEvent(it.Body)
			if err != nil {
				return at, err
			}
			if m.add(&e, user); e.Type == chat.Message && e.Sender == user {
				at.Seq, at.N = e.Seq, e.N
			}
		}
	}
	return at, nil
}

package pebble

import (
	"context"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/trace"
)

// Write keeps the batch, all of it or nothing. It fails with chat.BadRequest where an entry has no place in the store,
// however often it is tried: an id or a seq is missing.
func (s *Store) Write(ctx context.Context, b store.Batch) (err error) {
	_, span := trace.Child(ctx, "store write", trace.Client)
	defer func() { span.End(err) }()
	if err := s.enter(ctx); err != nil {
		return fail("write", err)
	}
	defer s.leave()
	if err := checkBatch(&b); err != nil {
		return fail("write", err)
	}
	var set lockSet
	for _, entries := range [][]store.Entry{b.Events, b.Erased} {
		for i := range entries {
			s.stripes.add(&set, string(entries[i].Event.Chat))
		}
	}
	for _, st := range b.States {
		s.stripes.add(&set, string(st.Chat))
	}
	for i := range b.Cursors {
		s.stripes.add(&set, string(b.Cursors[i].Chat))
	}
	return fail("write", s.update(set, func(x *tx) error {
		for _, entries := range [][]store.Entry{b.Events, b.Erased} {
			for i := range entries {
				if err := x.event(&entries[i]); err != nil {
					return err
				}
			}
		}
		for _, st := range b.States {
			if err := x.state(st); err != nil {
				return err
			}
		}
		for i := range b.Cursors {
			c := &b.Cursors[i]
			if err := x.advance(*c); err != nil {
				return err
			}
		}
		return nil
	}))
}

// Link puts the chat into the index of each person's chats ahead of the event at seq.
func (s *Store) Link(ctx context.Context, id chat.ID, seq chat.Seq, users ...chat.UserID) error {
	if err := s.enter(ctx); err != nil {
		return fail("link", err)
	}
	defer s.leave()
	if err := firstError(checkIDs("chat", id), checkIDs("user", users...)); err != nil {
		return fail("link", err)
	}
	var set lockSet
	s.stripes.add(&set, string(id))
	return fail("link", s.update(set, func(x *tx) error {
		for _, u := range users {
			if err := x.link(u, id, seq, true); err != nil {
				return err
			}
		}
		return nil
	}))
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func checkBatch(b *store.Batch) error {
	for i := range b.Events {
		if err := checkEvent(&b.Events[i].Event); err != nil {
			return err
		}
	}
	for i := range b.Erased {
		e := &b.Erased[i].Event
		if e.Deleted == nil {
			return chat.Errorf(chat.BadRequest, "a stub does not say which deletion erased it")
		}
		if err := checkEvent(e); err != nil {
			return err
		}
	}
	for _, st := range b.States {
		if st == nil || !st.Exists() {
			return chat.Errorf(chat.BadRequest, "a state without seq")
		}
		if err := checkIDs("chat", st.Chat); err != nil {
			return err
		}
	}
	for i := range b.Cursors {
		if err := firstError(checkIDs("chat", b.Cursors[i].Chat), checkIDs("user", b.Cursors[i].User)); err != nil {
			return err
		}
	}
	return nil
}

// event keeps one event, or the stub of one, and all that follows from it.
func (x *tx) event(en *store.Entry) error {
	e := &en.Event
	isNew, err := x.head(en)
	if err != nil {
		return err
	}
	key := eventKey(e.Chat, e.Seq)
	if e.Deleted != nil {
		return x.erase(en, key, isNew)
	}
	if !isNew {
		// Where the event is there already, or its stub, all that follows is there too, because they were written together.
		there, err := x.get(key)
		if err != nil || there != nil {
			return err
		}
	}
	x.set(key, bodyOf(en))
	return x.follow(e)
}

// bodyOf is never nil, which would be a deletion.
func bodyOf(en *store.Entry) []byte {
	if en.Body == nil {
		return []byte{}
	}
	return en.Body
}

// head moves the head of a chat forward. It tells whether the event is certainly new: nothing stands above the head.
func (x *tx) head(en *store.Entry) (isNew bool, err error) {
	e := &en.Event
	key := headKey(e.Chat)
	v, err := x.get(key)
	if err != nil {
		return false, err
	}
	var h head
	if v != nil {
		if h, err = decodeHead(v); err != nil {
			return false, err
		}
	}
	// A stub may not know where the event stands in the stream.
	if e.Seq > h.seq || e.Seq == h.seq && h.stream == 0 {
		x.set(key, head{seq: e.Seq, n: e.N, stream: en.Stream, at: e.Time()}.encode())
	}
	return e.Seq > h.seq, nil
}

// follow keeps what follows from an event that is new.
func (x *tx) follow(e *chat.Event) error {
	switch e.Type {
	case chat.Message:
		if err := x.found(e); err != nil {
			return err
		}
		if err := x.mention(e, e.Seq); err != nil {
			return err
		}
		return x.advance(store.Cursor{Chat: e.Chat, User: e.Sender, Seq: e.Seq, N: e.N})
	case chat.Edited:
		x.set(editKey(e.Chat, e.Target, e.Seq), encodeEdit(e))
		return x.mention(e, e.Target)
	case chat.Reacted:
		return x.reaction(e)
	}
	switch e.Change {
	case chat.Created:
		for _, m := range e.Members {
			if err := x.link(m.UserID, e.Chat, e.Seq, true); err != nil {
				return err
			}
		}
	case chat.MemberAdded:
		return x.link(e.User, e.Chat, e.Seq, true)
	case chat.MemberRemoved:
		return x.link(e.User, e.Chat, e.Seq, false)
	}
	return nil
}

// found makes a message findable. A client id stands once in a chat; if it ever stood twice, the first place counts,
// whichever comes first here.
func (x *tx) found(e *chat.Event) error {
	key := foundKey(e.Chat, e.Sender, e.ClientID)
	v, err := x.get(key)
	if err != nil {
		return err
	}
	if v != nil {
		if old, err := decodeFound(v); err != nil || old.Seq <= e.Seq {
			return err
		}
	}
	x.set(key, encodeFound(store.Found{Seq: e.Seq, SentAt: e.Time()}))
	return nil
}

func (x *tx) state(st *chat.State) error {
	key := stateKey(st.Chat)
	v, err := x.get(key)
	if err != nil {
		return err
	}
	if v != nil {
		if seq, _, err := decodeStateSeq(v); err != nil || seq >= st.Seq {
			return err
		}
	}
	v, err = encodeState(st)
	if err != nil {
		return err
	}
	x.set(key, v)
	return nil
}

// advance moves a cursor forward.
func (x *tx) advance(c store.Cursor) error {
	return x.membership(c.User, c.Chat, func(m *membership) bool {
		read, delivered := uint64(c.Seq) > m.seq, uint64(c.Delivered) > max(m.seq, m.delivered)
		if read {
			m.seq, m.n = uint64(c.Seq), c.N
		}
		if delivered {
			m.delivered = uint64(c.Delivered)
		}
		return read || delivered
	})
}

// link moves the link of a chat and a person forward.
func (x *tx) link(user chat.UserID, id chat.ID, seq chat.Seq, in bool) error {
	return x.membership(user, id, func(m *membership) bool {
		l := linkAt(seq, in)
		if l <= m.link {
			return false
		}
		m.link = l
		return true
	})
}

// membership replaces a row where change says that it changed.
func (x *tx) membership(user chat.UserID, id chat.ID, change func(*membership) bool) error {
	key := membershipKey(user, id)
	v, err := x.get(key)
	if err != nil {
		return err
	}
	var m membership
	if v != nil {
		if m, err = decodeMembership(v); err != nil {
			return err
		}
	}
	if change(&m) {
		x.set(key, m.encode())
	}
	return nil
}

package pebble

import (
	"context"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/store"
)

// Write keeps the batch, all of it or nothing. It fails with chat.BadRequest where an entry has no place in the store,
// however often it is tried: an id or a seq is missing.
func (s *Store) Write(ctx context.Context, b store.Batch) error {
	if err := s.enter(ctx); err != nil {
		return fail("write", err)
	}
	defer s.leave()
	if err := checkBatch(&b); err != nil {
		return fail("write", err)
	}
	var set lockSet
	for i := range b.Events {
		s.stripes.add(&set, string(b.Events[i].Event.Chat))
	}
	for _, st := range b.States {
		s.stripes.add(&set, string(st.Chat))
	}
	for i := range b.Cursors {
		s.stripes.add(&set, string(b.Cursors[i].Chat))
	}
	return fail("write", s.update(set, func(x *tx) error {
		for i := range b.Events {
			if err := x.event(&b.Events[i]); err != nil {
				return err
			}
		}
		for _, st := range b.States {
			if err := x.state(st); err != nil {
				return err
			}
		}
		for i := range b.Cursors {
			c := &b.Cursors[i]
			if err := x.advance(c.User, c.Chat, c.Seq, c.N); err != nil {
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
		e := &b.Events[i].Event
		if e.Seq == 0 {
			return chat.Errorf(chat.BadRequest, "an event without seq")
		}
		err := checkIDs("chat", e.Chat)
		switch {
		case err != nil:
		case e.Type == chat.Message:
			err = firstError(checkIDs("sender", e.Sender), checkIDs("client_id", e.ClientID))
		case e.Change == chat.MemberAdded || e.Change == chat.MemberRemoved:
			err = checkIDs("user", e.User)
		case e.Change == chat.Created:
			for _, m := range e.Members {
				err = firstError(err, checkIDs("user", m.UserID))
			}
		}
		if err != nil {
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

// event keeps one event and all that follows from it. Where the event is there already, all that follows is there too,
// because they were written together.
func (x *tx) event(en *store.Entry) error {
	e := &en.Event
	hk := headKey(e.Chat)
	v, err := x.get(hk)
	if err != nil {
		return err
	}
	var h head
	if v != nil {
		if h, err = decodeHead(v); err != nil {
			return err
		}
	}
	key := eventKey(e.Chat, e.Seq)
	if e.Seq > h.seq { // so it is new: nothing stands above the head
		x.set(hk, head{seq: e.Seq, n: e.N, stream: en.Stream, at: e.Time()}.encode())
	} else {
		there, err := x.get(key)
		if err != nil || there != nil {
			return err
		}
	}
	body := en.Body
	if body == nil {
		body = []byte{}
	}
	x.set(key, body)
	if e.Type == chat.Message {
		if err := x.found(e); err != nil {
			return err
		}
		return x.advance(e.Sender, e.Chat, e.Seq, e.N)
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
func (x *tx) advance(user chat.UserID, id chat.ID, seq chat.Seq, n uint64) error {
	return x.membership(user, id, func(m *membership) bool {
		if uint64(seq) <= m.seq {
			return false
		}
		m.seq, m.n = uint64(seq), n
		return true
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

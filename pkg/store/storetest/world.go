package storetest

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/store"
)

// world is what happened in some chats between some people: whole logs, of which a test writes what it likes.
type world struct {
	chats  []chat.ID
	users  []chat.UserID
	logs   map[chat.ID][]store.Entry
	states map[chat.ID][]*chat.State // after each event that makes one
	stubs  map[chat.ID][]store.Entry // of what was erased, in the order of the deletions
}

func newWorld(chats, users int) *world {
	w := &world{logs: map[chat.ID][]store.Entry{}, states: map[chat.ID][]*chat.State{}, stubs: map[chat.ID][]store.Entry{}}
	for range chats {
		w.chats = append(w.chats, newChat())
	}
	for range users {
		w.users = append(w.users, newUser())
	}
	return w
}

// epoch is when every world begins; each event is a little later than the one before it.
var epoch = time.Date(2031, 5, 17, 23, 59, 58, 123_456_000, time.UTC)

func timeAt(seq chat.Seq) *chat.Time {
	at := chat.TimeOf(epoch.Add(time.Duration(seq) * 1234 * time.Millisecond))
	return &at
}

// streamAt is where an event stands in its partition's stream: other chats are in it too.
func streamAt(seq chat.Seq) uint64 { return 1<<33 + uint64(seq)*7 }

// entry encodes an event as whoever appends it does.
func entry(e chat.Event) store.Entry {
	body, err := json.Marshal(e)
	if err != nil {
		panic(err) // an event of these tests always has an encoding
	}
	return store.Entry{Event: e, Body: body, Stream: streamAt(e.Seq)}
}

// message is an event with a client id that was never used before.
func message(id chat.ID, seq chat.Seq, n uint64, sender chat.UserID) store.Entry {
	return entry(chat.Event{
		Type: chat.Message, Chat: id, Seq: seq, N: n, Sender: sender, ClientID: newClient(),
		Text: fmt.Sprintf("text %d", seq), SentAt: timeAt(seq),
	})
}

// change is an event of which fill sets what it is.
func change(id chat.ID, seq chat.Seq, n uint64, fill func(*chat.Event)) store.Entry {
	e := chat.Event{Type: chat.Changed, Chat: id, Seq: seq, N: n, At: timeAt(seq)}
	fill(&e)
	return entry(e)
}

func created(id chat.ID, members ...chat.UserID) store.Entry {
	return change(id, 1, 0, func(e *chat.Event) {
		title := "title"
		e.Change, e.By, e.Kind, e.Title = chat.Created, members[0], chat.Group, &title
		for _, u := range members {
			e.Members = append(e.Members, chat.Member{UserID: u, Role: chat.Plain})
		}
	})
}

func added(id chat.ID, seq chat.Seq, user chat.UserID) store.Entry {
	return change(id, seq, 0, func(e *chat.Event) { e.Change, e.User, e.By, e.Role = chat.MemberAdded, user, user, chat.Plain })
}

func removed(id chat.ID, seq chat.Seq, user chat.UserID) store.Entry {
	return change(id, seq, 0, func(e *chat.Event) { e.Change, e.User, e.By = chat.MemberRemoved, user, user })
}

// edited is an edit of a message; N is set by whoever knows it.
func edited(id chat.ID, seq, target chat.Seq, by chat.UserID, mentions ...chat.UserID) store.Entry {
	return entry(chat.Event{Type: chat.Edited, Chat: id, Seq: seq, Target: target, By: by, Text: fmt.Sprintf("edit %d", seq),
		Mentions: mentions, At: timeAt(seq)})
}

func reacted(id chat.ID, seq, target chat.Seq, by chat.UserID, emoji string, removed bool) store.Entry {
	return entry(chat.Event{Type: chat.Reacted, Chat: id, Seq: seq, Target: target, By: by, Emoji: emoji, Removed: removed, At: timeAt(seq)})
}

func deletion(id chat.ID, seq, target chat.Seq, by chat.UserID) store.Entry {
	return entry(chat.Event{Type: chat.Deleted, Chat: id, Seq: seq, Target: target, By: by, At: timeAt(seq)})
}

// stub is what stands in place of an event that was erased by the deletion at seq.
func stub(e store.Entry, seq chat.Seq, by chat.UserID) store.Entry {
	s := entry(e.Event.Stub(chat.Erasure{Seq: seq, By: by, At: *timeAt(seq)}))
	s.Stream = e.Stream
	return s
}

// The things that can happen next in a chat.
const (
	sends = iota
	comesOrGoes
	renames
	edits
	reacts
	erases
	things
)

// happen appends to the log of a chat what user number u does. The first thing is always that the first two people make
// the chat.
func (w *world) happen(id chat.ID, what, u int) {
	seq := chat.Seq(len(w.logs[id]) + 1)
	user := w.users[u]
	n, state := uint64(0), &chat.State{}
	if seq > 1 {
		n, state = w.logs[id][seq-2].Event.N, w.states[id][len(w.states[id])-1]
	}
	var e store.Entry
	switch _, member := state.Member(user); {
	case seq == 1:
		e = created(id, w.users[0], w.users[1])
	case what == sends || what >= edits && n == 0:
		e = message(id, seq, n+1, user)
		e.Event.Mentions = w.mentions(seq, u)
	case what == edits:
		e = edited(id, seq, w.target(id, seq, u), user, w.mentions(seq, u+1)...)
	case what == reacts:
		e = reacted(id, seq, w.target(id, seq, u), user, []string{"👍", "❤️"}[seq%2], seq%5 < 2)
	case what == erases:
		e = w.erase(id, seq, w.target(id, seq, u), user)
	case what == renames:
		title := fmt.Sprintf("title %d", seq)
		e = change(id, seq, n, func(e *chat.Event) { e.Change, e.By, e.Title = chat.TitleChanged, user, &title })
	case member:
		e = removed(id, seq, user)
	default:
		e = added(id, seq, user)
	}
	e.Event.N = max(n, e.Event.N)
	e = entry(e.Event)
	w.logs[id] = append(w.logs[id], e)
	next, err := state.Apply(&e.Event)
	if err != nil {
		panic(err) // the log of a world is always sound
	}
	if next != state {
		w.states[id] = append(w.states[id], next)
	}
}

// mentions are those of an event at seq: sometimes nobody, sometimes one person, sometimes all.
func (w *world) mentions(seq chat.Seq, u int) []chat.UserID {
	switch seq % 4 {
	case 1:
		return w.users[(u+int(seq))%len(w.users):][:1]
	case 2:
		return w.users
	}
	return nil
}

// target is one of the messages of a chat.
func (w *world) target(id chat.ID, seq chat.Seq, u int) chat.Seq {
	var all []chat.Seq
	for _, e := range w.logs[id] {
		if e.Event.Type == chat.Message {
			all = append(all, e.Event.Seq)
		}
	}
	return all[(int(seq)*5+u)%len(all)]
}

// erase is the deletion of a message. The stubs of it and of its edits are put into the world.
func (w *world) erase(id chat.ID, seq, target chat.Seq, by chat.UserID) store.Entry {
	for _, e := range w.logs[id] {
		if e.Event.Seq == target || e.Event.Type == chat.Edited && e.Event.Target == target {
			w.stubs[id] = append(w.stubs[id], stub(e, seq, by))
		}
	}
	return deletion(id, seq, target, by)
}

// history lets n things happen in each chat, always the same ones, and returns all of it in one batch.
func (w *world) history(n int) store.Batch {
	var b store.Batch
	for c, id := range w.chats {
		for i := range n {
			what := sends
			switch {
			case i%5 == 3:
				what = 1 + i%2
			case i%7 == 5:
				what = edits + i/7%3
			}
			w.happen(id, what, (i+c)%len(w.users))
		}
		b.Events = append(b.Events, w.logs[id]...)
		b.Erased = append(b.Erased, w.stubs[id]...)
		b.States = append(b.States, w.states[id]...)
		b.Cursors = append(b.Cursors, w.cursor(id, 0, n/2), w.cursor(id, 1, n))
	}
	return b
}

// cursor says that user number u has read everything up to seq.
func (w *world) cursor(id chat.ID, u, seq int) store.Cursor {
	return store.Cursor{Chat: id, User: w.users[u], Seq: chat.Seq(seq), N: w.logs[id][seq-1].Event.N}
}

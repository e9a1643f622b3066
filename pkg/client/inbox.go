package client

import (
	"maps"
	"sync"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

const (
	// maxHeld is how many early events of a chat wait for those before them; further ones come again with the sync.
	maxHeld = 64
	// maxPast is how much of the past of a chat that the device has just met is played.
	maxPast = 200
	// maxFruitless is how often a sync may bring nothing although there should be something, before the hole counts as
	// one that will not be filled: events from outside of one's membership.
	maxFruitless = 3
	// maxHiddenWait is how many messages of a chat that the caller has hidden wait; of more the last are told.
	maxHiddenWait = 1000
)

// feed is the order of one chat. Its fields are guarded by the inbox.
type feed struct {
	// cursor is the seq of the last event in the queue, taken that of the last which Next returned.
	cursor, taken chat.Seq
	// head is the greatest seq that is known to exist.
	head chat.Seq
	// held are events ahead of the cursor.
	held      map[chat.Seq]*chat.Event
	fruitless int
	// gone says that we are no member as far as we know. The feed stays for its cursor, so that coming back to the chat
	// plays nothing twice.
	gone bool
}

// inbox puts what the server says into the order that Next promises. It does no I/O. What is missing it lists as work for
// the filler. It is bounded: at most room events wait, and of each other kind of update only the last for its key; an
// event without room is a hole to be filled later.
type inbox struct {
	me   chat.UserID
	room int

	// arrived has a token after something was queued, work after something is to be filled.
	arrived, work chan struct{}

	// mu guards the following fields. It is held for moments only and no other lock is taken under it.
	mu     sync.Mutex
	feeds  map[chat.ID]*feed
	queue  []*Update // those of events have key zero
	events int       // in queue
	latest map[key]*Update
	// dirty are the chats to sync. compare says that the list of chats is to be compared with the feeds.
	dirty   map[chat.ID]struct{}
	compare bool
	// settled says that the list was compared once: a chat that appears from now on is new to the device.
	settled bool
}

func newInbox(me chat.UserID, room int, cursors map[chat.ID]chat.Seq) *inbox {
	b := &inbox{me: me, room: max(room, 1), arrived: make(chan struct{}, 1), work: make(chan struct{}, 1),
		feeds: map[chat.ID]*feed{}, latest: map[key]*Update{}, dirty: map[chat.ID]struct{}{}}
	for id, seq := range cursors {
		b.feeds[id] = newFeed(seq)
	}
	return b
}

func newFeed(at chat.Seq) *feed {
	return &feed{cursor: at, taken: at, head: at, held: map[chat.Seq]*chat.Event{}}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// put queues what is no event.
func (b *inbox) put(u Update) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.putLocked(u)
}

func (b *inbox) putLocked(u Update) {
	k := u.key()
	if waits := b.latest[k]; waits != nil {
		switch {
		case u.Skipped != nil:
			u.Skipped.From = min(u.Skipped.From, waits.Skipped.From)
		case u.Hidden != nil:
			all := append(waits.Hidden.Seqs, u.Hidden.Seqs...)
			u.Hidden.Seqs = all[max(len(all)-maxHiddenWait, 0):]
		}
		*waits = u
		return
	}
	b.latest[k] = &u
	b.queue = append(b.queue, &u)
	signal(b.arrived)
}

// admit queues the event if there is room and moves the cursor to it.
func (b *inbox) admit(f *feed, e *chat.Event) bool {
	if b.events >= b.room {
		return false
	}
	b.queue = append(b.queue, &Update{Event: e})
	b.events++
	f.cursor, f.fruitless = e.Seq, 0
	delete(f.held, e.Seq)
	signal(b.arrived)
	f.gone = e.Change == chat.MemberRemoved && e.User == b.me
	return true
}

// live takes an event as the server pushed it, in whatever order.
func (b *inbox) live(e *chat.Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f := b.feeds[e.Chat]
	if f == nil {
		switch {
		case !b.settled, e.Change == chat.Created, e.Change == chat.MemberAdded && e.User == b.me:
			f = newFeed(e.Seq - 1)
			b.feeds[e.Chat] = f
		default:
			f = b.meet(e.Chat, e.Seq)
		}
	}
	f.head = max(f.head, e.Seq)
	switch {
	case e.Seq <= f.cursor: // a double
	case e.Seq == f.cursor+1 && b.admit(f, e):
		b.release(f)
	default:
		if len(f.held) < maxHeld {
			f.held[e.Seq] = e
		}
		f.gone = false
		b.soil(e.Chat)
	}
}

// meet begins the feed of a chat that is new to the device, with up to maxPast events of its past.
func (b *inbox) meet(id chat.ID, head chat.Seq) *feed {
	var from chat.Seq
	if head > maxPast {
		from = head - maxPast
		b.putLocked(Update{Skipped: &Skipped{Chat: id, From: 1, To: from}})
	}
	f := newFeed(from)
	f.head = head
	b.feeds[id] = f
	b.soil(id)
	return f
}

func (b *inbox) soil(id chat.ID) {
	b.dirty[id] = struct{}{}
	signal(b.work)
}

// release admits held events as long as they follow.
func (b *inbox) release(f *feed) {
	for s := range f.held {
		if s <= f.cursor {
			delete(f.held, s)
		}
	}
	for e := f.held[f.cursor+1]; e != nil && b.admit(f, e); e = f.held[f.cursor+1] {
	}
}

// page takes the answer to a sync after the cursor. It is the truth: what lies between two of its events is not ours to see. It
// returns whether the filler should wait before it asks for the chat again.
func (b *inbox) page(id chat.ID, events []chat.Event, more bool) (wait bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f := b.feeds[id]
	if f == nil {
		delete(b.dirty, id)
		return false
	}
	for i := range events {
		e := &events[i]
		f.head = max(f.head, e.Seq)
		if e.Seq > f.cursor && !b.admit(f, e) {
			return false // the chat stays dirty until there is room
		}
	}
	b.release(f)
	switch {
	case more && len(events) > 0:
		return false
	case f.cursor >= f.head:
		delete(b.dirty, id)
		f.fruitless = 0
		return false
	case b.events >= b.room:
		return false
	}
	if f.fruitless++; f.fruitless < maxFruitless {
		return true
	}
	b.giveUp(id, f)
	return false
}

// giveUp counts the hole behind the cursor as one that will not be filled.
func (b *inbox) giveUp(id chat.ID, f *feed) {
	var first *chat.Event
	for _, e := range f.held {
		if first == nil || e.Seq < first.Seq {
			first = e
		}
	}
	if first == nil {
		f.head = f.cursor
		delete(b.dirty, id)
		return
	}
	if b.admit(f, first) {
		b.release(f)
		if f.cursor >= f.head {
			delete(b.dirty, id)
		}
	}
}

// gone says that the server does not show the chat to us any more. Events that came while it did are still delivered.
func (b *inbox) gone(id chat.ID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f := b.feeds[id]
	if f == nil {
		delete(b.dirty, id)
		return
	}
	for len(f.held) > 0 {
		before := f.cursor
		b.giveUp(id, f)
		if f.cursor == before {
			return // no room: the chat stays dirty and comes here again
		}
	}
	delete(b.dirty, id)
	if !f.gone {
		f.gone, f.head = true, f.cursor
		b.putLocked(Update{Left: &Left{Chat: id}})
	}
}

// resync says that something may be missing: in the chat, or anywhere if id is empty.
func (b *inbox) resync(id chat.ID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, known := b.feeds[id]; known {
		b.soil(id)
		return
	}
	b.compare = true
	signal(b.work)
}

// list takes the caller's chats. The first time, chats that the device has no cursor for begin at their present end.
func (b *inbox) list(chats []Chat) {
	b.mu.Lock()
	defer b.mu.Unlock()
	unlisted := maps.Clone(b.feeds)
	for i := range chats {
		c := &chats[i]
		delete(unlisted, c.ID)
		f := b.feeds[c.ID]
		switch {
		case f == nil && b.settled:
			b.meet(c.ID, c.LastSeq)
		case f == nil:
			b.feeds[c.ID] = newFeed(c.LastSeq)
		case c.LastSeq > f.cursor:
			f.gone = false
			f.head = max(f.head, c.LastSeq)
			b.soil(c.ID)
		}
	}
	for id, f := range unlisted { // we were removed, or it moved between two pages of the list
		if !f.gone {
			b.soil(id)
		}
	}
	b.settled, b.compare = true, false
}

// task is what the filler should do next: compare the list of chats, or sync a chat.
type task struct {
	compare bool
	chat    chat.ID
	after   chat.Seq
	limit   int
}

func (b *inbox) next() (task, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.compare {
		return task{compare: true}, true
	}
	free := b.room - b.events
	if free <= 0 || free < b.room/4 && len(b.queue) > 0 { // worth a request only when a fair part of the room is free
		return task{}, false
	}
	for id := range b.dirty {
		if f := b.feeds[id]; f != nil && !f.gone {
			return task{chat: id, after: f.cursor, limit: min(free, chat.MaxPage)}, true
		}
		delete(b.dirty, id)
	}
	return task{}, false
}

// take returns the next update if there is one.
func (b *inbox) take() (Update, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.queue) == 0 {
		return Update{}, false
	}
	u := b.queue[0]
	b.queue[0] = nil
	b.queue = b.queue[1:]
	if len(b.queue) > 0 {
		signal(b.arrived)
	}
	if u.Event == nil {
		delete(b.latest, u.key())
		return *u, true
	}
	b.events--
	if f := b.feeds[u.Event.Chat]; f != nil && u.Event.Seq <= f.cursor {
		f.taken = max(f.taken, u.Event.Seq)
	}
	if len(b.dirty) > 0 {
		signal(b.work)
	}
	return *u, true
}

// cursors returns where each chat stands: as queued, for the server, or as Next returned, for the caller.
func (b *inbox) cursors(taken bool) map[chat.ID]chat.Seq {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make(map[chat.ID]chat.Seq, len(b.feeds))
	for id, f := range b.feeds {
		if taken {
			out[id] = f.taken
		} else if !f.gone {
			out[id] = f.cursor
		}
	}
	return out
}

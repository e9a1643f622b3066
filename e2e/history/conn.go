package history

import "maps"

// Conn is one connection of one device of a person.
type Conn struct {
	h       *History
	user    string
	device  string // empty if it is not known
	opened  Time
	cursors map[string]uint64
	// welcome is when the server took the connection, negative before that; ended when it was over, negative while it is open.
	welcome, ended Time
	entries        []entry
}

// entry is something that came on a connection: an event, or a note.
type entry struct {
	at    Time
	event *Event
	note  *note
}

// note is what comes seldom: a resync, of every chat if chat is empty; a page; a read cursor of somebody.
type note struct {
	page *Page
	// chat and, for a cursor, user and seq.
	chat, user string
	seq        uint64
}

// Open records a connection that says hello with these cursors, before it is made.
func (h *History) Open(at Time, user string, cursors map[string]uint64) *Conn {
	c := &Conn{h: h, user: user, opened: at, cursors: maps.Clone(cursors), welcome: -1, ended: -1}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.conns = append(h.conns, c)
	return c
}

// On records which device it is of. A device goes on, connection after connection, from the cursors that it had; a chat that a hello
// has no cursor of is one that it knows nothing of any more.
func (c *Conn) On(device string) *Conn {
	c.h.mu.Lock()
	defer c.h.mu.Unlock()
	c.device = device
	return c
}

// Welcomed records that the server took the connection: from now on it delivers what is appended.
func (c *Conn) Welcomed(at Time) {
	c.h.mu.Lock()
	defer c.h.mu.Unlock()
	c.welcome = at
}

// Delivered records an event that came on the connection outside a page.
func (c *Conn) Delivered(at Time, e Event) {
	c.h.mu.Lock()
	defer c.h.mu.Unlock()
	c.entries = append(c.entries, entry{at: at, event: c.h.event(e)})
}

// Resync records that the server told the connection to sync a chat, or all chats if chat is empty.
func (c *Conn) Resync(at Time, chat string) {
	c.note(at, &note{chat: chat})
}

// Cursor records that the server told that user has read chat up to seq.
func (c *Conn) Cursor(at Time, chat, user string, seq uint64) {
	c.note(at, &note{chat: chat, user: user, seq: seq})
}

func (c *Conn) note(at Time, n *note) {
	c.h.mu.Lock()
	defer c.h.mu.Unlock()
	c.entries = append(c.entries, entry{at: at, note: n})
}

// Closed records the end of the connection, whoever ended it. A connection without it was open until the end of the run.
func (c *Conn) Closed(at Time) {
	c.h.mu.Lock()
	defer c.h.mu.Unlock()
	c.ended = at
}

// Page is a page of a chat that somebody was given. A request that was refused or not answered is none.
type Page struct {
	Begin, End Time
	Chat, User string
	// After is the seq behind which the page begins. Newest says that it was asked for without one: then it ends with the last
	// event.
	After   uint64
	Newest  bool
	HasMore bool
	Events  []Event

	events []*Event // Events, once recorded
}

// Page records a page.
func (h *History) Page(p Page) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.page(p)
}

func (h *History) page(p Page) *Page {
	p.events, p.Events = h.all(p.Events), nil
	h.pages = append(h.pages, &p)
	return &p
}

// Page records a page that came on the connection. It closes what a resync before its Begin has left open.
func (c *Conn) Page(p Page) {
	c.h.mu.Lock()
	defer c.h.mu.Unlock()
	c.entries = append(c.entries, entry{at: p.End, note: &note{page: c.h.page(p), chat: p.Chat}})
}

// to is the last seq that the page covers.
func (p *Page) to() uint64 {
	if n := len(p.events); n > 0 {
		return p.events[n-1].Seq
	}
	return p.After
}

package history

import (
	"sync"
	"time"
)

// Time is a moment of the run: the time since its start, by the clock of the recorder.
type Time = time.Duration

// Event is an event of a chat as a client saw it, live, in a page or in the history. Which fields count depends on Type.
type Event struct {
	Chat   string
	Seq, N uint64
	// Type is "message", "edit", "deletion", "reaction" or "chat".
	Type string
	// Sender, ClientID and Text are those of a message.
	Sender, ClientID, Text string
	// ReplyTo and Mentions (ids separated by commas) are those of a message; an edit has a Text and Mentions too.
	ReplyTo  uint64
	Mentions string
	// Target is the message that an edit, a deletion, a reaction or a pin is about. Removed says that the reaction was taken back.
	Target  uint64
	Emoji   string
	Removed bool
	// Erased, by whom and when, are of a message or an edit whose text is gone: the seq of the deletion, zero if there is none.
	Erased   uint64
	ErasedBy string
	ErasedAt int64
	// Change and the rest are those of a change; By is also that of an edit, a deletion and a reaction. Members are the ids of a new
	// chat's members, separated by commas; behind an id may stand = and a role.
	Change, User, By, Role, Title, Members string
	// At is when the server says that it happened, in any unit; it must be the same everywhere.
	At int64
}

// isMessage tells whether the event is a message.
func (e *Event) isMessage() bool { return e.Type == "message" }

// same tells whether two events are the same one, perhaps with another content.
func (e *Event) same(f *Event) bool {
	return e.Type == f.Type && e.Sender == f.Sender && e.ClientID == f.ClientID && e.Change == f.Change && e.User == f.User && e.By == f.By &&
		e.Target == f.Target && e.Emoji == f.Emoji
}

// bare is the event without what a person wrote and without what became of it: as far as a stub and its original agree.
func (e *Event) bare() Event {
	b := *e
	b.Text, b.ReplyTo, b.Mentions, b.Erased, b.ErasedBy, b.ErasedAt = "", 0, "", 0, "", 0
	return b
}

// written tells whether the event holds anything that a deletion takes away.
func (e *Event) written() bool { return e.Text != "" || e.ReplyTo != 0 || e.Mentions != "" }

// root is the message that the text of the event belongs to, zero if it has none: itself, or the one that it edits.
func (e *Event) root() uint64 {
	switch e.Type {
	case "message":
		return e.Seq
	case "edit":
		return e.Target
	}
	return 0
}

// Outcome is what somebody knows of a request.
type Outcome int

// The outcomes. Unknown is the zero value: no answer came, or one that does not tell.
const (
	Unknown Outcome = iota
	Done
	Refused
)

// History is the record of a run. It only grows; its methods may be called by many goroutines.
type History struct {
	start time.Time

	mu        sync.Mutex // guards the following fields and all that they point to
	events    map[Event]*Event
	sends     []*Send
	conns     []*Conn
	pages     []*Page
	changes   []*Change
	marks     []*Mark
	standings []Standing
	rosters   []Roster
	finals    map[string][]*Event
	acts      []*Act
	folds     []*Fold
	shown     []Shown
	pins      []Pins
}

// New returns an empty record whose clock starts now.
func New() *History {
	return &History{start: time.Now(), events: map[Event]*Event{}, finals: map[string][]*Event{}}
}

// Now is the current moment of the record's clock.
func (h *History) Now() Time { return time.Since(h.start) }

// event returns the one copy of e. mu is held.
func (h *History) event(e Event) *Event {
	p := h.events[e]
	if p == nil {
		p = &e
		h.events[e] = p
	}
	return p
}

func (h *History) all(events []Event) []*Event {
	out := make([]*Event, len(events))
	for i, e := range events {
		out[i] = h.event(e)
	}
	return out
}

// Send is a message that somebody tried to send, perhaps several times.
type Send struct {
	h                            *History
	chat, sender, clientID, text string
	replyTo                      uint64
	mentions                     string
	first                        Time
	acks                         []ack
}

type ack struct {
	at  Time
	seq uint64
}

// Send records the first attempt to send a message, before it leaves. Retries with the same client id are the same Send.
func (h *History) Send(at Time, chat, sender, clientID, text string) *Send {
	s := &Send{h: h, chat: chat, sender: sender, clientID: clientID, text: text, first: at}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sends = append(h.sends, s)
	return s
}

// With records, before it leaves, what message it answers and whom it mentions, as ids separated by commas.
func (s *Send) With(replyTo uint64, mentions string) {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	s.replyTo, s.mentions = replyTo, mentions
}

// is tells whether the event has what was sent.
func (s *Send) is(e *Event) bool {
	return e.Text == s.text && e.ReplyTo == s.replyTo && e.Mentions == s.mentions
}

// Acked records an ack of any attempt.
func (s *Send) Acked(at Time, seq uint64) {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	s.acks = append(s.acks, ack{at, seq})
}

// Change is an attempt to add somebody to a chat or to take them out.
type Change struct {
	h          *History
	chat, user string
	add        bool
	begin, end Time
	outcome    Outcome
}

// Change records an attempt to change a membership, before it leaves.
func (h *History) Change(at Time, chat, user string, add bool) *Change {
	c := &Change{h: h, chat: chat, user: user, add: add, begin: at}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.changes = append(h.changes, c)
	return c
}

// Ended records the answer. Without a call the outcome is unknown.
func (c *Change) Ended(at Time, o Outcome) {
	c.h.mu.Lock()
	defer c.h.mu.Unlock()
	c.end, c.outcome = at, o
}

// Roster is a look at who is in a chat.
type Roster struct {
	Begin, End Time
	Chat       string
	Members    []string
}

// Roster records a look at who is in a chat.
func (h *History) Roster(r Roster) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.rosters = append(h.rosters, r)
}

// Mark is an attempt to move a read cursor.
type Mark struct {
	h          *History
	chat, user string
	seq        uint64
	begin, end Time
	outcome    Outcome
	now        uint64
}

// Mark records an attempt of user to move their cursor to seq, before it leaves.
func (h *History) Mark(at Time, chat, user string, seq uint64) *Mark {
	m := &Mark{h: h, chat: chat, user: user, seq: seq, begin: at}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.marks = append(h.marks, m)
	return m
}

// Ended records the answer. now is where the cursor is by the answer, zero if it does not say. Without a call the outcome is
// unknown.
func (m *Mark) Ended(at Time, o Outcome, now uint64) {
	m.h.mu.Lock()
	defer m.h.mu.Unlock()
	m.end, m.outcome, m.now = at, o, now
}

// Standing is what the server told a person about a chat of theirs.
type Standing struct {
	Begin, End               Time
	Chat, User               string
	LastSeq, ReadSeq, Unread uint64
}

// Standing records such an answer.
func (h *History) Standing(s Standing) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.standings = append(h.standings, s)
}

// Final records the whole history of a chat as it is read after the run, in the order in which it came.
func (h *History) Final(chat string, events []Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.finals[chat] = h.all(events)
}

package history

import (
	"fmt"
	"slices"
	"strings"

	"pgregory.net/rapid"
)

// sim is a chat server that does nothing wrong, and clients to whom everything else happens: answers that never come, retries,
// connections that end, catch-ups, resyncs, people who are removed and come back. Requests begin, take effect and are answered at
// different moments, and overlap. A script decides.
type sim struct {
	h      *History
	script []byte
	used   int
	now    Time
	due    []*task
	chats  []*simChat
	people []string
	phones []*phone
	nextID int
}

type task struct {
	at Time
	do func()
}

type simChat struct {
	id      string
	group   bool
	log     []Event
	members map[string]bool
	marked  map[string]uint64 // by marks
	own     map[string]uint64 // by own messages
	sent    map[messageKey]uint64
	owner   string          // while they stay
	gone    map[uint64]bool // messages whose deletion is in the log
	reacted map[Action]uint64
}

// phone is a device, with at most one connection.
type phone struct {
	name, user string
	conn       *Conn
	live       bool
	queue      []queued
	cursors    map[string]uint64
}

// queued is on its way to a phone: an event, a cursor, or else a resync.
type queued struct {
	event  *Event
	cursor func(at Time)
	resync string
}

const (
	catchUp  = 6 // events of a chat after hello
	pageSize = 5
)

func newSim(script []byte) *sim {
	s := &sim{h: New(), script: script, people: []string{"ann", "bob", "cyd", "dan", "eve"}}
	s.found("direct", false, "ann", "bob")
	s.found("group", true, "ann", "bob", "cyd", "dan")
	s.found("small", true, "cyd", "dan")
	for i, u := range []string{"ann", "ann", "bob", "cyd", "dan", "dan", "eve"} {
		s.phones = append(s.phones, &phone{name: fmt.Sprint(u, i), user: u, cursors: map[string]uint64{}})
	}
	return s
}

func (s *sim) found(id string, group bool, members ...string) {
	c := &simChat{id: id, group: group, members: map[string]bool{}, marked: map[string]uint64{}, own: map[string]uint64{}, sent: map[messageKey]uint64{},
		gone: map[uint64]bool{}, reacted: map[Action]uint64{}}
	for _, m := range members {
		c.members[m] = true
	}
	s.chats = append(s.chats, c)
	who := strings.Join(members, ",")
	if group {
		c.owner = members[0]
		who = strings.Replace(who, c.owner, c.owner+"=owner", 1)
	}
	s.append(c, Event{Type: "chat", Change: "created", By: members[0], Members: who})
}

// pick decides between n ways.
func (s *sim) pick(n int) int {
	if s.used == len(s.script) {
		return 0
	}
	s.used++
	return int(s.script[s.used-1]) % n
}

func (s *sim) after(d int, do func()) {
	s.due = append(s.due, &task{s.now + Time(d), do})
}

// tick goes one moment on.
func (s *sim) tick() {
	s.now++
	for {
		i := slices.IndexFunc(s.due, func(t *task) bool { return t.at <= s.now })
		if i < 0 {
			return
		}
		t := s.due[i]
		s.due = slices.Delete(s.due, i, i+1)
		t.do()
	}
}

// run plays the script to its end and reads the histories.
func (s *sim) run() *History {
	for s.used < len(s.script) {
		s.tick()
		s.act()
	}
	for range 20 {
		s.tick()
		for _, p := range s.phones {
			s.flush(p, len(p.queue))
		}
	}
	for _, c := range s.chats {
		s.h.Final(c.id, slices.Clone(c.log))
	}
	return s.h
}

func (s *sim) act() {
	switch s.pick(24) {
	case 0, 1, 2, 3, 4:
		s.send()
	case 5, 6, 7:
		p := s.phones[s.pick(len(s.phones))]
		s.flush(p, 1+s.pick(5))
	case 8, 9:
		s.reconnect(s.phones[s.pick(len(s.phones))])
	case 10:
		s.overflow(s.phones[s.pick(len(s.phones))])
	case 11, 12:
		s.change()
	case 13:
		s.mark()
	case 14:
		s.standing()
	case 16, 17:
		s.edit()
	case 18, 19:
		s.react()
	case 20:
		s.erase()
	case 21:
		s.pin()
	case 22:
		s.fold()
	case 23:
		s.look()
	case 15:
		if s.pick(2) == 0 {
			s.roster()
		} else {
			s.page(nil, s.people[s.pick(len(s.people))], s.chats[s.pick(len(s.chats))], 0, true)
		}
	}
}

// append adds an event and sends it on its way to those who receive it.
func (s *sim) append(c *simChat, e Event) uint64 {
	e.Chat, e.Seq, e.At = c.id, uint64(len(c.log)+1), int64(s.now)
	if len(c.log) > 0 {
		e.N = c.log[len(c.log)-1].N
	}
	if e.Type == "message" {
		e.N++
		c.own[e.Sender] = e.Seq
	}
	if e.Change == "member_added" {
		c.members[e.User] = true
	}
	c.log = append(c.log, e)
	for _, p := range s.phones {
		if p.live && c.members[p.user] {
			p.queue = append(p.queue, queued{event: &e})
		}
	}
	if e.Change == "member_removed" {
		delete(c.members, e.User)
		if c.owner == e.User {
			c.owner = ""
		}
	}
	return e.Seq
}

// send tries a message until it is answered, a few times or for ever not.
func (s *sim) send() {
	user, c := s.people[s.pick(len(s.people))], s.chats[s.pick(len(s.chats))]
	s.nextID++
	key := messageKey{user, fmt.Sprintf("m%d", s.nextID)}
	text := fmt.Sprintf("text %d", s.pick(4))
	rec := s.h.Send(s.now, c.id, user, key.clientID, text)
	reply, mentions := uint64(0), ""
	if s.pick(4) == 0 {
		reply, mentions = s.message(c), user
		rec.With(reply, mentions)
	}
	var try func(left int)
	try = func(left int) {
		how := s.pick(8) // 0: the request is lost, 1: the answer is
		again := func() {
			if left > 0 {
				s.after(1+s.pick(4), func() { try(left - 1) })
			}
		}
		if how == 0 {
			again()
			return
		}
		s.after(1+s.pick(3), func() {
			if !c.members[user] {
				return // refused
			}
			seq, stands := c.sent[key]
			if !stands {
				seq = s.append(c, Event{Type: "message", Sender: user, ClientID: key.clientID, Text: text, ReplyTo: reply, Mentions: mentions})
				c.sent[key] = seq
			}
			if how == 1 {
				again()
				return
			}
			s.after(1+s.pick(3), func() { rec.Acked(s.now, seq) })
		})
	}
	try(s.pick(3))
}

// flush delivers up to n of what is on its way.
func (s *sim) flush(p *phone, n int) {
	for ; n > 0 && len(p.queue) > 0 && p.conn != nil; n-- {
		q := p.queue[0]
		p.queue = p.queue[1:]
		switch {
		case q.event != nil:
			p.conn.Delivered(s.now, *q.event)
			if at, known := p.cursors[q.event.Chat]; !known || q.event.Seq == at+1 {
				p.cursors[q.event.Chat] = q.event.Seq
			}
		case q.cursor != nil:
			q.cursor(s.now)
		default:
			p.conn.Resync(s.now, q.resync)
			for _, c := range s.chats {
				if q.resync == "" || q.resync == c.id {
					s.page(p, p.user, c, p.cursors[c.id], false)
				}
			}
		}
	}
}

// reconnect ends a connection, or makes one.
func (s *sim) reconnect(p *phone) {
	if p.conn != nil {
		p.conn.Closed(s.now)
		p.conn, p.live, p.queue = nil, false, nil
		return
	}
	if s.pick(3) == 0 {
		p.cursors = map[string]uint64{} // the app was installed again
	}
	conn := s.h.Open(s.now, p.user, p.cursors).On(p.name)
	p.conn = conn
	s.after(1+s.pick(3), func() {
		if p.conn != conn {
			return
		}
		conn.Welcomed(s.now)
		p.live = true
		for _, c := range s.chats {
			cursor, ok := p.cursors[c.id]
			switch {
			case !ok:
			case !c.members[p.user]:
				p.queue = append(p.queue, queued{resync: c.id})
			default:
				for i := cursor; i < uint64(len(c.log)) && i < cursor+catchUp; i++ {
					e := c.log[i] // as it is now
					p.queue = append(p.queue, queued{event: &e})
				}
				if cursor+catchUp < uint64(len(c.log)) {
					p.queue = append(p.queue, queued{resync: c.id})
				}
			}
		}
	})
}

// overflow loses what is on its way to a phone, and says so.
func (s *sim) overflow(p *phone) {
	if p.live && len(p.queue) > 0 {
		p.queue = []queued{{}}
	}
}

// page asks for a page, on a connection or without one, and for the next ones of a sync.
func (s *sim) page(p *phone, user string, c *simChat, after uint64, newest bool) {
	pg := Page{Begin: s.now, Chat: c.id, User: user, After: after, Newest: newest}
	var conn *Conn
	if p != nil {
		conn = p.conn
	}
	s.after(1+s.pick(3), func() {
		if !c.members[user] || s.pick(8) == 0 {
			return // refused, or not answered
		}
		n := uint64(len(c.log))
		from, to := min(after, n), min(after+pageSize, n)
		if newest {
			from, to = n-min(n, pageSize), n
		}
		pg.Events, pg.HasMore = slices.Clone(c.log[from:to]), to < n || newest && from > 0
		s.after(1+s.pick(3), func() {
			pg.End = s.now
			switch {
			case conn == nil:
				s.h.Page(pg)
			case p.conn == conn:
				conn.Page(pg)
				p.cursors[c.id] = max(p.cursors[c.id], to)
				if pg.HasMore {
					s.page(p, user, c, to, false)
				}
			}
		})
	})
}

// change adds or removes somebody.
func (s *sim) change() {
	c := s.chats[1+s.pick(2)]
	user, add := s.people[s.pick(len(s.people))], s.pick(2) == 0
	rec := s.h.Change(s.now, c.id, user, add)
	how := s.pick(6) // 0: the request is lost, 1: the answer is
	if how == 0 {
		return
	}
	s.after(1+s.pick(3), func() {
		o := Done
		switch {
		case add && !c.members[user]:
			s.append(c, Event{Type: "chat", Change: "member_added", User: user, By: "ann", Role: "member"})
		case !add && c.members[user]:
			s.append(c, Event{Type: "chat", Change: "member_removed", User: user, By: "ann"})
		case !add:
			o = Refused
		}
		if how > 1 {
			s.after(1+s.pick(3), func() { rec.Ended(s.now, o) })
		}
	})
}

// mark moves a cursor forward, and tells the others.
func (s *sim) mark() {
	user, c := s.people[s.pick(len(s.people))], s.chats[s.pick(len(s.chats))]
	seq := 1 + uint64(s.pick(len(c.log)))
	rec := s.h.Mark(s.now, c.id, user, seq)
	how := s.pick(6)
	if how == 0 {
		return
	}
	s.after(1+s.pick(3), func() {
		now, o := seq, Done
		switch {
		case !c.members[user]:
			now, o = 0, Refused
		case seq <= c.marked[user]:
			now = max(c.marked[user], c.own[user])
		default:
			c.marked[user] = seq
			for _, p := range s.phones {
				if conn := p.conn; p.live && c.members[p.user] {
					p.queue = append(p.queue, queued{cursor: func(at Time) { conn.Cursor(at, c.id, user, seq) }})
				}
			}
		}
		if how > 1 {
			s.after(1+s.pick(3), func() { rec.Ended(s.now, o, now) })
		}
	})
}

func (s *sim) standing() {
	user, c := s.people[s.pick(len(s.people))], s.chats[s.pick(len(s.chats))]
	st := Standing{Begin: s.now, Chat: c.id, User: user}
	s.after(1+s.pick(3), func() {
		if !c.members[user] {
			return
		}
		st.LastSeq, st.ReadSeq = uint64(len(c.log)), max(c.marked[user], c.own[user])
		for _, e := range c.log[st.ReadSeq:] {
			if e.Type == "message" && e.Sender != user {
				st.Unread++
			}
		}
		s.after(1+s.pick(3), func() { st.End = s.now; s.h.Standing(st) })
	})
}

func (s *sim) roster() {
	c := s.chats[s.pick(len(s.chats))]
	r := Roster{Begin: s.now, Chat: c.id}
	s.after(1+s.pick(3), func() {
		for u := range c.members {
			r.Members = append(r.Members, u)
		}
		s.after(1+s.pick(3), func() { r.End = s.now; s.h.Roster(r) })
	})
}

// scripts are what a sim may do.
var scripts = rapid.SliceOfN(rapid.Byte(), 200, 1200)

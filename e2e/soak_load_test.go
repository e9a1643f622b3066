package e2e

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/chatmesh/chatmesh/e2e/history"
	"github.com/chatmesh/chatmesh/e2e/raw"
)

// talk has somebody write and read on a device until load ends; a message that was begun is tried until it is answered or ctx, which
// is longer, ends.
func (d *soakDevice) talk(load, ctx context.Context) {
	mine := d.s.chatsOf(d.p)
	for load.Err() == nil {
		d.s.pause(load, 200*time.Millisecond, 700*time.Millisecond)
		c := mine[d.s.intN(len(mine))]
		switch d.s.intN(12) {
		case 0, 1:
			d.markRead(load, c)
		case 2, 3:
			d.act(load, c)
		default:
			d.send(ctx, c)
		}
	}
}

// send tries a message with one client id until it is acked, or refused because the sender is no member.
func (d *soakDevice) send(ctx context.Context, c *soakChat) {
	id, words := newClientID(), d.s.words()
	rec := d.s.h.Send(d.s.h.Now(), c.id, d.p.id, id, words)
	frame := raw.Object{"type": "send", "chat": c.id, "client_id": id, "text": words}
	if to, ok := d.s.message(c, nil); ok && d.s.intN(8) == 0 {
		frame["reply_to"], frame["mentions"] = to.Seq, []string{c.pool[0].id}
		rec.With(to.Seq, c.pool[0].id)
	}
	tries := d.s.try("a send of " + d.p.id + " to " + c.id)
	defer tries.end()
	for ctx.Err() == nil {
		l, err := d.current(ctx)
		if err != nil {
			break
		}
		tries.add("connected")
		f, err := l.ask(ctx, frame)
		tries.add("%s %s %s %v", f.Type, f.Code, f.Message, err)
		switch {
		case err == nil && f.Type == "ack":
			rec.Acked(d.s.h.Now(), f.Seq)
			return
		case err == nil && f.Code != "unavailable":
			d.s.refused("send", f.Code)
			return
		}
		d.s.pause(ctx, 50*time.Millisecond, 300*time.Millisecond)
	}
	d.s.unanswered.Add(1)
}

// markRead marks a chat as read up to the cursor.
func (d *soakDevice) markRead(ctx context.Context, c *soakChat) {
	seq := d.cursor(c.id)
	if seq == 0 {
		return
	}
	l, err := d.current(ctx)
	if err != nil {
		return
	}
	rec := d.s.h.Mark(d.s.h.Now(), c.id, d.p.id, seq)
	f, err := l.ask(ctx, raw.Object{"type": "read", "chat": c.id, "seq": seq})
	switch {
	case err != nil || f.Code == "unavailable":
	case f.Type == "ack":
		rec.Ended(d.s.h.Now(), history.Done, 0)
	default:
		d.s.refused("read", f.Code)
		rec.Ended(d.s.h.Now(), history.Refused, 0)
	}
}

// tries are the attempts to do one thing, told when it took long.
type tries struct {
	s     *soak
	what  string
	begin history.Time
	log   []string
}

func (s *soak) try(what string) *tries {
	t := &tries{s: s, what: what, begin: s.h.Now()}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trying[t] = true
	return t
}

func (t *tries) add(format string, args ...any) {
	t.log = append(t.log, fmt.Sprintf("%v: "+format, append([]any{t.s.h.Now().Round(time.Millisecond)}, args...)...))
}

func (t *tries) end() {
	t.s.mu.Lock()
	delete(t.s.trying, t)
	t.s.mu.Unlock()
	if now := t.s.h.Now(); now-t.begin > t.s.stall/2 {
		t.s.t.Logf("%s took from %v to %v:\n\t%s", t.what, t.begin.Round(time.Millisecond), now.Round(time.Millisecond), strings.Join(t.log, "\n\t"))
	}
}

// call makes one HTTP call; a status of 0 says that there was no answer.
func (s *soak) call(ctx context.Context, p *person, method, path string, body, into any) (status int) {
	ctx, cancel := context.WithTimeout(ctx, soakPatience)
	defer cancel()
	a, err := raw.Call(ctx, s.edgeFor(0), p.access, method, path, body)
	if err != nil {
		return 0
	}
	if a.Status >= 400 {
		if problem, err := a.Problem(); err == nil {
			s.refused(method+" "+path[:min(len(path), 10)], problem.Code)
		} else {
			s.refused(method, err.Error())
		}
		return a.Status
	}
	if into != nil && a.Into(into) != nil {
		return 0
	}
	return a.Status
}

// asked tells what an answer over HTTP says of what was asked for.
func asked(status int) history.Outcome {
	switch {
	case status == 0 || status >= 500:
		return history.Unknown
	case status >= 400:
		return history.Refused
	}
	return history.Done
}

// browse has people use HTTP: they write, mark, look at pages and at their lists.
func (s *soak) browse(load, ctx context.Context) {
	for load.Err() == nil {
		s.pause(load, 100*time.Millisecond, 400*time.Millisecond)
		p := s.people[s.intN(len(s.people))]
		mine := s.chatsOf(p)
		c := mine[s.intN(len(mine))]
		switch s.intN(7) {
		case 0, 1:
			s.post(ctx, p, c)
		case 2:
			s.fold(ctx, p, c, 0)
		case 3:
			s.standings(ctx, p)
		case 4:
			s.putRead(ctx, p, c)
		case 5:
			s.actOverHTTP(load, p, c)
		case 6:
			s.pins(ctx, p, c)
		}
	}
}

func (s *soak) post(ctx context.Context, p *person, c *soakChat) {
	id, words := newClientID(), s.words()
	rec := s.h.Send(s.h.Now(), c.id, p.id, id, words)
	tries := s.try("a post of " + p.id + " to " + c.id)
	defer tries.end()
	for ctx.Err() == nil {
		var r receipt
		status := s.call(ctx, p, http.MethodPost, "/v1/chats/"+c.id+"/messages", raw.Object{"client_id": id, "text": words}, &r)
		tries.add("status %d", status)
		switch asked(status) {
		case history.Done:
			rec.Acked(s.h.Now(), r.Seq)
			return
		case history.Refused:
			return
		}
		s.pause(ctx, 100*time.Millisecond, 400*time.Millisecond)
	}
	s.unanswered.Add(1)
}

// standings records what somebody is told of all their chats, and tells whether there was an answer.
func (s *soak) standings(ctx context.Context, p *person) bool {
	begin := s.h.Now()
	var list struct {
		Chats []chatInfo `json:"chats"`
	}
	if asked(s.call(ctx, p, http.MethodGet, "/v1/chats?limit=100", nil, &list)) != history.Done {
		return false
	}
	for _, c := range list.Chats {
		s.h.Standing(history.Standing{Begin: begin, End: s.h.Now(), Chat: c.ID, User: p.id, LastSeq: c.LastSeq, ReadSeq: c.ReadSeq, Unread: c.Unread})
		if m := c.LastMessage; m != nil && m.Type == "message" {
			s.h.Shown(history.Shown{Begin: begin, End: s.h.Now(), Chat: c.ID, User: p.id, Seq: m.Seq, Text: m.Text})
		}
	}
	return true
}

func (s *soak) putRead(ctx context.Context, p *person, c *soakChat) {
	seq := uint64(0)
	for _, d := range s.devices {
		if d.p == p {
			seq = max(seq, d.cursor(c.id))
		}
	}
	if seq == 0 {
		return
	}
	seq = max(1, seq-min(seq, uint64(s.intN(5))))
	rec := s.h.Mark(s.h.Now(), c.id, p.id, seq)
	var now struct {
		Seq uint64 `json:"seq"`
	}
	if o := asked(s.call(ctx, p, http.MethodPut, "/v1/chats/"+c.id+"/read", raw.Object{"seq": seq}, &now)); o != history.Unknown {
		rec.Ended(s.h.Now(), o, now.Seq)
	}
}

// shuffle has the owner of a group take people in and out, and look who is there.
func (s *soak) shuffle(load context.Context, c *soakChat) {
	owner := c.pool[0]
	for load.Err() == nil {
		s.pause(load, 400*time.Millisecond, 1200*time.Millisecond)
		u := c.pool[staying+s.intN(len(c.pool)-staying)]
		add := s.intN(2) == 0
		rec := s.h.Change(s.h.Now(), c.id, u.id, add)
		method := http.MethodDelete
		if add {
			method = http.MethodPut
		}
		if o := asked(s.call(context.Background(), owner, method, "/v1/chats/"+c.id+"/members/"+u.id, nil, nil)); o != history.Unknown {
			rec.Ended(s.h.Now(), o)
		}
		s.roster(context.Background(), c)
	}
}

// roster records who is in a chat, and tells whether there was an answer.
func (s *soak) roster(ctx context.Context, c *soakChat) bool {
	r := history.Roster{Begin: s.h.Now(), Chat: c.id}
	var info chatInfo
	if asked(s.call(ctx, c.pool[0], http.MethodGet, "/v1/chats/"+c.id, nil, &info)) != history.Done {
		return false
	}
	r.End = s.h.Now()
	for _, m := range info.Members {
		r.Members = append(r.Members, m.UserID)
	}
	s.h.Roster(r)
	return true
}

// readBack reads the whole history of a chat: the bare events, and what two people are told with all of it folded in.
func (s *soak) readBack(ctx context.Context, c *soakChat) error {
	sock, err := raw.Connect(ctx, s.edgeFor(0), c.pool[0].access, nil)
	if err != nil {
		return err
	}
	defer sock.Close()
	var all []history.Event
	for after := uint64(0); ; {
		f, err := sock.Ask(raw.Object{"type": "sync", "chat": c.id, "after": after, "limit": 200})
		if err == nil && f.Type != "page" {
			err = fmt.Errorf("sync: %s %s", f.Type, f.Code)
		}
		if err != nil {
			return err
		}
		for _, e := range f.Messages {
			all = append(all, seen(e))
			after = e.Seq
		}
		if !f.HasMore || len(f.Messages) == 0 {
			break
		}
	}
	for n, p := range c.pool[:2] {
		for before := all[len(all)-1].Seq + 1; before > 1; {
			from, err := s.fold(ctx, p, c, before)
			if err != nil {
				return fmt.Errorf("person %d: %w", n, err)
			}
			before = from
		}
	}
	s.h.Final(c.id, all)
	return nil
}

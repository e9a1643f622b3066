package e2e

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/chatmesh/chatmesh/e2e/history"
	"github.com/chatmesh/chatmesh/e2e/raw"
)

// written is a message.
type written struct {
	chat string
	seq  uint64
}

// words are a text that no other contains.
func (s *soak) words() string { return text("soak %s", random(8)) }

// recentKept is how many of the last messages of a chat something is done to.
const recentKept = 30

// remember keeps what was written, and what something may be done to.
func (s *soak) remember(f raw.Frame) {
	if f.Text == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	at := written{f.Chat, f.Seq}
	if f.Type == "edit" {
		at.seq = f.Target
	}
	for _, t := range s.texts[at] {
		if t == f.Text {
			return
		}
	}
	s.texts[at] = append(s.texts[at], f.Text)
	if f.Type != "message" {
		return
	}
	last := append(s.recent[f.Chat], f)
	s.recent[f.Chat] = last[max(0, len(last)-recentKept):]
}

// message is a message of a chat, of sender if there is one.
func (s *soak) message(c *soakChat, sender *person) (raw.Frame, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var some []raw.Frame
	for _, f := range s.recent[c.id] {
		if sender == nil || f.Sender == sender.id {
			some = append(some, f)
		}
	}
	if len(some) == 0 {
		return raw.Frame{}, false
	}
	return some[s.rand.IntN(len(some))], true
}

// plan is something that somebody may do to a message of a chat: as it is recorded and as it is asked for on a connection.
func (s *soak) plan(p *person, c *soakChat) (history.Action, raw.Object, bool) {
	a := history.Action{Chat: c.id, By: p.id}
	var sender *person
	kind := s.intN(8)
	if kind < 3 || kind < 5 && (!c.group || c.pool[0] != p) {
		sender = p // edits, and deletions but by the owner
	}
	m, ok := s.message(c, sender)
	if !ok {
		return a, nil, false
	}
	a.Target = m.Seq
	frame := raw.Object{"chat": c.id, "seq": m.Seq}
	switch {
	case kind < 3:
		a.Type, a.Text = "edit", s.words()
		frame["type"], frame["text"] = "edit", a.Text
		s.remember(raw.Frame{Type: "edit", Chat: c.id, Target: m.Seq, Text: a.Text})
	case kind < 5:
		a.Type = "deletion"
		frame["type"], frame["for"] = "delete", "all"
	case kind < 7 || c.group && c.pool[0] != p:
		a.Type, a.Emoji, a.Removed = "reaction", []string{"👍", "🎉", "👩‍💻"}[s.intN(3)], s.intN(3) == 0
		frame["type"], frame["emoji"], frame["remove"] = "react", a.Emoji, a.Removed
	default:
		a.Type = []string{"pinned", "unpinned"}[s.intN(2)]
		frame["type"], frame["remove"] = "pin", a.Type == "unpinned"
	}
	return a, frame, true
}

// deletionTries is how often a deletion is tried that gets no answer.
const deletionTries = 3

// act has somebody do something to a message on their connection. What got no answer may have been done. A deletion is tried again: there is
// nothing that it could do twice.
func (d *soakDevice) act(load context.Context, c *soakChat) {
	a, frame, ok := d.s.plan(d.p, c)
	if !ok {
		return
	}
	d.s.attempt(load, a, func(ctx context.Context) (history.Outcome, uint64) {
		l, err := d.current(ctx)
		if err != nil {
			return history.Unknown, 0
		}
		f, err := l.ask(ctx, frame)
		switch {
		case err != nil || f.Code == "unavailable":
			return history.Unknown, 0
		case f.Type == "ack":
			return history.Done, f.Seq
		}
		d.s.refused(a.Type, f.Code)
		return history.Refused, 0
	})
}

// actOverHTTP is act over HTTP.
func (s *soak) actOverHTTP(load context.Context, p *person, c *soakChat) {
	a, _, ok := s.plan(p, c)
	if !ok {
		return
	}
	chat := "/v1/chats/" + c.id
	at := fmt.Sprintf("%s/messages/%d", chat, a.Target)
	var method, path string
	var body any
	switch a.Type {
	case "edit":
		method, path, body = http.MethodPatch, at, raw.Object{"text": a.Text}
	case "deletion":
		method, path = http.MethodDelete, at+"?for=all"
	case "reaction":
		method, path = http.MethodPut, at+"/reactions/"+url.PathEscape(a.Emoji)
		if a.Removed {
			method = http.MethodDelete
		}
	default:
		method, path = http.MethodPut, fmt.Sprintf("%s/pins/%d", chat, a.Target)
		if a.Type == "unpinned" {
			method = http.MethodDelete
		}
	}
	s.attempt(load, a, func(ctx context.Context) (history.Outcome, uint64) {
		var done receipt
		o := asked(s.call(ctx, p, method, path, body, &done))
		return o, done.Seq
	})
}

// attempt does something and records it.
func (s *soak) attempt(load context.Context, a history.Action, do func(context.Context) (history.Outcome, uint64)) {
	rec := s.h.Act(s.h.Now(), a)
	if a.Type != "deletion" {
		if o, seq := do(load); o != history.Unknown {
			rec.Ended(s.h.Now(), o, seq)
		}
		return
	}
	for n := 0; n < deletionTries && load.Err() == nil; n++ {
		o, seq := do(load)
		switch {
		case o == history.Done:
			rec.Ended(s.h.Now(), o, seq)
			s.mu.Lock()
			s.erased[written{a.Chat, a.Target}] = true
			s.mu.Unlock()
			return
		case o == history.Refused:
			if n == 0 { // otherwise one before may have done it, and who asked is no member any more
				rec.Ended(s.h.Now(), o, seq)
			}
			return
		}
		s.pause(load, 50*time.Millisecond, 300*time.Millisecond)
	}
}

// pins records what is pinned to a chat.
func (s *soak) pins(ctx context.Context, p *person, c *soakChat) {
	begin := s.h.Now()
	var list struct {
		Pins []struct {
			Seq     uint64    `json:"seq"`
			Message raw.Frame `json:"message"`
		} `json:"pins"`
	}
	if asked(s.call(ctx, p, http.MethodGet, "/v1/chats/"+c.id+"/pins", nil, &list)) != history.Done {
		return
	}
	told := history.Pins{Begin: begin, End: s.h.Now(), Chat: c.id, User: p.id}
	for _, m := range list.Pins {
		told.Seqs = append(told.Seqs, m.Seq)
		s.h.Shown(history.Shown{Begin: begin, End: told.End, Chat: c.id, User: p.id, Seq: m.Seq, Text: m.Message.Text})
	}
	s.h.Pins(told)
}

// fold records a page of the history, the newest or the one before a seq, and returns where it begins.
func (s *soak) fold(ctx context.Context, p *person, c *soakChat, before uint64) (from uint64, err error) {
	begin := s.h.Now()
	path := "/v1/chats/" + c.id + "/messages?limit=20"
	if before > 0 {
		path = fmt.Sprintf("/v1/chats/%s/messages?limit=200&before=%d", c.id, before)
	}
	var f raw.Frame
	if status := s.call(ctx, p, http.MethodGet, path, nil, &f); asked(status) != history.Done {
		return 0, fmt.Errorf("GET %s: %d", path, status)
	}
	pg := history.Fold{Begin: begin, End: s.h.Now(), Chat: c.id, User: p.id, From: f.FromSeq, To: f.ToSeq, Newest: before == 0}
	for _, m := range f.Messages {
		pg.Items = append(pg.Items, item(m))
		if r := m.Reply; r != nil {
			text := r.Text
			if r.Deleted != (text == "") {
				return 0, fmt.Errorf("chat %s: seq %d shows what it answers with deleted %v and a text of %d", c.id, m.Seq, r.Deleted, len(text))
			}
			s.h.Shown(history.Shown{Begin: begin, End: pg.End, Chat: c.id, User: p.id, Seq: r.Seq, Text: text})
		}
	}
	s.h.Fold(pg)
	if f.HasMore {
		return f.FromSeq, nil
	}
	return 0, nil
}

// item is a message of a page as it is recorded.
func item(f raw.Frame) history.Item {
	it := history.Item{Event: seen(f), Edits: uint64(f.Edits)}
	if f.EditedAt != nil {
		it.EditedAt = f.EditedAt.UnixMicro()
	}
	var all []history.Reaction
	for _, r := range f.Reactions {
		if r.Count != len(r.Users) { // it is compared with nothing that has it
			all = append(all, history.Reaction{Emoji: r.Emoji, User: fmt.Sprintf("%d of %s", r.Count, strings.Join(r.Users, ","))})
			continue
		}
		for _, u := range r.Users {
			all = append(all, history.Reaction{Emoji: r.Emoji, User: u})
		}
	}
	it.Reactions = history.Reactions(all...)
	return it
}

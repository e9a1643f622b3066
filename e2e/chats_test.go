package e2e

import (
	"fmt"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/chatmesh/chatmesh/e2e/raw"
)

// chatInfo is a chat as the contract shows it to a member.
type chatInfo struct {
	ID      string `json:"id"`
	Kind    string `json:"kind"`
	Title   string `json:"title"`
	Members []struct {
		UserID string `json:"user_id"`
		Role   string `json:"role"`
	} `json:"members"`
	MembersCount int        `json:"members_count"`
	LastSeq      uint64     `json:"last_seq"`
	LastMessage  *raw.Frame `json:"last_message"`
	ReadSeq      uint64     `json:"read_seq"`
	Unread       uint64     `json:"unread"`
}

func (c chatInfo) role(user string) string {
	for _, m := range c.Members {
		if m.UserID == user {
			return m.Role
		}
	}
	return ""
}

// receipt is the answer to a message that was sent over HTTP.
type receipt struct {
	Chat   string    `json:"chat"`
	Seq    uint64    `json:"seq"`
	SentAt time.Time `json:"sent_at"`
}

func ids(people []*person) []string {
	out := make([]string, len(people))
	for i, p := range people {
		out[i] = p.id
	}
	return out
}

// group makes a group of p and others and returns its id.
func (p *person) group(title string, others ...*person) string {
	p.t.Helper()
	var c chatInfo
	p.must(http.StatusCreated, http.MethodPost, "/v1/chats", raw.Object{"kind": "group", "title": title, "members": ids(others)}, &c)
	if c.ID == "" || c.Kind != "group" || c.Title != title {
		p.t.Fatalf("a new group: got %+v", c)
	}
	return c.ID
}

// direct returns the id of the direct chat between p and other.
func (p *person) direct(other *person) string {
	p.t.Helper()
	a := p.call(http.MethodPost, "/v1/chats", raw.Object{"kind": "direct", "members": []string{other.id}})
	if a.Status != http.StatusCreated && a.Status != http.StatusOK {
		p.t.Fatalf("a direct chat: got %d %.200s", a.Status, a.Body)
	}
	var c chatInfo
	if err := a.Into(&c); err != nil || c.ID == "" || c.Kind != "direct" {
		p.t.Fatalf("a direct chat: got %+v, %v", c, err)
	}
	return c.ID
}

func (p *person) info(chat string) chatInfo {
	p.t.Helper()
	var c chatInfo
	p.must(http.StatusOK, http.MethodGet, "/v1/chats/"+chat, nil, &c)
	return c
}

// listed returns the chat as it stands in the person's list.
func (p *person) listed(chat string) (chatInfo, bool) {
	p.t.Helper()
	for _, c := range p.list(100) {
		if c.ID == chat {
			return c, true
		}
	}
	return chatInfo{}, false
}

// list reads all pages of the person's list of chats.
func (p *person) list(limit int) (all []chatInfo) {
	p.t.Helper()
	for cursor := ""; ; {
		var page struct {
			Chats []chatInfo `json:"chats"`
			Next  string     `json:"next_cursor"`
		}
		path := fmt.Sprintf("/v1/chats?limit=%d", limit)
		if cursor != "" {
			path += "&cursor=" + url.QueryEscape(cursor)
		}
		p.must(http.StatusOK, http.MethodGet, path, nil, &page)
		if len(page.Chats) > limit {
			p.t.Errorf("%s: got %d chats", path, len(page.Chats))
		}
		all = append(all, page.Chats...)
		if page.Next == "" {
			return all
		}
		if page.Next == cursor || len(page.Chats) == 0 {
			p.t.Fatalf("%s: a next cursor that leads nowhere", path)
		}
		cursor = page.Next
	}
}

// post sends a message over HTTP and wants it to be new.
func (p *person) post(chat, text string) uint64 {
	p.t.Helper()
	var r receipt
	p.must(http.StatusCreated, http.MethodPost, "/v1/chats/"+chat+"/messages", raw.Object{"client_id": newClientID(), "text": text}, &r)
	return r.Seq
}

// page reads a page of history.
func (p *person) page(chat, query string) raw.Frame {
	p.t.Helper()
	var f raw.Frame
	p.must(http.StatusOK, http.MethodGet, "/v1/chats/"+chat+"/messages"+query, nil, &f)
	return f
}

// history reads the whole of a chat as the person sees it and checks that it is one ascending sequence without holes.
func (p *person) history(chat string) (all []raw.Frame) {
	p.t.Helper()
	for after := uint64(0); ; {
		f := p.page(chat, fmt.Sprintf("?after=%d&limit=200", after))
		all = append(all, f.Messages...)
		if !f.HasMore {
			break
		}
		if len(f.Messages) == 0 {
			p.t.Fatalf("history of %s after %d: has_more on an empty page", chat, after)
		}
		after = f.Messages[len(f.Messages)-1].Seq
	}
	if len(all) > 0 {
		contiguous(p.t, p.name+"'s history", all, all[0].Seq)
	}
	return all
}

// contiguous checks that the events are from, from+1, … in this order, and that n counts their messages.
func contiguous(t *testing.T, what string, events []raw.Frame, from uint64) {
	t.Helper()
	for i, e := range events {
		if want := from + uint64(i); e.Seq != want {
			t.Fatalf("%s: event %d has seq %d; want %d (all: %v)", what, i, e.Seq, want, seqs(events))
		}
		if i == 0 || e.N == 0 && e.Type != "message" { // n is promised for messages
			continue
		}
		want := events[i-1].N
		if e.Type == "message" {
			want++
		}
		if events[i-1].N > 0 && e.N != want {
			t.Errorf("%s: seq %d (%s) has n %d; want %d", what, e.Seq, e.Type, e.N, want)
		}
	}
}

// since leaves out what came of a chat before from: a device that connects right after a chat was made may still be told of
// that.
func since(from uint64, events []raw.Frame) []raw.Frame {
	for len(events) > 0 && events[0].Seq < from {
		events = events[1:]
	}
	return events
}

func seqs(events []raw.Frame) []uint64 {
	out := make([]uint64, len(events))
	for i, e := range events {
		out[i] = e.Seq
	}
	return out
}

// send sends a message over a socket and wants an ack.
func send(t *testing.T, s *raw.Socket, chat, clientID, text string) raw.Frame {
	t.Helper()
	f, err := s.Ask(raw.Object{"type": "send", "chat": chat, "client_id": clientID, "text": text})
	if err != nil {
		t.Fatal(err)
	}
	if f.Type != "ack" || f.Chat != chat || f.ClientID != clientID || f.Seq == 0 || f.SentAt.IsZero() {
		t.Fatalf("send: got %s; want an ack with chat, client_id, seq and sent_at", f.Raw)
	}
	return f
}

// awaitSeq waits until a socket has received the event of a chat with that seq.
func awaitSeq(t *testing.T, who string, s *raw.Socket, chat string, seq uint64) raw.Frame {
	t.Helper()
	f, err := s.Await(raw.Patience, func(f raw.Frame) bool { return f.IsEvent() && f.Chat == chat && f.Seq == seq })
	if err != nil {
		t.Fatalf("%s waits for seq %d: %v; has %v", who, seq, err, seqs(s.Events(chat)))
	}
	return f
}

// askRefused asks over a socket and wants an error frame with one of the codes, on a connection that stays open.
func askRefused(t *testing.T, s *raw.Socket, what, codes string, request raw.Object) {
	t.Helper()
	f, err := s.Ask(request)
	if err != nil {
		t.Errorf("%s: %v", what, err)
		return
	}
	if f.Type != "error" || !oneOf(f.Code, codes) {
		t.Errorf("%s: got %.300s; want an error %s", what, f.Raw, codes)
	}
	if f.Type == "error" && f.Message == "" {
		t.Errorf("%s: the error has no message", what)
	}
	if pong, err := s.Ask(raw.Object{"type": "ping"}); err != nil || pong.Type != "pong" {
		t.Fatalf("%s: afterwards a ping gets %s, %v; want a pong", what, pong.Raw, err)
	}
}

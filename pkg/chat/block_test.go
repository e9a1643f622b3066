package chat_test

import (
	"encoding/json"
	"testing"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

// history decides and applies commands to a chat one after the other.
type past struct {
	t     *testing.T
	state *chat.State
	seq   chat.Seq
}

func directOf(t *testing.T, a, b chat.UserID) *past {
	p := &past{t: t, state: &chat.State{}}
	p.must(1, chat.Create{By: a, Kind: chat.Direct, Members: []chat.UserID{b}})
	return p
}

// must wants a command to be decided as so many events, and applies them.
func (p *past) must(events int, c chat.Command) {
	p.t.Helper()
	got, err := c.Decide(p.state)
	if err != nil || len(got) != events {
		p.t.Fatalf("%+v: got %d events, %v; want %d", c, len(got), err, events)
	}
	for i := range got {
		p.seq++
		at := chat.Now()
		e := &got[i]
		if e.Chat, e.Seq = "d1", p.seq; e.Type == chat.Message {
			e.SentAt = &at
		} else {
			e.At = &at
		}
		next, err := p.state.Apply(e)
		if err != nil {
			p.t.Fatal(err)
		}
		p.state = next
	}
	b, err := json.Marshal(p.state)
	if err != nil {
		p.t.Fatal(err)
	}
	p.state = new(chat.State)
	if err := json.Unmarshal(b, p.state); err != nil {
		p.t.Fatal(err)
	}
}

func (p *past) refused(code chat.Code, c chat.Command) {
	p.t.Helper()
	if got, err := c.Decide(p.state); !chat.Is(err, code) {
		p.t.Fatalf("%+v: got %+v, %v; want %s", c, got, err, code)
	}
}

func TestWhileOneHasBlockedTheOtherNeitherWrites(t *testing.T) {
	p := directOf(t, "ann", "bob")
	write := func(by chat.UserID) []chat.Command {
		target := chat.Target{Seq: 2, Sender: by, Head: p.seq}
		return []chat.Command{chat.Send{Sender: by, ClientID: "x", Text: "hello"}, chat.Edit{By: by, Target: target, Text: "other"},
			chat.React{By: by, Target: target, Emoji: "👍"}, chat.Pin{By: by, Target: target}}
	}
	p.must(1, chat.Send{Sender: "bob", ClientID: "x", Text: "hello"})
	p.must(1, chat.Block{By: "ann"})
	p.must(0, chat.Block{By: "ann"})
	for _, by := range []chat.UserID{"ann", "bob"} {
		for _, c := range write(by) {
			p.refused(chat.Forbidden, c)
		}
	}
	p.must(1, chat.Delete{By: "bob", Target: chat.Target{Seq: 2, Sender: "bob", Head: p.seq}}) // what one wrote may be taken back
	p.must(0, chat.Unblock{By: "bob"})                                                         // who is blocked cannot end it
	p.refused(chat.Forbidden, write("bob")[0])
	p.must(1, chat.Block{By: "bob"})
	p.must(1, chat.Unblock{By: "ann"})
	p.refused(chat.Forbidden, write("ann")[0])
	p.must(1, chat.Unblock{By: "bob"})
	p.must(1, write("ann")[0])
	p.must(1, write("bob")[0])
	if p.state.Blocks != nil {
		t.Errorf("got %v; want nobody blocked", p.state.Blocks)
	}
}

func TestOnlyTheTwoOfADirectChatBlockEachOther(t *testing.T) {
	p := directOf(t, "ann", "bob")
	p.refused(chat.NotFound, chat.Block{By: "cid"})
	p.refused(chat.NotFound, chat.Unblock{By: "cid"})
	p.refused(chat.NotFound, chat.Block{By: "cid"})
	g := &past{t: t, state: &chat.State{}}
	g.refused(chat.NotFound, chat.Block{By: "ann"})
	g.must(1, chat.Create{By: "ann", Kind: chat.Group, Title: "t", Members: []chat.UserID{"bob"}})
	g.refused(chat.Forbidden, chat.Block{By: "ann"})
	g.refused(chat.Forbidden, chat.Unblock{By: "bob"})
}

func TestWhoDeletedTheirAccountIsWrittenToNoMore(t *testing.T) {
	p := directOf(t, "ann", "bob")
	p.must(1, chat.Send{Sender: "bob", ClientID: "x", Text: "hello"})
	p.must(1, chat.EraseSender{User: "bob"})
	p.must(0, chat.EraseSender{User: "bob"})
	for _, by := range []chat.UserID{"ann", "bob"} {
		p.refused(chat.Forbidden, chat.Send{Sender: by, ClientID: "y", Text: "hello"})
	}
	if g := p.state.Gone; len(g) != 1 || g[0].UserID != "bob" || g[0].Seq != 3 || g[0].At.IsZero() {
		t.Errorf("got %+v; want bob since event 3", g)
	}
	g := &past{t: t, state: &chat.State{}}
	g.must(1, chat.Create{By: "ann", Kind: chat.Group, Title: "t", Members: []chat.UserID{"bob", "cid"}})
	g.must(1, chat.RemoveMember{By: "bob", User: "bob"})
	g.must(1, chat.EraseSender{User: "bob"})
	g.must(1, chat.Send{Sender: "ann", ClientID: "y", Text: "hello"})
}

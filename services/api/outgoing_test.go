package api

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

func TestAMessageIsPassedOnWithItsTextAndWhoseItIs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.people("ann", "ben", "cat")
	ann, ben, cat := p[0], p[1], p[2]
	from, to, third := ann.group(ben), ben.group(cat), cat.direct(ann)
	m := ann.send(from, "draft")
	ann.edit(from, m.Seq, "news")
	body := map[string]any{"client_id": "f1", "forward": map[string]any{"chat": from, "seq": m.Seq}}
	var s, again sent
	ben.call("POST", chatPath(to, "messages"), body).want(t, 201, "").into(t, &s)
	got := cat.message(to, s.Seq)
	if got.Text != "news" || got.Sender != ben.id || got.Forwarded == nil || got.Forwarded.Sender != ann.id || !got.Forwarded.SentAt.Equal(m.SentAt.Time) {
		t.Fatalf("got %+v; want ann's text", got)
	}
	// Passed on once more it still is hers.
	x := cat.post(third, map[string]any{"forward": map[string]any{"chat": to, "seq": s.Seq}})
	if m := ann.message(third, x.Seq); m.Forwarded == nil || m.Forwarded.Sender != ann.id || m.Text != "news" {
		t.Errorf("got %+v", m)
	}
	ben.call("PATCH", at(to, s.Seq), map[string]any{"text": "not hers"}).want(t, 403, chat.Forbidden)
	// The copy stays when the first is gone, and so does the answer to a retry.
	ann.deleteAll(from, m.Seq)
	ben.call("POST", chatPath(to, "messages"), body).want(t, 200, "").into(t, &again)
	if again.Seq != s.Seq || !again.Duplicate || cat.message(to, s.Seq).Text != "news" {
		t.Errorf("got %+v; want the first seq", again)
	}
}

func TestARetryOfAnAnswerToADeletedMessageGetsTheFirstSeq(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.people("ann", "ben")
	id := p[0].direct(p[1])
	m := p[0].send(id, "question")
	body := map[string]any{"client_id": "r1", "text": "answer", "reply_to": m.Seq}
	var s, again sent
	p[1].call("POST", chatPath(id, "messages"), body).want(t, 201, "").into(t, &s)
	p[0].deleteAll(id, m.Seq)
	p[1].call("POST", chatPath(id, "messages"), body).want(t, 200, "").into(t, &again)
	got := p[0].message(id, s.Seq)
	if again.Seq != s.Seq || got.Reply == nil || *got.Reply != (chat.Reply{Seq: m.Seq, Sender: p[0].id, Deleted: true}) {
		t.Errorf("got %+v and %+v; want the first seq and a reply to nothing", again, got.Reply)
	}
}

func TestWhoHasReadAMessageIsTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.people("ann", "ben", "cat", "dan")
	ann, ben, cat, dan := p[0], p[1], p[2], p[3]
	id := ann.group(ben, cat)
	m := ann.send(id, "read me")
	ann.did("PUT", chatPath(id, "members", string(dan.id)), nil)
	dan.call("PUT", chatPath(id, "read"), map[string]any{"seq": 3}).want(t, 200, "")
	ben.call("PUT", chatPath(id, "read"), map[string]any{"seq": 2}).want(t, 200, "")
	cat.call("PUT", chatPath(id, "delivered"), map[string]any{"seq": 3}).want(t, 200, "")
	var got messageReceipts
	ann.call("GET", at(id, m.Seq, "receipts"), nil).want(t, 200, "").into(t, &got)
	slices.Sort(got.Delivered)
	both := ids(ben, cat)
	slices.Sort(both)
	if got.ReadCount != 1 || !slices.Equal(got.Read, ids(ben)) || got.DeliveredCount != 2 || !slices.Equal(got.Delivered, both) {
		t.Errorf("got %+v; want ben, and cat who has it; dan came later", got)
	}
}

func TestTeamsAndEdgesChangeMessagesOverNATS(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.people("ann", "ben")
	ann, ben := p[0], p[1]
	id := ann.group(ben)
	m := ann.send(id, "one")
	change := func(q wire.ChangeRequest) (changed, error) {
		var out changed
		q.Chat = string(id)
		err := w.bus.Call(t.Context(), subject.ChangeEndpoint, q, &out)
		return out, err
	}
	for _, q := range []wire.ChangeRequest{
		{User: string(ann.id), Action: "edit", Seq: m.Seq, Text: "two", Mentions: []string{string(ben.id)}},
		{User: string(ben.id), Action: "react", Seq: m.Seq, Emoji: "👍"},
		{User: string(ann.id), Action: "pin", Seq: m.Seq},
		{User: string(ann.id), Action: "pin", Seq: m.Seq, Remove: true},
		{User: string(ben.id), Action: "react", Seq: m.Seq, Emoji: "👍", Remove: true},
	} {
		if out, err := change(q); err != nil || out.Target != m.Seq || out.Seq <= m.Seq {
			t.Errorf("%+v: got %+v, %v", q, out, err)
		}
	}
	if got := ben.message(id, m.Seq); got.Text != "two" || len(got.Reactions) != 0 || !slices.Equal(got.Mentions, ids(ben)) {
		t.Errorf("got %+v", got)
	}
	if _, err := change(wire.ChangeRequest{User: string(ann.id), Action: "delete", Seq: m.Seq, For: "all"}); err != nil {
		t.Error(err)
	}
	for _, c := range []struct {
		q    wire.ChangeRequest
		code chat.Code
	}{
		{wire.ChangeRequest{User: string(ben.id), Action: "edit", Seq: m.Seq, Text: "x"}, chat.NotFound},
		{wire.ChangeRequest{User: "nobody", Action: "react", Seq: m.Seq, Emoji: "👍"}, chat.NotFound},
		{wire.ChangeRequest{User: "a.b", Action: "react", Seq: m.Seq, Emoji: "👍"}, chat.BadRequest},
		{wire.ChangeRequest{User: string(ann.id), Action: "shout", Seq: m.Seq}, chat.BadRequest},
		{wire.ChangeRequest{User: string(ann.id), Action: "delete", Seq: m.Seq}, chat.BadRequest},
		{wire.ChangeRequest{User: string(ann.id), Action: "pin", Seq: 0}, chat.NotFound},
	} {
		if out, err := change(c.q); !chat.Is(err, c.code) {
			t.Errorf("%+v: got %+v, %v; want %s", c.q, out, err, c.code)
		}
	}
	var s SendAnswer
	if err := w.bus.Call(t.Context(), subject.SendEndpoint, SendRequest{Chat: string(id), Sender: string(ben.id), ClientID: "b1", Text: "hello @ann",
		ReplyTo: m.Seq, Mentions: []string{string(ann.id)}}, &s); err != nil {
		t.Fatal(err)
	}
	if got := ann.message(id, s.Seq); got.ReplyTo != m.Seq || !got.Reply.Deleted || !slices.Equal(got.Mentions, ids(ann)) {
		t.Errorf("got %+v", got)
	}
	if err := w.bus.Call(t.Context(), subject.SendEndpoint, SendRequest{Chat: string(id), Sender: string(ann.id), ClientID: "b2",
		Forward: &Place{Chat: string(id), Seq: s.Seq}}, &s); err != nil {
		t.Fatal(err)
	}
	if got := ann.message(id, s.Seq); got.Text != "hello @ann" || got.Forwarded.Sender != ben.id {
		t.Errorf("got %+v", got)
	}
	// The history for programs is the bare events.
	var page wire.Page
	check(t, w.bus.Call(t.Context(), subject.HistoryEndpoint, wire.HistoryRequest{Chat: string(id), Forward: true, Limit: 200}, &page))
	var types []string
	for _, b := range page.Messages {
		var e struct{ Type string }
		check(t, json.Unmarshal(b, &e))
		types = append(types, e.Type)
	}
	if want := []string{"chat", "message", "edit", "reaction", "chat", "chat", "reaction", "deletion", "message", "message"}; !slices.Equal(types, want) {
		t.Errorf("got %q; want %q", types, want)
	}
}

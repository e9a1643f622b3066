package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chatmesh/chatmesh/docs"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/chatlog"
	"github.com/chatmesh/chatmesh/pkg/doctest"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

func TestEveryEndpointAnswersAndRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.people("ann", "ben", "eve")
	ann, ben, eve := p[0], p[1], p[2]
	id := ann.direct(ben)
	w.persist(id, 0)
	client := w.broker.Bus(t)
	live := doctest.Parse(t, docs.AsyncAPI())
	// ask also holds the bytes of request and answer against docs/asyncapi.yaml.
	ask := func(endpoint string, in, out any) error {
		var answer json.RawMessage
		err := client.Call(t.Context(), endpoint, in, &answer)
		if err != nil || out == nil {
			return err
		}
		name := described(t, live, endpoint)
		for message, body := range map[string][]byte{name + "Request": wire.Encode(in), replyOf(live, name): answer} {
			if err := live.Check(body, doctest.Payload(message)...); err != nil {
				t.Errorf("%s: %.200s is no %s: %v", endpoint, body, message, err)
			}
		}
		return json.Unmarshal(answer, out)
	}

	var s SendAnswer
	send := SendRequest{Chat: string(id), Sender: string(ann.id), ClientID: "c1", Text: "hello"}
	check(t, ask(subject.SendEndpoint, send, &s))
	if s.Chat != id || s.Seq != 2 || s.SentAt.IsZero() || s.Duplicate {
		t.Errorf("send: got %+v", s)
	}
	check(t, ask(subject.SendEndpoint, send, &s))
	if s.Seq != 2 || !s.Duplicate {
		t.Errorf("send again: got %+v", s)
	}
	var h wire.Page
	check(t, ask(subject.HistoryEndpoint, wire.HistoryRequest{Chat: string(id), User: string(ben.id), Forward: true, Limit: 1}, &h))
	if h.FromSeq != 1 || h.ToSeq != 1 || !h.HasMore || len(h.Messages) != 1 {
		t.Errorf("history: got %+v", h)
	}
	var st wire.StateAnswer
	check(t, ask(subject.StateEndpoint, wire.StateRequest{Chat: string(id)}, &st))
	if st.Seq != 1 || st.State == nil || len(st.State.Members) != 2 {
		t.Errorf("state: got %+v; want what the store has", st)
	}
	var f wire.FindAnswer
	check(t, ask(subject.FindEndpoint, wire.FindRequest{Chat: string(id), Sender: string(ann.id), ClientID: "c1"}, &f))
	if f.Seq != 2 || !f.SentAt.Equal(s.SentAt.Time) {
		t.Errorf("find: got %+v; want %+v", f, s)
	}
	of := func(chat, sender string) wire.SentQuestion { return wire.SentQuestion{Chat: chat, Sender: sender} }
	var sent wire.SentAnswer
	check(t, ask(subject.SentEndpoint, wire.SentRequest{SentQuestion: of(string(id), string(ann.id))}, &sent))
	if len(sent.IDs) != 8 || !sent.Complete || sent.UpTo != 2 || sent.More != nil {
		t.Errorf("sent: got %+v; want one id", sent)
	}
	several := wire.SentRequest{SentQuestion: of(string(id), string(ben.id)),
		More: []wire.SentQuestion{of(string(id), string(ann.id)), of("nope", string(ann.id)), of(string(id), string(ben.id))}}
	var answers wire.SentAnswer
	check(t, ask(subject.SentEndpoint, several, &answers))
	if len(answers.IDs) != 0 || !answers.Complete || len(answers.More) != 3 || !reflect.DeepEqual(answers.More[0], sent.SentIDs) ||
		len(answers.More[1].IDs) != 0 || !answers.More[2].Complete || len(answers.More[2].IDs) != 0 {
		t.Errorf("sent, several: got %+v; want each answered", answers)
	}
	remote, err := chatlog.Remote{Bus: client}.SentAll(t.Context(), []chatlog.Asked{{Chat: id, Sender: ben.id}, {Chat: "a.b", Sender: ann.id}, {Chat: id, Sender: ann.id}})
	if err != nil || len(remote) != 3 || len(remote[0].IDs) != 0 || remote[1].Complete || len(remote[2].IDs) != 1 ||
		remote[2].IDs[0] != chatlog.IDOf(id, ann.id, "c1") {
		t.Errorf("sent, as an edge asks: got %+v, %v; want none of ben, no answer of what is no chat, and one of ann", remote, err)
	}
	var c wire.CursorAnswer
	check(t, ask(subject.CursorEndpoint, wire.CursorRequest{Chat: string(id), User: string(ann.id)}, &c))
	if c != (wire.CursorAnswer{}) {
		t.Errorf("cursor: got %+v; want none in the store", c)
	}
	w.persist(id, 0)
	check(t, ask(subject.CursorEndpoint, wire.CursorRequest{Chat: string(id), User: string(ann.id)}, &c))
	if c != (wire.CursorAnswer{Seq: 2, N: 1, Delivered: 2}) {
		t.Errorf("cursor: got %+v; want that of the own message", c)
	}
	var sh wire.SharesAnswer
	check(t, ask(subject.SharesEndpoint, wire.SharesRequest{User: string(ann.id), Others: []string{string(eve.id), string(ben.id)}}, &sh))
	sameIDs(t, sh.Users, ids(ben))
	var all, some, rest wire.ChatsOfAnswer
	other := ben.direct(eve)
	check(t, ask(subject.UserChatsEndpoint, wire.ChatsOfRequest{User: string(ben.id)}, &all))
	if len(all.Chats) != 2 || !slices.Contains(all.Chats, id) || !slices.Contains(all.Chats, other) || all.More {
		t.Errorf("chats of a person: got %+v; want %s and %s, also the one that the store has no event of", all, id, other)
	}
	check(t, ask(subject.UserChatsEndpoint, wire.ChatsOfRequest{User: string(ben.id), Limit: 1}, &some))
	check(t, ask(subject.UserChatsEndpoint, wire.ChatsOfRequest{User: string(ben.id), After: some.Chats[0], Limit: 1}, &rest))
	if !some.More || rest.More || !slices.Equal(append(some.Chats, rest.Chats...), all.Chats) {
		t.Errorf("chats of a person in two pages: got %+v, %+v; want %+v", some, rest, all)
	}

	for _, r := range []struct {
		endpoint string
		in       any
		code     chat.Code
	}{
		{subject.SendEndpoint, "x", chat.BadRequest},
		{subject.SendEndpoint, SendRequest{Chat: ">", Sender: "a", ClientID: "c", Text: "t"}, chat.BadRequest},
		{subject.SendEndpoint, SendRequest{Chat: string(id), Sender: "a.b", ClientID: "c", Text: "t"}, chat.BadRequest},
		{subject.SendEndpoint, SendRequest{Chat: string(id), Sender: string(ann.id), Text: "t"}, chat.BadRequest},
		{subject.SendEndpoint, SendRequest{Chat: string(id), Sender: string(ann.id), ClientID: "c"}, chat.BadRequest},
		{subject.SendEndpoint, SendRequest{Chat: string(id), Sender: string(ann.id), ClientID: "c", Text: strings.Repeat("x", chat.MaxText+1)}, chat.TooLong},
		{subject.SendEndpoint, SendRequest{Chat: string(id), Sender: string(eve.id), ClientID: "c1", Text: "t"}, chat.NotFound},
		{subject.SendEndpoint, SendRequest{Chat: "nope", Sender: string(ann.id), ClientID: "c1", Text: "t"}, chat.NotFound},
		{subject.HistoryEndpoint, wire.HistoryRequest{Chat: "*"}, chat.BadRequest},
		{subject.HistoryEndpoint, wire.HistoryRequest{Chat: string(id), User: "a b"}, chat.BadRequest},
		{subject.HistoryEndpoint, wire.HistoryRequest{Chat: string(id), Limit: -1}, chat.BadRequest},
		{subject.HistoryEndpoint, wire.HistoryRequest{Chat: string(id), MaxBytes: -1}, chat.BadRequest},
		{subject.HistoryEndpoint, wire.HistoryRequest{Chat: string(id), User: string(eve.id)}, chat.NotFound},
		{subject.HistoryEndpoint, wire.HistoryRequest{Chat: "nope"}, chat.NotFound},
		{subject.HistoryEndpoint, map[string]any{"chat": id, "after": -1}, chat.BadRequest},
		{subject.StateEndpoint, wire.StateRequest{}, chat.BadRequest},
		{subject.StateEndpoint, wire.StateRequest{Chat: "nope"}, chat.NotFound},
		{subject.FindEndpoint, wire.FindRequest{Chat: "a.b", Sender: "a", ClientID: "c"}, chat.BadRequest},
		{subject.FindEndpoint, wire.FindRequest{Chat: "a", Sender: "", ClientID: "c"}, chat.BadRequest},
		{subject.FindEndpoint, wire.FindRequest{Chat: "a", Sender: "a", ClientID: "c.d"}, chat.BadRequest},
		{subject.FindEndpoint, wire.FindRequest{Chat: string(id), Sender: string(ben.id), ClientID: "c1"}, chat.NotFound},
		{subject.SentEndpoint, wire.SentRequest{SentQuestion: of("a.b", string(ann.id))}, chat.BadRequest},
		{subject.SentEndpoint, wire.SentRequest{SentQuestion: of(string(id), "")}, chat.BadRequest},
		{subject.SentEndpoint, wire.SentRequest{SentQuestion: of(string(id), string(ann.id)), More: make([]wire.SentQuestion, 64)}, chat.BadRequest},
		{subject.CursorEndpoint, wire.CursorRequest{Chat: string(id)}, chat.BadRequest},
		{subject.CursorEndpoint, wire.CursorRequest{User: "a"}, chat.BadRequest},
		{subject.SharesEndpoint, wire.SharesRequest{User: ""}, chat.BadRequest},
		{subject.UserChatsEndpoint, wire.ChatsOfRequest{User: ""}, chat.BadRequest},
		{subject.UserChatsEndpoint, wire.ChatsOfRequest{User: "a", Limit: -1}, chat.BadRequest},
		{subject.SharesEndpoint, wire.SharesRequest{User: "a", Others: []string{"b c"}}, chat.BadRequest},
		{subject.SharesEndpoint, wire.SharesRequest{User: "a", Others: make([]string, 1001)}, chat.BadRequest},
	} {
		if err := ask(r.endpoint, r.in, nil); !chat.Is(err, r.code) {
			t.Errorf("%s %+v: got %v; want %s", r.endpoint, r.in, err, r.code)
		}
	}
	w.store.down.Store(true)
	for endpoint, in := range map[string]any{subject.StateEndpoint: wire.StateRequest{Chat: string(id)},
		subject.CursorEndpoint:    wire.CursorRequest{Chat: string(id), User: string(ann.id)},
		subject.UserChatsEndpoint: wire.ChatsOfRequest{User: string(ann.id)},
		subject.SharesEndpoint:    wire.SharesRequest{User: string(ann.id), Others: []string{string(ben.id)}}} {
		if err := ask(endpoint, in, nil); !chat.Is(err, chat.Unavailable) {
			t.Errorf("%s without the store: got %v; want unavailable", endpoint, err)
		}
	}
}

func TestAskingFromAfarIsTheSameAsLookingHere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.people("ann", "ben")
	id := p[0].direct(p[1])
	for i := range 6 {
		p[i%2].send(id, fmt.Sprint(i))
	}
	p[0].call("POST", chatPath(id, "messages"), `{"client_id":"c1","text":"t"}`).want(t, 201, "")
	w.persist(id, 4)
	here, afar := w.api.older, chatlog.Remote{Bus: w.broker.Bus(t)}
	ctx := t.Context()
	r1, err := here.Record(ctx, id)
	check(t, err)
	r2, err := afar.Record(ctx, id)
	if err != nil || !cmp.Equal(r1, r2) {
		t.Errorf("record: got %+v, %v; want %+v", r2, err, r1)
	}
	if _, err := afar.Record(ctx, "nope"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("record of no chat: got %v; want not found", err)
	}
	f1, err := here.Find(ctx, id, p[0].id, "c1")
	check(t, err)
	f2, err := afar.Find(ctx, id, p[0].id, "c1")
	if err != nil || !cmp.Equal(f1, f2) {
		t.Errorf("find: got %+v, %v; want %+v", f2, err, f1)
	}
	if _, err := afar.Find(ctx, id, p[1].id, "c1"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("find nothing: got %v; want not found", err)
	}
	c1, err := here.Cursor(ctx, id, p[0].id)
	check(t, err)
	c2, err := afar.Cursor(ctx, id, p[0].id)
	if err != nil || !cmp.Equal(c1, c2) || c1.Seq == 0 {
		t.Errorf("cursor: got %+v, %v; want %+v", c2, err, c1)
	}
	for _, g := range []store.Range{{Limit: 3}, {Limit: 200}, {Limit: 3, Before: 5}, {Limit: 3, After: 2}, {Limit: 3, Forward: true},
		{Limit: 2, After: 3, Before: 6}, {Limit: 2, Before: 1}, {Limit: 5, MaxBytes: 1}, {Limit: 5, After: 8}} {
		p1, err := here.Page(ctx, id, g)
		check(t, err)
		p2, err := afar.Page(ctx, id, g)
		if err != nil || p1.From != p2.From || p1.To != p2.To || p1.More != p2.More || !sameItems(p1.Items, p2.Items) {
			t.Errorf("%+v: got %d..%d more %t, %v; want %d..%d more %t", g, p2.From, p2.To, p2.More, err, p1.From, p1.To, p1.More)
		}
	}
}

func TestAPageOverNATSFitsIntoAMessage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann := w.person("ann")
	id := ann.group()
	text := strings.Repeat("\U0001F600", chat.MaxText) // 400 KB
	for range 4 {
		ann.send(id, text)
	}
	got := 0
	for after := chat.Seq(0); ; {
		var h wire.Page
		check(t, w.bus.Call(t.Context(), subject.HistoryEndpoint, wire.HistoryRequest{Chat: string(id), After: after, Forward: true, Limit: 200}, &h))
		if len(h.Messages) == 0 {
			t.Fatalf("got nothing after %d", after)
		}
		got += len(h.Messages)
		after = h.ToSeq
		if !h.HasMore {
			break
		}
	}
	if got != 5 {
		t.Errorf("got %d events; want 5", got)
	}
	// Over HTTP all fit at once.
	var page wire.Page
	ann.call("GET", chatPath(id, "messages"), nil).want(t, 200, "").into(t, &page)
	if len(page.Messages) != 5 || page.HasMore {
		t.Errorf("got %d events, more %t; want all 5", len(page.Messages), page.HasMore)
	}
}

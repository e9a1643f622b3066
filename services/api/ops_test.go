package api

import (
	"fmt"
	"slices"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/verify"
)

func TestAChatIsVerifiedOverNATS(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann := w.person("ann")
	id := ann.group()
	for n := range 5 {
		ann.send(id, fmt.Sprint(n))
	}
	w.persist(id, 3)
	client := w.broker.Bus(t)
	ask := func(in any) (r verify.Report, err error) {
		err = client.Call(t.Context(), subject.VerifyEndpoint, in, &r)
		return r, err
	}
	r, err := ask(VerifyRequest{Chat: string(id)})
	check(t, err)
	if r.Chat != id || r.Events != 6 || r.Messages != 5 || r.Stored != 3 || r.Wrong != 0 || r.Problems == nil {
		t.Errorf("got %+v; want that all is right", r)
	}
	at := chat.Now()
	e := chat.Event{Type: chat.Message, Chat: id, Seq: 9, N: 8, Sender: ann.id, ClientID: "c", Text: "t", SentAt: &at}
	check(t, w.store.Store.Write(t.Context(), store.Batch{Events: []store.Entry{{Event: e, Body: []byte("x"), Stream: 1}}}))
	if r, err = ask(VerifyRequest{Chat: string(id)}); err != nil || r.Wrong == 0 || len(r.Problems) != r.Wrong {
		t.Errorf("got %+v, %v; want problems", r, err)
	}
	for in, code := range map[any]chat.Code{VerifyRequest{}: chat.BadRequest, VerifyRequest{Chat: ">"}: chat.BadRequest,
		VerifyRequest{Chat: "nope"}: chat.NotFound, "x": chat.BadRequest} {
		if _, err := ask(in); !chat.Is(err, code) {
			t.Errorf("%v: got %v; want %s", in, err, code)
		}
	}
	check(t, w.store.Close())
	if _, err := ask(VerifyRequest{Chat: string(id)}); !chat.Is(err, chat.Unavailable) {
		t.Errorf("without the store: got %v; want unavailable", err)
	}
}

func TestAllChatsAreListedThoseThatAreOnlyInTheLogToo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann := w.person("ann")
	client := w.broker.Bus(t)
	list := func(limit int) []chat.ID {
		t.Helper()
		var all []chat.ID
		for more := true; more; {
			q, a := ChatsRequest{Limit: limit}, ChatsAnswer{}
			if len(all) > 0 {
				q.After = string(all[len(all)-1])
			}
			check(t, client.Call(t.Context(), subject.ChatsEndpoint, q, &a))
			if limit > 0 && len(a.Chats) > limit {
				t.Fatalf("got %d chats; want at most %d", len(a.Chats), limit)
			}
			if all, more = append(all, a.Chats...), a.More; more && len(a.Chats) == 0 {
				t.Fatal("got no chats, and that there are more")
			}
		}
		return all
	}
	if got := list(0); len(got) > 0 {
		t.Errorf("got %v; want no chats", got)
	}
	var want []chat.ID
	for n := range 11 {
		id := ann.group()
		want = append(want, id)
		if n%3 == 0 {
			w.persist(id, 0)
		}
	}
	// What is no id stands on a subject by hand only.
	_, err := w.bus.Publish(t.Context(), &nats.Msg{Subject: "chat.0.no#id.log", Data: []byte("x")})
	check(t, err)
	// One that has aged out of the log.
	old := chat.ID("zz")
	at := chat.Now()
	e := chat.Event{Type: chat.Message, Chat: old, Seq: 9, N: 8, Sender: ann.id, ClientID: "c", Text: "t", SentAt: &at}
	check(t, w.store.Store.Write(t.Context(), store.Batch{Events: []store.Entry{{Event: e, Body: []byte("x"), Stream: 1}}}))
	want = append(want, old)
	slices.Sort(want)
	for _, limit := range []int{0, 1, 4, 12, 100_000} {
		if got := list(limit); !slices.Equal(got, want) {
			t.Errorf("limit %d: got %v; want %v", limit, got, want)
		}
	}
	// What comes into the store between two pages is in one of them.
	var first, rest ChatsAnswer
	check(t, client.Call(t.Context(), subject.ChatsEndpoint, ChatsRequest{Limit: 2}, &first))
	for _, id := range want[:len(want)-1] {
		w.persist(id, 0)
	}
	check(t, client.Call(t.Context(), subject.ChatsEndpoint, ChatsRequest{After: string(first.Chats[1])}, &rest))
	if got := append(first.Chats, rest.Chats...); !slices.Equal(got, want) || rest.More {
		t.Errorf("got %v, more %t; want %v", got, rest.More, want)
	}
	for _, in := range []any{ChatsRequest{After: "a.b"}, ChatsRequest{Limit: -1}, "x"} {
		if err := client.Call(t.Context(), subject.ChatsEndpoint, in, nil); !chat.Is(err, chat.BadRequest) {
			t.Errorf("%v: got %v; want bad_request", in, err)
		}
	}
}

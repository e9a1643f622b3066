package client

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

func TestEachChangeOfAMessageIsAFrameOfItsOwn(t *testing.T) {
	f := newFake(t)
	conn, s := f.connect(f.login(), ConnConfig{})
	for name, c := range map[string]struct {
		do   func(context.Context) (chat.Seq, error)
		want request
	}{
		"edit": {func(ctx context.Context) (chat.Seq, error) { return conn.Edit(ctx, "c", 5, "new", "bob") },
			request{Type: "edit", Text: "new", Mentions: []chat.UserID{"bob"}}},
		"delete":  {func(ctx context.Context) (chat.Seq, error) { return conn.Delete(ctx, "c", 5) }, request{Type: "delete", For: "all"}},
		"hide":    {func(ctx context.Context) (chat.Seq, error) { return 9, conn.Hide(ctx, "c", 5) }, request{Type: "delete", For: "me"}},
		"react":   {func(ctx context.Context) (chat.Seq, error) { return conn.React(ctx, "c", 5, "👍") }, request{Type: "react", Emoji: "👍"}},
		"unreact": {func(ctx context.Context) (chat.Seq, error) { return conn.Unreact(ctx, "c", 5, "👍") }, request{Type: "react", Emoji: "👍", Remove: true}},
		"pin":     {func(ctx context.Context) (chat.Seq, error) { return conn.Pin(ctx, "c", 5) }, request{Type: "pin"}},
		"unpin":   {func(ctx context.Context) (chat.Seq, error) { return conn.Unpin(ctx, "c", 5) }, request{Type: "pin", Remove: true}},
		"reply": {func(ctx context.Context) (chat.Seq, error) {
			r, err := conn.Reply(ctx, 5, Outgoing{Chat: "c", ClientID: "x", Text: "yes", Mentions: []chat.UserID{"bob"}})
			return r.Seq, err
		}, request{Type: "send", ClientID: "x", Text: "yes", ReplyTo: 5, Mentions: []chat.UserID{"bob"}}},
	} {
		type done struct {
			seq chat.Seq
			err error
		}
		got := make(chan done, 1)
		go func() {
			seq, err := c.do(t.Context())
			got <- done{seq, err}
		}()
		r := s.read(c.want.Type)
		s.write(fmt.Sprintf(`{"type":"ack","id":%q,"chat":"c","seq":9,"sent_at":"2026-01-02T03:04:05Z"}`, r.ID))
		if d := <-got; d.err != nil || d.seq != 9 {
			t.Errorf("%s: got %+v; want seq 9", name, d)
		}
		if c.want.ID, c.want.Chat = r.ID, "c"; c.want.Type != "send" {
			c.want.Seq = 5
		}
		if !reflect.DeepEqual(r, c.want) {
			t.Errorf("%s: got %+v; want %+v", name, r, c.want)
		}
	}
}

func TestWhatBecomesOfMessagesComesInOrderWithThem(t *testing.T) {
	f := newFake(t)
	conn, s := f.connect(f.login(), ConnConfig{Cursors: map[chat.ID]chat.Seq{"c": 1}})
	s.write(`{"type":"reaction","chat":"c","seq":4,"n":1,"target":2,"by":"you","emoji":"👍","at":"2026-01-02T03:04:05.678Z"}`)
	s.write(`{"type":"edit","chat":"c","seq":3,"n":1,"target":2,"by":"you","text":"new","at":"2026-01-02T03:04:05.678Z"}`)
	s.event("c", 2)
	s.write(`{"type":"deletion","chat":"c","seq":5,"n":1,"target":2,"by":"you","at":"2026-01-02T03:04:05.678Z"}`)
	if got := nextEvents(t, conn, 4); !slices.Equal(got, []chat.Seq{2, 3, 4, 5}) {
		t.Errorf("got %v; want 2 to 5", got)
	}
}

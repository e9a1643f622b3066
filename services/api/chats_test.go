package api

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/chatlog"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// servePresence stands in for the presence service: everybody is online, also somebody whom nobody asked for.
func (w *world) servePresence() {
	b := w.broker.Bus(w.t)
	w.run(func(ctx context.Context) error {
		return b.Serve(ctx, "1.0.0", []bus.Endpoint{{Subject: subject.PresenceEndpoint, Handle: func(_ context.Context, data []byte) (any, error) {
			var q struct{ Users []chat.UserID }
			if err := json.Unmarshal(data, &q); err != nil {
				return nil, err
			}
			out := []wire.Presence{{User: "intruder", Online: true, State: wire.Online}}
			for _, u := range q.Users {
				out = append(out, wire.Presence{User: u, Online: true, State: wire.Online})
			}
			return map[string]any{"presence": out}, nil
		}}}, nil)
	})
	check(w.t, b.Flush(context.Background()))
}

func TestAChatLooksAsTheContractSays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.people("ann", "ben", "cat")
	ann, ben, cat := p[0], p[1], p[2]
	r := ann.call("POST", "/v1/chats", map[string]any{"kind": "group", "title": "t", "members": ids(ben, cat, ben, ann)}).want(t, 201, "")
	var v, got chatView
	r.into(t, &v)
	if v.Kind != chat.Group || v.Title != "t" || v.MembersCount != 3 || len(v.Members) != 3 || v.LastSeq != 1 || v.CreatedAt.IsZero() {
		t.Errorf("got %s", r.body)
	}
	if v.Members[0] != (memberView{ann.id, chat.Owner}) || v.Members[1] != (memberView{ben.id, chat.Plain}) {
		t.Errorf("got members %v", v.Members)
	}
	ben.call("GET", chatPath(v.ID), nil).want(t, 200, "").into(t, &got)
	if fmt.Sprint(got) != fmt.Sprint(v) {
		t.Errorf("got %v; want %v", got, v)
	}
	d := ann.direct(ben)
	for _, x := range []struct{ who, peer *person }{{ann, ben}, {ben, ann}} {
		x.who.call("GET", chatPath(d), nil).want(t, 200, "").into(t, &got)
		if got.Kind != chat.Direct || got.Peer != x.peer.id || got.MembersCount != 2 || got.Members[0].Role != chat.Plain {
			t.Errorf("got %+v; want the direct chat with %s", got, x.peer.id)
		}
	}
	r = ann.call("PATCH", chatPath(v.ID), `{"title":"u"}`).want(t, 200, "")
	r.into(t, &got)
	if got.Title != "u" || got.LastSeq != 2 {
		t.Errorf("got %+v; want title u and seq 2", got)
	}
	ann.call("PATCH", chatPath(v.ID), `{"title":"u"}`).want(t, 200, "").into(t, &got)
	if got.LastSeq != 2 {
		t.Errorf("got seq %d for a title that it has; want 2", got.LastSeq)
	}
	// Handing the group over is two events.
	ann.call("PUT", chatPath(v.ID, "members", string(cat.id)), `{"role":"owner"}`).want(t, 200, "").into(t, &got)
	if got.LastSeq != 4 || got.Members[0].Role != chat.Admin || got.Members[2].Role != chat.Owner {
		t.Errorf("got %+v; want cat to own it at seq 4", got)
	}
	if r := cat.call("DELETE", chatPath(v.ID, "members", string(cat.id)), nil).want(t, 200, ""); string(r.body) != `{"id":"`+string(v.ID)+`","left":true}` {
		t.Errorf("got %s", r.body)
	}
	ben.call("GET", chatPath(v.ID), nil).want(t, 200, "").into(t, &got)
	if got.LastSeq != 6 || got.Members[0].Role != chat.Owner {
		t.Errorf("got %+v; want ann to inherit at seq 6", got)
	}
}

func TestOfConcurrentDirectChatsOneIsMade(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.people("ann", "ben")
	var wg sync.WaitGroup
	var mu sync.Mutex
	count := map[int]int{}
	seen := map[chat.ID]bool{}
	for i := range 20 {
		wg.Go(func() {
			r := p[i%2].call("POST", "/v1/chats", map[string]any{"kind": "direct", "members": ids(p[1-i%2])})
			var v chatView
			r.into(t, &v)
			mu.Lock()
			defer mu.Unlock()
			count[r.status]++
			seen[v.ID] = true
			if v.MembersCount != 2 || v.Peer != p[1-i%2].id {
				t.Errorf("got %s", r.body)
			}
		})
	}
	wg.Wait()
	if count[201] != 1 || count[200] != 19 || len(seen) != 1 {
		t.Errorf("got %v and chats %v; want one 201, nineteen 200 and one chat", count, seen)
	}
	for _, x := range p {
		if chats, _ := x.list(""); len(chats) != 1 || chats[0].LastSeq != 1 {
			t.Errorf("got %+v; want one chat with one event", chats)
		}
	}
}

func TestOfTwoWhoAddTheHundredthMemberOneIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	all := make([]*person, 102)
	for i := range all {
		all[i] = w.person("p")
	}
	id := all[0].group(all[1:99]...)
	all[0].call("PUT", chatPath(id, "members", string(all[1].id)), `{"role":"admin"}`).want(t, 200, "")
	var wg sync.WaitGroup
	var mu sync.Mutex
	count := map[int]int{}
	for i := range 2 {
		wg.Go(func() {
			r := all[i].call("PUT", chatPath(id, "members", string(all[99+i].id)), nil)
			if r.status != 200 {
				r.want(t, 422, chat.TooManyMembers)
			}
			mu.Lock()
			defer mu.Unlock()
			count[r.status]++
		})
	}
	wg.Wait()
	if count[200] != 1 || count[422] != 1 {
		t.Fatalf("got %v; want one added and one refused", count)
	}
	links := w.store.links.Load()
	all[0].call("PUT", chatPath(id, "members", string(all[101].id)), nil).want(t, 422, chat.TooManyMembers)
	if w.store.links.Load() != links {
		t.Error("a refused member was put into the index")
	}
	all[0].call("POST", "/v1/chats", map[string]any{"kind": "group", "title": "t", "members": ids(all[1:101]...)}).want(t, 422, chat.TooManyMembers)
	all[0].call("POST", "/v1/chats", map[string]any{"kind": "group", "title": "t", "members": ids(all[:100]...)}).want(t, 201, "")
}

func TestTheIndexIsWrittenBeforeAnybodyIsMadeAMember(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.people("ann", "ben", "cat")
	ann, ben, cat := p[0], p[1], p[2]
	id := ann.group(ben)
	w.store.noLinks.Store(true)
	ann.call("PUT", chatPath(id, "members", string(cat.id)), nil).want(t, 503, chat.Unavailable)
	ann.call("POST", "/v1/chats", map[string]any{"kind": "direct", "members": ids(cat)}).want(t, 503, chat.Unavailable)
	ann.call("POST", "/v1/chats", map[string]any{"kind": "group", "title": "t", "members": ids(cat)}).want(t, 503, chat.Unavailable)
	cat.call("GET", chatPath(id), nil).want(t, 404, chat.NotFound)
	w.store.noLinks.Store(false)
	for _, x := range []struct {
		who  *person
		want int
	}{{ann, 1}, {cat, 0}} {
		if chats, _ := x.who.list(""); len(chats) != x.want {
			t.Errorf("got %d chats; want %d", len(chats), x.want)
		}
	}
	// Links without an event behind them are in nobody's way.
	check(t, w.store.Link(t.Context(), "gnever", 1, cat.id))
	ann.call("PUT", chatPath(id, "members", string(cat.id)), nil).want(t, 200, "")
	if chats, _ := cat.list(""); len(chats) != 1 || chats[0].ID != id {
		t.Errorf("got %+v; want the group", chats)
	}
}

// meddler is a log into which others write between a look and an append.
type meddler struct {
	Log
	before func(chat.Command)
}

func (m *meddler) Append(ctx context.Context, id chat.ID, cmd chat.Command) (chatlog.Receipt, error) {
	if f := m.before; f != nil {
		m.before = nil
		f(cmd)
	}
	return m.Log.Append(ctx, id, cmd)
}

func TestWhoIsAddedBetweenOthersChangesFindsTheChatInTheList(t *testing.T) {
	t.Parallel()
	m := &meddler{}
	w := newWorld(t, func(c *Config) { m.Log, c.Log = c.Log, m })
	p := w.people("ann", "cat")
	ann, cat := p[0], p[1]
	id := ann.group()
	m.before = func(cmd chat.Command) {
		for _, c := range []chat.Command{cmd, chat.RemoveMember{By: ann.id, User: cat.id}} {
			_, err := w.log.Append(t.Context(), id, c)
			check(t, err)
		}
		w.persist(id, 0) // the index forgets the person
	}
	ann.call("PUT", chatPath(id, "members", string(cat.id)), nil).want(t, 200, "")
	if chats, _ := cat.list(""); len(chats) != 1 {
		t.Errorf("got %d chats; want the one", len(chats))
	}
	// Who is removed meanwhile gets what a stranger gets.
	dan := w.person("dan")
	m.before = func(chat.Command) {
		_, err := w.log.Append(t.Context(), id, chat.RemoveMember{By: ann.id, User: ann.id})
		check(t, err)
	}
	got := ann.call("PUT", chatPath(id, "members", string(dan.id)), nil).want(t, 404, chat.NotFound)
	if none := ann.call("PUT", chatPath("nope", "members", string(dan.id)), nil); string(none.body) != string(got.body) {
		t.Errorf("got %s; want %s", got.body, none.body)
	}
}

func TestAMessageIsSentOnceAndCanBeReadAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.people("ann", "ben")
	id := p[0].direct(p[1])
	body := map[string]string{"client_id": "c1", "text": "hello"}
	var first, again sent
	p[0].call("POST", chatPath(id, "messages"), body).want(t, 201, "").into(t, &first)
	if first.Chat != id || first.Seq != 2 || first.SentAt.IsZero() || first.Duplicate {
		t.Errorf("got %+v", first)
	}
	p[0].call("POST", chatPath(id, "messages"), body).want(t, 200, "").into(t, &again)
	if again.Seq != first.Seq || !again.SentAt.Equal(first.SentAt.Time) {
		t.Errorf("got %+v; want %+v", again, first)
	}
	// The same id from the other one is another message.
	p[1].call("POST", chatPath(id, "messages"), body).want(t, 201, "")
	for _, persisted := range []bool{false, true} {
		if persisted {
			w.persist(id, 0)
		}
		var page wire.Page
		p[1].call("GET", chatPath(id, "messages"), nil).want(t, 200, "").into(t, &page)
		if len(page.Messages) != 3 || page.FromSeq != 1 || page.ToSeq != 3 || page.HasMore {
			t.Errorf("persisted %t: got %+v", persisted, page)
		}
		p[0].call("POST", chatPath(id, "messages"), body).want(t, 200, "").into(t, &again)
		if again.Seq != first.Seq {
			t.Errorf("persisted %t: got %+v; want %+v", persisted, again, first)
		}
	}
}

func TestPagesAreBoundedAndGoBothWays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann := w.person("ann")
	id := ann.group()
	for i := range 9 {
		ann.send(id, fmt.Sprint(i))
	}
	for _, persisted := range []chat.Seq{0, 4, 10} {
		if persisted > 0 {
			w.persist(id, persisted)
		}
		for _, c := range []struct {
			query    string
			from, to chat.Seq
			more     bool
		}{
			{"", 1, 10, false},
			{"?limit=3", 8, 10, true},
			{"?limit=1000", 1, 10, false},
			{"?before=8&limit=3", 5, 7, true},
			{"?before=4&limit=3", 1, 3, false},
			{"?before=1", 0, 0, false},
			{"?before=0&limit=2", 9, 10, true},
			{"?before=999&limit=2", 9, 10, true},
			{"?before=99999999999999999999&limit=2", 9, 10, true},
			{"?after=0&limit=3", 1, 3, true},
			{"?after=2&limit=3", 3, 5, true},
			{"?after=7&limit=3", 8, 10, false},
			{"?after=10", 0, 0, false},
			{"?after=99999999999999999999", 0, 0, false},
			{"?after=2&before=5", 3, 4, false},
			{"?after=2&before=9&limit=2", 3, 4, true},
			{"?after=2&before=3", 0, 0, false},
			{"?after=5&before=2", 0, 0, false},
		} {
			var page wire.Page
			ann.call("GET", chatPath(id, "messages"+c.query), nil).want(t, 200, "").into(t, &page)
			n := 0
			if c.to > 0 {
				n = int(c.to - c.from + 1)
			}
			if page.FromSeq != c.from || page.ToSeq != c.to || page.HasMore != c.more || len(page.Messages) != n {
				t.Errorf("persisted %d, %q: got %d..%d (%d) more %t; want %d..%d more %t", persisted, c.query, page.FromSeq,
					page.ToSeq, len(page.Messages), page.HasMore, c.from, c.to, c.more)
			}
			for i, m := range page.Messages {
				if e, err := wire.DecodeEvent(m); err != nil || e.Seq != c.from+chat.Seq(i) {
					t.Errorf("persisted %d, %q: got seq %d, %v; want %d", persisted, c.query, e.Seq, err, c.from+chat.Seq(i))
				}
			}
		}
	}
}

func TestWhatNeedsTheStoreIsUnavailableWithoutItAndTheRestGoesOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.people("ann", "ben", "cat")
	ann, ben, cat := p[0], p[1], p[2]
	id := ann.group(ben)
	for i := range 5 {
		ann.send(id, fmt.Sprint(i))
	}
	w.persist(id, 4)
	w.store.down.Store(true)
	for _, c := range []struct{ method, path, body string }{
		{"GET", "/v1/users/me", ""},
		{"GET", "/v1/users?username=ann", ""},
		{"GET", "/v1/users?id=" + string(ben.id), ""},
		{"GET", "/v1/chats", ""},
		{"GET", "/v1/presence?user=" + string(ben.id), ""},
		{"POST", "/v1/chats", `{"kind":"direct","members":["` + string(cat.id) + `"]}`},
		{"PUT", chatPath(id, "members", string(cat.id)), ""},
		{"DELETE", "/v1/sessions/current", ""},
		{"POST", "/v1/users", `{"username":"dora","password":"long enough"}`},
		{"POST", "/v1/sessions", `{"username":"dora","password":"long enough"}`},
	} {
		ann.call(c.method, c.path, c.body).want(t, 503, chat.Unavailable)
	}
	// The log has it all.
	ann.send(id, "still here")
	ben.call("GET", chatPath(id), nil).want(t, 200, "")
	for _, q := range []string{"", "?limit=2", "?before=3", "?after=0", "?after=6&limit=1", "?after=7"} {
		ben.call("GET", chatPath(id, "messages"+q), nil).want(t, 200, "")
	}
	ann.call("PATCH", chatPath(id), `{"title":"u"}`).want(t, 200, "")
	ann.call("DELETE", chatPath(id, "members", string(ben.id)), nil).want(t, 200, "")
	w.store.down.Store(false)
	ann.call("GET", "/v1/users/me", nil).want(t, 200, "")
}

func TestACursorMovesForwardOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.people("ann", "ben")
	id := p[0].direct(p[1])
	for i := range 5 {
		p[0].send(id, fmt.Sprint(i))
	}
	for _, c := range []struct{ seq, want chat.Seq }{{0, 0}, {3, 3}, {2, 3}, {6, 6}, {1, 6}} {
		var got struct {
			Chat chat.ID
			Seq  chat.Seq
		}
		p[1].call("PUT", chatPath(id, "read"), map[string]chat.Seq{"seq": c.seq}).want(t, 200, "").into(t, &got)
		if got.Chat != id || got.Seq != c.want {
			t.Errorf("read %d: got %+v; want %d", c.seq, got, c.want)
		}
	}
	p[1].call("PUT", chatPath(id, "read"), `{"seq":7}`).want(t, 400, chat.BadRequest)
}

package api

import (
	"encoding/json"
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

func at(id chat.ID, seq chat.Seq, more ...string) string {
	return chatPath(id, append([]string{"messages", strconv.FormatUint(uint64(seq), 10)}, more...)...)
}

func pinPath(id chat.ID, seq chat.Seq) string {
	return chatPath(id, "pins", strconv.FormatUint(uint64(seq), 10))
}

func reactionPath(id chat.ID, seq chat.Seq, emoji string) string {
	return at(id, seq, "reactions", url.PathEscape(emoji))
}

// post sends a body with a new client id.
func (p *person) post(id chat.ID, body map[string]any) sent {
	p.w.t.Helper()
	client, err := newID()
	check(p.w.t, err)
	body["client_id"] = client
	var s sent
	p.call("POST", chatPath(id, "messages"), body).want(p.w.t, 201, "").into(p.w.t, &s)
	return s
}

func (p *person) did(method, path string, body any) changed {
	p.w.t.Helper()
	var c changed
	p.call(method, path, body).want(p.w.t, 200, "").into(p.w.t, &c)
	return c
}

func (p *person) edit(id chat.ID, seq chat.Seq, text string) changed {
	p.w.t.Helper()
	return p.did("PATCH", at(id, seq), map[string]any{"text": text})
}

func (p *person) react(id chat.ID, seq chat.Seq, emoji string) changed {
	p.w.t.Helper()
	return p.did("PUT", reactionPath(id, seq, emoji), nil)
}

func (p *person) unreact(id chat.ID, seq chat.Seq, emoji string) changed {
	p.w.t.Helper()
	return p.did("DELETE", reactionPath(id, seq, emoji), nil)
}

func (p *person) deleteAll(id chat.ID, seq chat.Seq) changed {
	p.w.t.Helper()
	return p.did("DELETE", at(id, seq)+"?for=all", nil)
}

// message is a message as p sees it.
func (p *person) message(id chat.ID, seq chat.Seq) (m chat.Folded) {
	p.w.t.Helper()
	p.call("GET", at(id, seq), nil).want(p.w.t, 200, "").into(p.w.t, &m)
	return m
}

type pageOfMessages struct {
	Messages []chat.Folded `json:"messages"`
	HasMore  bool          `json:"has_more"`
	From     chat.Seq      `json:"from_seq"`
	To       chat.Seq      `json:"to_seq"`
	FoldedTo chat.Seq      `json:"folded_to"`
}

func (p *person) page(id chat.ID, query string) (page pageOfMessages) {
	p.w.t.Helper()
	p.call("GET", chatPath(id, "messages")+query, nil).want(p.w.t, 200, "").into(p.w.t, &page)
	return page
}

func TestAMessageIsChangedAndEverybodySeesItFolded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.people("ann", "ben", "cat")
	ann, ben, cat := p[0], p[1], p[2]
	id := ann.group(ben, cat)
	m := ann.send(id, "frist")
	if c := ann.edit(id, m.Seq, "first"); c.Seq != 3 || c.Target != m.Seq || c.Chat != id {
		t.Errorf("got %+v; want the event at 3", c)
	}
	if c := ann.edit(id, m.Seq, "first"); c.Seq != 3 {
		t.Errorf("got %+v; want the edit that was", c)
	}
	ben.react(id, m.Seq, "👍")
	cat.react(id, m.Seq, "👍")
	if c := cat.react(id, m.Seq, "👍"); c.Seq != 5 {
		t.Errorf("got %+v; want the reaction that was", c)
	}
	cat.react(id, m.Seq, "🎉")
	ben.unreact(id, m.Seq, "👍")
	if c := ben.unreact(id, m.Seq, "👍"); c.Seq != 7 {
		t.Errorf("got %+v; want what was", c)
	}
	if c := ben.unreact(id, m.Seq, "🎉"); c.Seq != m.Seq {
		t.Errorf("got %+v; want no event", c)
	}
	reply := ben.post(id, map[string]any{"text": "yes, @cat", "reply_to": m.Seq, "mentions": ids(cat)})
	for _, persisted := range []chat.Seq{1, 2, 5, 0} {
		w.persist(id, persisted)
		got := ann.page(id, "")
		if len(got.Messages) != 3 || got.From != 1 || got.To != 8 || got.HasMore || got.FoldedTo != 8 {
			t.Fatalf("got %+v; want three items of eight events", got)
		}
		first, second := got.Messages[1], got.Messages[2]
		if first.Text != "first" || first.Edits != 1 || first.EditedAt == nil || first.Seq != m.Seq || first.N != 1 ||
			!reflect.DeepEqual(first.Reactions, []chat.Reaction{{Emoji: "👍", Count: 1, Users: ids(cat)}, {Emoji: "🎉", Count: 1, Users: ids(cat)}}) {
			t.Errorf("got %+v", first)
		}
		if second.ReplyTo != m.Seq || second.Reply == nil || *second.Reply != (chat.Reply{Seq: m.Seq, Sender: ann.id, Text: "first"}) ||
			!slices.Equal(second.Mentions, ids(cat)) {
			t.Errorf("got %+v", second)
		}
		// Each alone, and a page that ends before what became of its messages.
		for _, m := range []chat.Folded{ben.message(id, m.Seq), ben.page(id, "?before=3&limit=1").Messages[0], ben.page(id, "?after=1&limit=1").Messages[0]} {
			if !reflect.DeepEqual(m, first) {
				t.Errorf("got %+v; want %+v", m, first)
			}
		}
		if alone := cat.page(id, "?limit=1"); len(alone.Messages) != 1 || !reflect.DeepEqual(alone.Messages[0], second) || alone.To != 8 || !alone.HasMore {
			t.Errorf("got %+v; want the reply", alone)
		}
	}
	var edits struct{ Edits []version }
	cat.call("GET", at(id, m.Seq, "edits"), nil).want(t, 200, "").into(t, &edits)
	if len(edits.Edits) != 2 || edits.Edits[0].Text != "frist" || edits.Edits[1].Text != "first" || edits.Edits[1].Seq != 3 {
		t.Errorf("got %+v; want both texts", edits)
	}
	var reactions struct {
		Reactions []reacted `json:"reactions"`
		HasMore   bool      `json:"has_more"`
	}
	cat.call("GET", at(id, m.Seq, "reactions")+"?limit=1", nil).want(t, 200, "").into(t, &reactions)
	if len(reactions.Reactions) != 1 || reactions.Reactions[0].Seq != 5 || reactions.Reactions[0].User != cat.id || !reactions.HasMore {
		t.Errorf("got %+v; want the one at 5", reactions)
	}
	if chats, _ := cat.list(""); chats[0].UnreadMentions != 1 || chats[0].Unread != 2 {
		t.Errorf("got %+v; want one mention", chats[0])
	}
	if c := ben.deleteAll(id, reply.Seq); c.Seq != 9 {
		t.Errorf("got %+v", c)
	}
	if chats, _ := cat.list(""); chats[0].UnreadMentions != 0 || !strings.Contains(string(chats[0].LastMessage), `"deleted":{"seq":9`) {
		t.Errorf("got %+v, %s; want no mention and a deleted message", chats[0], chats[0].LastMessage)
	}
}

func TestWhoMayChangeAMessage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.people("stranger", "former", "member", "admin", "owner", "victim", "newcomer")
	c := newCast(t, w, p)
	m := c.victim.send(c.chat, "mine")
	own := c.member.send(c.chat, "member's")
	const no, gone = 403, 404
	for _, x := range []struct {
		method, path, body string
		want               []int
	}{
		{"GET", at(c.chat, m.Seq), "", []int{401, gone, gone, 200, 200, 200}},
		{"GET", at(c.chat, m.Seq, "edits"), "", []int{401, gone, gone, 200, 200, 200}},
		{"GET", at(c.chat, m.Seq, "reactions"), "", []int{401, gone, gone, 200, 200, 200}},
		{"GET", at(c.chat, m.Seq, "receipts"), "", []int{401, gone, gone, 200, 200, 200}},
		{"GET", chatPath(c.chat, "pins"), "", []int{401, gone, gone, 200, 200, 200}},
		{"PATCH", at(c.chat, m.Seq), `{"text":"x"}`, []int{401, gone, gone, no, no, no}},
		{"PATCH", at(c.chat, own.Seq), `{"text":"x"}`, []int{401, gone, gone, 200, no, no}},
		{"PUT", reactionPath(c.chat, m.Seq, "👍"), "", []int{401, gone, gone, 200, 200, 200}},
		{"DELETE", reactionPath(c.chat, m.Seq, "👍"), "", []int{401, gone, gone, 200, 200, 200}},
		{"PUT", pinPath(c.chat, m.Seq), "", []int{401, gone, gone, no, 200, 200}},
		{"DELETE", pinPath(c.chat, m.Seq), "", []int{401, gone, gone, no, 200, 200}},
		{"DELETE", at(c.chat, m.Seq) + "?for=all", "", []int{401, gone, gone, no, 200, 200}},
		{"DELETE", at(c.chat, own.Seq) + "?for=all", "", []int{401, gone, gone, 200, 200, 200}},
	} {
		for i, role := range roles {
			body := any(nil)
			if x.body != "" {
				body = x.body
			}
			got := c.who(role).call(x.method, x.path, body)
			if got.status != x.want[i] {
				t.Errorf("%s %s %s by %s: got %d %s; want %d", x.method, x.path, x.body, role, got.status, got.body, x.want[i])
			}
			if x.want[i] == gone { // a chat that is not theirs looks like one that there is not
				none := c.who(role).call(x.method, strings.ReplaceAll(x.path, string(c.chat), "g0000000000000000000000000"), body)
				if string(none.body) != string(got.body) {
					t.Errorf("%s %s: got %s; for a chat that there is not %s", x.method, x.path, got.body, none.body)
				}
			}
		}
	}
	// In a direct chat nobody has a role.
	d := c.owner.direct(c.member)
	x := c.owner.send(d, "x")
	c.member.call("DELETE", at(d, x.Seq)+"?for=all", nil).want(t, 403, chat.Forbidden)
	c.member.did("PUT", pinPath(d, x.Seq), nil)
	c.owner.deleteAll(d, x.Seq)
}

func TestWhatCannotBeDoneToAMessageIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.people("ann", "ben", "eve")
	ann, ben, eve := p[0], p[1], p[2]
	id, other := ann.group(ben), eve.group(ben)
	m := ann.send(id, "text")
	foreign := eve.send(other, "secret")
	erased := ann.send(id, "erased")
	ann.deleteAll(id, erased.Seq)
	for _, c := range []struct {
		method, path string
		body         any
		status       int
		code         chat.Code
	}{
		{"GET", at(id, 1), nil, 404, chat.NotFound}, // a change
		{"GET", at(id, 99), nil, 404, chat.NotFound},
		{"GET", at(id, 0), nil, 404, chat.NotFound},
		{"GET", chatPath(id, "messages", "x"), nil, 404, chat.NotFound},
		{"GET", chatPath(id, "messages", "-1"), nil, 404, chat.NotFound},
		{"GET", chatPath(id, "messages", "99999999999999999999"), nil, 404, chat.NotFound},
		{"PATCH", at(id, m.Seq), map[string]any{"text": ""}, 400, chat.BadRequest},
		{"PATCH", at(id, m.Seq), map[string]any{"text": strings.Repeat("x", chat.MaxText+1)}, 422, chat.TooLong},
		{"PATCH", at(id, m.Seq), map[string]any{"text": "x", "mentions": []string{"a.b"}}, 400, chat.BadRequest},
		{"PATCH", at(id, m.Seq), map[string]any{"text": "x", "mentions": ids(eve)}, 400, chat.BadRequest},
		{"PATCH", at(id, m.Seq), map[string]any{"text": "x", "mentions": ids(ben, ben)}, 400, chat.BadRequest},
		{"PATCH", at(id, 1), map[string]any{"text": "x"}, 404, chat.NotFound},
		{"PATCH", at(id, erased.Seq), map[string]any{"text": "x"}, 404, chat.NotFound},
		{"PUT", reactionPath(id, erased.Seq, "👍"), nil, 404, chat.NotFound},
		{"PUT", pinPath(id, erased.Seq), nil, 404, chat.NotFound},
		{"PUT", pinPath(id, 1), nil, 404, chat.NotFound},
		{"GET", at(id, erased.Seq, "edits"), nil, 404, chat.NotFound},
		{"GET", at(id, erased.Seq, "reactions"), nil, 404, chat.NotFound},
		{"PUT", reactionPath(id, m.Seq, "ok"), nil, 400, chat.BadRequest},
		{"PUT", reactionPath(id, m.Seq, strings.Repeat("👍", 17)), nil, 400, chat.BadRequest},
		{"PUT", reactionPath(id, 1, "👍"), nil, 404, chat.NotFound},
		{"DELETE", at(id, m.Seq), nil, 400, chat.BadRequest},
		{"DELETE", at(id, m.Seq) + "?for=you", nil, 400, chat.BadRequest},
		{"DELETE", at(id, 1) + "?for=all", nil, 404, chat.NotFound},
		{"POST", chatPath(id, "messages"), map[string]any{"client_id": "a", "text": "x", "reply_to": 1}, 404, chat.NotFound},
		{"POST", chatPath(id, "messages"), map[string]any{"client_id": "a", "text": "x", "reply_to": 99}, 404, chat.NotFound},
		{"POST", chatPath(id, "messages"), map[string]any{"client_id": "a", "text": "x", "mentions": ids(eve)}, 400, chat.BadRequest},
		{"POST", chatPath(id, "messages"), map[string]any{"client_id": "a", "forward": map[string]any{"chat": other, "seq": foreign.Seq}}, 404, chat.NotFound},
		{"POST", chatPath(id, "messages"), map[string]any{"client_id": "a", "forward": map[string]any{"chat": id, "seq": erased.Seq}}, 404, chat.NotFound},
		{"POST", chatPath(id, "messages"), map[string]any{"client_id": "a", "text": "x", "forward": map[string]any{"chat": id, "seq": m.Seq}}, 400, chat.BadRequest},
		{"POST", chatPath(other, "messages"), map[string]any{"client_id": "a", "forward": map[string]any{"chat": id, "seq": m.Seq}}, 404, chat.NotFound},
	} {
		r := ann.call(c.method, c.path, c.body)
		if r.status != c.status {
			t.Errorf("%s %s %.80v: got %d %s; want %d", c.method, c.path, c.body, r.status, r.body, c.status)
			continue
		}
		r.want(t, c.status, c.code)
	}
}

func TestABoundOfAMessageIsKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.people("ann", "ben")
	ann, ben := p[0], p[1]
	id := ann.group(ben)
	m := ann.send(id, "0")
	for n := range chat.MaxReactions {
		ben.react(id, m.Seq, string(rune(0x1F600+n)))
	}
	ben.call("PUT", reactionPath(id, m.Seq, "👍"), nil).want(t, 409, chat.Conflict)
	ann.react(id, m.Seq, string(rune(0x1F600))) // one that is there
	ben.unreact(id, m.Seq, string(rune(0x1F601)))
	ben.react(id, m.Seq, "👍")
	for n := range chat.MaxEdits {
		ann.edit(id, m.Seq, fmt.Sprint(n+1))
		if n == 50 {
			w.persist(id, 0)
		}
	}
	ann.call("PATCH", at(id, m.Seq), map[string]any{"text": "one more"}).want(t, 409, chat.Conflict)
	ann.edit(id, m.Seq, fmt.Sprint(chat.MaxEdits)) // as it is
	got := ben.message(id, m.Seq)
	if got.Edits != chat.MaxEdits || got.Text != fmt.Sprint(chat.MaxEdits) || len(got.Reactions) != chat.MaxReactions {
		t.Errorf("got %d edits to %q and %d reactions", got.Edits, got.Text, len(got.Reactions))
	}
	var edits struct {
		Edits   []version
		HasMore bool `json:"has_more"`
	}
	var all []string
	for after, pages := chat.Seq(0), 0; pages == 0 || edits.HasMore; pages++ {
		ben.call("GET", at(id, m.Seq, "edits")+fmt.Sprintf("?limit=40&after=%d", after), nil).want(t, 200, "").into(t, &edits)
		for _, e := range edits.Edits {
			all, after = append(all, e.Text), e.Seq
		}
	}
	if len(all) != chat.MaxEdits+1 || all[0] != "0" || all[chat.MaxEdits] != fmt.Sprint(chat.MaxEdits) {
		t.Errorf("got %q; want every text", all)
	}
	for n := range chat.MaxPins {
		x := ann.send(id, fmt.Sprint(n))
		ann.did("PUT", pinPath(id, x.Seq), nil)
		if n == 0 {
			ann.did("PUT", pinPath(id, x.Seq), nil) // twice is once
		}
	}
	ann.call("PUT", pinPath(id, m.Seq), nil).want(t, 409, chat.Conflict)
	var pins struct{ Pins []pinned }
	ben.call("GET", chatPath(id, "pins"), nil).want(t, 200, "").into(t, &pins)
	if len(pins.Pins) != chat.MaxPins || pins.Pins[0].Message.Text != "0" || pins.Pins[0].By != ann.id {
		t.Errorf("got %d pins, first %+v", len(pins.Pins), pins.Pins[:1])
	}
	first := pins.Pins[0].Seq
	ann.deleteAll(id, first)
	ann.did("DELETE", pinPath(id, pins.Pins[1].Seq), nil)
	ben.call("GET", chatPath(id, "pins"), nil).want(t, 200, "").into(t, &pins)
	if len(pins.Pins) != chat.MaxPins-2 || pins.Pins[0].Message.Text != "2" {
		t.Errorf("got %d pins; want neither the deleted nor the one that was taken down", len(pins.Pins))
	}
	ann.did("PUT", pinPath(id, m.Seq), nil)
}

func TestNothingLandsOnAMessageThatIsErased(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.people("ann", "ben", "cat")
	ann, ben, cat := p[0], p[1], p[2]
	id := ann.group(ben, cat)
	for round := range 6 {
		m := ann.send(id, "text")
		var wg sync.WaitGroup
		var mu sync.Mutex
		var deletions []chat.Seq
		for n := range 3 {
			wg.Go(func() { ann.call("PATCH", at(id, m.Seq), map[string]any{"text": fmt.Sprint("edit ", n)}) })
			wg.Go(func() { ben.call("PUT", reactionPath(id, m.Seq, string(rune(0x1F600+n))), nil) })
			wg.Go(func() { cat.call("DELETE", reactionPath(id, m.Seq, "👍"), nil) })
			if n < 2 {
				wg.Go(func() {
					var c changed
					r := ann.call("DELETE", at(id, m.Seq)+"?for=all", nil)
					if err := json.Unmarshal(r.body, &c); err != nil || r.status != 200 {
						t.Errorf("got %d %s", r.status, r.body)
					}
					mu.Lock()
					defer mu.Unlock()
					deletions = append(deletions, c.Seq)
				})
			}
		}
		wg.Wait()
		if deletions[0] != deletions[1] {
			t.Fatalf("round %d: got deletions at %v; want one", round, deletions)
		}
		items, err := w.log.After(t.Context(), id, m.Seq-1, 0, 1000, 0)
		check(t, err)
		for _, it := range items {
			e, err := wire.DecodeEvent(it.Body)
			check(t, err)
			concerns := e.Seq == m.Seq || e.Target == m.Seq
			if concerns && e.Seq > deletions[0] {
				t.Errorf("round %d: a %s at %d landed behind the deletion at %d", round, e.Type, e.Seq, deletions[0])
			}
			if concerns && (e.Text != "" || (e.Type == chat.Message || e.Type == chat.Edited) && (e.Deleted == nil || e.Deleted.Seq != deletions[0])) {
				t.Errorf("round %d: got %s; want a stub", round, it.Body)
			}
		}
		if got := ben.message(id, m.Seq); got.Deleted == nil || got.Deleted.Seq != deletions[0] || got.Text != "" || len(got.Reactions) > 0 || got.Edits > 0 {
			t.Errorf("round %d: got %+v; want nothing but that it is deleted", round, got)
		}
	}
}

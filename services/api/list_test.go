package api

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/chatlog"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

func TestChatsAreListedByTheirLastEventPageByPage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.people("ann", "ben")
	ann, ben := p[0], p[1]
	var made []chat.ID
	for range 7 {
		made = append(made, ann.group(ben))
	}
	made = append(made, ann.direct(ben))
	time.Sleep(2 * time.Millisecond) // times have milliseconds
	ben.send(made[2], "up")
	want := []chat.ID{made[2], made[7], made[6], made[5], made[4], made[3], made[1], made[0]}
	all, next := ann.list("")
	if next != "" || len(all) != len(want) {
		t.Fatalf("got %d chats and cursor %q; want %d and none", len(all), next, len(want))
	}
	at := map[chat.ID]string{}
	for i, c := range all {
		snap, err := w.log.Snapshot(t.Context(), c.ID)
		check(t, err)
		at[c.ID] = snap.Head.At.Format(time.RFC3339Nano)
		if i > 0 && (at[all[i-1].ID] < at[c.ID] || at[all[i-1].ID] == at[c.ID] && all[i-1].ID > c.ID) {
			t.Errorf("%s of %s stands behind %s of %s", c.ID, at[c.ID], all[i-1].ID, at[all[i-1].ID])
		}
	}
	if all[0].ID != made[2] || all[0].Unread != 1 || all[0].LastSeq != 2 || all[0].Title != "a group" || all[0].MembersCount != 2 {
		t.Errorf("got %+v first; want the chat with the message", all[0])
	}
	if string(all[1].LastMessage) != "null" {
		t.Errorf("got %s; want null where there is no message", all[1].LastMessage)
	}
	var paged []chat.ID
	cursor := ""
	for n := 0; ; n++ {
		query := "?limit=3"
		if cursor != "" {
			query += "&cursor=" + cursor
		}
		var chats []listed
		chats, cursor = ann.list(query)
		for _, c := range chats {
			paged = append(paged, c.ID)
		}
		if cursor == "" {
			break
		}
		if len(chats) != 3 || n > 3 {
			t.Fatalf("page %d has %d chats", n, len(chats))
		}
	}
	if len(paged) != len(all) {
		t.Fatalf("got %d chats page by page; want %d", len(paged), len(all))
	}
	for i := range paged {
		if paged[i] != all[i].ID {
			t.Errorf("got %s at %d; want %s", paged[i], i, all[i].ID)
		}
	}
	if chats, next := w.person("eve").list("?limit=1000"); chats == nil || len(chats) != 0 || next != "" {
		t.Errorf("got %v, %q for a newcomer; want an empty list", chats, next)
	}
}

func TestTheLastMessageIsFoundBehindChangesAndCut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.people("ann", "ben")
	id := p[0].group(p[1])
	last := func() (e struct {
		chat.Event
		Truncated bool
	}) {
		t.Helper()
		chats, _ := p[1].list("")
		reply{body: chats[0].LastMessage}.into(t, &e)
		return e
	}
	p[0].send(id, strings.Repeat("é", 1000))
	if e := last(); utf8.RuneCountInString(e.Text) != 1000 || e.Truncated {
		t.Errorf("got %d code points, truncated %t; want 1000, whole", utf8.RuneCountInString(e.Text), e.Truncated)
	}
	s := p[0].send(id, strings.Repeat("\U0001F600", 1001))
	for n := range 40 {
		if n == 0 || n == 1 || n == 15 || n == 16 || n == 39 {
			for _, persisted := range []bool{false, true} {
				if persisted {
					w.persist(id, 0)
				}
				if e := last(); e.Seq != s.Seq || utf8.RuneCountInString(e.Text) != 1000 || !e.Truncated || e.Sender != p[0].id {
					t.Errorf("%d changes later: got seq %d with %d code points, truncated %t; want %d with 1000, truncated", n, e.Seq,
						utf8.RuneCountInString(e.Text), e.Truncated, s.Seq)
				}
			}
		}
		p[0].call("PATCH", chatPath(id), map[string]string{"title": fmt.Sprint(n)}).want(t, 200, "")
	}
	// From wherever one looks.
	w.persist(id, 0)
	for seq := chat.Seq(1); seq <= 43; seq++ {
		want, snap := min(seq, 3), chatlog.Snapshot{Head: chatlog.Head{Seq: seq, N: uint64(min(seq, 3) - 1)}, State: &chat.State{Chat: id}}
		body, err := w.api.lastMessage(t.Context(), p[1].id, snap)
		check(t, err)
		if seq == 1 {
			if body != nil {
				t.Errorf("got %s; want no message before the first", body)
			}
			continue
		}
		if e, err := wire.DecodeEvent(body); err != nil || e.Seq != want {
			t.Errorf("up to %d: got %d, %v; want %d", seq, e.Seq, err, want)
		}
	}
}

// unreadModel is what a person would count.
type unreadModel struct {
	senders []chat.UserID // of each event; empty for a change
	read    map[chat.UserID]int
}

func (m *unreadModel) unread(u chat.UserID) (n uint64) {
	for seq := m.read[u] + 1; seq <= len(m.senders); seq++ {
		if s := m.senders[seq-1]; s != "" && s != u {
			n++
		}
	}
	return n
}

func TestUnreadIsWhatAPersonWouldCount(t *testing.T) {
	w := newWorld(t)
	p := w.people("ann", "ben", "cat")
	late := w.person("dan")
	checks(t, 20) // each is a chat with a dozen synced events
	rapid.Check(t, func(rt *rapid.T) {
		id := p[0].group(p[1], p[2])
		m := &unreadModel{senders: []chat.UserID{""}, read: map[chat.UserID]int{}}
		look := func(who *person) {
			snap, err := w.log.Snapshot(t.Context(), id)
			check(t, err)
			l, err := w.api.listed(t.Context(), who.id, snap)
			check(t, err)
			if l.Unread != m.unread(who.id) || l.ReadSeq != chat.Seq(m.read[who.id]) || l.LastSeq != chat.Seq(len(m.senders)) {
				rt.Fatalf("%s: got %d unread behind %d of %d; want %d behind %d of %d", who.name, l.Unread, l.ReadSeq, l.LastSeq,
					m.unread(who.id), m.read[who.id], len(m.senders))
			}
		}
		members := p
		for range rapid.IntRange(1, 12).Draw(rt, "steps") {
			who := rapid.SampledFrom(members).Draw(rt, "who")
			switch rapid.SampledFrom([]string{"send", "send", "read", "title", "persist", "join"}).Draw(rt, "what") {
			case "send":
				who.send(id, "x")
				m.senders = append(m.senders, who.id)
				m.read[who.id] = len(m.senders)
			case "read":
				seq := rapid.IntRange(0, len(m.senders)).Draw(rt, "seq")
				who.call("PUT", chatPath(id, "read"), map[string]int{"seq": seq}).want(t, 200, "")
				m.read[who.id] = max(m.read[who.id], seq)
			case "title":
				p[0].call("PATCH", chatPath(id), map[string]string{"title": fmt.Sprint(len(m.senders))}).want(t, 200, "")
				m.senders = append(m.senders, "")
			case "persist":
				w.persist(id, chat.Seq(rapid.IntRange(1, len(m.senders)).Draw(rt, "up to")))
			case "join":
				if len(members) == len(p) {
					p[0].call("PUT", chatPath(id, "members", string(late.id)), nil).want(t, 200, "")
					m.senders = append(m.senders, "")
					members = append(members[:len(p):len(p)], late)
				}
			}
			look(who)
		}
		for _, who := range members {
			look(who)
		}
	})
}

func TestUnreadIsRightWhenTheHeadIsOlderThanTheCursor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.people("ann", "ben")
	id := p[0].direct(p[1])
	p[1].send(id, "one")
	snap, err := w.log.Snapshot(t.Context(), id)
	check(t, err)
	p[0].send(id, "two")
	w.persist(id, 0)
	at, err := w.api.standing(t.Context(), p[0].id, snap)
	if err != nil || at.read != 2 || at.unread != 0 {
		t.Errorf("got %+v, %v; want none unread behind 2", at, err)
	}
}

func TestAnEventThatPersistsWhileTheListIsReadIsNotLost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.people("ann", "ben")
	id := p[0].direct(p[1])
	w.persist(id, 0)
	rec, err := w.store.Record(t.Context(), id)
	check(t, err)
	at, err := w.log.Cursor(t.Context(), id, p[0].id)
	check(t, err)
	p[0].send(id, "own")
	snap, err := w.log.Snapshot(t.Context(), id)
	check(t, err)
	w.persist(id, 0) // after record and cursor were read
	got, err := w.api.ownAfter(t.Context(), p[0].id, snap, rec, at, &mentioned{})
	if err != nil || got.Seq != 2 || got.N != 1 {
		t.Errorf("got %+v, %v; want the own message", got, err)
	}
}

func FuzzChatListCursor(f *testing.F) {
	f.Add(place{1_700_000_000_000, "g0123456789abcdefghijklmnop"}.String())
	f.Add("")
	f.Add("AAAAAAAAAAA")
	f.Add("_____________w")
	f.Add("AAAAAAAAAABhYg==")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := parsePlace(s)
		if err != nil {
			if !chat.Is(err, chat.BadRequest) {
				t.Fatalf("got %v; want bad_request", err)
			}
			return
		}
		if _, err := chat.ParseID(string(p.id)); err != nil || p.at < 0 || p.String() != s {
			t.Fatalf("got %+v of %q, which is written %q", p, s, p.String())
		}
	})
}

func FuzzDecodeBody(f *testing.F) {
	for _, s := range []string{`{}`, `null`, ``, `[]`, `{"members":["a",7]}`, `{"seq":1e3}`, `{"seq":-1}`, `{"text":"\ud800"}`, "{\"text\":\"\xff\"}",
		`{"kind":"group","title":"t","members":["a"]}`, `{"text":"a"} {}`, strings.Repeat(`{"members":[`, 100)} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var in struct {
			Kind     chat.Kind `json:"kind"`
			Title    string    `json:"title"`
			Members  []string  `json:"members"`
			Text     string    `json:"text"`
			ClientID string    `json:"client_id"`
			Seq      *chat.Seq `json:"seq"`
		}
		if err := decodeObject(data, &in); err != nil {
			if e := chat.AsError(err); e.Code != chat.BadRequest || !utf8.ValidString(e.Message) || len(e.Message) > 100 {
				t.Fatalf("got %v; want a short bad_request", err)
			}
			return
		}
		for _, s := range append(in.Members, in.Title, in.Text, in.ClientID, string(in.Kind)) {
			if !utf8.ValidString(s) {
				t.Fatalf("got %q, which is not UTF-8", s)
			}
		}
		if others, err := othersOf("me", in.Members); err == nil && len(others) >= chat.MaxMembers {
			t.Fatalf("got %d members", len(others))
		}
		_ = wire.Encode(in)
	})
}

package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chatmesh/chatmesh/e2e/program"
	"github.com/chatmesh/chatmesh/e2e/raw"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/client"
)

// do asks for a change of a message over a socket and wants an ack; it returns the event that the ack names.
func do(t *testing.T, s *raw.Socket, request raw.Object) uint64 {
	t.Helper()
	f, err := s.Ask(request)
	if err != nil {
		t.Fatal(err)
	}
	if f.Type != "ack" || f.Seq == 0 || f.Chat != request["chat"] {
		t.Fatalf("%v: got %s; want an ack", request, f.Raw)
	}
	return f.Seq
}

// messagePath is the path of a message, or of something of it.
func messagePath(chat string, seq uint64, more ...string) string {
	return "/v1/chats/" + chat + "/messages/" + strings.Join(append([]string{fmt.Sprint(seq)}, more...), "/")
}

// at returns the message at seq as it stands for the person.
func (p *person) at(chat string, seq uint64) (f raw.Frame) {
	p.t.Helper()
	p.must(http.StatusOK, http.MethodGet, messagePath(chat, seq), nil, &f)
	return f
}

func TestADeviceThatWasAwayWhileMessagesChangedSeesThemAsTheOthersDo(t *testing.T) {
	t.Parallel()
	srv := server(t)
	people := newPeople(t, srv, "changes", 3)
	alice, bob, carol := people[0], people[1], people[2]
	id := alice.group("changes", bob, carol)
	a, b := alice.device(nil), bob.device(nil)
	first := send(t, a, id, newClientID(), text("frist"))
	gone := send(t, a, id, newClientID(), text("a secret"))
	awaitSeq(t, "bob", b, id, gone.Seq)
	b.Close() // bob's device has seen both, as they were

	fixed := text("first")
	edited := do(t, a, raw.Object{"type": "edit", "chat": id, "seq": first.Seq, "text": fixed, "mentions": []string{bob.id}})
	if again := do(t, a, raw.Object{"type": "edit", "chat": id, "seq": first.Seq, "text": fixed, "mentions": []string{bob.id}}); again != edited {
		t.Errorf("the same edit again: got seq %d; want %d", again, edited)
	}
	c := carol.device(nil)
	for _, emoji := range []string{"👍", "🎉", "👍🏽"} {
		do(t, c, raw.Object{"type": "react", "chat": id, "seq": first.Seq, "emoji": emoji})
	}
	do(t, c, raw.Object{"type": "react", "chat": id, "seq": first.Seq, "emoji": "🎉", "remove": true})
	do(t, a, raw.Object{"type": "edit", "chat": id, "seq": gone.Seq, "text": text("another secret")})
	deleted := do(t, a, raw.Object{"type": "delete", "chat": id, "seq": gone.Seq, "for": "all"})
	if again := do(t, a, raw.Object{"type": "delete", "chat": id, "seq": gone.Seq, "for": "all"}); again != deleted {
		t.Errorf("deleted again: got seq %d; want %d", again, deleted)
	}
	do(t, a, raw.Object{"type": "pin", "chat": id, "seq": first.Seq})
	reply, err := c.Ask(raw.Object{"type": "send", "chat": id, "client_id": newClientID(), "text": text("yes"), "reply_to": first.Seq})
	if err != nil || reply.Type != "ack" {
		t.Fatalf("got %s, %v; want an ack", reply.Raw, err)
	}
	askRefused(t, c, "an edit of another's message", "forbidden", raw.Object{"type": "edit", "chat": id, "seq": first.Seq, "text": "mine"})
	askRefused(t, c, "a reaction to what is deleted", "not_found", raw.Object{"type": "react", "chat": id, "seq": gone.Seq, "emoji": "👍"})
	askRefused(t, c, "a mention of a stranger", "bad_request", raw.Object{"type": "send", "chat": id, "client_id": newClientID(), "text": "x",
		"mentions": []string{newPerson(t, srv, "stranger").id}})

	// Bob's device comes back with what it had: it is told everything, in order and without a text that is gone.
	b = bob.device(map[string]uint64{id: gone.Seq})
	awaitSeq(t, "bob", b, id, reply.Seq)
	missed := b.Events(id)
	contiguous(t, "what bob missed", missed, gone.Seq+1)
	var types []string
	for _, f := range missed {
		types = append(types, f.Type+f.Change)
	}
	if want := []string{"edit", "reaction", "reaction", "reaction", "reaction", "edit", "deletion", "chatpinned", "message"}; !slices.Equal(types, want) {
		t.Errorf("got %q; want %q", types, want)
	}
	if e := missed[5]; e.Text != "" || e.Deleted == nil || e.Deleted.Seq != deleted {
		t.Errorf("got %s; want the edit of what is deleted without its text", e.Raw)
	}
	// A new device reads the history, folded; so does everybody, at once and later.
	for _, p := range people {
		page := p.page(id, "")
		if len(page.Messages) != 5 || page.FromSeq != 1 || page.ToSeq != reply.Seq || page.FoldedTo < reply.Seq {
			t.Fatalf("%s: got %s; want 5 items of %d events", p.name, page.Raw, reply.Seq)
		}
		m, d, r := page.Messages[1], page.Messages[2], page.Messages[4]
		if m.Text != fixed || m.Edits != 1 || !slices.Equal(m.Mentions, []string{bob.id}) || len(m.Reactions) != 2 || m.Reactions[0].Emoji != "👍" ||
			m.Reactions[1].Emoji != "👍🏽" || m.Reactions[0].Count != 1 || m.Reactions[0].Users[0] != carol.id {
			t.Errorf("%s: got %s", p.name, m.Raw)
		}
		if d.Seq != gone.Seq || d.Deleted == nil || d.Deleted.By != alice.id || d.Text != "" || d.Edits != 0 {
			t.Errorf("%s: got %s; want nothing of it", p.name, d.Raw)
		}
		if r.Reply == nil || r.Reply.Text != fixed || r.Reply.Seq != first.Seq {
			t.Errorf("%s: got %s; want what it answers", p.name, r.Raw)
		}
	}
	if f := carol.at(id, first.Seq); f.Text != fixed {
		t.Errorf("got %s", f.Raw)
	}
	var pins struct {
		Pins []struct {
			Seq     uint64    `json:"seq"`
			Message raw.Frame `json:"message"`
		} `json:"pins"`
	}
	carol.must(http.StatusOK, http.MethodGet, "/v1/chats/"+id+"/pins", nil, &pins)
	if len(pins.Pins) != 1 || pins.Pins[0].Seq != first.Seq || pins.Pins[0].Message.Text != fixed {
		t.Errorf("got %+v; want the first message", pins)
	}
	var edits struct {
		Edits []struct{ Text string } `json:"edits"`
	}
	bob.must(http.StatusOK, http.MethodGet, messagePath(id, first.Seq, "edits"), nil, &edits)
	if len(edits.Edits) != 2 || !strings.HasPrefix(edits.Edits[0].Text, "frist") || edits.Edits[1].Text != fixed {
		t.Errorf("got %+v; want both texts", edits)
	}
	bob.refused("not_found", http.MethodGet, messagePath(id, gone.Seq, "edits"), nil)
}

func TestMentionsAreCountedApartFromUnread(t *testing.T) {
	t.Parallel()
	srv := server(t)
	people := newPeople(t, srv, "mentions", 3)
	alice, bob, carol := people[0], people[1], people[2]
	id := alice.group("mentions", bob, carol)
	s := alice.device(nil)
	say := func(mentions ...string) uint64 {
		t.Helper()
		return do(t, s, raw.Object{"type": "send", "chat": id, "client_id": newClientID(), "text": text("hello"), "mentions": mentions})
	}
	unread := func(p *person) [2]int {
		t.Helper()
		var list struct {
			Chats []struct {
				ID       string `json:"id"`
				Unread   int    `json:"unread"`
				Mentions int    `json:"unread_mentions"`
			} `json:"chats"`
		}
		p.must(http.StatusOK, http.MethodGet, "/v1/chats", nil, &list)
		for _, c := range list.Chats {
			if c.ID == id {
				return [2]int{c.Unread, c.Mentions}
			}
		}
		return [2]int{-1, -1}
	}
	first := say(bob.id, carol.id)
	say()
	second := say(bob.id)
	edited := say()
	do(t, s, raw.Object{"type": "edit", "chat": id, "seq": edited, "text": text("hello bob"), "mentions": []string{bob.id}})
	for who, want := range map[*person][2]int{alice: {0, 0}, bob: {4, 3}, carol: {4, 1}} {
		if got := unread(who); got != want {
			t.Errorf("%s: got unread and mentions %v; want %v", who.name, got, want)
		}
	}
	do(t, s, raw.Object{"type": "delete", "chat": id, "seq": second, "for": "all"})
	if got := unread(bob); got != [2]int{4, 2} {
		t.Errorf("after a deletion: got %v; want one mention less", got)
	}
	bob.must(http.StatusOK, http.MethodPut, "/v1/chats/"+id+"/read", raw.Object{"seq": first}, nil)
	if got := unread(bob); got != [2]int{3, 1} {
		t.Errorf("after reading the first: got %v", got)
	}
}

func TestAMessageIsPassedOnAndHiddenForOneselfOnly(t *testing.T) {
	t.Parallel()
	srv := server(t)
	people := newPeople(t, srv, "forward", 3)
	alice, bob, carol := people[0], people[1], people[2]
	from, to := alice.direct(bob), bob.group("others", carol)
	words := text("tell everybody")
	m := alice.post(from, words)
	var r receipt
	bob.must(http.StatusCreated, http.MethodPost, "/v1/chats/"+to+"/messages",
		raw.Object{"client_id": newClientID(), "forward": raw.Object{"chat": from, "seq": m}}, &r)
	if f := carol.at(to, r.Seq); f.Text != words || f.Forwarded == nil || f.Forwarded.Sender != alice.id || f.Sender != bob.id {
		t.Errorf("got %s; want alice's words from bob", f.Raw)
	}
	// The same over a socket, once for each client id.
	passing, again := bob.device(nil), newClientID()
	over := raw.Object{"type": "send", "chat": to, "client_id": again, "forward": raw.Object{"chat": from, "seq": m}}
	twice, err := passing.Ask(over)
	if err != nil || twice.Type != "ack" {
		t.Fatalf("over a socket: got %s, %v", twice.Raw, err)
	}
	if f := carol.at(to, twice.Seq); f.Text != words || f.Forwarded == nil || twice.ClientID != again || twice.Duplicate {
		t.Errorf("over a socket: got %s, then %s", twice.Raw, f.Raw)
	}
	if f, err := passing.Ask(over); err != nil || f.Seq != twice.Seq || !f.Duplicate {
		t.Errorf("over a socket again: got %s, %v; want the first seq", f.Raw, err)
	}
	carol.refused("not_found", http.MethodPost, "/v1/chats/"+to+"/messages",
		raw.Object{"client_id": newClientID(), "forward": raw.Object{"chat": from, "seq": m}})
	// Hidden on one device it is hidden on the other, and nobody else sees a difference.
	other := carol.login().device(nil)
	do(t, carol.device(nil), raw.Object{"type": "delete", "chat": to, "seq": r.Seq, "for": "me"})
	if _, err := other.Await(raw.Patience, func(f raw.Frame) bool { return f.Type == "hidden" && f.Chat == to }); err != nil {
		t.Errorf("the other device is not told: %v", err)
	}
	if page := carol.page(to, ""); len(page.Messages) != 2 || page.ToSeq != twice.Seq {
		t.Errorf("carol: got %s; want the creation and the other message only", page.Raw)
	}
	carol.refused("not_found", http.MethodGet, messagePath(to, r.Seq), nil)
	if page := bob.page(to, ""); len(page.Messages) != 3 {
		t.Errorf("bob: got %s; want the message", page.Raw)
	}
	// What bob passed on stays when alice deletes hers.
	alice.must(http.StatusOK, http.MethodDelete, messagePath(from, m)+"?for=all", nil, nil)
	if f := bob.at(to, r.Seq); f.Text != words {
		t.Errorf("got %s", f.Raw)
	}
}

func TestWhoReadAMessageIsToldOnRequest(t *testing.T) {
	t.Parallel()
	srv := server(t)
	people := newPeople(t, srv, "readers", 3)
	alice, bob, carol := people[0], people[1], people[2]
	id := alice.group("readers", bob, carol)
	m := alice.post(id, text("read this"))
	do(t, bob.device(nil), raw.Object{"type": "read", "chat": id, "seq": m})
	do(t, carol.device(nil), raw.Object{"type": "delivered", "chat": id, "seq": m})
	var got struct {
		ReadCount      int      `json:"read_count"`
		DeliveredCount int      `json:"delivered_count"`
		Read           []string `json:"read"`
	}
	eventually(t, raw.Patience, "the receipts", func() bool {
		alice.must(http.StatusOK, http.MethodGet, messagePath(id, m, "receipts"), nil, &got)
		return got.ReadCount == 1 && got.DeliveredCount == 2
	})
	if got.Read[0] != bob.id {
		t.Errorf("got %+v; want bob", got)
	}
}

// found lists the files under a folder that hold a text.
func found(t *testing.T, folder, text string) (files []string) {
	t.Helper()
	err := filepath.WalkDir(folder, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil // the store may have removed it just now
		}
		if b, err := os.ReadFile(path); err == nil && strings.Contains(string(b), text) {
			files = append(files, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestADeletedTextIsInNoFileOfTheBroker(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	srv := program.Start(t, program.Config{Data: data})
	alice, bob := newPerson(t, srv, "alice"), newPerson(t, srv, "bob")
	id := alice.group("erase", bob)
	s := alice.device(nil)
	words, changed, kept := text("marker one"), text("marker two"), text("marker three")
	m := send(t, s, id, newClientID(), words)
	do(t, s, raw.Object{"type": "edit", "chat": id, "seq": m.Seq, "text": changed})
	send(t, s, id, newClientID(), kept)
	broker := filepath.Join(data, "nats")
	for _, text := range []string{words, changed, kept} {
		if len(found(t, broker, text)) == 0 {
			t.Fatal("the broker's files do not have a text that was acked: this story looks in the wrong place")
		}
	}
	do(t, s, raw.Object{"type": "delete", "chat": id, "seq": m.Seq, "for": "all"})
	for _, text := range []string{words, changed} {
		if files := found(t, broker, text); len(files) > 0 {
			t.Errorf("after the ack of the deletion the text is in %q", files)
		}
	}
	if len(found(t, broker, kept)) == 0 {
		t.Error("a text that nobody deleted is gone")
	}
}

func TestTheSDKFoldsWhatADeviceMissed(t *testing.T) {
	t.Parallel()
	srv := server(t)
	join := func(name string) *client.Client {
		c, err := client.Register(t.Context(), srv.Client, client.Account{Username: name + "_" + random(6), Password: canary + random(6)},
			client.WithTokenHook(func(tokens client.Tokens) { srv.Guard(tokens.Access, tokens.Refresh) }))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		return c
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	must := func(seq chat.Seq, err error) chat.Seq {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return seq
	}
	alice, bob := join("alice"), join("bob")
	group, err := alice.NewGroup(ctx, "folds", bob.User().ID)
	if err != nil {
		t.Fatal(err)
	}
	connect := func(c *client.Client, cursor chat.Seq) *client.Conn {
		t.Helper()
		conn, err := c.Connect(ctx, client.ConnConfig{Cursors: map[chat.ID]chat.Seq{group.ID: cursor}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	a := connect(alice, 1)
	var sent []chat.Seq
	for i := range 4 {
		r, err := a.Send(ctx, client.Outgoing{Chat: group.ID, Text: text("message %d", i)})
		sent = append(sent, must(r.Seq, err))
	}
	// Bob's device has seen the four and goes away.
	var there client.Fold
	take := func(f *client.Fold, conn *client.Conn, last chat.Seq) {
		t.Helper()
		for seq := chat.Seq(0); seq < last; {
			u, err := conn.Next(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if u.Event != nil {
				f.Event(u.Event)
				seq = u.Event.Seq
			}
		}
	}
	b := connect(bob, 1)
	take(&there, b, sent[3])
	b.Close()
	must(a.Edit(ctx, group.ID, sent[0], text("edited"), bob.User().ID))
	must(a.React(ctx, group.ID, sent[1], "👍"))
	must(a.Delete(ctx, group.ID, sent[2]))
	must(a.Pin(ctx, group.ID, sent[0]))
	must(a.React(ctx, group.ID, sent[1], "🎉"))
	must(a.Unreact(ctx, group.ID, sent[1], "👍"))
	r, err := a.Reply(ctx, sent[0], client.Outgoing{Chat: group.ID, Text: text("reply")})
	last := must(r.Seq, err)
	// One device goes on from its cursor, a new one reads a page and then listens; a third has the page after the events.
	take(&there, connect(bob, sent[3]), last)
	page, err := bob.Messages(ctx, group.ID, client.Range{})
	if err != nil {
		t.Fatal(err)
	}
	var fresh, both client.Fold
	fresh.Page(page)
	b2 := connect(bob, 1)
	take(&both, b2, last)
	both.Page(page)
	take(&fresh, connect(bob, 1), last)
	for name, f := range map[string]*client.Fold{"the one that was away": &there, "a new one": &fresh, "one with both": &both} {
		got := f.Messages()
		if len(got) != 5 {
			t.Fatalf("%s: got %d messages; want 5", name, len(got))
		}
		if got[0].Edits != 1 || !strings.HasPrefix(got[0].Text, "edited") || !slices.Equal(got[0].Mentions, []chat.UserID{bob.User().ID}) {
			t.Errorf("%s: got %+v", name, got[0])
		}
		if len(got[1].Reactions) != 1 || got[1].Reactions[0].Emoji != "🎉" || got[1].Reactions[0].Count != 1 {
			t.Errorf("%s: got %+v; want one reaction", name, got[1].Reactions)
		}
		if got[2].Deleted == nil || got[2].Text != "" {
			t.Errorf("%s: got %+v; want it deleted", name, got[2])
		}
		if got[4].Reply == nil || !strings.HasPrefix(got[4].Reply.Text, "edited") {
			t.Errorf("%s: got %+v; want what it answers", name, got[4].Reply)
		}
	}
	if pins, err := bob.Pins(ctx, group.ID); err != nil || len(pins) != 1 || pins[0].Seq != sent[0] {
		t.Errorf("got %+v, %v; want one pin", pins, err)
	}
	if v, err := bob.Versions(ctx, group.ID, sent[0]); err != nil || len(v) != 2 {
		t.Errorf("got %+v, %v; want two texts", v, err)
	}
}

package chat_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

// world is a chat beside a model of it that remembers everything: who received each event, and who is in it with what role.
type world struct {
	state *chat.State
	seq   chat.Seq
	roles map[chat.UserID]chat.Role
	title string
	about [3]string                // picture, description, digest of the link
	shut  map[chat.UserID]chat.Seq // whom somebody removed, with which event
	past  []map[chat.UserID]bool   // receivers of the event at seq = index + 1
	left  []chat.Seq               // of each departure
}

func newWorld() *world {
	return &world{state: &chat.State{}, roles: map[chat.UserID]chat.Role{}, shut: map[chat.UserID]chat.Seq{}}
}

// do decides and applies a command as an append does.
func (w *world) do(t *rapid.T, c chat.Command) error {
	events, err := c.Decide(w.state)
	if err != nil {
		return err
	}
	for i := range events {
		w.seq++
		e := &events[i]
		e.Chat, e.Seq = "c1", w.seq
		at := chat.Now()
		if e.Type == chat.Message {
			e.SentAt = &at
		} else {
			e.At = &at
		}
		before := *w.state
		before.Members, before.Left = slices.Clone(before.Members), slices.Clone(before.Left)
		next, err := w.state.Apply(e)
		if err != nil {
			t.Fatalf("decided what cannot follow: %v", err)
		}
		if after := w.state; !slices.Equal(after.Members, before.Members) || !slices.Equal(after.Left, before.Left) ||
			after.Seq != before.Seq || after.Title != before.Title || after.Picture != before.Picture ||
			after.Description != before.Description || after.Invite != before.Invite {
			t.Fatalf("Apply changed its receiver from %+v to %+v", before, *after)
		}
		if e.Type == chat.Message && next != w.state {
			t.Fatal("a message made a new state")
		}
		w.state = next
		w.learn(e)
	}
	return nil
}

// learn applies an event to the model.
func (w *world) learn(e *chat.Event) {
	to := map[chat.UserID]bool{}
	for u := range w.roles {
		to[u] = true
	}
	switch e.Change {
	case chat.Created:
		for _, m := range e.Members {
			w.roles[m.UserID] = m.Role
		}
		if e.Title != nil {
			w.title = *e.Title
		}
	case chat.MemberAdded, chat.RoleChanged:
		w.roles[e.User] = e.Role
	case chat.MemberRemoved:
		delete(w.roles, e.User)
		w.left = append(w.left, e.Seq)
		if delete(w.shut, e.User); e.By != e.User {
			w.shut[e.User] = e.Seq
		}
	case chat.PictureChanged:
		w.about[0] = *e.Picture
	case chat.DescriptionChanged:
		w.about[1] = *e.Description
	case chat.InviteChanged:
		w.about[2] = *e.Invite
	case chat.TitleChanged:
		w.title = *e.Title
	}
	for u := range w.roles {
		to[u] = true
	}
	w.past = append(w.past, to)
}

// horizon is the last event of which the state need not know the receivers any more.
func (w *world) horizon() chat.Seq {
	if over := len(w.left) - chat.MaxMembers; over > 0 {
		return w.left[over-1]
	}
	return 0
}

// check holds the state against the model and its invariants.
func (w *world) check(t *rapid.T) {
	s := w.state
	if len(s.Members) != len(w.roles) || len(s.Members) > chat.MaxMembers {
		t.Fatalf("got %d members; want %d", len(s.Members), len(w.roles))
	}
	owners := 0
	seen := map[chat.UserID]bool{}
	for _, m := range s.Members {
		if seen[m.UserID] {
			t.Fatalf("%s is a member twice", m.UserID)
		}
		seen[m.UserID] = true
		if m.Role != w.roles[m.UserID] || m.Role == chat.NoRole {
			t.Fatalf("%s: got role %q; want %q", m.UserID, m.Role, w.roles[m.UserID])
		}
		if m.Since == 0 || m.Since > s.Seq {
			t.Fatalf("%s is a member since %d, but the state is of %d", m.UserID, m.Since, s.Seq)
		}
		if m.Role == chat.Owner {
			owners++
		}
		if got, ok := s.Member(m.UserID); !ok || got != m {
			t.Fatalf("got %+v, %v; want %+v", got, ok, m)
		}
	}
	want := 0
	if s.Kind == chat.Group && len(s.Members) > 0 {
		want = 1
	}
	if owners != want {
		t.Fatalf("got %d owners; want %d", owners, want)
	}
	if s.Kind == chat.Direct && (len(s.Members) != 2 || len(s.Left) > 0 || s.Seq != 1) {
		t.Fatalf("a direct chat has changed: %+v", s)
	}
	digest := ""
	if s.Invite != nil {
		digest = s.Invite.Digest
	}
	if got := [3]string{s.Picture, s.Description, digest}; got != w.about {
		t.Fatalf("got %q; want %q", got, w.about)
	}
	if s.Title != w.title || len(s.Left) > chat.MaxMembers || s.Seq > w.seq {
		t.Fatalf("got title %q, %d departures, state %d; want %q, at most %d, at most %d", s.Title, len(s.Left), s.Seq,
			w.title, chat.MaxMembers, w.seq)
	}
}

// checkReceivers holds ReceiversAt against the model, for the events from seq from on.
func (w *world) checkReceivers(t *rapid.T, from chat.Seq) {
	for seq := max(from, 1); seq <= w.seq+2; seq++ {
		want := map[chat.UserID]bool{} // of an event to come: the members of now
		for u := range w.roles {
			want[u] = true
		}
		if seq <= w.seq {
			want = w.past[seq-1]
		}
		got := w.state.ReceiversAt(seq)
		for i, u := range got {
			if !want[u] {
				t.Fatalf("event %d of %d: %s receives it and was no member", seq, w.seq, u)
			}
			if slices.Contains(got[:i], u) {
				t.Fatalf("event %d of %d: %s receives it twice", seq, w.seq, u)
			}
		}
		if seq > w.horizon() && len(got) != len(want) {
			t.Fatalf("event %d of %d (known from %d on): got %d receivers; want %d", seq, w.seq, w.horizon()+1, len(got), len(want))
		}
	}
}

// mayJoin holds what is decided on a wish to join against the model.
func (w *world) mayJoin(t *rapid.T, c chat.Command) {
	join, ok := c.(chat.Join)
	if !ok {
		return
	}
	var want chat.Code
	_, in := w.roles[join.User]
	removed, shut := w.shut[join.User]
	switch {
	case w.about[2] != join.Digest, len(w.roles) == 0:
		want = chat.NotFound
	case in:
	case shut && removed > w.horizon():
		want = chat.Forbidden
	case len(w.roles) >= chat.MaxMembers:
		want = chat.TooManyMembers
	}
	events, err := c.Decide(w.state)
	if want == "" && (err != nil || in == (len(events) > 0)) || want != "" && !chat.Is(err, want) {
		t.Fatalf("%+v, member %v: got %+v, %v; want %q", join, in, events, err, want)
	}
}

var people = func() (out []chat.UserID) {
	for i := range 130 {
		out = append(out, chat.UserID(fmt.Sprintf("u%03d", i)))
	}
	return out
}()

var words = []string{"one", "two"}

// command draws something that somebody wants, allowed or not. A small circle leaves and comes back often.
func command(t *rapid.T, w *world, circle int) chat.Command {
	anyone := func(label string) chat.UserID { return people[rapid.IntRange(0, circle-1).Draw(t, label)] }
	by := anyone("by")
	if n := len(w.state.Members); n > 0 && rapid.IntRange(0, 9).Draw(t, "who") > 0 { // mostly somebody who may
		by = w.state.Members[rapid.IntRange(0, n-1).Draw(t, "member")].UserID
		if rapid.Bool().Draw(t, "owner") {
			for _, m := range w.state.Members {
				if m.Role == chat.Owner {
					by = m.UserID
				}
			}
		}
	}
	role := rapid.SampledFrom([]chat.Role{chat.NoRole, chat.NoRole, chat.Plain, chat.Admin, chat.Owner})
	switch rapid.IntRange(0, 13).Draw(t, "command") {
	case 10, 11:
		return chat.Join{User: anyone("joins"), Digest: rapid.SampledFrom([]string{"x", "y"}).Draw(t, "digest")}
	case 12:
		if rapid.IntRange(0, 2).Draw(t, "revoke") == 0 {
			return chat.RevokeInvite{By: by}
		}
		return chat.MakeInvite{By: by, Digest: rapid.SampledFrom([]string{"x", "y"}).Draw(t, "digest")}
	case 13:
		word := func(name string) *string {
			return rapid.SampledFrom([]*string{nil, new(string), &words[0], &words[1]}).Draw(t, name)
		}
		return chat.SetGroup{By: by, Title: word("title"), Picture: word("picture"), Description: word("description")}
	case 0:
		return chat.Send{Sender: by, ClientID: "x", Text: "hello"}
	case 1:
		return chat.SetTitle{By: by, Title: rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "title")}
	case 2, 3, 4, 5:
		return chat.PutMember{By: by, User: anyone("user"), Role: role.Draw(t, "role")}
	case 6:
		return chat.RemoveMember{By: by, User: by}
	case 7:
		return chat.Create{By: by, Kind: chat.Group, Title: "again"}
	default:
		return chat.RemoveMember{By: by, User: anyone("user")}
	}
}

func TestStateIsWhatAModelThatForgetsNothingSays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		circle := rapid.SampledFrom([]int{3, 12, 130}).Draw(t, "circle")
		create := chat.Create{By: people[0], Kind: chat.Group, Title: "t"}
		if rapid.IntRange(0, 9).Draw(t, "kind") == 0 {
			create = chat.Create{By: people[0], Kind: chat.Direct, Members: people[1:2]}
		} else {
			create.Members = people[1:rapid.IntRange(1, min(circle, chat.MaxMembers)).Draw(t, "members")]
		}
		if err := w.do(t, create); err != nil {
			t.Fatal(err)
		}
		w.check(t)
		for range rapid.IntRange(0, 200).Draw(t, "steps") {
			c := command(t, w, circle)
			before := w.seq
			w.mayJoin(t, c)
			if err := w.do(t, c); err != nil {
				if w.seq != before {
					t.Fatalf("%+v was refused and done", c)
				}
				for _, ok := range []chat.Code{chat.NotFound, chat.Forbidden, chat.TooManyMembers, chat.Conflict} {
					if chat.Is(err, ok) {
						err = nil
					}
				}
				if err != nil {
					t.Fatalf("%+v: %v", c, err)
				}
			}
			w.check(t)
			if w.seq > 6 {
				w.checkReceivers(t, w.seq-6)
			}
		}
		w.checkReceivers(t, 1)
		// What the broker keeps is the JSON of the state.
		b, err := json.Marshal(w.state)
		if err != nil {
			t.Fatal(err)
		}
		var again chat.State
		if err := json.Unmarshal(b, &again); err != nil || !reflect.DeepEqual(again, *w.state) {
			t.Fatalf("got %+v, %v; want %+v", again, err, *w.state)
		}
	})
}

func TestDeparturesBeyondAHundredAreForgottenAndNobodyElseLearnsOfThem(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		must := func(c chat.Command) {
			if err := w.do(t, c); err != nil {
				t.Fatalf("%+v: %v", c, err)
			}
		}
		must(chat.Create{By: people[0], Kind: chat.Group, Title: "t", Members: people[1:3]})
		for i := range rapid.IntRange(95, 140).Draw(t, "comings and goings") {
			u := people[1+i%rapid.IntRange(1, 7).Draw(t, "who")]
			if _, in := w.state.Member(u); !in {
				must(chat.PutMember{By: people[0], User: u})
			}
			must(chat.Send{Sender: u, ClientID: "x", Text: "hello"})
			must(chat.RemoveMember{By: people[0], User: u})
		}
		w.check(t)
		w.checkReceivers(t, 1)
		if want := min(len(w.left), chat.MaxMembers); len(w.state.Left) != want {
			t.Fatalf("got %d departures; want %d", len(w.state.Left), want)
		}
	})
}

func TestEventThatCannotFollowIsRefused(t *testing.T) {
	title := "t"
	group := chat.State{Chat: "c1", Seq: 5, Kind: chat.Group, Title: "t", Members: []chat.Member{
		{UserID: "ann", Role: chat.Owner, Since: 1}, {UserID: "bob", Role: chat.Plain, Since: 3}}}
	for _, c := range []struct {
		name  string
		state chat.State
		event chat.Event
	}{
		{"a second creation", group, chat.Event{Change: chat.Created, Seq: 6}},
		{"a change of no chat", chat.State{}, chat.Event{Change: chat.TitleChanged, Seq: 1, Title: &title}},
		{"a removal from no chat", chat.State{}, chat.Event{Change: chat.MemberRemoved, Seq: 1, User: "ann"}},
		{"the same event again", group, chat.Event{Change: chat.MemberAdded, Seq: 5, User: "cid"}},
		{"an older event", group, chat.Event{Change: chat.MemberAdded, Seq: 4, User: "cid"}},
		{"event zero", chat.State{}, chat.Event{Change: chat.Created}},
		{"a member who comes again", group, chat.Event{Change: chat.MemberAdded, Seq: 6, User: "bob"}},
		{"a stranger who leaves", group, chat.Event{Change: chat.MemberRemoved, Seq: 6, User: "cid"}},
		{"a stranger's role", group, chat.Event{Change: chat.RoleChanged, Seq: 6, User: "cid"}},
		{"a picture that is none", group, chat.Event{Change: chat.PictureChanged, Seq: 6}},
		{"a description that is none", group, chat.Event{Change: chat.DescriptionChanged, Seq: 6, Title: &title}},
		{"a link that is none", group, chat.Event{Change: chat.InviteChanged, Seq: 6}},
		{"a title that is none", group, chat.Event{Change: chat.TitleChanged, Seq: 6}},
		{"a change nobody knows", group, chat.Event{Change: "painted", Seq: 6}},
		{"no change", group, chat.Event{Seq: 6}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.event.Type = chat.Changed
			if next, err := c.state.Apply(&c.event); err == nil || next != nil {
				t.Fatalf("got %+v, %v; want an error", next, err)
			}
		})
	}
}

func TestRemovedPersonReceivesTheirRemovalAndNothingBehindIt(t *testing.T) {
	s := chat.State{Chat: "c1", Seq: 12, Kind: chat.Group,
		Members: []chat.Member{{UserID: "ann", Role: chat.Owner, Since: 1}, {UserID: "bob", Role: chat.Plain, Since: 12}},
		Left:    []chat.Departure{{UserID: "bob", Since: 2, Until: 4}, {UserID: "bob", Since: 6, Until: 6}, {UserID: "bob", Since: 8, Until: 10}}}
	for seq := chat.Seq(0); seq <= 14; seq++ {
		var want []chat.UserID
		if seq >= 1 {
			want = append(want, "ann")
		}
		if seq >= 2 && seq <= 4 || seq == 6 || seq >= 8 && seq <= 10 || seq >= 12 {
			want = append(want, "bob")
		}
		if got := s.ReceiversAt(seq); !slices.Equal(got, want) {
			t.Errorf("event %d: got %v; want %v", seq, got, want)
		}
	}
}

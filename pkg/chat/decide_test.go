package chat_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

// group is ann (owner), two admins and two members; zed is a stranger.
func group() *chat.State {
	return &chat.State{Chat: "g", Seq: 9, Kind: chat.Group, Title: "old", Members: []chat.Member{
		{UserID: "ann", Role: chat.Owner, Since: 1},
		{UserID: "adam", Role: chat.Admin, Since: 4},
		{UserID: "abel", Role: chat.Admin, Since: 3},
		{UserID: "pat", Role: chat.Plain, Since: 2},
		{UserID: "pia", Role: chat.Plain, Since: 5},
	}}
}

// outcome is what a decision says, in one line.
func outcome(s *chat.State, c chat.Command) string {
	events, err := c.Decide(s)
	if err != nil {
		e := chat.AsError(err)
		if len(events) > 0 {
			return "events and " + string(e.Code)
		}
		return string(e.Code)
	}
	var out []string
	for _, e := range events {
		if e.Seq != 0 || e.N != 0 || e.Chat != "" || e.At != nil || e.SentAt != nil {
			out = append(out, "placed!")
		}
		switch e.Change {
		case "":
			out = append(out, fmt.Sprintf("%s %s %s %s", e.Type, e.Sender, e.ClientID, e.Text))
		case chat.TitleChanged:
			out = append(out, fmt.Sprintf("title %s by %s", *e.Title, e.By))
		case chat.MemberRemoved:
			out = append(out, fmt.Sprintf("- %s by %s", e.User, e.By))
		case chat.MemberAdded:
			out = append(out, fmt.Sprintf("+ %s %s by %s", e.User, e.Role, e.By))
		case chat.RoleChanged:
			out = append(out, fmt.Sprintf("= %s %s by %s", e.User, e.Role, e.By))
		default:
			out = append(out, string(e.Change))
		}
	}
	return strings.Join(out, ", ")
}

const (
	nobody = "not_found"
	never  = "forbidden"
	as     = "" // as it is already
)

func TestWhoMayAddMembersAndGiveRoles(t *testing.T) {
	roles := []chat.Role{chat.NoRole, chat.Plain, chat.Admin, chat.Owner}
	for _, c := range []struct {
		by, user string
		want     [4]string // for no role, member, admin, owner
	}{
		{"ann", "new", [4]string{"+ new member by ann", "+ new member by ann", "+ new admin by ann", "+ new owner by ann, = ann admin by ann"}},
		{"ann", "pat", [4]string{as, as, "= pat admin by ann", "= pat owner by ann, = ann admin by ann"}},
		{"ann", "abel", [4]string{as, "= abel member by ann", as, "= abel owner by ann, = ann admin by ann"}},
		{"ann", "ann", [4]string{as, never, never, as}},

		{"adam", "new", [4]string{"+ new member by adam", "+ new member by adam", never, never}},
		{"adam", "pat", [4]string{as, as, never, never}},
		{"adam", "abel", [4]string{as, never, as, never}},
		{"adam", "ann", [4]string{as, never, never, as}},
		{"adam", "adam", [4]string{as, never, as, never}},

		{"pat", "new", [4]string{never, never, never, never}},
		{"pat", "pia", [4]string{as, as, never, never}},
		{"pat", "abel", [4]string{as, never, as, never}},
		{"pat", "ann", [4]string{as, never, never, as}},
		{"pat", "pat", [4]string{as, as, never, never}},

		{"zed", "new", [4]string{nobody, nobody, nobody, nobody}},
		{"zed", "pat", [4]string{nobody, nobody, nobody, nobody}},
		{"zed", "abel", [4]string{nobody, nobody, nobody, nobody}},
		{"zed", "ann", [4]string{nobody, nobody, nobody, nobody}},
		{"zed", "zed", [4]string{nobody, nobody, nobody, nobody}},
	} {
		for i, role := range roles {
			cmd := chat.PutMember{By: chat.UserID(c.by), User: chat.UserID(c.user), Role: role}
			if got := outcome(group(), cmd); got != c.want[i] {
				t.Errorf("%s gives %s the role %q: got %q; want %q", c.by, c.user, role, got, c.want[i])
			}
		}
	}
}

func TestWhoMayRemoveWhom(t *testing.T) {
	users := []string{"ann", "abel", "adam", "pat", "pia", "zed"}
	for by, want := range map[string][6]string{
		"ann":  {"- ann by ann, = abel owner by ann", "- abel by ann", "- adam by ann", "- pat by ann", "- pia by ann", nobody},
		"adam": {never, never, "- adam by adam", "- pat by adam", "- pia by adam", nobody},
		"pat":  {never, never, never, "- pat by pat", never, nobody},
		"zed":  {nobody, nobody, nobody, nobody, nobody, nobody},
	} {
		for i, user := range users {
			cmd := chat.RemoveMember{By: chat.UserID(by), User: chat.UserID(user)}
			if got := outcome(group(), cmd); got != want[i] {
				t.Errorf("%s removes %s: got %q; want %q", by, user, got, want[i])
			}
		}
	}
}

func TestWhoMaySendAndRename(t *testing.T) {
	for _, c := range []struct {
		by                string
		send, rename, old string
	}{
		{"ann", "message ann c hi", "title new by ann", as},
		{"adam", "message adam c hi", "title new by adam", as},
		{"pat", "message pat c hi", never, never},
		{"zed", nobody, nobody, nobody},
	} {
		by := chat.UserID(c.by)
		if got := outcome(group(), chat.Send{Sender: by, ClientID: "c", Text: "hi"}); got != c.send {
			t.Errorf("%s sends: got %q; want %q", by, got, c.send)
		}
		if got := outcome(group(), chat.SetTitle{By: by, Title: "new"}); got != c.rename {
			t.Errorf("%s renames: got %q; want %q", by, got, c.rename)
		}
		if got := outcome(group(), chat.SetTitle{By: by, Title: "old"}); got != c.old {
			t.Errorf("%s gives the title that it has: got %q; want %q", by, got, c.old)
		}
	}
}

func TestDirectChatCannotBeChangedAndNoChatIsNobodys(t *testing.T) {
	direct := &chat.State{Chat: "d", Seq: 1, Kind: chat.Direct, Members: []chat.Member{
		{UserID: "ann", Role: chat.Plain, Since: 1}, {UserID: "bob", Role: chat.Plain, Since: 1}}}
	commands := func(by chat.UserID) []chat.Command {
		return []chat.Command{
			chat.PutMember{By: by, User: "cid"}, chat.PutMember{By: by, User: "bob", Role: chat.Owner},
			chat.RemoveMember{By: by, User: "bob"}, chat.RemoveMember{By: by, User: by}, chat.RemoveMember{By: by, User: "cid"},
			chat.SetTitle{By: by, Title: "t"}, chat.SetTitle{By: by, Title: ""}, chat.SetGroup{By: by},
			chat.MakeInvite{By: by, Digest: "x"}, chat.RevokeInvite{By: by},
		}
	}
	for _, c := range commands("ann") {
		if got := outcome(direct, c); got != never {
			t.Errorf("%+v: got %q; want %q", c, got, never)
		}
	}
	for _, s := range []*chat.State{direct, {}} {
		for _, c := range append(commands("zed"), chat.Send{Sender: "zed", ClientID: "c", Text: "hi"}) {
			if got := outcome(s, c); got != nobody {
				t.Errorf("%+v in %q: got %q; want %q", c, s.Chat, got, nobody)
			}
		}
	}
	if got, want := outcome(direct, chat.Send{Sender: "bob", ClientID: "c", Text: "hi"}), "message bob c hi"; got != want {
		t.Errorf("got %q; want %q", got, want)
	}
}

func TestGroupOfAHundredTakesNobodyMore(t *testing.T) {
	s := group()
	for i := 0; len(s.Members) < chat.MaxMembers; i++ {
		s.Members = append(s.Members, chat.Member{UserID: chat.UserID(fmt.Sprintf("m%d", i)), Role: chat.Plain, Since: 9})
	}
	for _, role := range []chat.Role{chat.NoRole, chat.Admin, chat.Owner} {
		if got := outcome(s, chat.PutMember{By: "ann", User: "new", Role: role}); got != "too_many_members" {
			t.Errorf("role %q: got %q; want too_many_members", role, got)
		}
	}
	if got := outcome(s, chat.PutMember{By: "pat", User: "new"}); got != never {
		t.Errorf("somebody who may not add: got %q; want %q", got, never)
	}
	if got, want := outcome(s, chat.PutMember{By: "ann", User: "m1", Role: chat.Admin}), "= m1 admin by ann"; got != want {
		t.Errorf("a role in a full group: got %q; want %q", got, want)
	}
	s.Members = s.Members[:chat.MaxMembers-1]
	if got, want := outcome(s, chat.PutMember{By: "ann", User: "new"}), "+ new member by ann"; got != want {
		t.Errorf("the hundredth: got %q; want %q", got, want)
	}
}

func TestOwnerWhoLeavesIsFollowedByTheOldestAdminOrElseTheOldestMember(t *testing.T) {
	type m = chat.Member
	for _, c := range []struct {
		name    string
		members []chat.Member
		want    string
	}{
		{"alone", []m{{"ann", chat.Owner, 1}}, "- ann by ann"},
		{"one member", []m{{"ann", chat.Owner, 1}, {"bob", chat.Plain, 1}}, "- ann by ann, = bob owner by ann"},
		{"the oldest member", []m{{"bob", chat.Plain, 7}, {"ann", chat.Owner, 9}, {"cid", chat.Plain, 3}}, "- ann by ann, = cid owner by ann"},
		{"a young admin before old members", []m{{"ann", chat.Owner, 1}, {"bob", chat.Plain, 1}, {"cid", chat.Admin, 9}, {"dan", chat.Plain, 2}},
			"- ann by ann, = cid owner by ann"},
		{"the oldest admin", []m{{"ann", chat.Owner, 1}, {"bob", chat.Admin, 9}, {"cid", chat.Plain, 1}, {"dan", chat.Admin, 8}},
			"- ann by ann, = dan owner by ann"},
		{"of the same age the first", []m{{"bob", chat.Plain, 1}, {"cid", chat.Plain, 1}, {"ann", chat.Owner, 1}}, "- ann by ann, = bob owner by ann"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &chat.State{Chat: "g", Seq: 9, Kind: chat.Group, Members: c.members}
			if got := outcome(s, chat.RemoveMember{By: "ann", User: "ann"}); got != c.want {
				t.Fatalf("got %q; want %q", got, c.want)
			}
		})
	}
}

func TestCreateMakesOneOwnerOrTwoEquals(t *testing.T) {
	many := func(n int) (out []chat.UserID) {
		for i := range n {
			out = append(out, chat.UserID(fmt.Sprintf("m%d", i)))
		}
		return out
	}
	for _, c := range []struct {
		name  string
		cmd   chat.Create
		code  chat.Code
		title string
		want  []chat.Member
	}{
		{"a group of one", chat.Create{By: "ann", Kind: chat.Group, Title: "t"}, "", "t", []chat.Member{{UserID: "ann", Role: chat.Owner}}},
		{"a group", chat.Create{By: "ann", Kind: chat.Group, Title: "t", Members: []chat.UserID{"bob", "cid"}}, "", "t",
			[]chat.Member{{UserID: "ann", Role: chat.Owner}, {UserID: "bob", Role: chat.Plain}, {UserID: "cid", Role: chat.Plain}}},
		{"a group that names its maker and others twice", chat.Create{By: "ann", Kind: chat.Group, Title: "t", Members: []chat.UserID{"bob", "ann", "bob"}},
			"", "t", []chat.Member{{UserID: "ann", Role: chat.Owner}, {UserID: "bob", Role: chat.Plain}}},
		{"a direct chat", chat.Create{By: "ann", Kind: chat.Direct, Members: []chat.UserID{"bob"}}, "", "",
			[]chat.Member{{UserID: "ann", Role: chat.Plain}, {UserID: "bob", Role: chat.Plain}}},
		{"a direct chat that names both", chat.Create{By: "ann", Kind: chat.Direct, Title: "x", Members: []chat.UserID{"ann", "bob", "bob"}}, "", "",
			[]chat.Member{{UserID: "ann", Role: chat.Plain}, {UserID: "bob", Role: chat.Plain}}},
		{"a direct chat with oneself", chat.Create{By: "ann", Kind: chat.Direct, Members: []chat.UserID{"ann"}}, chat.BadRequest, "", nil},
		{"a direct chat with nobody", chat.Create{By: "ann", Kind: chat.Direct}, chat.BadRequest, "", nil},
		{"a direct chat of three", chat.Create{By: "ann", Kind: chat.Direct, Members: []chat.UserID{"bob", "cid"}}, chat.BadRequest, "", nil},
		{"101 in a group", chat.Create{By: "ann", Kind: chat.Group, Title: "t", Members: many(100)}, chat.TooManyMembers, "", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			events, err := c.cmd.Decide(&chat.State{})
			if c.code != "" {
				if !chat.Is(err, c.code) || events != nil {
					t.Fatalf("got %v, %v; want %s", events, err, c.code)
				}
				return
			}
			if err != nil || len(events) != 1 {
				t.Fatalf("got %v, %v; want one event", events, err)
			}
			e := events[0]
			if e.Type != chat.Changed || e.Change != chat.Created || e.By != "ann" || e.Kind != c.cmd.Kind || !slices.Equal(e.Members, c.want) {
				t.Fatalf("got %+v; want it created by ann with %v", e, c.want)
			}
			if (e.Title != nil) != (c.cmd.Kind == chat.Group) || e.Title != nil && *e.Title != c.title {
				t.Fatalf("got title %v; want %q", e.Title, c.title)
			}
		})
	}
	if events, err := (chat.Create{By: "ann", Kind: chat.Group, Title: "t", Members: append(many(99), "ann", "m1")}).Decide(&chat.State{}); err != nil ||
		len(events[0].Members) != chat.MaxMembers {
		t.Fatalf("a hundred with the maker, two of them twice: got %v, %v", events, err)
	}
	if _, err := (chat.Create{By: "ann", Kind: chat.Group, Title: "t"}).Decide(group()); !chat.Is(err, chat.Conflict) {
		t.Fatalf("a chat that exists: got %v; want %s", err, chat.Conflict)
	}
}

package chat_test

import (
	"strings"
	"testing"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

// linked is group with a link whose digest is x, and with people who went: lea left, rob was removed by ann and ray by adam, but ray came
// back and left.
func linked() *chat.State {
	s := group()
	s.Picture, s.Description = "https://a.example/p", "about"
	s.Invite = &chat.Invite{Digest: "x", By: "adam", Seq: 8}
	s.Left = []chat.Departure{{UserID: "lea", Since: 1, Until: 6}, {UserID: "ray", Since: 1, Until: 6, By: "adam"},
		{UserID: "rob", Since: 2, Until: 7, By: "ann"}, {UserID: "ray", Since: 8, Until: 9}}
	return s
}

func TestWhoMayChangeHowAGroupLooksAndItsLink(t *testing.T) {
	title, picture, description := "new", "https://b.example/q", "more"
	none := ""
	old := []string{"old", "https://a.example/p", "about"}
	for _, c := range []struct {
		name string
		cmd  func(by chat.UserID) chat.Command
		want string
	}{
		{"nothing", func(by chat.UserID) chat.Command { return chat.SetGroup{By: by} }, as},
		{"as it is", func(by chat.UserID) chat.Command {
			return chat.SetGroup{By: by, Title: &old[0], Picture: &old[1], Description: &old[2]}
		}, as},
		{"a picture", func(by chat.UserID) chat.Command { return chat.SetGroup{By: by, Picture: &picture} }, "picture"},
		{"no picture", func(by chat.UserID) chat.Command { return chat.SetGroup{By: by, Picture: &none} }, "picture"},
		{"a description", func(by chat.UserID) chat.Command { return chat.SetGroup{By: by, Description: &description} }, "description"},
		{"all of it", func(by chat.UserID) chat.Command {
			return chat.SetGroup{By: by, Title: &title, Picture: &picture, Description: &description}
		}, "title new by BY, picture, description"},
		{"two of three", func(by chat.UserID) chat.Command {
			return chat.SetGroup{By: by, Title: &old[0], Picture: &none, Description: &none}
		}, "picture, description"},
		{"a new link", func(by chat.UserID) chat.Command { return chat.MakeInvite{By: by, Digest: "y"} }, "invite"},
		{"the same link", func(by chat.UserID) chat.Command { return chat.MakeInvite{By: by, Digest: "x"} }, as},
		{"no link", func(by chat.UserID) chat.Command { return chat.RevokeInvite{By: by} }, "invite"},
	} {
		for by, want := range map[chat.UserID]string{"ann": c.want, "adam": c.want, "pat": never, "zed": nobody, "rob": nobody} {
			if got, want := outcome(linked(), c.cmd(by)), strings.ReplaceAll(want, "BY", string(by)); got != want {
				t.Errorf("%s by %s: got %q; want %q", c.name, by, got, want)
			}
		}
	}
	if got := outcome(group(), chat.RevokeInvite{By: "ann"}); got != as {
		t.Errorf("to revoke a link that there is not: got %q; want nothing", got)
	}
}

func TestWhoHasTheSecretJoinsUnlessSomebodyRemovedThem(t *testing.T) {
	full := linked()
	for len(full.Members) < chat.MaxMembers {
		full.Members = append(full.Members, chat.Member{UserID: chat.UserID(strings.Repeat("m", len(full.Members))), Role: chat.Plain, Since: 9})
	}
	deserted := linked()
	deserted.Members = nil
	for _, c := range []struct {
		name   string
		state  *chat.State
		user   chat.UserID
		digest string
		want   string
	}{
		{"a stranger", linked(), "zed", "x", "+ zed member by zed"},
		{"a member", linked(), "pat", "x", as},
		{"the owner", linked(), "ann", "x", as},
		{"who left", linked(), "lea", "x", "+ lea member by lea"},
		{"who was removed", linked(), "rob", "x", never},
		{"who was removed, came back and left", linked(), "ray", "x", "+ ray member by ray"},
		{"another secret", linked(), "zed", "y", nobody},
		{"a member with another secret", linked(), "pat", "y", nobody},
		{"no secret", linked(), "zed", "", nobody},
		{"no secret where there is no link", group(), "zed", "", nobody},
		{"no link", group(), "zed", "x", nobody},
		{"no chat", &chat.State{}, "zed", "", nobody},
		{"a group that all have left", deserted, "zed", "x", nobody},
		{"a full group", full, "zed", "x", "too_many_members"},
		{"a full group and another secret", full, "zed", "y", nobody},
		{"a full group that is theirs", full, "pat", "x", as},
	} {
		if got := outcome(c.state, chat.Join{User: c.user, Digest: c.digest}); got != c.want {
			t.Errorf("%s: got %q; want %q", c.name, got, c.want)
		}
	}
}

func TestANewLinkEndsTheOldOneAndRevokingEndsIt(t *testing.T) {
	s := group()
	step := func(c chat.Command) {
		t.Helper()
		events, err := c.Decide(s)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			e.Chat, e.Seq = s.Chat, s.Seq+1
			if s, err = s.Apply(&e); err != nil {
				t.Fatal(err)
			}
		}
	}
	first, second := chat.DigestOf([]byte("first")), chat.DigestOf([]byte("second"))
	step(chat.MakeInvite{By: "adam", Digest: first})
	if want := (chat.Invite{Digest: first, By: "adam", Seq: 10}); s.Invite == nil || *s.Invite != want {
		t.Fatalf("got %+v; want %+v", s.Invite, want)
	}
	step(chat.MakeInvite{By: "ann", Digest: second})
	for digest, want := range map[string]string{first: nobody, second: "+ zed member by zed"} {
		if got := outcome(s, chat.Join{User: "zed", Digest: digest}); got != want {
			t.Errorf("got %q; want %q", got, want)
		}
	}
	step(chat.RemoveMember{By: "adam", User: "pat"})
	step(chat.RevokeInvite{By: "adam"})
	if s.Invite != nil || outcome(s, chat.Join{User: "zed", Digest: second}) != nobody {
		t.Errorf("got %+v; want none", s.Invite)
	}
	if last := s.Left[len(s.Left)-1]; last.By != "adam" {
		t.Errorf("got %+v; want it to say that adam removed pat", last)
	}
}

func TestPictureIsAnHTTPSURLThatNobodyNeedsToFetch(t *testing.T) {
	long := "https://a.example/" + strings.Repeat("p", chat.MaxPicture)
	for picture, want := range map[string]chat.Code{
		"": "", "https://a.example": "", "https://a.example:8443/p.png?x=%20&y=1#z": "", "HTTPS://A.example/p": "", long[:chat.MaxPicture]: "",
		long[:chat.MaxPicture+1]: chat.TooLong,
		"http://a.example/p":     chat.BadRequest, "a.example/p": chat.BadRequest, "//a.example/p": chat.BadRequest, "https:///p": chat.BadRequest,
		"https:a.example": chat.BadRequest, "https://:443/p": chat.BadRequest, "https://u:pw@a.example/p": chat.BadRequest, "https://u@a.example": chat.BadRequest,
		"javascript:alert(1)": chat.BadRequest, "data:image/png;base64,AA": chat.BadRequest, "https://a.example/ä": chat.BadRequest,
		"https://a.example/a b": chat.BadRequest, "https://a.example/\n": chat.BadRequest, "https://a.example/\xff": chat.BadRequest, "https://a.example/%zz": chat.BadRequest,
	} {
		if err := chat.CheckPicture(picture); want == "" && err != nil || want != "" && !chat.Is(err, want) {
			t.Errorf("%.60q: got %v; want %q", picture, err, want)
		}
	}
}

func TestDescriptionIsCountedInCodePoints(t *testing.T) {
	for description, want := range map[string]chat.Code{
		"": "", "line\nline": "", strings.Repeat("😀", chat.MaxDescription): "",
		strings.Repeat("a", chat.MaxDescription+1): chat.TooLong, "\xff": chat.BadRequest,
	} {
		if err := chat.CheckDescription(description); want == "" && err != nil || want != "" && !chat.Is(err, want) {
			t.Errorf("%.20q: got %v; want %q", description, err, want)
		}
	}
}

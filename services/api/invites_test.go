package api

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// invite makes the link of a group and returns the path of its token.
func (p *person) invite(id chat.ID) string {
	p.w.t.Helper()
	var v struct{ Token string }
	p.call("POST", chatPath(id, "invite"), nil).want(p.w.t, 201, "").into(p.w.t, &v)
	return "/v1/invites/" + v.Token
}

// changes returns the changes of a chat as its log has them.
func (w *world) changes(id chat.ID) []chat.Event {
	w.t.Helper()
	page, err := w.log.Page(w.t.Context(), id, store.Range{Forward: true, Limit: 1000})
	check(w.t, err)
	var out []chat.Event
	for _, it := range page.Items {
		e, err := wire.DecodeEvent(it.Body)
		check(w.t, err)
		if e.Type == chat.Changed {
			out = append(out, e)
		}
	}
	return out
}

func TestWhoHasTheLinkSeesTheGroupAndJoinsIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.people("ann", "ben", "cat")
	ann, ben, cat := p[0], p[1], p[2]
	id := ann.group(ben)
	ann.call("PATCH", chatPath(id), `{"picture":"https://a.example/p","description":"about"}`).want(t, 200, "")
	link := ann.invite(id)
	want := `{"id":"` + string(id) + `","title":"a group","picture":"https://a.example/p","description":"about","members_count":2,"member":false}`
	if r := cat.call("GET", link, nil).want(t, 200, ""); string(r.body) != want {
		t.Errorf("got %s; want %s", r.body, want)
	}
	cat.call("GET", chatPath(id), nil).want(t, 404, chat.NotFound) // to look is not to join
	var v chatView
	cat.call("POST", link, nil).want(t, 200, "").into(t, &v)
	if v.ID != id || v.MembersCount != 3 || v.Members[2] != (memberView{cat.id, chat.Plain}) || v.Invite == nil || v.Invite.By != ann.id {
		t.Errorf("got %+v; want cat in it", v)
	}
	if chats, _ := cat.list(""); len(chats) != 1 || chats[0].ID != id || chats[0].Picture != "https://a.example/p" {
		t.Errorf("got %+v; want the group in the list at once", chats)
	}
	cat.call("POST", link, nil).want(t, 200, "").into(t, &v)
	ann.call("POST", link, nil).want(t, 200, "").into(t, &v)
	if all := w.changes(id); v.LastSeq != 5 || v.Members[0].Role != chat.Owner {
		t.Errorf("got %+v; want that nothing changes for who is a member", v)
	} else if e := all[4]; e.Change != chat.MemberAdded || e.User != cat.id || e.By != cat.id || e.Role != chat.Plain {
		t.Errorf("got %+v; want that cat joined", e)
	}
	cat.call("GET", link, nil).want(t, 200, "").into(t, &v)
	if r := cat.call("GET", link, nil); !strings.Contains(string(r.body), `"member":true`) {
		t.Errorf("got %s; want that cat is a member", r.body)
	}
}

func TestALinkThatDoesNotStandLooksLikeNone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.people("ann", "ben", "cat")
	ann, ben, cat := p[0], p[1], p[2]
	id, deserted := ann.group(ben), ann.group()
	first := ann.invite(id)
	second := ann.invite(id)
	empty := ann.invite(deserted)
	ann.call("DELETE", chatPath(deserted, "members", string(ann.id)), nil).want(t, 200, "")
	direct := "/v1/invites/" + inviteToken(ann.direct(ben), make([]byte, secretBytes))
	never := "/v1/invites/" + inviteToken("gnever", make([]byte, secretBytes))
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(second, "/v1/invites/"))
	check(t, err)
	raw[0] ^= 1
	other := "/v1/invites/" + base64.RawURLEncoding.EncodeToString(raw)
	none := cat.call("GET", never, nil).want(t, 404, chat.NotFound)
	for _, path := range []string{first, empty, direct, never, other, second + "A", "/v1/invites/AAAA", "/v1/invites/!", "/v1/invites/" + strings.Repeat("A", 24)} {
		for _, who := range []*person{cat, ben} {
			for _, method := range []string{"GET", "POST"} {
				if r := who.call(method, path, nil); r.status != 404 || string(r.body) != string(none.body) {
					t.Errorf("%s %s: got %d %s; want %s", method, path, r.status, r.body, none.body)
				}
			}
		}
	}
	cat.call("POST", second, nil).want(t, 200, "")
	var v chatView
	ann.call("DELETE", chatPath(id, "invite"), nil).want(t, 200, "").into(t, &v)
	if v.Invite != nil {
		t.Errorf("got %+v; want no link", v.Invite)
	}
	seq := v.LastSeq
	ann.call("DELETE", chatPath(id, "invite"), nil).want(t, 200, "").into(t, &v)
	if v.LastSeq != seq {
		t.Errorf("got seq %d; want that a link is revoked once", v.LastSeq)
	}
	cat.call("POST", second, nil).want(t, 404, chat.NotFound)
	if log := w.logged.String(); strings.Contains(log, strings.TrimPrefix(second, "/v1/invites/")) {
		t.Error("the log has the token of a link")
	}
	for _, e := range w.changes(id) {
		if strings.Contains(string(wire.Encode(e)), base64.RawURLEncoding.EncodeToString(raw[:secretBytes])) {
			t.Errorf("%+v has the secret", e)
		}
	}
}

func TestWhomSomebodyRemovedDoesNotComeBackByTheLink(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.people("ann", "ben", "cat")
	ann, ben, cat := p[0], p[1], p[2]
	id := ann.group(ben)
	link := ann.invite(id)
	out := func(by, who *person) {
		by.call("DELETE", chatPath(id, "members", string(who.id)), nil).want(t, 200, "")
	}
	cat.call("POST", link, nil).want(t, 200, "")
	out(cat, cat)
	cat.call("POST", link, nil).want(t, 200, "") // who left comes back
	out(ann, cat)
	links := w.store.links.Load()
	cat.call("POST", link, nil).want(t, 403, chat.Forbidden)
	ben.call("DELETE", chatPath(id, "invite"), nil).want(t, 403, chat.Forbidden)
	link = ann.invite(id)
	cat.call("POST", link, nil).want(t, 403, chat.Forbidden) // nor by another
	if w.store.links.Load() != links {
		t.Error("who may not join was put into the index")
	}
	ann.call("PUT", chatPath(id, "members", string(cat.id)), nil).want(t, 200, "")
	out(cat, cat)
	cat.call("POST", link, nil).want(t, 200, "")
}

func TestOfTwoWhoJoinAsTheHundredthOneIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	all := make([]*person, 102)
	for i := range all {
		all[i] = w.person("p")
	}
	id := all[0].group(all[1:99]...)
	link := all[0].invite(id)
	var wg sync.WaitGroup
	got := make([]reply, 3)
	for i, p := range all[99:] {
		wg.Go(func() { got[i] = p.call("POST", link, nil) })
	}
	wg.Wait()
	in := 0
	for _, r := range got {
		if r.status == 200 {
			in++
		} else {
			r.want(t, 422, chat.TooManyMembers)
		}
	}
	if in != 1 {
		t.Errorf("got %d of three in; want one", in)
	}
	if snap, err := w.log.Snapshot(t.Context(), id); err != nil || len(snap.State.Members) != chat.MaxMembers {
		t.Errorf("got %d members, %v; want a hundred", len(snap.State.Members), err)
	}
}

// What a link opens is decided at exactly the event before: nobody who comes after the revocation gets in, whatever a node knows.
func TestNobodyJoinsByALinkBehindItsEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann := w.person("ann")
	others := make([]*person, 12)
	for i := range others {
		others[i] = w.person("p")
	}
	late := w.person("late")
	stale := w.node()
	defer stale.stop()
	for round := range 3 {
		id := ann.group()
		link := ann.invite(id)
		_, digest, err := parseInvite(strings.TrimPrefix(link, "/v1/invites/"))
		check(t, err)
		if _, err := stale.log.Snapshot(t.Context(), id); err != nil { // knows the link from now on
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		status := make([]int, len(others))
		for i, p := range others {
			wg.Go(func() {
				if i%2 == 0 {
					status[i] = p.call("POST", link, nil).status
				} else if _, err := stale.log.Append(t.Context(), id, chat.Join{User: p.id, Digest: digest}); err == nil {
					status[i] = 200
				} else if chat.Is(err, chat.NotFound) {
					status[i] = 404
				}
			})
		}
		if round%2 == 0 {
			ann.call("DELETE", chatPath(id, "invite"), nil).want(t, 200, "")
		} else {
			ann.invite(id)
		}
		late.call("POST", link, nil).want(t, 404, chat.NotFound)
		if _, err := stale.log.Append(t.Context(), id, chat.Join{User: late.id, Digest: digest}); !chat.Is(err, chat.NotFound) {
			t.Errorf("got %v; want it not to be found", err)
		}
		wg.Wait()
		var in []chat.UserID
		ended := false
		for _, e := range w.changes(id) {
			switch e.Change {
			case chat.InviteChanged:
				ended = *e.Invite != digest
			case chat.MemberAdded:
				in = append(in, e.User)
				if ended {
					t.Errorf("%+v stands behind the end of the link", e)
				}
			}
		}
		for i, p := range others {
			if want := map[bool]int{true: 200, false: 404}[slices.Contains(in, p.id)]; status[i] != want {
				t.Errorf("person %d: got %d; want %d", i, status[i], want)
			}
		}
	}
}

func TestWhoJoinsAndIsRemovedMeanwhileIsToldHowItIs(t *testing.T) {
	t.Parallel()
	m := &meddler{}
	w := newWorld(t, func(c *Config) { m.Log, c.Log = c.Log, m })
	p := w.people("ann", "cat")
	ann, cat := p[0], p[1]
	id := ann.group()
	link := ann.invite(id)
	m.before = func(chat.Command) { // between the look at the chat and the append
		_, err := m.Append(t.Context(), id, chat.RevokeInvite{By: ann.id})
		check(t, err)
	}
	cat.call("POST", link, nil).want(t, 404, chat.NotFound)
	if chats, _ := cat.list(""); len(chats) != 0 {
		t.Errorf("got %+v; want no chat", chats)
	}
}

func TestAPatchChangesWhatIsGivenAllAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.people("ann", "ben")
	ann, ben := p[0], p[1]
	id := ann.group(ben)
	patch := func(body string) (v chatView) {
		ann.call("PATCH", chatPath(id), body).want(t, 200, "").into(t, &v)
		return v
	}
	v := patch(`{"title":"t","picture":"https://a.example/p","description":"d","members":7}`)
	if v.Title != "t" || v.Picture != "https://a.example/p" || v.Description != "d" || v.LastSeq != 4 {
		t.Errorf("got %+v; want all three at seq 4", v)
	}
	if v = patch(`{"title":"t","picture":"https://a.example/q","description":null}`); v.Picture != "https://a.example/q" || v.Description != "d" || v.LastSeq != 5 {
		t.Errorf("got %+v; want only another picture", v)
	}
	if v = patch(`{"picture":"","description":""}`); v.Picture != "" || v.Description != "" || v.LastSeq != 7 {
		t.Errorf("got %+v; want neither picture nor description", v)
	}
	var got []string
	for _, e := range w.changes(id) {
		got = append(got, string(e.Change))
	}
	if want := []string{"created", "title", "picture", "description", "picture", "picture", "description"}; !slices.Equal(got, want) {
		t.Errorf("got %v; want %v", got, want)
	}
	for _, bad := range []struct {
		body string
		want int
		code chat.Code
	}{
		{`{}`, 400, chat.BadRequest}, {`{"title":null}`, 400, chat.BadRequest}, {`{"title":""}`, 400, chat.BadRequest}, {`{"title":7}`, 400, chat.BadRequest},
		{`{"title":"x","picture":"http://a.example"}`, 400, chat.BadRequest}, {`{"title":"x","picture":"p"}`, 400, chat.BadRequest},
		{fmt.Sprintf(`{"title":"x","picture":"https://a.example/%s"}`, strings.Repeat("p", chat.MaxPicture)), 422, chat.TooLong},
		{fmt.Sprintf(`{"title":"x","description":%q}`, strings.Repeat("é", chat.MaxDescription+1)), 422, chat.TooLong},
		{fmt.Sprintf(`{"title":%q,"description":"x"}`, strings.Repeat("é", chat.MaxTitle+1)), 422, chat.TooLong},
	} {
		ann.call("PATCH", chatPath(id), bad.body).want(t, bad.want, bad.code)
	}
	if snap, err := w.log.Snapshot(t.Context(), id); err != nil || snap.Head.Seq != 7 {
		t.Errorf("got seq %d, %v; want that nothing of a refused call was done", snap.Head.Seq, err)
	}
	ann.call("PATCH", chatPath(ann.direct(ben)), `{"picture":"https://a.example/p"}`).want(t, 403, chat.Forbidden)
}

package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/chatmesh/chatmesh/e2e/raw"
)

// change waits for a change of a chat on a socket.
func change(t *testing.T, who string, s *raw.Socket, chat, change, user string) raw.Frame {
	t.Helper()
	f, err := s.Await(raw.Patience, func(f raw.Frame) bool {
		return f.Type == "chat" && f.Chat == chat && f.Change == change && (user == "" || f.User() == user)
	})
	if err != nil {
		t.Fatalf("%s waits for %s: %v", who, change, err)
	}
	if f.Seq == 0 || f.By == "" || f.At.IsZero() {
		t.Errorf("%s: got %s; want seq, by and at", who, f.Raw)
	}
	return f
}

func TestAGroupChangesForAllItsMembersAtTheSameSeq(t *testing.T) {
	t.Parallel()
	srv := server(t)
	people := newPeople(t, srv, "member", 4)
	owner, admin, plain, late := people[0], people[1], people[2], people[3]
	chat := owner.group("first title", admin, plain)
	if c := owner.info(chat); c.role(owner.id) != "owner" || c.role(admin.id) != "member" || len(c.Members) != 3 {
		t.Errorf("a new group: got %+v; want its maker as owner and two members", c.Members)
	}
	lateDevice := late.device(nil)
	devices := []*raw.Socket{owner.device(nil), admin.device(nil), plain.device(nil)}
	base := "/v1/chats/" + chat

	owner.must(http.StatusOK, http.MethodPut, base+"/members/"+admin.id, raw.Object{"role": "admin"}, nil)
	owner.must(http.StatusOK, http.MethodPatch, base, raw.Object{"title": "second title"}, nil)
	admin.must(http.StatusOK, http.MethodPut, base+"/members/"+late.id, nil, nil)
	said := late.post(chat, text("hello, I am new"))
	plain.must(http.StatusOK, http.MethodDelete, base+"/members/"+plain.id, nil, nil)

	for i, s := range devices {
		who := people[i].name
		role := change(t, who, s, chat, "role", admin.id)
		title := change(t, who, s, chat, "title", "")
		added := change(t, who, s, chat, "member_added", late.id)
		awaitSeq(t, who, s, chat, said)
		removed := change(t, who, s, chat, "member_removed", plain.id)
		if role.Role != "admin" || role.By != owner.id || title.Title != "second title" || added.By != admin.id || removed.By != plain.id {
			t.Errorf("%s got\n%s\n%s\n%s\n%s", who, role.Raw, title.Raw, added.Raw, removed.Raw)
		}
		contiguous(t, who, since(2, s.Events(chat)), 2)
	}
	if f := change(t, "late", lateDevice, chat, "member_added", late.id); f.Seq+1 != said {
		t.Errorf("late was added at %d and wrote at %d; want the next", f.Seq, said)
	}
	contiguous(t, "late", lateDevice.Events(chat), said-1)
	c := owner.info(chat)
	if c.Title != "second title" || len(c.Members) != 3 || c.role(admin.id) != "admin" || c.role(late.id) != "member" || c.role(plain.id) != "" {
		t.Errorf("afterwards: got %+v", c)
	}
	if l, _ := late.listed(chat); l.MembersCount != 3 || l.Title != "second title" {
		t.Errorf("the list of late: got %+v", l)
	}
	// Putting a member who is there already changes nothing.
	owner.must(http.StatusOK, http.MethodPut, base+"/members/"+late.id, nil, nil)
	if h := owner.history(chat); h[len(h)-1].Change != "member_removed" {
		t.Errorf("the last event is %s; want the removal", h[len(h)-1].Raw)
	}
}

func TestARoleAllowsWhatItAllows(t *testing.T) {
	t.Parallel()
	srv := server(t)
	people := newPeople(t, srv, "role", 5)
	owner, admin, plain, second, outside := people[0], people[1], people[2], people[3], people[4]
	chat := owner.group("roles", admin, plain, second)
	base := "/v1/chats/" + chat
	owner.must(http.StatusOK, http.MethodPut, base+"/members/"+admin.id, raw.Object{"role": "admin"}, nil)

	plain.refused("forbidden", http.MethodPatch, base, raw.Object{"title": "mine"})
	plain.refused("forbidden", http.MethodPut, base+"/members/"+outside.id, nil)
	plain.refused("forbidden", http.MethodPut, base+"/members/"+plain.id, raw.Object{"role": "owner"})
	plain.refused("forbidden", http.MethodDelete, base+"/members/"+second.id, nil)
	admin.refused("forbidden", http.MethodDelete, base+"/members/"+owner.id, nil)
	owner.refused("not_found", http.MethodDelete, base+"/members/"+outside.id, nil)
	owner.refused("bad_request", http.MethodPut, base+"/members/"+outside.id, raw.Object{"role": "emperor"})
	owner.refused("not_found|bad_request", http.MethodPut, base+"/members/nobody", nil)
	if h := owner.history(chat); len(h) != 2 {
		t.Errorf("after refusals: got %d events; want 2", len(h))
	}
	admin.must(http.StatusOK, http.MethodPatch, base, raw.Object{"title": "by an admin"}, nil)
	admin.must(http.StatusOK, http.MethodPut, base+"/members/"+outside.id, nil, nil)
	admin.must(http.StatusOK, http.MethodDelete, base+"/members/"+second.id, nil, nil)
	owner.must(http.StatusOK, http.MethodDelete, base+"/members/"+owner.id, nil, nil)
	owners := 0
	for _, m := range admin.info(chat).Members {
		if m.Role == "owner" {
			owners++
		}
	}
	if owners != 1 {
		t.Errorf("after the owner left: got %d owners; want 1", owners)
	}
	direct := plain.direct(admin)
	plain.refused("forbidden", http.MethodPatch, "/v1/chats/"+direct, raw.Object{"title": "no"})
	plain.refused("forbidden", http.MethodPut, "/v1/chats/"+direct+"/members/"+outside.id, nil)
}

func TestARemovedMemberIsToldAndThenGetsNothing(t *testing.T) {
	t.Parallel()
	srv := server(t)
	people := newPeople(t, srv, "removal", 3)
	owner, gone, stays := people[0], people[1], people[2]
	chat := owner.group("removal", gone, stays)
	base := "/v1/chats/" + chat
	s, witness := gone.device(nil), stays.device(nil)
	last := gone.post(chat, text("still here"))
	awaitSeq(t, "gone", s, chat, last)
	// Messages race with the removal; none that stands after it may reach the removed.
	inParallel(2, func(i int) {
		if i == 0 {
			owner.must(http.StatusOK, http.MethodDelete, base+"/members/"+gone.id, nil, nil)
			return
		}
		for n := range 15 {
			stays.post(chat, text("around the removal %d", n))
		}
	})
	removal := change(t, "gone", s, chat, "member_removed", gone.id)
	if removal.By != owner.id {
		t.Errorf("got %s; want by %s", removal.Raw, owner.id)
	}
	end := stays.post(chat, text("after the removal"))
	awaitSeq(t, "stays", witness, chat, end)
	if f, err := s.Ask(raw.Object{"type": "typing", "chat": chat}); err == nil && f.Type != "error" {
		t.Errorf("typing by the removed: got %s", f.Raw)
	}
	everywhereNotFound(t, gone, chat, owner.id)
	for what, q := range map[string]raw.Object{
		"send": {"type": "send", "chat": chat, "client_id": newClientID(), "text": text("too late")},
		"sync": {"type": "sync", "chat": chat, "after": 0},
		"read": {"type": "read", "chat": chat, "seq": 1},
	} {
		askRefused(t, s, what, "not_found", q)
	}
	if _, listed := gone.listed(chat); listed {
		t.Error("the chat is in the list of the removed")
	}
	fresh := gone.device(map[string]uint64{chat: 1})
	end = stays.post(chat, text("after all"))
	awaitSeq(t, "stays", witness, chat, end)
	if _, err := fresh.Ask(raw.Object{"type": "ping"}); err != nil {
		t.Fatal(err)
	}
	for _, e := range slices.Concat(s.Events(chat), fresh.Events(chat)) {
		if e.Seq > removal.Seq {
			t.Errorf("removed at %d, and got seq %d", removal.Seq, e.Seq)
		}
	}
	if got := fresh.Events(chat); len(got) != 0 {
		t.Errorf("a device that connects after the removal got %v", seqs(got))
	}
	contiguous(t, "stays", witness.Events(chat), witness.Events(chat)[0].Seq)
}

// everywhereNotFound checks that to p the chat does not exist, over every route, and that it is told in the same words as
// for a chat that there never was.
func everywhereNotFound(t *testing.T, p *person, chat, member string) {
	t.Helper()
	for _, c := range []struct {
		method, path string
		body         any
	}{
		{http.MethodGet, "", nil},
		{http.MethodPatch, "", raw.Object{"title": "x"}},
		{http.MethodPut, "/members/" + p.id, nil},
		{http.MethodPut, "/members/" + member, raw.Object{"role": "admin"}},
		{http.MethodDelete, "/members/" + p.id, nil},
		{http.MethodDelete, "/members/" + member, nil},
		{http.MethodGet, "/messages", nil},
		{http.MethodGet, "/messages?after=0&limit=200", nil},
		{http.MethodGet, "/messages?before=2", nil},
		{http.MethodPost, "/messages", raw.Object{"client_id": newClientID(), "text": text("x")}},
		{http.MethodPut, "/read", raw.Object{"seq": 1}},
		{http.MethodPut, "/read", raw.Object{"seq": 999999}},
	} {
		real, _ := p.refused("not_found", c.method, "/v1/chats/"+chat+c.path, c.body).Problem()
		none, _ := p.refused("not_found", c.method, "/v1/chats/nochat"+c.path, c.body).Problem()
		if real != none {
			t.Errorf("%s %s: a chat of others gets %+v, none gets %+v", c.method, c.path, real, none)
		}
	}
}

func TestTheHundredAndFirstMemberIsRefusedAlsoAtTheSameMoment(t *testing.T) {
	t.Parallel()
	srv := server(t)
	people := newPeople(t, srv, "crowd", 102)
	owner := people[0]
	over := ids(people[1:102]) // 102 with the owner
	owner.refused("too_many_members", http.MethodPost, "/v1/chats", raw.Object{"kind": "group", "title": "too many", "members": over})
	owner.refused("too_many_members", http.MethodPost, "/v1/chats", raw.Object{"kind": "group", "title": "too many", "members": over[:100]})
	if n := len(owner.list(100)); n != 0 {
		t.Errorf("after refused creations: got %d chats", n)
	}
	chat := owner.group("a crowd", people[1:99]...) // 99 members
	base := "/v1/chats/" + chat + "/members/"
	answers := make([]raw.Answer, 2)
	inParallel(2, func(i int) { answers[i] = owner.call(http.MethodPut, base+people[99+i].id, nil) })
	added := 0
	for _, a := range answers {
		if a.Status == http.StatusOK {
			added++
		} else if why := refusedWith(a, "too_many_members"); why != "" {
			t.Error(why)
		}
	}
	if c := owner.info(chat); added != 1 || len(c.Members) != 100 {
		t.Errorf("two at the same moment: %d added, %d members; want 1 and 100", added, len(c.Members))
	}
	owner.refused("too_many_members", http.MethodPut, base+people[101].id, nil)

	// Of one who has left and one who was refused, who come by the link at the same moment, one is in.
	link := owner.invite(chat)
	outside := []*person{people[99], people[1]}
	if answers[0].Status == http.StatusOK {
		outside[0] = people[100]
	}
	outside[0].refused("too_many_members", http.MethodPost, link, nil)
	people[1].must(http.StatusOK, http.MethodDelete, base+people[1].id, nil, nil)
	inParallel(2, func(i int) { answers[i] = outside[i].call(http.MethodPost, link, nil) })
	joined := 0
	for _, a := range answers {
		if a.Status == http.StatusOK {
			joined++
		} else if why := refusedWith(a, "too_many_members"); why != "" {
			t.Error(why)
		}
	}
	if c := owner.info(chat); joined != 1 || len(c.Members) != 100 {
		t.Errorf("two by the link at the same moment: %d joined, %d members; want 1 and 100", joined, len(c.Members))
	}

	// A full group still delivers to everyone.
	sockets := make([]*raw.Socket, 0, 10)
	for _, p := range people[89:99] {
		sockets = append(sockets, p.device(nil))
	}
	began := time.Now()
	seq := owner.post(chat, text("to a hundred"))
	for i, s := range sockets {
		awaitSeq(t, people[89+i].name, s, chat, seq)
	}
	t.Logf("ten of a hundred members had it after %v", time.Since(began).Round(time.Millisecond))
	owner.must(http.StatusOK, http.MethodDelete, base+people[50].id, nil, nil)
	owner.must(http.StatusOK, http.MethodPut, base+people[101].id, nil, nil)
	if l, _ := people[101].listed(chat); l.MembersCount != 100 {
		t.Errorf("the list of the last: got %+v; want 100 members", l)
	}
}

func TestAMemberWhoComesBackGetsWhatFollows(t *testing.T) {
	t.Parallel()
	srv := server(t)
	people := newPeople(t, srv, "back", 2)
	owner, guest := people[0], people[1]
	chat := owner.group("back again", guest)
	path := fmt.Sprintf("/v1/chats/%s/members/%s", chat, guest.id)
	s := guest.device(nil)
	guest.must(http.StatusOK, http.MethodDelete, path, nil, nil)
	change(t, "guest", s, chat, "member_removed", guest.id)
	between := owner.post(chat, text("while you were out"))
	owner.must(http.StatusOK, http.MethodPut, path, nil, nil)
	change(t, "guest", s, chat, "member_added", guest.id)
	after := owner.post(chat, text("welcome back"))
	awaitSeq(t, "guest", s, chat, after)
	for _, e := range s.Events(chat) {
		if e.Seq == between {
			t.Errorf("pushed to someone who was out: seq %d", e.Seq)
		}
	}
	for _, e := range guest.page(chat, "?after=0&limit=200").Messages {
		if e.Seq == between {
			t.Logf("history shows a returned member what was said while they were out (seq %d)", e.Seq)
		}
	}
}

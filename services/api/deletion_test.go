package api

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/meshtest"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// pageOfAll is all events of a small chat.
var pageOfAll = store.Range{Forward: true, Limit: chat.MaxPage}

// quick lets deletions end at once.
func quick(c *Config) { c.Settings.DeletionGrace = time.Millisecond }

// untilDeleted persists chats, as nobody else does it here, until the deletion of an account has ended.
func (w *world) untilDeleted(p *person, chats ...chat.ID) {
	w.t.Helper()
	meshtest.Eventually(w.t, meshtest.Patience, "the deletion ends", func() bool {
		for _, id := range chats {
			w.persist(id, 0)
		}
		u := mustUser(w.t, w, p)
		return !u.Deleted.IsZero() && u.PasswordHash == ""
	})
}

// events are those of a chat, as its members read them.
func (w *world) events(id chat.ID) []chat.Event {
	w.t.Helper()
	page, err := w.log.Page(w.t.Context(), id, pageOfAll)
	check(w.t, err)
	var out []chat.Event
	for i, it := range page.Items {
		e, err := wire.DecodeEvent(it.Body)
		check(w.t, err)
		if e.Seq != chat.Seq(i+1) {
			w.t.Errorf("event %d stands at %d; want no hole", e.Seq, i+1)
		}
		out = append(out, e)
	}
	return out
}

// holds tells whether a text is anywhere in the log of a chat or in the store.
func (w *world) holds(id chat.ID, text string) bool {
	w.t.Helper()
	p := w.log.Partition(id)
	msgs, err := w.bus.From(w.t.Context(), subject.ChatStream(p), subject.AllOf(p), 1, 100_000, 0)
	check(w.t, err)
	for _, m := range msgs {
		if bytes.Contains(m.Data, []byte(text)) {
			return true
		}
	}
	items, err := w.store.Page(w.t.Context(), id, pageOfAll)
	check(w.t, err)
	return slices.ContainsFunc(items, func(it store.Item) bool { return bytes.Contains(it.Body, []byte(text)) })
}

func TestADeletedAccountTakesAllItsTextsAndLeavesTheOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t, quick)
	g := w.register("ann", "correct horse", "")
	ann := &person{w: w, id: g.User.ID, name: "ann", token: g.AccessToken}
	elsewhere := w.login("ann", "correct horse", "")
	p := w.people("ben", "cat")
	ben, cat := p[0], p[1]
	direct, owned, left := ann.direct(ben), ann.group(ben, cat), cat.group(ann)
	const text = "what ann wrote"
	for _, id := range []chat.ID{direct, owned, left} {
		for range 3 {
			ann.send(id, text)
		}
	}
	ben.send(direct, "what ben wrote")
	cat.send(left, "what cat wrote")
	ann.call("DELETE", chatPath(left, "members", string(ann.id)), nil).want(t, 200, "") // before, and yet
	for _, id := range []chat.ID{direct, owned, left} {
		w.persist(id, 0)
	}
	wrong := w.call("", "POST", "/v1/sessions", credentials("ann", "wrong horse")).want(t, 401, chat.InvalidCredentials)
	if r := ann.call("DELETE", "/v1/users/me", `{"password":"wrong horse"}`).want(t, 401, chat.InvalidCredentials); !bytes.Equal(r.body, wrong.body) {
		t.Errorf("got %s; want %s, as at a log-in", r.body, wrong.body)
	}
	ann.call("DELETE", "/v1/users/me", `{}`).want(t, 400, chat.BadRequest)
	ann.call("DELETE", "/v1/users/me", `{"password":"correct horse"}`).want(t, 204, "")
	// At once: nobody is in, and nobody gets in.
	w.ended(g)
	w.ended(elsewhere)
	for _, name := range []string{"ann", "nobody"} {
		before := w.hasher.Stats().Computed
		r := w.call("", "POST", "/v1/sessions", credentials(name, "correct horse")).want(t, 401, chat.InvalidCredentials)
		if got := w.hasher.Stats().Computed - before; got != 1 || !bytes.Equal(r.body, wrong.body) {
			t.Errorf("%s: got %d hashes and %s; want a deleted account to be like none", name, got, r.body)
		}
	}
	w.untilDeleted(ann, direct, owned, left)
	for _, id := range []chat.ID{direct, owned, left} {
		if w.holds(id, text) {
			t.Errorf("%s still holds what ann wrote", id)
		}
	}
	if !w.holds(direct, "what ben wrote") || !w.holds(left, "what cat wrote") {
		t.Error("what others wrote is gone")
	}
	stubs := 0
	for _, id := range []chat.ID{direct, owned, left} {
		for _, e := range w.events(id) {
			if e.Type == chat.Message && e.Sender == ann.id {
				if stubs++; e.Deleted == nil || e.Deleted.By != ann.id || e.Text != "" {
					t.Errorf("got %+v; want a stub", e)
				}
			}
		}
	}
	if stubs != 9 {
		t.Errorf("got %d stubs; want 9", stubs)
	}
	snap, err := w.log.Snapshot(t.Context(), owned)
	check(t, err)
	if m, ok := snap.State.Member(ben.id); !ok || m.Role != chat.Owner || len(snap.State.Members) != 2 {
		t.Errorf("got %+v; want ben to own the group without ann", snap.State.Members)
	}
	if last := w.events(direct); last[len(last)-1].Change != chat.Erased || last[len(last)-1].User != ann.id {
		t.Errorf("got %+v; want ben to be told", last[len(last)-1])
	}
	ben.write(direct, "into-the-void").want(t, 403, chat.Forbidden)
	// Of the person only the name is left, for ever.
	var found userView
	ben.call("GET", "/v1/users?username=ann", nil).want(t, 200, "").into(t, &found)
	if want := (userView{ID: ann.id, Username: "ann", Deleted: true}); found != want {
		t.Errorf("got %+v; want %+v", found, want)
	}
	w.call("", "POST", "/v1/users", credentials("ann", "correct horse")).want(t, 409, chat.UsernameTaken)
	cat.call("POST", "/v1/chats", map[string]any{"kind": "direct", "members": ids(ann)}).want(t, 404, chat.NotFound)
	cat.call("PUT", chatPath(left, "members", string(ann.id)), nil).want(t, 404, chat.NotFound)
	cat.call("PUT", blockPath(ann), nil).want(t, 404, chat.NotFound)
	if n, err := w.store.Deleting(t.Context(), "", 10); err != nil || len(n) > 0 {
		t.Errorf("got %v, %v; want nothing left to do", n, err)
	}
}

func TestADeletionGoesOnOnAnotherNodeAfterACrash(t *testing.T) {
	t.Parallel()
	w := newWorld(t, quick)
	p := w.people("ann", "ben")
	ann, ben := p[0], p[1]
	direct, group := ann.direct(ben), ann.group(ben)
	const text = "what ann wrote"
	for _, id := range []chat.ID{direct, group} {
		ann.send(id, text)
		ann.send(id, text)
		w.persist(id, 0)
	}
	// As a process leaves it that died in the middle: one chat is told and half erased, the other was not come to.
	r, err := w.log.Append(t.Context(), direct, chat.EraseSender{User: ann.id})
	check(t, err)
	half := w.events(direct)[1].Stub(chat.Erasure{Seq: r.Seq, By: ann.id, At: r.SentAt})
	check(t, w.log.PutStubs(t.Context(), direct, []chat.Event{half}))
	check(t, w.store.BeginDeletion(t.Context(), ann.id))
	w.untilDeleted(ann, direct, group)
	for _, id := range []chat.ID{direct, group} {
		if w.holds(id, text) {
			t.Errorf("%s still holds what ann wrote", id)
		}
	}
	told := 0
	for _, e := range w.events(direct) {
		if e.Change == chat.Erased {
			told++
		}
	}
	if told != 1 {
		t.Errorf("got %d times told; want once", told)
	}
}

func TestOfTwoNodesOneErasesAtATime(t *testing.T) {
	t.Parallel()
	w := newWorld(t, quick)
	p := w.people("ann", "ben")
	ann, ben := p[0], p[1]
	id := ann.direct(ben)
	ann.send(id, "what ann wrote")
	w.persist(id, 0)
	// Another node holds the lease, and does nothing.
	_, err := w.bus.Acquire(t.Context(), subject.Leases, subject.DeletionLease, []byte("n2"), 30*time.Second, 0)
	check(t, err)
	check(t, w.store.BeginDeletion(t.Context(), ann.id))
	for range 20 {
		w.api.deletions.wake()
		if !w.holds(id, "what ann wrote") {
			t.Fatal("a node without the lease has erased")
		}
		check(t, bus.Sleep(t.Context(), 50*time.Millisecond))
	}
	check(t, w.bus.DeleteKey(t.Context(), subject.Leases, subject.DeletionLease))
	w.untilDeleted(ann, id)
}

func TestAnEditedTextIsErasedWithAllItsVersions(t *testing.T) {
	t.Parallel()
	w := newWorld(t, quick)
	p := w.people("ann", "ben")
	ann, ben := p[0], p[1]
	id := ann.group(ben)
	seq := ann.send(id, "first version").Seq
	for _, text := range []string{"second version", "third version"} {
		snap, err := w.log.Snapshot(t.Context(), id)
		check(t, err)
		_, err = w.log.Append(t.Context(), id, chat.Edit{By: ann.id, Text: text, Target: chat.Target{Seq: seq, Sender: ann.id, Head: snap.Head.Seq}})
		check(t, err)
	}
	w.persist(id, 0)
	check(t, w.store.BeginDeletion(t.Context(), ann.id))
	w.untilDeleted(ann, id)
	if w.holds(id, "version") {
		t.Error("a version of the text is still there")
	}
	edits := 0
	for _, e := range w.events(id) {
		if e.Type == chat.Edited && e.Deleted != nil && e.Text == "" {
			edits++
		}
	}
	if edits != 2 {
		t.Errorf("got %d stubs of edits; want 2", edits)
	}
}

func TestMessagesNearToEachOtherAreReadTogether(t *testing.T) {
	for _, c := range []struct {
		seqs []chat.Seq
		want int
	}{
		{[]chat.Seq{7}, 1}, {[]chat.Seq{1, 2, 3}, 3}, {[]chat.Seq{1, 17, 34}, 2}, {[]chat.Seq{1, 1000}, 1},
		{[]chat.Seq{1, 16, 31, 46, 61, 76, 91, 106, 121, 136, 151, 166, 181, 196, 211}, 14},
	} {
		if got := run(c.seqs); got != c.want {
			t.Errorf("%v: got %d; want %d", c.seqs, got, c.want)
		}
	}
}

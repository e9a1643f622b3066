package api

import (
	"encoding/json"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/meshtest"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// heard collects what is told to a person's devices.
func (w *world) heard(user chat.UserID) func() []map[string]any {
	w.t.Helper()
	var mu sync.Mutex
	var all []map[string]any
	sub, err := w.bus.Conn().Subscribe(subject.User(user), func(m *nats.Msg) {
		var f map[string]any
		if err := json.Unmarshal(m.Data, &f); err != nil {
			w.t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		all = append(all, f)
	})
	check(w.t, err)
	w.t.Cleanup(func() { _ = sub.Unsubscribe() })
	return func() []map[string]any { mu.Lock(); defer mu.Unlock(); return append([]map[string]any(nil), all...) }
}

func TestPreferencesAreChangedOneByOneAndToldToTheOwnDevices(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann := w.people("ann")[0]
	heard := w.heard(ann.id)
	const path = "/v1/users/me/preferences"
	is := func(r reply, want preferences) {
		t.Helper()
		var got preferences
		r.want(t, 200, "").into(t, &got)
		if got != want {
			t.Errorf("got %+v; want %+v", got, want)
		}
	}
	is(ann.call("GET", path, nil), preferences{true, true, wire.Visible})
	is(ann.call("PUT", path, `{"presence":"invisible"}`), preferences{true, true, wire.Invisible})
	is(ann.call("PUT", path, `{"typing":false,"read_receipts":null}`), preferences{true, false, wire.Invisible})
	is(ann.call("PUT", path, `{"read_receipts":false,"presence":"visible"}`), preferences{false, false, wire.Visible})
	is(ann.call("PUT", path, `{}`), preferences{false, false, wire.Visible})
	is(ann.call("GET", path, nil), preferences{false, false, wire.Visible})
	for _, body := range []string{`{"presence":"away"}`, `{"typing":"off"}`, `[]`, ``} {
		ann.call("PUT", path, body).want(t, 400, chat.BadRequest)
	}
	meshtest.Eventually(t, meshtest.Patience, "four changes are told", func() bool { return len(heard()) == 4 })
	last := 0.0
	for _, f := range heard() {
		if f["type"] != "preferences" || f["revision"].(float64) <= last {
			t.Errorf("got %v; want each change, with a greater revision", f)
		}
		last = f["revision"].(float64)
	}
	w.call("", "GET", path, nil).want(t, 401, chat.Unauthorized)
}

func TestReceiptsOfWhoSwitchedThemOffAreShownToNobodyAndNobodysToThem(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.people("ann", "ben", "cid")
	id := p[0].group(p[1], p[2])
	p[0].send(id, "hello") // 2
	for _, who := range p[1:] {
		who.call("PUT", chatPath(id, "read"), `{"seq":2}`).want(t, 200, "")
	}
	p[1].call("PUT", "/v1/users/me/preferences", `{"read_receipts":false}`).want(t, 200, "")
	all := [2]chat.Seq{2, 2}
	wantReceipts(t, p[0], id, []*person{p[0], p[2]}, all, all)
	wantReceipts(t, p[1], id, []*person{p[1]}, all)
	p[0].send(id, "again") // 3
	p[1].call("PUT", chatPath(id, "read"), `{"seq":3}`).want(t, 200, "")
	p[2].call("PUT", chatPath(id, "read"), `{"seq":3}`).want(t, 200, "")
	n := subject.Partition(id, partitions)
	for user, private := range map[chat.UserID]bool{p[1].id: true, p[2].id: false} {
		msgs, err := w.bus.LastFor(t.Context(), subject.CursorStream(n), subject.Cursor(n, id, user))
		check(t, err)
		c, err := wire.DecodeCursor(msgs[0].Data)
		check(t, err)
		if c.Private != private || c.Seq != 3 {
			t.Errorf("got %+v; want seq 3, private %v", c, private)
		}
	}
	if chats, _ := p[1].list(""); len(chats) != 1 || chats[0].ReadSeq != 3 || chats[0].Unread != 0 {
		t.Errorf("got %+v; want the own cursor moved all the same", chats)
	}
	p[1].call("PUT", "/v1/users/me/preferences", `{"read_receipts":true}`).want(t, 200, "")
	wantReceipts(t, p[0], id, p, [2]chat.Seq{3, 3}, [2]chat.Seq{3, 3}, [2]chat.Seq{3, 3})
}

func TestTypingIsToldToTheOtherMembersUnlessItIsSwitchedOffOrTooOften(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.people("ann", "ben", "eve")
	id := p[0].group(p[1])
	ann, ben := w.heard(p[0].id), w.heard(p[1].id)
	path := chatPath(id, "typing")
	began := time.Now()
	for range 5 {
		p[0].call("POST", path, nil).want(t, 204, "")
	}
	most := 3 + int(time.Since(began)/(2*time.Second))
	p[0].call("POST", path, `{"stopped":true}`).want(t, 204, "")
	last := func() map[string]any {
		if all := ben(); len(all) > 0 {
			return all[len(all)-1]
		}
		return nil
	}
	meshtest.Eventually(t, meshtest.Patience, "ben is told that she stopped", func() bool { return last()["stopped"] == true })
	all := ben()
	if first := all[0]; first["type"] != "typing" || first["user"] != string(p[0].id) || first["chat"] != string(id) || first["expires_in_ms"] != 6000.0 {
		t.Errorf("got %v; want that ann is writing, for a while", first)
	}
	if len(all) > most || len(ann()) > 0 {
		t.Errorf("got %d frames to ben and %d to ann; want at most %d and none", len(all), len(ann()), most)
	}
	p[0].call("PUT", "/v1/users/me/preferences", `{"typing":false}`).want(t, 200, "")
	other := p[0].group(p[1])
	p[0].call("POST", chatPath(other, "typing"), nil).want(t, 204, "")
	p[1].call("PUT", "/v1/users/me/preferences", `{"typing":true}`).want(t, 200, "") // behind it
	meshtest.Eventually(t, meshtest.Patience, "what comes behind it", func() bool { return last()["type"] == "preferences" })
	for _, f := range ben() {
		if f["chat"] == string(other) && f["type"] == "typing" {
			t.Errorf("got %v of somebody who has switched it off", f)
		}
	}
	p[2].call("POST", path, nil).want(t, 404, chat.NotFound)
	p[0].call("POST", path, `{"stopped":1}`).want(t, 400, chat.BadRequest)
}

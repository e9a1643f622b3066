package edge

import (
	"fmt"
	"testing"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

func TestNoDeviceSeesACursorMoveBackThoughAFanOutTellsItLate(t *testing.T) {
	r := newRig(t)
	r.group("c1", "ben", "cid")
	d := r.dial().listen()
	d.write(map[string]any{"type": "hello", "token": r.token("ann", "s1"), "receipts": true})
	d.await("welcome", is("welcome", ""))
	read := func(user chat.UserID, seq chat.Seq) any {
		return wire.Read{Type: wire.TypeRead, Chat: "c1", Seq: seq, User: user}
	}
	delivered := func(seq chat.Seq) any {
		return wire.Delivered{Type: wire.TypeDelivered, Chat: "c1", Seq: seq, User: "ben"}
	}
	for _, f := range []any{read("ben", 5), delivered(7), read("ben", 4), read("cid", 3), delivered(6), read("ben", 5), delivered(8), read("ben", 6), read("cid", 4)} {
		r.deliver("ann", store.Item{Body: wire.Encode(f)})
	}
	d.await("the last", func(f map[string]any) bool { return f["user"] == "cid" && f["seq"] == 4.0 })
	got := ""
	for _, f := range d.got() {
		if f["type"] == "read" || f["type"] == "delivered" {
			got += fmt.Sprintf("%s %s %v, ", f["type"], f["user"], f["seq"])
		}
	}
	if want := "read ben 5, delivered ben 7, read cid 3, read ben 5, delivered ben 8, read ben 6, read cid 4, "; got != want {
		t.Errorf("got %s; want %s", got, want)
	}
}

func TestWhatWasToldIsRememberedUpToABound(t *testing.T) {
	tell := func(c *told, id int, seq chat.Seq, private bool) bool {
		_, behind := c.look(wire.Encode(wire.Read{Type: wire.TypeRead, Chat: chat.ID(fmt.Sprint("c", id)), Seq: seq, User: "ben", Private: private}))
		return behind
	}
	var c told
	if tell(&c, 0, 9, true) || tell(&c, 0, 8, false) || !tell(&c, 0, 8, true) || !tell(&c, 0, 7, false) {
		t.Error("what only own devices are told of, and what all are, are not apart")
	}
	for i := range 2*toldMost - 1 {
		tell(&c, i+1, 5, false)
	}
	if !tell(&c, 2*toldMost-1, 4, false) || !tell(&c, toldMost+1, 4, false) {
		t.Error("the last are forgotten")
	}
	if tell(&c, 0, 1, false) || len(c.seqs) > toldMost || len(c.before) > toldMost {
		t.Errorf("%d and %d are remembered, and the first; want %d each at most", len(c.seqs), len(c.before), toldMost)
	}
	if _, behind := c.look([]byte(`{"type":"read"}`)); behind {
		t.Error("what is no cursor is behind one")
	}
}

package edge

import (
	"testing"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// is tells whether a frame is of a type and, where it has one, has an id.
func is(typ, id string) func(map[string]any) bool {
	return func(f map[string]any) bool { return f["type"] == typ && (id == "" || f["id"] == id) }
}

func TestWhatWasDeliveredIsToldOnlyToConnectionsThatAskedForIt(t *testing.T) {
	r := newRig(t)
	r.group("c1", "ben", "cid")
	r.say("c1", 1)
	old := r.connect("ann", nil) // knows nothing of it
	asked := r.dial().listen()
	asked.write(map[string]any{"type": "hello", "token": r.token("ann", "s2"), "receipts": true})
	asked.await("welcome", is("welcome", ""))
	tells := r.connect("ann", nil)
	tells.write(map[string]any{"type": "delivered", "id": "d", "chat": "c1", "seq": 2})
	if f := tells.await("the ack", is("ack", "d")); f["seq"] != 2.0 || f["chat"] != "c1" {
		t.Errorf("got %v; want what was asked for", f)
	}
	if c, err := r.log.Cursors(t.Context(), "c1"); err != nil || c["ann"] != (store.Cursor{Chat: "c1", User: "ann", Delivered: 2}) {
		t.Errorf("got %v, %v; want it durable with the ack", c, err)
	}
	r.deliver("ann", store.Item{Body: wire.Encode(wire.Delivered{Type: wire.TypeDelivered, Chat: "c1", Seq: 2, User: "ben"})})
	r.deliver("ann", store.Item{Body: wire.Encode(wire.Read{Type: wire.TypeRead, Chat: "c1", Seq: 1, User: "ben"})})
	for _, d := range []*device{asked, tells} {
		if f := d.await("what was delivered", is("delivered", "")); f["user"] != "ben" || f["seq"] != 2.0 || f["chat"] != "c1" {
			t.Errorf("got %v; want that ben has 2", f)
		}
	}
	old.await("what was read", is("read", ""))
	for _, f := range old.got() {
		if f["type"] == "delivered" {
			t.Errorf("a client that knows nothing of it got %v", f)
		}
	}
	for _, c := range []struct {
		chat string
		seq  int
		code chat.Code
	}{{"c1", 3, chat.BadRequest}, {"c2", 1, chat.NotFound}, {"c.1", 1, chat.BadRequest}} {
		tells.write(map[string]any{"type": "delivered", "id": c.chat, "chat": c.chat, "seq": c.seq})
		if f := tells.await("the refusal", is("error", c.chat)); f["code"] != string(c.code) {
			t.Errorf("%s %d: got %v; want %s", c.chat, c.seq, f, c.code)
		}
	}
}

package api

import (
	"fmt"
	"testing"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// wantReceipts compares what a person is told of everybody with read and delivered of ann, ben and cid.
func wantReceipts(t *testing.T, who *person, id chat.ID, people []*person, want ...[2]chat.Seq) {
	t.Helper()
	var got struct{ Receipts []receipt }
	who.call("GET", chatPath(id, "receipts"), nil).want(t, 200, "").into(t, &got)
	if len(got.Receipts) != len(want) {
		t.Fatalf("got %d receipts; want %d", len(got.Receipts), len(want))
	}
	of := map[chat.UserID][2]chat.Seq{}
	for _, r := range got.Receipts {
		of[r.User] = [2]chat.Seq{r.Read, r.Delivered}
	}
	for i, p := range people {
		if of[p.id] != want[i] {
			t.Errorf("person %d: got read and delivered %v; want %v", i, of[p.id], want[i])
		}
	}
}

func TestReceiptsSayWhatEverybodyHasAndHasReadWhereverThatIsKnown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.people("ann", "ben", "cid")
	id := p[0].group(p[1], p[2])
	for i := range 5 { // 2 to 6
		p[0].send(id, fmt.Sprint(i))
	}
	wantReceipts(t, p[1], id, p, [2]chat.Seq{6, 6}, [2]chat.Seq{}, [2]chat.Seq{}) // own messages, from the log
	w.persist(id, 4)
	mark := func(who *person, what string, seq, want chat.Seq) {
		t.Helper()
		var got struct{ Seq chat.Seq }
		who.call("PUT", chatPath(id, what), map[string]chat.Seq{"seq": seq}).want(t, 200, "").into(t, &got)
		if got.Seq != want {
			t.Errorf("%s %d: got %d; want %d", what, seq, got.Seq, want)
		}
	}
	mark(p[1], "delivered", 5, 5)
	mark(p[1], "delivered", 3, 5) // never back
	mark(p[1], "read", 3, 3)
	mark(p[2], "read", 4, 4)
	mark(p[2], "delivered", 2, 4) // what was read was delivered
	wantReceipts(t, p[0], id, p, [2]chat.Seq{6, 6}, [2]chat.Seq{3, 5}, [2]chat.Seq{4, 4})
	p[1].call("PUT", chatPath(id, "delivered"), `{"seq":7}`).want(t, 400, chat.BadRequest)
	p[1].call("PUT", chatPath(id, "delivered"), `{}`).want(t, 400, chat.BadRequest)

	// What the store knows counts, where the broker has forgotten it.
	w.persist(id, 0)
	check(t, w.store.Store.Write(t.Context(), store.Batch{Cursors: []store.Cursor{{Chat: id, User: p[2].id, Seq: 5, N: 4, Delivered: 6}}}))
	wantReceipts(t, p[0], id, p, [2]chat.Seq{6, 6}, [2]chat.Seq{3, 5}, [2]chat.Seq{5, 6})
	p[2].send(id, "mine") // 7
	wantReceipts(t, p[0], id, p, [2]chat.Seq{6, 6}, [2]chat.Seq{3, 5}, [2]chat.Seq{7, 7})

	// Delivered is no reading: unread stays.
	mark(p[1], "delivered", 7, 7)
	chats, _ := p[1].list("")
	if len(chats) != 1 || chats[0].Unread != 4 || chats[0].ReadSeq != 3 {
		t.Errorf("got %+v; want 4 unread behind 3", chats)
	}
	p[0].call("DELETE", chatPath(id, "members", string(p[2].id)), nil).want(t, 200, "")
	wantReceipts(t, p[0], id, p[:2], [2]chat.Seq{6, 6}, [2]chat.Seq{3, 7})
	p[2].call("PUT", chatPath(id, "delivered"), `{"seq":1}`).want(t, 404, chat.NotFound)
	p[2].call("GET", chatPath(id, "receipts"), nil).want(t, 404, chat.NotFound)
}

func TestWhatWasDeliveredStandsInTheLogOfCursorsOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.people("ann", "ben")
	id := p[0].direct(p[1])
	for i := range 3 { // 2 to 4
		p[0].send(id, fmt.Sprint(i))
	}
	for _, seq := range []chat.Seq{2, 4, 4, 3} {
		_, err := w.log.MarkDelivered(t.Context(), id, p[1].id, seq)
		check(t, err)
	}
	if moved, err := w.log.MarkRead(t.Context(), id, p[1].id, 3); err != nil || !moved {
		t.Fatalf("got %t, %v; want the cursor moved", moved, err)
	}
	at, err := w.log.Cursor(t.Context(), id, p[1].id)
	check(t, err)
	if want := (store.Cursor{Chat: id, User: p[1].id, Seq: 3, N: 2, Delivered: 4}); at != want {
		t.Errorf("got %+v; want %+v", at, want)
	}
	all, err := w.log.Cursors(t.Context(), id)
	check(t, err)
	if len(all) != 1 || all[p[1].id] != at {
		t.Errorf("got %+v; want the one", all)
	}
	if string(wire.Encode(wire.Delivered{Type: wire.TypeDelivered, Chat: "c", Seq: 1, User: "u"})) != `{"type":"delivered","chat":"c","seq":1,"user":"u"}` {
		t.Error("the frame has other fields than the documents say")
	}
}

package e2e

import (
	"bytes"
	"fmt"
	"net/http"
	"testing"

	"github.com/chatmesh/chatmesh/e2e/raw"
)

func TestEveryDeviceOfEveryMemberGetsEachMessageOnceInOneOrder(t *testing.T) {
	t.Parallel()
	srv := server(t)
	alice, bob := newPerson(t, srv, "alice"), newPerson(t, srv, "bob")
	chat := alice.direct(bob)
	owners := []*person{alice, alice, bob, bob}
	devices := make([]*raw.Socket, len(owners))
	for i, p := range owners {
		devices[i] = p.device(nil)
	}
	const each = 20
	acks := make([]map[uint64]string, len(devices)) // by device: seq → client id
	inParallel(len(devices), func(d int) {
		acks[d] = map[uint64]string{}
		for i := range each {
			id := newClientID()
			ack := send(t, devices[d], chat, id, text("device %d says %d", d, i))
			if ack.Duplicate {
				t.Errorf("a first send is acked as a duplicate: %s", ack.Raw)
			}
			acks[d][ack.Seq] = id
		}
	})
	const last = 1 + each*4 // 1 is the creation
	for d, s := range devices {
		awaitSeq(t, fmt.Sprintf("device %d", d), s, chat, last)
	}
	want := since(2, devices[0].Events(chat))
	for d, s := range devices {
		events := since(2, s.Events(chat))
		if len(events) != each*4 {
			t.Fatalf("device %d has seqs %v; want 2 to %d once each", d, seqs(events), last)
		}
		contiguous(t, fmt.Sprintf("device %d", d), events, 2)
		for i, e := range events {
			if !bytes.Equal(e.Raw, want[i].Raw) {
				t.Errorf("seq %d: device 0 got %s, device %d got %s", e.Seq, want[i].Raw, d, e.Raw)
			}
		}
	}
	for _, e := range want {
		if e.Type != "message" || e.N != e.Seq-1 || e.Sender == "" || e.Text == "" || e.SentAt.IsZero() {
			t.Errorf("got %s; want a message with n %d, sender, text and sent_at", e.Raw, e.Seq-1)
		}
	}
	for d := range devices {
		mine := want[0].Seq
		for seq, id := range acks[d] {
			e := want[seq-2]
			if e.ClientID != id || e.Sender != owners[d].id {
				t.Errorf("device %d was acked %s at seq %d, where %s of %s stands", d, id, seq, e.ClientID, e.Sender)
			}
			mine = max(mine, seq)
		}
	}
	for _, p := range owners[1:3] {
		h := p.history(chat)
		if len(h) != last || h[0].Type != "chat" || h[0].Change != "created" || h[0].By != alice.id {
			t.Fatalf("history of %s: %d events, the first %s; want %d from the creation on", p.name, len(h), h[0].Raw, last)
		}
		for i, e := range h[1:] {
			if e.Seq != want[i].Seq || e.Text != want[i].Text || e.ClientID != want[i].ClientID {
				t.Errorf("history has %s; devices got %s", e.Raw, want[i].Raw)
			}
		}
	}
}

func TestARetryOfAClientIDGetsTheFirstSeq(t *testing.T) {
	t.Parallel()
	srv := server(t)
	alice, bob := newPerson(t, srv, "alice"), newPerson(t, srv, "bob")
	chat := alice.direct(bob)
	phone, laptop, other := alice.device(nil), alice.device(nil), bob.device(nil)

	id, words := newClientID(), text("once")
	first := send(t, phone, chat, id, words)
	if first.Duplicate {
		t.Errorf("the first: got %s", first.Raw)
	}
	for what, s := range map[string]*raw.Socket{"the same device": phone, "another device": laptop} {
		if again := send(t, s, chat, id, words); again.Seq != first.Seq || !again.Duplicate || !again.SentAt.Equal(first.SentAt) {
			t.Errorf("a retry from %s: got %s; want seq %d of %v, duplicate", what, again.Raw, first.Seq, first.SentAt)
		}
	}
	path := "/v1/chats/" + chat + "/messages"
	var r receipt
	alice.must(http.StatusOK, http.MethodPost, path, raw.Object{"client_id": id, "text": words}, &r)
	if r.Seq != first.Seq || r.Chat != chat {
		t.Errorf("a retry over HTTP: got %+v; want seq %d", r, first.Seq)
	}

	id = newClientID()
	var one, two receipt
	alice.must(http.StatusCreated, http.MethodPost, path, raw.Object{"client_id": id, "text": words}, &one)
	alice.must(http.StatusOK, http.MethodPost, path, raw.Object{"client_id": id, "text": words}, &two)
	if one.Seq != first.Seq+1 || two.Seq != one.Seq || !one.SentAt.Equal(two.SentAt) {
		t.Errorf("over HTTP: got %+v and %+v; want seq %d twice", one, two, first.Seq+1)
	}
	if again := send(t, phone, chat, id, words); again.Seq != one.Seq || !again.Duplicate {
		t.Errorf("a retry over the socket of what was sent over HTTP: got %s", again.Raw)
	}

	// The same id from two devices at the same moment is one message as well.
	id = newClientID()
	both := make([]raw.Frame, 2)
	inParallel(2, func(i int) { both[i] = send(t, []*raw.Socket{phone, laptop}[i], chat, id, words) })
	if both[0].Seq != both[1].Seq || both[0].Duplicate == both[1].Duplicate {
		t.Errorf("at the same moment: got %s and %s; want one seq and one duplicate", both[0].Raw, both[1].Raw)
	}

	last := send(t, phone, chat, newClientID(), text("the end"))
	if last.Seq != first.Seq+3 {
		t.Errorf("after all retries: got seq %d; want %d", last.Seq, first.Seq+3)
	}
	awaitSeq(t, "bob", other, chat, last.Seq)
	contiguous(t, "bob", since(first.Seq, other.Events(chat)), first.Seq)
	if got := len(since(first.Seq, other.Events(chat))); got != 4 {
		t.Errorf("bob got %d events; want 4", got)
	}
}

func TestTheSameClientIDInAnotherChatOrOfAnotherSenderIsAnotherMessage(t *testing.T) {
	t.Parallel()
	srv := server(t)
	alice, bob := newPerson(t, srv, "alice"), newPerson(t, srv, "bob")
	one, two := alice.direct(bob), alice.group("two", bob)
	a, b := alice.device(nil), bob.device(nil)
	id := newClientID()
	for _, c := range []struct {
		what string
		s    *raw.Socket
		chat string
		want uint64
	}{
		{"first", a, one, 2},
		{"another chat", a, two, 2},
		{"another sender", b, one, 3},
		{"another sender in another chat", b, two, 3},
	} {
		if ack := send(t, c.s, c.chat, id, text("%s", c.what)); ack.Seq != c.want || ack.Duplicate {
			t.Errorf("%s: got %s; want seq %d and no duplicate", c.what, ack.Raw, c.want)
		}
	}
	for _, chat := range []string{one, two} {
		if h := alice.history(chat); len(h) != 3 || h[1].Sender != alice.id || h[2].Sender != bob.id {
			t.Errorf("history of %s: got %v; want one message of each", chat, seqs(h))
		}
	}
}

func TestADirectChatIsOneForEachPairUnderConcurrentCreation(t *testing.T) {
	t.Parallel()
	srv := server(t)
	alice, bob := newPerson(t, srv, "alice"), newPerson(t, srv, "bob")
	const calls = 20
	answers := make([]raw.Answer, calls)
	inParallel(calls, func(i int) {
		me, other := alice, bob
		if i%2 == 1 {
			me, other = bob, alice
		}
		answers[i] = me.call(http.MethodPost, "/v1/chats", raw.Object{"kind": "direct", "members": []string{other.id}})
	})
	created, found := 0, map[string]bool{}
	for _, a := range answers {
		var c chatInfo
		if err := a.Into(&c); err != nil || c.ID == "" {
			t.Fatalf("got %d %.200s", a.Status, a.Body)
		}
		found[c.ID] = true
		switch a.Status {
		case http.StatusCreated:
			created++
		case http.StatusOK:
		default:
			t.Errorf("got %d; want 200 or 201", a.Status)
		}
	}
	if created != 1 || len(found) != 1 {
		t.Errorf("got %d chats, %d answers with 201; want one of each", len(found), created)
	}
	for chat := range found {
		if h := bob.history(chat); len(h) != 1 || h[0].Change != "created" {
			t.Errorf("history: got %d events; want the creation only", len(h))
		}
		if c := alice.info(chat); len(c.Members) != 2 || c.role(alice.id) == "" || c.role(bob.id) == "" {
			t.Errorf("got members %+v; want the two", c.Members)
		}
	}
	if n := len(alice.list(100)); n != 1 {
		t.Errorf("alice's list has %d chats; want 1", n)
	}
}

package edge

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/nats-io/nats.go"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/meshtest"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// upTo is 1, 2 … n.
func upTo(n int) []chat.Seq {
	out := make([]chat.Seq, n)
	for i := range out {
		out[i] = chat.Seq(i + 1)
	}
	return out
}

func TestADeviceGetsEachEventOnceAndInOrderWhateverTheBrokerLosesDoublesOrSwaps(t *testing.T) {
	r := newRig(t)
	rng := rand.New(rand.NewPCG(1, 2))
	for round := range 5 {
		id := chat.ID(fmt.Sprintf("c%d", round))
		r.group(id, "ben")
		d := r.connect("ben", map[string]chat.Seq{string(id): 1})
		var events []store.Item
		for n := range 40 {
			events = append(events, r.say(id, n))
		}
		last := events[len(events)-1]
		for _, i := range rng.Perm(len(events) - 1) { // swapped
			for range rng.IntN(3) { // lost, once, twice
				r.deliver("ben", events[i])
			}
		}
		r.deliver("ben", last)
		meshtest.Eventually(t, meshtest.Patience, "all events", func() bool { return len(d.seqs(id)) >= len(events) })
		r.deliver("ben", events[3]) // late and double
		d.write(map[string]any{"type": "ping", "id": "end"})
		d.await("pong", func(f map[string]any) bool { return f["id"] == "end" })
		if got, want := fmt.Sprint(d.seqs(id)), fmt.Sprint(upTo(41)[1:]); got != want {
			t.Fatalf("got %s; want %s", got, want)
		}
		_ = d.ws.Close()
	}
}

func TestALostLastEventIsFoundByTheHead(t *testing.T) {
	r := newRig(t)
	r.group("c1", "ben")
	d := r.connect("ben", map[string]chat.Seq{"c1": 1})
	for n := range 3 {
		r.say("c1", n) // lost, all of them
	}
	heads := store.Item{Body: wire.Encode(wire.Heads{Type: wire.TypeHeads, Heads: map[chat.ID]chat.Seq{"c1": 4}})}
	r.deliver("ben", heads)
	meshtest.Eventually(t, meshtest.Patience, "the lost events", func() bool { return len(d.seqs("c1")) == 3 })
	r.deliver("ben", heads) // again: nothing is missing any more
	r.deliver("ben", r.say("c1", 10))
	meshtest.Eventually(t, meshtest.Patience, "the next event", func() bool { return len(d.seqs("c1")) == 4 })
	for _, f := range d.got() {
		if f["type"] == "heads" || f["type"] == "resync" {
			t.Errorf("the device got %v", f)
		}
	}
}

func TestWhatTheBrokerLostWithTheConnectionIsReadAgain(t *testing.T) {
	r := newRig(t)
	r.group("c1", "ben")
	r.group("c2", "ben")
	d := r.connect("ben", map[string]chat.Seq{"c1": 1})
	r.deliver("ben", r.say("c1", 0))
	meshtest.Eventually(t, meshtest.Patience, "the first event", func() bool { return len(d.seqs("c1")) == 1 })
	r.edge.Shaken()
	for n := range 5 {
		r.say("c1", 1+n)
	}
	r.say("c2", 1) // of this chat the edge knew nothing
	r.edge.Lost()
	meshtest.Eventually(t, meshtest.Patience, "all events of c1", func() bool { return len(d.seqs("c1")) == 6 })
	meshtest.Eventually(t, meshtest.Patience, "the event of c2", func() bool { return slices.Contains(d.seqs("c2"), 2) })
	if got, want := fmt.Sprint(d.seqs("c1")), fmt.Sprint(upTo(7)[1:]); got != want {
		t.Errorf("got %s; want %s", got, want)
	}
	for _, f := range d.got() {
		if f["type"] == "resync" {
			t.Errorf("told to sync: %v", f)
		}
	}
}

func TestNothingIsLostBetweenCatchingUpAndListening(t *testing.T) {
	r := newRig(t)
	r.group("c1", "ben")
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
				r.deliver("ben", r.say("c1", n))
			}
		}
	}()
	cursor, total := chat.Seq(1), 0
	for range 25 {
		d := r.connect("ben", map[string]chat.Seq{"c1": cursor})
		before := len(d.seqs("c1"))
		meshtest.Eventually(t, meshtest.Patience, "some live events", func() bool { return len(d.seqs("c1")) > before+3 })
		_ = d.ws.Close()
		<-d.done
		for _, seq := range d.seqs("c1") {
			if seq != cursor+1 {
				t.Fatalf("got %d after %d", seq, cursor)
			}
			cursor, total = seq, total+1
		}
	}
	close(stop)
	<-done
	t.Logf("%d events over 25 connections", total)
}

func TestACatchUpStopsAt200AndSaysSo(t *testing.T) {
	r := newRig(t)
	r.group("c1", "ben")
	for n := range 250 {
		r.say("c1", n)
	}
	d := r.connect("ben", map[string]chat.Seq{"c1": 1, "nobody": 3})
	d.await("resync of c1", func(f map[string]any) bool { return f["type"] == "resync" && f["chat"] == "c1" })
	d.await("resync of a chat that is not theirs", func(f map[string]any) bool { return f["type"] == "resync" && f["chat"] == "nobody" })
	if got := d.seqs("c1"); fmt.Sprint(got) != fmt.Sprint(upTo(201)[1:]) {
		t.Errorf("got %d events; want 2 to 201", len(got))
	}
	d.write(map[string]any{"type": "sync", "id": 7, "chat": "c1", "after": 201})
	page := d.await("page", func(f map[string]any) bool { return f["type"] == "page" })
	if n := len(page["messages"].([]any)); n != 50 || page["has_more"] != false || page["id"] != 7.0 {
		t.Errorf("got %d events, has_more %v, id %v; want 50, false, 7", n, page["has_more"], page["id"])
	}
}

func TestARemovedMemberGetsNothingFromAfterTheRemovalEvenThroughARepair(t *testing.T) {
	r := newRig(t)
	r.group("c1", "ben")
	d := r.connect("ben", map[string]chat.Seq{"c1": 1})
	r.say("c1", 1) // lost on the way
	if _, err := r.log.Append(t.Context(), "c1", chat.RemoveMember{By: "ann", User: "ben"}); err != nil {
		t.Fatal(err)
	}
	for n := range 5 {
		r.say("c1", 10+n)
	}
	r.deliver("ben", r.event("c1", 3)) // the removal: the hole before it is filled from a log that goes on
	meshtest.Eventually(t, meshtest.Patience, "the removal", func() bool { return len(d.seqs("c1")) >= 2 })
	d.write(map[string]any{"type": "sync", "id": "s", "chat": "c1", "after": 3})
	d.await("refusal", func(f map[string]any) bool { return f["id"] == "s" && f["code"] == "not_found" })
	if got := fmt.Sprint(d.seqs("c1")); got != "[2 3]" {
		t.Errorf("got %s; want [2 3]", got)
	}
}

func TestASlowReaderIsCutAndOthersGoOn(t *testing.T) {
	r := newRig(t)
	r.group("c1", "ben")
	slow := r.dial()
	slow.write(map[string]any{"type": "hello", "token": r.token("ben", "slow")})
	quick := r.connect("ben", nil)
	body := []byte(`{"type":"typing","chat":"c1","user":"ann","pad":"` + strings.Repeat("x", 500_000) + `"}`)
	for n := range 60 { // at the pace of the quick one
		r.deliver("ben", store.Item{Body: body})
		meshtest.Eventually(t, meshtest.Patience, "the quick device has it", func() bool {
			got := 0
			for _, f := range quick.got() {
				if f["type"] == "typing" {
					got++
				}
			}
			return got > n-4
		})
	}
	meshtest.Eventually(t, meshtest.Patience, "the slow device is cut", func() bool { return r.edge.Connections() == 1 })
}

func TestTheEndOfASessionClosesItsConnectionsOnly(t *testing.T) {
	r := newRig(t)
	one := r.dial().listen()
	one.write(map[string]any{"type": "hello", "token": r.token("ben", "one")})
	other := r.dial().listen()
	other.write(map[string]any{"type": "hello", "token": r.token("ben", "other")})
	for _, d := range []*device{one, other} {
		d.await("welcome", func(f map[string]any) bool { return f["type"] == "welcome" })
	}
	if err := r.bus.Keep(t.Context(), subject.Revoked, "one", wire.Encode(map[string]string{"user": "ben"})); err != nil {
		t.Fatal(err)
	}
	if code := one.closed(); code != wire.CloseSessionEnded {
		t.Errorf("got %d; want %d", code, wire.CloseSessionEnded)
	}
	late := r.dial().listen()
	late.write(map[string]any{"type": "hello", "token": r.token("ben", "one")})
	if code := late.closed(); code != wire.CloseToken {
		t.Errorf("a token of an ended session: got %d; want %d", code, wire.CloseToken)
	}
	other.write(map[string]any{"type": "ping", "id": "still"})
	other.await("pong", func(f map[string]any) bool { return f["id"] == "still" })
}

func TestAnEdgeThatStopsTellsItsClients(t *testing.T) {
	r := newRig(t)
	r.group("c1", "ben")
	d := r.connect("ann", nil)
	for n := range 20 {
		d.write(map[string]any{"type": "send", "id": n, "chat": "c1", "client_id": fmt.Sprintf("x%d", n), "text": "t"})
	}
	d.await("first ack", func(f map[string]any) bool { return f["type"] == "ack" })
	r.stop()
	if code := d.closed(); code != wire.CloseDraining {
		t.Errorf("got %d; want %d", code, wire.CloseDraining)
	}
	draining := 0
	for _, f := range d.got() {
		if f["type"] == "draining" {
			draining++
		}
	}
	if draining != 1 {
		t.Errorf("told %d times that the edge drains; want 1", draining)
	}
}

func TestHostileFramesEndOnlyTheirOwnConnection(t *testing.T) {
	r := newRig(t)
	r.group("c1", "ben")
	bystander := r.connect("ben", map[string]chat.Seq{"c1": 1})
	hello := wire.Encode(map[string]any{"type": "hello", "token": r.token("eve", "s")})
	cases := []struct {
		name  string
		typ   int
		data  []byte
		hello bool
		code  int
	}{
		{"too large", websocket.TextMessage, bytes.Repeat([]byte("x"), wire.MaxFrame+1), true, websocket.CloseMessageTooBig},
		{"not UTF-8", websocket.TextMessage, []byte("{\"type\":\"\xff\"}"), true, websocket.CloseInvalidFramePayloadData},
		{"not JSON", websocket.TextMessage, []byte("hello?"), true, wire.CloseProtocol},
		{"no object", websocket.TextMessage, []byte("[1]"), true, wire.CloseProtocol},
		{"binary", websocket.BinaryMessage, []byte("{}"), true, wire.CloseProtocol},
		{"no hello", websocket.TextMessage, []byte(`{"type":"ping"}`), false, wire.CloseProtocol},
		{"bad token", websocket.TextMessage, []byte(`{"type":"hello","token":"x"}`), false, wire.CloseToken},
		{"no token", websocket.TextMessage, []byte(`{"type":"hello"}`), false, wire.CloseToken},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			d := r.dial().listen()
			if c.hello {
				_ = d.ws.WriteMessage(websocket.TextMessage, hello)
			}
			_ = d.ws.WriteMessage(c.typ, c.data) // may fail when the edge closes meanwhile
			if code := d.closed(); code != c.code {
				t.Errorf("got %d; want %d", code, c.code)
			}
		})
	}
	r.deliver("ben", r.say("c1", 1))
	meshtest.Eventually(t, meshtest.Patience, "the bystander's event", func() bool { return len(bystander.seqs("c1")) == 1 })
}

func TestRequestsThatCannotBeMetGetTheirCodeAndKeepTheConnection(t *testing.T) {
	r := newRig(t)
	r.group("c1", "ben")
	d := r.connect("eve", nil)
	long := strings.Repeat("x", chat.MaxText+1)
	cases := []struct {
		frame map[string]any
		code  chat.Code
	}{
		{map[string]any{"type": "send", "chat": "c1", "client_id": "a", "text": "t"}, chat.NotFound},
		{map[string]any{"type": "send", "chat": "none", "client_id": "a", "text": "t"}, chat.NotFound},
		{map[string]any{"type": "send", "chat": "c.1", "client_id": "a", "text": "t"}, chat.BadRequest},
		{map[string]any{"type": "send", "chat": "*", "client_id": "a", "text": "t"}, chat.BadRequest},
		{map[string]any{"type": "send", "chat": "c1", "client_id": "", "text": "t"}, chat.BadRequest},
		{map[string]any{"type": "send", "chat": "c1", "client_id": "a", "text": ""}, chat.BadRequest},
		{map[string]any{"type": "send", "chat": "c1", "client_id": "a", "text": long}, chat.TooLong},
		{map[string]any{"type": "send", "chat": 5, "client_id": "a", "text": "t"}, chat.BadRequest},
		{map[string]any{"type": "sync", "chat": "c1", "after": 0}, chat.NotFound},
		{map[string]any{"type": "sync", "chat": "c1", "after": -1}, chat.BadRequest},
		{map[string]any{"type": "sync", "chat": "c1", "limit": -1}, chat.BadRequest},
		{map[string]any{"type": "read", "chat": "c1", "seq": 1}, chat.NotFound},
		{map[string]any{"type": "typing", "chat": "c1"}, chat.NotFound},
		{map[string]any{"type": "watch", "users": []string{"a.b"}}, chat.BadRequest},
		{map[string]any{"type": "dance"}, chat.BadRequest},
		{map[string]any{"type": "hello"}, chat.BadRequest},
		{map[string]any{}, chat.BadRequest},
	}
	for i, c := range cases {
		c.frame["id"] = fmt.Sprint("r", i)
		d.write(c.frame)
		f := d.await(fmt.Sprint("answer to ", c.frame["type"]), func(f map[string]any) bool { return f["id"] == c.frame["id"] })
		if f["type"] != "error" || f["code"] != string(c.code) {
			t.Errorf("%v: got %v; want %s", c.frame["type"], f, c.code)
		}
	}
}

func TestWatchTellsOnlyOfPeopleWhoShareAChat(t *testing.T) {
	r := newRig(t)
	r.group("c1", "ben")
	r.shares["ben"] = true
	d := r.connect("ann", nil)
	d.write(map[string]any{"type": "watch", "id": "w", "users": []string{"ben", "eve"}})
	d.await("presence of ben", func(f map[string]any) bool { return f["type"] == "presence" && f["user"] == "ben" && f["id"] == "w" })
	tell := func(u chat.UserID, online bool) {
		if err := r.bus.Conn().Publish(subject.PresenceOf(u), wire.Encode(wire.Presence{Type: "presence", User: u, Online: online, State: map[bool]string{true: wire.Online, false: wire.Offline}[online]})); err != nil {
			t.Fatal(err)
		}
	}
	tell("eve", true)
	tell("ben", true)
	d.await("ben online", func(f map[string]any) bool { return f["user"] == "ben" && f["online"] == true })
	// Ben leaves, and shares nothing any more.
	r.mu.Lock()
	delete(r.shares, "ben")
	r.mu.Unlock()
	if _, err := r.log.Append(t.Context(), "c1", chat.RemoveMember{By: "ben", User: "ben"}); err != nil {
		t.Fatal(err)
	}
	r.deliver("ann", r.event("c1", 2))
	meshtest.Eventually(t, meshtest.Patience, "the watch has ended", func() bool {
		r.edge.watchers.mu.Lock()
		defer r.edge.watchers.mu.Unlock()
		return len(r.edge.watchers.by) == 0
	})
	for _, f := range d.got() {
		if f["user"] == "eve" {
			t.Errorf("told of a stranger: %v", f)
		}
	}
}

func FuzzFrame(f *testing.F) {
	for _, s := range []string{`{"type":"ping","id":1}`, `{"type":"send","chat":"c1","client_id":"a","text":"t"}`, `{`, `[]`,
		`{"type":"hello"}`, `{"type":"sync","chat":"c1","after":18446744073709551615}`, `{"type":"watch","users":["a"]}`, "\xff"} {
		f.Add([]byte(s))
	}
	r := newRig(f)
	r.group("c1", "ben")
	var d *device
	f.Fuzz(func(t *testing.T, data []byte) {
		r.t = t
		if d == nil {
			d = r.connect("ben", nil)
		}
		d.t = t
		if err := d.ws.WriteMessage(websocket.TextMessage, data); err != nil {
			d = nil
			return
		}
		if err := d.ws.WriteMessage(websocket.TextMessage, []byte(`{"type":"ping","id":"fuzz"}`)); err != nil {
			d = nil
			return
		}
		deadline := time.Now().Add(meshtest.Patience)
		for {
			select {
			case <-d.done: // closed: allowed, the next one connects anew
				d = nil
				return
			default:
			}
			for _, f := range d.got() {
				if f["id"] == "fuzz" {
					d.mu.Lock()
					d.frames = nil
					d.mu.Unlock()
					return
				}
			}
			if time.Now().After(deadline) {
				t.Fatalf("neither answer nor end after %q", data)
			}
			time.Sleep(time.Millisecond)
		}
	})
}

// A backend team that may read the logs can ask a stream to deliver to the subject of a person. Nobody is shown a chat by that.
func TestWhatAStreamDeliversToThePersonAtTheWishOfOthersIsDropped(t *testing.T) {
	r := newRig(t)
	r.group("c1", "ben")
	r.group("secret") // of which ben is no member
	d := r.connect("ben", nil)
	secret := r.say("secret", 0)
	for _, m := range []*nats.Msg{
		{Subject: subject.User("ben"), Reply: "$JS.ACK.CHAT_0.team-audit.1.2.3.4.5", Data: secret.Body},
		{Subject: subject.User("ben"), Reply: "$JS.ACK._.hash.CHAT_0.team-audit.1.2.3.4.5.token", Data: secret.Body},
		{Subject: subject.User("ben"), Reply: "ev.0.x", Data: secret.Body},
		{Subject: subject.User("ben"), Reply: subject.Event(1, "x") + ".y", Data: secret.Body},
	} {
		if err := r.bus.Conn().PublishMsg(m); err != nil {
			t.Fatal(err)
		}
	}
	r.deliver("ben", r.say("c1", 0))
	meshtest.Eventually(t, meshtest.Patience, "the event of the own chat, which came behind", func() bool { return len(d.seqs("c1")) == 1 })
	if got := d.seqs("secret"); len(got) > 0 {
		t.Errorf("ben was shown %v of a chat that is not theirs", got)
	}
}

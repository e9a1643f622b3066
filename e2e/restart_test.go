package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/chatmesh/chatmesh/e2e/program"
	"github.com/chatmesh/chatmesh/e2e/raw"
)

// again starts the program once more on the same data, and moves the people to it.
func again(t *testing.T, cfg program.Config, people ...*person) *program.Program {
	t.Helper()
	srv := program.Start(t, cfg)
	for _, p := range people {
		srv.Guard(canary, p.password, p.access, p.refresh)
		p.srv = srv
	}
	return srv
}

func TestARestartOnTheSameDataFindsEverything(t *testing.T) {
	t.Parallel()
	cfg := program.Config{Data: t.TempDir()}
	srv := program.Start(t, cfg)
	alice, bob := newPerson(t, srv, "alice"), newPerson(t, srv, "bob")
	direct, group := alice.direct(bob), alice.group("kept", bob)
	retry := newClientID()
	s := alice.device(nil)
	first := send(t, s, direct, retry, text("retried after the restart"))
	fill(t, s, direct, 10)
	fill(t, s, group, 10)
	bob.must(http.StatusOK, http.MethodPut, "/v1/chats/"+direct+"/read", raw.Object{"seq": 5}, nil)
	alice.must(http.StatusOK, http.MethodPatch, "/v1/chats/"+group, raw.Object{"title": "renamed"}, nil)

	type all struct {
		direct, group []raw.Frame
		list          []chatInfo
		info          chatInfo
	}
	look := func() all {
		return all{bob.history(direct), bob.history(group), bob.list(100), bob.info(group)}
	}
	before := look()
	if exit, took, err := srv.Terminate(); err != nil || exit != 0 || took > program.StopsWithin {
		t.Fatalf("SIGTERM: exit code %d after %v, %v; want 0 soon", exit, took, err)
	}
	again(t, cfg, alice, bob)
	a := bob.call(http.MethodGet, "/v1/users/me", nil)
	t.Logf("an access token from before the restart gets %d", a.Status)
	var tokens signedIn
	bob.must(http.StatusOK, http.MethodPost, "/v1/sessions/refresh", raw.Object{"refresh_token": bob.refresh}, &tokens)
	bob.access, bob.refresh = tokens.AccessToken, tokens.RefreshToken
	bob.srv.Guard(bob.access, bob.refresh)
	alice = alice.login()
	after := look()
	for what, c := range map[string][2][]raw.Frame{"direct": {before.direct, after.direct}, "group": {before.group, after.group}} {
		if len(c[0]) != len(c[1]) {
			t.Errorf("%s: %d events before, %d after", what, len(c[0]), len(c[1]))
			continue
		}
		for i := range c[0] {
			if !bytes.Equal(c[0][i].Raw, c[1][i].Raw) {
				t.Errorf("%s: before %s, after %s", what, c[0][i].Raw, c[1][i].Raw)
			}
		}
	}
	for what, c := range map[string][2]any{"the list": {before.list, after.list}, "the group": {before.info, after.info}} {
		was, _ := json.Marshal(c[0])
		is, _ := json.Marshal(c[1])
		if !bytes.Equal(was, is) {
			t.Errorf("%s: before %s, after %s", what, was, is)
		}
	}
	s = alice.device(map[string]uint64{direct: 9})
	if ack := send(t, s, direct, retry, text("retried after the restart")); ack.Seq != first.Seq || !ack.Duplicate {
		t.Errorf("a retry after the restart: got %s; want seq %d, duplicate", ack.Raw, first.Seq)
	}
	if ack := send(t, s, direct, newClientID(), text("new")); ack.Seq != 13 || ack.Duplicate {
		t.Errorf("a new message after the restart: got %s; want seq 13", ack.Raw)
	}
	awaitSeq(t, "alice", s, direct, 13)
	contiguous(t, "what alice missed and what is new", s.Events(direct), 10)
}

// interrupt puts a chat under load, ends the program with end, starts it again and checks that nothing acked is lost, that
// what was not acked can be sent again, and that nothing stands twice.
func interrupt(t *testing.T, end func(srv *program.Program, sockets []*raw.Socket)) {
	interruptOn(t, t.TempDir(), end)
}

// interruptOn is interrupt with the data in a given folder.
func interruptOn(t *testing.T, data string, end func(srv *program.Program, sockets []*raw.Socket)) {
	cfg := program.Config{Data: data}
	srv := program.Start(t, cfg)
	alice, bob := newPerson(t, srv, "alice"), newPerson(t, srv, "bob")
	chat := alice.group("under load", bob)
	senders := []*person{alice, bob, alice, bob}
	sockets := make([]*raw.Socket, len(senders))
	for i, p := range senders {
		sockets[i] = p.device(nil)
	}
	l := startLoad(t, chat, sockets)
	l.awaitAcks(150)
	end(srv, sockets)
	all := l.end()
	again(t, cfg, alice, bob)
	for _, p := range []*person{alice, bob} {
		*p = *p.login()
	}
	h := alice.history(chat)
	if len(h) == 0 || h[0].Seq != 1 {
		t.Fatalf("history begins with %v; want seq 1", seqs(h[:min(1, len(h))]))
	}
	unacked := accounted(t, h, all, senders)
	t.Logf("%d messages sent, %d of them without an ack, %d events in history", len(all), len(unacked), len(h))
	s := [2]*raw.Socket{alice.device(nil), bob.device(nil)}
	for i := range all {
		m := &all[i]
		if m.seq == 0 || i%20 == 0 { // some of the acked ones as well
			ack := send(t, s[m.who%2], chat, m.clientID, m.text)
			if m.seq > 0 && (ack.Seq != m.seq || !ack.Duplicate) {
				t.Errorf("a retry of seq %d: got %s", m.seq, ack.Raw)
			}
			m.seq = ack.Seq
		}
	}
	h = bob.history(chat)
	if left := accounted(t, h, all, senders); len(left) != 0 || len(h) != len(all)+1 {
		t.Errorf("after the retries: %d events, %d without an ack; want %d and 0", len(h), len(left), len(all)+1)
	}
	if n := h[len(h)-1].N; n != uint64(len(all)) {
		t.Errorf("the last n is %d; want %d", n, len(all))
	}
}

func TestSIGKILLInTheMiddleOfSendsLosesAndDoublesNothingAcked(t *testing.T) {
	t.Parallel()
	interrupt(t, func(srv *program.Program, _ []*raw.Socket) { srv.Kill() })
}

func TestSIGTERMUnderLoadEndsCleanlyAndKeepsEveryAckedMessage(t *testing.T) {
	t.Parallel()
	interrupt(t, func(srv *program.Program, sockets []*raw.Socket) {
		exit, took, err := srv.Terminate()
		t.Logf("SIGTERM under load: exit code %d after %v", exit, took.Round(time.Millisecond))
		if err != nil || exit != 0 || took > program.StopsWithin {
			t.Errorf("SIGTERM: exit code %d after %v, %v; want 0 soon", exit, took, err)
		}
		for i, s := range sockets {
			closedAs(t, fmt.Sprintf("socket %d", i), s, raw.Patience, 3000, 1001)
			draining := s.Frames(func(f raw.Frame) bool { return f.Type == "draining" })
			t.Logf("socket %d was told %d times that the edge is draining", i, len(draining))
			for _, f := range draining {
				if f.ReconnectAfterMS == nil || *f.ReconnectAfterMS < 0 {
					t.Errorf("socket %d: got %s; want reconnect_after_ms", i, f.Raw)
				}
			}
		}
	})
}

package subject_test

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/subject"
)

func anID(t *rapid.T, label string) string {
	s := rapid.OneOf(
		rapid.StringMatching(`[A-Za-z0-9_-]{1,64}`),
		rapid.SampledFrom([]string{"chat", "user", "presence", "edge", "log", "state", "cursor", "0", "-", "_", strings.Repeat("z", 64)}),
	).Draw(t, label)
	if _, err := chat.ParseID(s); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSubjectsOfValidIDsHaveTheirTokensAndGiveTheIDBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id, user := chat.ID(anID(t, "chat")), chat.UserID(anID(t, "user"))
		edge := anID(t, "edge")
		p := rapid.IntRange(0, 4095).Draw(t, "partition")
		for _, c := range []struct {
			subj   string
			tokens int
		}{
			{subject.Log(p, id), 4}, {subject.State(p, id), 4}, {subject.LogAndState(p, id), 4},
			{subject.Cursor(p, id, user), 4}, {subject.User(user), 2}, {subject.PresenceOf(user), 2},
			{subject.AllOf(p), 3}, {subject.Logs(p), 4}, {subject.Cursors(p), 3}, {subject.Dead(subject.FanOut, p), 3},
			{subject.PresenceKey(user, edge), 2}, {subject.LeaseKey(edge), 2}, {subject.NodeKey("edge", edge), 2},
			{subject.KV(subject.Presence, subject.PresenceKey(user, edge)), 4},
		} {
			tokens := strings.Split(c.subj, ".")
			if len(tokens) != c.tokens {
				t.Fatalf("%s: got %d tokens; want %d", c.subj, len(tokens), c.tokens)
			}
			for _, token := range tokens {
				if token == "" || strings.ContainsAny(token, " \t\r\n\x00") {
					t.Fatalf("%s has a token that is none", c.subj)
				}
			}
		}
		for _, subj := range []string{subject.Log(p, id), subject.State(p, id), subject.Cursor(p, id, user)} {
			if got := subject.ChatOf(subj); got != id {
				t.Fatalf("%s: got chat %q; want %q", subj, got, id)
			}
		}
		if got := subject.UserOf(subject.User(user)); got != user {
			t.Fatalf("got user %q; want %q", got, user)
		}
		for own, subj := range map[bool]string{false: subject.PresenceOf(user), true: subject.PresenceOwn(user)} {
			if got, is := subject.PresentOf(subj); got != user || is != own {
				t.Fatalf("%s: got user %q, own %v; want %q, %v", subj, got, is, user, own)
			}
		}
		if matches(subject.Logs(p), subject.State(p, id)) || !matches(subject.Logs(p), subject.Log(p, id)) {
			t.Fatalf("%s does not tell logs from states", subject.Logs(p))
		}
		for _, subj := range []string{subject.Log(p, id), subject.State(p, id)} {
			if !matches(subject.AllOf(p), subj) || !matches(subject.LogAndState(p, id), subj) || matches(subject.AllOf(p+1), subj) {
				t.Fatalf("%s is not in its partition", subj)
			}
		}
		if !matches(subject.Cursors(p), subject.Cursor(p, id, user)) {
			t.Fatalf("%s does not match %s", subject.Cursors(p), subject.Cursor(p, id, user))
		}
	})
}

// matches tells whether a subject is of a pattern, as NATS does.
func matches(pattern, subj string) bool {
	want, have := strings.Split(pattern, "."), strings.Split(subj, ".")
	for i, w := range want {
		switch {
		case w == ">":
			return len(have) > i
		case i >= len(have), w != "*" && w != have[i]:
			return false
		}
	}
	return len(want) == len(have)
}

func TestDifferentIDsHaveDifferentSubjects(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := chat.ID(anID(t, "a")), chat.ID(anID(t, "b"))
		u, v := chat.UserID(anID(t, "u")), chat.UserID(anID(t, "v"))
		if (subject.Log(0, a) == subject.Log(0, b)) != (a == b) || subject.Log(0, a) == subject.State(0, b) {
			t.Fatalf("%s and %s share a log", a, b)
		}
		if (subject.Cursor(0, a, u) == subject.Cursor(0, b, v)) != (a == b && u == v) {
			t.Fatalf("%s of %s and %s of %s share a cursor", u, a, v, b)
		}
		if (subject.User(u) == subject.User(v)) != (u == v) {
			t.Fatalf("%s and %s share a subject", u, v)
		}
	})
}

func TestNamesOfStreamsAndEndpointsAreWhatOthersRelyOn(t *testing.T) {
	for got, want := range map[string]string{
		subject.ChatStream(0):                                  "CHAT_0",
		subject.ChatStream(63):                                 "CHAT_63",
		subject.CursorStream(7):                                "CURSOR_7",
		subject.KVStream(subject.Presence):                     "KV_presence",
		subject.KV(subject.Nodes, subject.NodeKey("api", "n")): "$KV.nodes.api.n",
		subject.Log(3, "c1"):                                   "chat.3.c1.log",
		subject.State(3, "c1"):                                 "chat.3.c1.state",
		subject.Cursor(3, "c1", "ann"):                         "cursor.3.c1.ann",
		subject.User("ann"):                                    "user.ann",
		subject.PresenceOf("ann"):                              "presence.ann",
		subject.PresenceKey("ann", "e1"):                       "ann.e1",
		subject.LeaseKey("e1"):                                 "edge.e1",
		subject.Dead(subject.Persister, 2):                     "dead.persister.2",
		subject.DeadOf(subject.Persister):                      "dead.persister.*",
	} {
		if got != want {
			t.Errorf("got %s; want %s", got, want)
		}
	}
	seen := map[string]bool{}
	for _, e := range subject.Endpoints {
		if !strings.HasPrefix(e, "svc.") || len(strings.Split(e, ".")) != 3 || seen[e] {
			t.Errorf("%s is no endpoint of its own", e)
		}
		seen[e] = true
	}
}

func TestTheWorkerOfADeadLetterIsReadFromItsSubject(t *testing.T) {
	for _, c := range []struct {
		subj, worker string
		partition    int
		ok           bool
	}{
		{subject.Dead(subject.FanOut, 17), "fanout", 17, true},
		{"dead.fanout", "", 0, false},
		{"dead.fanout.1.2", "", 0, false},
		{"dead.fanout.x", "fanout", 0, false},
		{"dead.fanout.-1", "fanout", -1, false},
		{"chat.fanout.1", "", 0, false},
	} {
		worker, partition, ok := subject.WorkerOf(c.subj)
		if worker != c.worker || partition != c.partition || ok != c.ok {
			t.Errorf("%s: got %s, %d, %t; want %s, %d, %t", c.subj, worker, partition, ok, c.worker, c.partition, c.ok)
		}
	}
}

func TestTheReplySubjectOfAnEventGivesBackWhatItCarriesAndNothingElseIsOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		stream, id := rapid.Uint64Min(1).Draw(t, "stream"), anID(t, "id")
		for _, id := range []string{id, ""} {
			gotStream, gotID, ok := subject.EventOf(subject.Event(stream, id))
			if !ok || gotStream != stream || gotID != id {
				t.Fatalf("got %d, %q, %v; want %d, %q", gotStream, gotID, ok, stream, id)
			}
		}
		// An id that somebody published by hand must not break the connection.
		if s := rapid.String().Draw(t, "text"); strings.Contains(subject.Event(stream, s+" "), " ") || strings.Contains(subject.Event(stream, s+"\r\n"), "\n") {
			t.Fatalf("%q became a token", s)
		}
	})
	for _, s := range []string{"", "ev", "ev.", "ev.0", "ev.0.a", "ev.-1.a", "ev.1.", "ev.1.a.b", "ev.x.a", "ev.1.a b", "EV.1.a", "$JS.ACK.CHAT_0.fanout.1.2.3.4.5", "x.ev.1.a"} {
		if stream, id, ok := subject.EventOf(s); ok {
			t.Errorf("%q: got %d, %q; want none", s, stream, id)
		}
	}
}

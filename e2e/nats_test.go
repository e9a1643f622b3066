package e2e

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/chatmesh/chatmesh/e2e/program"
	"github.com/chatmesh/chatmesh/e2e/raw"
)

// broker connects to the broker, with the rights of a role where it has accounts.
func broker(t *testing.T, srv *program.Program, role string) *nats.Conn {
	t.Helper()
	url, opts := srv.NATS, []nats.Option{nats.Name("e2e"), nats.Timeout(5 * time.Second)}
	if m := shared.mesh; m != nil && srv == shared.p {
		key, err := nats.NkeyOptionFromSeed(m.Key(role + ".nk"))
		if err != nil {
			t.Fatal(err)
		}
		url, opts = m.URL(), append(opts, key, nats.RootCAs(m.Key("ca.pem")), nats.CustomInboxPrefix("_INBOX_"+role),
			nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { t.Errorf("%s: %v", role, err) }))
	}
	nc, err := nats.Connect(url, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// spool keeps the messages of a subscription.
type spool struct {
	mu   sync.Mutex
	msgs []*nats.Msg // guarded by mu
}

func (s *spool) add(m *nats.Msg) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.msgs = append(s.msgs, m)
}

func (s *spool) find(match func(*nats.Msg) bool) *nats.Msg {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.IndexFunc(s.msgs, match); i >= 0 {
		return s.msgs[i]
	}
	return nil
}

func TestBackendTeamsSeeTheExactEventsThatClientsReceive(t *testing.T) {
	t.Parallel()
	srv := server(t)
	team, nc := broker(t, srv, "team-audit"), broker(t, srv, "edge")
	var chats, users spool
	if _, err := team.Subscribe("chat.*.*.log", chats.add); err != nil {
		t.Fatal(err)
	}
	alice, bob := newPerson(t, srv, "alice"), newPerson(t, srv, "bob")
	if _, err := nc.Subscribe("user."+bob.id, users.add); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*nats.Conn{team, nc} {
		if err := c.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	s, other := alice.device(nil), bob.device(nil)
	chat := alice.group("on the broker", bob)
	var last uint64
	for i := range 5 {
		last = send(t, s, chat, newClientID(), text("<&> %d", i)).Seq
	}
	alice.must(200, "PATCH", "/v1/chats/"+chat, raw.Object{"title": "renamed"}, nil)
	last++
	awaitSeq(t, "bob", other, chat, last)
	ids := map[string]bool{}
	for _, e := range other.Events(chat) {
		isIt := func(m *nats.Msg) bool {
			return strings.HasSuffix(m.Subject, "."+chat+".log") && m.Header.Get("Chat-Seq") == strconv.FormatUint(e.Seq, 10)
		}
		eventually(t, raw.Patience, "the event on chat.*.*.log", func() bool { return chats.find(isIt) != nil })
		m := chats.find(isIt)
		if parts := strings.Split(m.Subject, "."); len(parts) != 4 || parts[0] != "chat" {
			t.Errorf("subject %s; want chat.<partition>.<chat>.log", m.Subject)
		}
		if !bytes.Equal(m.Data, e.Raw) {
			t.Errorf("seq %d: the broker has %s, the client got %s", e.Seq, m.Data, e.Raw)
		}
		id := m.Header.Get("Nats-Msg-Id")
		if id == "" || ids[id] || strings.Contains(id, e.ClientID) && e.ClientID != "" {
			t.Errorf("seq %d: Nats-Msg-Id is %q; want a digest of its own", e.Seq, id)
		}
		ids[id] = true
		eventually(t, raw.Patience, "the event on user."+bob.id, func() bool {
			return users.find(func(m *nats.Msg) bool { return bytes.Equal(m.Data, e.Raw) }) != nil
		})
	}
	first := chats.find(func(m *nats.Msg) bool { return strings.HasSuffix(m.Subject, "."+chat+".log") })
	partition := strings.Split(first.Subject, ".")[1]
	if header, _ := stored(t, nc, "CHAT_"+partition, first.Subject); !strings.Contains(header, "\r\nChat-Seq: "+strconv.FormatUint(last, 10)+"\r\n") {
		t.Errorf("the last event in the stream has the header %q; want seq %d", header, last)
	}
	_, state := stored(t, nc, "CHAT_"+partition, strings.TrimSuffix(first.Subject, "log")+"state")
	if !bytes.Contains(state, []byte(bob.id)) || !bytes.Contains(state, []byte("renamed")) {
		t.Errorf("the state beside the log has no members and title: %s", state)
	}
}

// stored asks the leader of a stream for the last message of a subject.
func stored(t *testing.T, nc *nats.Conn, stream, subject string) (header string, body []byte) {
	t.Helper()
	var answer struct {
		Message struct {
			Header []byte `json:"hdrs"`
			Data   []byte `json:"data"`
		} `json:"message"`
	}
	m := request(t, nc, "$JS.API.STREAM.MSG.GET."+stream, raw.Object{"last_by_subj": subject})
	if err := json.Unmarshal(m.Data, &answer); err != nil || answer.Message.Data == nil {
		t.Fatalf("%s in %s: got %s, %v", subject, stream, m.Data, err)
	}
	return string(answer.Message.Header), answer.Message.Data
}

func TestPresenceAndNodesStandInTheirBuckets(t *testing.T) {
	t.Parallel()
	srv := server(t)
	js, err := jetstream.New(broker(t, srv, "ops"))
	if err != nil {
		t.Fatal(err)
	}
	nc := broker(t, srv, "edge")
	alice := newPerson(t, srv, "alice")
	var transitions spool
	if _, err := nc.Subscribe("presence."+alice.id, transitions.add); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	keys := func(bucket string) []string {
		t.Helper()
		kv, err := js.KeyValue(t.Context(), bucket)
		if err != nil {
			t.Fatalf("bucket %s: %v", bucket, err)
		}
		lister, err := kv.ListKeys(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer lister.Stop()
		var out []string
		for k := range lister.Keys() {
			out = append(out, k)
		}
		return out
	}
	s := alice.device(nil)
	var edge string
	eventually(t, raw.Patience, "a key <user>.<edge> in presence", func() bool {
		for _, k := range keys("presence") {
			if user, e, ok := strings.Cut(k, "."); ok && user == alice.id {
				edge = e
			}
		}
		return edge != ""
	})
	if !slices.Contains(keys("presence"), "edge."+edge) {
		t.Errorf("no lease edge.%s in presence: %v", edge, keys("presence"))
	}
	eventually(t, raw.Patience, "a transition on presence."+alice.id, func() bool {
		return transitions.find(func(*nats.Msg) bool { return true }) != nil
	})
	s.Leave()
	eventually(t, 2*raw.Patience, "the key goes when the person does", func() bool {
		return !slices.Contains(keys("presence"), alice.id+"."+edge)
	})
	kv, err := js.KeyValue(t.Context(), "nodes")
	if err != nil {
		t.Fatal(err)
	}
	nodes := keys("nodes")
	if len(nodes) == 0 {
		t.Error("no live node in the bucket nodes")
	}
	for _, k := range nodes {
		e, err := kv.Get(t.Context(), k)
		if err != nil || !json.Valid(e.Value()) || strings.Count(k, ".") != 1 {
			t.Errorf("node %s: %v; want <service>.<node> with JSON", k, err)
		}
	}
	t.Logf("nodes: %v", nodes)
}

// request asks a micro service endpoint.
func request(t *testing.T, nc *nats.Conn, endpoint string, body any) *nats.Msg {
	t.Helper()
	var b []byte
	switch v := body.(type) {
	case raw.Body:
		b = []byte(v)
	default:
		b, _ = json.Marshal(v)
	}
	m, err := nc.Request(endpoint, b, 10*time.Second)
	if err != nil {
		t.Fatalf("%s: %v", endpoint, err)
	}
	return m
}

func TestBackendTeamsCallTheMicroService(t *testing.T) {
	t.Parallel()
	srv := server(t)
	nc, ops := broker(t, srv, "team-bot"), broker(t, srv, "ops")
	alice, bob, eve := newPerson(t, srv, "alice"), newPerson(t, srv, "bob"), newPerson(t, srv, "eve")
	chat := alice.direct(bob)
	device := bob.device(nil)

	// Every instance of the service answers, each with the endpoints that it serves.
	var infos spool
	inbox := ops.NewRespInbox()
	if _, err := ops.Subscribe(inbox, infos.add); err != nil {
		t.Fatal(err)
	}
	if err := ops.PublishRequest("$SRV.INFO.chatmesh", inbox, nil); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"svc.chat.send", "svc.chat.history"} {
		eventually(t, raw.Patience, "endpoint "+want+" is listed by $SRV.INFO.chatmesh", func() bool {
			return infos.find(func(m *nats.Msg) bool {
				var info struct {
					Name      string `json:"name"`
					Endpoints []struct {
						Subject string `json:"subject"`
					} `json:"endpoints"`
				}
				if err := json.Unmarshal(m.Data, &info); err != nil || info.Name != "chatmesh" {
					t.Errorf("$SRV.INFO.chatmesh: got %.200s, %v", m.Data, err)
				}
				for _, e := range info.Endpoints {
					if e.Subject == want {
						return true
					}
				}
				return false
			}) != nil
		})
	}

	id, words := newClientID(), text("from a backend team")
	message := raw.Object{"chat": chat, "sender": alice.id, "client_id": id, "text": words}
	var ack raw.Frame
	m := request(t, nc, "svc.chat.send", message)
	if err := json.Unmarshal(m.Data, &ack); err != nil || m.Header.Get("Nats-Service-Error-Code") != "" || ack.Seq != 2 || ack.Duplicate {
		t.Fatalf("svc.chat.send: got %v %s, %v; want seq 2", m.Header, m.Data, err)
	}
	if e := awaitSeq(t, "bob", device, chat, 2); e.Text != words || e.Sender != alice.id || e.ClientID != id {
		t.Errorf("bob got %s", e.Raw)
	}
	m = request(t, nc, "svc.chat.send", message)
	if err := json.Unmarshal(m.Data, &ack); err != nil || ack.Seq != 2 || !ack.Duplicate {
		t.Errorf("the same again: got %s, %v; want seq 2, duplicate", m.Data, err)
	}
	over := send(t, alice.device(nil), chat, id, words)
	if over.Seq != 2 || !over.Duplicate {
		t.Errorf("the same over a socket: got %s; want seq 2, duplicate", over.Raw)
	}
	var page raw.Frame
	m = request(t, nc, "svc.chat.history", raw.Object{"chat": chat, "after": 0, "limit": 10})
	if err := json.Unmarshal(m.Data, &page); err != nil || len(page.Messages) != 2 || page.Messages[1].Text != words {
		t.Errorf("svc.chat.history: got %v %s, %v; want two events", m.Header, m.Data, err)
	}
	m = request(t, nc, "svc.chat.history", raw.Object{"chat": chat, "after": 1, "limit": 1})
	if err := json.Unmarshal(m.Data, &page); err != nil || len(page.Messages) != 1 || page.Messages[0].Seq != 2 {
		t.Errorf("svc.chat.history after 1: got %s, %v; want seq 2", m.Data, err)
	}
	with := func(key string, value any) raw.Object {
		q := raw.Object{"chat": chat, "sender": alice.id, "client_id": newClientID(), "text": text("refused")}
		q[key] = value
		return q
	}
	for _, c := range []struct {
		what, endpoint, code string
		body                 any
	}{
		{"a stranger as sender", "svc.chat.send", "not_found", with("sender", eve.id)},
		{"an unknown chat", "svc.chat.send", "not_found", with("chat", "nochat")},
		{"a chat that is a subject", "svc.chat.send", "bad_request", with("chat", "a.>")},
		{"a sender that is a subject", "svc.chat.send", "bad_request", with("sender", "*")},
		{"no client id", "svc.chat.send", "bad_request", with("client_id", "")},
		{"no text", "svc.chat.send", "bad_request", with("text", "")},
		{"a text that is too long", "svc.chat.send", "too_long", with("text", strings.Repeat("x", 100_000))},
		{"no JSON", "svc.chat.send", "bad_request", raw.Body("no")},
		{"no bytes", "svc.chat.send", "bad_request", raw.Body("")},
		{"history of an unknown chat", "svc.chat.history", "not_found", raw.Object{"chat": "nochat", "after": 0, "limit": 1}},
		{"history of a subject", "svc.chat.history", "bad_request", raw.Object{"chat": ">", "after": 0, "limit": 1}},
	} {
		m := request(t, nc, c.endpoint, c.body)
		if got := m.Header.Get("Nats-Service-Error-Code"); got != c.code {
			t.Errorf("%s: Nats-Service-Error-Code is %q (%s); want %s", c.what, got, m.Data, c.code)
		}
	}
	if h := alice.history(chat); len(h) != 2 {
		t.Errorf("after refusals: got %d events; want 2", len(h))
	}
}

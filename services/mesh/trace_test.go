package mesh

import (
	"context"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/nats-io/nats.go"

	"github.com/chatmesh/chatmesh/pkg/config"
	"github.com/chatmesh/chatmesh/pkg/meshtest"
	"github.com/chatmesh/chatmesh/pkg/meshtest/cqltest"
	"github.com/chatmesh/chatmesh/pkg/trace/tracetest"
)

// tracing are the settings of a process that embeds everything and traces as much as ratio says.
func tracing(t *testing.T, endpoint string, ratio float64) *config.Settings {
	t.Helper()
	c := settings(t, "n1", "")
	c.NATSURL, c.OTLPEndpoint, c.TraceSample = nil, endpoint, ratio
	return c
}

// What people wrote and who they are, none of which may leave in a span.
const (
	canaryName     = "canary_name"
	canaryPassword = "canary password"
	canaryText     = "canary text"
	canaryClient   = "canary_client"
)

// pair are two people in a chat.
type pair struct {
	ada, bob registered
	chat     string
}

func newPair(p *process) pair {
	p.t.Helper()
	var x pair
	for _, who := range []struct {
		name string
		to   *registered
	}{{canaryName, &x.ada}, {canaryName + "_2", &x.bob}} {
		if status := p.call("POST", "/v1/users", "", map[string]string{"username": who.name, "password": canaryPassword}, who.to); status != 201 {
			p.t.Fatalf("registering: got %d; want 201", status)
		}
	}
	var c struct {
		ID string `json:"id"`
	}
	if status := p.call("POST", "/v1/chats", x.ada.AccessToken, map[string]any{"kind": "direct", "members": []string{x.bob.User.ID}}, &c); status != 201 {
		p.t.Fatalf("making a chat: got %d; want 201", status)
	}
	x.chat = c.ID
	return x
}

// socket connects somebody and says hello.
func (p *process) socket(who registered) *websocket.Conn {
	p.t.Helper()
	d := websocket.Dialer{Subprotocols: []string{"chatmesh.v1"}, HandshakeTimeout: 10 * time.Second}
	ws, res, err := d.DialContext(p.t.Context(), "ws://"+p.listen.Addr().String()+"/v1/ws", nil)
	if err != nil {
		p.t.Fatal(err)
	}
	_ = res.Body.Close()
	p.t.Cleanup(func() { _ = ws.Close() })
	if err := ws.WriteJSON(map[string]any{"type": "hello", "token": who.AccessToken, "cursors": map[string]int{}}); err != nil {
		p.t.Fatal(err)
	}
	p.await(ws, "welcome")
	return ws
}

// await reads frames up to one of a type.
func (p *process) await(ws *websocket.Conn, typ string) {
	p.t.Helper()
	_ = ws.SetReadDeadline(time.Now().Add(meshtest.Patience))
	for {
		var f struct {
			Type string `json:"type"`
		}
		if err := ws.ReadJSON(&f); err != nil {
			p.t.Fatalf("waiting for %s: %v", typ, err)
		}
		if f.Type == typ {
			return
		}
	}
}

// sends sends a message from ada, and waits until both have it.
func (p *process) sends(x pair, client string) {
	p.t.Helper()
	ada, bob := p.socket(x.ada), p.socket(x.bob)
	if err := ada.WriteJSON(map[string]string{"type": "send", "id": "1", "chat": x.chat, "client_id": client, "text": canaryText}); err != nil {
		p.t.Fatal(err)
	}
	p.await(ada, "ack")
	p.await(bob, "message")
}

// one waits for the one span of a name in a trace; trace may be empty.
func one(t *testing.T, r *tracetest.Receiver, name, trace string) tracetest.Span {
	t.Helper()
	var got []tracetest.Span
	meshtest.Eventually(t, meshtest.Patience, name, func() bool { got = r.Named(name, trace); return len(got) > 0 })
	if len(got) != 1 {
		t.Fatalf("%s: got %+v; want one", name, got)
	}
	return got[0]
}

// wholeWay looks for the spans of one send, and returns that of the store's write.
func wholeWay(t *testing.T, r *tracetest.Receiver, x pair) tracetest.Span {
	t.Helper()
	send := one(t, r, "edge send", "")
	in := func(name string, parent tracetest.Span, scope string) tracetest.Span {
		t.Helper()
		s := one(t, r, name, send.Trace)
		if s.Parent != parent.ID || s.Scope != "chatmesh/"+scope {
			t.Errorf("%s: got parent %q and scope %q; want %q (%s) and %s", name, s.Parent, s.Scope, parent.ID, parent.Name, scope)
		}
		return s
	}
	appended := in("chatlog append", send, "edge")
	published := in("fanout publish", appended, "fanout")
	persisted := in("persister write", appended, "persister")
	stored := in("store write", persisted, "persister")
	var delivered []tracetest.Span
	meshtest.Eventually(t, meshtest.Patience, "a delivery to each", func() bool {
		delivered = r.Named("edge deliver", send.Trace)
		return len(delivered) == 2 && len(r.Named("edge write", send.Trace)) == 2
	})
	for _, d := range delivered {
		if d.Parent != published.ID || d.Attrs["chatmesh.stream_seq"] == "" || d.Attrs["chatmesh.stream_seq"] != persisted.Attrs["chatmesh.stream_seq"] {
			t.Errorf("got delivery %+v; want it below the fan-out, of the event that was persisted", d)
		}
		if !slices.ContainsFunc(r.Named("edge write", send.Trace), func(w tracetest.Span) bool { return w.Parent == d.ID }) {
			t.Errorf("delivery %s has no write into a socket", d.ID)
		}
	}
	var batch tracetest.Span
	meshtest.Eventually(t, meshtest.Patience, "the batch", func() bool {
		for _, b := range r.Named("persister batch", "") {
			if slices.Contains(b.Links, appended.Place()) {
				batch = b
				return true
			}
		}
		return false
	})
	if batch.Trace == send.Trace || !slices.Contains(persisted.Links, batch.Place()) {
		t.Errorf("got batch %+v and links %v; want a trace of its own, linked both ways", batch, persisted.Links)
	}
	if !slices.Equal(appended.Events, []string{"commit", "stored"}) || appended.Attrs["chatmesh.seq"] != "2" || appended.Attrs["chatmesh.partition"] == "" {
		t.Errorf("got append %+v; want a commit, and where it stands", appended)
	}
	if send.Kind != "server" || published.Kind != "consumer" || persisted.Kind != "consumer" || send.Parent != "" {
		t.Errorf("got %s, %s, %s; want what each is", send.Kind, published.Kind, persisted.Kind)
	}
	for _, s := range r.Spans() {
		if s.Trace == send.Trace && s.Name != "edge write" && s.Name != "store write" && s.Attrs["chatmesh.chat"] != x.chat &&
			!strings.HasPrefix(s.Name, "cql") && !strings.HasPrefix(s.Name, "svc.") {
			t.Errorf("%s: got %v; want the chat", s.Name, s.Attrs)
		}
		if s.Failed || s.End.Before(s.Start) || s.Resource["service.name"] != "chatmesh" {
			t.Errorf("got %+v; want it well", s)
		}
	}
	return stored
}

// noCanary looks for what must not leave in anything that was exported.
func noCanary(t *testing.T, r *tracetest.Receiver, x pair) {
	t.Helper()
	for _, secret := range []string{"canary", x.ada.AccessToken, x.bob.AccessToken, x.ada.User.ID, x.bob.User.ID} {
		if r.Holds(secret) {
			t.Errorf("%.12s… is in a span", secret)
		}
	}
}

func TestOneSendIsOneTraceFromTheFrameToTheRow(t *testing.T) {
	r := tracetest.New(t)
	p := launch(t, tracing(t, r.URL, 1), All...)
	p.ready()
	x := newPair(p)
	p.sends(x, canaryClient)
	wholeWay(t, r, x)
	if p.call("POST", "/v1/sessions", "", map[string]string{"username": canaryName, "password": canaryPassword + "x"}, nil) != 401 {
		t.Error("a wrong password is let in")
	}
	login := one(t, r, "POST /v1/sessions", "")
	if login.Attrs["http.response.status_code"] != "401" || login.Attrs["chatmesh.error"] != "invalid_credentials" {
		t.Errorf("got %+v; want the status and the code", login)
	}
	if err := p.stop(); err != nil {
		t.Error(err)
	}
	noCanary(t, r, x)
}

func TestOnAClusterTheTraceGoesDownToTheRows(t *testing.T) {
	r := tracetest.New(t)
	broker, o := meshtest.NewBroker(t), cqltest.Options(t)
	c := onScylla(t, "n1", broker.ClientURL(), o)
	c.OTLPEndpoint, c.TraceSample = r.URL, 1
	p := launch(t, c, All...)
	p.ready()
	x := newPair(p)
	p.sends(x, canaryClient)
	stored := wholeWay(t, r, x)
	for _, table := range []string{"messages", "client_ids", "chats"} {
		s := one(t, r, "cql write "+table, stored.Trace)
		if s.Parent != stored.ID || s.Kind != "client" || s.Attrs["chatmesh.count"] == "" {
			t.Errorf("got %+v; want it below the write of the store, with a count of rows", s)
		}
	}
	if err := p.stop(); err != nil {
		t.Error(err)
	}
	noCanary(t, r, x)
}

func TestATraceOfACallerGoesOnOverHTTPAndOverNATS(t *testing.T) {
	r := tracetest.New(t)
	p := launch(t, tracing(t, r.URL, 0), All...)
	p.ready()
	x := newPair(p)
	p.sends(x, canaryClient)
	nc, err := nats.Connect(p.broker.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	events, err := nc.SubscribeSync("chat.*." + x.chat + ".log")
	if err != nil {
		t.Fatal(err)
	}
	const caller = "0af7651916cd43dd8448eb211c80319c"
	send := func(client, flags string) *nats.Msg {
		t.Helper()
		m := nats.NewMsg("svc.chat.send")
		m.Data = []byte(`{"chat":"` + x.chat + `","sender":"` + x.ada.User.ID + `","client_id":"` + client + `","text":"` + canaryText + `"}`)
		if flags != "" {
			m.Header["traceparent"] = []string{"00-" + caller + "-b7ad6b7169203331-" + flags}
		}
		answer, err := nc.RequestMsg(m, 20*time.Second)
		if err != nil || answer.Header.Get("Nats-Service-Error-Code") != "" {
			t.Fatalf("%v, %v", answer, err)
		}
		for { // what was tried and refused is seen as well
			event, err := events.NextMsg(20 * time.Second)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(event.Data), `"client_id":"`+client+`"`) {
				return event
			}
		}
	}
	plain, off, on := send("c1", ""), send("c2", "00"), send("c3", "01")
	for name, m := range map[string]*nats.Msg{"untraced": plain, "not recorded": off} {
		if got := m.Header["traceparent"]; got != nil {
			t.Errorf("%s: got header %q; want none", name, got)
		}
	}
	asked := one(t, r, "svc.chat.send", "")
	appended := one(t, r, "chatlog append", caller)
	if asked.Trace != caller || asked.Parent != "b7ad6b7169203331" || appended.Parent != asked.ID {
		t.Errorf("got %+v, %+v; want them below the caller", asked, appended)
	}
	if got, want := on.Header.Get("traceparent"), "00-"+caller+"-"+appended.ID+"-01"; got != want {
		t.Errorf("got header %q; want %q", got, want)
	}
	if len(on.Data) != len(plain.Data) || len(on.Header.Get("Nats-Msg-Id")) != len(plain.Header.Get("Nats-Msg-Id")) {
		t.Errorf("got %s; want a body and an id as of %s", on.Data, plain.Data)
	}
	one(t, r, "store write", caller)
	const another = "1af7651916cd43dd8448eb211c80319c"
	q, err := http.NewRequest("POST", "http://"+p.listen.Addr().String()+"/v1/chats/"+x.chat+"/messages",
		strings.NewReader(`{"client_id":"c4","text":"`+canaryText+`"}`))
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Set("Authorization", "Bearer "+x.ada.AccessToken)
	q.Header.Set("traceparent", "00-"+another+"-b7ad6b7169203331-01")
	answer, err := http.DefaultClient.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	called, fanned := one(t, r, "POST /v1/chats/{chat}/messages", another), one(t, r, "fanout publish", another)
	if answer.StatusCode != 201 || called.Parent != "b7ad6b7169203331" || called.Attrs["http.response.status_code"] != "201" {
		t.Errorf("got %d, %+v; want it below the caller", answer.StatusCode, called)
	}
	if appended := one(t, r, "chatlog append", another); appended.Parent != called.ID || fanned.Parent != appended.ID {
		t.Errorf("got %+v, %+v; want append and fan-out below the call", appended, fanned)
	}
	if all := r.Spans(); slices.ContainsFunc(all, func(s tracetest.Span) bool {
		return s.Trace != caller && s.Trace != another && s.Name != "persister batch"
	}) {
		t.Errorf("got %+v; want nothing but what the caller traces", all)
	}
}

func TestWithoutAReceiverNothingBreaksAndWhatIsDroppedIsCounted(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	p := launch(t, tracing(t, "http://"+nobody, 1), All...)
	p.ready()
	x := newPair(p)
	p.sends(x, canaryClient)
	meshtest.Eventually(t, meshtest.Patience, "spans that are dropped are counted", func() bool {
		_, text := p.get("/metrics")
		_, rest, ok := strings.Cut(text, "chatmesh_trace_dropped_total{why=\"export\"} ")
		value, _, _ := strings.Cut(rest, "\n")
		n, err := strconv.ParseFloat(value, 64)
		return ok && err == nil && n > 0
	})
	p.sends(x, canaryClient+"_2")
	began := time.Now()
	if err := p.stop(); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > meshtest.Patience/2 {
		t.Errorf("stopping took %v; want it not to wait for who does not answer", took)
	}
	if n := strings.Count(p.logged(), "traces cannot be exported"); n != 1 {
		t.Errorf("the log says it %d times; want once", n)
	}
}

// A receiver that takes the connection and never answers holds nobody up either.
func TestAReceiverThatNeverAnswersHoldsNobodyUp(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			context.AfterFunc(ctx, func() { _ = c.Close() })
		}
	}()
	t.Cleanup(func() { cancel(); _ = l.Close(); <-done })
	p := launch(t, tracing(t, "http://"+l.Addr().String(), 1), All...)
	p.ready()
	p.sends(newPair(p), canaryClient)
	if err := p.stop(); err != nil {
		t.Error(err)
	}
}

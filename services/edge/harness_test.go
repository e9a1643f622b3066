package edge

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/chatmesh/chatmesh/pkg/auth"
	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/chatlog"
	"github.com/chatmesh/chatmesh/pkg/meshtest"
	"github.com/chatmesh/chatmesh/pkg/meshtest/leaks"
	"github.com/chatmesh/chatmesh/pkg/online"
	"github.com/chatmesh/chatmesh/pkg/run"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(leaks.Patient(m)) }

// rig is an edge on a real broker, with the test in the place of the fan-out and of the api.
type rig struct {
	t      testing.TB
	broker *meshtest.Broker
	older  chatlog.Older // of the edges
	bus    *bus.Bus
	log    *chatlog.Log // of the test, as another node's
	edge   *Server
	url    string
	signer *auth.Signer
	stop   func()

	mu     sync.Mutex // guards the following fields
	shares map[chat.UserID]bool
	open   []*websocket.Conn
	// chats are all that were made; lingers has them listed for everybody, away has nobody told.
	chats   []chat.ID
	lingers bool
	away    bool
}

type noStore struct{ chatlog.Older }

func (noStore) Record(context.Context, chat.ID) (store.Record, error) {
	return store.Record{}, store.ErrNotFound
}

func (noStore) Sent(context.Context, chat.ID, chat.UserID, chat.Seq) (chatlog.Sent, error) {
	return chatlog.Sent{}, nil
}

func (noStore) Find(context.Context, chat.ID, chat.UserID, chat.ClientID) (store.Found, error) {
	return store.Found{}, store.ErrNotFound
}

func newRig(t testing.TB) *rig { return newRigWith(t, noStore{}) }

// newRigWith has an edge that asks older for what the broker has forgotten.
func newRigWith(t testing.TB, older chatlog.Older) *rig {
	t.Helper()
	broker := meshtest.NewBroker(t)
	r := &rig{t: t, broker: broker, older: older, bus: broker.Bus(t), shares: map[chat.UserID]bool{}}
	meshtest.Ensure(t, r.bus, meshtest.Layout(2))
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	if r.signer, err = auth.NewSigner(key, time.Hour); err != nil {
		t.Fatal(err)
	}
	if err := r.bus.Keep(t.Context(), subject.Keys, r.signer.KeyID(),
		[]byte(base64.StdEncoding.EncodeToString(r.signer.PublicKey()))); err != nil {
		t.Fatal(err)
	}
	r.log = r.newLog(r.bus, noStore{})
	r.background(r.log.Run)
	r.background(r.serveAPI)
	r.start("e1", func(*Config) {})
	return r
}

func (r *rig) newLog(b *bus.Bus, older chatlog.Older) *chatlog.Log {
	r.t.Helper()
	l, err := chatlog.New(chatlog.Config{Bus: b, Partitions: 2, Older: older, Retention: time.Hour, Logger: meshtest.Logger(r.t)})
	if err != nil {
		r.t.Fatal(err)
	}
	return l
}

// background runs f until the test ends.
func (r *rig) background(f func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = f(ctx) }()
	r.t.Cleanup(func() { cancel(); <-done })
}

// another returns a rig with a further edge on the same broker.
func (r *rig) another(node string, change func(*Config)) *rig {
	r.t.Helper()
	other := &rig{t: r.t, broker: r.broker, older: r.older, bus: r.bus, log: r.log, signer: r.signer, shares: map[chat.UserID]bool{}}
	other.start(node, change)
	return other
}

// start starts the edge of the rig, as a process would have it, until stop or the end of the test.
func (r *rig) start(node string, change func(*Config)) {
	t := r.t
	t.Helper()
	edgeBus := r.broker.Bus(t)
	edgeLog := r.newLog(edgeBus, r.older)
	health := &run.Health{}
	reporter := online.New(edgeBus, node, 15*time.Second, meshtest.Logger(t))
	c := Config{Bus: edgeBus, Log: edgeLog, Partitions: 2, TokenTTL: time.Hour, Online: reporter, Node: node, Version: "0.0.1", MaxConnections: 1000,
		Grace: 3 * time.Second, Logger: meshtest.Logger(t), Health: health}
	change(&c)
	var err error
	if r.edge, err = New(c); err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(r.edge.Handler())
	r.url = "ws" + strings.TrimPrefix(web.URL, "http") + "/v1/ws"
	ctx, cancel := context.WithCancel(context.Background())
	backCtx, cancelBack := context.WithCancel(context.Background())
	var front, back sync.WaitGroup
	front.Go(func() { _ = r.edge.Run(ctx) })
	announce := func(ctx context.Context) error {
		edgeBus.AnnounceState(ctx, bus.Node{Service: "edge", Node: node, URL: r.url}, r.edge.Changed(), r.edge.Describe)
		return nil
	}
	for _, f := range []func(context.Context) error{reporter.Run, edgeLog.Run, announce} {
		back.Go(func() { _ = f(backCtx) })
	}
	r.stop = sync.OnceFunc(func() {
		cancel()
		front.Wait()
		web.Close()
		cancelBack()
		back.Wait()
	})
	t.Cleanup(func() {
		for _, ws := range r.open {
			_ = ws.Close()
		}
		r.stop()
	})
	meshtest.Eventually(t, meshtest.Patience, "the edge knows the keys", func() bool { return health.Err(t.Context()) == nil })
}

// serveAPI answers what an edge asks the api and the presence service.
func (r *rig) serveAPI(ctx context.Context) error {
	return r.bus.Serve(ctx, "0.0.1", []bus.Endpoint{
		{Subject: subject.ChangeEndpoint, Handle: r.change},
		{Subject: subject.SharesEndpoint, Handle: func(_ context.Context, in []byte) (any, error) {
			var q struct{ Others []chat.UserID }
			if err := json.Unmarshal(in, &q); err != nil {
				return nil, err
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			users := []chat.UserID{}
			for _, u := range q.Others {
				if r.shares[u] {
					users = append(users, u)
				}
			}
			return map[string]any{"users": users}, nil
		}},
		{Subject: subject.UserChatsEndpoint, Handle: r.listChats},
		{Subject: subject.PresenceEndpoint, Handle: func(_ context.Context, in []byte) (any, error) {
			var q struct{ Users []chat.UserID }
			if err := json.Unmarshal(in, &q); err != nil {
				return nil, err
			}
			out := []wire.Presence{}
			for _, u := range q.Users {
				out = append(out, wire.Presence{User: u, State: wire.Offline})
			}
			return map[string]any{"presence": out}, nil
		}},
	}, nil)
}

// listChats answers with a person's chats, as the api does from its index.
func (r *rig) listChats(ctx context.Context, in []byte) (any, error) {
	var q struct{ User chat.UserID }
	if err := json.Unmarshal(in, &q); err != nil {
		return nil, err
	}
	r.mu.Lock()
	chats, lingers, away := slices.Clone(r.chats), r.lingers, r.away
	r.mu.Unlock()
	if away {
		return nil, chat.Retry(chat.Unavailable, time.Second, "the store is away")
	}
	ids := []chat.ID{}
	for _, id := range chats {
		snap, err := r.log.Snapshot(ctx, id)
		if err != nil {
			continue
		}
		if _, in := snap.State.Member(q.User); in || lingers {
			ids = append(ids, id)
		}
	}
	return map[string]any{"chats": ids, "more": false}, nil
}

func (r *rig) token(user chat.UserID, session string) string {
	r.t.Helper()
	token, _, err := r.signer.Sign(user, session)
	if err != nil {
		r.t.Fatal(err)
	}
	return token
}

// group makes a group of ann and others.
func (r *rig) group(id chat.ID, others ...chat.UserID) {
	r.t.Helper()
	r.mu.Lock()
	r.chats = append(r.chats, id)
	r.mu.Unlock()
	if _, err := r.log.Append(r.t.Context(), id, chat.Create{By: "ann", Kind: chat.Group, Title: "t", Members: others}); err != nil {
		r.t.Fatal(err)
	}
}

// say appends a message of ann and returns the event as it stands.
func (r *rig) say(id chat.ID, n int) store.Item {
	r.t.Helper()
	receipt, err := r.log.Append(r.t.Context(), id, chat.Send{Sender: "ann", ClientID: chat.ClientID(fmt.Sprintf("m%d", n)), Text: fmt.Sprintf("text %d", n)})
	if err != nil {
		r.t.Fatal(err)
	}
	return r.event(id, receipt.Seq)
}

func (r *rig) event(id chat.ID, seq chat.Seq) store.Item {
	r.t.Helper()
	it, err := r.log.Event(r.t.Context(), id, seq)
	if err != nil {
		r.t.Fatal(err)
	}
	return it
}

// deliver publishes an event to a person as the fan-out does.
func (r *rig) deliver(to chat.UserID, it store.Item) {
	r.t.Helper()
	if err := r.bus.Conn().PublishMsg(&nats.Msg{Subject: subject.User(to), Data: it.Body}); err != nil {
		r.t.Fatal(err)
	}
}

// device is a client that keeps every frame it got.
type device struct {
	t  testing.TB
	ws *websocket.Conn

	mu     sync.Mutex // guards the following fields
	frames []map[string]any
	err    error
	done   chan struct{}
}

// dial connects without saying hello.
func (r *rig) dial() *device { return r.dialWith(&websocket.Dialer{}) }

// dialNarrow connects with a socket that takes little before somebody reads it.
func (r *rig) dialNarrow() *device {
	small := func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096) })
	}
	return r.dialWith(&websocket.Dialer{NetDialContext: (&net.Dialer{Control: small}).DialContext})
}

func (r *rig) dialWith(dialer *websocket.Dialer) *device {
	r.t.Helper()
	dialer.Subprotocols = []string{wire.Subprotocol}
	ws, _, err := dialer.Dial(r.url, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	d := &device{t: r.t, ws: ws, done: make(chan struct{})}
	r.mu.Lock()
	r.open = append(r.open, ws)
	r.mu.Unlock()
	return d
}

// listen begins to read.
func (d *device) listen() *device {
	go func() {
		defer close(d.done)
		for {
			_, data, err := d.ws.ReadMessage()
			d.mu.Lock()
			if err != nil {
				d.err = err
				d.mu.Unlock()
				return
			}
			var f map[string]any
			if err := json.Unmarshal(data, &f); err != nil {
				d.err = err
			}
			if _, err := live().Frame("tellClients", data); err != nil && f["pad"] == nil { // what a test made large itself
				d.t.Errorf("%.300s is not what asyncapi.yaml says: %v", data, err)
			}
			d.frames = append(d.frames, f)
			d.mu.Unlock()
		}
	}()
	return d
}

// connect says hello with cursors and waits to be welcome.
func (r *rig) connect(user chat.UserID, cursors map[string]chat.Seq) *device {
	r.t.Helper()
	d := r.dial().listen()
	d.write(map[string]any{"type": "hello", "token": r.token(user, "s-"+string(user)), "cursors": cursors})
	d.await("welcome", func(f map[string]any) bool { return f["type"] == "welcome" })
	return d
}

func (d *device) write(v any) {
	d.t.Helper()
	if err := d.ws.WriteMessage(websocket.TextMessage, wire.Encode(v)); err != nil {
		d.t.Fatal(err)
	}
}

// got returns the frames so far.
func (d *device) got() []map[string]any {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]map[string]any(nil), d.frames...)
}

// await returns the first frame for which ok is true.
func (d *device) await(what string, ok func(map[string]any) bool) map[string]any {
	d.t.Helper()
	var found map[string]any
	meshtest.Eventually(d.t, meshtest.Patience, what, func() bool {
		for _, f := range d.got() {
			if ok(f) {
				found = f
				return true
			}
		}
		return false
	})
	return found
}

// seqs returns the seqs of a chat's events in the order in which they came.
func (d *device) seqs(id chat.ID) []chat.Seq {
	var out []chat.Seq
	for _, f := range d.got() {
		if (f["type"] == "message" || f["type"] == "chat") && f["chat"] == string(id) {
			out = append(out, chat.Seq(f["seq"].(float64)))
		}
	}
	return out
}

// closed waits for the end and returns the close code.
func (d *device) closed() int {
	d.t.Helper()
	select {
	case <-d.done:
	case <-time.After(meshtest.Patience):
		d.t.Fatal("the connection did not end")
	}
	var c *websocket.CloseError
	if err, ok := d.err.(*websocket.CloseError); ok {
		c = err
	}
	if c == nil {
		d.t.Fatalf("got %v; want a close frame", d.err)
	}
	return c.Code
}

package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/chatmesh/chatmesh/docs"
	"github.com/chatmesh/chatmesh/pkg/auth"
	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/chatlog"
	"github.com/chatmesh/chatmesh/pkg/doctest"
	"github.com/chatmesh/chatmesh/pkg/meshtest"
	"github.com/chatmesh/chatmesh/pkg/meshtest/leaks"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/store/pebble"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(leaks.Patient(m)) }

var _ Log = (*chatlog.Log)(nil)

const partitions = 2

// world is an api on a real broker, a real log and a real store. There is no persister: a test calls persist.
type world struct {
	t        testing.TB
	broker   *meshtest.Broker
	bus      *bus.Bus
	store    *faulty
	log      *chatlog.Log
	signer   *auth.Signer
	hasher   *auth.Hasher
	api      *Server
	registry *prometheus.Registry
	logged   *syncBuffer
	url      string
	client   *http.Client
	names    atomic.Int64
	// contract is docs/openapi.yaml: every answer is held against it.
	contract *doctest.HTTP
}

func newWorld(t testing.TB, change ...func(*Config)) *world {
	t.Helper()
	w := &world{t: t, broker: meshtest.NewBroker(t), logged: &syncBuffer{}, registry: prometheus.NewRegistry(),
		contract: doctest.ParseHTTP(t, docs.OpenAPI())}
	w.bus = w.broker.Bus(t)
	layout := meshtest.Layout(partitions)
	meshtest.Ensure(t, w.bus, layout)
	lsm, err := pebble.Open(t.TempDir(), pebble.Options{Log: slog.New(slog.DiscardHandler)})
	check(t, err)
	t.Cleanup(func() { check(t, lsm.Close()) })
	w.store = &faulty{Store: lsm}
	logger := slog.New(slog.NewTextHandler(w.logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
	older := NewOlder(w.store)
	w.log, err = chatlog.New(chatlog.Config{Bus: w.bus, Partitions: partitions, Older: older, Retention: layout.Retention,
		Logger: logger})
	check(t, err)
	older.SetTail(w.log)
	key, err := auth.LoadOrCreateKey(t.TempDir() + "/key")
	check(t, err)
	w.signer, err = auth.NewSigner(key, 10*time.Minute)
	check(t, err)
	w.hasher = auth.NewHasher(auth.HasherConfig{})
	c := Config{Bus: w.bus, Log: w.log, Store: w.store, Hasher: w.hasher, Signer: w.signer, Verifier: auth.NewVerifier(),
		Logger: logger, Metrics: w.registry, Version: "1.2.3", Node: "n1"}
	for _, f := range change {
		f(&c)
	}
	w.api, err = New(c)
	check(t, err)
	w.run(w.log.Run)
	w.run(w.api.Run)
	meshtest.Eventually(t, meshtest.Patience, "the api is ready", func() bool {
		return w.api.Check(t.Context()) == nil
	})
	srv := httptest.NewServer(w.api.Handler())
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	w.url, w.client = srv.URL, &http.Client{Transport: transport}
	t.Cleanup(func() { transport.CloseIdleConnections(); srv.Close() })
	return w
}

// run runs f until the test ends.
func (w *world) run(f func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	w.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("run: %v", err)
		}
	})
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// syncBuffer is what was logged.
type syncBuffer struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// persist writes the log of a chat into the store up to seq (zero: all), and the state, as a persister does.
func (w *world) persist(id chat.ID, upTo chat.Seq) {
	w.t.Helper()
	ctx := context.Background()
	p := w.log.Partition(id)
	msgs, err := w.bus.From(ctx, subject.ChatStream(p), subject.Log(p, id), 1, 100_000, 0)
	check(w.t, err)
	var b store.Batch
	for _, m := range msgs {
		e, err := wire.DecodeEvent(m.Data)
		check(w.t, err)
		if upTo == 0 || e.Seq <= upTo {
			b.Events = append(b.Events, store.Entry{Event: e, Body: m.Data, Stream: m.Sequence})
		}
	}
	stubs, err := w.bus.From(ctx, subject.ChatStream(p), strings.TrimSuffix(subject.Erased(p, id, 0), "0")+"*", 1, 100_000, 0)
	check(w.t, err)
	for _, m := range stubs {
		e, err := wire.DecodeEvent(m.Data)
		check(w.t, err)
		if upTo == 0 || e.Deleted.Seq <= upTo {
			b.Erased = append(b.Erased, store.Entry{Event: e, Body: m.Data})
		}
	}
	snap, err := w.log.Snapshot(ctx, id)
	check(w.t, err)
	if upTo == 0 || upTo >= snap.State.Seq {
		b.States = append(b.States, snap.State)
	}
	check(w.t, w.store.Store.Write(ctx, b))
}

// person is somebody with an account and a session.
type person struct {
	w       *world
	id      chat.UserID
	name    string
	session string
	token   string
}

// person makes an account without a password, which is not worth its hash.
func (w *world) person(name string) *person {
	w.t.Helper()
	id, err := NewUserID()
	check(w.t, err)
	name = fmt.Sprintf("%s_%d", name, w.names.Add(1))
	check(w.t, w.store.Store.CreateUser(context.Background(), store.User{ID: id, Name: name, DisplayName: strings.ToUpper(name),
		PasswordHash: "none", CreatedAt: chat.Now()}))
	p := &person{w: w, id: id, name: name, session: auth.NewSessionID()}
	p.token, _, err = w.signer.Sign(id, p.session)
	check(w.t, err)
	return p
}

func (w *world) people(names ...string) []*person {
	out := make([]*person, len(names))
	for i, n := range names {
		out[i] = w.person(n)
	}
	return out
}

// reply is the answer to a call.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// call calls the api. A body that is no string is encoded.
func (w *world) call(token, method, path string, body any) reply {
	w.t.Helper()
	var r io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		r = strings.NewReader(b)
	default:
		r = bytes.NewReader(wire.Encode(b))
	}
	req, err := http.NewRequest(method, w.url+path, r)
	check(w.t, err)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	return w.do(req)
}

func (w *world) do(req *http.Request) reply {
	w.t.Helper()
	res, err := w.client.Do(req)
	check(w.t, err)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	check(w.t, err)
	if err := w.contract.CheckAnswer(req, res.StatusCode, res.Header, b); err != nil {
		w.t.Errorf("%s %s: %.300s: %v", req.Method, req.URL, b, err)
	}
	return reply{res.StatusCode, res.Header, b}
}

// call calls the api as p, who may be nobody.
func (p *person) call(method, path string, body any) reply {
	p.w.t.Helper()
	return p.w.call(p.token, method, path, body)
}

// want fails the test unless the answer has the status and, if it is a refusal, the code.
func (r reply) want(t testing.TB, status int, code chat.Code) reply {
	t.Helper()
	if r.status != status {
		t.Fatalf("got %d %s; want %d %s", r.status, r.body, status, code)
	}
	if code == "" {
		return r
	}
	var p problem
	if err := json.Unmarshal(r.body, &p); err != nil || p.Code != code || p.Status != status || p.Detail == "" ||
		p.Title == "" || p.Type != "about:blank" {
		t.Fatalf("got %s; want a problem of code %s", r.body, code)
	}
	if ct := r.header.Get("Content-Type"); ct != "application/problem+json" {
		t.Fatalf("got content type %q; want a problem's", ct)
	}
	return r
}

// into decodes the answer.
func (r reply) into(t testing.TB, v any) {
	t.Helper()
	if err := json.Unmarshal(r.body, v); err != nil {
		t.Fatalf("answer %s: %v", r.body, err)
	}
}

func ids(people ...*person) []chat.UserID {
	out := make([]chat.UserID, len(people))
	for i, p := range people {
		out[i] = p.id
	}
	return out
}

// group makes a group of p and others.
func (p *person) group(others ...*person) chat.ID {
	p.w.t.Helper()
	var v chatView
	p.call("POST", "/v1/chats", map[string]any{"kind": "group", "title": "a group", "members": ids(others...)}).
		want(p.w.t, 201, "").into(p.w.t, &v)
	return v.ID
}

// direct makes the direct chat of p and another.
func (p *person) direct(other *person) chat.ID {
	p.w.t.Helper()
	var v chatView
	r := p.call("POST", "/v1/chats", map[string]any{"kind": "direct", "members": ids(other)})
	if r.status != 200 {
		r.want(p.w.t, 201, "")
	}
	r.into(p.w.t, &v)
	return v.ID
}

// send sends a text with a new client id.
func (p *person) send(id chat.ID, text string) sent {
	p.w.t.Helper()
	client, err := newID()
	check(p.w.t, err)
	var s sent
	p.call("POST", chatPath(id, "messages"), map[string]any{"client_id": client, "text": text}).want(p.w.t, 201, "").into(p.w.t, &s)
	return s
}

// list returns the first page of p's chats.
func (p *person) list(query string) (chats []listed, next string) {
	p.w.t.Helper()
	var v struct {
		Chats []listed `json:"chats"`
		Next  string   `json:"next_cursor"`
	}
	p.call("GET", "/v1/chats"+query, nil).want(p.w.t, 200, "").into(p.w.t, &v)
	return v.Chats, v.Next
}

func chatPath(id chat.ID, parts ...string) string {
	return "/v1/chats/" + string(id) + strings.Join(append([]string{""}, parts...), "/")
}

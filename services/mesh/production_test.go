package mesh_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/client"
	"github.com/chatmesh/chatmesh/pkg/config"
	"github.com/chatmesh/chatmesh/pkg/meshtest"
	"github.com/chatmesh/chatmesh/pkg/meshtest/free"
	"github.com/chatmesh/chatmesh/pkg/pki"
	"github.com/chatmesh/chatmesh/pkg/roles"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/services/mesh"
)

// patience is how long the slowest of what is waited for may take.
const patience = meshtest.Patience

// said is what a process has written.
type said struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// process is a mesh of some services with a log of its own.
type process struct {
	t    *testing.T
	out  said
	stop func()
}

// settings of a process on a cluster of production.
func settings(t *testing.T, p *meshtest.Production, node string) *config.Settings {
	return &config.Settings{Listen: "127.0.0.1:0", AdminListen: "127.0.0.1:0", Data: t.TempDir(), NATSURL: strings.Split(p.URL, ","),
		NATSNKey: p.Keys, NATSTLSCA: filepath.Join(p.Keys, pki.CA), Node: node, Partitions: 2, Replicas: 3, RateLimits: config.Off,
		LogSync: config.SyncAlways, LogRetention: time.Hour, PresenceTTL: 2 * time.Second, AccessTokenTTL: time.Hour, SessionTTL: 24 * time.Hour,
		ShutdownGrace: 3 * time.Second, MaxConnections: 1000, Rebalance: config.On}
}

func start(t *testing.T, p *meshtest.Production, c *config.Settings, services ...mesh.Service) *process {
	t.Helper()
	m, err := mesh.New(c, "0.0.0-test", slog.New(slog.NewTextHandler(p, &slog.HandlerOptions{Level: slog.LevelWarn})), services...)
	if err != nil {
		t.Fatalf("%v: %v", services, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	s := &process{t: t}
	go func() { done <- m.Run(ctx, &s.out) }()
	s.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("%v ended with %v", services, err)
		}
	})
	t.Cleanup(s.stop)
	return s
}

// ready waits until a process is ready, and returns where it listens.
func (s *process) ready() (address string) {
	s.t.Helper()
	meshtest.Eventually(s.t, patience, "the process is ready", func() bool { return strings.Contains(s.out.String(), "\n") })
	m := regexp.MustCompile(`http://([^/]+)/`).FindStringSubmatch(s.out.String())
	if m == nil {
		s.t.Fatalf("got %q", s.out.String())
	}
	return m[1]
}

// front is a proxy before an edge and an api, as a load balancer is: it is where clients go.
func front(t *testing.T, edge, api string) string {
	t.Helper()
	to := func(host string) http.Handler {
		return httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: host})
	}
	mux := http.NewServeMux()
	mux.Handle("/v1/ws", to(edge))
	mux.Handle("/", to(api))
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s.URL
}

// person is somebody with a device.
type person struct {
	*client.Client
	conn *client.Conn
	t    *testing.T
}

func register(t *testing.T, base, name string) *person {
	t.Helper()
	c, err := client.Register(t.Context(), base, client.Account{Username: name, Password: "correct horse"})
	if err != nil {
		t.Fatalf("register %s: %v", name, err)
	}
	t.Cleanup(c.Close)
	conn, err := c.Connect(t.Context(), client.ConnConfig{})
	if err != nil {
		t.Fatalf("connect %s: %v", name, err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &person{Client: c, conn: conn, t: t}
}

// sees waits for an update.
func (p *person) sees(what string, is func(client.Update) bool) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	for {
		u, err := p.conn.Next(ctx)
		if err != nil {
			p.t.Fatalf("%s does not see %s: %v", p.User().Username, what, err)
		}
		if is(u) {
			return
		}
	}
}

func text(want string) func(client.Update) bool {
	return func(u client.Update) bool { return u.Event != nil && u.Event.Text == want }
}

func (p *person) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatalf("%s: %v", p.User().Username, err)
	}
}

// lay makes the streams as an operator does.
func lay(t *testing.T, p *meshtest.Production, c *config.Settings) *bus.Bus {
	t.Helper()
	ops := p.Bus(t, roles.Ops)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := ops.Ensure(ctx, mesh.Layout(c)); err != nil {
		t.Fatalf("layout: %v", err)
	}
	return ops
}

// Every service runs under its role, on brokers that are configured as in production, and misses no right: two people chat, the
// broker goes and comes back, what cannot be handled is put aside and tried again, operators look after it all.
func TestEveryServiceDoesAllItsWorkUnderItsRole(t *testing.T) {
	p := meshtest.NewProductionCluster(t, nil)
	c := settings(t, p, "a1")
	ops := lay(t, p, c)
	api := start(t, p, c, mesh.API)
	edge := start(t, p, settings(t, p, "e1"), mesh.Edge)
	fan := start(t, p, settings(t, p, "f1"), mesh.FanOut)
	pres := start(t, p, settings(t, p, "p1"), mesh.Presence)
	base := front(t, edge.ready(), api.ready())
	fan.ready()
	pres.ready()

	ann, bob := register(t, base, "ann"), register(t, base, "bob")
	direct, _, err := ann.Direct(t.Context(), bob.User().ID)
	ann.must(err)
	group, err := ann.NewGroup(t.Context(), "tea", bob.User().ID)
	ann.must(err)
	for _, id := range []chat.ID{direct.ID, group.ID} {
		_, err = ann.conn.Send(t.Context(), client.Outgoing{Chat: id, Text: "over the socket"})
		ann.must(err)
		bob.sees("a message over the socket", text("over the socket"))
		got, err := bob.Post(t.Context(), client.Outgoing{Chat: id, Text: "over HTTP"})
		bob.must(err)
		ann.sees("a message over HTTP", text("over HTTP"))
		ann.must(ann.conn.MarkRead(t.Context(), id, got.Seq))
		bob.sees("that it was read", func(u client.Update) bool { return u.Read != nil && u.Read.Seq == got.Seq })
		ann.must(ann.MarkRead(t.Context(), id, got.Seq))
	}
	_, err = ann.conn.Send(t.Context(), client.Outgoing{Chat: group.ID, Text: strings.Repeat("<€>", 33_000)})
	ann.must(err)
	bob.sees("a long message", func(u client.Update) bool { return u.Event != nil && len(u.Event.Text) > 99_000 })
	ann.must(ann.conn.Typing(t.Context(), direct.ID))
	bob.sees("typing", func(u client.Update) bool { return u.Typing != nil })
	annID := ann.User().ID
	bob.must(bob.conn.Watch(t.Context(), annID))
	bob.sees("that ann is online", func(u client.Update) bool { return u.Presence != nil && u.Presence.Online })
	if _, err := bob.Presence(t.Context(), ann.User().ID); err != nil {
		t.Errorf("presence over HTTP: %v", err)
	}
	ann.must(ann.conn.Idle(t.Context(), true))
	bob.sees("that ann is away", func(u client.Update) bool { return u.Presence != nil && u.Presence.State == client.Away })
	ann.must(ann.conn.Watch(t.Context(), annID))
	hidden, err := ann.SetPreferences(t.Context(), client.Preferences{ReadReceipts: false, Typing: true, Presence: client.Invisible})
	ann.must(err)
	ann.sees("that she is invisible", func(u client.Update) bool { return u.Presence != nil && u.Presence.Invisible })
	bob.sees("that ann has gone", func(u client.Update) bool { return u.Presence != nil && !u.Presence.Online })
	hidden.Presence, hidden.ReadReceipts = client.Visible, true
	_, err = ann.SetPreferences(t.Context(), hidden)
	ann.must(err)
	bob.sees("that ann is back", func(u client.Update) bool { return u.Presence != nil && u.Presence.Online })
	ann.must(ann.SetTitle(t.Context(), group.ID, "more tea"))
	ann.must(ann.RemoveMember(t.Context(), group.ID, bob.User().ID))
	bob.sees("that he is out", func(u client.Update) bool {
		return u.Left != nil || u.Event != nil && u.Event.Change == chat.MemberRemoved
	})

	// What a person does with themselves; with the account goes what they wrote.
	cat := register(t, base, "cat")
	own, _, err := cat.Direct(t.Context(), bob.User().ID)
	cat.must(err)
	_, err = cat.Post(t.Context(), client.Outgoing{Chat: own.ID, Text: "what cat wrote"})
	cat.must(err)
	bob.sees("a message of cat", text("what cat wrote"))
	status := "at tea"
	_, err = cat.SetProfile(t.Context(), client.Profile{Status: &status})
	cat.must(err)
	cat.sees("the profile", func(u client.Update) bool { return u.Profile != nil && u.Profile.Status == status })
	cat.must(cat.Block(t.Context(), bob.User().ID))
	bob.sees("the block", func(u client.Update) bool { return u.Event != nil && u.Event.Change == chat.Blocked })
	cat.must(cat.DeleteAccount(t.Context(), "correct horse"))
	bob.sees("that cat is gone", func(u client.Update) bool { return u.Event != nil && u.Event.Change == chat.Erased })

	bot := p.Conn(t, roles.Team(meshtest.Bot))
	meshtest.Eventually(t, patience, "what cat wrote is erased", func() bool {
		page := ask(t, bot, subject.HistoryEndpoint, map[string]any{"chat": own.ID})
		return bytes.Contains(page, []byte("deleted")) && !bytes.Contains(page, []byte("what cat wrote"))
	})
	ask(t, bot, subject.SendEndpoint, map[string]any{"chat": direct.ID, "sender": ann.User().ID, "client_id": "order-1", "text": "shipped"})
	bob.sees("a message of a bot", text("shipped"))
	ask(t, bot, subject.HistoryEndpoint, map[string]any{"chat": direct.ID})
	poison(t, p, direct.ID, ops, subject.FanOut, subject.Persister)

	// The broker that holds connections goes and comes back, one after the other.
	for i := range 3 {
		p.Restart(t, i)
		meshtest.Eventually(t, patience, "a message can be sent again", func() bool {
			_, err := ann.conn.Send(t.Context(), client.Outgoing{Chat: direct.ID, ClientID: chat.ClientID("again-" + string(rune('0'+i))), Text: "again " + string(rune('0'+i))})
			return err == nil
		})
		bob.sees("a message after that", text("again "+string(rune('0'+i))))
	}
	look(t, ops, direct.ID)

	// A session that ends, and an edge that goes.
	meshtest.Eventually(t, patience, "ann is logged out", func() bool { return ann.Logout(t.Context()) == nil })
	bob.sees("that ann is offline", func(u client.Update) bool { return u.Presence != nil && !u.Presence.Online })
	meshtest.Eventually(t, patience, "ann was last seen", func() bool {
		got, err := bob.Presence(t.Context(), annID)
		return err == nil && len(got) == 1 && !got[0].Online && got[0].LastSeen != nil
	})
	for _, s := range []*process{edge, fan, pres, api} {
		s.stop()
	}
	if v := p.Violations(); len(v) > 0 {
		t.Errorf("a right is missing:\n%s", strings.Join(v, "\n"))
	}
}

// ask calls an endpoint that must not refuse.
func ask(t *testing.T, nc *nats.Conn, endpoint string, in any) []byte {
	t.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	m, err := nc.Request(endpoint, body, 10*time.Second)
	if err != nil {
		t.Fatalf("%s: %v", endpoint, err)
	}
	if code := m.Header.Get(subject.HeaderServiceError); code != "" {
		t.Fatalf("%s: %s", endpoint, m.Data)
	}
	return m.Data
}

// poison puts something into the log of a chat that is no event, and hands it to the workers again.
func poison(t *testing.T, p *meshtest.Production, id chat.ID, ops *bus.Bus, workers ...string) {
	t.Helper()
	edge := p.Bus(t, roles.Edge)
	meshtest.Eventually(t, patience, "the log takes it", func() bool {
		m := &nats.Msg{Subject: subject.Log(subject.Partition(id, 2), "poison"), Data: []byte("{}"), Header: nats.Header{jetstream.MsgIDHeader: {"poison"}}}
		_, err := edge.Publish(t.Context(), m)
		return err == nil
	})
	meshtest.Eventually(t, patience, "each worker puts it aside", func() bool {
		l, err := ops.DeadLetters(t.Context(), 1, 10)
		return err == nil && len(l) == len(workers)
	})
	l, err := ops.DeadLetters(t.Context(), 1, 10)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range l {
		endpoint := map[string]string{subject.FanOut: subject.FanOutRetryEndpoint, subject.Persister: subject.PersisterRetryEndpoint}[d.Worker]
		if err := ops.Call(t.Context(), endpoint, bus.RetryRequest{Seq: d.Seq}, nil); err != nil {
			t.Errorf("retry by %s: %v", d.Worker, err)
		}
	}
}

// look does what operators do.
func look(t *testing.T, ops *bus.Bus, id chat.ID) {
	t.Helper()
	meshtest.Eventually(t, patience, "log and store agree", func() bool {
		var a struct {
			Wrong int `json:"wrong"`
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		return ops.Call(ctx, subject.VerifyEndpoint, map[string]any{"chat": id}, &a) == nil && a.Wrong == 0
	})
	// A broker may have been restarted a moment ago, and what was on its way then is asked for again.
	meshtest.Eventually(t, patience, "the chats are listed", func() bool {
		err := ops.Call(t.Context(), subject.ChatsEndpoint, struct{}{}, nil)
		if err != nil {
			t.Logf("the chats are not listed yet: %v", err)
		}
		return err == nil
	})
	meshtest.Eventually(t, patience, "a drain is taken back", func() bool {
		return ops.Call(t.Context(), subject.DrainEndpoint("e1"), map[string]any{"action": "undo"}, nil) == nil
	})
	for _, subj := range []string{"$SRV.PING", "$SRV.INFO.chatmesh", "$SRV.STATS.chatmesh"} {
		if _, err := ops.Conn().RequestWithContext(t.Context(), subj, nil); err != nil {
			t.Errorf("%s: %v", subj, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	var mu sync.Mutex // guards services
	var services []string
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		ops.Watch(ctx, subject.Nodes, nil, nil, func(k bus.KeyChange) {
			mu.Lock()
			defer mu.Unlock()
			if name, _, ok := subject.NodeOf(k.Key); ok && !slices.Contains(services, name) {
				services = append(services, name)
			}
		})
	}()
	meshtest.Eventually(t, patience, "all services are in the bucket of nodes", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(services) == len(mesh.All)
	})
	cancel()
	<-watched
	meshtest.Eventually(t, patience, "a dead letter can be looked at", func() bool {
		_, err := ops.DeadLetterAt(t.Context(), 1)
		return err == nil || errors.Is(err, bus.ErrNotFound)
	})
}

// On a broker with accounts no service makes streams: each waits, and says in /readyz for what.
func TestServicesWaitForTheStreamsThatAnOperatorMakes(t *testing.T) {
	p := meshtest.NewProductionCluster(t, nil)
	c := settings(t, p, "a1")
	l := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	c.AdminListen = freeAddress(t)
	api := start(t, p, c, mesh.API)
	waits := func() string {
		res, err := l.Get("http://" + c.AdminListen + "/readyz")
		if err != nil {
			return ""
		}
		defer res.Body.Close()
		b, _ := io.ReadAll(res.Body)
		return res.Status + " " + string(b)
	}
	meshtest.Eventually(t, patience, "/readyz says what is missing", func() bool {
		got := waits()
		return strings.HasPrefix(got, "503") && strings.Contains(got, "run chatmesh nats init")
	})
	if api.out.String() != "" {
		t.Errorf("got %q; want it not ready", api.out.String())
	}
	lay(t, p, c)
	api.ready()
	if got := waits(); !strings.HasPrefix(got, "200") {
		t.Errorf("got %q; want it ready", got)
	}
	if v := p.Violations(); len(v) > 0 {
		t.Errorf("it tried to do what it may not:\n%s", strings.Join(v, "\n"))
	}
}

// freeAddress is an address on which nobody listens.
func freeAddress(t *testing.T) string {
	t.Helper()
	address, err := free.Address()
	if err != nil {
		t.Fatal(err)
	}
	return address
}

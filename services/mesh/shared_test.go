package mesh

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/chatmesh/chatmesh/pkg/config"
	"github.com/chatmesh/chatmesh/pkg/meshtest"
	"github.com/chatmesh/chatmesh/pkg/meshtest/cqltest"
	"github.com/chatmesh/chatmesh/pkg/store/scylla"
)

// onScylla are the settings of a process on an external broker and database.
func onScylla(t *testing.T, node, url string, o scylla.Options) *config.Settings {
	t.Helper()
	c := settings(t, node, url)
	c.Scylla, c.ScyllaKeyspace = o.Hosts, o.Keyspace
	return c
}

// call asks an api and returns what it answers.
func (p *process) call(method, path, token string, body any, out any) int {
	p.t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		p.t.Fatal(err)
	}
	r, err := http.NewRequest(method, "http://"+p.listen.Addr().String()+path, bytes.NewReader(b))
	if err != nil {
		p.t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	if out != nil && res.StatusCode < 300 {
		if err := json.Unmarshal(text, out); err != nil {
			p.t.Fatalf("%s: %v", text, err)
		}
	}
	return res.StatusCode
}

type registered struct {
	User struct {
		ID string `json:"id"`
	} `json:"user"`
	AccessToken string `json:"access_token"`
}

func TestAPIsAndPersistersShareADatabaseInAnyNumberAndWaitForItsTables(t *testing.T) {
	broker, o := meshtest.NewBroker(t), cqltest.Empty(t)
	url := broker.ClientURL()
	a1 := launch(t, onScylla(t, "a1", url, o), API)
	a2 := launch(t, onScylla(t, "a2", url, o), API)
	p1 := launch(t, onScylla(t, "p1", url, o), Persister)
	p2 := launch(t, onScylla(t, "p2", url, o), Persister)
	for _, p := range []*process{a1, a2, p1, p2} {
		p.waitsFor("run chatmesh migrate")
	}
	if status := a1.call("POST", "/v1/users", "", map[string]string{"username": "ada_0", "password": "correct horse"}, nil); status != 503 {
		t.Errorf("registering without tables: got %d; want 503", status)
	}
	if err := scylla.Migrate(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	for _, p := range []*process{a1, a2, p1, p2} {
		p.ready()
	}
	var ada, bob registered
	var chat struct{ ID string }
	if s := a1.call("POST", "/v1/users", "", map[string]string{"username": "ada_1", "password": "correct horse"}, &ada); s != 201 {
		t.Fatalf("registering: got %d", s)
	}
	if s := a2.call("POST", "/v1/users", "", map[string]string{"username": "bob_1", "password": "correct horse"}, &bob); s != 201 {
		t.Fatalf("registering: got %d", s)
	}
	// A token of one api at the other, at once: their keys differ.
	if s := a2.call("POST", "/v1/chats", ada.AccessToken, map[string]any{"kind": "direct", "members": []string{bob.User.ID}}, &chat); s != 201 {
		t.Fatalf("a chat: got %d", s)
	}
	for i, p := range []*process{a1, a2, a1, a2} {
		if s := p.call("POST", "/v1/chats/"+chat.ID+"/messages", ada.AccessToken, map[string]string{"client_id": "m" + string(rune('0'+i)), "text": "hi"}, nil); s != 201 {
			t.Errorf("message %d: got %d; want 201", i, s)
		}
	}
	s := cqltest.Open(t, o)
	meshtest.Eventually(t, meshtest.Patience, "all five events are in the database", func() bool {
		ids, err := s.Chats(t.Context(), "", 10)
		if err != nil || len(ids) != 1 {
			return false
		}
		r, err := s.Record(t.Context(), ids[0])
		return err == nil && r.Seq == 5
	})
	// An api that is gone: its tokens are good elsewhere.
	if err := a1.stop(); err != nil {
		t.Fatal(err)
	}
	if s := a2.call("GET", "/v1/users/me", ada.AccessToken, nil, nil); s != 200 {
		t.Errorf("a token of an api that is gone: got %d; want 200", s)
	}
	// An update has changed the tables: they only grow, so the programs of before go on, and say so.
	if err := cqltest.Session(t, o.Hosts[0], o.Keyspace).ExecStmt(
		"INSERT INTO gocqlx_migrate (name, checksum, done) VALUES ('9999_later.cql', 'x', 1)"); err != nil {
		t.Fatal(err)
	}
	for _, p := range []*process{a2, p1, p2} {
		meshtest.Eventually(t, meshtest.Patience, "/readyz says that the schema is newer", func() bool {
			status, body := p.get("/readyz")
			return status == http.StatusOK && strings.Contains(body, `"notes":["store: `) && strings.Contains(body, "the schema is newer than this program")
		})
	}
	if s := a2.call("GET", "/v1/users/me", ada.AccessToken, nil, nil); s != 200 {
		t.Errorf("on a newer schema: got %d; want 200", s)
	}
}

func TestTwoMeshesShareNeitherAKeyspaceNorABroker(t *testing.T) {
	ours, theirs := meshtest.NewBroker(t), meshtest.NewBroker(t)
	o, other := cqltest.Options(t), cqltest.Options(t)
	mine := launch(t, onScylla(t, "a1", ours.ClientURL(), o), API)
	mine.ready()
	launch(t, onScylla(t, "a2", theirs.ClientURL(), o), API).refuses(errOtherStore)
	launch(t, onScylla(t, "a3", ours.ClientURL(), other), API).refuses(errOtherStore)
	launch(t, onScylla(t, "p3", ours.ClientURL(), other), Persister).refuses(errOtherStore)
	launch(t, settings(t, "a4", ours.ClientURL()), API).refuses(errOtherStore)
	mine.ready()
	// And the other way round: a broker whose history is in a data folder gets no keyspace.
	third := meshtest.NewBroker(t)
	c := settings(t, "a5", third.ClientURL())
	folder := launch(t, c, API)
	folder.ready()
	launch(t, onScylla(t, "a6", third.ClientURL(), other), API).refuses(errOtherStore)
}

// TestABindingThatACrashCutInTwoIsFinished leaves each state that a crash can leave.
func TestABindingThatACrashCutInTwoIsFinished(t *testing.T) {
	for _, c := range []struct {
		what string
		kept bool
	}{{"the broker has claimed an id", false}, {"the store has taken it", true}} {
		broker, o := meshtest.NewBroker(t), cqltest.Options(t)
		b := broker.Bus(t)
		meshtest.Ensure(t, b, meshtest.Layout(2))
		if _, err := b.Create(t.Context(), "leases", storeKey, []byte(claimed+"some-id")); err != nil {
			t.Fatal(err)
		}
		if c.kept {
			if _, err := cqltest.Open(t, o).SetMeshID(t.Context(), "some-id"); err != nil {
				t.Fatal(err)
			}
		}
		p := launch(t, onScylla(t, "p1", broker.ClientURL(), o), Persister)
		p.waitsFor(errNotBound.Error())
		launch(t, onScylla(t, "a1", broker.ClientURL(), o), API).ready()
		p.ready()
		if v, err := b.Key(t.Context(), "leases", storeKey); err != nil || string(v) != "some-id" {
			t.Errorf("%s: got %s, %v; want the id confirmed", c.what, v, err)
		}
	}
}

// door is a way to a server that can be shut and opened.
type door struct {
	net.Listener
	to string

	mu    sync.Mutex // guards the following fields
	shut  bool
	conns map[net.Conn]bool
}

func newDoor(t *testing.T, to string) *door {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &door{Listener: l, to: to, conns: map[net.Conn]bool{}}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil || !d.keep(c, out) {
				_ = c.Close()
				continue
			}
			wg.Go(func() { _, _ = io.Copy(out, c); _ = out.Close() })
			wg.Go(func() { _, _ = io.Copy(c, out); _ = c.Close() })
		}
	})
	t.Cleanup(func() { _ = l.Close(); d.set(true); wg.Wait() })
	return d
}

func (d *door) keep(conns ...net.Conn) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range conns {
		if d.shut {
			_ = c.Close()
			continue
		}
		d.conns[c] = true
	}
	return !d.shut
}

func (d *door) set(shut bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.shut = shut; shut {
		for c := range d.conns {
			_ = c.Close()
		}
		clear(d.conns)
	}
}

func TestADatabaseThatComesLateAndGoesIsWaitedForWithoutARestart(t *testing.T) {
	broker, o := meshtest.NewBroker(t), cqltest.Options(t)
	d := newDoor(t, o.Hosts[0])
	d.set(true)
	o.Hosts = []string{d.Addr().String()}
	api := launch(t, onScylla(t, "a1", broker.ClientURL(), o), API)
	p := launch(t, onScylla(t, "p1", broker.ClientURL(), o), Persister)
	for range 2 {
		api.waitsFor("no CQL host answers")
		p.waitsFor("no CQL host answers")
		d.set(false)
		api.ready()
		p.ready()
		d.set(true)
	}
	if n := strings.Count(api.logged(), "level=WARN"); n > 20 {
		t.Errorf("the log has %d warnings; want one for each change:\n%s", n, api.logged())
	}
}

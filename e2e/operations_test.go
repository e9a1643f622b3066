package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/chatmesh/chatmesh/e2e/cluster"
	"github.com/chatmesh/chatmesh/e2e/program"
	"github.com/chatmesh/chatmesh/e2e/raw"
	"github.com/chatmesh/chatmesh/e2e/runbook"
)

// operations is what the runbook is played on: three brokers from the files of the folder nats, with TLS and NKeys, an api that holds the
// store, two edges, fan-out and presence, each a process, and two people with a chat.
type operations struct {
	t        *testing.T
	c        *cluster.Cluster
	dir      string
	shell    *runbook.Shell
	nodes    map[string]*program.Program
	addrs    map[string][2]string // of each node, clients' and operators'
	ada, bob *person
	chat     string
	sent     int
}

// natsCLI is the folder in which scripts/deps puts the nats CLI.
func natsCLI(t *testing.T) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(cache, "chatmesh", "natscli-v0.5.1")
	if _, err := os.Stat(filepath.Join(dir, "nats")); err != nil {
		t.Fatalf("%v: scripts/deps installs the nats CLI", err)
	}
	return dir
}

func newOperations(t *testing.T) *operations {
	t.Helper()
	tools := natsCLI(t)
	dir := t.TempDir()
	bin, home, work := filepath.Join(dir, "bin"), filepath.Join(dir, "home"), filepath.Join(dir, "work")
	for _, d := range []string{bin, home, work} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	// A copy, because the runbook changes who may come in.
	if err := os.CopyFS(filepath.Join(work, "nats"), os.DirFS("../nats")); err != nil {
		t.Fatal(err)
	}
	c, err := cluster.New(cluster.Config{Dir: filepath.Join(dir, "cluster"), Each: 1, Brokers: filepath.Join(work, "nats")})
	if err != nil {
		t.Fatal(err)
	}
	o := &operations{t: t, c: c, dir: dir, nodes: map[string]*program.Program{}, addrs: map[string][2]string{}}
	binary, err := program.Build(true)
	if err != nil {
		t.Fatal(err)
	}
	for from, to := range map[string]string{binary: filepath.Join(bin, "chatmesh"), filepath.Join(dir, "cluster", "brokerd"): filepath.Join(bin, "nats-server")} {
		if err := os.Symlink(from, to); err != nil {
			t.Fatal(err)
		}
	}
	o.shell = &runbook.Shell{Dir: work, Env: []string{"PATH=" + bin + ":" + tools + ":" + os.Getenv("PATH"), "HOME=" + home, "XDG_CONFIG_HOME=" + home,
		"COLUMNS=250", "NATS_TIMEOUT=30s", "CHATMESH_LISTEN=127.0.0.1:0", "CHATMESH_ADMIN_LISTEN=127.0.0.1:0",
		"urls=" + c.URL(), "keys=" + filepath.Dir(c.Key("ops.nk"))}}
	t.Cleanup(o.end)
	for _, b := range c.Brokers {
		if err := b.Start(); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Init(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"api-1", "edge-1", "edge-2", "fanout-1", "presence-1"} {
		o.begin(name)
	}
	for name := range o.nodes {
		o.ready(name)
	}
	o.ada, o.bob = newPerson(t, o.nodes["api-1"], "ada"), newPerson(t, o.nodes["api-1"], "bob")
	o.chat = o.ada.direct(o.bob)
	o.connect(o.bob, "edge-1")
	o.send()
	o.shell.Env = append(o.shell.Env, "chat="+o.chat, "user="+o.bob.id)
	return o
}

// begin starts a node, on the addresses and the data that it had.
func (o *operations) begin(name string) {
	o.t.Helper()
	a, ok := o.addrs[name]
	if !ok {
		for i := range a {
			a[i] = freeAddress(o.t)
		}
		o.addrs[name] = a
	}
	service, _, _ := strings.Cut(name, "-")
	p, err := program.Begin(program.Config{Data: filepath.Join(o.dir, name), Listen: a[0], AdminListen: a[1], Args: []string{
		"--nats-url", o.c.URL(), "--nats-tls-ca", o.c.Key("ca.pem"), "--nats-nkey", filepath.Dir(o.c.Key("ops.nk")), "--replicas", "3",
		"--node", name, "--access-token-ttl", "24h", service}})
	if err != nil {
		o.t.Fatal(err)
	}
	o.nodes[name] = p
}

func (o *operations) ready(name string) {
	o.t.Helper()
	if err := o.nodes[name].AwaitReadyz(cluster.Within); err != nil {
		o.t.Fatalf("%s: %v\n%s", name, err, o.nodes[name].Tail(20))
	}
}

// stop ends a node.
func (o *operations) stop(name string) {
	o.t.Helper()
	for _, problem := range o.nodes[name].Finish() {
		o.t.Errorf("%s: %s", name, problem)
	}
	delete(o.nodes, name)
}

// end ends what runs.
func (o *operations) end() {
	if o.t.Failed() {
		for name, p := range o.nodes {
			o.t.Logf("the end of the log of %s:\n%s", name, p.Tail(15))
		}
		o.t.Logf("what ran in the background:\n%s", o.shell.Log())
	}
	if strings.Contains(o.shell.Log(), "Violation") {
		o.t.Error("the new broker denied something")
	}
	if err := o.shell.End(); err != nil {
		o.t.Error(err)
	}
	for name := range o.nodes {
		o.stop(name)
	}
	for _, problem := range o.c.Stop() {
		o.t.Error(problem)
	}
}

// connect connects a device of a person to an edge.
func (o *operations) connect(p *person, edge string) *raw.Socket {
	o.t.Helper()
	q := *p
	q.srv = o.nodes[edge]
	return q.device(nil)
}

// post sends a message over HTTP.
func (o *operations) post() (status int, body string) {
	o.sent++
	o.ada.srv = o.nodes["api-1"]
	a := o.ada.call(http.MethodPost, "/v1/chats/"+o.chat+"/messages", raw.Object{"client_id": fmt.Sprint("m-", o.sent), "text": text("%d", o.sent)})
	return a.Status, string(a.Body)
}

// send sends a message, which must succeed once what was just done to the mesh is over.
func (o *operations) send() {
	o.t.Helper()
	status, body := 0, ""
	for end := time.Now().Add(cluster.Within); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		if status, body = o.post(); status == http.StatusCreated {
			return
		}
	}
	o.t.Fatalf("a message is refused: %d %s", status, body)
}

// clone copies a folder over another.
func (o *operations) clone(from, to string) {
	o.t.Helper()
	if err := os.RemoveAll(filepath.Join(o.dir, to)); err != nil {
		o.t.Fatal(err)
	}
	if out, err := exec.Command("cp", "-a", filepath.Join(o.dir, from), filepath.Join(o.dir, to)).CombinedOutput(); err != nil {
		o.t.Fatalf("%v: %s", err, out)
	}
}

// partition is that of the chat.
func (o *operations) partition() uint64 {
	h := fnv.New64a()
	h.Write([]byte(o.chat))
	return h.Sum64() % 2
}

// persisted waits until the store has all that was sent: the persister takes its time to write several events together.
func (o *operations) persisted() {
	o.t.Helper()
	seed, err := nats.NkeyOptionFromSeed(o.c.Key("ops.nk"))
	if err != nil {
		o.t.Fatal(err)
	}
	nc, err := nats.Connect(o.c.URL(), nats.RootCAs(o.c.Key("ca.pem")), seed, nats.CustomInboxPrefix("_INBOX_ops"))
	if err != nil {
		o.t.Fatal(err)
	}
	defer nc.Close()
	eventually(o.t, raw.Patience, "the store has all", func() bool {
		m, err := nc.Request(fmt.Sprintf("$JS.API.CONSUMER.INFO.CHAT_%d.persister", o.partition()), nil, 5*time.Second)
		var info struct {
			Pending *int `json:"num_pending"`
			Unacked *int `json:"num_ack_pending"`
		}
		return err == nil && json.Unmarshal(m.Data, &info) == nil && info.Pending != nil && *info.Pending == 0 && *info.Unacked == 0
	})
}

// act does what the document has the test do.
func (o *operations) act(what string) {
	t := o.t
	t.Helper()
	verb, arg, _ := strings.Cut(what, " ")
	broker := func() *cluster.Broker {
		for _, b := range o.c.Brokers {
			if b.Name == arg {
				return b
			}
		}
		t.Fatalf("there is no broker %q", arg)
		return nil
	}
	switch verb {
	case "send": // a message
		o.send()
	case "refused": // a message
		eventually(t, raw.Patience, "a message is refused", func() bool { status, _ := o.post(); return status == http.StatusServiceUnavailable })
	case "connect": // bob, to an edge
		o.connect(o.bob, arg)
	case "poison": // what no worker can handle
		seed, err := nats.NkeyOptionFromSeed(o.c.Key("api.nk"))
		if err != nil {
			t.Fatal(err)
		}
		nc, err := nats.Connect(o.c.URL(), nats.RootCAs(o.c.Key("ca.pem")), seed)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		if err := nc.Publish(fmt.Sprintf("chat.%d.%s.log", 1-o.partition(), o.chat), []byte("no event")); err != nil {
			t.Fatal(err)
		}
		if err := nc.FlushTimeout(raw.Patience); err != nil {
			t.Fatal(err)
		}
	case "end": // all services
		for name := range o.nodes {
			o.stop(name)
		}
		if err := o.shell.End(); err != nil {
			t.Error(err)
		}
	case "begin": // all services
		for name := range o.addrs {
			o.begin(name)
		}
		for name := range o.addrs {
			o.ready(name)
		}
	case "copy": // the store, while it is closed
		o.stop("api-1")
		o.clone("api-1", "copy")
		o.begin("api-1")
		o.ready("api-1")
	case "older": // the store is as it was when it was copied
		_, runs := o.nodes["api-1"]
		if runs {
			o.persisted()
			o.stop("api-1")
		}
		o.clone("copy", "api-1")
		if runs {
			o.begin("api-1")
			o.ready("api-1")
		}
	case "again": // a broker, on its data
		if err := broker().Terminate(); err != nil {
			t.Fatal(err)
		}
	case "lose": // brokers and their data
		lost := o.c.Brokers
		if arg != "all" {
			lost = []*cluster.Broker{broker()}
		}
		for _, b := range lost {
			b.Kill()
			if err := os.RemoveAll(filepath.Join(o.dir, "cluster", b.Name)); err != nil {
				t.Fatal(err)
			}
		}
	case "brokers": // start, on empty folders
		for _, b := range o.c.Brokers {
			if err := b.Start(); err != nil {
				t.Fatal(err)
			}
		}
	case "env": // of a new broker, in place of another
		name, _, _ := strings.Cut(arg, " for ")
		_, arg, _ = strings.Cut(arg, " for ")
		var file strings.Builder
		for _, v := range broker().Environment(name) {
			k, value, _ := strings.Cut(v, "=")
			fmt.Fprintf(&file, "%s='%s'\n", k, value)
		}
		if err := os.WriteFile(filepath.Join(o.shell.Dir, name+".env"), []byte(file.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	default:
		t.Fatalf("the document has the test do %q, which it cannot", what)
	}
}

// TestEveryCommandOfTheRunbookDoesWhatItSays runs docs/operations.md from its beginning to its end, with the real nats CLI.
func TestEveryCommandOfTheRunbookDoesWhatItSays(t *testing.T) {
	document, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	steps, err := runbook.Parse(string(document))
	if err != nil {
		t.Fatal(err)
	}
	o := newOperations(t)
	ctx, cancel := context.WithTimeout(t.Context(), 25*time.Minute)
	defer cancel()
	began := time.Now()
	for _, s := range steps {
		at := time.Since(began).Round(100 * time.Millisecond)
		if s.Do != "" {
			t.Logf("%v: line %d: %s", at, s.Line, s.Do)
			o.act(s.Do)
			continue
		}
		printed, err := o.shell.Run(ctx, s)
		t.Logf("%v: line %d: $ %s\n%s", at, s.Line, s.Command, printed)
		if err != nil {
			t.Fatalf("line %d: $ %s: %v; it printed\n%s", s.Line, s.Command, err, printed)
		}
	}
	for _, b := range o.c.Brokers {
		for _, line := range b.Complaints() {
			t.Errorf("%s: %s", b.Name, line)
		}
	}
	t.Logf("%d steps in %v", len(steps), time.Since(began).Round(time.Second))
}

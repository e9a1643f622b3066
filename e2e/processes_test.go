package e2e

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/chatmesh/chatmesh/e2e/raw"
)

// TestEveryServiceIsAProcessOfItsOwnAndTheyStartInAnyOrder starts them before what they need, lets two people chat, and takes the
// database away under their hands.
func TestEveryServiceIsAProcessOfItsOwnAndTheyStartInAnyOrder(t *testing.T) {
	// Not parallel: a CQL server needs the machine for itself to start in time.
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	m := newProcesses(t, seed)
	services := []string{"edge", "api", "fanout", "persister", "presence"}
	m.r.Shuffle(len(services), func(i, k int) { services[i], services[k] = services[k], services[i] })
	t.Logf("order: %v, then the broker, then the database", services)
	for _, s := range services {
		m.begin(s, 1)
	}
	for _, s := range services {
		m.waits(s+"1", "broker for "+s)
	}
	if err := m.broker.start(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"edge1", "fanout1", "presence1"} {
		p := m.nodes[name]
		eventually(t, raw.Patience, name+" is ready without a database", func() bool { _, ready := readyz(t, p); return ready })
	}
	for _, name := range []string{"api1", "persister1"} {
		m.waits(name, "no CQL host answers")
	}
	m.cql.start()
	for _, name := range []string{"api1", "persister1"} {
		m.waits(name, "run chatmesh migrate")
	}
	if out := m.command(0, "migrate", "--dry-run"); !strings.Contains(out, "pending 0001_") {
		t.Errorf("migrate --dry-run: got %q; want what is pending", out)
	}
	m.command(0, "migrate")
	t.Logf("all are ready %v after the tables are there", m.allReady(30*time.Second).Round(time.Millisecond))
	if out := m.command(0, "migrate"); out != "migrations done 0\n" {
		t.Errorf("migrate again: got %q; want nothing done", out)
	}

	// Two people, whose devices are on the edge and who call the api.
	alice, bob := newPerson(t, m.nodes["api1"], "alice"), newPerson(t, m.nodes["api1"], "bob")
	chat := alice.direct(bob)
	device := func(p *person) *raw.Socket {
		s, err := raw.Connect(t.Context(), m.nodes["edge1"].Client, p.access, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
		return s
	}
	a, b := device(alice), device(bob)
	var last uint64
	var takes []time.Duration
	say := func(s *raw.Socket, format string, args ...any) {
		t.Helper()
		began := time.Now()
		last = send(t, s, chat, newClientID(), text(format, args...)).Seq
		takes = append(takes, time.Since(began))
	}
	// quick checks what was sent since the last time. Who waits for a database waits 5 s, each time.
	quick := func(when string) {
		t.Helper()
		if slices.Sort(takes); takes[len(takes)/2] > 2*time.Second {
			t.Errorf("%s half of %d sends took more than %v, the slowest %v", when, len(takes), takes[len(takes)/2], takes[len(takes)-1])
		}
		takes = nil
	}
	for i := range 20 {
		say(a, "from alice %d", i)
		say(b, "from bob %d", i)
	}
	awaitSeq(t, "alice", a, chat, last)
	awaitSeq(t, "bob", b, chat, last)
	nc, err := nats.Connect(m.broker.url(), nats.MaxReconnects(-1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	quick("with a database")
	kept := func() bool { return m.stored(nc, chat) == last }
	eventually(t, raw.Patience, "the database has all", kept)

	// The database stands still, is killed, and comes back.
	m.cql.signal(syscall.SIGSTOP)
	stopped := time.Now()
	for n := 0; time.Since(stopped) < 10*time.Second; n++ {
		say(a, "while the database stands still %d", n)
		time.Sleep(20 * time.Millisecond)
	}
	quick("while the database stands still")
	m.waits("api1", "store")
	m.waits("persister1", "store")
	m.cql.signal(syscall.SIGKILL)
	for n := range 100 {
		say(b, "while there is no database %d", n)
	}
	quick("while there is no database")
	var back sync.WaitGroup
	back.Go(m.cql.start)
	for n := 0; n < 200; n++ {
		say(a, "while the database starts %d", n)
		time.Sleep(20 * time.Millisecond)
	}
	quick("while the database starts")
	back.Wait()
	awaitSeq(t, "bob", b, chat, last)
	began := time.Now()
	t.Logf("all are ready again after %v", m.allReady(3*raw.Patience).Round(time.Millisecond))
	eventually(t, 2*raw.Patience, "the database has all", kept)
	t.Logf("it has all %d events %v after it was back", last, time.Since(began).Round(time.Millisecond))

	out := m.command(0, "verify", "--all")
	if want := fmt.Sprintf("chats 1, events %d, messages %d, problems 0", last, last-1); !strings.Contains(out, want) {
		t.Errorf("verify: got %q; want %q", out, want)
	}
	if out := m.command(0, "deadletters", "list"); !strings.Contains(out, "dead letters 0") {
		t.Errorf("deadletters list: got %q; want none", out)
	}
	h := alice.history(chat)
	if len(h) == 0 || h[len(h)-1].Seq != last {
		t.Errorf("history ends at %v; want %d", h, last)
	}
}

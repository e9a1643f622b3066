package presence

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/meshtest"
	"github.com/chatmesh/chatmesh/pkg/meshtest/leaks"
	"github.com/chatmesh/chatmesh/pkg/online"
	"github.com/chatmesh/chatmesh/pkg/run"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(leaks.Patient(m)) }

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// leaseTTL of the edges of tests. It is renewed every third of it, also on a machine that does much else.
const leaseTTL = 6 * time.Second

// fixture is a broker with the layout, and an ear for everything that is told of presence.
type fixture struct {
	t      testing.TB
	broker *meshtest.Broker
	bus    *bus.Bus

	mu   sync.Mutex // guards the following fields
	told map[chat.UserID][]wire.Presence
	so   map[bool]int // how many people were last told to be online, or not
}

// newFixture has the bucket as the layout makes it.
func newFixture(t testing.TB) *fixture {
	t.Helper()
	return newFixtureOf(t, jetstream.DefaultPersistMode)
}

// newFixtureOf has the buckets with some mode of persistence: asynchronous ones do not wait for the disk, and lose their last
// writes in a crash.
func newFixtureOf(t testing.TB, mode jetstream.PersistModeType) *fixture {
	t.Helper()
	f := &fixture{t: t, broker: meshtest.NewBroker(t), told: map[chat.UserID][]wire.Presence{}, so: map[bool]int{}}
	f.bus = f.broker.Bus(t)
	meshtest.Ensure(t, f.bus, meshtest.Layout(1))
	for _, bucket := range []string{subject.Presence, subject.LastSeen} {
		stream, err := f.bus.JetStream().Stream(t.Context(), subject.KVStream(bucket))
		if err != nil {
			t.Fatal(err)
		}
		c := stream.CachedInfo().Config
		if c.PersistMode == mode {
			continue
		}
		if err := f.bus.JetStream().DeleteStream(t.Context(), c.Name); err != nil {
			t.Fatal(err)
		}
		c.PersistMode = mode
		if _, err := f.bus.JetStream().CreateStream(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	sub, err := f.bus.Conn().Subscribe(subject.PresenceOf("*"), func(m *nats.Msg) {
		var p wire.Presence
		user, _ := subject.PresentOf(m.Subject)
		if err := json.Unmarshal(m.Data, &p); err != nil || p.Type != wire.TypePresence || user != p.User || p.Online != (p.State != wire.Offline) {
			t.Errorf("got %s on %s; want the presence of that person", m.Data, m.Subject)
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		if before := f.told[p.User]; len(before) > 0 {
			f.so[before[len(before)-1].Online]--
		}
		f.so[p.Online]++
		f.told[p.User] = append(f.told[p.User], p)
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if t.Failed() && len(f.told) < 10 {
			t.Log("told: ", f.told)
		}
	})
	return f
}

// heard is what was told of a person, as + for online and - for offline.
func (f *fixture) heard(user chat.UserID) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var b strings.Builder
	for _, p := range f.told[user] {
		if p.Online {
			b.WriteByte('+')
		} else {
			b.WriteByte('-')
		}
	}
	return b.String()
}

// last is the last that was told of a person.
func (f *fixture) last(user chat.UserID) string {
	told := f.heard(user)
	return told[max(len(told)-1, 0):]
}

func (f *fixture) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.told)
	clear(f.so)
}

// count tells how many people were last told to be so.
func (f *fixture) count(online bool) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.so[online]
}

// process is a running Server or Reporter. kill cuts its connection, so that it cannot say goodbye; stop lets it end.
type process struct {
	t      testing.TB
	bus    *bus.Bus
	cancel context.CancelFunc
	done   chan error
	once   sync.Once
}

func (f *fixture) process(run func(context.Context) error, b *bus.Bus) *process {
	ctx, cancel := context.WithCancel(f.t.Context())
	p := &process{t: f.t, bus: b, cancel: cancel, done: make(chan error, 1)}
	go func() { p.done <- run(ctx) }()
	f.t.Cleanup(p.stop)
	return p
}

func (p *process) stop() {
	p.once.Do(func() {
		p.cancel()
		if err := <-p.done; err != nil && p.bus.Check(p.t.Context()) == nil {
			p.t.Error(err)
		}
		p.bus.Close()
	})
}

func (p *process) kill() {
	p.bus.Close()
	p.stop()
}

// service is a running Server.
type service struct {
	*Server
	*process
	health *run.Health
}

// serve starts a Server and waits until it knows who is online.
func (f *fixture) serve(node string) *service {
	f.t.Helper()
	b := f.broker.Bus(f.t)
	health := &run.Health{}
	s, err := New(Config{Bus: b, Node: node, Version: "1.0.0", Logger: discard(), Metrics: prometheus.NewRegistry(), Health: health})
	if err != nil {
		f.t.Fatal(err)
	}
	s.times = times{settle: 4 * time.Second, stale: time.Second, leader: 6 * time.Second, beat: time.Second}
	if health.Err(f.t.Context()) == nil {
		f.t.Error("a server that has read nothing is ready")
	}
	p := &service{Server: s, process: f.process(s.Run, b), health: health}
	meshtest.Eventually(f.t, meshtest.Patience, "the service is ready", func() bool { return health.Err(f.t.Context()) == nil })
	return p
}

// leading waits until the service leads.
func (s *service) leading() *service {
	s.t.Helper()
	meshtest.Eventually(s.t, meshtest.Patience, "the service leads", s.lead.leads)
	return s
}

// host is a running Reporter.
type hostProcess struct {
	*online.Reporter
	*process
}

func (f *fixture) edge(name string) *hostProcess {
	b := f.broker.Bus(f.t)
	r := online.New(b, name, leaseTTL, discard())
	return &hostProcess{Reporter: r, process: f.process(r.Run, b)}
}

// ask returns what the endpoint says of people.
func (f *fixture) ask(users ...chat.UserID) ([]wire.Presence, error) {
	var answer Answer
	err := f.bus.Call(f.t.Context(), subject.PresenceEndpoint, map[string]any{"users": users}, &answer)
	return answer.Presence, err
}

func (f *fixture) isOnline(users ...chat.UserID) bool {
	answer, err := f.ask(users...)
	if err != nil || len(answer) != len(users) {
		return false
	}
	for i, p := range answer {
		if !p.Online || p.User != users[i] || p.LastSeen != nil {
			return false
		}
	}
	return true
}

// isOffline tells that people are offline and were last seen after a moment.
func (f *fixture) isOffline(since time.Time, users ...chat.UserID) bool {
	answer, err := f.ask(users...)
	if err != nil || len(answer) != len(users) {
		return false
	}
	for _, p := range answer {
		if p.Online || p.LastSeen == nil || p.LastSeen.Before(since.Add(-time.Second)) || p.LastSeen.After(time.Now().Add(time.Second)) {
			return false
		}
	}
	return true
}

// stays fails the test if ok does not hold all the time.
func stays(t testing.TB, long time.Duration, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(long); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if !ok() {
			t.Fatalf("did not stay so: %s", what)
		}
	}
}

func people(n int) []chat.UserID {
	out := make([]chat.UserID, n)
	for i := range out {
		out[i] = chat.UserID(fmt.Sprintf("01J9Z3K5T7W8X2Y4B6D8F%05X", i))
	}
	return out
}

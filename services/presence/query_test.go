package presence

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/chatmesh/chatmesh/docs"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/doctest"
	"github.com/chatmesh/chatmesh/pkg/meshtest"
	"github.com/chatmesh/chatmesh/pkg/run"
	"github.com/chatmesh/chatmesh/pkg/subject"
)

func TestQueryAnswersInTheOrderAskedAndKnowsNothingOfStrangers(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.serve("p1")
	if err := f.bus.Keep(t.Context(), subject.LastSeen, "bob", []byte("2026-05-04T03:02:01.000Z")); err != nil {
		t.Fatal(err)
	}
	m, err := f.bus.Conn().Request(subject.PresenceEndpoint, []byte(`{"users":["zoe","bob","ann","bob"]}`), 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"presence":[{"user":"zoe","online":false,"state":"offline"},` +
		`{"user":"bob","online":false,"state":"offline","last_seen":"2026-05-04T03:02:01.000000Z"},{"user":"ann","online":false,"state":"offline"},` +
		`{"user":"bob","online":false,"state":"offline","last_seen":"2026-05-04T03:02:01.000000Z"}]}`
	if got := string(m.Data); got != want {
		t.Errorf("got %s; want %s", got, want)
	}
	live := doctest.Parse(t, docs.AsyncAPI())
	if err := live.Check(m.Data, doctest.Payload("presenceAnswer")...); err != nil {
		t.Errorf("%s is not what asyncapi.yaml says: %v", m.Data, err)
	}
	live.Fields(t, Query{}, doctest.Payload("presenceRequest")...)
	live.Fields(t, Answer{}, doctest.Payload("presenceAnswer")...)
	answer, err := f.ask(people(1000)...)
	if err != nil || len(answer) != 1000 {
		t.Errorf("got %d, %v; want 1000 answers", len(answer), err)
	}
}

func TestQueryThatIsNoneIsRefused(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := f.serve("p1")
	for name, body := range map[string]string{
		"not JSON": `users`, "wrong type": `{"users":"ann"}`, "no id": `{"users":["a.b"]}`, "empty id": `{"users":[""]}`,
		"too many": `{"users":["a"` + strings.Repeat(`,"a"`, 1000) + `]}`,
	} {
		if _, err := s.answer(t.Context(), []byte(body)); !chat.Is(err, chat.BadRequest) {
			t.Errorf("%s: got %v; want %s", name, err, chat.BadRequest)
		}
	}
	if v, err := s.answer(t.Context(), []byte(`{}`)); err != nil || len(v.(Answer).Presence) != 0 {
		t.Errorf("got %v, %v; want an empty answer to an empty question", v, err)
	}
}

func TestQueryIsRefusedUntilTheBucketIsRead(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s, err := New(Config{Bus: f.bus, Node: "p1", Version: "1.0.0", Logger: discard(), Health: &run.Health{}})
	if err != nil {
		t.Fatal(err)
	}
	f.process(s.serve, f.broker.Bus(t))
	meshtest.Eventually(t, meshtest.Patience, "the endpoint refuses", func() bool {
		_, err := f.ask("ann")
		return chat.Is(err, chat.Unavailable) && chat.AsError(err).RetryAfter > 0
	})
}

func TestConfigurationIsChecked(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	good := Config{Bus: f.bus, Node: "p1", Version: "1.0.0", Logger: discard(), Metrics: prometheus.NewRegistry(), Health: &run.Health{}}
	for name, spoil := range map[string]func(*Config){
		"bus": func(c *Config) { c.Bus = nil }, "logger": func(c *Config) { c.Logger = nil },
		"health": func(c *Config) { c.Health = nil }, "node": func(c *Config) { c.Node = "a.b" },
	} {
		c := good
		spoil(&c)
		if _, err := New(c); err == nil {
			t.Errorf("%s: got no error; want one", name)
		}
	}
	if _, err := New(good); err != nil {
		t.Error(err)
	}
}

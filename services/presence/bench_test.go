package presence

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/meshtest"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// BenchmarkChangeIsHeard shows the time from a person's coming at an edge to its transition on presence.<user>, while 10,000
// others are online and 200 changes a second happen.
func BenchmarkChangeIsHeard(b *testing.B) {
	for name, mode := range map[string]jetstream.PersistModeType{"synced": jetstream.DefaultPersistMode, "async": jetstream.AsyncPersistMode} {
		b.Run(name, func(b *testing.B) { changeIsHeard(b, newFixtureOf(b, mode)) })
	}
}

func changeIsHeard(b *testing.B, f *fixture) {
	f.serve("p1").leading()
	edge := f.edge("a")
	users := people(10_500)
	for _, u := range users[500:] {
		edge.Come(u)
	}
	meshtest.Eventually(b, 5*time.Minute, "all are online", func() bool { return f.count(true) == 10_000 })
	heard := make(chan *nats.Msg, 1000)
	sub, err := f.bus.Conn().ChanSubscribe(subject.PresenceOf("*"), heard)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	var took []time.Duration
	online := true
	for i := 0; b.Loop(); i++ {
		u := users[i%500]
		if i > 0 && i%500 == 0 {
			online = !online
		}
		began := time.Now()
		if online {
			edge.Come(u)
		} else {
			edge.Go(u)
		}
		m := <-heard
		took = append(took, time.Since(began))
		var p wire.Presence
		if err := json.Unmarshal(m.Data, &p); err != nil || p.User != u || p.Online != online {
			b.Fatalf("got %s; want %s online: %v", m.Data, u, online)
		}
		_ = bus.Sleep(b.Context(), 5*time.Millisecond-time.Since(began))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "ms-p50")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "ms-p99")
}

package bus_test

import (
	"context"
	"flag"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/meshtest"
	"github.com/chatmesh/chatmesh/pkg/meshtest/leaks"
)

func TestMain(m *testing.M) {
	meshtest.ServeIfChild()
	_ = flag.Set("test.parallel", "5") // they wait more than they work; -parallel still counts
	goleak.VerifyTestMain(leaks.Patient(m))
}

// patience is how long something that takes milliseconds may take on a machine that does much else.
const patience = meshtest.Patience

// broker is a real broker and a connection to it.
func broker(t *testing.T) (*meshtest.Broker, *bus.Bus) {
	t.Helper()
	t.Parallel()
	b := meshtest.NewBroker(t)
	return b, b.Bus(t)
}

// laid is a broker with the streams of a layout.
func laid(t *testing.T, partitions int) (*meshtest.Broker, *bus.Bus) {
	t.Helper()
	m, b := broker(t)
	meshtest.Ensure(t, b, meshtest.Layout(partitions))
	return m, b
}

// stream makes a stream TEST of the subjects test.>.
func stream(t *testing.T, b *bus.Bus, change func(*jetstream.StreamConfig)) {
	t.Helper()
	cfg := jetstream.StreamConfig{Name: "TEST", Subjects: []string{"test.>"}, AllowDirect: true, AllowAtomicPublish: true}
	if change != nil {
		change(&cfg)
	}
	if _, err := b.JetStream().CreateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
}

// lastSeq is the last sequence of a stream.
func lastSeq(t *testing.T, b *bus.Bus, name string) uint64 {
	t.Helper()
	s, err := b.JetStream().Stream(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return s.CachedInfo().State.LastSeq
}

// msg is a message with headers given as key, value, key, value …
func msg(subj, body string, headers ...string) *nats.Msg {
	m := nats.NewMsg(subj)
	m.Data = []byte(body)
	for i := 0; i < len(headers); i += 2 {
		m.Header.Set(headers[i], headers[i+1])
	}
	return m
}

// publish stores a message and returns its sequence.
func publish(t *testing.T, b *bus.Bus, subj, body string) uint64 {
	t.Helper()
	a, err := b.Publish(t.Context(), msg(subj, body))
	if err != nil {
		t.Fatal(err)
	}
	return a.Sequence
}

// bodies are the bodies of messages with their sequences, as "seq:body".
func bodies(msgs []*bus.Msg) []string {
	out := make([]string, 0, len(msgs))
	for _, m := range msgs {
		out = append(out, fmt.Sprintf("%d:%s", m.Sequence, m.Data))
	}
	return out
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

package bus_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/meshtest"
)

// A copy that was paused answers before it has caught up. Whoever reads at the broker that holds it sees what was acknowledged all
// the same, however they read.
func TestAReadShowsWhatWasAcknowledgedBeforeItWhicheverCopyAnswers(t *testing.T) {
	p := meshtest.StartProcesses(t)
	t.Cleanup(p.Close)
	writer := p.Bus(t)
	cfg := jetstream.StreamConfig{Name: "TEST", Subjects: []string{"test.>"}, AllowDirect: true, Replicas: 3}
	meshtest.Eventually(t, patience, "the stream is there", func() bool {
		_, err := writer.JetStream().CreateOrUpdateStream(t.Context(), cfg)
		return err == nil
	})
	stale := 0
	for round := range 6 {
		lagging, leader := -1, -1
		meshtest.Eventually(t, patience, "the stream has a leader", func() bool {
			s, err := writer.JetStream().Stream(t.Context(), "TEST")
			if err != nil {
				return false
			}
			lagging, leader = -1, -1
			for i := range 3 {
				if p.Name(i) == s.CachedInfo().Cluster.Leader {
					leader = i
				} else if i%2 == round%2 || lagging < 0 {
					lagging = i
				}
			}
			return leader >= 0
		})
		at, from := p.BusAt(t, leader), p.BusAt(t, lagging)
		meshtest.Eventually(t, patience, "both brokers answer", func() bool {
			if _, err := at.Publish(t.Context(), msg("test.before", "x")); err != nil {
				return false
			}
			_, err := from.LastFor(t.Context(), "TEST", "test.>")
			return err == nil
		})
		since := time.Now()
		if err := p.Pause(lagging); err != nil {
			t.Fatal(err)
		}
		var last, first uint64
		subj := fmt.Sprint("test.", round)
		for n := range 300 {
			ack, err := at.Publish(t.Context(), msg(subj, fmt.Sprint(n)))
			if err != nil {
				t.Fatal(err)
			}
			if last = ack.Sequence; n == 0 {
				first = last
			}
		}
		// The questions wait at the paused broker, which answers them first of all.
		reads := map[string]func() (uint64, error){
			"LastFor": func() (uint64, error) {
				msgs, err := from.LastFor(t.Context(), "TEST", subj)
				return lastSequence(msgs), err
			},
			"From": func() (uint64, error) {
				msgs, err := from.From(t.Context(), "TEST", subj, first, 1000, 0)
				return lastSequence(msgs), err
			},
			"Since": func() (uint64, error) {
				msgs, err := from.Since(t.Context(), "TEST", subj, since, 1000, 0)
				return lastSequence(msgs), err
			},
			"At": func() (uint64, error) {
				m, err := from.At(t.Context(), "TEST", last)
				if err != nil {
					return 0, err
				}
				return m.Sequence, nil
			},
			"a direct get": func() (uint64, error) { // of which nothing is promised
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				m, err := from.Conn().RequestWithContext(ctx, "$JS.API.DIRECT.GET.TEST", []byte(`{"last_by_subj":"test.>"}`))
				if err != nil {
					return 0, err
				}
				if m.Header.Get(jetstream.SequenceHeader) != fmt.Sprint(last) {
					stale++
				}
				return last, nil
			},
		}
		type answer struct {
			how string
			seq uint64
			err error
		}
		answers := make(chan answer, len(reads))
		for how, read := range reads {
			go func() {
				seq, err := read()
				answers <- answer{how, seq, err}
			}()
		}
		time.Sleep(50 * time.Millisecond) // so that they are asked before it goes on
		if err := p.Continue(lagging); err != nil {
			t.Fatal(err)
		}
		for range reads {
			if a := <-answers; a.err != nil || a.seq != last {
				t.Errorf("round %d: %s at a copy that lagged: got %d, %v; want %d", round, a.how, a.seq, a.err, last)
			}
		}
	}
	t.Logf("%d plain direct gets were stale", stale)
}

func lastSequence(msgs []*bus.Msg) uint64 {
	if len(msgs) == 0 {
		return 0
	}
	return msgs[len(msgs)-1].Sequence
}

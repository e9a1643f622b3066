package bus_test

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/meshtest"
)

// On three copies the broker refuses otherwise than on one: what is in flight is refused as well. What the codes mean to an append
// is said where appends are made. 10163 is not here: nats-server 2.15.2 defines it and says it nowhere.
func TestThreeBrokersRefuseWithTheseCodes(t *testing.T) {
	t.Parallel()
	c := meshtest.NewCluster(t)
	b, other := c.Bus(t), c.Bus(t)
	race := func(a, b func() error) []error {
		errs := make([]error, 2)
		var wg sync.WaitGroup
		for i, f := range []func() error{a, b} {
			wg.Go(func() { errs[i] = f() })
		}
		wg.Wait()
		return errs
	}
	for n, c := range []struct {
		name  string
		codes []int
		// do is repeated until one of its errors is such a refusal. Until the stream has a leader nothing answers, which is none.
		do func(t *testing.T, stream string, try int) []error
	}{
		{"another event came first", []int{10071, 10164}, func(t *testing.T, s string, try int) []error {
			_, first := b.Publish(t.Context(), msg(s+".a", "x"))
			_, err := b.Publish(t.Context(), msg(s+".a", "y", expected, "0"))
			return []error{first, err}
		}},
		{"another event is in flight", []int{10164}, func(t *testing.T, s string, try int) []error {
			subj := fmt.Sprintf("%s.race%d", s, try)
			append := func(b *bus.Bus) func() error {
				return func() error {
					_, err := b.Publish(t.Context(), msg(subj, "x", expected, "0"))
					return err
				}
			}
			return race(append(b), append(other))
		}},
		{"a message with the same id is in flight", []int{10158}, func(t *testing.T, s string, try int) []error {
			append := func(b *bus.Bus, subj string) func() error {
				return func() error {
					_, err := b.Publish(t.Context(), msg(s+"."+subj, "x", msgID, fmt.Sprint("id", try)))
					return err
				}
			}
			return race(append(b, "a"), append(other, "b"))
		}},
		{"a message id that is stored, in a batch", []int{10201}, func(t *testing.T, s string, _ int) []error {
			_, first := b.Publish(t.Context(), msg(s+".a", "x", msgID, "1"))
			_, err := b.PublishAtomic(t.Context(), []*nats.Msg{msg(s+".b", "y", msgID, "2"), msg(s+".a", "x", msgID, "1")})
			return []error{first, err}
		}},
		{"the stream is full", []int{10077}, func(t *testing.T, s string, _ int) []error {
			_, err := b.Publish(t.Context(), msg(s+".a", strings.Repeat("x", 1000)))
			return []error{err}
		}},
		{"too many batches in flight", []int{10176}, func(t *testing.T, s string, _ int) []error {
			inFlightOn(t, b, s+".a")
			_, err := b.PublishAtomic(t.Context(), []*nats.Msg{msg(s+".b", "x"), msg(s+".b", "y")})
			return []error{err}
		}},
		{"too many batches in flight, and one of one message", []int{10210}, func(t *testing.T, s string, _ int) []error {
			inFlightOn(t, b, s+".a")
			_, err := b.PublishAtomic(t.Context(), []*nats.Msg{msg(s+".b", "x")})
			return []error{err}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			name := fmt.Sprintf("R3_%d", n)
			cfg := jetstream.StreamConfig{Name: name, Subjects: []string{name + ".>"}, AllowDirect: true, AllowAtomicPublish: true, Replicas: 3}
			if slices.Contains(c.codes, 10077) {
				full(&cfg)
			}
			meshtest.Eventually(t, patience, "the stream is there", func() bool {
				_, err := b.JetStream().CreateOrUpdateStream(t.Context(), cfg)
				return err == nil
			})
			seen := map[int]int{}
			deadline := time.Now().Add(patience)
			for try := 0; ; try++ {
				for _, err := range c.do(t, name, try) {
					if err != nil {
						seen[refused(err)]++
					}
				}
				for _, code := range c.codes {
					if seen[code] > 0 {
						t.Logf("after %d tries: %v", try+1, seen)
						return
					}
				}
				if time.Now().After(deadline) {
					t.Fatalf("got refusals %v; want one of %v", seen, c.codes)
				}
			}
		})
	}
}

// A server that is full of other streams refuses as well. 10047, which the table has too, is what it says to who would make a
// stream then.
func TestAServerWithoutRoomRefuses(t *testing.T) {
	t.Parallel()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(),
		JetStreamMaxStore: 64 << 10, NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	go s.Start() // ends with Shutdown
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(patience) {
		t.Fatal("not ready")
	}
	b, err := bus.Connect(bus.Config{Name: t.Name(), URL: s.ClientURL(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	meshtest.Eventually(t, patience, "a connection", func() bool { return b.Check(t.Context()) == nil })
	stream(t, b, nil)
	for n := 0; ; n++ {
		_, err := b.Publish(t.Context(), msg("test.a", strings.Repeat("x", 1000)))
		if err == nil && n < 1000 {
			continue
		}
		if refused(err) != 10023 {
			t.Fatalf("got %v after %d; want a refusal 10023", err, n)
		}
		break
	}
	_, err = b.JetStream().CreateStream(t.Context(), jetstream.StreamConfig{Name: "MORE", Subjects: []string{"more.>"}, MaxBytes: 1 << 20})
	var api *jetstream.APIError
	if !errors.As(err, &api) || api.ErrorCode != 10047 {
		t.Errorf("a stream more: got %v; want 10047", err)
	}
}

package bus_test

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/meshtest"
	"github.com/chatmesh/chatmesh/pkg/subject"
)

func TestManyWhoAskAtOnceGetTheirOwnAnswersAndWhatWasAcknowledgedBefore(t *testing.T) {
	t.Parallel()
	b := meshtest.NewBroker(t).Bus(t)
	meshtest.Ensure(t, b, meshtest.Layout(1))
	stream := subject.KVStream(subject.Preferences)
	puts := make(chan struct{}, 16) // each is synced: on a slow disk a thousand at once take longer than one may
	var wg sync.WaitGroup
	for i := range 1500 { // more than one request asks for
		wg.Go(func() {
			key, there := fmt.Sprintf("u%d", i), i%3 > 0
			subj := subject.KV(subject.Preferences, key)
			if there {
				puts <- struct{}{}
				err := b.Keep(t.Context(), subject.Preferences, key, []byte(key))
				<-puts
				if err != nil {
					t.Error(err)
					return
				}
			}
			for range 3 {
				m, err := b.Last(t.Context(), stream, subj)
				switch {
				case err != nil:
					t.Error(err)
				case there && (m == nil || m.Subject != subj || string(m.Data) != key):
					t.Errorf("%s: got %v; want what was put", key, m)
				case !there && m != nil:
					t.Errorf("%s: got %v; want nothing", key, m)
				}
			}
		})
	}
	wg.Wait()
}

func TestAskingForAStreamThatIsNotThereFails(t *testing.T) {
	t.Parallel()
	b := meshtest.NewBroker(t).Bus(t)
	var wg sync.WaitGroup
	for i := range 10 {
		wg.Go(func() {
			if m, err := b.Last(t.Context(), "KV_none", fmt.Sprintf("k%d", i)); err == nil {
				t.Errorf("got %v; want an error", m)
			}
		})
	}
	wg.Wait()
}

// Not parallel: it looks at the memory of the whole process.
func TestAReadTakesNoMoreRoomThanItsAnswersNeed(t *testing.T) {
	b := meshtest.NewBroker(t).Bus(t)
	meshtest.Ensure(t, b, meshtest.Layout(1))
	stream := subject.KVStream(subject.Preferences)
	reads := map[string]func() error{
		"last":     func() error { _, err := b.Last(t.Context(), stream, subject.KV(subject.Preferences, "a")); return err },
		"last two": func() error { _, err := b.LastFor(t.Context(), stream, "x", "y"); return err },
		"batch":    func() error { _, err := b.From(t.Context(), stream, ">", 1, 100, 0); return err },
	}
	for name, read := range reads {
		const n = 50
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range n {
			if err := read(); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		runtime.ReadMemStats(&after)
		if each := (after.TotalAlloc - before.TotalAlloc) / n; each > 100<<10 { // the broker's part as well
			t.Errorf("%s: %d bytes are allocated for a read; want at most 100 KiB", name, each)
		}
	}
}

// A bus may be closed while its workers ask: goroutines that begin then would outlive it.
func TestWhoAsksWhileTheBusIsClosedIsAnswered(t *testing.T) {
	t.Parallel()
	broker := meshtest.NewBroker(t)
	meshtest.Ensure(t, broker.Bus(t), meshtest.Layout(1))
	for range 20 {
		b := broker.Bus(t)
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				for n := 0; ; n++ {
					_, err := b.Last(t.Context(), subject.KVStream(subject.Preferences), fmt.Sprintf("k%d", i))
					if err == nil {
						_, err = b.End(t.Context(), fmt.Sprintf("s%d.%d", i, n)) // of a stream that is not there
					}
					if errors.Is(err, nats.ErrConnectionClosed) {
						return
					}
				}
			})
		}
		_ = bus.Sleep(t.Context(), time.Millisecond)
		b.Close()
		wg.Wait()
	}
}

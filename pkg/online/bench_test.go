package online

import (
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/meshtest"
	"github.com/chatmesh/chatmesh/pkg/subject"
)

// BenchmarkBytesPerPerson shows what a hosted person takes in memory, beside the id.
func BenchmarkBytesPerPerson(b *testing.B) {
	const n = 100_000
	users := people(n)
	for b.Loop() {
		var before, after runtime.MemStats
		r := New(nil, "a", time.Second, discard())
		runtime.GC()
		runtime.ReadMemStats(&before)
		for _, u := range users {
			r.Come(u)
		}
		r.queue = nil // which is written and forgotten soon
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/n, "B/person")
		runtime.KeepAlive(r)
	}
}

// BenchmarkHundredThousandPeople shows how fast 100,000 people come on one edge, and what share of a core they cost in each
// second of an idle time afterwards, with the lease of 15 s and the age of keys of 10 min that chatmesh uses. The broker in
// the same process is counted.
func BenchmarkHundredThousandPeople(b *testing.B) {
	for name, mode := range map[string]jetstream.PersistModeType{"synced": jetstream.DefaultPersistMode, "async": jetstream.AsyncPersistMode} {
		b.Run(name, func(b *testing.B) { hundredThousand(b, mode) })
	}
}

func hundredThousand(b *testing.B, mode jetstream.PersistModeType) {
	const n, age = 100_000, 10 * time.Minute
	broker := meshtest.NewBroker(b)
	js := broker.Bus(b).JetStream()
	_, err := js.CreateStream(b.Context(), jetstream.StreamConfig{Name: subject.KVStream(subject.Presence),
		Subjects: []string{subject.KV(subject.Presence, ">")}, MaxMsgsPerSubject: 1, MaxAge: age, AllowRollup: true, AllowDirect: true,
		Discard: jetstream.DiscardNew, AllowMsgTTL: true, SubjectDeleteMarkerTTL: time.Minute, PersistMode: mode})
	if err != nil {
		b.Fatal(err)
	}
	r := New(broker.Bus(b), "a", 15*time.Second, discard())
	start(b, r)
	began := time.Now()
	users := people(n)
	for _, u := range users {
		r.Come(u)
	}
	meshtest.Eventually(b, 10*time.Minute, "all are stored", func() bool {
		s, err := js.Stream(b.Context(), subject.KVStream(subject.Presence))
		return err == nil && s.CachedInfo().State.Msgs > n || bus.Sleep(b.Context(), 50*time.Millisecond) != nil
	})
	took := time.Since(began)
	// As if they had come over the last minutes.
	r.mu.Lock()
	for i, u := range users {
		h := r.people[u]
		h.put -= uint32(time.Duration(i) * (age * 5 / 8) / n / tick)
		r.people[u] = h
	}
	r.mu.Unlock()
	var spent, passed time.Duration
	for b.Loop() {
		from, cpu := time.Now(), cpuTime()
		_ = bus.Sleep(b.Context(), time.Second)
		passed += time.Since(from)
		spent += cpuTime() - cpu
	}
	b.ReportMetric(n/took.Seconds(), "comings/s")
	b.ReportMetric(100*spent.Seconds()/passed.Seconds(), "%core")
}

// cpuTime is what the process has used so far.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

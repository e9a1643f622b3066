package e2e

import (
	"flag"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chatmesh/chatmesh/e2e/cluster"
	"github.com/chatmesh/chatmesh/e2e/program"
	"github.com/chatmesh/chatmesh/e2e/raw"
)

// The database is away for outage, and as long as it takes to start again, under rate messages a second; make outage takes an hour.
var (
	outage = flag.Duration("outage", 20*time.Second, "how long the database is away")
	times  = flag.Float64("outage-times", 0, "how much faster than the load the lag must go; make outage asks for 3")
	rate   = flag.Int("outage-rate", 200, "messages a second meanwhile")
)

// paced is somebody who sends at an even pace to one chat, and waits for each ack as long as a client does.
type paced struct {
	s     *raw.Socket
	chat  string
	every time.Duration
}

// pollEvery is about how long it takes to ask the persisters for their figures.
const pollEvery = 200 * time.Millisecond

// sendTimeout is how long a client waits for an ack before it tries again.
const sendTimeout = 20 * time.Second

// run sends until stop is closed, and returns what was acked, by client id, what failed, and the longest wait.
func (p *paced) run(stop <-chan struct{}) (acked map[string]uint64, failed []string, longest time.Duration) {
	acked = map[string]uint64{}
	tick := time.NewTicker(p.every)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-stop:
			return acked, failed, longest
		case <-tick.C:
		}
		id, began := newClientID(), time.Now()
		f, err := p.s.Ask(raw.Object{"type": "send", "chat": p.chat, "client_id": id, "text": text("while the database is away")})
		longest = max(longest, time.Since(began))
		if err != nil || f.Type != "ack" {
			failed = append(failed, fmt.Sprintf("%s %s, %v", f.Type, f.Code, err))
			continue
		}
		acked[id] = f.Seq
	}
}

// figure adds up a metric over all its labels and over processes.
func figure(t *testing.T, of []*cluster.Node, name string) (sum float64) {
	t.Helper()
	line := regexp.MustCompile(`(?m)^` + name + `(?:\{[^}]*\})? (\S+)$`)
	for _, n := range of {
		_, body, err := n.Program().AdminGet("/metrics")
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range line.FindAllStringSubmatch(body, -1) {
			v, err := strconv.ParseFloat(m[1], 64)
			if err != nil {
				t.Fatal(err)
			}
			sum += v
		}
	}
	return sum
}

// TestTheDatabaseMayBeAway kills the database under load on a mesh of many processes. Meanwhile sends are acked, delivered, caught up
// and marked as read; when it is back the lag goes, and the store has everything once.
func TestTheDatabaseMayBeAway(t *testing.T) {
	c, err := cluster.New(cluster.Config{Dir: t.TempDir(), NoRace: true, Args: []string{"--access-token-ttl", "24h"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, problem := range c.Stop() {
			t.Error(problem)
		}
		if t.Failed() {
			t.Logf("errors that were logged: %q", c.Errors())
		}
	})
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	front := program.At(c.Fronts[0].URL, "")
	const pairs, each = 10, 5
	people := newPeople(t, front, "out", 2*pairs)
	var senders []*paced
	receivers := map[string]*raw.Socket{}
	for i := range pairs {
		one, two := people[2*i], people[2*i+1]
		chat := one.direct(two)
		receivers[chat] = two.device(nil)
		for range each {
			senders = append(senders, &paced{s: one.device(nil), chat: chat, every: time.Duration(pairs*each) * time.Second / time.Duration(*rate)})
		}
	}
	persisters := c.Of("persister")
	waiting := func() float64 { return figure(t, persisters, "chatmesh_persister_lag_messages") }

	stop := make(chan struct{})
	var wg sync.WaitGroup
	end := sync.OnceFunc(func() { close(stop); wg.Wait() })
	defer end()
	var mu sync.Mutex
	acked := map[string]map[string]uint64{}
	var failed []string
	var longest time.Duration
	var total atomic.Int64
	began := time.Now()
	for _, p := range senders {
		wg.Go(func() {
			a, f, l := p.run(stop)
			mu.Lock()
			defer mu.Unlock()
			failed, longest = append(failed, f...), max(longest, l)
			if acked[p.chat] == nil {
				acked[p.chat] = map[string]uint64{}
			}
			for id, seq := range a {
				acked[p.chat][id] = seq
				total.Add(1)
			}
		})
	}
	time.Sleep(5 * time.Second) // some load before
	if err := c.CQL.Kill(); err != nil {
		t.Fatal(err)
	}
	down := time.Now()
	eventually(t, raw.Patience, "a persister says what it waits for", func() bool {
		status, _, err := persisters[0].Program().AdminGet("/readyz")
		return err == nil && status != 200
	})
	for time.Since(down) < *outage {
		time.Sleep(min(2*time.Second, *outage/10))
		for i := range pairs { // what needs no store goes on
			two := people[2*i+1]
			chat := senders[i*each].chat
			var last uint64
			for _, f := range receivers[chat].Events(chat) {
				last = max(last, f.Seq)
			}
			if last < 10 {
				continue
			}
			back := two.device(map[string]uint64{chat: last - 5})
			awaitSeq(t, "a device that is back", back, chat, last)
			if f, err := back.Ask(raw.Object{"type": "read", "chat": chat, "seq": last}); err != nil || f.Type != "ack" {
				t.Errorf("read while the database is away: %s %s, %v", f.Type, f.Code, err)
			}
			back.Close()
			break
		}
	}
	if err := c.CQL.Start(); err != nil {
		t.Fatal(err)
	}
	up := time.Now()
	persisted := func() float64 { return figure(t, persisters, "chatmesh_persister_persisted_total") }
	before := persisted()
	eventually(t, 3*raw.Patience, "a persister writes again", func() bool { return persisted() > before })
	at := time.Now()
	eventually(t, *outage+3*raw.Patience, "the lag is gone", func() bool { return waiting() < float64(*rate) })
	took := time.Since(at) + pollEvery // it may have begun as long before
	written := persisted() - before
	end()
	lived := float64(total.Load()) / time.Since(began).Seconds()
	t.Logf("%d acked, %.0f/s; the database was away for %v; it wrote again after %v, then %.0f in %v, %.0f/s: %.1f times the live rate; the longest ack took %v",
		total.Load(), lived, up.Sub(down).Round(time.Second), at.Sub(up).Round(time.Millisecond), written, took.Round(time.Millisecond),
		written/took.Seconds(), written/took.Seconds()/lived, longest.Round(time.Millisecond))
	if len(failed) > 0 {
		t.Errorf("%d sends failed, the first: %s; want none", len(failed), failed[0])
	}
	if longest > sendTimeout {
		t.Errorf("an ack took %v; want at most %v", longest, sendTimeout)
	}
	if written/took.Seconds() < *times*lived {
		t.Errorf("it wrote %.0f/s; want %.1f times the %.0f/s of the load", written/took.Seconds(), *times, lived)
	}
	eventually(t, 3*raw.Patience, "every process is ready", func() bool { return c.AwaitReady(time.Second) == nil })
	for i := range pairs {
		chat := senders[i*each].chat
		var last uint64
		for _, seq := range acked[chat] {
			last = max(last, seq)
		}
		awaitSeq(t, "the receiver", receivers[chat], chat, last)
		got := map[string]int{}
		for _, f := range receivers[chat].Events(chat) {
			got[f.ClientID]++
		}
		for id := range acked[chat] {
			if got[id] != 1 {
				t.Fatalf("chat %d: a message was delivered %d times; want once", i, got[id])
			}
		}
	}
	if err := c.Operator("verify", "--all"); err != nil {
		t.Errorf("verify: %v", err)
	}
	for _, b := range c.Brokers {
		if lines := b.Complaints(); len(lines) > 0 {
			t.Errorf("broker %s complained: %q", b.Name, slices.Compact(lines))
		}
	}
}

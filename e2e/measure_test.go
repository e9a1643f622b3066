//go:build measure

package e2e

import (
	"bufio"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chatmesh/chatmesh/e2e/program"
)

// pss is the memory of a process that is its own, in KiB: shared pages count in parts.
func pss(t *testing.T, pid int) int {
	t.Helper()
	f, err := os.Open(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if fields := strings.Fields(lines.Text()); len(fields) > 1 && fields[0] == "Pss:" {
			n, err := strconv.Atoi(fields[1])
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatal("smaps_rollup has no Pss")
	return 0
}

func percentile(sorted []time.Duration, p float64) time.Duration {
	return sorted[min(len(sorted)-1, int(p*float64(len(sorted))))].Round(10 * time.Microsecond)
}

func TestMeasureDeliveryLatency(t *testing.T) {
	srv := program.Start(t, program.Config{NoRace: true})
	const pairs, rate, length = 10, 100, 20 * time.Second
	all := newPeople(t, srv, "pair", 2*pairs)
	var mu sync.Mutex
	var acks, deliveries []time.Duration
	began := time.Now()
	inParallel(pairs, func(i int) {
		from, to := all[2*i], all[2*i+1]
		chat := from.direct(to)
		s, other := from.device(nil), to.device(nil)
		tick := time.NewTicker(time.Second * pairs / rate)
		defer tick.Stop()
		sentAt := map[string]time.Time{}
		var mine []time.Duration
		for end := time.Now().Add(length); time.Now().Before(end); <-tick.C {
			id := newClientID()
			sentAt[id] = time.Now()
			send(t, s, chat, id, text("measured"))
			mine = append(mine, time.Since(sentAt[id]))
		}
		awaitSeq(t, to.name, other, chat, uint64(len(sentAt))+1)
		frames, times := other.Arrivals()
		mu.Lock()
		defer mu.Unlock()
		acks = append(acks, mine...)
		for n, f := range frames {
			if at, ok := sentAt[f.ClientID]; ok && f.Type == "message" {
				deliveries = append(deliveries, times[n].Sub(at))
			}
		}
	})
	slices.Sort(acks)
	slices.Sort(deliveries)
	t.Logf("%d messages in %v, %d deliveries", len(acks), time.Since(began).Round(time.Millisecond), len(deliveries))
	t.Logf("send to ack:      p50 %v, p99 %v, max %v", percentile(acks, 0.5), percentile(acks, 0.99), percentile(acks, 1))
	t.Logf("send to delivery: p50 %v, p99 %v, max %v", percentile(deliveries, 0.5), percentile(deliveries, 0.99), percentile(deliveries, 1))
}

package e2e

import (
	"flag"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/chatmesh/chatmesh/e2e/cluster"
)

// rolling is a mesh of many processes that are all restarted, one after the other, as an update does.
type rolling struct{ *spreadMesh }

func (m *rolling) faults() []soakFault {
	return []soakFault{{"restart everything", func() error {
		for _, s := range append([]string{"persister", "fanout", "presence", "api"}, "edge") {
			for _, n := range m.c.Of(s) {
				if err := n.Terminate(); err != nil {
					return err
				}
				if err := n.Ready(cluster.Within); err != nil {
					return err
				}
				time.Sleep(time.Second) // it takes its share
			}
		}
		for _, b := range m.c.Brokers {
			if err := b.Update(); err != nil {
				return err
			}
			if err := m.c.AwaitReady(cluster.Within); err != nil {
				return err
			}
			time.Sleep(3 * time.Second) // its copies catch up
		}
		return nil
	}}}
}

// rollingStall is the most that a rolling restart may delay anything: on a machine that does much else what any fault may, in make
// rolling 5 s.
var rollingStall = flag.Duration("rolling-stall", 0, "the most that a rolling restart may delay anything; 0 is that of -stall")

// TestARollingRestartOfEverythingLosesDoublesAndDelaysNothing restarts each process of a mesh in turn while people chat.
func TestARollingRestartOfEverythingLosesDoublesAndDelaysNothing(t *testing.T) {
	seed := soakNumber(t, "CHATMESH_SOAK_SEED", uint64(time.Now().UnixNano()))
	t.Logf("CHATMESH_SOAK_SEED=%d", seed)
	r := rand.New(rand.NewPCG(seed, 5))
	m := &rolling{newSpread(t, r, true)}
	s := newSoak(t, m.p, seed)
	if *rollingStall > 0 {
		s.stall = *rollingStall
	}
	s.run(m, r, 1)
}

package e2e

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/chatmesh/chatmesh/e2e/cluster"
	"github.com/chatmesh/chatmesh/e2e/program"
)

// spreadMesh is every service as processes of its own, on three brokers and a database.
type spreadMesh struct {
	r *rand.Rand
	c *cluster.Cluster
	p *program.Program
}

func newSpread(t *testing.T, r *rand.Rand, noRace bool) *spreadMesh {
	t.Helper()
	c, err := cluster.New(cluster.Config{Dir: t.TempDir(), NoRace: noRace, Args: []string{"--access-token-ttl", "24h"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Stop() }) // does nothing where finish came first
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	return &spreadMesh{r: r, c: c, p: program.At(c.Fronts[0].URL, "")}
}

func (m *spreadMesh) faults() []soakFault {
	var out []soakFault
	for _, s := range cluster.Services {
		of := m.c.Of(s)
		n := of[m.r.IntN(len(of))]
		out = append(out,
			soakFault{"kill " + s, n.Kill},
			soakFault{"terminate " + s, n.Terminate},
			soakFault{"freeze " + s, func() error { return n.Freeze(frozen(m.r)) }})
	}
	b := m.c.Brokers[m.r.IntN(len(m.c.Brokers))]
	return append(out,
		soakFault{"kill a broker", b.Again},
		soakFault{"terminate a broker", b.Terminate},
		soakFault{"freeze a broker", func() error { return b.Freeze(frozen(m.r)) }},
		soakFault{"freeze the database", func() error { return m.c.CQL.Freeze(frozen(m.r)) }},
		soakFault{"kill the database", func() error {
			if err := m.c.CQL.Kill(); err != nil {
				return err
			}
			return m.c.CQL.Start()
		}})
}

func (m *spreadMesh) edges() (out []string) {
	for _, f := range m.c.Fronts {
		out = append(out, f.URL)
	}
	return out
}

func (m *spreadMesh) verify() error { return m.c.Operator("verify", "--all") }

func (m *spreadMesh) stores() (out []soakStore) {
	for _, b := range m.c.Brokers {
		out = append(out, soakStore{b.Store, b.WasAway()})
	}
	return out
}

func (m *spreadMesh) finish() (problems, errors []string) {
	problems = m.c.Stop()
	for _, b := range m.c.Brokers {
		if lines := b.Complaints(); len(lines) > 0 {
			problems = append(problems, fmt.Sprintf("broker %s complained %d times, first: %s", b.Name, len(lines), lines[0]))
		}
	}
	return problems, m.c.Errors()
}

package mesh_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chatmesh/chatmesh/pkg/client"
	"github.com/chatmesh/chatmesh/pkg/config"
	"github.com/chatmesh/chatmesh/pkg/meshtest"
	"github.com/chatmesh/chatmesh/pkg/meshtest/cqltest"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/services/mesh"
)

// Two of each that open the store, under their roles on three brokers with accounts: they bind the keyspace, believe each other's
// tokens, share the partitions, and take over from each other.
func TestAPIsAndPersistersOnADatabaseMissNoRight(t *testing.T) {
	p, o := meshtest.NewProductionCluster(t, nil), cqltest.Options(t)
	on := func(node string) *config.Settings {
		c := settings(t, p, node)
		c.Scylla, c.ScyllaKeyspace, c.ScyllaReplication = o.Hosts, o.Keyspace, 1
		return c
	}
	ops := lay(t, p, on("a1"))
	p1 := start(t, p, on("p1"), mesh.Persister)
	p2 := start(t, p, on("p2"), mesh.Persister)
	a1 := start(t, p, on("a1"), mesh.API)
	a2 := start(t, p, on("a2"), mesh.API)
	one, two := "http://"+a1.ready(), "http://"+a2.ready()
	p1.ready()
	p2.ready()

	account := client.Account{Username: "ann", Password: "correct horse"}
	ann, err := client.Register(t.Context(), one, account)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ann.Close)
	bob, err := client.Register(t.Context(), two, client.Account{Username: "bob", Password: "correct horse"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(bob.Close)
	direct, _, err := bob.Direct(t.Context(), ann.User().ID)
	if err != nil {
		t.Fatal(err)
	}
	stored := func(want uint64) {
		t.Helper()
		meshtest.Eventually(t, patience, fmt.Sprintf("%d events are in the database", want), func() bool {
			var a struct {
				Stored uint64
				Wrong  int
			}
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			err := ops.Call(ctx, subject.VerifyEndpoint, map[string]any{"chat": direct.ID}, &a)
			return err == nil && a.Stored == want && a.Wrong == 0
		})
	}
	seq := uint64(1)
	say := func(c *client.Client) {
		t.Helper()
		r, err := c.Post(t.Context(), client.Outgoing{Chat: direct.ID, Text: "hello"})
		if err != nil {
			t.Fatal(err)
		}
		seq = uint64(r.Seq)
	}
	for range 5 {
		say(ann)
		say(bob)
	}
	stored(seq)
	p1.stop()
	say(ann)
	stored(seq)
	p1 = start(t, p, on("p1"), mesh.Persister)
	p1.ready()
	p2.stop()
	say(bob)
	stored(seq)
	poison(t, p, direct.ID, ops, subject.Persister)
	for _, s := range []*process{p1, a2, a1} {
		s.stop()
	}
	if v := p.Violations(); len(v) > 0 {
		t.Errorf("a right is missing:\n%s", strings.Join(v, "\n"))
	}
}

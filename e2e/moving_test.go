package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/chatmesh/chatmesh/e2e/program"
	"github.com/chatmesh/chatmesh/e2e/raw"
)

// loads asks how many connections each edge has, by the address at which clients reach it.
func loads(t *testing.T, srv *program.Program) map[string]int64 {
	t.Helper()
	a, err := raw.Call(context.Background(), srv.Client, "", http.MethodGet, "/v1/edges", nil)
	if err != nil || a.Status != http.StatusOK {
		t.Fatalf("GET /v1/edges: %d %s, %v", a.Status, a.Body, err)
	}
	var all struct {
		Edges []struct {
			URL  string `json:"url"`
			Load int64  `json:"load"`
		} `json:"edges"`
	}
	if err := a.Into(&all); err != nil {
		t.Fatal(err)
	}
	out := map[string]int64{}
	for _, e := range all.Edges {
		out["http"+strings.TrimSuffix(strings.TrimPrefix(e.URL, "ws"), "/v1/ws")] = e.Load
	}
	return out
}

func TestPeopleAreMovedFromEdgeToEdgeUnderLoadAndNobodyNotices(t *testing.T) {
	broker := newBroker(t, rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 4)))
	if err := broker.start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.kill)
	main := program.Start(t, program.Config{Args: []string{"--nats-url", broker.url(), "--node", "one"}})
	edge := program.Config{Data: t.TempDir(), Args: []string{"--nats-url", broker.url(), "--node", "two", "edge"}}
	two := program.Start(t, edge)
	const people, devices, all = 10, 5, 50
	c := newCrowd(t, main, people, devices)
	have := func(what string, srv *program.Program, one, other int64) {
		t.Helper()
		eventually(t, raw.Patience, what, func() bool {
			got := loads(t, main)
			return got[main.Client] == one && (srv == nil || got[srv.Client] == other)
		})
	}
	have("everybody is on the edge whose address they were given", two, all, 0)
	drain := func(want string, args ...string) {
		t.Helper()
		began := time.Now()
		exit, out, errs, err := program.Run(3*raw.Patience, append([]string{"--nats-url", broker.url(), "drain"}, args...), nil)
		t.Logf("drain %s: %v, %s", strings.Join(args, " "), time.Since(began).Round(time.Millisecond), strings.TrimSpace(out))
		if exit != 0 || err != nil || !strings.Contains(out, want) {
			t.Fatalf("drain %v: exit code %d, %v, %s%s; want %q", args, exit, err, out, errs, want)
		}
	}
	c.begin()
	c.awaitSends(50)

	drain("one is empty", "one", "--over", "5s")
	have("everybody is on the other edge", two, 0, all)
	drain("one takes connections", "one", "--undo")
	c.awaitSends(25)

	exit, took, err := two.Terminate()
	t.Logf("SIGTERM of an edge with %d connections: exit code %d after %v", all, exit, took.Round(time.Millisecond))
	if exit != 0 || err != nil || took > program.StopsWithin {
		t.Errorf("SIGTERM: exit code %d after %v, %v; want 0 soon", exit, took, err)
	}
	have("everybody is back", nil, all, 0)
	c.awaitSends(25)

	two = program.Start(t, edge)
	eventually(t, raw.Patience, "the edge that came back is known", func() bool { _, ok := loads(t, main)[two.Client]; return ok })
	drain(fmt.Sprintf("one has its share, %d connections", all/2), "one", "--to-share", "--over", "5s")
	have("each edge has its share", two, all/2, all/2)
	c.awaitSends(25)
	c.end(raw.Patience / 2)
}

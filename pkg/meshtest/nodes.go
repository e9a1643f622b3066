package meshtest

import (
	"context"
	"sync"
	"testing"

	"github.com/chatmesh/chatmesh/pkg/bus"
)

// Run runs something until the returned function is called, or the test ends. It must not fail.
func Run(t testing.TB, run func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := run(ctx); err != nil {
			t.Errorf("run: %v", err)
		}
	}()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return stop
}

// Node is a worker of several that share the partitions.
type Node struct {
	Bus    *bus.Bus
	Shares *bus.Shares
	// Stop ends the worker in order; Bus.Close lets it die.
	Stop func()

	of         bus.Node
	partitions int
}

// NewNode connects a node of a service on a connection of its own. It takes part from Start on.
func NewNode(t testing.TB, broker *Broker, service, name string, partitions int) *Node {
	t.Helper()
	b := broker.Bus(t)
	return &Node{Bus: b, Shares: b.NewShares(service, name, partitions), of: bus.Node{Service: service, Node: name}, partitions: partitions}
}

// Start announces the node and runs its worker, until Stop is called or the test ends.
func (n *Node) Start(t testing.TB, worker func(context.Context) error) {
	t.Helper()
	n.Stop = Run(t, func(ctx context.Context) error {
		var wg sync.WaitGroup
		wg.Go(func() { n.Bus.Announce(ctx, n.of, nil) })
		err := worker(ctx)
		wg.Wait()
		return err
	})
}

// AwaitShares waits until the nodes have all partitions among them, each as many as any other or one less.
func AwaitShares(t testing.TB, what string, nodes ...*Node) {
	t.Helper()
	all := nodes[0].partitions
	Eventually(t, Patience, what, func() bool {
		sum := 0
		for _, n := range nodes {
			m := n.Shares.Mine()
			if m < all/len(nodes) || m > (all+len(nodes)-1)/len(nodes) {
				return false
			}
			sum += m
		}
		return sum == all
	})
}

package scylla_test

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/chatmesh/chatmesh/pkg/meshtest/cqltest"
	"github.com/chatmesh/chatmesh/pkg/meshtest/leaks"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/store/storetest"
)

func TestMain(m *testing.M) {
	code := cqltest.Main(m)
	if code == 0 {
		if err := leaks.Find(ofTheProxy()...); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// ofTheProxy are goroutines that toxiproxy leaves behind of connections that were cut while a toxic was changed.
func ofTheProxy() (o []goleak.Option) {
	for _, toxic := range []string{"Noop", "Latency", "Reset", "Timeout"} {
		o = append(o, goleak.IgnoreAnyFunction("github.com/Shopify/toxiproxy/v2/toxics.(*"+toxic+"Toxic).Pipe"))
	}
	return o
}

func TestStoreKeepsTheContract(t *testing.T) {
	o := cqltest.Options(t)
	storetest.Run(t, func(t *testing.T) store.Store { return cqltest.Open(t, o) })
	storetest.RunDurable(t, func(t *testing.T, _ string) store.Store { return cqltest.Open(t, o) })
}

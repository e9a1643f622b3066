package pebble

import (
	"log/slog"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/chatmesh/chatmesh/pkg/meshtest/leaks"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/store/storetest"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(victimDir); dir != "" {
		victim(dir) // a child process of the crash test; never returns
	}
	goleak.VerifyTestMain(leaks.Patient(m))
}

// openAt opens a store that the end of the test closes.
func openAt(t testing.TB, dir string, o Options) *Store {
	t.Helper()
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s, err := Open(dir, o)
	if err != nil {
		t.Fatalf("Open: got error %v; want none", err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: got error %v; want none", err)
		}
	})
	return s
}

func TestStoreKeepsTheContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store { return openAt(t, t.TempDir(), Options{}) })
	storetest.RunDurable(t, func(t *testing.T, dir string) store.Store { return openAt(t, dir, Options{}) })
}

func TestStoreWithoutSyncKeepsTheContract(t *testing.T) {
	storetest.RunDurable(t, func(t *testing.T, dir string) store.Store { return openAt(t, dir, Options{NoSync: true}) })
}

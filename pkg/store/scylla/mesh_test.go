package scylla_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/chatmesh/chatmesh/pkg/meshtest/cqltest"
	"github.com/chatmesh/chatmesh/pkg/store/scylla"
	schema "github.com/chatmesh/chatmesh/scylla"
)

func TestAKeyspaceBelongsToTheFirstMeshThatTakesIt(t *testing.T) {
	s := cqltest.Open(t, cqltest.Options(t))
	if id, err := s.MeshID(t.Context()); err != nil || id != "" {
		t.Fatalf("a new keyspace: got %q, %v; want no id", id, err)
	}
	got := make([]string, 8)
	var wg sync.WaitGroup
	for i := range got {
		wg.Go(func() {
			for got[i] == "" && t.Context().Err() == nil {
				got[i], _ = s.SetMeshID(t.Context(), fmt.Sprint("mesh-", i)) // one that fails may be tried again
			}
		})
	}
	wg.Wait()
	id, err := s.MeshID(t.Context())
	if err != nil || id == "" {
		t.Fatalf("got %q, %v; want an id", id, err)
	}
	for i, g := range got {
		if g != id {
			t.Errorf("caller %d got %q; want %q, as all", i, g, id)
		}
	}
	if _, err := s.SetMeshID(t.Context(), ""); err == nil {
		t.Error("no id: got no error; want it refused")
	}
}

func TestWhatIsPendingIsShownAndNothingIsDone(t *testing.T) {
	o := cqltest.Empty(t)
	all := schema.Names()
	for range 2 {
		if got, err := scylla.Pending(t.Context(), o); err != nil || fmt.Sprint(got) != fmt.Sprint(all) {
			t.Fatalf("nothing was run: got %v, %v; want %v", got, err, all)
		}
	}
	if err := scylla.Migrate(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if got, err := scylla.Pending(t.Context(), o); err != nil || len(got) != 0 {
		t.Errorf("all were run: got %v, %v; want none", got, err)
	}
	last := all[len(all)-1]
	if err := cqltest.Session(t, o.Hosts[0], o.Keyspace).ExecStmt("DELETE FROM gocqlx_migrate WHERE name = '" + last + "'"); err != nil {
		t.Fatal(err)
	}
	if got, err := scylla.Pending(t.Context(), o); err != nil || fmt.Sprint(got) != fmt.Sprint([]string{last}) {
		t.Errorf("all but the last were run: got %v, %v; want %s", got, err, last)
	}
}

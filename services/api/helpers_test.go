package api

import (
	"flag"
	"slices"
	"strconv"
	"testing"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/store"
)

func mustUser(t testing.TB, w *world, p *person) store.User {
	t.Helper()
	found, err := w.store.Store.Users(t.Context(), p.id)
	check(t, err)
	return found[0]
}

// keyOf is the session of an access token.
func (w *world) keyOf(t testing.TB, token string) string {
	t.Helper()
	id, err := w.api.verifier.Verify(token)
	check(t, err)
	return id.Session
}

func sameIDs(t testing.TB, got, want []chat.UserID) {
	t.Helper()
	got, want = slices.Clone(got), slices.Clone(want)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got %v; want %v", got, want)
	}
}

// checks sets how many checks rapid makes in this test, unless the command line says so.
func checks(t *testing.T, n int) {
	t.Helper()
	f := flag.Lookup("rapid.checks")
	if f.Value.String() != f.DefValue {
		return
	}
	check(t, f.Value.Set(strconv.Itoa(n)))
	t.Cleanup(func() { check(t, f.Value.Set(f.DefValue)) })
}

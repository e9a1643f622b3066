package edge

import (
	"crypto/ed25519"
	"testing"
	"time"

	"github.com/chatmesh/chatmesh/pkg/auth"
	"github.com/chatmesh/chatmesh/pkg/subject"
)

// An api that starts shows tokens of a new key at once: no edge may refuse them because the word of the key is on its way yet.
func TestATokenOfAKeyThatWasJustPublishedIsTaken(t *testing.T) {
	r := newRig(t)
	for range 50 {
		_, key, err := ed25519.GenerateKey(nil)
		if err != nil {
			t.Fatal(err)
		}
		s, err := auth.NewSigner(key, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		token, _, err := s.Sign("ann", "s1")
		if err != nil {
			t.Fatal(err)
		}
		if err := r.bus.PutFor(t.Context(), subject.Keys, s.KeyID(), auth.EncodePublicKey(s.PublicKey()), time.Hour); err != nil {
			t.Fatal(err)
		}
		if id, err := r.edge.verifier.Identify(t.Context(), token, r.edge.askKey); err != nil || id.User != "ann" {
			t.Fatalf("got %+v, %v; want ann", id, err)
		}
	}
}

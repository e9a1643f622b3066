package auth

import (
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

// rememberTokens is how many verified tokens are remembered, at some 250 bytes each. A client that calls over HTTP
// shows the same token each time, and a signature costs a hundred times what a look-up does.
const rememberTokens = 8192

// Verifier tells whom an access token speaks for, from the public keys that it was given. It is safe for concurrent
// use.
//
// It does not know which sessions have ended: that is the caller's to ask.
type Verifier struct {
	ring   atomic.Pointer[keyring]
	asking *asking
	now    func() time.Time
}

// keyring is a set of keys with what they verified, so that new keys start with an empty memory.
type keyring struct {
	parser *jwt.Parser
	keys   map[string]ed25519.PublicKey
	seen   memory
}

// NewVerifier returns a Verifier without keys.
func NewVerifier() *Verifier {
	v := &Verifier{now: time.Now, asking: newAsking()}
	v.ring.Store(v.newRing(nil))
	return v
}

func (v *Verifier) newRing(keys map[string]ed25519.PublicKey) *keyring {
	return &keyring{
		keys: keys,
		seen: memory{half: rememberTokens / 2},
		parser: jwt.NewParser(
			jwt.WithValidMethods([]string{jwt.SigningMethodEdDSA.Alg()}),
			jwt.WithAudience(audience),
			jwt.WithExpirationRequired(),
			jwt.WithStrictDecoding(),
			jwt.WithTimeFunc(func() time.Time { return v.now() }),
		),
	}
}

// SetKeys replaces the keys by those given, by their KeyID. Tokens of a key that is gone are refused from then on. A
// key that is none or has another's name is left out, and the error, of all such keys, says so; the others are in
// use.
func (v *Verifier) SetKeys(keys map[string]ed25519.PublicKey) error {
	own := maps.Clone(keys)
	var errs []error
	for kid, key := range keys {
		if len(key) != ed25519.PublicKeySize || KeyID(key) != kid {
			errs = append(errs, fmt.Errorf("auth: %q is not the name of a public key of %d bytes", kid, len(key)))
			delete(own, kid)
		}
	}
	v.ring.Store(v.newRing(own))
	return errors.Join(errs...)
}

// Verify returns whom token speaks for. It fails with Unauthorized, and as long as there are no keys, which is nobody's
// fault, with Unavailable and a RetryAfter.
func (v *Verifier) Verify(token string) (Identity, error) { return v.verify(v.ring.Load(), token) }

func (v *Verifier) verify(ring *keyring, token string) (Identity, error) {
	if len(ring.keys) == 0 {
		return Identity{}, chat.Retry(chat.Unavailable, time.Second, "no keys to check tokens with are known yet")
	}
	if len(token) > maxToken {
		return Identity{}, unauthorized("is not valid")
	}
	digest := sha256.Sum256([]byte(token))
	if id, ok := ring.seen.get(digest); ok {
		if !v.now().Before(id.Expires) {
			return Identity{}, unauthorized("has expired")
		}
		return id, nil
	}
	id, err := check(ring.parser, ring.keys, token)
	if err == nil {
		ring.seen.put(digest, id)
	}
	return id, err
}

// memory remembers the latest tokens that were verified, by digest, in two generations: when the young one is full it
// becomes the old one, and what was old and not asked for since is forgotten.
type memory struct {
	half int // most entries of a generation

	mu         sync.Mutex // guards the following
	young, old map[[sha256.Size]byte]Identity
}

func (m *memory) get(digest [sha256.Size]byte) (Identity, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	id, ok := m.young[digest]
	if !ok {
		if id, ok = m.old[digest]; ok {
			m.add(digest, id)
		}
	}
	return id, ok
}

func (m *memory) put(digest [sha256.Size]byte, id Identity) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.add(digest, id)
}

// add needs mu.
func (m *memory) add(digest [sha256.Size]byte, id Identity) {
	if len(m.young) >= m.half {
		m.old, m.young = m.young, nil
	}
	if m.young == nil {
		m.young = make(map[[sha256.Size]byte]Identity)
	}
	m.young[digest] = id
}

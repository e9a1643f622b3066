package auth

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"maps"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

// Bounds of asking for keys: anybody can show tokens of keys that nobody has.
const (
	// asksAtOnce is how many keys are asked for at the same time; further tokens get Unavailable.
	asksAtOnce = 8
	// missFor is how long a key that nobody has is not asked for again, and misses how many such keys are remembered.
	missFor = 5 * time.Second
	misses  = 1024
)

// askAfter are the pauses before each time that a key is asked for: the copy that answers may be a moment behind.
var askAfter = []time.Duration{0, 100 * time.Millisecond, 400 * time.Millisecond}

// Ask finds the public key of a name, for Identify. It returns nil and no error where nobody has it.
type Ask func(ctx context.Context, kid string) (ed25519.PublicKey, error)

// asking bounds the questions for keys.
type asking struct {
	slots chan struct{}

	mu     sync.Mutex // guards missed
	missed map[string]time.Time
}

func newAsking() *asking {
	return &asking{slots: make(chan struct{}, asksAtOnce), missed: map[string]time.Time{}}
}

// Identify is Verify, but a key that is not known is asked for before its token is refused: a node may show tokens before the word of
// its key has spread. It fails with Unavailable where nobody can be asked.
func (v *Verifier) Identify(ctx context.Context, token string, ask Ask) (Identity, error) {
	ring := v.ring.Load()
	id, err := v.verify(ring, token)
	kid := ""
	if err != nil && chat.Is(err, chat.Unauthorized) {
		kid = ring.unknownKey(token)
	}
	if kid == "" {
		return id, err
	}
	key, askErr := v.ask(ctx, kid, ask)
	switch {
	case askErr != nil:
		return Identity{}, chat.Retry(chat.Unavailable, time.Second, "tokens cannot be checked at the moment")
	case key == nil:
		return Identity{}, err
	}
	v.learn(kid, key)
	return check(ring.parser, map[string]ed25519.PublicKey{kid: key}, token)
}

// unknownKey returns the name of the key of a token if it is one of ours and the key is not known.
func (r *keyring) unknownKey(token string) string {
	if len(token) > maxToken {
		return ""
	}
	t, _, err := jwt.NewParser(jwt.WithStrictDecoding()).ParseUnverified(token, &claims{})
	if err != nil {
		return ""
	}
	kid, _ := t.Header["kid"].(string)
	raw, err := base64.RawURLEncoding.Strict().DecodeString(kid)
	if err != nil || len(raw) != 9 { // what KeyID makes: nothing else becomes part of a subject
		return ""
	}
	if _, known := r.keys[kid]; known {
		return ""
	}
	return kid
}

var errBusy = errors.New("auth: too many unknown keys are asked for")

func (v *Verifier) ask(ctx context.Context, kid string, ask Ask) (ed25519.PublicKey, error) {
	a := v.asking
	if a.isMissed(kid, v.now()) {
		return nil, nil
	}
	select {
	case a.slots <- struct{}{}:
		defer func() { <-a.slots }()
	default:
		return nil, errBusy
	}
	for _, pause := range askAfter {
		t := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			t.Stop()
			return nil, ctx.Err()
		case <-t.C:
		}
		key, err := ask(ctx, kid)
		if err != nil {
			return nil, err
		}
		if len(key) == ed25519.PublicKeySize && KeyID(key) == kid {
			return key, nil
		}
	}
	a.miss(kid, v.now())
	return nil, nil
}

func (a *asking) isMissed(kid string, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return now.Before(a.missed[kid])
}

func (a *asking) miss(kid string, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	maps.DeleteFunc(a.missed, func(_ string, until time.Time) bool { return !now.Before(until) })
	if len(a.missed) < misses {
		a.missed[kid] = now.Add(missFor)
	}
}

// learn adds a key to those that are known, until SetKeys.
func (v *Verifier) learn(kid string, key ed25519.PublicKey) {
	for {
		old := v.ring.Load()
		keys := maps.Clone(old.keys)
		if keys == nil {
			keys = map[string]ed25519.PublicKey{}
		}
		keys[kid] = key
		if v.ring.CompareAndSwap(old, v.newRing(keys)) {
			return
		}
	}
}

// EncodePublicKey is a public key as text, in standard base64; DecodePublicKey reads it.
func EncodePublicKey(key ed25519.PublicKey) []byte {
	return []byte(base64.StdEncoding.EncodeToString(key))
}

// DecodePublicKey reads the text of the public key whose name is kid. It is not ok for anything else.
func DecodePublicKey(kid string, text []byte) (key ed25519.PublicKey, ok bool) {
	key, err := base64.StdEncoding.DecodeString(string(text))
	if err != nil || len(key) != ed25519.PublicKeySize || KeyID(key) != kid {
		return nil, false
	}
	return key, true
}

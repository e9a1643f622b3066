package auth

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

// audience is whom access tokens are for.
const audience = "chatmesh"

// maxToken is the length in bytes above which no token is looked at. Ours have some 350.
const maxToken = 4 << 10

// Identity is who an access token speaks for.
type Identity struct {
	User    chat.UserID
	Session string
	// Expires is when the token stops being good; a connection that it opened may outlive it.
	Expires time.Time
}

// claims is what an access token says: sub, sid, iat, exp, aud.
type claims struct {
	Session string `json:"sid"`
	jwt.RegisteredClaims
}

// Signer makes access tokens. It is safe for concurrent use.
type Signer struct {
	key ed25519.PrivateKey
	kid string
	ttl time.Duration
	now func() time.Time
}

// NewSigner returns a Signer whose tokens are good for ttl, at least a second: tokens count in seconds. It fails when
// the key is none.
func NewSigner(key ed25519.PrivateKey, ttl time.Duration) (*Signer, error) {
	if len(key) != ed25519.PrivateKeySize {
		return nil, fmt.Errorf("auth: a private key has %d bytes, not %d", ed25519.PrivateKeySize, len(key))
	}
	if ttl < time.Second {
		return nil, fmt.Errorf("auth: an access token lives for a second at least, not %v", ttl)
	}
	s := &Signer{key: key, ttl: ttl, now: time.Now}
	s.kid = KeyID(s.PublicKey())
	return s, nil
}

// PublicKey is what a Verifier needs to believe the tokens of s, under the name KeyID.
func (s *Signer) PublicKey() ed25519.PublicKey { return s.key.Public().(ed25519.PublicKey) }

// KeyID is the kid in the tokens of s.
func (s *Signer) KeyID() string { return s.kid }

// TTL is how long a token of s is good.
func (s *Signer) TTL() time.Duration { return s.ttl }

// Sign returns an access token for a person's session, and when it expires. The ids must be valid ones.
func (s *Signer) Sign(user chat.UserID, session string) (token string, expires time.Time, err error) {
	now := s.now().Truncate(time.Second)
	expires = now.Add(s.ttl).Truncate(time.Second)
	t := jwt.NewWithClaims(jwt.SigningMethodEdDSA, claims{Session: session, RegisteredClaims: jwt.RegisteredClaims{
		Subject:   string(user),
		Audience:  jwt.ClaimStrings{audience},
		IssuedAt:  jwt.NewNumericDate(now),
		ExpiresAt: jwt.NewNumericDate(expires),
	}})
	t.Header["kid"] = s.kid
	if token, err = t.SignedString(s.key); err != nil {
		return "", time.Time{}, fmt.Errorf("auth: sign: %w", err)
	}
	return token, expires, nil
}

// errUnknownKey never leaves the package.
var errUnknownKey = errors.New("unknown key")

func unauthorized(why string) error {
	return chat.Errorf(chat.Unauthorized, "the access token %s", why)
}

// check verifies token with keys, all but its time left out, and returns who it speaks for.
func check(p *jwt.Parser, keys map[string]ed25519.PublicKey, token string) (Identity, error) {
	var c claims
	_, err := p.ParseWithClaims(token, &c, func(t *jwt.Token) (any, error) {
		kid, _ := t.Header["kid"].(string)
		key, ok := keys[kid]
		if _, critical := t.Header["crit"]; !ok || critical {
			return nil, errUnknownKey
		}
		return key, nil
	})
	switch {
	case errors.Is(err, jwt.ErrTokenExpired): // its signature was good
		return Identity{}, unauthorized("has expired")
	case err != nil:
		return Identity{}, unauthorized("is not valid")
	}
	user, err := chat.ParseUserID(c.Subject)
	if err != nil || !validSession(c.Session) {
		return Identity{}, unauthorized("is not valid")
	}
	return Identity{User: user, Session: c.Session, Expires: c.ExpiresAt.Time}, nil
}

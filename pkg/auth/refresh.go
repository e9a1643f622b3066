package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"strings"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

// refreshVersion is the first part of a refresh token, and secretLen the length of its secret in bytes.
const (
	refreshVersion = "r1"
	secretLen      = 32
)

// secrets is the encoding of what is random in tokens: characters of ids, and one way to write each value.
func secrets() *base64.Encoding { return base64.RawURLEncoding.Strict() }

// NewSessionID returns a name for a new session: 128 random bits as 22 of [A-Za-z0-9_-]. It can be an id, part of a
// token and a token of a NATS subject, and it is no secret.
func NewSessionID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	return secrets().EncodeToString(b[:])
}

// NewRefresh returns a new refresh token, r1.<user>.<session>.<256 random bits>, for the client, and its digest,
// which is all that is kept of it. The ids must be valid ones.
func NewRefresh(user chat.UserID, session string) (token string, digest [32]byte) {
	var b [secretLen]byte
	rand.Read(b[:]) // never fails
	token = refreshVersion + "." + string(user) + "." + session + "." + secrets().EncodeToString(b[:])
	return token, sha256.Sum256([]byte(token))
}

// ParseRefresh takes apart what claims to be a refresh token. Whether it is one, the digest in the store tells: it is
// taken over the whole token, so that a secret does not open another person's session. It fails with InvalidToken.
func ParseRefresh(token string) (user chat.UserID, session string, digest [32]byte, err error) {
	bad := func() (chat.UserID, string, [32]byte, error) {
		return "", "", [32]byte{}, chat.Errorf(chat.InvalidToken, "that is not a refresh token")
	}
	if len(token) > maxToken {
		return bad()
	}
	parts := strings.Split(token, ".")
	if len(parts) != 4 || parts[0] != refreshVersion || !validSession(parts[2]) {
		return bad()
	}
	user, err = chat.ParseUserID(parts[1])
	if err != nil {
		return bad()
	}
	secret, err := secrets().DecodeString(parts[3])
	if err != nil || len(secret) != secretLen || len(parts[3]) != secrets().EncodedLen(secretLen) {
		return bad()
	}
	return user, parts[2], sha256.Sum256([]byte(token)), nil
}

// validSession tells whether s has the form of a session id. It is that of every id.
func validSession(s string) bool {
	_, err := chat.ParseID(s)
	return err == nil
}

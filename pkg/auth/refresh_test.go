package auth

import (
	"crypto/sha256"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

func TestRefreshTokenComesBackAsItsParts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := rapid.StringMatching(`[A-Za-z0-9_-]{1,64}`)
		user, session := chat.UserID(id.Draw(t, "user")), id.Draw(t, "session")
		token, digest := NewRefresh(user, session)
		if !regexp.MustCompile(`\Ar1\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{43}\z`).MatchString(token) {
			t.Fatalf("got %q; want r1.<user>.<session>.<43 characters>", token)
		}
		u, s, d, err := ParseRefresh(token)
		if err != nil || u != user || s != session || d != digest || d != sha256.Sum256([]byte(token)) {
			t.Fatalf("got %q, %q, %x, %v; want %q, %q, %x", u, s, d, err, user, session, digest)
		}
	})
}

func TestRefreshTokensAndSessionsNeverRepeat(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		token, _ := NewRefresh("u", "s")
		session := NewSessionID()
		if _, err := chat.ParseID(session); err != nil || len(session) != 22 {
			t.Fatalf("got session %q; want an id of 22", session)
		}
		if seen[token] || seen[session] {
			t.Fatalf("got %q or %q again", token, session)
		}
		seen[token], seen[session] = true, true
	}
}

func TestDigestBindsTheSecretToItsSession(t *testing.T) {
	token, digest := NewRefresh("alice", "s1")
	_, _, other, err := ParseRefresh(strings.Replace(token, "alice", "mallory", 1))
	if err != nil || other == digest {
		t.Errorf("got digest %x, %v; want another than %x", other, err, digest)
	}
}

func TestWhatIsNoRefreshTokenIsInvalid(t *testing.T) {
	token, _ := NewRefresh("alice", "s1")
	for name, bad := range map[string]string{
		"empty":           "",
		"another version": "r2" + token[2:],
		"no user":         strings.Replace(token, "alice", "", 1),
		"hostile user":    strings.Replace(token, "alice", "*", 1),
		"long user":       strings.Replace(token, "alice", strings.Repeat("a", 65), 1),
		"no session":      strings.Replace(token, "s1", "", 1),
		"hostile session": strings.Replace(token, "s1", ">", 1),
		"cut":             token[:len(token)-1],
		"longer":          token + "A",
		"a line break":    token[:len(token)-1] + "\n",
		"and more":        token + "\n",
		"more parts":      token + ".x",
		"stray bits":      token[:len(token)-1] + "B",
		"padded":          token[:len(token)-1] + "=",
		"another base64":  token[:len(token)-2] + "+A",
		"huge":            token + strings.Repeat(".", 1<<20),
		"an access token": "eyJhbGciOiJFZERTQSJ9.e30.AAAA",
	} {
		user, session, digest, err := ParseRefresh(bad)
		if !chat.Is(err, chat.InvalidToken) || user != "" || session != "" || digest != [32]byte{} {
			t.Errorf("%s: got %q, %q, %x, %v; want nothing and invalid_token", name, user, session, digest, err)
		}
	}
}

func FuzzParseRefresh(f *testing.F) {
	token, _ := NewRefresh("alice", "s1")
	f.Add(token)
	f.Add("r1...")
	f.Fuzz(func(t *testing.T, s string) {
		user, session, digest, err := ParseRefresh(s)
		if err != nil {
			if !chat.Is(err, chat.InvalidToken) {
				t.Fatalf("got %v; want invalid_token", err)
			}
			return
		}
		prefix := "r1." + string(user) + "." + session + "."
		if !strings.HasPrefix(s, prefix) || len(s) != len(prefix)+43 || digest != sha256.Sum256([]byte(s)) {
			t.Fatalf("%q: got %q, %q", s, user, session)
		}
	})
}

package auth

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

// start is the moment at which the clocks of these tests stand.
func start() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }

func pair(t testing.TB) (*Signer, *Verifier) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewSigner(key, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	s.now = start
	v := NewVerifier()
	v.now = start
	if err := v.SetKeys(map[string]ed25519.PublicKey{s.KeyID(): s.PublicKey()}); err != nil {
		t.Fatal(err)
	}
	return s, v
}

func sign(t testing.TB, s *Signer, user chat.UserID, session string) string {
	t.Helper()
	token, _, err := s.Sign(user, session)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// forge signs any header and claims with key.
func forge(t testing.TB, key ed25519.PrivateKey, header, claims map[string]any) string {
	t.Helper()
	part := func(v map[string]any) string {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(b)
	}
	text := part(header) + "." + part(claims)
	return text + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(key, []byte(text)))
}

func TestVerifierReadsWhatTheSignerWrote(t *testing.T) {
	s, v := pair(t)
	token, expires, err := s.Sign("alice", "s1")
	if err != nil {
		t.Fatal(err)
	}
	want := Identity{User: "alice", Session: "s1", Expires: start().Add(time.Hour)}
	for range 2 { // from the signature, then from memory
		got, err := v.Verify(token)
		if err != nil || got.User != want.User || got.Session != want.Session || !got.Expires.Equal(want.Expires) {
			t.Errorf("got %+v, %v; want %+v", got, err, want)
		}
	}
	if !expires.Equal(want.Expires) {
		t.Errorf("got %v; want %v", expires, want.Expires)
	}

	header, body, _ := strings.Cut(token, ".")
	body, _, _ = strings.Cut(body, ".")
	head, _ := base64.RawURLEncoding.DecodeString(header)
	text, _ := base64.RawURLEncoding.DecodeString(body)
	if got, want := string(head), fmt.Sprintf(`{"alg":"EdDSA","kid":"%s","typ":"JWT"}`, s.KeyID()); got != want {
		t.Errorf("got header %s; want %s", got, want)
	}
	wantBody := fmt.Sprintf(`{"sid":"s1","sub":"alice","aud":["chatmesh"],"exp":%d,"iat":%d}`, start().Unix()+3600, start().Unix())
	if string(text) != wantBody {
		t.Errorf("got claims %s; want %s", text, wantBody)
	}
	if len(token) > 400 {
		t.Errorf("got a token of %d bytes; want it small", len(token))
	}
}

func TestExpiredTokenIsUnauthorizedAlsoFromMemory(t *testing.T) {
	s, v := pair(t)
	token := sign(t, s, "alice", "s1")
	fresh := NewVerifier()
	if err := fresh.SetKeys(map[string]ed25519.PublicKey{s.KeyID(): s.PublicKey()}); err != nil {
		t.Fatal(err)
	}
	for name, v := range map[string]*Verifier{"remembered": v, "never seen": fresh} {
		now := start().Add(time.Hour - time.Second)
		v.now = func() time.Time { return now }
		if name == "remembered" {
			if _, err := v.Verify(token); err != nil {
				t.Errorf("a second before: got %v; want it good", err)
			}
		}
		now = start().Add(time.Hour)
		if _, err := v.Verify(token); !chat.Is(err, chat.Unauthorized) || !strings.Contains(err.Error(), "expired") {
			t.Errorf("%s: got %v; want unauthorized, expired", name, err)
		}
	}
}

func TestForgedTokensAreUnauthorized(t *testing.T) {
	s, v := pair(t)
	_, strange, _ := ed25519.GenerateKey(rand.Reader)
	header := func(more ...string) map[string]any {
		h := map[string]any{"alg": "EdDSA", "typ": "JWT", "kid": s.KeyID()}
		for i := 0; i < len(more); i += 2 {
			h[more[i]] = more[i+1]
		}
		return h
	}
	body := func(change func(map[string]any)) map[string]any {
		c := map[string]any{"sub": "alice", "sid": "s1", "aud": "chatmesh", "iat": start().Unix(), "exp": start().Unix() + 60}
		if change != nil {
			change(c)
		}
		return c
	}
	set := func(k string, val any) map[string]any { return body(func(c map[string]any) { c[k] = val }) }
	without := func(k string) map[string]any { return body(func(c map[string]any) { delete(c, k) }) }
	if _, err := v.Verify(forge(t, s.key, header(), body(nil))); err != nil {
		t.Fatalf("the pattern of the forgeries: got %v; want it good", err)
	}

	good := sign(t, s, "alice", "s1")
	parts := strings.Split(good, ".")
	mac := func(key []byte) string {
		tok := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims(body(nil)))
		tok.Header["kid"] = s.KeyID()
		text, err := tok.SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	der, _ := x509.MarshalPKIXPublicKey(s.PublicKey())
	rsaKey, _ := rsa.GenerateKey(rand.Reader, 2048)
	rs := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims(body(nil)))
	rs.Header["kid"] = s.KeyID()
	rsToken, err := rs.SignedString(crypto.Signer(rsaKey))
	if err != nil {
		t.Fatal(err)
	}
	none := jwt.NewWithClaims(jwt.SigningMethodNone, jwt.MapClaims(body(nil)))
	none.Header["kid"] = s.KeyID()
	noneToken, _ := none.SignedString(jwt.UnsafeAllowNoneSignatureType)

	for name, token := range map[string]string{
		"empty":                         "",
		"dots":                          "..",
		"a word":                        "CANARY",
		"too long":                      good + strings.Repeat("A", maxToken),
		"alg none":                      noneToken,
		"alg None, signed":              forge(t, s.key, header("alg", "None"), body(nil)),
		"no alg":                        forge(t, s.key, map[string]any{"kid": s.KeyID()}, body(nil)),
		"HS256 with the public key":     mac(s.PublicKey()),
		"HS256 with the public key DER": mac(der),
		"HS256 with the kid":            mac([]byte(s.KeyID())),
		"RS256":                         rsToken,
		"another key under our kid":     forge(t, strange, header(), body(nil)),
		"another key under its kid":     forge(t, strange, header("kid", KeyID(strange.Public().(ed25519.PublicKey))), body(nil)),
		"no kid":                        forge(t, s.key, map[string]any{"alg": "EdDSA"}, body(nil)),
		"kid of another type":           forge(t, s.key, map[string]any{"alg": "EdDSA", "kid": 7}, body(nil)),
		"key in the header":             forge(t, strange, header("jwk", "x", "kid", ""), body(nil)),
		"critical extension":            forge(t, s.key, header("crit", "exp"), body(nil)),
		"other claims, our signature":   parts[0] + "." + strings.Split(sign(t, s, "bob", "s1"), ".")[1] + "." + parts[2],
		"no signature":                  parts[0] + "." + parts[1] + ".",
		"half a signature":              good[:len(good)-40],
		"stray bits in the signature":   good[:len(good)-1] + string("AQgw"[strings.IndexByte("AQgw", good[len(good)-1])]+1),
		"four parts":                    good + ".x",
		"a blank before":                " " + good,
		"a line break within":           parts[0] + "." + parts[1] + "\n." + parts[2],
		"no exp":                        forge(t, s.key, header(), without("exp")),
		"exp of another type":           forge(t, s.key, header(), set("exp", "tomorrow")),
		"not yet":                       forge(t, s.key, header(), set("nbf", start().Unix()+60)),
		"no aud":                        forge(t, s.key, header(), without("aud")),
		"another aud":                   forge(t, s.key, header(), set("aud", "mailmesh")),
		"no sub":                        forge(t, s.key, header(), without("sub")),
		"hostile sub":                   forge(t, s.key, header(), set("sub", "a.>")),
		"long sub":                      forge(t, s.key, header(), set("sub", strings.Repeat("a", 65))),
		"no sid":                        forge(t, s.key, header(), without("sid")),
		"hostile sid":                   forge(t, s.key, header(), set("sid", "*")),
		"claims are null":               forgeText(s.key, `{"alg":"EdDSA","kid":"`+s.KeyID()+`"}`, `null`),
		"claims are a list":             forgeText(s.key, `{"alg":"EdDSA","kid":"`+s.KeyID()+`"}`, `[]`),
		"header is null":                forgeText(s.key, `null`, `{}`),
		"deep":                          forgeText(s.key, strings.Repeat("[", 1200), `{}`),
	} {
		id, err := v.Verify(token)
		if !chat.Is(err, chat.Unauthorized) || id != (Identity{}) {
			t.Errorf("%s: got %+v, %v; want unauthorized", name, id, err)
		}
		if err != nil && (strings.Contains(err.Error(), "CANARY") || len(token) > 5 && strings.Contains(err.Error(), token[:5])) {
			t.Errorf("%s: got %v; want nothing of the token in it", name, err)
		}
	}
}

func forgeText(key ed25519.PrivateKey, header, claims string) string {
	text := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(claims))
	return text + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(key, []byte(text)))
}

func TestTokensOfAKeyThatIsGoneAreRefusedAtOnce(t *testing.T) {
	s1, v := pair(t)
	s2, _ := pair(t)
	old, next := sign(t, s1, "alice", "s1"), sign(t, s2, "alice", "s1")
	keys := map[string]ed25519.PublicKey{s1.KeyID(): s1.PublicKey(), s2.KeyID(): s2.PublicKey()}
	if err := v.SetKeys(keys); err != nil {
		t.Fatal(err)
	}
	for _, token := range []string{old, next, old, next} {
		if _, err := v.Verify(token); err != nil {
			t.Errorf("both keys: got %v; want it good", err)
		}
	}
	delete(keys, s1.KeyID())
	if _, err := v.Verify(old); err != nil {
		t.Errorf("before SetKeys: got %v; want the caller's map not to matter", err)
	}
	if err := v.SetKeys(keys); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Verify(old); !chat.Is(err, chat.Unauthorized) {
		t.Errorf("the old key's: got %v; want unauthorized", err)
	}
	if _, err := v.Verify(next); err != nil {
		t.Errorf("the new key's: got %v; want it good", err)
	}
}

func TestBadKeysAreLeftOutAndTheOthersUsed(t *testing.T) {
	s, v := pair(t)
	other, _ := pair(t)
	err := v.SetKeys(map[string]ed25519.PublicKey{
		s.KeyID(): s.PublicKey(), "wrongname": other.PublicKey(), "short": {1, 2, 3}, KeyID(nil): nil,
	})
	for _, name := range []string{"wrongname", "short", KeyID(nil)} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("got %v; want it to name %q", err, name)
		}
	}
	if _, err := v.Verify(sign(t, s, "alice", "s1")); err != nil {
		t.Errorf("got %v; want the good key in use", err)
	}
}

func TestVerifierWithoutKeysAsksToComeBack(t *testing.T) {
	s, _ := pair(t)
	_, err := NewVerifier().Verify(sign(t, s, "alice", "s1"))
	if e := chat.AsError(err); e.Code != chat.Unavailable || e.RetryAfter <= 0 {
		t.Errorf("got %v; want unavailable with a time to come back", err)
	}
}

func TestSignerRefusesWhatIsNoKeyOrNoTime(t *testing.T) {
	s, _ := pair(t)
	if _, err := NewSigner(s.key[:10], time.Hour); err == nil {
		t.Error("a short key: got a Signer; want an error")
	}
	if _, err := NewSigner(s.key, time.Millisecond); err == nil {
		t.Error("a millisecond: got a Signer; want an error")
	}
}

func TestMemoryOfTokensIsBounded(t *testing.T) {
	m := memory{half: 4}
	for i := range 1000 {
		m.put([32]byte{byte(i), byte(i >> 8)}, Identity{})
		if _, ok := m.get([32]byte{0, 0}); !ok {
			t.Fatalf("after %d: what is asked for all the time was forgotten", i)
		}
		if n := len(m.young) + len(m.old); n > 8 {
			t.Fatalf("got %d entries; want at most 8", n)
		}
	}
	if _, ok := m.get([32]byte{1, 0}); ok {
		t.Error("what was asked for once is still there")
	}
}

func TestKeysMayChangeWhileTokensAreVerified(t *testing.T) {
	s1, v := pair(t)
	s2, _ := pair(t)
	tokens := []string{sign(t, s1, "alice", "s1"), sign(t, s1, "bob", "s2")}
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for range 300 {
				if id, err := v.Verify(tokens[i%2]); err != nil || id.User != []chat.UserID{"alice", "bob"}[i%2] {
					t.Errorf("got %+v, %v", id, err)
				}
			}
		})
	}
	for range 100 {
		_ = v.SetKeys(map[string]ed25519.PublicKey{s1.KeyID(): s1.PublicKey(), s2.KeyID(): s2.PublicKey()})
		_ = v.SetKeys(map[string]ed25519.PublicKey{s1.KeyID(): s1.PublicKey()})
	}
	wg.Wait()
}

func FuzzVerifyToken(f *testing.F) {
	s, v := pair(f)
	good := sign(f, s, "alice", "s1")
	f.Add(good)
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Add(forgeText(s.key, `{"alg":"EdDSA","kid":"`+s.KeyID()+`"}`, `{"exp":1e400}`))
	f.Fuzz(func(t *testing.T, token string) {
		id, err := v.Verify(token)
		if err != nil && !chat.Is(err, chat.Unauthorized) {
			t.Fatalf("got %v; want unauthorized", err)
		}
		if err == nil && token != good {
			t.Fatalf("%q: got %+v; want nobody", token, id)
		}
	})
}

func FuzzClaims(f *testing.F) {
	s, v := pair(f)
	f.Add(`{"sub":"alice","sid":"s1","aud":"chatmesh","exp":99999999999}`)
	f.Add(`{"sub":"alice","sid":"s1","aud":["chatmesh",null],"exp":1e308}`)
	f.Fuzz(func(t *testing.T, claims string) {
		id, err := v.Verify(forgeText(s.key, `{"alg":"EdDSA","kid":"`+s.KeyID()+`"}`, claims))
		if err != nil && !chat.Is(err, chat.Unauthorized) {
			t.Fatalf("got %v; want unauthorized", err)
		}
		if _, bad := chat.ParseUserID(string(id.User)); err == nil && (bad != nil || !id.Expires.After(start())) {
			t.Fatalf("%q: got %+v; want a person and a time to come", claims, id)
		}
	})
}

func BenchmarkSign(b *testing.B) {
	s, _ := pair(b)
	b.ReportAllocs()
	for b.Loop() {
		sign(b, s, "0192d3a5-7b1c-7c4e-9f57-3a2b1c0d9e8f", "s1s2s3s4s5s6s7s8s9s0AB")
	}
}

func BenchmarkVerify(b *testing.B) {
	s, v := pair(b)
	token := sign(b, s, "0192d3a5-7b1c-7c4e-9f57-3a2b1c0d9e8f", "s1s2s3s4s5s6s7s8s9s0AB")
	b.Run("first time", func(b *testing.B) {
		b.ReportAllocs()
		ring := v.ring.Load()
		for b.Loop() {
			if _, err := check(ring.parser, ring.keys, token); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("remembered", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := v.Verify(token); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("remembered by all cores", func(b *testing.B) {
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := v.Verify(token); err != nil {
					b.Error(err)
				}
			}
		})
	})
}

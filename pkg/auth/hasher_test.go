package auth

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/argon2"
	"pgregory.net/rapid"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

func TestPasswordMatchesItsHashOnly(t *testing.T) {
	h := NewHasher(HasherConfig{})
	hash, err := h.Hash(t.Context(), "correct horse 🐎")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(hash, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("got %q; want the PHC format with our cost", hash)
	}
	for password, want := range map[string]bool{"correct horse 🐎": true, "correct horse": false, "": false} {
		if got, err := h.Verify(t.Context(), hash, password); err != nil || got != want {
			t.Errorf("%q: got %v, %v; want %v", password, got, err, want)
		}
	}
	other, err := h.Hash(t.Context(), "correct horse 🐎")
	if err != nil || other == hash {
		t.Errorf("got the same hash twice, or %v; want another salt", err)
	}
}

func TestHashOfTheReferenceImplementationIsRead(t *testing.T) {
	// From the test vectors of the argon2 command: password "password", salt "somesalt", t=2, m=256 KiB, p=1.
	const hash = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"
	if ok, err := NewHasher(HasherConfig{}).Verify(t.Context(), hash, "password"); !ok || err != nil {
		t.Errorf("got %v, %v; want true", ok, err)
	}
}

// call is what one computation was asked for.
type call struct {
	memory, passes uint32
	threads        uint8
	salt, key      int
}

// spy makes h note its computations instead of doing them.
func spy(h *Hasher) *[]call {
	var calls []call
	h.derive = func(_, salt []byte, passes, memory uint32, threads uint8, keyLen uint32) []byte {
		calls = append(calls, call{memory, passes, threads, len(salt), int(keyLen)})
		return bytes.Repeat([]byte{1}, int(keyLen))
	}
	return &calls
}

func TestUnknownNameCostsExactlyWhatAKnownOneDoes(t *testing.T) {
	h := NewHasher(HasherConfig{})
	calls := spy(h)
	hash, err := h.Hash(t.Context(), "password")
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := h.Verify(t.Context(), hash, "password"); !ok || err != nil {
		t.Fatalf("got %v, %v; want true", ok, err)
	}
	if ok, err := h.VerifyUnknown(t.Context(), "password"); ok || err != nil {
		t.Errorf("got %v, %v; want false", ok, err)
	}
	if len(*calls) != 3 || (*calls)[1] != (*calls)[2] {
		t.Errorf("got %+v; want one computation each for hash, known and unknown, the last two alike", *calls)
	}
	if got := h.Stats().Computed; got != 3 {
		t.Errorf("got %d computed; want 3", got)
	}
}

func TestUnknownNameIsNeverRight(t *testing.T) {
	h := NewHasher(HasherConfig{})
	h.derive = func(_, _ []byte, _, _ uint32, _ uint8, keyLen uint32) []byte { return make([]byte, keyLen) } // = the dummy
	if ok, err := h.VerifyUnknown(t.Context(), "password"); ok || err != nil {
		t.Errorf("got %v, %v; want false", ok, err)
	}
}

// gate makes h's computations wait, and returns what lets one end.
func gate(h *Hasher) chan<- struct{} {
	end := make(chan struct{})
	h.derive = func(_, _ []byte, _, _ uint32, _ uint8, keyLen uint32) []byte {
		<-end
		return make([]byte, keyLen)
	}
	return end
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); !ok(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not come about", what)
		}
	}
}

func TestOnlySoManyHashAtOnceAndSoManyWait(t *testing.T) {
	h := NewHasher(HasherConfig{Concurrent: 2, Waiting: 3})
	end := gate(h)
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() {
			if _, err := h.Hash(t.Context(), "password"); err != nil {
				t.Errorf("got %v; want a hash", err)
			}
		})
	}
	waitFor(t, "the full queue", func() bool { s := h.Stats(); return s.Running == 2 && s.Waiting == 3 && s.Computed == 2 })

	_, err := h.VerifyUnknown(t.Context(), "password")
	var e *chat.Error
	if !errors.As(err, &e) || e.Code != chat.Unavailable || e.RetryAfter < time.Second {
		t.Errorf("got %v; want unavailable with a time to come back", err)
	}
	if got := h.Stats(); got.Refused != 1 || got.Waiting != 3 {
		t.Errorf("got %+v; want one refused and three waiting", got)
	}
	close(end)
	wg.Wait()
	if got, want := h.Stats(), (HasherStats{Computed: 5, Refused: 1}); got != want {
		t.Errorf("got %+v; want %+v", got, want)
	}
}

func TestWhoGivesUpWaitingIsRefusedAndLeavesTheQueue(t *testing.T) {
	h := NewHasher(HasherConfig{Concurrent: 1, Waiting: 1})
	end := gate(h)
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = h.Hash(t.Context(), "password") })
	waitFor(t, "the computation", func() bool { return h.Stats().Computed == 1 })

	ctx, cancel := context.WithCancel(t.Context())
	wg.Go(func() {
		if _, err := h.Hash(ctx, "password"); !chat.Is(err, chat.Unavailable) {
			t.Errorf("got %v; want unavailable", err)
		}
	})
	waitFor(t, "the queue", func() bool { return h.Stats().Waiting == 1 })
	cancel()
	waitFor(t, "the empty queue", func() bool { return h.Stats().Waiting == 0 })
	close(end)
	wg.Wait()
	if _, err := h.Hash(ctx, "password"); !chat.Is(err, chat.Unavailable) {
		t.Errorf("with an ended context: got %v; want unavailable", err)
	}
	if got, want := h.Stats(), (HasherStats{Computed: 1, Refused: 2}); got != want {
		t.Errorf("got %+v; want %+v", got, want)
	}
}

func TestNegativeWaitingMeansNoQueue(t *testing.T) {
	h := NewHasher(HasherConfig{Concurrent: 1, Waiting: -1})
	end := gate(h)
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = h.Hash(t.Context(), "password") })
	waitFor(t, "the computation", func() bool { return h.Stats().Computed == 1 })
	if _, err := h.Hash(t.Context(), "password"); !chat.Is(err, chat.Unavailable) {
		t.Errorf("got %v; want unavailable", err)
	}
	close(end)
	wg.Wait()
}

func TestDamagedHashIsAnErrorThatSaysNothingOfIt(t *testing.T) {
	const good = "$argon2id$v=19$m=19456,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY"
	if _, err := parsePHC(good); err != nil {
		t.Fatalf("got %v; want it parsed", err)
	}
	swap := func(old, new string) string {
		s := strings.Replace(good, old, new, 1)
		if s == good {
			t.Fatalf("%q is not in it", old)
		}
		return s
	}
	h := NewHasher(HasherConfig{})
	calls := spy(h)
	for name, bad := range map[string]string{
		"empty":              "",
		"another function":   swap("argon2id", "argon2i"),
		"another version":    swap("v=19", "v=16"),
		"no version":         swap("$v=19", ""),
		"more memory":        swap("m=19456", "m=19457"),
		"all memory":         swap("m=19456", "m=4294967295"),
		"overflow":           swap("m=19456", "m=4294967296"),
		"too little memory":  swap("m=19456", "m=7"),
		"no passes":          swap("t=2", "t=0"),
		"passes for ever":    swap("t=2", "t=4294967295"),
		"no threads":         swap("p=1", "p=0"),
		"many threads":       swap("p=1", "p=257"),
		"negative":           swap("t=2", "t=-2"),
		"sign":               swap("t=2", "t=+2"),
		"leading zero":       swap("t=2", "t=02"),
		"order":              swap("t=2,p=1", "p=1,t=2"),
		"another parameter":  swap("p=1", "p=1,x=1"),
		"no salt":            swap("MDEyMzQ1Njc4OWFiY2RlZg", ""),
		"short salt":         swap("MDEyMzQ1Njc4OWFiY2RlZg", "MDEyMw"),
		"salt not base64":    swap("MDEyMzQ1Njc4OWFiY2RlZg", "MDEyMzQ1Njc4OWFiY2RlZ!"),
		"padded":             swap("RlZg$", "RlZg==$"),
		"line break":         swap("MDEyMzQ1", "MDEy\nMzQ1"),
		"stray bits":         swap("RlZg$", "RlZh$"),
		"cut":                good[:len(good)-30],
		"more":               good + "$x",
		"the plain password": "password1234",
	} {
		ok, err := h.Verify(t.Context(), bad, "password")
		if ok || err != errDamagedHash {
			t.Errorf("%s: got %v, %v; want %v", name, ok, err, errDamagedHash)
		}
	}
	if len(*calls) != 0 {
		t.Errorf("got %d computations; want none", len(*calls))
	}
}

func TestHashSurvivesItsTextForm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		threads := rapid.Uint8Range(1, 4).Draw(t, "threads")
		want := phc{
			threads: threads,
			passes:  rapid.Uint32Range(1, 10).Draw(t, "passes"),
			memory:  rapid.Uint32Range(8*uint32(threads), hashMemory).Draw(t, "memory"),
			salt:    rapid.SliceOfN(rapid.Byte(), 8, 64).Draw(t, "salt"),
			key:     rapid.SliceOfN(rapid.Byte(), 16, 64).Draw(t, "key"),
		}
		got, err := parsePHC(want.String())
		if err != nil || got.String() != want.String() || !bytes.Equal(got.key, want.key) || !bytes.Equal(got.salt, want.salt) {
			t.Fatalf("got %+v, %v; want %+v", got, err, want)
		}
	})
}

func FuzzParseHash(f *testing.F) {
	f.Add("$argon2id$v=19$m=19456,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY")
	f.Add("$argon2id$v=19$m=8,t=1,p=1$MDEyMzQ1Njc4OWFiY2RlZg$MDEyMzQ1Njc4OWFiY2RlZg")
	f.Add("$$$$$")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := parsePHC(s)
		if err != nil {
			if err != errDamagedHash {
				t.Fatalf("got %v; want %v", err, errDamagedHash)
			}
			return
		}
		if p.String() != s || p.memory > hashMemory || p.memory < 8*uint32(p.threads) || p.passes < 1 {
			t.Fatalf("got %+v; want exactly what was read, within bounds", p)
		}
		if p.memory <= 64 { // what was accepted can be computed
			argon2.IDKey([]byte("x"), p.salt, p.passes, p.memory, p.threads, uint32(len(p.key)))
		}
	})
}

func BenchmarkHash(b *testing.B) {
	h := NewHasher(HasherConfig{})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := h.Hash(b.Context(), "correct horse battery staple"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerifyUnknown(b *testing.B) {
	h := NewHasher(HasherConfig{})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := h.VerifyUnknown(b.Context(), "correct horse battery staple"); err != nil {
			b.Fatal(err)
		}
	}
}

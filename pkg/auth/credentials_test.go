package auth

import (
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

func TestUsernameIsWhatTheContractSays(t *testing.T) {
	rule := regexp.MustCompile(`\A[a-z0-9_]{3,32}\z`)
	check := func(t interface{ Fatalf(string, ...any) }, name string) {
		err := CheckUsername(name)
		if want := rule.MatchString(name); (err == nil) != want || err != nil && !chat.Is(err, chat.BadRequest) {
			t.Fatalf("%q: got %v; want ok %v", name, err, want)
		}
	}
	for _, name := range []string{"", "ab", "abc", "a_1", strings.Repeat("a", 32), strings.Repeat("a", 33), "Abc", "a b", "a-b",
		"äbc", "abc\n", "abc\x00", "ab.c", "..."} {
		check(t, name)
	}
	rapid.Check(t, func(t *rapid.T) {
		check(t, rapid.OneOf(rapid.StringMatching(`[a-z0-9_]{0,40}`), rapid.StringMatching(`[a-z0-9_A]{3,5}`), rapid.String()).Draw(t, "name"))
	})
}

func TestPasswordIsEightToTwoHundredFiftySixCodePoints(t *testing.T) {
	for name, c := range map[string]struct {
		password string
		ok       bool
	}{
		"empty":          {"", false},
		"seven":          {"1234567", false},
		"eight":          {"12345678", true},
		"seven wide":     {strings.Repeat("é", 7), false},
		"eight wide":     {strings.Repeat("🐎", 8), true},
		"256":            {strings.Repeat("a", 256), true},
		"256 wide":       {strings.Repeat("🐎", 256), true},
		"257":            {strings.Repeat("a", 257), false},
		"257 wide":       {strings.Repeat("é", 257), false},
		"a megabyte":     {strings.Repeat("a", 1<<20), false},
		"not UTF-8":      {"1234567\xff8", false},
		"blanks, NUL":    {"  \x00\n     ", true},
		"half a symbol":  {"12345678\xf0\x9f\x90", false},
		"a lone 0x80":    {"12345678\x80", false},
		"surrogate half": {"12345678\xed\xa0\x80", false},
	} {
		err := CheckPassword(c.password)
		if (err == nil) != c.ok || err != nil && !chat.Is(err, chat.BadRequest) {
			t.Errorf("%s: got %v; want ok %v", name, err, c.ok)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		password := string(rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "bytes"))
		n := utf8.RuneCountInString(password)
		if want := utf8.ValidString(password) && n >= 8 && n <= 256; (CheckPassword(password) == nil) != want {
			t.Fatalf("%q: want ok %v", password, want)
		}
	})
}

func TestRefusalsOfCredentialsDoNotRepeatThem(t *testing.T) {
	const canary = "CANARY 7!"
	for _, err := range []error{CheckUsername(canary), CheckPassword(canary[:7]), CheckPassword(strings.Repeat(canary, 100))} {
		if err == nil || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("got %v; want an error without what was given", err)
		}
	}
}

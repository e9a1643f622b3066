package chat_test

import (
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

var idForm = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// parsers are the three kinds of id, which share one rule.
var parsers = map[string]func(string) (string, error){
	"chat":      func(s string) (string, error) { id, err := chat.ParseID(s); return string(id), err },
	"user":      func(s string) (string, error) { id, err := chat.ParseUserID(s); return string(id), err },
	"client_id": func(s string) (string, error) { id, err := chat.ParseClientID(s); return string(id), err },
}

// oneToken tells whether s is one literal token of a NATS subject.
func oneToken(s string) bool {
	return s != "" && !strings.ContainsAny(s, ".*> \t\r\n\x00")
}

func checkID(t interface{ Fatalf(string, ...any) }, s string) {
	want := idForm.MatchString(s)
	for kind, parse := range parsers {
		got, err := parse(s)
		switch {
		case want && (err != nil || got != s):
			t.Fatalf("%s %q: got %q, %v; want it as it is", kind, s, got, err)
		case !want && (got != "" || !chat.Is(err, chat.BadRequest)):
			t.Fatalf("%s %q: got %q, %v; want %s", kind, s, got, err, chat.BadRequest)
		case !want && len(s) > 8 && strings.Contains(err.Error(), s):
			t.Fatalf("%s %q: the refusal %q repeats what the client sent", kind, s, err)
		case want && !oneToken(got):
			t.Fatalf("%s %q is not one token of a subject", kind, s)
		}
	}
}

func TestIDsAreExactlyWhatTheContractSays(t *testing.T) {
	for _, s := range []string{
		"", "a", "-", "_", "0", "A-Z_a-z_0-9", ".", "*", ">", " ", "a.b", "a*", "a>", "a b", "a\n", "\na", "a\x00",
		"a$", "a/b", "ä", "aé", "\xff", "a\u00ad", "\u212a", "ｉｄ",
		strings.Repeat("x", 64), strings.Repeat("x", 65), strings.Repeat("x", 5000), strings.Repeat("é", 32),
	} {
		checkID(t, s)
	}
	for c := range 256 { // every byte, alone, first, last and within
		s := string([]byte{byte(c)})
		for _, s := range []string{s, s + "a", "a" + s, "a" + s + "a"} {
			checkID(t, s)
		}
	}
}

func TestAnyTextIsAnIDOrRefused(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.OneOf(
			rapid.StringMatching(`[A-Za-z0-9_-]{1,70}`),
			rapid.StringMatching(`[A-Za-z0-9_-]{0,40}[ -~][A-Za-z0-9_-]{0,40}`),
			rapid.StringN(-1, -1, 200),
			rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 80), func(b []byte) string { return string(b) }),
		).Draw(t, "id")
		checkID(t, s)
	})
}

func TestRolesAreParsed(t *testing.T) {
	for s, want := range map[string]chat.Role{"owner": chat.Owner, "admin": chat.Admin, "member": chat.Plain, "": chat.NoRole} {
		if got, err := chat.ParseRole(s); err != nil || got != want {
			t.Errorf("%q: got %q, %v; want %q", s, got, err, want)
		}
	}
	for _, s := range []string{"Owner", "root", " admin", "member\x00", "plain"} {
		if got, err := chat.ParseRole(s); got != "" || !chat.Is(err, chat.BadRequest) {
			t.Errorf("%q: got %q, %v; want %s", s, got, err, chat.BadRequest)
		}
	}
}

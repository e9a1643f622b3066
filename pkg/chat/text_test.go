package chat_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

func TestTextIsCountedInCodePoints(t *testing.T) {
	long := func(r string, n int) string { return strings.Repeat(r, n) }
	for _, c := range []struct {
		name, text string
		want       chat.Code
	}{
		{"nothing", "", chat.BadRequest},
		{"one letter", "a", ""},
		{"a space", " ", ""},
		{"NUL", "\x00", ""},
		{"the longest of one byte each", long("a", 99_999), ""},
		{"one more", long("a", 100_000), chat.TooLong},
		{"the longest of two bytes each", long("é", 99_999), ""},
		{"one more of two bytes", long("é", 100_000), chat.TooLong},
		{"the longest of three bytes each", long("€", 99_999), ""},
		{"one more of three bytes", long("€", 100_000), chat.TooLong},
		{"the longest of four bytes each", long("😀", 99_999), ""},
		{"one more of four bytes", long("😀", 100_000), chat.TooLong},
		{"few code points in many bytes", long("😀", 25_000), ""},
		{"a base with its accent is two", long("e\u0301", 50_000), chat.TooLong},
		{"a family is seven", long("👨‍👩‍👧‍👦", 14_285), ""}, // 99,995
		{"one family more", long("👨‍👩‍👧‍👦", 14_286), chat.TooLong},
		{"the replacement character", "\ufffd", ""},
		{"a noncharacter", "\uffff", ""},
		{"a lone byte", "\xff", chat.BadRequest},
		{"a surrogate", "\xed\xa0\x80", chat.BadRequest},
		{"an overlong slash", "\xc0\xaf", chat.BadRequest},
		{"beyond Unicode", "\xf4\x90\x80\x80", chat.BadRequest},
		{"cut within a character", long("a", 100) + "\xf0\x9f\x98", chat.BadRequest},
		{"too long and not UTF-8", long("a", 100_000) + "\xff", chat.BadRequest},
	} {
		t.Run(c.name, func(t *testing.T) { checkCode(t, chat.CheckText(c.text), c.want) })
	}
}

func TestTitleIsCountedInCodePoints(t *testing.T) {
	for _, c := range []struct {
		name, title string
		want        chat.Code
	}{
		{"nothing", "", chat.BadRequest},
		{"one letter", "a", ""},
		{"the longest", strings.Repeat("😀", 200), ""},
		{"one more", strings.Repeat("😀", 201), chat.TooLong},
		{"one more of one byte", strings.Repeat("a", 201), chat.TooLong},
		{"not UTF-8", "a\xc3", chat.BadRequest},
	} {
		t.Run(c.name, func(t *testing.T) { checkCode(t, chat.CheckTitle(c.title), c.want) })
	}
}

func checkCode(t *testing.T, err error, want chat.Code) {
	t.Helper()
	if want == "" && err != nil || want != "" && !chat.Is(err, want) {
		t.Fatalf("got %v; want %q", err, want)
	}
}

func TestAnyTextIsTakenOrRefusedWithoutBeingRepeated(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(
			rapid.String(),
			rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }),
		).Draw(t, "text")
		err := chat.CheckText(text)
		if want := text != "" && utf8.ValidString(text); (err == nil) != want {
			t.Fatalf("got %v for %q", err, text)
		}
		if err != nil && len(text) > 8 && strings.Contains(err.Error(), text) {
			t.Fatalf("the refusal %q repeats the text", err)
		}
	})
}

package wire

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

// checkFast compares a fast way with the full decode, where it reads a body at all.
func checkFast[T any](t interface {
	Helper()
	Fatalf(string, ...any)
}, body []byte, fast func([]byte) (T, bool), full func([]byte) (T, error)) {
	t.Helper()
	got, ok := fast(body)
	if !ok {
		return
	}
	want, err := full(body)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("%q: got %+v; want %+v, %v", body, got, want, err)
	}
}

func benchMessage(text string) []byte {
	at := chat.Now()
	return Encode(chat.Event{Type: chat.Message, Chat: "g06f0h7rne5v3f9bkq2m1p8d4sc", Seq: 42, N: 37, Sender: "06f0h7rne5v3f9bkq2m1p8d4sc",
		ClientID: "0197d3c8-2222-7000-8000-000000000042", Text: text, SentAt: &at})
}

func TestAPlainMessageIsReadTheFastWayAndAsItsJSON(t *testing.T) {
	for _, text := range []string{"hello", "a \"b\" \\ c\n<&>\u2028", "über 😀", "\x00\x7f", strings.Repeat("x", 1000), "\ufffd"} {
		body := benchMessage(text)
		if e, ok := decodeMessage(body); !ok || e.Text != text {
			t.Errorf("%q: got %+v, %v; want it read the fast way", text, e, ok)
		}
		checkFast(t, body, decodeMessage, decodeAny)
	}
}

func TestWhatTheFastWayReadsIsWhatAFullDecodeReads(t *testing.T) {
	base := benchMessage(`plain, "quoted" and é`)
	rapid.Check(t, func(t *rapid.T) {
		body := append([]byte(nil), base...)
		for range rapid.IntRange(1, 3).Draw(t, "changes") {
			at := rapid.IntRange(0, len(body)-1).Draw(t, "at")
			b := rapid.OneOf(rapid.Byte(), rapid.SampledFrom([]byte("\"\\{}:,0u9\n \xff"))).Draw(t, "byte")
			switch rapid.IntRange(0, 2).Draw(t, "how") {
			case 0:
				body[at] = b
			case 1:
				body = append(body[:at], append([]byte{b}, body[at:]...)...)
			case 2:
				body = append(body[:at], body[at+1:]...)
			}
		}
		checkFast(t, body, decodeMessage, decodeAny)
	})
}

func FuzzMessage(f *testing.F) {
	for _, dir := range []string{"testdata", "../chat/testdata"} {
		files, err := filepath.Glob(filepath.Join(dir, "*.json"))
		if err != nil {
			f.Fatal(err)
		}
		for _, name := range files {
			b, err := os.ReadFile(name)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		checkFast(t, body, decodeMessage, decodeAny)
		for _, around := range [][2]string{
			{`{"type":"message","chat":"c1","seq":12,"n":1,"sender":"a","client_id":"b","text":"`, `","sent_at":"2026-11-23T18:12:55.123000Z"}`},
			{`{"type":"message","chat":"c1","seq":12,"n":1,"sender":"a","client_id":"b","text":"t","sent_at":"`, `"}`},
			{`{"type":"message","chat":"c1","seq":12,"n":1,"sender":"`, `","client_id":"b","text":"t","sent_at":"2026-11-23T18:12:55.123000Z"}`},
			{`{"type":"message","chat":"c1","seq":`, `,"n":1,"sender":"a","client_id":"b","text":"t","sent_at":"2026-11-23T18:12:55.123000Z"}`},
		} {
			checkFast(t, []byte(around[0]+string(body)+around[1]), decodeMessage, decodeAny)
		}
	})
}

func TestReadingAMessageAllocatesItsStringsOnly(t *testing.T) {
	body := benchMessage(strings.Repeat("words ", 16))
	if n := testing.AllocsPerRun(100, func() {
		if _, err := DecodeEvent(body); err != nil {
			t.Fatal(err)
		}
	}); n > 8 {
		t.Errorf("got %v allocations; want at most 8", n)
	}
}

func BenchmarkDecodeEvent(b *testing.B) {
	body := benchMessage(strings.Repeat("words ", 16))
	for name, decode := range map[string]func([]byte) (chat.Event, error){"message": DecodeEvent, "full": decodeAny} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := decode(body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

package wire

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

// checkRequest holds the quick reader of a request against a full decode.
func checkRequest(t interface{ Fatalf(string, ...any) }, data []byte) {
	got, ok := parseSend(data)
	if !ok {
		return
	}
	var want Request
	if err := json.Unmarshal(data, &want); err != nil {
		t.Fatalf("%q: got %+v; a full decode fails: %v", data, got, err)
	}
	if string(cleanID(want.ID)) != string(got.ID) || !reflect.DeepEqual(got, want) {
		t.Fatalf("%q: got %+v; want %+v", data, got, want)
	}
}

const sendFrame = `{"type":"send","id":17,"chat":"d1","client_id":"m-1","text":"hello, you"}`

var messageBody = []byte(`{"type":"message","chat":"d1","seq":17,"n":16,"sender":"u1","client_id":"m-1","text":"hello, you","sent_at":"2026-11-26T20:00:00.123456Z"}`)

func FuzzRequestsAreReadAsAFullDecodeReadsThem(f *testing.F) {
	for _, s := range []string{sendFrame, ` { "text" : "a\nb" , "type" : "send" } `, `{"type":"send","id":"x","text":"\ud83d\ude00","chat":"c"}`,
		`{"type":"send","type":"send"}`, `{"type":"send","id":01}`, `{"type":"send","id":1.5}`, `{"type":"send","id":1e3}`, `{"Type":"send"}`,
		`{"type":"send","id":null}`, `{"type":"send","text":"` + "\xff" + `"}`, `{"type":"send"}x`, `{"type":"send",}`, `{}`, `{"type":"send","chat":5}`,
		`{"type":"send","text":"a` + "\n" + `"}`, `{"type":"send","id":"` + strings.Repeat("i", 130) + `"}`, `{"type":"send","id":12-3}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) { checkRequest(t, data) })
}

func FuzzTextsAreWrittenAsEncodeWritesThem(f *testing.F) {
	for _, s := range []string{"", "hello", "\"\\/\b\f\n\r\t\x00\x1f\x7f", "<&>", "\u2028\u2029\u2027", "ä😀", "\xff\xc3", "a\xe2\x80", "\ufffd"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got, want := appendString(nil, s), Encode(s); !bytes.Equal(got, want) {
			t.Fatalf("%q: got %s; want %s", s, got, want)
		}
	})
}

func TestWhatIsReadAndWrittenQuicklyIsWhatAFullCodecGives(t *testing.T) {
	text := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"\"", "\\", "a\nb", "\u2028", "😀", "<b>&", `","seq":1`}))
	id := rapid.StringMatching(`[A-Za-z0-9_-]{1,64}`)
	rapid.Check(t, func(t *rapid.T) {
		at := chat.Now()
		e := chat.Event{Type: chat.Message, Chat: chat.ID(id.Draw(t, "chat")), Seq: chat.Seq(rapid.Uint64().Draw(t, "seq")), N: rapid.Uint64().Draw(t, "n"),
			Sender: chat.UserID(id.Draw(t, "sender")), ClientID: chat.ClientID(id.Draw(t, "client")), Text: text.Draw(t, "text"), SentAt: &at}
		switch rapid.IntRange(0, 4).Draw(t, "more") {
		case 0:
			e.ReplyTo = 3
		case 1:
			e.Mentions = []chat.UserID{"u7"}
		}
		body := EncodeEvent(&e)
		if want := Encode(&e); !bytes.Equal(body, want) {
			t.Fatalf("got %s; want %s", body, want)
		}
		a := Ack{Type: TypeAck, ID: RequestID(rapid.SampledFrom([]string{"", "1", `"x"`, `"ä<>"`}).Draw(t, "id")), Chat: e.Chat, ClientID: e.ClientID, Seq: e.Seq,
			SentAt: &at, Duplicate: rapid.Bool().Draw(t, "duplicate")}
		if rapid.Bool().Draw(t, "bare") {
			a = Ack{Type: TypeAck, ID: a.ID}
		}
		if got, want := a.Append(nil), Encode(a); !bytes.Equal(got, want) {
			t.Fatalf("got %s; want %s", got, want)
		}
		frame := Encode(map[string]any{"type": "send", "id": rapid.IntMin(0).Draw(t, "number"), "chat": e.Chat, "client_id": e.ClientID, "text": e.Text})
		checkRequest(t, frame)
		if _, ok := parseSend(frame); !ok {
			t.Fatalf("%s is not read quickly", frame)
		}
	})
}

func TestTheUsualFramesAreReadAndWrittenWithFewAllocations(t *testing.T) {
	at := chat.Now()
	e := chat.Event{Type: chat.Message, Chat: "d1", Seq: 17, N: 16, Sender: "u1", ClientID: "m-1", Text: "hello, you", SentAt: &at}
	ack := Ack{Type: TypeAck, ID: RequestID("17"), Chat: "d1", ClientID: "m-1", Seq: 17, SentAt: &at}
	frame := []byte(sendFrame)
	buf := make([]byte, 0, 512)
	for _, c := range []struct {
		what string
		most float64
		do   func()
	}{
		{"a frame that sends: id, chat, client id and text", 4, func() { _, _ = ParseRequest(frame) }},
		{"an ack", 0, func() { buf = ack.Append(buf[:0]) }},
		{"a message", 1, func() { _ = EncodeEvent(&e) }},
		{"the head of a message: its chat", 1, func() { _, _ = Peek(messageBody) }},
		{"a message that is read: chat, sender, client id, text and time", 6, func() { _, _ = DecodeEvent(messageBody) }},
	} {
		if got := testing.AllocsPerRun(200, c.do); got > c.most {
			t.Errorf("%s: got %v allocations; want at most %v", c.what, got, c.most)
		}
	}
}

func BenchmarkParseSend(b *testing.B) {
	frame := []byte(sendFrame)
	b.ReportAllocs()
	for b.Loop() {
		_, _ = ParseRequest(frame)
	}
}

func BenchmarkEncodeMessage(b *testing.B) {
	at := chat.Now()
	e := chat.Event{Type: chat.Message, Chat: "d1", Seq: 17, N: 16, Sender: "u1", ClientID: "m-1", Text: "hello, you", SentAt: &at}
	for name, f := range map[string]func() []byte{"quick": func() []byte { return EncodeEvent(&e) }, "full": func() []byte { return Encode(&e) }} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_ = f()
			}
		})
	}
}

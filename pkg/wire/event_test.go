package wire_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

func TestEveryEventComesBackAsItWas(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := drawEvent(t)
		body := wire.Encode(want)
		got, err := wire.DecodeEvent(body)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%s: got %+v, %v; want %+v", body, got, err, want)
		}
		if again := wire.Encode(got); !bytes.Equal(again, body) {
			t.Fatalf("got %s; want %s", again, body)
		}
	})
}

func TestTextIsNotEscapedForHTMLAndComesBackCodePointForCodePoint(t *testing.T) {
	at := chat.Now()
	text := "<a href=\"x\">&amp;</a>\u2028\u2029\x00\x7f\ufeff\ufffd😀"
	body := wire.Encode(chat.Event{Type: chat.Message, Chat: "c", Seq: 1, N: 1, Sender: "ann", ClientID: "x", Text: text, SentAt: &at})
	if !bytes.Contains(body, []byte(`<a href=\"x\">&amp;</a>`)) || bytes.HasSuffix(body, []byte("\n")) {
		t.Fatalf("got %s; want < > & as they are and no newline", body)
	}
	if got, err := wire.DecodeEvent(body); err != nil || got.Text != text {
		t.Fatalf("got %q, %v; want %q", got.Text, err, text)
	}
	// The longest text stays under the megabyte that the broker takes, whatever it is made of.
	for _, r := range []string{"<", "😀", "\x00", "\u2028", "\"", "\\"} {
		long := strings.Repeat(r, chat.MaxText)
		if n := len(wire.Encode(chat.Event{Type: chat.Message, Text: long})); n > 700_000 {
			t.Errorf("%d of %q are %d bytes; want at most 700,000", chat.MaxText, r, n)
		}
	}
}

func TestEncodePanicsOnWhatIsNotOurs(t *testing.T) {
	defer func() {
		if r := recover(); r == nil || !strings.Contains(r.(string), "wire: encode") {
			t.Fatalf("got %v; want a panic that says what it was", r)
		}
	}()
	wire.Encode(map[string]any{"f": func() {}})
}

const sentAt = `"sent_at":"2026-11-23T18:12:55.000000Z"`

func TestBodyThatIsNoEventIsRefused(t *testing.T) {
	for _, in := range []string{
		``, `null`, `[]`, `{}`, `"x"`, `{"type":"message"`,
		`{"type":"message","chat":"c1","seq":1,"n":1,"client_id":"x","text":"a",` + sentAt + `}`,
		`{"type":"message","chat":"c1","seq":1,"n":1,"sender":"ann","text":"a",` + sentAt + `}`,
		`{"type":"message","chat":"c1","seq":1,"n":1,"sender":"ann","client_id":"x","text":"a"}`,
		`{"type":"message","chat":"c1","seq":1,"n":1,"sender":"ann","client_id":"x","text":"a","sent_at":"yesterday"}`,
		`{"type":"message","chat":"c1","seq":0,"n":1,"sender":"ann","client_id":"x","text":"a",` + sentAt + `}`,
		`{"type":"message","chat":"c1","seq":-1,"n":1,"sender":"ann","client_id":"x","text":"a",` + sentAt + `}`,
		`{"type":"message","chat":"c.1","seq":1,"n":1,"sender":"ann","client_id":"x","text":"a",` + sentAt + `}`,
		`{"type":"message","chat":"*","seq":1,"n":1,"sender":"ann","client_id":"x","text":"a",` + sentAt + `}`,
		`{"type":"message","seq":1,"n":1,"sender":"ann","client_id":"x","text":"a",` + sentAt + `}`,
		`{"type":"poll","chat":"c1","seq":1,"n":1,"sender":"ann","client_id":"x","text":"a",` + sentAt + `}`,
		`{"chat":"c1","seq":1,"n":1,"sender":"ann","client_id":"x","text":"a",` + sentAt + `}`,
		`{"type":"chat","chat":"c1","seq":1,"n":0,"change":"title","by":"ann","title":"t"}`,
		`{"type":"chat","chat":"c1","seq":1,"n":0,"by":"ann","title":"t","at":"2026-11-23T18:12:55.000000Z"}`,
		`{"type":"chat","chat":"c1","seq":1,"n":0,"change":"title","at":null}`,
		`{"type":"message","chat":"c1","seq":1,"n":1,"sender":"a.b","client_id":"x","text":"a",` + sentAt + `}`,
		`{"type":"chat","chat":"c1","seq":1,"n":0,"change":"member_added","user":"*","by":"ann","at":"2026-11-23T18:12:55.000000Z"}`,
		`{"type":"chat","chat":"c1","seq":1,"n":0,"change":"member_added","user":"bob","by":">","at":"2026-11-23T18:12:55.000000Z"}`,
		`{"type":"chat","chat":"c1","seq":1,"n":0,"change":"created","by":"ann","members":[{"user_id":"a b"}],"at":"2026-11-23T18:12:55.000000Z"}`,
		`{"type":"chat","chat":"c1","seq":1,"n":0,"change":"created","by":"ann","members":[{"role":"owner"}],"at":"2026-11-23T18:12:55.000000Z"}`,
	} {
		if got, err := wire.DecodeEvent([]byte(in)); err == nil {
			t.Errorf("%s: got %+v; want an error", in, got)
		}
	}
}

func TestErrorOfABodyDoesNotRepeatItsText(t *testing.T) {
	const canary = "canary-7c1e"
	for _, in := range []string{
		`{"type":"message","chat":"` + canary + `.","seq":1,"text":"` + canary + `",` + sentAt + `}`,
		`{"type":"` + canary + `","chat":"c","seq":1,"text":"` + canary + `"}`,
		`{"type":"message","text":{"` + canary + `":1}}`,
		`{"type":"message","text":"` + canary,
	} {
		if _, err := wire.DecodeEvent([]byte(in)); err == nil || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: got %v; want an error without the text", in, err)
		}
	}
}

func TestStateComesBackAsItWas(t *testing.T) {
	want := &chat.State{Chat: "g1", Seq: 9, Kind: chat.Group, Title: "a < b", CreatedAt: chat.Now(),
		Members: []chat.Member{{UserID: "ann", Role: chat.Owner, Since: 1}, {UserID: "bob", Role: chat.Plain, Since: 4}},
		Left:    []chat.Departure{{UserID: "cid", Since: 2, Until: 9, By: "ann"}},
		Picture: "https://a.example/?a&b", Description: "<b>", Invite: &chat.Invite{Digest: chat.DigestOf(nil), By: "ann", Seq: 3}}
	got, err := wire.DecodeState(wire.Encode(want))
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("got %+v, %v; want %+v", got, err, want)
	}
	for _, in := range []string{``, `{}`, `null`, `[]`, `{"chat":"g1"}`, `{"seq":1}`, `{"chat":"g.1","seq":1}`, `{"chat":"g1","seq":1,"members":1}`,
		`{"chat":"g1","seq":1,"members":[{"user_id":"*"}]}`, `{"chat":"g1","seq":1,"members":[{"role":"owner"}]}`, `{"chat":"g1","seq":1,"left":[{"user_id":"a.b"}]}`,
		`{"chat":"g1","seq":1,"left":[{"since":1}]}`} {
		if got, err := wire.DecodeState([]byte(in)); err == nil || got != nil {
			t.Errorf("%s: got %+v, %v; want an error", in, got, err)
		}
	}
}

func TestLargestStateIsFarBelowWhatTheBrokerTakes(t *testing.T) {
	s := chat.State{Chat: chat.ID(strings.Repeat("c", chat.MaxID)), Seq: 1 << 60, Kind: chat.Group, Title: strings.Repeat("\x01", chat.MaxTitle),
		Picture: strings.Repeat("p", chat.MaxPicture), Description: strings.Repeat("\x01", chat.MaxDescription)}
	user := chat.UserID(strings.Repeat("u", chat.MaxID))
	for range chat.MaxMembers {
		s.Members = append(s.Members, chat.Member{UserID: user, Role: chat.Plain, Since: 1 << 60})
		s.Left = append(s.Left, chat.Departure{UserID: user, Since: 1 << 60, Until: 1 << 60, By: user})
	}
	if n := len(wire.Encode(s)); n > 100_000 {
		t.Fatalf("got %d bytes; want at most 100,000", n)
	}
}

func TestCursorIsReadAndCheckedToBeOne(t *testing.T) {
	want := wire.Read{Type: wire.TypeRead, Chat: "c1", Seq: 7, User: "ann", N: 3}
	if got, err := wire.DecodeCursor(wire.Encode(want)); err != nil || got != want {
		t.Fatalf("got %+v, %v; want %+v", got, err, want)
	}
	have := wire.Delivered{Type: wire.TypeDelivered, Chat: "c1", Seq: 7, User: "ann"}
	want = wire.Read{Type: wire.TypeDelivered, Chat: "c1", Seq: 7, User: "ann"}
	if got, err := wire.DecodeCursor(wire.Encode(have)); err != nil || got != want {
		t.Fatalf("got %+v, %v; want %+v", got, err, want)
	}
	for _, in := range []string{``, `{}`, `null`, `{"type":"read","chat":"c1","seq":7}`, `{"type":"read","user":"ann","seq":7}`,
		`{"type":"read","chat":"c1","user":"a b","seq":7}`, `{"type":"read","chat":"c.1","user":"ann","seq":7}`,
		`{"type":"read","chat":"c1","user":"ann","seq":-7}`, `{"chat":"c1","user":"ann","seq":7}`, `{"type":"seen","chat":"c1","user":"ann","seq":7}`} {
		if got, err := wire.DecodeCursor([]byte(in)); err == nil {
			t.Errorf("%s: got %+v; want an error", in, got)
		}
	}
}

func FuzzDecodeEvent(f *testing.F) {
	f.Add([]byte(`{"type":"message","chat":"c1","seq":1,"n":1,"sender":"ann","client_id":"x","text":"a",` + sentAt + `}`))
	f.Add([]byte(`{"type":"chat","chat":"c1","seq":1,"n":0,"change":"title","by":"ann","title":"t","at":"2026-11-23T18:12:55.5+02:00"}`))
	f.Add([]byte(`{"type":"chat","chat":"c1","seq":1,"n":0,"change":"created","members":[{"user_id":"a","role":"owner"}],"at":"2026-11-23T18:12:55Z"}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, body []byte) {
		e, err := wire.DecodeEvent(body)
		if err != nil {
			return
		}
		if _, err := chat.ParseID(string(e.Chat)); err != nil || e.Seq == 0 || e.Time().IsZero() && e.SentAt == nil && e.At == nil {
			t.Fatalf("%q: got %+v; want a chat, a seq and a time", body, e)
		}
		if !json.Valid(body) {
			t.Fatalf("%q was taken for an event", body)
		}
		if y := e.Time().Year(); y < 0 || y > 9999 {
			return // RFC 3339 cannot tell it again
		}
		// What it says comes back from its own encoding, the times cut to microseconds.
		for _, at := range []*chat.Time{e.SentAt, e.At} {
			if at != nil {
				at.Time = at.Truncate(time.Microsecond)
			}
		}
		again, err := wire.DecodeEvent(wire.Encode(e))
		if len(e.Members) == 0 {
			e.Members = nil // an empty list is left out
		}
		if err != nil || !reflect.DeepEqual(again, e) {
			t.Fatalf("got %+v, %v; want %+v", again, err, e)
		}
		if h, err := wire.Peek(wire.Encode(e)); err != nil || h != (wire.Head{Type: string(e.Type), Chat: e.Chat, Seq: e.Seq}) {
			t.Fatalf("got %+v, %v; want the head of %+v", h, err, e)
		}
	})
}

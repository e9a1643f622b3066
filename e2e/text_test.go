package e2e

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/chatmesh/chatmesh/e2e/raw"
)

func TestATextComesBackCodePointForCodePoint(t *testing.T) {
	t.Parallel()
	srv := server(t)
	alice, bob := newPerson(t, srv, "alice"), newPerson(t, srv, "bob")
	chat := alice.direct(bob)
	s, other := alice.device(nil), bob.device(nil)
	var controls strings.Builder
	for r := rune(0); r < 0x20; r++ {
		controls.WriteRune(r)
	}
	texts := []string{
		"plain", "<b>&amp;</b> \"'`\\/", controls.String() + "\x7f\u0080\u009f", " leading and trailing \n", " ", "\n",
		"שלום \u202eRTL\u202c مرحبا", "e\u0301 é ﬁ Å", "line\u2028separator\u2029paragraph", "\ufeffBOM\ufffe\uffff\ufffd",
		"👩‍👩‍👧‍👦 🇩🇪 ☝🏽", "\U0010ffff\U0001d11e", "a\u200bb\u2060c", `{"type":"message"}`, `\u0041\n`, "%s%d{{.}}${x}", "null", "0",
		strings.Repeat("ab\u0301😀<>&\u2028", 5000),
	}
	for i, want := range texts {
		var seq uint64
		if i%2 == 0 {
			seq = send(t, s, chat, newClientID(), want).Seq
		} else {
			seq = alice.post(chat, want)
		}
		if got := awaitSeq(t, "bob", other, chat, seq); got.Text != want {
			t.Errorf("delivered: got %.100q; want %.100q", got.Text, want)
		}
		if got := bob.page(chat, "?limit=1").Messages; len(got) != 1 || got[0].Text != want {
			t.Errorf("in history: got %.100q; want %.100q", got[0].Text, want)
		}
	}
	all := syncAll(t, other, chat, 1, 0)
	for i, want := range texts {
		if all[i].Text != want {
			t.Errorf("in a sync: got %.100q; want %.100q", all[i].Text, want)
		}
	}
	// The same text with every character escaped is the same text.
	frame := `{"type":"send","id":"esc","chat":"` + chat + `","client_id":"` + newClientID() + `","text":"\u0048\ud83d\ude00\u003c\u0000\/"}`
	if err := s.Send(json.RawMessage(frame)); err != nil {
		t.Fatal(err)
	}
	if got := awaitSeq(t, "bob", other, chat, uint64(len(texts))+2); got.Text != "H😀<\x00/" {
		t.Errorf("escaped: got %q", got.Text)
	}
}

func TestTheLongestTextIsCountedInCodePoints(t *testing.T) {
	t.Parallel()
	srv := server(t)
	alice, bob := newPerson(t, srv, "alice"), newPerson(t, srv, "bob")
	chat := alice.direct(bob)
	s, other := alice.device(nil), bob.device(nil)
	const most = 99_999
	var last uint64
	for _, c := range []struct{ what, unit string }{{"emoji", "😀"}, {"ASCII", "x"}, {"markup", "<"}, {"control characters", "\x01"}} {
		longest := strings.Repeat(c.unit, most)
		if c.what == "emoji" {
			last = send(t, s, chat, newClientID(), longest).Seq
		} else {
			last = alice.post(chat, longest)
		}
		if got := awaitSeq(t, "bob", other, chat, last); got.Text != longest {
			t.Errorf("%d of %s: delivered are %d bytes; want %d", most, c.what, len(got.Text), len(longest))
		}
		f := bob.page(chat, "?limit=1")
		if len(f.Messages) != 1 || f.Messages[0].Text != longest {
			t.Errorf("%d of %s: in history is something else", most, c.what)
		}
		askRefused(t, s, "100,000 of "+c.what, "too_long",
			raw.Object{"type": "send", "chat": chat, "client_id": newClientID(), "text": longest + c.unit})
		alice.refused("too_long", http.MethodPost, "/v1/chats/"+chat+"/messages",
			raw.Object{"client_id": newClientID(), "text": longest + c.unit})
	}
	// Every code point escaped as a pair of surrogates is 1.2 MB on the wire and still 99,999 code points.
	frame := `{"type":"send","id":"esc","chat":"` + chat + `","client_id":"` + newClientID() + `","text":"` + strings.Repeat(`\ud83d\ude00`, most) + `"}`
	if err := s.Send(json.RawMessage(frame)); err != nil {
		t.Fatal(err)
	}
	if got := awaitSeq(t, "bob", other, chat, last+1); got.Text != strings.Repeat("😀", most) {
		t.Errorf("escaped: delivered are %d bytes", len(got.Text))
	}
	if h := bob.history(chat); len(h) != 6 {
		t.Errorf("got %d events; want 6", len(h))
	}
}

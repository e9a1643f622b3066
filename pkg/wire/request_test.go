package wire_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

func TestRequestsOfTheContractAreRead(t *testing.T) {
	for _, c := range []struct {
		in   string
		want wire.Request
	}{
		{`{"type":"hello","token":"abc","cursors":{"c1":41,"c2":0}}`,
			wire.Request{Type: "hello", Token: "abc", Cursors: map[string]chat.Seq{"c1": 41, "c2": 0}}},
		{`{"type":"send","id":"r1","chat":"c1","client_id":"x-1","text":"a < b 😀\u2028"}`,
			wire.Request{Type: "send", ID: wire.RequestID(`"r1"`), Chat: "c1", ClientID: "x-1", Text: "a < b 😀\u2028"}},
		{`{"type":"sync","id":7,"chat":"c1","after":41,"limit":100}`,
			wire.Request{Type: "sync", ID: wire.RequestID(`7`), Chat: "c1", After: 41, Limit: 100}},
		{`{"type":"read","chat":"c1","seq":18446744073709551615}`, wire.Request{Type: "read", Chat: "c1", Seq: 1<<64 - 1}},
		{`{"type":"typing","chat":"c1"}`, wire.Request{Type: "typing", Chat: "c1"}},
		{`{"type":"watch","id":-1.5e3,"users":["ann","bob"]}`,
			wire.Request{Type: "watch", ID: wire.RequestID(`-1.5e3`), Users: []string{"ann", "bob"}}},
		{`{"type":"ping","id":"p","unknown":{"to":["us"]}}`, wire.Request{Type: "ping", ID: wire.RequestID(`"p"`)}},
		{" \t\r\n{}\n", wire.Request{}},
		{`{"type":"ping","id":null}`, wire.Request{Type: "ping"}},
	} {
		got, err := wire.ParseRequest([]byte(c.in))
		if err != nil || fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", c.want) {
			t.Errorf("%s: got %+v, %v; want %+v", c.in, got, err, c.want)
		}
	}
}

func TestFrameThatIsNoObjectIsNotTheProtocol(t *testing.T) {
	for _, in := range []string{"", " ", "null", "true", "1", `"x"`, "[]", `[{"type":"ping"}]`, "{", "}", `{"type"}`, `{"type":"ping"`,
		`{"type":"ping"}{`, `{"type":"ping"},`, `{'type':'ping'}`, "\ufeff{}", "\x00{}", `{"type":5`, `{"a":}`, `{"id":01}`, "{\"a\":\"\n\"}",
		strings.Repeat("[", 20_000), `{"a":` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000) + `}`} {
		if got, err := wire.ParseRequest([]byte(in)); !errors.Is(err, wire.ErrNotProtocol) || got.ID != nil {
			t.Errorf("%.40q: got %+v, %v; want %v", in, got, err, wire.ErrNotProtocol)
		}
	}
}

func TestObjectWithAFieldOfTheWrongTypeIsRefusedAndItsIDComesBack(t *testing.T) {
	long := `"` + strings.Repeat("x", 126) + `"` // of 128 bytes
	for _, c := range []struct{ in, id string }{
		{`{"id":"r1","type":5}`, `"r1"`},
		{`{"type":"send","text":{"a":1},"id":12}`, `12`},
		{`{"id":"r1","after":-1}`, `"r1"`},
		{`{"id":"r1","after":1.5}`, `"r1"`},
		{`{"id":"r1","seq":18446744073709551616}`, `"r1"`},
		{`{"id":"r1","limit":"10"}`, `"r1"`},
		{`{"id":"r1","cursors":[1]}`, `"r1"`},
		{`{"id":"r1","cursors":{"c":"1"}}`, `"r1"`},
		{`{"id":"r1","users":[1]}`, `"r1"`},
		{`{"id":` + long + `,"type":5}`, long},
		{`{"id":"` + strings.Repeat("x", 127) + `","type":5}`, ``},
		{`{"id":"` + strings.Repeat("x", 127) + `"}`, ``},
		{`{"id":{"a":1}}`, ``},
		{`{"id":[1]}`, ``},
		{`{"id":true}`, ``},
		{`{"id":{"a":1},"type":5}`, ``},
		{`{"id":false,"type":5}`, ``},
	} {
		got, err := wire.ParseRequest([]byte(c.in))
		if !chat.Is(err, chat.BadRequest) || string(got.ID) != c.id {
			t.Errorf("%s: got id %s, %v; want id %s, %s", c.in, got.ID, err, c.id, chat.BadRequest)
		}
	}
	if got, err := wire.ParseRequest([]byte(`{"id":` + long + `}`)); err != nil || string(got.ID) != long {
		t.Errorf("the longest id: got %s, %v", got.ID, err)
	}
}

func TestLargestFrameHoldsTheLongestTextHoweverItIsEscaped(t *testing.T) {
	id := strings.Repeat("i", chat.MaxID)
	for name, r := range map[string]string{"surrogate pairs": `\ud83d\ude00`, "escapes": `\u00e9`, "as it is": "😀", "quotes": `\"`} {
		frame := `{"type":"send","id":"` + strings.Repeat("r", 126) + `","chat":"` + id + `","client_id":"` + id + `","text":"` +
			strings.Repeat(r, chat.MaxText) + `"}`
		if len(frame) > wire.MaxFrame {
			t.Errorf("%s: the frame has %d bytes; at most %d are read", name, len(frame), wire.MaxFrame)
		}
		got, err := wire.ParseRequest([]byte(frame))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := chat.CheckText(got.Text); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParseRequest(f *testing.F) {
	for _, s := range []string{
		`{"type":"hello","token":"abc","cursors":{"c1":41}}`, `{"type":"send","id":"r1","chat":"c1","client_id":"x-1","text":"hi"}`,
		`{"type":"sync","id":7,"chat":"c1","after":41,"limit":100}`, `{"type":"watch","id":-1.5e3,"users":["ann"]}`, `{"id":null}`,
		`{"id":"\ud800"}`, "{\"id\":\"\xff\"}", `{"id":{"a":1},"type":5}`, `{"ID":"a","id":"b","Id":{}}`, `{"type":5`, `null`, `[]`, ` {} `, `{"id":01}`, ``,
		`{"seq":18446744073709551616}`, `{"cursors":{"":1,"":2}}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := wire.ParseRequest(data)
		trimmed := bytes.TrimLeft(data, " \t\r\n")
		object := json.Valid(data) && trimmed[0] == '{'
		if errors.Is(err, wire.ErrNotProtocol) == object {
			t.Fatalf("got %v; want %v exactly for what is no JSON object", err, wire.ErrNotProtocol)
		}
		if err != nil && object && !chat.Is(err, chat.BadRequest) {
			t.Fatalf("got %v; want %s", err, chat.BadRequest)
		}
		if r.ID == nil {
			return
		}
		if !json.Valid(r.ID) || len(r.ID) > 128 || r.ID[0] == '{' || r.ID[0] == '[' || len(r.ID) == 0 {
			t.Fatalf("got id %q; want a scalar of at most 128 bytes", r.ID)
		}
		// It is echoed as it came.
		var back struct {
			ID json.RawMessage `json:"id"`
		}
		if frame := wire.Encode(wire.Refuse(r.ID, chat.Errorf(chat.BadRequest, "x"))); json.Unmarshal(frame, &back) != nil || !bytes.Equal(back.ID, r.ID) {
			t.Fatalf("got %s; want the id %s in it", frame, r.ID)
		}
	})
}

package wire_test

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// full is Peek by a full decode.
func full(body []byte) (wire.Head, error) {
	var h struct {
		Type string   `json:"type"`
		Chat chat.ID  `json:"chat"`
		Seq  chat.Seq `json:"seq"`
	}
	err := json.Unmarshal(body, &h)
	return wire.Head{Type: h.Type, Chat: h.Chat, Seq: h.Seq}, err
}

// checkPeek holds Peek against a full decode.
func checkPeek(t interface{ Fatalf(string, ...any) }, body []byte) {
	got, gotErr := wire.Peek(body)
	if !json.Valid(body) { // it may be taken for a frame, but only for what stands at its beginning
		if gotErr == nil && !bytes.HasPrefix(body, []byte(`{"type":"`+got.Type+`","chat":"`+string(got.Chat)+`","seq":`)) {
			t.Fatalf("%q is no JSON: got %+v", body, got)
		}
		return
	}
	want, wantErr := full(body)
	if (gotErr == nil) != (wantErr == nil) || gotErr == nil && got != want {
		t.Fatalf("%q: got %+v, %v; want %+v, %v", body, got, gotErr, want, wantErr)
	}
	if gotErr != nil && got != (wire.Head{}) {
		t.Fatalf("%q: got %+v beside %v", body, got, gotErr)
	}
}

func drawID(t *rapid.T, label string) string {
	return rapid.StringMatching(`[A-Za-z0-9_-]{1,64}`).Draw(t, label)
}

func drawTime(t *rapid.T) *chat.Time {
	at := chat.TimeOf(chat.Now().AddDate(rapid.IntRange(-50, 50).Draw(t, "years"), 0, 0))
	return &at
}

// drawText draws what a person may write, often with what means something in JSON or HTML.
func drawText(t *rapid.T, label string) string {
	return rapid.OneOf(
		rapid.StringN(1, 200, -1),
		rapid.SampledFrom([]string{"\"", "\\", "\\\"", `","seq":7,"type":"chat`, `{"type":"message","chat":"c","seq":1}`,
			"<script>&amp;</script>", "\u2028\u2029", "\x00\x01\x1f\x7f", "😀👨‍👩‍👧‍👦", "\ufffd", `\u0000`, `"seq":`, "K\u212aſ"}),
		rapid.Map(rapid.SliceOfN(rapid.SampledFrom([]string{`"`, `\`, "seq", "type", "chat", ":", ",", "{", "}", " ", "9"}), 1, 20),
			func(s []string) string { return strings.Join(s, "") }),
	).Draw(t, label)
}

// drawEvent draws an event as an append makes it.
func drawEvent(t *rapid.T) chat.Event {
	e := chat.Event{Chat: chat.ID(drawID(t, "chat")), Seq: chat.Seq(rapid.Uint64Min(1).Draw(t, "seq")), N: rapid.Uint64().Draw(t, "n")}
	user, by := chat.UserID(drawID(t, "user")), chat.UserID(drawID(t, "by"))
	role := rapid.SampledFrom([]chat.Role{chat.Owner, chat.Admin, chat.Plain}).Draw(t, "role")
	at, title := drawTime(t), drawText(t, "title")
	e.Type, e.At = chat.Changed, at
	switch rapid.IntRange(0, 5).Draw(t, "what") {
	case 0:
		e.Change, e.By, e.Kind = chat.Created, by, chat.Group
		e.Title = &title
		e.Members = append(e.Members, chat.Member{UserID: by, Role: chat.Owner})
		for range rapid.IntRange(0, 3).Draw(t, "members") {
			e.Members = append(e.Members, chat.Member{UserID: chat.UserID(drawID(t, "member")), Role: role})
		}
	case 1:
		e.Change, e.User, e.By, e.Role = chat.MemberAdded, user, by, role
	case 2:
		e.Change, e.User, e.By = chat.MemberRemoved, user, by
	case 3:
		e.Change, e.User, e.By, e.Role = chat.RoleChanged, user, by, role
	case 4:
		e.Change, e.By, e.Title = chat.TitleChanged, by, &title
	default:
		e.Type, e.At, e.SentAt = chat.Message, nil, at
		e.Sender, e.ClientID, e.Text = user, chat.ClientID(drawID(t, "client_id")), drawText(t, "text")
		e.ReplyTo = chat.Seq(rapid.Uint64Max(3).Draw(t, "reply_to"))
		for range rapid.IntRange(0, 3).Draw(t, "mentions") {
			e.Mentions = append(e.Mentions, chat.UserID(drawID(t, "mention")))
		}
	}
	return e
}

func TestPeekOfEveryEventIsWhatAFullDecodeSays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := drawEvent(t)
		body := wire.Encode(e)
		got, err := wire.Peek(body)
		if want := (wire.Head{Type: string(e.Type), Chat: e.Chat, Seq: e.Seq}); err != nil || got != want {
			t.Fatalf("%s: got %+v, %v; want %+v", body, got, err, want)
		}
		checkPeek(t, body)
	})
}

func TestPeekReadsTheKeysInAnyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := drawEvent(t)
		body := wire.Encode(e)
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(body, &fields); err != nil {
			t.Fatal(err)
		}
		var keys []string
		for k := range fields {
			keys = append(keys, k)
		}
		space := rapid.SampledFrom([]string{"", "", " ", "\n\t"})
		var b bytes.Buffer
		b.WriteString("{")
		for i, k := range rapid.Permutation(keys).Draw(t, "order") {
			if i > 0 {
				b.WriteString(",")
			}
			b.WriteString(space.Draw(t, "space") + strconv.Quote(k) + space.Draw(t, "space") + ":" + space.Draw(t, "space"))
			b.Write(fields[k])
		}
		b.WriteString("}" + space.Draw(t, "space"))
		got, err := wire.Peek(b.Bytes())
		if want := (wire.Head{Type: string(e.Type), Chat: e.Chat, Seq: e.Seq}); err != nil || got != want {
			t.Fatalf("%s: got %+v, %v; want %+v", b.Bytes(), got, err, want)
		}
	})
}

func TestPeekOfOtherFramesIsWhatAFullDecodeSays(t *testing.T) {
	for _, c := range []struct {
		frame any
		want  wire.Head
	}{
		{wire.Read{Type: wire.TypeRead, Chat: "c1", Seq: 7, User: "ann", N: 3}, wire.Head{Type: "read", Chat: "c1", Seq: 7}},
		{wire.Typing{Type: wire.TypeTyping, Chat: "c1", User: "ann"}, wire.Head{Type: "typing", Chat: "c1"}},
		{wire.Presence{Type: wire.TypePresence, User: "ann", Online: true}, wire.Head{Type: "presence"}},
		{wire.Resync{Type: wire.TypeResync}, wire.Head{Type: "resync"}},
	} {
		body := wire.Encode(c.frame)
		if got, err := wire.Peek(body); err != nil || got != c.want {
			t.Errorf("%s: got %+v, %v; want %+v", body, got, err, c.want)
		}
	}
}

// strange are bodies on which a reader of the first bytes and a full decode could part.
var strange = []string{
	`{"type":"message","chat":"c1","seq":1,"seq":2}`,
	`{"type":"message","chat":"c1","seq":1,"SEQ":2}`,
	`{"type":"message","chat":"c1","seq":1,"ſeq":2}`,
	`{"type":"message","chat":"c1","seq":1,"\u0073eq":2}`,
	`{"type":"message","chat":"c1","seq":1,"seq" : 2}`,
	`{"type":"message","chat":"c1","seq":1,"text":"a","Chat":"c2"}`,
	`{"type":"message","chat":"c1","seq":1,"text":"\"","type":"chat"}`,
	`{"type":"message","chat":"c1","seq":1,"text":"\\","type":"chat"}`,
	`{"type":"message","chat":"c1","seq":1,"text":"\\\"","type":"chat"}`,
	`{"type":"message","chat":"c1","seq":1,"text":"\",\"seq\":9,\"x\":\""}`,
	`{"type":"message","chat":"c1","seq":1,"a":{"seq":2}}`,
	`{"type":"message","chat":"c1","seq":1,"seq":null}`,
	`{"type":"message","chat":"c1","seq":1,"seq":"x"}`,
	`{"type":"message","chat":"c1","seq":1,"tyPe":3}`,
	`{"type":"message","chat":"c1","type":"chat","seq":1}`,
	`{"type":"message","chat":"c1","seq":1}`,
	`{"type":"message","chat":"c1","seq":1 }`,
	`{"type":"message","chat":"c1","seq":0}`,
	`{"type":"message","chat":"c1","seq":-1}`,
	`{"type":"message","chat":"c1","seq":1.0}`,
	`{"type":"message","chat":"c1","seq":1e3}`,
	`{"type":"message","chat":"c1","seq":"1"}`,
	`{"type":"message","chat":"c1","seq":999999999999999999}`,
	`{"type":"message","chat":"c1","seq":9999999999999999999}`,
	`{"type":"message","chat":"c1","seq":18446744073709551615}`,
	`{"type":"message","chat":"c1","seq":18446744073709551616}`,
	`{"type":"message","chat":"c1","seq":99999999999999999999999}`,
	`{"type":"m\u0065ssage","chat":"c1","seq":1}`,
	`{"type":"message","chat":"c\"1","seq":1}`,
	`{"type":"message","chat":"","seq":1}`,
	`{"type":"","chat":"c1","seq":1}`,
	"{\"type\":\"\xff\",\"chat\":\"c1\",\"seq\":1}",
	"{\"type\":\"é\",\"chat\":\"c1\",\"seq\":1}",
	`{"type":"message","chat":"` + strings.Repeat("x", 64) + `","seq":1}`,
	`{"type":"message","chat":"` + strings.Repeat("x", 65) + `","seq":1}`,
	`{"Type":"message","CHAT":"c1","Seq":1}`,
	` {"type":"message","chat":"c1","seq":1}`,
	`{"type":"message","chat":"c1","seq":1,"n":1,"sender":"a","client_id":"b","text":"t","sent_at":"x","seq":2}`,
	`{"type":"message","chat":"c1","seq":1,"n":1,"sender":"a","client_id":"b","text":"t","seq":2,"sent_at":"x"}`,
	`{"type":"message","chat":"c1","seq":1,"n":1,"sender":"a","client_id":"b","text":"\","seq":2,"x":"\","sent_at":"x"}`,
	`{"type":"message","chat":"c1","seq":1,"n":1,"sender":"a","client_id":"b","text":""","sent_at":"x"}`,
	`{"type":"message","chat":"c1","seq":1,"n":1,"sender":"a","client_id":"b","text":"\"","sent_at":"x"}`,
	`{"type":"message","chat":"c1","seq":01,"n":1,"sender":"a","client_id":"b","text":"t","sent_at":"x"}`,
	`{"type":"message","chat":"c1","seq":1,"n":,"sender":"a","client_id":"b","text":"t","sent_at":"x"}`,
	`{"type":"message","chat":"c1","seq":1,"n":1,"sender":"a","client_id":"b","text":"t","sent_at":"x"} `,
	`{"type":"message","chat":"c1","seq":1,"n":1,"sender":"a","client_id":"b","text":"t","sent_at":"x"}}`,
	`{"type":"message","chat":"c1","seq":1,"n":1,"sender":"a","client_id":"b","text":"t","sent_at":"x"`,
	`{"type":"message","chat":"c1","seq":1,"n":1,"sender":"a","client_id":"b","text":"t","sent_at":"x","reply_to":7}`,
	`{"type":"message","chat":"c1","seq":1,"n":1,"sender":"a","client_id":"b","text":"t","sent_at":"x","reply_to":}`,
	`{"type":"message","chat":"c1","seq":1,"n":1,"sender":"a","client_id":"b","text":"t","sent_at":"x","reply_to":7,"seq":9}`,
	`{"type":"message","chat":"c1","seq":1,"n":1,"sender":"a","client_id":"b","text":"t","sent_at":"x","mentions":["a","b"]}`,
	`{"type":"message","chat":"c1","seq":1,"n":1,"sender":"a","client_id":"b","text":"t","sent_at":"x","mentions":["a","b"],"seq":2}`,
	`{"type":"message","chat":"c1","seq":1,"n":1,"sender":"a","client_id":"b","text":"t","sent_at":"x","mentions":["a\"],\"seq\":2"]}`,
	`{"type":"message","chat":"c1","seq":1,"n":1,"sender":"a","client_id":"b","text":"t","sent_at":"x","mentions":["a",7]}`,
	`{"type":"message","chat":"c1","seq":1,"n":1,"sender":"a","client_id":"b","text":"t","sent_at":"x","mentions":["a"}`,
	`{"type":"message","chat":"c1","seq":1,"n":1,"sender":"a","client_id":"b","text":"t","sent_at":"x","mentions":["a"]]}`,
	`{"type":"message","chat":"c1","seq":1,"n":1,"sender":"a","client_id":"b","text":"t","sent_at":"x","mentions":[]}`,
	`{"type":"read","chat":"c1","seq":1,"user":"a","n":1,"type":"message"}`,
	`{"type":"read","chat":"c1","seq":1,"user":"a","n":1}`,
	`{"type":"read","chat":"c1","seq":1,"user":"a","n":1.5}`,
	`{"type":"read","chat":"c1","seq":1,"user":"a\","n":1}`,
	"{\"type\":\"read\",\"chat\":\"\xff\",\"seq\":1,\"user\":\"a\",\"n\":1}",
	`{}`, `[]`, `null`, `"x"`, `1`, `true`, ``, ` `, `{`, `}`, `{"type":`, `{"type":"`, `{"type":"message"`, `{"type":"message","chat":"c1","seq":`,
	`{"type":"message","chat":"c1","seq":1`,
	`{"type":"message","chat":"c1","seq":01}`,
	`{"type":"message","chat":"c1","seq":00}`,
	`{"type":"message","chat":"c1","seq":,}`,
	`{"type":"message","chat":"c1","seq":1,"text":"`,
	`{"type":"message","chat":"c1","seq":1}{"type":"chat"}`,
	"{\"type\":\"mess\nage\",\"chat\":\"c1\",\"seq\":1}",
}

func TestPeekOfStrangeBodiesIsWhatAFullDecodeSays(t *testing.T) {
	for _, body := range strange {
		checkPeek(t, []byte(body))
	}
}

func TestPeekOfAMessageOrACursorDoesNotDecodeIt(t *testing.T) {
	at := chat.Now()
	for _, frame := range []any{
		chat.Event{Type: chat.Message, Chat: "c1", Seq: 7, N: 3, Sender: "ann", ClientID: "x", Text: "say \"hello\" \\", SentAt: &at},
		chat.Event{Type: chat.Message, Chat: "c1", Seq: 7, N: 3, Sender: "ann", ClientID: "x", Text: "x", SentAt: &at, ReplyTo: 12},
		chat.Event{Type: chat.Message, Chat: "c1", Seq: 7, N: 3, Sender: "ann", ClientID: "x", Text: "x", SentAt: &at, Mentions: []chat.UserID{"a"}},
		chat.Event{Type: chat.Message, Chat: "c1", Seq: 7, N: 3, Sender: "ann", ClientID: "x", Text: "x", SentAt: &at, ReplyTo: 1, Mentions: []chat.UserID{"a", "b", "c"}},
		wire.Read{Type: wire.TypeRead, Chat: "c1", Seq: 7, User: "ann", N: 3},
	} {
		body := wire.Encode(frame)
		if n := testing.AllocsPerRun(100, func() {
			if _, err := wire.Peek(body); err != nil {
				t.Fatal(err)
			}
		}); n > 1 {
			t.Errorf("%s: got %v allocations; want that of the chat's id only", body, n)
		}
	}
}

func FuzzPeek(f *testing.F) {
	for _, body := range strange {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		checkPeek(t, body)
		// What has the keys of a message or a cursor goes the fast way.
		for _, around := range [][2]string{
			{`{"type":"message","chat":"c1","seq":`, `,"n":1,"sender":"a","client_id":"b","text":"t","sent_at":"x"}`},
			{`{"type":"message","chat":"c1","seq":12,"n":1,"sender":"a","client_id":"b","text":"`, `","sent_at":"x"}`},
			{`{"type":"message","chat":"c1","seq":12,"n":1,"sender":"a","client_id":"b","text":"t","sent_at":"x"`, ``},
			{`{"type":"message","chat":"c1","seq":12,"n":1,"sender":"a","client_id":"b","text":"t","sent_at":"x","mentions":["`, `"]}`},
			{`{"type":"message","chat":"c1","seq":12,"n":1,"sender":"a","client_id":"b","text":"t","sent_at":"x","reply_to":`, `}`},
			{`{"type":"read","chat":"`, `","seq":12,"user":"a","n":1}`},
			{`{"type":"read","chat":"c1","seq":12,"user":"a","n":`, `}`},
		} {
			checkPeek(t, []byte(around[0]+string(body)+around[1]))
		}
	})
}

func BenchmarkPeek(b *testing.B) {
	at := chat.Now()
	for _, size := range []int{100, 100_000} {
		body := wire.Encode(chat.Event{Type: chat.Message, Chat: "g06f0h7rne5v3f9bkq2m1p8d4sc", Seq: 42, N: 37, Sender: "06f0h7rne5v3f9bkq2m1p8d4sc",
			ClientID: "06f0h7rne5v3f9bkq2m1p8d4sc", Text: strings.Repeat("x", size), SentAt: &at})
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := wire.Peek(body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

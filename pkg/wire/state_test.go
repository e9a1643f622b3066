package wire

import (
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

func benchState(title string, kind chat.Kind, members ...chat.Member) *chat.State {
	return &chat.State{Chat: "g06f0h7rne5v3f9bkq2m1p8d4sc", Seq: 7, Kind: kind, Title: title, CreatedAt: chat.Now(), Members: members}
}

var twoMembers = []chat.Member{{UserID: "06f0h7rne5v3f9bkq2m1p8d4sc", Role: chat.Owner, Since: 1}, {UserID: "06f0h7rne5v3f9bkq2m1p8d4sd", Role: chat.Plain, Since: 12}}

func TestAPlainStateIsReadTheFastWayAndAsItsJSON(t *testing.T) {
	edited := benchState("Tea", chat.Group, twoMembers...)
	edited.LastEdit, edited.LastErasure = 5, 6
	erased := benchState("", chat.Direct, chat.Member{UserID: "ann"}, chat.Member{UserID: "ben"})
	erased.LastErasure = 9
	for _, s := range []*chat.State{edited, erased, benchState("a \"b\" \\ c\n<&>\u2028 über 😀 \x00\x7f\ufffd", chat.Group, twoMembers...), benchState("Tea", chat.Group)} {
		body := Encode(s)
		got, ok := decodeState(body)
		if s.Members == nil { // of which the JSON is null
			if ok {
				t.Errorf("%s: read the fast way; want it left to the decoder", body)
			}
			continue
		}
		if !ok || !reflect.DeepEqual(got, s) {
			t.Errorf("%s: got %+v, %v; want it read the fast way", body, got, ok)
		}
		checkFast(t, body, decodeState, decodeAnyState)
	}
}

func created(kind chat.Kind, title *string, members ...chat.Member) *chat.Event {
	at := chat.Now()
	return &chat.Event{Type: chat.Changed, Chat: "g06f0h7rne5v3f9bkq2m1p8d4sc", Seq: 1, Change: chat.Created, By: "06f0h7rne5v3f9bkq2m1p8d4sc", Kind: kind,
		Title: title, Members: members, At: &at}
}

func TestTheEventThatMadeAChatIsReadTheFastWayAndAsItsJSON(t *testing.T) {
	for _, title := range []string{"", "Tea", "a \"b\" \\ c\n<&>\u2028 über 😀 \x00\x7f\ufffd"} {
		for _, e := range []*chat.Event{created(chat.Group, &title, twoMembers...), created(chat.Direct, nil, chat.Member{UserID: "ann"}, chat.Member{UserID: "ben"})} {
			body := Encode(e)
			if got, ok := decodeCreated(body); !ok || !reflect.DeepEqual(&got, e) {
				t.Errorf("%s: got %+v, %v; want it read the fast way", body, got, ok)
			}
			checkFast(t, body, decodeCreated, decodeAny)
		}
	}
	more := created(chat.Group, nil, twoMembers...)
	more.Description = new(string)
	if _, ok := decodeCreated(Encode(more)); ok {
		t.Error("one with more is read the fast way; want it left to the decoder")
	}
}

func TestAStateWithMoreIsLeftToTheDecoder(t *testing.T) {
	more := map[string]func(*chat.State){
		"left":        func(s *chat.State) { s.Left = []chat.Departure{{UserID: "cat", Since: 1, Until: 2}} },
		"picture":     func(s *chat.State) { s.Picture = "https://x/y" },
		"description": func(s *chat.State) { s.Description = "d" },
		"invite":      func(s *chat.State) { s.Invite = &chat.Invite{Digest: "d", By: "ann", Seq: 3} },
		"pins":        func(s *chat.State) { s.Pins = []chat.PinnedMessage{{Seq: 2, By: "ann", At: chat.Now()}} },
		"blocks":      func(s *chat.State) { s.Blocks = []chat.UserID{"ann"} },
		"gone":        func(s *chat.State) { s.Gone = []chat.Gone{{UserID: "ann", Seq: 2, At: chat.Now()}} },
	}
	for name, change := range more {
		s := benchState("Tea", chat.Group, twoMembers...)
		change(s)
		body := Encode(s)
		if _, ok := decodeState(body); ok {
			t.Errorf("%s: read the fast way; want it left to the decoder", name)
		}
		if got, err := DecodeState(body); err != nil || !reflect.DeepEqual(got, s) {
			t.Errorf("%s: got %+v, %v; want %+v", name, got, err, s)
		}
	}
}

func TestWhatTheFastWayReadsOfAStateIsWhatAFullDecodeReads(t *testing.T) {
	edited := benchState(`plain, "quoted" and é`, chat.Group, twoMembers...)
	edited.LastEdit, edited.LastErasure = 5, 6
	title := `plain, "quoted" and é`
	bases := [][]byte{Encode(edited), Encode(created(chat.Group, &title, twoMembers...))}
	rapid.Check(t, func(t *rapid.T) {
		body := append([]byte(nil), rapid.SampledFrom(bases).Draw(t, "base")...)
		for range rapid.IntRange(1, 3).Draw(t, "changes") {
			at := rapid.IntRange(0, len(body)-1).Draw(t, "at")
			b := rapid.OneOf(rapid.Byte(), rapid.SampledFrom([]byte("\"\\{}[]:,0u9\n \xff"))).Draw(t, "byte")
			switch rapid.IntRange(0, 3).Draw(t, "how") {
			case 0:
				body[at] = b
			case 1:
				body = append(body[:at], append([]byte{b}, body[at:]...)...)
			case 2:
				body = append(body[:at], body[at+1:]...)
			case 3: // a piece of it is missing, or comes again
				to := rapid.IntRange(at, len(body)).Draw(t, "to")
				body = append(append(append([]byte{}, body[:at]...), rapid.SampledFrom([]string{"", string(body[at:to]) + string(body[at:to])}).Draw(t, "piece")...), body[to:]...)
			}
			if len(body) == 0 {
				return
			}
		}
		checkFast(t, body, decodeState, decodeAnyState)
		checkFast(t, body, decodeCreated, decodeAny)
	})
}

func TestReadingAStateAllocatesWhatItHoldsOnly(t *testing.T) {
	body := Encode(benchState("Tea time", chat.Group, twoMembers...))
	if n := testing.AllocsPerRun(100, func() {
		if _, err := DecodeState(body); err != nil {
			t.Fatal(err)
		}
	}); n > 8 {
		t.Errorf("got %v allocations; want at most 8", n)
	}
}

func BenchmarkDecodeState(b *testing.B) {
	body := Encode(benchState("Tea time", chat.Group, twoMembers...))
	for name, decode := range map[string]func([]byte) (*chat.State, error){"plain": DecodeState, "full": decodeAnyState} {
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

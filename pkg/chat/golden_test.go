package chat_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

var update = flag.Bool("update", false, "write the golden files anew")

// The JSON of an event is stored for ever and read by programs that nobody here wrote: a golden file that changes breaks both.
func TestEventsHaveTheJSONOfTheirGoldenFiles(t *testing.T) {
	at := chat.TimeOf(time.Date(2026, 11, 23, 18, 12, 55, 123_456_789, time.FixedZone("", 3600)))
	title := `Team "A" <& B> — ä😀` + "\u2028"
	none, picture, digest := "", "https://img.example.com/a.png?s=1&t=<2>", chat.DigestOf([]byte("sixteen bytes of"))
	for name, e := range map[string]chat.Event{
		"message": {Type: chat.Message, Chat: "g1", Seq: 42, N: 37, Sender: "ann", ClientID: "c-1_A",
			Text: "a < b && c > d, \"quoted\" \\ \x00\x1f\x7f\t\n é€😀 \u2028\u2029\ufffd", SentAt: &at},
		"created_group": {Type: chat.Changed, Chat: "g1", Seq: 1, Change: chat.Created, By: "ann", Title: &title, Kind: chat.Group,
			Members: []chat.Member{{UserID: "ann", Role: chat.Owner}, {UserID: "bob", Role: chat.Plain}}, At: &at},
		"created_group_without_title": {Type: chat.Changed, Chat: "g1", Seq: 1, Change: chat.Created, By: "ann", Title: &none, Kind: chat.Group,
			Members: []chat.Member{{UserID: "ann", Role: chat.Owner}}, At: &at},
		"created_direct": {Type: chat.Changed, Chat: "d1", Seq: 1, Change: chat.Created, By: "ann", Kind: chat.Direct,
			Members: []chat.Member{{UserID: "ann", Role: chat.Plain}, {UserID: "bob", Role: chat.Plain}}, At: &at},
		"member_added":   {Type: chat.Changed, Chat: "g1", Seq: 2, N: 1, Change: chat.MemberAdded, User: "cid", By: "ann", Role: chat.Plain, At: &at},
		"member_removed": {Type: chat.Changed, Chat: "g1", Seq: 3, N: 1, Change: chat.MemberRemoved, User: "cid", By: "ann", At: &at},
		"member_left":    {Type: chat.Changed, Chat: "g1", Seq: 3, N: 1, Change: chat.MemberRemoved, User: "cid", By: "cid", At: &at},
		"role":           {Type: chat.Changed, Chat: "g1", Seq: 4, N: 1, Change: chat.RoleChanged, User: "bob", By: "ann", Role: chat.Admin, At: &at},
		"picture":        {Type: chat.Changed, Chat: "g1", Seq: 6, N: 1, Change: chat.PictureChanged, By: "ann", Picture: &picture, At: &at},
		"picture_none":   {Type: chat.Changed, Chat: "g1", Seq: 7, N: 1, Change: chat.PictureChanged, By: "ann", Picture: &none, At: &at},
		"description":    {Type: chat.Changed, Chat: "g1", Seq: 8, N: 1, Change: chat.DescriptionChanged, By: "ann", Description: &title, At: &at},
		"invite":         {Type: chat.Changed, Chat: "g1", Seq: 9, N: 1, Change: chat.InviteChanged, By: "ann", Invite: &digest, At: &at},
		"invite_revoked": {Type: chat.Changed, Chat: "g1", Seq: 10, N: 1, Change: chat.InviteChanged, By: "ann", Invite: &none, At: &at},
		"member_joined":  {Type: chat.Changed, Chat: "g1", Seq: 11, N: 1, Change: chat.MemberAdded, User: "cid", By: "cid", Role: chat.Plain, At: &at},
		"title":          {Type: chat.Changed, Chat: "g1", Seq: 5, N: 1, Change: chat.TitleChanged, By: "ann", Title: &title, At: &at},
		"message_full": {Type: chat.Message, Chat: "g1", Seq: 43, N: 38, Sender: "ann", ClientID: "c-2", Text: "yes", SentAt: &at, ReplyTo: 42,
			Mentions: []chat.UserID{"bob", "cid"}, Forwarded: &chat.Forward{Sender: "cid", SentAt: at}},
		"message_erased": {Type: chat.Message, Chat: "g1", Seq: 42, N: 37, Sender: "ann", ClientID: "c-1_A", SentAt: &at,
			Deleted: &chat.Erasure{Seq: 50, By: "ann", At: at}},
		"edit": {Type: chat.Edited, Chat: "g1", Seq: 44, N: 38, Text: "no", Mentions: []chat.UserID{"bob"}, Target: 43, By: "ann", At: &at},
		"edit_erased": {Type: chat.Edited, Chat: "g1", Seq: 44, N: 38, Target: 43, By: "ann", At: &at,
			Deleted: &chat.Erasure{Seq: 50, By: "ann", At: at}},
		"deletion":         {Type: chat.Deleted, Chat: "g1", Seq: 50, N: 38, Target: 43, By: "ann", At: &at},
		"reaction":         {Type: chat.Reacted, Chat: "g1", Seq: 45, N: 38, Target: 43, By: "bob", Emoji: "👍🏽", At: &at},
		"reaction_removed": {Type: chat.Reacted, Chat: "g1", Seq: 46, N: 38, Target: 43, By: "bob", Emoji: "👍🏽", Removed: true, At: &at},
		"pinned":           {Type: chat.Changed, Chat: "g1", Seq: 47, N: 38, Change: chat.Pinned, Target: 43, By: "ann", At: &at},
		"unpinned":         {Type: chat.Changed, Chat: "g1", Seq: 48, N: 38, Change: chat.Unpinned, Target: 43, By: "ann", At: &at},
		"blocked":          {Type: chat.Changed, Chat: "d1", Seq: 52, N: 38, Change: chat.Blocked, By: "ann", At: &at},
		"unblocked":        {Type: chat.Changed, Chat: "d1", Seq: 53, N: 38, Change: chat.Unblocked, By: "ann", At: &at},
		"erased":           {Type: chat.Changed, Chat: "g1", Seq: 51, N: 38, Change: chat.Erased, User: "ann", By: "ann", At: &at},
	} {
		t.Run(name, func(t *testing.T) {
			var buf bytes.Buffer
			enc := json.NewEncoder(&buf)
			enc.SetEscapeHTML(false)
			if err := enc.Encode(e); err != nil {
				t.Fatal(err)
			}
			golden := filepath.Join("testdata", name+".json")
			if *update {
				if err := os.WriteFile(golden, buf.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(buf.Bytes(), want) {
				t.Fatalf("got  %s\nwant %s", buf.Bytes(), want)
			}
			var back chat.Event
			if err := json.Unmarshal(want, &back); err != nil || !reflect.DeepEqual(back, e) {
				t.Fatalf("got %+v, %v; want %+v", back, err, e)
			}
			if got := back.Time(); !got.Equal(at.Time) {
				t.Fatalf("got the time %v; want %v", got, at)
			}
		})
	}
}

func TestEventOfNoTimeHasTheZeroTime(t *testing.T) {
	if got := (&chat.Event{}).Time(); !got.IsZero() {
		t.Fatalf("got %v; want the zero time", got)
	}
}

package wire_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

var update = flag.Bool("update", false, "write the golden files anew")

// Programs that nobody here wrote read these frames. A field may be added; none may change or go. keys are those that the
// contract names.
func TestServerFramesHaveTheJSONOfTheirGoldenFiles(t *testing.T) {
	at := chat.TimeOf(time.Date(2026, 11, 23, 18, 12, 55, 123_000_000, time.UTC))
	title := "Team <A> & B"
	picture, digest := "https://img.example.com/a.png", chat.DigestOf([]byte("sixteen bytes of"))
	message := chat.Event{Type: chat.Message, Chat: "g1", Seq: 42, N: 37, Sender: "ann", ClientID: "x-1", Text: "a < b && é😀\u2028", SentAt: &at}
	added := chat.Event{Type: chat.Changed, Chat: "g1", Seq: 41, N: 36, Change: chat.MemberAdded, User: "bob", By: "ann", Role: chat.Plain, At: &at}
	id := wire.RequestID(`"r1"`)
	for name, c := range map[string]struct {
		frame any
		keys  []string
	}{
		"message":             {message, []string{"type", "chat", "seq", "n", "sender", "client_id", "text", "sent_at"}},
		"chat_created":        {chat.Event{Type: chat.Changed, Chat: "g1", Seq: 1, Change: chat.Created, By: "ann", Title: &title, Kind: chat.Group, Members: []chat.Member{{UserID: "ann", Role: chat.Owner}}, At: &at}, []string{"type", "chat", "seq", "change", "by", "title", "at"}},
		"chat_member_added":   {added, []string{"type", "chat", "seq", "change", "user", "by", "role", "at"}},
		"chat_member_removed": {chat.Event{Type: chat.Changed, Chat: "g1", Seq: 2, Change: chat.MemberRemoved, User: "bob", By: "ann", At: &at}, []string{"type", "chat", "seq", "change", "user", "by", "at"}},
		"chat_role":           {chat.Event{Type: chat.Changed, Chat: "g1", Seq: 2, Change: chat.RoleChanged, User: "bob", By: "ann", Role: chat.Admin, At: &at}, []string{"type", "chat", "seq", "change", "user", "by", "role", "at"}},
		"chat_title":          {chat.Event{Type: chat.Changed, Chat: "g1", Seq: 2, Change: chat.TitleChanged, By: "ann", Title: &title, At: &at}, []string{"type", "chat", "seq", "change", "by", "title", "at"}},
		"chat_picture":        {chat.Event{Type: chat.Changed, Chat: "g1", Seq: 2, Change: chat.PictureChanged, By: "ann", Picture: &picture, At: &at}, []string{"type", "chat", "seq", "change", "by", "picture", "at"}},
		"chat_description":    {chat.Event{Type: chat.Changed, Chat: "g1", Seq: 2, Change: chat.DescriptionChanged, By: "ann", Description: &title, At: &at}, []string{"type", "chat", "seq", "change", "by", "description", "at"}},
		"chat_invite":         {chat.Event{Type: chat.Changed, Chat: "g1", Seq: 2, Change: chat.InviteChanged, By: "ann", Invite: &digest, At: &at}, []string{"type", "chat", "seq", "change", "by", "invite", "at"}},

		"welcome":       {wire.Welcome{Type: wire.TypeWelcome, User: "ann", Session: "s1", ServerTime: at}, []string{"type", "user", "session", "server_time"}},
		"ack_send":      {wire.Ack{Type: wire.TypeAck, ID: id, Chat: "g1", ClientID: "x-1", Seq: 42, SentAt: &at}, []string{"type", "id", "chat", "client_id", "seq", "sent_at"}},
		"ack_duplicate": {wire.Ack{Type: wire.TypeAck, ID: wire.RequestID(`7`), Chat: "g1", ClientID: "x-1", Seq: 42, SentAt: &at, Duplicate: true}, []string{"type", "id", "chat", "client_id", "seq", "sent_at", "duplicate"}},
		"ack_read":      {wire.Ack{Type: wire.TypeAck, ID: id, Chat: "g1", Seq: 42}, []string{"type", "id", "chat", "seq"}},
		"page": {wire.Page{Type: wire.TypePage, ID: id, Chat: "g1", Messages: []json.RawMessage{wire.Encode(added), wire.Encode(message)}, HasMore: true, FromSeq: 41, ToSeq: 42},
			[]string{"type", "id", "chat", "messages", "has_more"}},
		"page_empty":     {wire.Page{Type: wire.TypePage, ID: id, Chat: "g1", Messages: []json.RawMessage{}}, []string{"type", "id", "chat", "messages", "has_more"}},
		"page_http":      {wire.Page{Messages: []json.RawMessage{wire.Encode(message)}, FromSeq: 42, ToSeq: 42}, []string{"messages", "has_more", "from_seq", "to_seq"}},
		"read":           {wire.Read{Type: wire.TypeRead, Chat: "g1", Seq: 42, User: "bob", N: 37}, []string{"type", "chat", "user", "seq"}},
		"delivered":      {wire.Delivered{Type: wire.TypeDelivered, Chat: "g1", Seq: 42, User: "bob"}, []string{"type", "chat", "user", "seq"}},
		"heads":          {wire.ChatHeads{Type: wire.TypeHeads, Heads: map[chat.ID]wire.ChatHead{"g1": {Seq: 42, N: 37}}}, []string{"type", "heads"}},
		"typing":         {wire.NewTyping("g1", "bob", false), []string{"type", "chat", "user"}},
		"typing_stopped": {wire.NewTyping("g1", "bob", true), []string{"type", "chat", "user"}},
		"preferences":    {wire.Preferences{Type: wire.TypePreferences, Typing: true, Presence: wire.Invisible, Revision: 7}, []string{"type"}},
		"profile": {wire.Profile{Type: wire.TypeProfile, User: wire.Person{ID: "ann", Username: "ann_1", DisplayName: "Ann <A>", Status: "at tea", Picture: picture}},
			[]string{"type", "user"}},
		"presence_online":  {wire.Presence{Type: wire.TypePresence, ID: id, User: "bob", Online: true, State: wire.Online}, []string{"type", "user", "online"}},
		"presence_own":     {wire.Presence{Type: wire.TypePresence, User: "bob", Online: true, State: wire.Away, Invisible: true}, []string{"type", "user", "online"}},
		"presence_offline": {wire.Presence{Type: wire.TypePresence, User: "bob", State: wire.Offline, LastSeen: &at}, []string{"type", "user", "online", "last_seen"}},
		"settings":         {wire.Settings{Type: wire.TypeSettings, Chat: "g1", MutedUntil: &at, Archived: true}, []string{"type", "chat", "muted_until", "archived", "marked_unread"}},
		"settings_none":    {wire.Settings{Type: wire.TypeSettings, Chat: "g1", MarkedUnread: true}, []string{"type", "chat", "archived", "marked_unread"}},
		"hidden":           {wire.Hidden{Type: wire.TypeHidden, Chat: "g1", Seqs: []chat.Seq{41, 42}}, []string{"type", "chat", "seqs"}},
		"resync_chat":      {wire.Resync{Type: wire.TypeResync, Chat: "g1"}, []string{"type", "chat"}},
		"resync_all":       {wire.Resync{Type: wire.TypeResync}, []string{"type"}},
		"draining":         {wire.Draining{Type: wire.TypeDraining, ReconnectAfterMS: 5000}, []string{"type", "reconnect_after_ms"}},
		"error":            {wire.Refuse(id, chat.Errorf(chat.Forbidden, "that takes a stronger role")), []string{"type", "id", "code", "message"}},
		"error_retry":      {wire.Refuse(nil, chat.Retry(chat.RateLimited, 1500*time.Millisecond, "slow down")), []string{"type", "code", "message", "retry_after_ms"}},
		"error_internal":   {wire.Refuse(id, os.ErrPermission), []string{"type", "id", "code", "message"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := append(wire.Encode(c.frame), '\n')
			golden := filepath.Join("testdata", name+".json")
			if *update {
				if err := os.WriteFile(golden, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Fatalf("got  %s\nwant %s", got, want)
			}
			var fields map[string]json.RawMessage
			if err := json.Unmarshal(want, &fields); err != nil {
				t.Fatal(err)
			}
			for _, k := range c.keys {
				if v, ok := fields[k]; !ok || string(v) == "null" {
					t.Errorf("got %s; the contract names %q", want, k)
				}
			}
		})
	}
}

func TestRetryIsToldInMilliseconds(t *testing.T) {
	for d, want := range map[time.Duration]int64{0: 0, time.Millisecond: 1, 1500 * time.Millisecond: 1500} {
		if got := wire.Refuse(nil, chat.Retry(chat.Unavailable, d, "x")).RetryAfterMS; got != want {
			t.Errorf("%v: got %d ms; want %d", d, got, want)
		}
	}
}

package client

import (
	"slices"
	"testing"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

func TestWhatWasSetAndHiddenOnAnotherDeviceIsToldByNext(t *testing.T) {
	f := newFake(t)
	conn, s := f.connect(f.login(), ConnConfig{})
	s.write(`{"type":"settings","chat":"c","muted_until":"2030-01-02T03:04:05.000000Z","archived":true,"marked_unread":false}`)
	s.write(`{"type":"settings","chat":"d","muted_until":null,"archived":false,"marked_unread":true}`)
	s.write(`{"type":"hidden","chat":"c","seqs":[4,7]}`)
	var settings []SettingsUpdate
	for len(settings) < 2 {
		u, err := conn.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if u.Settings != nil {
			settings = append(settings, *u.Settings)
		}
	}
	if c, d := settings[0], settings[1]; c.Chat != "c" || c.MutedUntil == nil || c.MutedUntil.Year() != 2030 || !c.Archived || c.MarkedUnread ||
		d.Chat != "d" || d.MutedUntil != nil || d.Archived || !d.MarkedUnread {
		t.Errorf("got %+v", settings)
	}
	for {
		u, err := conn.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if u.Hidden != nil {
			if u.Hidden.Chat != "c" || !slices.Equal(u.Hidden.Seqs, []chat.Seq{4, 7}) {
				t.Errorf("got %+v", u.Hidden)
			}
			return
		}
	}
}

func TestHiddenMessagesThatWaitAreGatheredUpToABound(t *testing.T) {
	b := newInbox("me", 10, nil)
	for i := range chat.Seq(maxHiddenWait + 5) {
		b.put(Update{Hidden: &Hidden{Chat: "c", Seqs: []chat.Seq{i + 1}}})
	}
	b.put(Update{Hidden: &Hidden{Chat: "d", Seqs: []chat.Seq{1}}})
	_, got := taken(b)
	if len(got) != 2 || len(got[0].Hidden.Seqs) != maxHiddenWait || got[0].Hidden.Seqs[0] != 6 || got[1].Hidden.Chat != "d" {
		t.Errorf("got %d updates; want the last %d of c, and d", len(got), maxHiddenWait)
	}
}

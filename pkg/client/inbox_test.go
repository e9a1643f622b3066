package client

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

func message(id chat.ID, seq chat.Seq) *chat.Event {
	return &chat.Event{Type: chat.Message, Chat: id, Seq: seq, Text: "x"}
}

func removed(id chat.ID, seq chat.Seq, user chat.UserID) *chat.Event {
	return &chat.Event{Type: chat.Changed, Chat: id, Seq: seq, Change: chat.MemberRemoved, User: user}
}

// taken takes all that waits and returns the seqs of the events.
func taken(b *inbox) (seqs []chat.Seq, others []Update) {
	for {
		u, ok := b.take()
		switch {
		case !ok:
			return seqs, others
		case u.Event != nil:
			seqs = append(seqs, u.Event.Seq)
		default:
			others = append(others, u)
		}
	}
}

func wantSeqs(t interface {
	Helper()
	Fatalf(string, ...any)
}, got []chat.Seq, want ...chat.Seq) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("got seqs %v; want %v", got, want)
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("got seqs %v; want %v", got, want)
		}
	}
}

func TestAHoleHoldsWhatFollowsUntilItIsFilled(t *testing.T) {
	b := newInbox("me", 100, map[chat.ID]chat.Seq{"c": 41})
	b.live(message("c", 43))
	b.live(message("c", 44))
	got, _ := taken(b)
	wantSeqs(t, got)
	w, ok := b.next()
	if !ok || w.chat != "c" || w.after != 41 {
		t.Fatalf("got task %+v, %v; want a sync of c after 41", w, ok)
	}
	b.page("c", []chat.Event{*message("c", 42)}, false)
	got, _ = taken(b)
	wantSeqs(t, got, 42, 43, 44)
	if w, ok := b.next(); ok {
		t.Errorf("got task %+v; want none", w)
	}
}

func TestDoublesAreDropped(t *testing.T) {
	b := newInbox("me", 100, map[chat.ID]chat.Seq{"c": 0})
	for _, s := range []chat.Seq{1, 1, 2, 1, 3, 3} {
		b.live(message("c", s))
	}
	b.page("c", []chat.Event{*message("c", 2), *message("c", 3), *message("c", 4)}, false)
	got, _ := taken(b)
	wantSeqs(t, got, 1, 2, 3, 4)
}

func TestAFullInboxIsAHoleThatIsFilledOnceThereIsRoom(t *testing.T) {
	b := newInbox("me", 2, map[chat.ID]chat.Seq{"c": 0})
	for s := range chat.Seq(5) {
		b.live(message("c", s+1))
	}
	if w, ok := b.next(); ok {
		t.Fatalf("got task %+v while full; want none", w)
	}
	got, _ := taken(b)
	wantSeqs(t, got, 1, 2)
	w, ok := b.next()
	if !ok || w.after != 2 || w.limit != 2 {
		t.Fatalf("got task %+v, %v; want a sync after 2 of at most 2", w, ok)
	}
	b.page("c", []chat.Event{*message("c", 3), *message("c", 4)}, true)
	got, _ = taken(b)
	wantSeqs(t, got, 3, 4)
	b.next()
	b.page("c", []chat.Event{*message("c", 5)}, false)
	got, _ = taken(b)
	wantSeqs(t, got, 5)
}

func TestAChatThatAppearsLaterIsPlayedFromItsPast(t *testing.T) {
	b := newInbox("me", 1000, nil)
	b.live(message("early", 7)) // before the list: begins here
	b.list([]Chat{{ID: "known", LastSeq: 9}, {ID: "early", LastSeq: 7}})
	b.live(message("known", 10))
	got, _ := taken(b)
	wantSeqs(t, got, 7, 10)

	b.live(message("short", 3))
	w, ok := b.next()
	if !ok || w.chat != "short" || w.after != 0 {
		t.Fatalf("got task %+v, %v; want a sync of short after 0", w, ok)
	}
	b.page("short", []chat.Event{*message("short", 2)}, false) // 1 is from before our membership
	got, _ = taken(b)
	wantSeqs(t, got, 2, 3)

	b.live(message("long", 1000))
	if w, ok := b.next(); !ok || w.chat != "long" || w.after != 1000-maxPast {
		t.Fatalf("got task %+v, %v; want a sync of long after %d", w, ok, 1000-maxPast)
	}
	_, others := taken(b)
	if len(others) != 1 || others[0].Skipped == nil || others[0].Skipped.To != 1000-maxPast {
		t.Fatalf("got %+v; want the skipped part told", others)
	}
	b.live(&chat.Event{Type: chat.Changed, Chat: "added", Seq: 500, Change: chat.MemberAdded, User: "me"})
	got, _ = taken(b)
	wantSeqs(t, got, 500)
}

func TestWhatComesAfterOurRemovalAndReturnIsPlayedOnce(t *testing.T) {
	b := newInbox("me", 100, map[chat.ID]chat.Seq{"c": 1})
	b.live(removed("c", 2, "me"))
	if len(b.cursors(false)) != 0 {
		t.Errorf("got cursors %v; want none for the server", b.cursors(false))
	}
	b.live(message("c", 9)) // we were added again and missed it
	w, ok := b.next()
	if !ok || w.after != 2 {
		t.Fatalf("got task %+v, %v; want a sync after 2", w, ok)
	}
	b.page("c", []chat.Event{{Type: chat.Changed, Chat: "c", Seq: 8, Change: chat.MemberAdded, User: "me"}}, false)
	got, _ := taken(b)
	wantSeqs(t, got, 2, 8, 9)
	if b.cursors(false)["c"] != 9 || b.cursors(true)["c"] != 9 {
		t.Errorf("got cursors %v and %v; want 9", b.cursors(false), b.cursors(true))
	}
}

func TestARefusedSyncDeliversWhatCameAndSaysThatTheChatIsGone(t *testing.T) {
	b := newInbox("me", 100, map[chat.ID]chat.Seq{"c": 1, "d": 1})
	b.live(message("c", 3))
	b.live(removed("c", 4, "me"))
	b.gone("c")
	got, others := taken(b)
	wantSeqs(t, got, 3, 4)
	if len(others) != 0 {
		t.Errorf("got %+v; want the removal to be enough", others)
	}
	b.gone("d")
	_, others = taken(b)
	if len(others) != 1 || others[0].Left == nil || others[0].Left.Chat != "d" {
		t.Errorf("got %+v; want that d is left", others)
	}
	if w, ok := b.next(); ok {
		t.Errorf("got task %+v; want none", w)
	}
}

func TestAHoleThatTheServerDoesNotFillIsGivenUp(t *testing.T) {
	b := newInbox("me", 100, map[chat.ID]chat.Seq{"c": 1})
	b.live(message("c", 5))
	for i := range maxFruitless {
		if wait := b.page("c", nil, false); wait != (i < maxFruitless-1) {
			t.Errorf("empty page %d: got wait %v", i+1, wait)
		}
	}
	got, _ := taken(b)
	wantSeqs(t, got, 5)
	if w, ok := b.next(); ok {
		t.Errorf("got task %+v; want none", w)
	}
}

func TestOnlyTheLastOfWhatIsNoEventWaits(t *testing.T) {
	b := newInbox("me", 10, nil)
	for s := range chat.Seq(100) {
		b.put(Update{Read: &Read{Chat: "c", User: "u", Seq: s}})
		b.put(Update{Presence: &Presence{User: "u", Online: s%2 == 0}})
	}
	_, others := taken(b)
	if len(others) != 2 || others[0].Read.Seq != 99 || others[1].Presence.Online {
		t.Errorf("got %+v; want the last read and the last presence", others)
	}
	b.put(Update{Read: &Read{Chat: "c", User: "u", Seq: 100}})
	if _, others = taken(b); len(others) != 1 {
		t.Errorf("got %+v; want the next read", others)
	}
}

// TestAnyLossDoubleAndDisorderEndsInOrderWithoutHoles plays a server that pushes a chat's events in any order, some
// never, some more than once, against pages that are right.
func TestAnyLossDoubleAndDisorderEndsInOrderWithoutHoles(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := chat.Seq(rapid.IntRange(1, 120).Draw(t, "events"))
		b := newInbox("me", rapid.IntRange(1, 40).Draw(t, "room"), map[chat.ID]chat.Seq{"c": 0})
		pushed := rapid.SliceOfN(rapid.Uint64Range(1, uint64(n)), 0, 200).Draw(t, "pushes")
		var got []chat.Seq
		step := func(what int) {
			switch what {
			case 0:
				if u, ok := b.take(); ok && u.Event != nil {
					got = append(got, u.Event.Seq)
				}
			case 1:
				if w, ok := b.next(); ok && w.chat == "c" {
					var p []chat.Event
					for s := w.after + 1; s <= n && len(p) < w.limit; s++ {
						p = append(p, *message("c", s))
					}
					b.page("c", p, w.after+chat.Seq(len(p)) < n)
				}
			}
			if b.events > b.room {
				t.Fatalf("%d events wait; want at most %d", b.events, b.room)
			}
		}
		for _, s := range pushed {
			b.live(message("c", chat.Seq(s)))
			step(rapid.IntRange(0, 2).Draw(t, "step"))
		}
		b.resync("c") // the server says so when it lost the last ones
		for range 20 * int(n) {
			step(1)
			step(0)
		}
		want := make([]chat.Seq, n)
		for i := range want {
			want[i] = chat.Seq(i + 1)
		}
		wantSeqs(t, got, want...)
	})
}

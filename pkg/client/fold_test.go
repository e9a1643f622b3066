package client

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

// drawLog draws the events of a chat in which nothing lands on what is deleted.
func drawLog(t *rapid.T) []chat.Event {
	people := []chat.UserID{"ann", "bob", "cid"}
	var out, alive []chat.Event
	for n := range rapid.IntRange(1, 30).Draw(t, "events") {
		moment := chat.TimeOf(time.Unix(int64(n), 0))
		e := chat.Event{Chat: "g1", Seq: chat.Seq(n + 1), By: rapid.SampledFrom(people).Draw(t, "by"), At: &moment}
		what := rapid.SampledFrom([]string{"message", "reply", "edit", "react", "react", "unreact", "delete"}).Draw(t, "what")
		if len(alive) == 0 {
			what = "message"
		}
		if what != "message" {
			e.Target = rapid.SampledFrom(alive).Draw(t, "target").Seq
		}
		switch what {
		case "message", "reply":
			e = chat.Event{Type: chat.Message, Chat: "g1", Seq: e.Seq, Sender: e.By, ClientID: "c", Text: fmt.Sprint("text ", n), SentAt: &moment, ReplyTo: e.Target}
			alive = append(alive, e)
		case "edit":
			e.Type, e.Text = chat.Edited, fmt.Sprint("text ", n)
		case "react", "unreact":
			e.Type, e.Emoji, e.Removed = chat.Reacted, rapid.SampledFrom([]string{"👍", "🎉"}).Draw(t, "emoji"), what == "unreact"
		case "delete":
			e.Type = chat.Deleted
			alive = slices.DeleteFunc(alive, func(m chat.Event) bool { return m.Seq == e.Target })
		}
		out = append(out, e)
	}
	return out
}

// pageOf is what the server answers when upTo is the last event: the messages from one seq to another, as they stand.
func pageOf(log []chat.Event, from, to, upTo chat.Seq) History {
	var f chat.Fold
	for i := range log[:upTo] {
		f.Add(&log[i])
	}
	h := History{FromSeq: from, ToSeq: to, FoldedTo: upTo}
	for _, e := range log[from-1 : to] {
		if e.Type != chat.Message {
			continue
		}
		m := f.Message(e)
		if m.ReplyTo > 0 {
			answered := f.Message(log[m.ReplyTo-1])
			m.Reply = answered.Shown()
		}
		h.Messages = append(h.Messages, m)
	}
	return h
}

// loose is a message with its reactions as a set: a page does not say when each came.
func loose(m chat.Folded) any {
	set := map[string]int{}
	for _, r := range m.Reactions {
		set[r.Emoji] = r.Count
		for _, u := range r.Users {
			set[r.Emoji+string(u)]++
		}
	}
	m.Reactions = nil
	return []any{m, set}
}

func TestADeviceThatWasAwayFoldsPagesAndEventsToWhatTheServerSays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		log := drawLog(t)
		last := chat.Seq(len(log))
		// The device was there up to cursor; then it reads pages, while the events behind the cursor come in order, in between or later.
		cursor := rapid.Uint64Max(uint64(last)).Draw(t, "cursor")
		var f Fold
		for i := range log[:cursor] {
			f.Event(&log[i])
		}
		for seq := cursor + 1; seq <= uint64(last); {
			if rapid.Bool().Draw(t, "page now") {
				from := chat.Seq(rapid.Uint64Range(1, uint64(last)).Draw(t, "from"))
				to := chat.Seq(rapid.Uint64Range(uint64(from), uint64(last)).Draw(t, "to"))
				// The server is at least as far as what it has pushed.
				upTo := chat.Seq(rapid.Uint64Range(max(seq-1, uint64(to)), uint64(last)).Draw(t, "up to"))
				f.Page(pageOf(log, from, to, upTo))
			}
			f.Event(&log[seq-1])
			seq++
		}
		want := pageOf(log, 1, last, last)
		got := f.Messages()
		if len(got) != len(want.Messages) {
			t.Fatalf("got %d messages; want %d", len(got), len(want.Messages))
		}
		for i, m := range got {
			if a, b := loose(m), loose(want.Messages[i]); !reflect.DeepEqual(a, b) {
				t.Fatalf("message %d: got %+v; want %+v", m.Seq, a, b)
			}
		}
	})
}

func TestAFoldWithoutPagesIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		log := drawLog(t)
		var f Fold
		for _, e := range rapid.Permutation(log).Draw(t, "order") {
			f.Event(&e)
		}
		if got, want := f.Messages(), pageOf(log, 1, chat.Seq(len(log)), chat.Seq(len(log))).Messages; !reflect.DeepEqual(got, want) && len(want) > 0 {
			t.Fatalf("got %+v; want %+v", got, want)
		}
		if _, ok := f.Message(1000); ok {
			t.Fatal("got a message that was not given")
		}
	})
}

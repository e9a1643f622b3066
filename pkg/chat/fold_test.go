package chat_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/chatmesh/chatmesh/pkg/chat"
)

// told is what somebody who saw every event in order says of a message. It is written apart from Fold and the simple way.
type told struct {
	event     chat.Event
	text      string
	mentions  []chat.UserID
	edits     int
	editedAt  *chat.Time
	deleted   *chat.Erasure
	reactions []given // in the order in which they came; one that comes again goes to the end
}

type given struct {
	by    chat.UserID
	emoji string
}

func (m *told) see(e *chat.Event) {
	switch {
	case m.deleted != nil:
	case e.Type == chat.Deleted && e.Target == m.event.Seq, e.Type == chat.Changed && e.User == m.event.Sender:
		m.deleted = &chat.Erasure{Seq: e.Seq, By: e.By, At: *e.At}
	case e.Target != m.event.Seq:
	case e.Type == chat.Edited:
		m.text, m.mentions, m.edits, m.editedAt = e.Text, e.Mentions, m.edits+1, e.At
	case e.Type == chat.Reacted:
		var rest []given
		for _, g := range m.reactions {
			if g != (given{e.By, e.Emoji}) {
				rest = append(rest, g)
			}
		}
		if m.reactions = rest; !e.Removed {
			m.reactions = append(rest, given{e.By, e.Emoji})
		}
	}
}

func (m *told) folded() chat.Folded {
	out := chat.Folded{Event: m.event}
	if m.deleted != nil {
		out.Event = m.event.Stub(*m.deleted)
		return out
	}
	out.Text, out.Mentions, out.Edits, out.EditedAt = m.text, m.mentions, m.edits, m.editedAt
	for _, g := range m.reactions {
		found := false
		for i := range out.Reactions {
			if r := &out.Reactions[i]; r.Emoji == g.emoji {
				found = true
				r.Count, r.Users = r.Count+1, append(r.Users, g.by)
			}
		}
		if !found && len(out.Reactions) < chat.MaxReactions {
			out.Reactions = append(out.Reactions, chat.Reaction{Emoji: g.emoji, Count: 1, Users: []chat.UserID{g.by}})
		}
	}
	return out
}

// drawStory draws the events of a chat as they can follow each other: nothing lands on what is deleted.
func drawStory(t *rapid.T) []chat.Event {
	var out []chat.Event
	var alive []chat.Event
	people := []chat.UserID{"ann", "bob", "cid"}
	emoji := []string{"👍", "❤️", "🎉"}
	for n := range rapid.IntRange(1, 40).Draw(t, "events") {
		at := chat.TimeOf(time.Unix(int64(n), 0))
		e := chat.Event{Chat: "g1", Seq: chat.Seq(n + 1), By: rapid.SampledFrom(people).Draw(t, "by"), At: &at}
		what := rapid.SampledFrom([]string{"message", "edit", "edit", "react", "react", "react", "unreact", "delete", "erase", "title"}).Draw(t, "what")
		if len(alive) == 0 && what != "title" && what != "erase" {
			what = "message"
		}
		var target chat.Event
		if what != "message" && len(alive) > 0 {
			target = rapid.SampledFrom(alive).Draw(t, "target")
			e.Target = target.Seq
		}
		switch what {
		case "message":
			e = chat.Event{Type: chat.Message, Chat: "g1", Seq: e.Seq, Sender: e.By, ClientID: "c", Text: fmt.Sprint("text ", n), SentAt: &at}
			alive = append(alive, e)
		case "edit":
			e.Type, e.By, e.Text = chat.Edited, target.Sender, fmt.Sprint("text ", n)
			if rapid.Bool().Draw(t, "mention") {
				e.Mentions = []chat.UserID{"bob"}
			}
		case "react", "unreact":
			e.Type, e.Emoji, e.Removed = chat.Reacted, rapid.SampledFrom(emoji).Draw(t, "emoji"), what == "unreact"
		case "delete":
			e.Type = chat.Deleted
		case "erase":
			e.Type, e.Change, e.User, e.Target = chat.Changed, chat.Erased, e.By, 0
		case "title":
			e.Type, e.Change, e.Target = chat.Changed, chat.TitleChanged, 0
		}
		var left []chat.Event
		for _, m := range alive {
			gone := what == "delete" && m.Seq == target.Seq || what == "erase" && m.Sender == e.User
			if !gone {
				left = append(left, m)
			}
		}
		alive = left
		out = append(out, e)
	}
	return out
}

// narrate is what somebody who saw every event says of each message.
func narrate(story []chat.Event) map[chat.Seq]chat.Folded {
	seen := map[chat.Seq]*told{}
	for i := range story {
		e := &story[i]
		for _, m := range seen {
			m.see(e)
		}
		if e.Type == chat.Message {
			seen[e.Seq] = &told{event: *e, text: e.Text}
		}
	}
	out := map[chat.Seq]chat.Folded{}
	for seq, m := range seen {
		out[seq] = m.folded()
	}
	return out
}

func TestAFoldIsWhatWhoSawEveryEventSaysInWhateverOrderTheyCome(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		story := drawStory(t)
		if rapid.Bool().Draw(t, "twice") {
			story = append(story, story[:len(story)/2]...)
		}
		var f chat.Fold
		for _, e := range rapid.Permutation(story).Draw(t, "order") {
			f.Add(&e)
		}
		for seq, want := range narrate(dedupe(story)) {
			m := story[seq-1]
			if got := f.Message(m); !reflect.DeepEqual(got, want) {
				t.Fatalf("message %d: got %+v; want %+v", seq, got, want)
			}
		}
	})
}

// dedupe leaves out what came a second time.
func dedupe(story []chat.Event) []chat.Event {
	for i := 1; i < len(story); i++ {
		if story[i].Seq < story[i-1].Seq {
			return story[:i]
		}
	}
	return story
}

func TestAFoldGoesOnFromWhereAPageEnds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		story := drawStory(t)
		upTo := chat.Seq(rapid.IntRange(1, len(story)).Draw(t, "page up to"))
		page := narrate(story[:upTo])
		want := narrate(story)
		var f chat.Fold
		for _, e := range rapid.Permutation(story[rapid.IntRange(0, int(upTo)).Draw(t, "from"):]).Draw(t, "order") {
			f.Add(&e)
		}
		for seq, m := range page {
			got := f.Over(m, upTo)
			// The page does not say when each reaction came: their order may be another.
			if a, b := inAnyOrder(got), inAnyOrder(want[seq]); !reflect.DeepEqual(a, b) {
				t.Fatalf("message %d: got %+v; want %+v", seq, a, b)
			}
		}
	})
}

// inAnyOrder has the reactions of a message as a set.
func inAnyOrder(m chat.Folded) any {
	set := map[given]bool{}
	for _, r := range m.Reactions {
		for _, u := range r.Users {
			set[given{u, r.Emoji}] = true
		}
		if r.Count != len(r.Users) {
			set[given{"count", r.Emoji}] = true
		}
	}
	m.Reactions = nil
	return []any{m, set}
}

func TestReactionsOfManyAreCountedAndFewAreNamed(t *testing.T) {
	var f chat.Fold
	at := chat.Now()
	m := chat.Event{Type: chat.Message, Chat: "g1", Seq: 1, Sender: "ann", ClientID: "c", Text: "x", SentAt: &at}
	seq := chat.Seq(1)
	react := func(by, emoji string, removed bool) {
		seq++
		f.Add(&chat.Event{Type: chat.Reacted, Chat: "g1", Seq: seq, Target: 1, By: chat.UserID(by), Emoji: emoji, Removed: removed, At: &at})
	}
	for n := range 150 {
		react(fmt.Sprint("u", n), "👍", false)
	}
	got := f.Message(m)
	if len(got.Reactions) != 1 || got.Reactions[0].Count != 150 || len(got.Reactions[0].Users) != chat.MaxReactors || got.Reactions[0].Users[0] != "u0" {
		t.Fatalf("got %+v; want 150, the first %d named", got.Reactions, chat.MaxReactors)
	}
	// From a page that names the first only: somebody whom it does not name takes theirs back, somebody new gives one.
	upTo := seq
	react("u149", "👍", true)
	react("new", "👍", false)
	react("u0", "👍", true)
	if over := f.Over(got, upTo); over.Reactions[0].Count != 149 {
		t.Fatalf("got %+v; want 149", over.Reactions)
	}
	for n := range chat.MaxReactions + 3 {
		react("u1", string(rune(0x1F600+n)), false)
	}
	if got := f.Message(m); len(got.Reactions) != chat.MaxReactions || got.Reactions[0].Emoji != "👍" {
		t.Fatalf("got %d emoji; want the first %d", len(got.Reactions), chat.MaxReactions)
	}
	if n := len(f.Standing(1)); n != 149+chat.MaxReactions+3 {
		t.Fatalf("got %d that stand; want all", n)
	}
}

func TestTheTextOfAnEditMayComeLater(t *testing.T) {
	at := chat.Now()
	m := chat.Event{Type: chat.Message, Chat: "g1", Seq: 1, Sender: "ann", ClientID: "c", Text: "first", SentAt: &at}
	edit := chat.Event{Type: chat.Edited, Chat: "g1", Seq: 5, Target: 1, By: "ann", At: &at}
	var f chat.Fold
	f.Add(&edit)
	if f.Untold(1) != 5 || f.Untold(2) != 0 {
		t.Fatalf("got %d; want the edit at 5", f.Untold(1))
	}
	edit.Text = "second"
	f.Add(&edit)
	if got := f.Message(m); f.Untold(1) != 0 || got.Text != "second" || got.Edits != 1 {
		t.Fatalf("got %+v", got)
	}
	f.Forget(1)
	if f.Untold(1) != 5 {
		t.Fatal("it is not forgotten")
	}
	stub := edit.Stub(chat.Erasure{Seq: 6, By: "ann", At: at})
	f.Add(&stub)
	if got := f.Message(m); f.Untold(1) != 0 || got.Deleted == nil || got.Text != "" || got.Edits != 0 {
		t.Fatalf("got %+v; want no text", got)
	}
}

func TestACutTextHasWholeCodePoints(t *testing.T) {
	for _, c := range []struct {
		text string
		n    int
		want string
		cut  bool
	}{{"", 3, "", false}, {"abc", 3, "abc", false}, {"abcd", 3, "abc", true}, {"äöüß", 3, "äöü", true}, {"😀😀😀", 3, "😀😀😀", false}, {"x", 0, "", true}} {
		if got, cut := chat.Cut(c.text, c.n); got != c.want || cut != c.cut {
			t.Errorf("%q cut to %d: got %q, %v", c.text, c.n, got, cut)
		}
	}
	m := chat.Folded{Event: chat.Event{Seq: 4, Sender: "ann", Text: strings.Repeat("é", 500)}}
	if r := m.Shown(); r.Seq != 4 || r.Sender != "ann" || utf8.RuneCountInString(r.Text) != chat.MaxReplyText || r.Deleted {
		t.Errorf("got %+v", r)
	}
	m.Deleted = &chat.Erasure{Seq: 9}
	if r := m.Shown(); r.Text != "" || !r.Deleted {
		t.Errorf("got %+v; want no text", r)
	}
}

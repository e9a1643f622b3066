package chatlog_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/chatmesh/chatmesh/pkg/bus"
	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/chatlog"
	"github.com/chatmesh/chatmesh/pkg/meshtest"
	"github.com/chatmesh/chatmesh/pkg/store"
	"github.com/chatmesh/chatmesh/pkg/subject"
	"github.com/chatmesh/chatmesh/pkg/wire"
)

// event reads the event at seq.
func event(t testing.TB, l *chatlog.Log, id chat.ID, seq chat.Seq) chat.Event {
	t.Helper()
	it, err := l.Event(t.Context(), id, seq)
	if err != nil {
		t.Fatalf("event %d: %v", seq, err)
	}
	e, err := wire.DecodeEvent(it.Body)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// deletion makes the command that deletes messages or edits of which the first is the target, as they are at this moment.
func deletion(t testing.TB, l *chatlog.Log, id chat.ID, by chat.UserID, seqs ...chat.Seq) chat.Delete {
	t.Helper()
	snap, err := l.Snapshot(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	c := chat.Delete{By: by}
	for _, seq := range seqs {
		c.Events = append(c.Events, event(t, l, id, seq))
	}
	c.Target = chat.Target{Seq: seqs[0], Sender: c.Events[0].Sender, Head: snap.Head.Seq}
	return c
}

// whole checks that the log of a chat, read from every place, has each seq once and in order, and returns its events.
func whole(t testing.TB, l *chatlog.Log, id chat.ID, n int) []chat.Event {
	t.Helper()
	var all []chat.Event
	for after := range n {
		page, err := l.Page(t.Context(), id, store.Range{After: chat.Seq(after), Forward: true, Limit: n})
		if err != nil || len(page.Items) != n-after {
			t.Fatalf("behind %d: got %d events, %v; want %d", after, len(page.Items), err, n-after)
		}
		for i, it := range page.Items {
			e, err := wire.DecodeEvent(it.Body)
			if err != nil || e.Seq != chat.Seq(after+i+1) || it.Seq != e.Seq {
				t.Fatalf("behind %d, event %d: got seq %d, %v", after, i, e.Seq, err)
			}
			if after == 0 {
				all = append(all, e)
			}
		}
	}
	return all
}

func TestAnErasedTextIsGoneFromTheLogAndKeepsItsPlace(t *testing.T) {
	onEveryBroker(t, 1, func(t *testing.T, b meshtest.Connector) {
		l, other := newLog(t, b, 1), newLog(t, b, 1)
		create(t, l, "c1", "ann", "ben")
		const marker = "the-text-that-is-to-be-gone"
		for i, text := range []string{"one", marker + "-1", "three", "four"} {
			if _, err := l.Append(t.Context(), "c1", chat.Send{Sender: "ann", ClientID: chat.ClientID(fmt.Sprint("m", i)), Text: text}); err != nil {
				t.Fatal(err)
			}
		}
		target := chat.Target{Seq: 3, Sender: "ann", Head: 5}
		if _, err := l.Append(t.Context(), "c1", chat.Edit{By: "ann", Target: target, Text: marker + "-2"}); err != nil {
			t.Fatal(err)
		}
		whole(t, other, "c1", 6)
		r, err := l.Append(t.Context(), "c1", deletion(t, l, "c1", "ann", 3, 6))
		if err != nil || r.Seq != 7 {
			t.Fatalf("deletion: got %+v, %v; want seq 7", r, err)
		}
		for range 2 { // once more does no harm
			if err := l.Scrub(t.Context(), "c1", 3, 6); err != nil {
				t.Fatal(err)
			}
		}
		for _, by := range []*chatlog.Log{l, other} {
			events := whole(t, by, "c1", 7)
			for _, seq := range []chat.Seq{3, 6} {
				e := events[seq-1]
				if e.Text != "" || e.Deleted == nil || e.Deleted.Seq != 7 || e.Deleted.By != "ann" {
					t.Errorf("event %d: got %+v; want a stub", seq, e)
				}
			}
			if e := events[2]; e.Sender != "ann" || e.ClientID != "m1" || e.N != 2 || e.SentAt == nil {
				t.Errorf("the stub of a message: got %+v", e)
			}
			if e := events[5]; e.Target != 3 || e.By != "ann" || e.N != 4 {
				t.Errorf("the stub of an edit: got %+v", e)
			}
		}
		// Who wrote with what was known before, and who did not see it pass, go on behind it.
		for i, by := range []*chatlog.Log{l, other} {
			r, err := by.Append(t.Context(), "c1", send("ben", fmt.Sprint("next", i)))
			if want := chat.Seq(8 + i); err != nil || r.Seq != want {
				t.Fatalf("the next message: got %+v, %v; want seq %d", r, err, want)
			}
		}
		// A late retry of the erased message gets its seq, and brings no text back.
		if r, err := other.Append(t.Context(), "c1", chat.Send{Sender: "ann", ClientID: "m1", Text: marker}); err == nil && (!r.Duplicate || r.Seq != 3) {
			t.Errorf("a retry of an erased message: got %+v", r)
		}
		if single, ok := b.(*meshtest.Broker); ok {
			if files := filesWith(t, single.JetStreamConfig().StoreDir, marker); len(files) > 0 {
				t.Errorf("the text is still in %q", files)
			}
		}
	})
}

// filesWith lists the files below a folder in which a text stands.
func filesWith(t testing.TB, dir, text string) (found []string) {
	t.Helper()
	seen := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		body, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if seen++; bytes.Contains(body, []byte(text)) {
			found = append(found, path)
		}
		return err
	})
	if err != nil || seen == 0 {
		t.Fatalf("%s: %d files, %v", dir, seen, err)
	}
	return found
}

func TestWhatHasNoStubAndTheLastEventAreNotTakenOutOfTheLog(t *testing.T) {
	b := newBroker(t, 1)
	l := newLog(t, b, 1)
	create(t, l, "c1", "ann")
	for i := range 3 {
		if _, err := l.Append(t.Context(), "c1", send("ann", fmt.Sprint("m", i))); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Scrub(t.Context(), "c1", 2); err == nil {
		t.Error("an event without a stub: got no error")
	}
	last := event(t, l, "c1", 4)
	if err := l.PutStubs(t.Context(), "c1", []chat.Event{last.Stub(chat.Erasure{Seq: 5, By: "ann", At: chat.Now()})}); err != nil {
		t.Fatal(err)
	}
	if err := l.Scrub(t.Context(), "c1", 4); err == nil {
		t.Error("the last event: got no error")
	}
	if err := l.PutStubs(t.Context(), "c1", []chat.Event{last}); err == nil {
		t.Error("a stub with a text: got no error")
	}
	whole(t, l, "c1", 4)
}

func TestNothingIsDoneToAMessageBehindItsDeletion(t *testing.T) {
	onEveryBroker(t, 1, func(t *testing.T, b meshtest.Connector) {
		logs := []*chatlog.Log{newLog(t, b, 1), newLog(t, b, 1)}
		for round := range 8 {
			id := chat.ID(fmt.Sprint("c", round))
			create(t, logs[0], id, "ann", "ben")
			if _, err := logs[0].Append(t.Context(), id, send("ann", "m")); err != nil {
				t.Fatal(err)
			}
			target := chat.Target{Seq: 2, Sender: "ann", Head: 2}
			cmds := []chat.Command{
				deletion(t, logs[0], id, "ann", 2), deletion(t, logs[1], id, "ann", 2),
				chat.Edit{By: "ann", Target: target, Text: "other"}, chat.React{By: "ben", Target: target, Emoji: "👍"},
				chat.Pin{By: "ann", Target: target},
			}
			var wg sync.WaitGroup
			var mu sync.Mutex
			landed := map[chat.Seq]string{}
			for i, cmd := range cmds {
				wg.Go(func() {
					r, err := logs[i%2].Append(t.Context(), id, cmd)
					switch {
					case err == nil:
						mu.Lock()
						landed[r.Seq] = fmt.Sprintf("%T", cmd)
						mu.Unlock()
					case !errors.Is(err, chat.ErrStale):
						t.Errorf("%T: %v", cmd, err)
					}
				})
			}
			wg.Wait()
			deleted := chat.Seq(0)
			for _, e := range whole(t, logs[0], id, 2+len(landed)) {
				switch {
				case deleted > 0:
					t.Errorf("%s: event %d (%s) stands behind the deletion at %d", id, e.Seq, landed[e.Seq], deleted)
				case e.Type == chat.Deleted:
					deleted = e.Seq
				}
			}
			if deleted == 0 && !slices.Contains(slices.Collect(func(yield func(string) bool) {
				for _, what := range landed {
					if !yield(what) {
						return
					}
				}
			}), "chat.Edit") {
				t.Errorf("%s: neither the deletion nor the edit landed: %v", id, landed)
			}
		}
	})
}

// Deletions go in batches with other appends, and an expectation that has become wrong costs only its own chat a retry.
func TestDeletionsOfManyChatsGoTogether(t *testing.T) {
	b := newBroker(t, 1)
	l, other := newLog(t, b, 1), newLog(t, b, 1)
	const chats = 40
	var wg sync.WaitGroup
	for i := range chats {
		wg.Go(func() {
			id := chat.ID(fmt.Sprint("c", i))
			create(t, l, id, "ann", "ben")
			for n := range 4 {
				if _, err := l.Append(t.Context(), id, send("ann", fmt.Sprint("m", n))); err != nil {
					t.Error(err)
				}
			}
			gone := deletion(t, l, id, "ann", 3)
			if i%4 == 0 { // somebody else was quicker
				if _, err := other.Append(t.Context(), id, send("ben", "quick")); err != nil {
					t.Error(err)
				}
			}
			if _, err := l.Append(t.Context(), id, gone); err != nil {
				t.Errorf("%s: %v", id, err)
			}
			if err := l.Scrub(t.Context(), id, 3); err != nil {
				t.Errorf("%s: %v", id, err)
			}
			if _, err := l.Append(t.Context(), id, send("ann", "after")); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for i := range chats {
		n := 7
		if i%4 == 0 {
			n++
		}
		events := whole(t, other, chat.ID(fmt.Sprint("c", i)), n)
		if events[2].Deleted == nil || events[n-1].ClientID != "after" {
			t.Errorf("chat %d: got %+v", i, events)
		}
	}
}

func TestALogFullOfHolesIsReadFromEveryPlace(t *testing.T) {
	b := newBroker(t, 1)
	l := newLog(t, b, 1)
	run := 0
	rapid.Check(t, func(rt *rapid.T) {
		run++
		id := chat.ID(fmt.Sprint("c", run))
		create(t, l, id, "ann")
		n := rapid.IntRange(2, 25).Draw(rt, "messages")
		for i := range n {
			if _, err := l.Append(t.Context(), id, send("ann", fmt.Sprint("m", i))); err != nil {
				rt.Fatal(err)
			}
		}
		var stubs []chat.Event
		var gone []chat.Seq
		for seq := chat.Seq(2); seq <= chat.Seq(n); seq++ {
			if rapid.Bool().Draw(rt, "gone") {
				stubs = append(stubs, event(t, l, id, seq).Stub(chat.Erasure{Seq: chat.Seq(n + 1), By: "ann", At: chat.Now()}))
				gone = append(gone, seq)
			}
		}
		if err := l.PutStubs(t.Context(), id, stubs); err != nil {
			rt.Fatal(err)
		}
		for _, seq := range rapid.Permutation(gone).Draw(rt, "order") {
			if err := l.Scrub(t.Context(), id, seq); err != nil {
				rt.Fatal(err)
			}
		}
		for i, e := range whole(t, l, id, n+1) {
			if got, want := e.Deleted != nil, slices.Contains(gone, chat.Seq(i+1)); got != want {
				rt.Fatalf("event %d: got a stub %v; want %v", i+1, got, want)
			}
		}
	})
}

func TestWhatStandsInTheStreamOfAnErasedEventIsTheStubOnly(t *testing.T) {
	b := newBroker(t, 1)
	l := newLog(t, b, 1)
	create(t, l, "c1", "ann")
	if _, err := l.Append(t.Context(), "c1", send("ann", "m")); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Append(t.Context(), "c1", deletion(t, l, "c1", "ann", 2)); err != nil {
		t.Fatal(err)
	}
	if err := l.Scrub(t.Context(), "c1", 2); err != nil {
		t.Fatal(err)
	}
	conn := b.Bus(t)
	msgs, err := conn.LastFor(t.Context(), subject.ChatStream(0), subject.AllOf(0))
	if err != nil {
		t.Fatal(err)
	}
	var subjects []string
	for _, m := range msgs {
		subjects = append(subjects, m.Subject)
		if bytes.Contains(m.Data, []byte("hello")) {
			t.Errorf("%s: got %s", m.Subject, m.Data)
		}
	}
	want := []string{subject.Log(0, "c1"), subject.Erased(0, "c1", 2), subject.State(0, "c1")}
	if !slices.Equal(subjects, want) {
		t.Errorf("got %q; want %q", subjects, want)
	}
	if _, err := conn.At(context.Background(), subject.ChatStream(0), 3); !errors.Is(err, bus.ErrNotFound) {
		t.Errorf("the place of the message: got %v; want that nothing is there", err)
	}
}

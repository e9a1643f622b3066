package pebble

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/store"
)

// tablesWith lists the tables of a folder in which a text stands, of all that there are.
func tablesWith(t *testing.T, dir, text string) (found []string, all int) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		body, err := os.ReadFile(f)
		if os.IsNotExist(err) { // merged meanwhile
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if all++; bytes.Contains(body, []byte(text)) {
			found = append(found, filepath.Base(f))
		}
	}
	return found, all
}

func TestAnErasedBodyLeavesTheFiles(t *testing.T) {
	t.Parallel()
	const marker = "the-text-that-is-to-leave-the-files"
	dir := t.TempDir()
	o := Options{SweepEvery: time.Hour, plain: true} // purge is called here
	s, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	entry := func(id chat.ID, seq chat.Seq, text string) store.Entry {
		at := chat.Now()
		return store.Entry{Stream: uint64(seq), Body: []byte(text), Event: chat.Event{Type: chat.Message, Chat: id, Seq: seq, N: uint64(seq),
			Sender: "ann", ClientID: chat.ClientID(fmt.Sprint("m", seq)), SentAt: &at}}
	}
	for _, id := range []chat.ID{"a", "b", "c"} {
		for seq := chat.Seq(1); seq <= 20; seq++ {
			text := "stays"
			if seq == 7 || seq == 9 {
				text = marker
			}
			if err := s.Write(t.Context(), store.Batch{Events: []store.Entry{entry(id, seq, text)}}); err != nil {
				t.Fatal(err)
			}
		}
		// In tables of the lowest level, where nothing moves by itself.
		if err := s.db.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.db.Compact(t.Context(), newKey(eventTable), after(newKey(eventTable)), false); err != nil {
		t.Fatal(err)
	}
	if found, _ := tablesWith(t, dir, marker); len(found) == 0 {
		t.Fatal("the text is in no table: the test proves nothing")
	}
	for _, id := range []chat.ID{"a", "b", "c"} {
		for _, seq := range []chat.Seq{7, 9} {
			stub := entry(id, seq, "stub")
			stub.Event.Deleted = &chat.Erasure{Seq: 21, By: "ann", At: chat.Now()}
			if err := s.Write(t.Context(), store.Batch{Erased: []store.Entry{stub}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := s.Close(); err != nil { // what is to be purged is remembered
		t.Fatal(err)
	}
	if s, err = Open(dir, o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if n, err := s.purge(); err != nil || n != 6 {
		t.Fatalf("purge: got %d, %v; want 6", n, err)
	}
	deadline := time.Now().Add(2 * time.Minute) // the engine removes files that are done with on its own time
	for {
		found, all := tablesWith(t, dir, marker)
		if len(found) == 0 && all > 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the text is still in %v of %d tables", found, all)
		}
		time.Sleep(10 * time.Millisecond)
	}
	if n, err := s.purge(); err != nil || n != 0 {
		t.Errorf("purge again: got %d, %v; want that nothing is left to do", n, err)
	}
	for _, id := range []chat.ID{"a", "b", "c"} {
		items, err := s.Page(t.Context(), id, store.Range{Limit: 100})
		if err != nil || len(items) != 20 {
			t.Fatalf("%s: got %d events, %v; want 20", id, len(items), err)
		}
		for _, it := range items {
			want := "stays"
			if it.Seq == 7 || it.Seq == 9 {
				want = "stub"
			}
			if string(it.Body) != want {
				t.Errorf("%s, event %d: got %q; want %q", id, it.Seq, it.Body, want)
			}
		}
	}
}

package pebble

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/store"
)

// victimDir is the environment variable that makes the test binary a victim of the crash test.
const victimDir = "CHATMESH_PEBBLE_VICTIM_DIR"

const (
	victimChats = 4 // one writer for each
	victimBatch = 3 // messages in a batch
)

func victimChat(i int) chat.ID { return chat.ID(fmt.Sprintf("chat-%d", i)) }

// nextBatch is the batch that follows the event at seq in a chat.
func nextBatch(id chat.ID, seq chat.Seq) store.Batch {
	var b store.Batch
	for i := range chat.Seq(victimBatch) {
		at := chat.Now()
		e := chat.Event{Type: chat.Message, Chat: id, Seq: seq + i + 1, N: uint64(seq + i + 1), Sender: "sender",
			ClientID: chat.ClientID(fmt.Sprintf("client-%d", seq+i+1)), SentAt: &at}
		b.Events = append(b.Events, store.Entry{Event: e, Body: []byte(e.ClientID)})
	}
	return b
}

// writeForEver continues each chat from where it stands, until stop, and confirms the last seq of each batch.
func writeForEver(ctx context.Context, s *Store, stop <-chan struct{}, confirm func(id chat.ID, seq chat.Seq)) error {
	var wg sync.WaitGroup
	errs := make(chan error, victimChats)
	for i := range victimChats {
		wg.Go(func() {
			id := victimChat(i)
			rec, _ := s.Record(ctx, id) // none is seq 0
			for seq := rec.Seq; ; seq += victimBatch {
				select {
				case <-stop:
					return
				default:
				}
				if err := s.Write(ctx, nextBatch(id, seq)); err != nil {
					errs <- err
					return
				}
				confirm(id, seq+victimBatch)
			}
		})
	}
	wg.Wait()
	close(errs)
	return <-errs
}

// victim writes and tells standard output what was confirmed, until it is killed.
func victim(dir string) {
	s, err := Open(dir, Options{})
	if err == nil {
		err = writeForEver(context.Background(), s, nil, func(id chat.ID, seq chat.Seq) {
			fmt.Printf("%s %d\n", id, seq) // one write, straight to the pipe
		})
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// wantConfirmed checks that each chat is whole at least up to what was confirmed, and holds whole batches only.
func wantConfirmed(t *testing.T, s *Store, confirmed map[chat.ID]chat.Seq) {
	t.Helper()
	for id, seq := range confirmed {
		rec, err := s.Record(t.Context(), id)
		if err != nil {
			t.Fatalf("Record: got error %v; want none", err)
		}
		if rec.Seq < seq || rec.Seq%victimBatch != 0 || rec.N != uint64(rec.Seq) {
			t.Errorf("%s: got head %d, n %d; want whole batches up to %d or more", id, rec.Seq, rec.N, seq)
		}
		items, err := s.Page(t.Context(), id, store.Range{})
		if err != nil || len(items) != int(rec.Seq) {
			t.Errorf("%s: got %d events, error %v; want %d", id, len(items), err, rec.Seq)
		}
		client := chat.ClientID(fmt.Sprintf("client-%d", rec.Seq))
		if f, err := s.Find(t.Context(), id, "sender", client); err != nil || f.Seq != rec.Seq {
			t.Errorf("%s: Find: got %v, error %v; want seq %d", id, f, err, rec.Seq)
		}
		if c, err := s.Cursor(t.Context(), id, "sender"); err != nil || c.Seq != rec.Seq {
			t.Errorf("%s: Cursor: got %v, error %v; want seq %d", id, c, err, rec.Seq)
		}
	}
}

func TestWhatWasConfirmedSurvivesAKill(t *testing.T) {
	dir := t.TempDir()
	confirmed := map[chat.ID]chat.Seq{}
	for round := range 3 {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), victimDir+"="+dir)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines, enough := 0, 100+rand.IntN(200)
		for sc := bufio.NewScanner(out); sc.Scan(); lines++ {
			var id chat.ID
			var seq chat.Seq
			if _, err := fmt.Sscan(sc.Text(), &id, &seq); err != nil {
				t.Fatalf("victim said %q: %v", sc.Text(), err)
			}
			confirmed[id] = max(confirmed[id], seq)
			if lines == 0 {
				if _, err := Open(dir, Options{}); !errors.Is(err, ErrHeld) {
					t.Errorf("Open while the victim has the folder: got error %v; want ErrHeld", err)
				}
			}
			if lines == enough {
				_ = cmd.Process.Kill() // SIGKILL; what is still in the pipe was confirmed too and is read
			}
		}
		_ = cmd.Wait()
		if lines < enough {
			t.Fatalf("round %d: the victim ended by itself after %d writes", round, lines)
		}
		s := openAt(t, dir, Options{})
		wantConfirmed(t, s, confirmed)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWhatWasConfirmedSurvivesAPowerCut(t *testing.T) {
	// The file system of this test knows what was synced and forgets all else.
	fsys := vfs.NewCrashableMem()
	s := openAt(t, "data", Options{fs: fsys})
	var mu sync.Mutex
	confirmed := map[chat.ID]chat.Seq{}
	stop, done := make(chan struct{}), make(chan error)
	go func() {
		done <- writeForEver(t.Context(), s, stop, func(id chat.ID, seq chat.Seq) {
			mu.Lock()
			defer mu.Unlock()
			confirmed[id] = max(confirmed[id], seq)
		})
	}()
	for range 4 {
		time.Sleep(time.Duration(2+rand.IntN(6)) * time.Millisecond)
		before := map[chat.ID]chat.Seq{}
		mu.Lock()
		for id, seq := range confirmed {
			before[id] = seq
		}
		mu.Unlock()
		cut := fsys.CrashClone(vfs.CrashCloneCfg{})
		wantConfirmed(t, openAt(t, "data", Options{fs: cut}), before)
	}
	close(stop)
	if err := <-done; err != nil {
		t.Fatalf("Write: got error %v; want none", err)
	}
}

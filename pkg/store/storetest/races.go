package storetest

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/store"
)

// races checks what goes wrong first where several hosts keep the data and nothing holds a lock.
var races = []test{
	{"APersonWhoIsCreatedManyTimesAtOnceIsThereOnce", func(t *testing.T, s store.Store) {
		u := account(newUser())
		atOnce(20, func(int) {
			if err := s.CreateUser(t.Context(), u); err != nil {
				t.Errorf("CreateUser: got error %v; want none", err)
			}
		})
		wantUsers(t, s, []chat.UserID{u.ID}, u)
	}},
	{"OfManySessionsWithOneIDTheFirstStays", func(t *testing.T, s store.Store) {
		user, id := newUser(), newID("session")
		var mu sync.Mutex
		var kept []store.Session
		atOnce(20, func(int) {
			n := session(user)
			n.ID = id
			switch err := s.CreateSession(t.Context(), n); {
			case err == nil:
				mu.Lock()
				kept = append(kept, n)
				mu.Unlock()
			case !errors.Is(err, store.ErrConflict):
				t.Errorf("CreateSession: got error %v; want none or ErrConflict", err)
			}
		})
		if len(kept) != 1 {
			t.Fatalf("got %d sessions that were kept; want 1", len(kept))
		}
		wantSession(t, s, kept[0])
	}},
	{"ARotationNeverBringsBackASessionThatWasDeleted", func(t *testing.T, s store.Store) {
		for range 5 {
			n := session(newUser())
			check(t, "CreateSession", s.CreateSession(t.Context(), n))
			atOnce(6, func(i int) {
				if i == 0 {
					if err := s.DeleteSession(t.Context(), n.User, n.ID); err != nil {
						t.Errorf("DeleteSession: got error %v; want none", err)
					}
					return
				}
				err := s.RotateSession(t.Context(), n.User, n.ID, n.Refresh, digest(), n.ExpiresAt.Time)
				if err != nil && !errors.Is(err, store.ErrConflict) && !errors.Is(err, store.ErrNotFound) {
					t.Errorf("RotateSession: got error %v; want none, ErrConflict or ErrNotFound", err)
				}
			})
			if _, err := s.Session(t.Context(), n.User, n.ID); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("Session that was deleted: got error %v; want ErrNotFound", err)
			}
		}
	}},
	{"AChainOfRotationsIsSeenByEveryReaderInOrder", func(t *testing.T, s store.Store) {
		const length = 15
		n := session(newUser())
		check(t, "CreateSession", s.CreateSession(t.Context(), n))
		place := map[[32]byte]int{n.Refresh: 0}
		chain := [][32]byte{n.Refresh}
		for i := range length {
			chain = append(chain, digest())
			place[chain[i+1]] = i + 1
		}
		var at atomic.Int64 // how many rotations were confirmed
		atOnce(3, func(who int) {
			if who == 0 {
				for i := range length {
					if err := s.RotateSession(t.Context(), n.User, n.ID, chain[i], chain[i+1], n.ExpiresAt.Time); err != nil {
						t.Errorf("RotateSession: got error %v; want none", err)
					}
					at.Store(int64(i) + 1)
				}
				return
			}
			for at.Load() < length && !t.Failed() {
				confirmed := at.Load()
				got, err := s.Session(t.Context(), n.User, n.ID)
				if err != nil || int64(place[got.Refresh]) < confirmed {
					t.Errorf("Session: got the digest of rotation %d, error %v; want %d or later", place[got.Refresh], err, confirmed)
				}
			}
		})
	}},
	{"OldEventsThatAreWrittenAgainDuringNewOnesChangeNothing", func(t *testing.T, s store.Store) {
		w := newWorld(2, 3)
		b, m := w.history(40), newModel(w)
		m.write(b)
		const steps = 8
		var reached atomic.Int64
		step := func(i int) store.Batch { // the ith part of the history
			from, to := len(b.Events)*i/steps, len(b.Events)*(i+1)/steps
			return store.Batch{Events: b.Events[from:to], Erased: b.Erased, States: b.States, Cursors: b.Cursors}
		}
		atOnce(3, func(who int) {
			for i := range steps {
				at := i
				if who > 0 { // who was away, and begins at the beginning while the others go on
					at = int(reached.Load()) * i / steps
				}
				if err := s.Write(t.Context(), step(at)); err != nil {
					t.Errorf("Write: got error %v; want none", err)
				}
				if who == 0 {
					reached.Store(int64(i))
				}
			}
		})
		m.compare(t, s)
	}},
	{"ARecordNeverSpeaksOfAnEventThatIsNotThere", func(t *testing.T, s store.Store) {
		id, user := newChat(), newUser()
		const batches, each = 12, 25
		var ids []chat.ClientID // of the nth event
		var logs []store.Batch
		for i := range batches {
			var b store.Batch
			for j := range each {
				seq := chat.Seq(i*each + j + 1)
				e := message(id, seq, uint64(seq), user)
				b.Events = append(b.Events, e)
				ids = append(ids, e.Event.ClientID)
			}
			logs = append(logs, b)
		}
		var done atomic.Bool
		atOnce(3, func(who int) {
			if who == 0 {
				defer done.Store(true)
				for _, b := range logs {
					if err := s.Write(t.Context(), b); err != nil {
						t.Errorf("Write: got error %v; want none", err)
					}
				}
				return
			}
			for last := false; !last && !t.Failed(); {
				last = done.Load() // once more when all is written
				rec, err := s.Record(t.Context(), id)
				if errors.Is(err, store.ErrNotFound) && !last {
					time.Sleep(time.Millisecond)
					continue
				}
				seeUpTo(t, s, id, user, rec.Seq, ids, err)
			}
		})
		wantHead(t, s, id, batches*each, batches*each)
	}},
}

// seeUpTo checks that everything up to seq is there.
func seeUpTo(t *testing.T, s store.Store, id chat.ID, user chat.UserID, seq chat.Seq, ids []chat.ClientID, err error) {
	t.Helper()
	if err != nil {
		t.Errorf("Record: got error %v; want none", err)
		return
	}
	items, err := s.Page(t.Context(), id, store.Range{Before: seq + 1, Limit: 60})
	if want := min(60, int(seq)); err != nil || len(items) != want || items[len(items)-1].Seq != seq {
		t.Errorf("Page up to the head %d: got %s, error %v; want %d events", seq, seqs(items), err, want)
	}
	if f, err := s.Find(t.Context(), id, user, ids[seq-1]); err != nil || f.Seq != seq {
		t.Errorf("Find the message at the head %d: got %d, error %v", seq, f.Seq, err)
	}
	sent, err := s.Sent(t.Context(), id, user, len(ids)+1)
	if err != nil || len(sent) < int(seq) {
		t.Errorf("Sent with the head %d: got %d client ids, error %v; want all", seq, len(sent), err)
	}
	if c, err := s.Cursor(t.Context(), id, user); err != nil || c.Seq < seq {
		t.Errorf("Cursor of who sent the message at the head %d: got %d, error %v; want it there", seq, c.Seq, err)
	}
}

package pebble

import (
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/chatmesh/chatmesh/pkg/chat"
	"github.com/chatmesh/chatmesh/pkg/store"
)

// slowDisk holds back or fails the syncs of the engine's log.
type slowDisk struct {
	vfs.FS
	gate  *sync.RWMutex // locked: syncs wait
	fails *atomic.Bool
}

func (d slowDisk) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := d.FS.Create(name, c)
	if err == nil && strings.HasSuffix(name, ".log") {
		f = slowFile{f, d}
	}
	return f, err
}

type slowFile struct {
	vfs.File
	disk slowDisk
}

func (f slowFile) sync(do func() error) error {
	f.disk.gate.RLock()
	defer f.disk.gate.RUnlock()
	if f.disk.fails.Load() {
		return errors.New("input/output error of secret")
	}
	return do()
}

func (f slowFile) Sync() error     { return f.sync(f.File.Sync) }
func (f slowFile) SyncData() error { return f.sync(f.File.SyncData) }
func (f slowFile) SyncTo(n int64) (full bool, err error) {
	err = f.sync(func() error { full, err = f.File.SyncTo(n); return err })
	return full, err
}

func TestAReplayIsConfirmedOnlyWhenTheFirstWriteIsSynced(t *testing.T) {
	mem := vfs.NewCrashableMem()
	disk := slowDisk{mem, new(sync.RWMutex), new(atomic.Bool)}
	s := openAt(t, "data", Options{fs: disk})
	b := nextBatch("chat", 0)
	done := make(chan error, 2)
	write := func() { done <- s.Write(t.Context(), b) }

	disk.gate.Lock()
	go write()
	for {
		if _, err := s.Record(t.Context(), "chat"); err == nil {
			break // the first write is visible, and waits for its sync
		}
		time.Sleep(time.Millisecond)
	}
	go write()
	select {
	case err := <-done:
		t.Errorf("Write: got a confirmation, error %v, before any sync", err)
		done <- err
	case <-time.After(50 * time.Millisecond):
	}
	disk.gate.Unlock()
	for range 2 {
		if err := <-done; err != nil {
			t.Errorf("Write: got error %v; want none", err)
		}
	}
	cut := openAt(t, "data", Options{fs: mem.CrashClone(vfs.CrashCloneCfg{})})
	wantConfirmed(t, cut, map[chat.ID]chat.Seq{"chat": victimBatch})
}

func TestWritersOfOneChatShareASync(t *testing.T) {
	disk := slowDisk{vfs.NewMem(), new(sync.RWMutex), new(atomic.Bool)}
	s := openAt(t, "data", Options{fs: disk})
	const writers = 50
	done := make(chan error, writers)
	disk.gate.Lock()
	for seq := range chat.Seq(writers) {
		go func() { done <- s.Write(t.Context(), nextBatch("chat", seq*victimBatch)) }()
	}
	// All get as far as to be visible while not one sync has ended: so the lock of the chat is free during a sync.
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		items, err := s.Page(t.Context(), "chat", store.Range{})
		if err == nil && len(items) == writers*victimBatch {
			break
		}
		if time.Now().After(deadline) {
			t.Errorf("got %d events, error %v, after a minute; want %d", len(items), err, writers*victimBatch)
			break
		}
	}
	disk.gate.Unlock()
	for range writers {
		if err := <-done; err != nil {
			t.Errorf("Write: got error %v; want none", err)
		}
	}
}

func TestCloseWaitsForTheCallsThatRun(t *testing.T) {
	s := openAt(t, "data", Options{fs: vfs.NewMem()})
	if err := s.enter(t.Context()); err != nil { // a call that takes its time
		t.Fatal(err)
	}
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	select {
	case err := <-closed:
		t.Fatalf("Close: it ended, error %v, while a call was running", err)
	case <-time.After(50 * time.Millisecond):
	}
	if _, err := s.value(headKey("chat")); err != nil {
		t.Errorf("a read of the call that runs: got error %v; want none", err)
	}
	s.leave()
	if err := <-closed; err != nil {
		t.Errorf("Close: got error %v; want none", err)
	}
	if _, err := s.Page(t.Context(), "chat", store.Range{}); !errors.Is(err, ErrClosed) {
		t.Errorf("Page after Close: got error %v; want ErrClosed", err)
	}
}

func TestAfterAFailedSyncEveryCallFails(t *testing.T) {
	disk := slowDisk{vfs.NewMem(), new(sync.RWMutex), new(atomic.Bool)}
	s, err := Open("data", Options{fs: disk, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	disk.fails.Store(true)
	err = s.Write(t.Context(), nextBatch("chat", 0))
	if !errors.Is(err, ErrFailed) || strings.Contains(err.Error(), "secret") {
		t.Errorf("Write: got error %v; want ErrFailed, without the engine's words", err)
	}
	if err := s.Write(t.Context(), nextBatch("chat", 0)); !errors.Is(err, ErrFailed) {
		t.Errorf("second Write: got error %v; want ErrFailed", err)
	}
	if err := s.Ping(t.Context()); !errors.Is(err, ErrFailed) {
		t.Errorf("Ping: got error %v; want ErrFailed", err)
	}
	if _, err := s.Record(t.Context(), "chat"); !errors.Is(err, ErrFailed) {
		t.Errorf("Record: got error %v; want ErrFailed", err)
	}
	_ = s.Close() // what it says of the log is open; that it ends is enough
}

package pebble

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"io/fs"
	"log/slog"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	lsm "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/chatmesh/chatmesh/pkg/store"
)

// layout is the number of the layout of keys and values that doc.go describes.
const layout = 1

// The defaults of Options.
const (
	DefaultCache      = 192 << 20
	DefaultReserve    = 32 << 20
	DefaultSweepEvery = time.Minute
)

// Options set up a Store. The zero value is durable and has the defaults.
type Options struct {
	// Cache is the size in bytes of the cache of blocks, which fills as it is used; zero is DefaultCache. Memory for writes that are not in
	// tables yet is taken from it, up to 64 MiB under load. The engine divides the rest into parts, four for each processor, and a table's
	// Bloom filter, of up to 1 MiB, is one block: it must fit into a part, or each write of a message reads filters from the disk.
	Cache int64
	// NoSync confirms writes before they are synced: a killed process loses the last of them, a power cut some seconds.
	NoSync bool
	// Reserve is how many bytes of the disk are left free: with less, writes fail with ErrFull. Zero is DefaultReserve,
	// a negative one checks nothing.
	Reserve int64
	// SweepEvery is how often expired sessions are removed, and erased bodies driven out of the files; zero is DefaultSweepEvery.
	SweepEvery time.Duration
	// Log gets changes of state and failures, never keys or values; nil is slog.Default.
	Log *slog.Logger

	// Of tests: the file system, and that nothing is compressed.
	fs    vfs.FS
	plain bool
}

// Store keeps everything in one folder. It is a store.Store, safe for concurrent use.
type Store struct {
	db      *lsm.DB
	dirLock *lsm.Lock
	fs      vfs.FS
	dir     string
	noSync  bool
	reserve int64
	log     *slog.Logger
	metrics *metrics
	stripes stripes
	hot     *hot
	failed  atomic.Bool // after a sync that failed

	// life is held for reading by every call and by each pass of the sweeper, and for writing by Close: so the engine,
	// which panics when it is used after its end, is never used after its end.
	life   sync.RWMutex
	closed bool // guarded by life

	quit     chan struct{} // closed by Close: the sweeper ends
	sweeper  sync.WaitGroup
	close    sync.Once
	closeErr error
}

var _ store.Store = (*Store)(nil)

// pointReads are the options of an iterator that looks up single rows. Unlike DB.Get it asks the Bloom filters of the
// lowest level too, where nearly all rows are; and all that it reads is of one moment.
var pointReads = &lsm.IterOptions{UseL6Filters: true}

// Open opens the store in the folder dir and makes the folder where it is missing. It fails with ErrHeld or ErrVersion.
// A disk that fails so that the engine cannot go on ends the process with a panic: what was confirmed is on disk.
func Open(dir string, o Options) (*Store, error) {
	s, err := open(dir, o)
	if err != nil {
		return nil, fail("open", err)
	}
	return s, nil
}

func open(dir string, o Options) (*Store, error) {
	if o.Cache <= 0 {
		o.Cache = DefaultCache
	}
	if o.Reserve == 0 {
		o.Reserve = DefaultReserve
	}
	if o.SweepEvery <= 0 {
		o.SweepEvery = DefaultSweepEvery
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.fs == nil {
		o.fs = vfs.Default
	}
	s := &Store{fs: o.fs, noSync: o.NoSync, reserve: o.Reserve, log: o.Log, metrics: newMetrics(),
		stripes: stripes{seed: maphash.MakeSeed()}, hot: newHot(), quit: make(chan struct{})}
	var err error
	if s.dir, s.dirLock, err = lockFolder(o.fs, dir); err != nil {
		return nil, err
	}
	if s.db, err = lsm.Open(s.dir, s.engineOptions(o)); err != nil {
		return nil, errors.Join(err, s.dirLock.Close())
	}
	if err := s.checkLayout(); err != nil {
		return nil, errors.Join(err, s.db.Close(), s.dirLock.Close())
	}
	s.sweeper.Go(func() { s.sweepLoop(o.SweepEvery) })
	return s, nil
}

// lockFolder makes the folder and takes its lock. The lock goes by the path, so the path is made unique first.
func lockFolder(fsys vfs.FS, dir string) (string, *lsm.Lock, error) {
	if err := fsys.MkdirAll(dir, 0o700); err != nil {
		return "", nil, err
	}
	if fsys == vfs.Default {
		var err error
		if dir, err = filepath.Abs(dir); err != nil {
			return "", nil, err
		}
		if dir, err = filepath.EvalSymlinks(dir); err != nil {
			return "", nil, err
		}
	}
	lock, err := lsm.LockDirectory(dir, fsys)
	if err != nil && isHeld(err) {
		err = ErrHeld
	}
	return dir, lock, err
}

// isHeld tells a lock that somebody has from one that cannot be made. The engine has no sentinel for the former: another
// process shows as EAGAIN or EACCES of the lock itself, and this process as an error that comes from no system call.
func isHeld(err error) bool {
	if e := (*fs.PathError)(nil); errors.As(err, &e) {
		return false
	}
	if e := syscall.Errno(0); errors.As(err, &e) {
		return e == syscall.EAGAIN || e == syscall.EACCES
	}
	return true
}

func (s *Store) engineOptions(o Options) *lsm.Options {
	e := &lsm.Options{
		FS: o.fs,
		// Named, not FormatNewest: a newer engine must not make the folder unreadable for the previous program by itself.
		FormatMajorVersion: lsm.FormatValueSeparation,
		Lock:               s.dirLock,
		CacheSize:          o.Cache,
		Logger:             engineLog{o.Log},
		EventListener:      s.events(),
		// Four memtables of 16 MiB absorb a burst while one of them is written out.
		MemTableSize:                16 << 20,
		MemTableStopWritesThreshold: 4,
		// With 2 the lowest level was written anew for every second memtable: a third of what a message cost.
		L0CompactionThreshold:      4,
		L0StopWritesThreshold:      24,
		CompactionConcurrencyRange: func() (int, int) { return 1, max(1, runtime.GOMAXPROCS(0)/2) },
	}
	for i := range e.Levels {
		e.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
		e.Levels[i].BlockSize = 16 << 10
		e.Levels[i].IndexBlockSize = 256 << 10
		e.Levels[i].Compression = func() *sstable.CompressionProfile { return sstable.SnappyCompression }
	}
	// The lowest level has nine tenths of the data, is written rarely, and holds text.
	if o.plain {
		for i := range e.Levels {
			e.Levels[i].Compression = func() *sstable.CompressionProfile { return sstable.NoCompression }
		}
		return e
	}
	e.Levels[len(e.Levels)-1].Compression = func() *sstable.CompressionProfile { return sstable.ZstdCompression }
	return e
}

// checkLayout fails with ErrVersion where another layout is in the folder, and marks a new folder with ours.
func (s *Store) checkLayout() error {
	key := newKey(versionTable)
	v, err := s.value(key)
	if err != nil {
		return err
	}
	if v == nil {
		return s.db.Set(key, binary.AppendUvarint(nil, layout), lsm.Sync)
	}
	f := fields{b: v}
	got := f.uint()
	if err := f.done(); err != nil {
		return err
	}
	if got != layout {
		return fmt.Errorf("%w: it is %d, this program has %d", ErrVersion, got, layout)
	}
	return nil
}

// enter begins a call. Where it succeeds the call ends with leave.
func (s *Store) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.life.RLock()
	var err error
	switch {
	case s.closed:
		err = ErrClosed
	case s.failed.Load():
		err = ErrFailed
	}
	if err != nil {
		s.life.RUnlock()
	}
	return err
}

func (s *Store) leave() { s.life.RUnlock() }

// value returns a copy of the value of a row, or nil where there is none.
func (s *Store) value(key []byte) (v []byte, err error) {
	err = s.view(pointReads, func(it *lsm.Iterator) error {
		found, err := seek(it, key)
		if found != nil {
			v = append([]byte{}, found...)
		}
		return err
	})
	return v, err
}

// view runs read on an iterator, which shows the store at one moment.
func (s *Store) view(o *lsm.IterOptions, read func(*lsm.Iterator) error) error {
	it, err := s.db.NewIter(o)
	if err != nil {
		return err
	}
	err = read(it)
	if e := it.Close(); err == nil {
		err = e
	}
	return err
}

// seek returns the value of a row, valid until the iterator moves, or nil where there is none.
func seek(it *lsm.Iterator, key []byte) ([]byte, error) {
	if !it.SeekPrefixGE(key) {
		return nil, it.Error()
	}
	v, err := it.ValueAndErr()
	if v == nil && err == nil {
		v = []byte{}
	}
	return v, err
}

// Ping tells whether the store is open and its disk well. It fails with ErrClosed or ErrFailed.
func (s *Store) Ping(ctx context.Context) error {
	if err := s.enter(ctx); err != nil {
		return fail("ping", err)
	}
	defer s.leave()
	return fail("ping", s.checkLayout())
}

// Close waits for the calls that are running, ends the sweeper and lets go of the folder. Calls that come later fail with
// ErrClosed; a second Close returns what the first did.
func (s *Store) Close() error {
	s.close.Do(func() {
		close(s.quit)
		s.sweeper.Wait()
		s.life.Lock()
		defer s.life.Unlock()
		s.closed = true
		s.closeErr = fail("close", errors.Join(s.db.Close(), s.dirLock.Close()))
	})
	return s.closeErr
}

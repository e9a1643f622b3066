// Package staging has an embedded broker stage atomic batches in memory. It promises that what is staged is of this process and readable
// by it alone, and that batches are staged on the disk again when the memory has no room any more.
//
// The broker keeps the messages of an atomic batch apart until the last has come. For a stream of which there are several copies it does so
// in memory; for one with a single copy, as an embedded broker has, in a file store of its own: a folder that is made, synced and removed
// for every batch, which costs more than the batch itself. What is in there is thrown away at every start, so that it need not outlive
// the process: staging puts it into a file system that is memory, where the system has one with room.
package staging

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/chatmesh/chatmesh/pkg/subject"
)

const (
	// MemoryFiles is where Linux has a file system in memory.
	MemoryFiles = "/dev/shm"
	// prefix begins the names of the folders there.
	prefix = "chatmesh-staging-"
	// each bounds what the batches of one stream take at once, in bytes: two logs of this process with two commits each under way.
	each = 40 << 20
)

// Folder is the folder in memory in which a broker stages batches. A nil one is none: then they are staged on the disk.
type Folder struct {
	dir  string
	need uint64
	log  *slog.Logger

	mu    sync.Mutex // guards links
	links []string   // in the streams' folders
}

// streamsFolder is where a broker has its streams.
func streamsFolder(store string) string { return filepath.Join(store, "jetstream", "$G", "streams") }

// Forget removes the folders in memory that a process which was killed has left. It is called before the broker starts, which
// removes the links to them.
func Forget(store string) {
	streams, _ := os.ReadDir(streamsFolder(store)) // none at the first start
	for _, stream := range streams {
		to, err := os.Readlink(filepath.Join(streamsFolder(store), stream.Name(), "batches"))
		if dir := filepath.Dir(to); err == nil && filepath.Dir(dir) == MemoryFiles && strings.HasPrefix(filepath.Base(dir), prefix) {
			_ = os.RemoveAll(dir)
		}
	}
}

// InMemory has a broker that keeps its streams in the folder store stage the batches of the chats' streams in a new folder of parent. The
// streams are there, and nothing is appended yet. It fails where there is no such file system, or too little room.
func InMemory(parent, store string, partitions int, log *slog.Logger) (_ *Folder, err error) {
	f := &Folder{need: uint64(partitions) * each, log: log}
	u, err := vfs.Default.GetDiskUsage(parent)
	if err != nil {
		return nil, err
	}
	if u.AvailBytes < 2*f.need {
		return nil, fmt.Errorf("%s has %d MiB free, and staging wants %d", parent, u.AvailBytes>>20, 2*f.need>>20)
	}
	if f.dir, err = os.MkdirTemp(parent, prefix); err != nil { // for nobody else
		return nil, err
	}
	defer func() {
		if err != nil {
			f.End()
		}
	}()
	for p := range partitions {
		name := subject.ChatStream(p)
		to := filepath.Join(f.dir, name)
		if err := os.Mkdir(to, 0o700); err != nil {
			return nil, err
		}
		link := filepath.Join(streamsFolder(store), name, "batches")
		_ = os.Remove(link) // a folder that a batch left empty, or a link; what is under way there stays
		if err := os.Symlink(to, link); err != nil {
			return nil, err
		}
		f.links = append(f.links, link)
	}
	return f, nil
}

// Check goes back to the disk when the memory has no room any more. The batches that are under way then fail, and are tried again.
func (f *Folder) Check() {
	if f == nil {
		return
	}
	u, err := vfs.Default.GetDiskUsage(f.dir)
	if err != nil || u.AvailBytes >= f.need {
		return
	}
	if f.unlink() {
		f.log.Warn("batches are staged on the disk from now on", "error", errors.New("no room in memory"), "free_bytes", u.AvailBytes)
	}
}

// unlink removes the links, and tells whether there were any.
func (f *Folder) unlink() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, link := range f.links {
		_ = os.Remove(link)
	}
	were := len(f.links) > 0
	f.links = nil
	return were
}

// End removes what there is in memory. The broker has ended.
func (f *Folder) End() {
	if f == nil {
		return
	}
	f.unlink()
	_ = os.RemoveAll(f.dir)
}

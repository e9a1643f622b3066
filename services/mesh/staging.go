package mesh

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

// The broker keeps the messages of an atomic batch apart until the last has come. For a stream of which there are several copies it does so
// in memory; for one with a single copy, as the embedded broker has, in a file store of its own: a folder that is made, synced and removed
// for every batch, which costs more than the batch itself. What is in there is thrown away at every start, so that it need not outlive
// the process: staging puts it into a file system that is memory, where the system has one with room.

const (
	// memoryFiles is where Linux has a file system in memory.
	memoryFiles = "/dev/shm"
	// stagingName begins the names of the folders there.
	stagingName = "chatmesh-staging-"
	// stagedEach bounds what the batches of one stream take at once, in bytes: two logs of this process with two commits each under way.
	stagedEach = 40 << 20
)

// staging is the folder in memory in which the broker stages batches. A nil one is none: then they are staged on the disk.
type staging struct {
	dir  string
	need uint64
	log  *slog.Logger

	mu    sync.Mutex // guards links
	links []string   // in the streams' folders
}

// streamsFolder is where a broker has its streams.
func streamsFolder(store string) string { return filepath.Join(store, "jetstream", "$G", "streams") }

// forgetStaging removes the folders in memory that a process which was killed has left. It is called before the broker starts, which
// removes the links to them.
func forgetStaging(store string) {
	streams, _ := os.ReadDir(streamsFolder(store)) // none at the first start
	for _, stream := range streams {
		to, err := os.Readlink(filepath.Join(streamsFolder(store), stream.Name(), "batches"))
		if dir := filepath.Dir(to); err == nil && filepath.Dir(dir) == memoryFiles && strings.HasPrefix(filepath.Base(dir), stagingName) {
			_ = os.RemoveAll(dir)
		}
	}
}

// stageInMemory has the batches of the chats' streams staged in a new folder of parent. The streams are there, and nothing is appended yet. It
// fails where there is no such file system, or too little room.
func stageInMemory(parent, store string, partitions int, log *slog.Logger) (_ *staging, err error) {
	s := &staging{need: uint64(partitions) * stagedEach, log: log}
	u, err := vfs.Default.GetDiskUsage(parent)
	if err != nil {
		return nil, err
	}
	if u.AvailBytes < 2*s.need {
		return nil, fmt.Errorf("%s has %d MiB free, and staging wants %d", parent, u.AvailBytes>>20, 2*s.need>>20)
	}
	if s.dir, err = os.MkdirTemp(parent, stagingName); err != nil { // for nobody else
		return nil, err
	}
	defer func() {
		if err != nil {
			s.end()
		}
	}()
	for p := range partitions {
		name := subject.ChatStream(p)
		to := filepath.Join(s.dir, name)
		if err := os.Mkdir(to, 0o700); err != nil {
			return nil, err
		}
		link := filepath.Join(streamsFolder(store), name, "batches")
		_ = os.Remove(link) // a folder that a batch left empty, or a link; what is under way there stays
		if err := os.Symlink(to, link); err != nil {
			return nil, err
		}
		s.links = append(s.links, link)
	}
	return s, nil
}

// stage has an embedded broker stage in memory where it can.
func (m *Mesh) stage() {
	if m.broker == nil {
		return
	}
	s, err := stageInMemory(memoryFiles, filepath.Join(m.c.Data, "nats"), m.c.Partitions, m.log)
	if err != nil {
		m.log.Info("batches are staged on the disk", "reason", err)
		return
	}
	m.staging.Store(s)
}

// check goes back to the disk when the memory has no room any more. The batches that are under way then fail, and are tried again.
func (s *staging) check() {
	if s == nil {
		return
	}
	u, err := vfs.Default.GetDiskUsage(s.dir)
	if err != nil || u.AvailBytes >= s.need {
		return
	}
	if s.unlink() {
		s.log.Warn("batches are staged on the disk from now on", "error", errors.New("no room in memory"), "free_bytes", u.AvailBytes)
	}
}

// unlink removes the links, and tells whether there were any.
func (s *staging) unlink() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, link := range s.links {
		_ = os.Remove(link)
	}
	were := len(s.links) > 0
	s.links = nil
	return were
}

// end removes what there is in memory. The broker has ended.
func (s *staging) end() {
	if s == nil {
		return
	}
	s.unlink()
	_ = os.RemoveAll(s.dir)
}
